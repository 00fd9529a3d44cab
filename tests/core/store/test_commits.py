"""The commit log: what is read back, and what of it is noticed to be lost."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dying_files import Killed, dies_after
from store_rows import address, cell, cell_rows, commit, ids, plan, relation, table_of

from xaibench.api import Passes, StoreError
from xaibench.store.commits import CommitLog, is_ours
from xaibench.store.merging import merge, repair

SCORE, MAPS = address(), address("explain")


@pytest.fixture
def log(files):
    return CommitLog.read(files)


def current(log, where=SCORE, count=12):
    """The commit of each sample's row."""
    return log.ledger.commits(where, ids(count)).tolist()


def test_a_commit_is_read_back(log, files):
    done = cell_rows(
        SCORE, ids(2), status="failed", attempts=2, seconds=1.5, passes=Passes(forward=3, backward=1), reason="no luck",
        error="RuntimeError: no luck", trace="Traceback", peak_memory=7, device="cuda:0", kept=False,
    )  # fmt: skip
    written = commit(log, done, value=0.25)
    read = CommitLog.read(files, verify=True)
    assert read.commits == {1: written} and written.total == 2 and not read.damage and not read.lost
    assert read.rows_of(written) == [done]
    (file,) = written.of("scores")
    rows = read.read_file(file)
    assert rows["value"].to_pylist() == [0.25, 0.25] and file.rows == 2
    assert rows["unit"].to_pylist() == ["00000001"] * 2 and file.name == "00000001.parquet"
    assert file.size == files.sizes("scores")[file.name]
    assert rows.schema.metadata[b"xaibench.schema"] == b"scores/2"
    assert read.read_file(file, ["value"]).schema.names == ["value"]


def test_the_name_of_a_commit_is_its_number_and_digest(log, files):
    written = commit(log, cell_rows(SCORE, ids(1)))
    found = hashlib.sha256(files.read(f"commits/{written.name}")).hexdigest()
    assert written.name == f"00000001-{found[:16]}.parquet"


def test_numbers_go_up_and_are_not_used_twice(log, files):
    first, second = (commit(log, cell_rows(SCORE, [s])) for s in ids(2))
    merge(log, [first.number, second.number])
    assert [first.number, second.number] == [1, 2] and list(log.commits) == [3]
    assert CommitLog.read(files).next_number == 4
    files.remove(f"commits/{log.commits[3].name}")
    # The one that is lost is the last: nothing but the run file knows of it.
    assert CommitLog.read(files).next_number == 1 and CommitLog.read(files, last=3).next_number == 4


def test_what_is_replaced_stays_replaced(log, files):
    """A commit names all that went into it, also by way of others, which are gone."""
    for round_ in range(3):
        commit(log, cell_rows(SCORE, [f"s{round_}"]))
        merge(log, list(log.commits))
    (last,) = log.commits.values()
    assert last.number == 6 and last.replaces == (1, 2, 3, 4, 5)
    read = CommitLog.read(files, verify=True)
    assert not read.lost and not read.damage and current(read, count=3) == [6, 6, 6]


def test_a_commit_that_came_back_is_still_replaced(log, files):
    commit(log, cell_rows(SCORE, ids(2)))
    old = {t: {n: files.read(f"{t}/{n}") for n in files.sizes(t)} for t in ("commits", "scores")}
    merge(log, [1])
    for table, names in old.items():  # as after a kill before the unlinking
        for name, data in names.items():
            files.write(f"{table}/{name}", data)
    read = CommitLog.read(files, verify=True)
    assert list(read.commits) == [2] and current(read, count=2) == [2, 2]
    read.remove_orphans()
    assert files.sizes("scores").keys() == {"00000002.parquet"} and len(files.sizes("commits")) == 1


def test_a_replaced_commit_may_be_damaged(log, files):
    name = f"commits/{commit(log, cell_rows(SCORE, ids(2))).name}"
    data = files.read(name)
    merge(log, [1])
    files.write(name, data[:-5])
    read = CommitLog.read(files, verify=True)
    assert not read.damage and not read.lost and current(read, count=2) == [2, 2]


def test_a_lost_commit_is_noticed(log, files):
    for sample in ids(3):
        commit(log, cell_rows(SCORE, [sample]))
    files.remove(f"commits/{log.commits[2].name}")
    read = CommitLog.read(files)
    assert read.lost == (2,) and read.damage == {"commits/00000002-*.parquet": "missing"}
    assert current(read, count=3) == [1, 0, 3]


def test_the_last_commit_is_noticed_where_its_number_is_known(log, files):
    for sample in ids(2):
        commit(log, cell_rows(SCORE, [sample]))
    files.remove(f"commits/{log.commits[2].name}")
    assert not CommitLog.read(files).damage
    read = CommitLog.read(files, last=2)
    assert read.lost == (2,) and list(read.damage) == ["commits/00000002-*.parquet"]


def test_of_successive_lost_commits_the_last_is_named(log, files):
    """It may have replaced the others, whose numbers nothing else knows."""
    for sample in ids(6):
        commit(log, cell_rows(SCORE, [sample]))
    merge(log, [2, 3, 4])
    commit(log, cell_rows(SCORE, ["s6"]))
    files.remove(f"commits/{log.commits[7].name}")
    read = CommitLog.read(files)
    assert read.lost == (2, 3, 4, 7)
    assert list(read.damage) == ["commits/00000007-*.parquet", "commits/00000004-*.parquet"]


def spoilt(data, how):
    middle = len(data) // 2
    flipped = data[:middle] + bytes([data[middle] ^ 4]) + data[middle + 1 :]
    return {"cut": data[:middle], "empty": b"", "flip": flipped}[how]


@pytest.mark.parametrize("how", ["cut", "empty", "flip"])
def test_a_damaged_commit_is_noticed_and_named_once(log, files, how):
    for sample in ids(3):
        commit(log, cell_rows(SCORE, [sample]))
    name = f"commits/{log.commits[2].name}"
    files.write(name, spoilt(files.read(name), how))
    read = CommitLog.read(files)
    assert read.damage == {name: "damaged"} and read.lost == (2,) and current(read, count=3) == [1, 0, 3]


@pytest.mark.parametrize(("how", "verify", "what"), [
    ("missing", False, "missing"), ("cut", False, "of"), ("empty", False, "0 of"), ("flip", True, "damaged"),
])  # fmt: skip
def test_a_damaged_data_file_is_noticed(log, files, how, verify, what):
    commit(log, cell_rows(SCORE, ids(2)), cell_rows(MAPS, ids(2)))
    commit(log, cell_rows(SCORE, ["s2"]))
    data = files.read("scores/00000001.parquet")
    if how == "missing":
        files.remove("scores/00000001.parquet")
    else:
        files.write("scores/00000001.parquet", spoilt(data, how))
    read = CommitLog.read(files, verify=verify)
    assert list(read.damage) == ["scores/00000001.parquet"] and what in read.damage["scores/00000001.parquet"]
    # the rows of the other table of that commit are there
    assert current(read, count=3) == [0, 0, 2] and current(read, MAPS, 2) == [1, 1]
    if how != "missing":
        with pytest.raises(StoreError, match=r"scores/00000001\.parquet"):
            read.read_file(read.commits[1].of("scores")[0])


def test_a_flipped_bit_is_noticed_by_whoever_reads_the_file(log, files):
    commit(log, cell_rows(SCORE, ids(2)))
    files.write("scores/00000001.parquet", spoilt(files.read("scores/00000001.parquet"), "flip"))
    read = CommitLog.read(files)
    assert not read.damage
    with pytest.raises(StoreError, match=r"scores/00000001.parquet is damaged"):
        read.read_file(read.commits[1].of("scores")[0])


def test_a_damaged_commit_is_repaired_with_what_is_left(log, files):
    commit(log, cell_rows(SCORE, ids(2)), cell_rows(MAPS, ids(2)))
    files.remove("maps/00000001.parquet")
    read = CommitLog.read(files)
    repair(read)
    again = CommitLog.read(files, verify=True)
    assert not again.damage and not again.lost
    assert current(again, SCORE, 2) == [2, 2] and current(again, MAPS, 2) == [0, 0]
    assert len(again.read_file(again.commits[2].of("scores")[0])) == 2


def test_files_that_no_commit_names_are_removed(log, files):
    commit(log, cell_rows(SCORE, ids(2)))
    files.write("scores/00000007.parquet", b"half")
    files.write("maps/00000007-2.parquet", b"half")
    files.write("scores/mine.parquet", b"mine")
    CommitLog.read(files).remove_orphans()
    assert set(files.sizes("scores")) == {"00000001.parquet", "mine.parquet"} and not files.sizes("maps")


def test_names_of_ours():
    assert all(map(is_ours, ["00000001.parquet", "00000001-12.parquet", "00000001-0123456789abcdef.parquet"]))
    assert not any(map(is_ours, ["1.parquet", "00000001.csv", "00000001-x.parquet", "a00000001.parquet"]))


@pytest.mark.parametrize("changes", range(5))
def test_killed_between_the_data_files_and_the_commit(log, files, changes):
    """Two tables, then the commit: with it all is there, without it nothing."""
    commit(log, cell_rows(SCORE, ["s0"]))
    try:
        with dies_after(changes):
            commit(log, cell_rows(SCORE, ["s1"]), cell_rows(MAPS, ["s1"]))
    except Killed:
        assert changes < 3
    read = CommitLog.read(files, verify=True)
    read.remove_orphans()
    assert not read.damage and not read.lost
    assert current(read, count=2) == [1, 2 if changes >= 3 else 0]
    assert len(files.sizes("scores")) == len(files.sizes("commits")) == (2 if changes >= 3 else 1)
    assert commit(read, cell_rows(SCORE, ["s2"])).number == (3 if changes >= 3 else 2)


def test_a_file_ends_soon_after_it_is_large(log, files, monkeypatch):
    """Maps of 64 kB each, files of at most 1 MB, slices of at most 256 kB: no file is beyond both together."""
    monkeypatch.setattr("xaibench.store.commits._LARGEST", 2**20)
    monkeypatch.setattr("xaibench.store.commits._SLICE", 2**18)
    done = cell_rows(MAPS, ids(60))
    written = commit(log, done, payload=2**16)
    sizes = [f.size for f in written.of("maps")]
    assert len(sizes) == 4 and max(sizes) < 2**20 + 2**18 + 2**15
    assert [f.name for f in written.of("maps")] == [f"00000001{p}.parquet" for p in ("", "-1", "-2", "-3")]
    whole = pa.concat_tables(log.read_file(f) for f in written.of("maps"))
    assert whole["sample"].to_pylist() == list(ids(60))
    assert whole["map"].equals(table_of(done, payload=2**16)[1]["map"])
    for file in written.of("maps"):
        assert set(log.read_file(file)["unit"].to_pylist()) == {file.name.removesuffix(".parquet")}


def test_a_newer_layout_is_refused(log, files):
    written = commit(log, cell_rows(SCORE, ids(1)))
    rows = pq.read_table(pa.BufferReader(files.read(f"commits/{written.name}")))
    sink = pa.BufferOutputStream()
    pq.write_table(rows.replace_schema_metadata({**rows.schema.metadata, b"xaibench.schema": b"commits/99"}), sink)
    data = sink.getvalue().to_pybytes()
    files.write(f"commits/00000002-{hashlib.sha256(data).hexdigest()[:16]}.parquet", data)
    with pytest.raises(StoreError, match="newer xaibench") as refused:
        CommitLog.read(files)
    assert refused.value.mend == "update xaibench"


def test_plans_follow_each_other(log, files):
    """The last plan's samples alone; the rows of runs and components of all, in few files."""
    asked = relation([cell(SCORE)], ids(2))
    for run in range(40):
        plan(log, asked, run=str(run))
    read = CommitLog.read(files, verify=True)
    assert len(read.commits) == 1 and not read.damage and not read.lost
    (only,) = read.commits.values()
    assert len(only.of("samples")) == 1 and len(only.of("runs")) < 16
    runs = [r for f in only.of("runs") for r in read.read_file(f)["run"].to_pylist()]
    assert runs == [str(i) for i in range(40)]
    assert sum(f.rows for f in only.of("components")) == 40
    assert len(files.sizes("runs")) == len(only.of("runs")) and len(files.sizes("samples")) == 1


def test_a_plan_takes_the_place_of_lost_commits(log, files):
    asked = relation([cell(SCORE)], ids(2))
    plan(log, asked)
    commit(log, cell_rows(SCORE, ["s0"]))
    commit(log, cell_rows(SCORE, ["s1"]))
    files.remove(f"commits/{log.commits[2].name}")
    read = CommitLog.read(files)
    plan(read, asked, run="2")
    again = CommitLog.read(files)
    assert not again.lost and not again.damage and current(again, count=2) == [0, 3]


# ---- commits that no run wrote ---------------------------------------------------------------------------------------


def forged(files, change):
    """The last commit written anew with other contents, under the name that fits them."""
    name = sorted(files.sizes("commits"))[-1]
    table = pq.read_table(pa.BufferReader(files.read(f"commits/{name}")))
    metadata = dict(table.schema.metadata)
    table = change(table, metadata) or table
    sink = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata(metadata), sink)
    data = sink.getvalue().to_pybytes()
    files.remove(f"commits/{name}")
    files.write(f"commits/{name[:8]}-{hashlib.sha256(data).hexdigest()[:16]}.parquet", data)


def header(text):
    def change(table, metadata):
        metadata[b"xaibench.commit"] = text.encode()

    return change


def column(name, values):
    def change(table, metadata):
        at = table.column_names.index(name)
        return table.set_column(at, name, pa.array([values] * len(table)))

    return change


FORGED = {
    "no header": lambda table, metadata: metadata.pop(b"xaibench.commit") and None,
    "deep": header("[" * 20_000),
    "no object": header("null"),
    "a number": header('{"level": 0, "replaces": [0, "1"], "files": []}'),
    "a later one": header('{"level": 0, "replaces": [7], "files": []}'),
    "a place": header(
        '{"level": 0, "replaces": [], "files": [{"table": "..", "name": "x", "size": 1, "rows": 1, "digest": ""}]}'
    ),
    "a size": header(
        '{"level": 0, "replaces": [], "files": [{"table": "scores", "name": "00000001.parquet", "size": -1, "rows": 1,'
        ' "digest": ""}]}'
    ),
    "no rows": lambda table, metadata: pa.table({"x": [1]}),
    "no column": lambda table, metadata: table.drop_columns(["digests"]),
    "nulls": column("samples", None),
    "lengths": column("statuses", ["ok"]),
    "a kind": column("kind", "other"),
    "another's": column("commit", 5),
}


@pytest.mark.parametrize("how", FORGED)
def test_a_commit_that_no_run_wrote_is_damage(log, files, how):
    commit(log, cell_rows(SCORE, ids(3)))
    commit(log, cell_rows(SCORE, ids(4)))
    forged(files, FORGED[how])
    again = CommitLog.read(files)
    assert [name[:16] for name in again.damage] == ["commits/00000002"]
    assert set(again.damage.values()) == {"damaged"} and list(again.commits) == [1]


def test_a_number_beyond_all_commits_is_damage_and_costs_nothing(log, files):
    commit(log, cell_rows(SCORE, ids(3)))
    data = files.read(f"commits/{log.commits[1].name}")
    files.write(f"commits/99999999-{hashlib.sha256(data).hexdigest()[:16]}.parquet", data)
    again = CommitLog.read(files)
    assert len(again.damage) == 1 and again.next_number == 2 and again.lost == ()


def test_a_data_file_of_another_table_is_damage(log, files):
    done = commit(log, cell_rows(SCORE, ids(3)))
    (file,) = done.of("scores")
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"cell": [1]}), sink)
    data = sink.getvalue().to_pybytes()
    files.write(f"scores/{file.name}", data)
    other = replace(file, size=len(data), digest=hashlib.sha256(data).hexdigest())
    with pytest.raises(StoreError, match="damaged"):
        log.read_file(other)
