"""What a reader sees: the last plan's rows of one state of the folder."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dying_files import Killed, dies_after
from store_rows import address, cell, cell_rows, commit, ids, plan, relation

from xaibench.api import StoreError
from xaibench.store.commits import CommitLog, _parse
from xaibench.store.files import location_of
from xaibench.store.folder import RUN_FILE, RunFolder
from xaibench.store.merging import merge, merge_all
from xaibench.store.relation import WHOLE
from xaibench.store.snapshot import Snapshot

SCORE, OTHER, MAPS = address(), address(metric="other"), address("explain")
SET = address("set", metric="spread")


def cells(*addresses):
    return [cell(a) for a in addresses]


@pytest.fixture
def folder(place):
    return RunFolder(place)


@pytest.fixture
def log(folder):
    return CommitLog.read(folder.files)


def scores(folder):
    return sorted((r["metric"], r["sample"], r["value"]) for r in folder.table("scores").to_pylist())


def test_only_the_last_plan_is_shown_and_the_others_are_counted(folder, log):
    plan(log, relation(cells(SCORE, OTHER), ids(4)))
    commit(log, cell_rows(SCORE, ids(4)), cell_rows(OTHER, ids(4)), value=1)
    assert len(scores(folder)) == 8 and folder.snapshot().outside == 0 and folder.snapshot().complete
    plan(log, relation(cells(SCORE), ids(3)), run="2")
    assert scores(folder) == [("range", s, 1) for s in ids(3)]
    assert folder.snapshot().outside == 5 and not folder.snapshot().complete
    plan(log, relation(cells(SCORE, OTHER), ids(4)), run="3")
    assert len(scores(folder)) == 8 and folder.snapshot().outside == 0


def test_rows_of_another_key_or_digest_are_not_shown(folder, log):
    plan(log, relation(cells(SCORE), ids(3)))
    commit(log, cell_rows(SCORE, ["s0"]))
    commit(log, cell_rows(SCORE, ["s1"], key="k2"))
    commit(log, cell_rows(SCORE, ["s2"], version=1))
    assert [s for _, s, _ in scores(folder)] == ["s0"]
    assert folder.snapshot().outside == 2


def test_superseded_rows_are_not_shown(folder, log):
    plan(log, relation(cells(SCORE), ids(2)))
    commit(log, cell_rows(SCORE, ids(2)), value=1)
    commit(log, cell_rows(SCORE, ["s1"]), value=2)
    assert scores(folder) == [("range", "s0", 1), ("range", "s1", 2)]
    merge_all(log)
    assert scores(folder) == [("range", "s0", 1), ("range", "s1", 2)]


def test_the_last_plan_is_that_of_the_last_commit_and_not_of_a_clock(folder, log):
    plan(log, relation(cells(SCORE), ids(2)), run="2030")
    plan(log, relation(cells(SCORE), ids(1)), run="2020")  # the clock was set back
    commit(log, cell_rows(SCORE, ids(2)))
    assert len(scores(folder)) == 1 and folder.snapshot().plan["run_file"] == {"out": "2020"}


def test_a_score_of_a_set_is_shown_while_its_inputs_are_those_that_it_was_made_of(folder, log):
    maps, measure = cell(MAPS), cell(SET, inputs=(MAPS,))
    asked = relation([maps, measure], ids(2))
    plan(log, asked)
    commit(log, cell_rows(MAPS, ids(2)))
    commit(log, cell_rows(SET, [WHOLE], whole_key=log.ledger.key_of(measure, asked)))
    assert [s for _, s, _ in scores(folder)] == [""]
    commit(log, cell_rows(MAPS, ["s1"], status="failed"))
    assert scores(folder) == [] and folder.snapshot().outside == 1


def test_groups_are_those_of_the_last_plan(folder, log):
    asked = relation(cells(SCORE), ids(3))
    plan(log, asked, group="new")
    commit(log, cell_rows(SCORE, ids(3)))
    assert set(folder.table("scores")["group"].to_pylist()) == {"new"}
    plan(log, asked, run="2", group="newer")
    assert set(folder.table("scores")["group"].to_pylist()) == {"newer"}
    assert set(folder.table("scores", ["group", "value"])["group"].to_pylist()) == {"newer"}
    assert folder.table("scores", ["value"]).schema.names == ["value"]


def test_tables_that_belong_to_no_cell(folder, log):
    asked = relation(cells(SCORE), ids(3))
    plan(log, asked)
    plan(log, asked, run="2")
    commit(log, cell_rows(SCORE, ids(3)))
    assert folder.table("runs")["run"].to_pylist() == ["1", "2"] and len(folder.table("components")) == 2
    assert folder.table("samples", ["sample"])["sample"].to_pylist() == list(ids(3))
    assert folder.table("commits")["done"].to_pylist() == [3]
    assert len(folder.table("maps")) == 0 and folder.table("maps").schema.names[0] == "run"


def test_the_run_file_is_rebuilt_from_the_runs(folder, log):
    plan(log, relation(cells(SCORE), ids(1)), run="there")
    assert folder.run_file() == {"out": "there"}
    folder.files.write(RUN_FILE, b"model = [")
    assert folder.run_file() == {"out": "there"}
    folder.files.write(RUN_FILE, b"\xff\xfe")
    assert folder.run_file() == {"out": "there"}
    folder.files.write(RUN_FILE, b"limit = 3")  # valid, and cut: the table of the record comes last
    assert folder.run_file() == {"out": "there"}
    folder.files.write(RUN_FILE, b"limit = 3\n[record]\nrun = 'there'\n")
    assert folder.run_file() == {"limit": 3, "record": {"run": "there"}}


@pytest.mark.parametrize("table", ["scores", "maps", "samples", "runs", "components"])
@pytest.mark.parametrize("how", ["missing", "cut"])
def test_every_reader_refuses_a_folder_with_a_file_that_is_missing_or_cut(folder, log, table, how):
    plan(log, relation(cells(SCORE, MAPS), ids(2)))
    commit(log, cell_rows(SCORE, ids(2)), cell_rows(MAPS, ids(2)))
    (name,) = folder.files.sizes(table)
    data = folder.files.read(f"{table}/{name}")
    folder.files.remove(f"{table}/{name}")
    if how == "cut":
        folder.files.write(f"{table}/{name}", data[:-9])
    for read in ("predictions", "scores", "runs", "samples", "commits"):
        with pytest.raises(StoreError, match=f"{table}/{name}") as refused:
            folder.table(read)
        assert "eval" in refused.value.mend
    folder.files.write(f"{table}/{name}", data)  # it comes back from a copy
    assert len(folder.table("scores")) == 2


@pytest.mark.parametrize("table", ["samples", "runs"])
def test_a_lost_plan_is_named(folder, log, table):
    plan(log, relation(cells(SCORE), ids(2)))
    commit(log, cell_rows(SCORE, ids(2)))
    (name,) = folder.files.sizes(table)
    folder.files.remove(f"{table}/{name}")
    with pytest.raises(StoreError, match=f"{table}/{name} is missing"):
        folder.snapshot().relation  # noqa: B018
    if table == "runs":
        with pytest.raises(StoreError, match=f"{table}/{name} is missing"):
            folder.run_file()


def test_the_commit_of_the_plan_that_is_lost_is_named(folder, log):
    plan(log, relation(cells(SCORE), ids(2)))
    commit(log, cell_rows(SCORE, ids(2)))
    folder.files.remove(f"commits/{log.commits[1].name}")
    with pytest.raises(StoreError, match="commits/00000001"):
        folder.run_file()


def test_the_last_commit_that_is_lost_is_named(folder, log):
    plan(log, relation(cells(SCORE), ids(2)))
    commit(log, cell_rows(SCORE, ids(2)))
    folder.files.write(RUN_FILE, b"[record]\ncommit = 2\n")
    assert len(folder.table("scores")) == 2
    folder.files.remove(f"commits/{log.commits[2].name}")
    with pytest.raises(StoreError, match="commits/00000002"):
        folder.table("scores")
    with folder.writing() as found:
        assert list(found.damage) == ["commits/00000002-*.parquet"]


def test_a_flipped_bit_is_found_on_reading_and_by_verify(folder, log):
    plan(log, relation(cells(SCORE, MAPS), ids(2)))
    commit(log, cell_rows(SCORE, ids(2)), cell_rows(MAPS, ids(2)))
    data = bytearray(folder.files.read("scores/00000002.parquet"))
    data[len(data) // 2] ^= 1
    folder.files.write("scores/00000002.parquet", bytes(data))
    with pytest.raises(StoreError, match=r"scores/00000002\.parquet is damaged"):
        folder.table("scores")
    assert len(folder.table("maps")) == 2
    assert folder.snapshot(verify=True).log.damage == {"scores/00000002.parquet": "damaged"}


def merges_during(monkeypatch, folder, times):
    """Somebody merges all commits between the look at the commits and the reading of a data file."""
    original, left = CommitLog.read_file, [times]

    def read(self, file, columns=None, where=None):
        if left[0] and file.table == "scores" and columns:  # the writer itself reads all columns
            left[0] -= 1
            writer = CommitLog.read(folder.files)
            merge(writer, [n for n, c in writer.commits.items() if c.of("scores")])
        return original(self, file, columns, where)

    monkeypatch.setattr(CommitLog, "read_file", read)


def test_a_row_group_without_a_wanted_row_is_not_decoded():
    sink = pa.BufferOutputStream()
    table = pa.table({"sample": [f"s{i}" for i in range(6)], "kind": ["a", "b"] * 3, "value": list(range(6))})
    pq.write_table(table, sink, row_group_size=2)
    data = sink.getvalue().to_pybytes()
    assert _parse(data, ["value"], {"sample": ["s3"]}).to_pydict() == {"value": [2, 3]}
    assert _parse(data, ["value"], {"sample": ["s0", "s5"], "kind": ["b"]}).to_pydict() == {"value": [0, 1, 4, 5]}
    assert _parse(data, None, {"sample": ["no"]}).schema.names == table.schema.names
    assert len(_parse(data, None, {"sample": ["no"]})) == 0
    assert len(_parse(data, None, {"missing": ["s1"]})) == 6


def test_a_reader_looks_again_where_a_file_vanishes(folder, log, monkeypatch):
    plan(log, relation(cells(SCORE), ids(2)))
    for sample in ids(2):
        commit(log, cell_rows(SCORE, [sample]), value=1)
    merges_during(monkeypatch, folder, 1)
    assert scores(folder) == [("range", s, 1) for s in ids(2)]


def test_a_folder_that_goes_on_changing_is_given_up(folder, log, monkeypatch):
    plan(log, relation(cells(SCORE), ids(2)))
    for sample in ids(2):
        commit(log, cell_rows(SCORE, [sample]), value=1)
    merges_during(monkeypatch, folder, 9)
    with pytest.raises(StoreError, match="is gone or changes"):
        folder.table("scores")


def test_a_writer_that_merges_while_the_commits_are_read_does_no_harm(folder, log, monkeypatch):
    """A commit vanishes between listing and reading, or a data file before its size is looked at."""
    plan(log, relation(cells(SCORE), ids(3)))
    for sample in ids(3):
        commit(log, cell_rows(SCORE, [sample]), value=1)
    original, asked = type(folder.files).sizes, []

    def sizes(self, table):
        found = original(self, table)
        asked.append(table)
        if (table, asked.count(table)) in (("commits", 3), ("scores", 2)):
            writer = CommitLog.read(folder.files)
            merge(writer, [n for n, c in writer.commits.items() if c.of("scores")])
            found = found if table == "commits" else original(self, table)
        return found

    monkeypatch.setattr(type(folder.files), "sizes", sizes)
    assert scores(folder) == [("range", s, 1) for s in ids(3)]


def test_a_run_that_goes_on_is_read_as_far_as_it_is(folder, log):
    """Also between two changes of the writer, wherever it stands."""
    plan(log, relation(cells(SCORE), ids(6)))

    def go_on():
        for sample in ids(6):
            commit(log, cell_rows(SCORE, [sample]), value=1)
        merge_all(log)

    seen = []
    with dies_after(None) as changes:
        original = changes.take

        def take():
            seen.append(len(RunFolder(folder.path).table("scores")))
            original()

        changes.take = take
        go_on()
    assert seen == sorted(seen) and seen[-1] == 6 and len(seen) > 18


def test_no_run(folder):
    with pytest.raises(StoreError, match=r"does not exist|is no run: it holds no commits"):
        folder.snapshot()
    folder.files.write("units/a.json", b"{}")
    with pytest.raises(StoreError, match="older layout") as refused:
        folder.snapshot()
    assert "--out" in refused.value.mend


def test_a_folder_with_other_contents_is_refused(folder):
    folder.files.write("notes.txt", b"mine")
    with pytest.raises(StoreError, match=r"is no run and holds notes.txt"), folder.writing():
        pass
    folder.files.remove("notes.txt")
    folder.files.write(RUN_FILE, b"limit = 3")  # the user's own: nothing of a run lies beside it
    with pytest.raises(StoreError, match=r"holds run.toml"), folder.writing():
        pass


def test_a_run_that_lost_all_of_its_commits_goes_on(folder, log):
    plan(log, relation(cells(SCORE), ids(2)))
    commit(log, cell_rows(SCORE, ids(2)))
    folder.files.write(RUN_FILE, b"[record]\ncommit = 2\n")
    for name in folder.files.sizes("commits"):
        folder.files.remove(f"commits/{name}")
    with folder.writing() as found:
        assert found.lost == (1, 2) and not found.commits and found.next_number == 3
    assert not folder.files.sizes("scores")


def test_damage_is_said_before_anything_is_mended(folder, log):
    """A process that is killed while it mends has said it."""
    plan(log, relation(cells(SCORE, MAPS), ids(2)))
    commit(log, cell_rows(SCORE, ids(2)), cell_rows(MAPS, ids(2)))
    folder.files.remove("maps/00000002.parquet")
    said = []
    with pytest.raises(Killed), dies_after(0), folder.writing(lambda log: said.extend(log.damage)):
        pass
    assert said == ["maps/00000002.parquet"]


def test_predictions_are_read_from_the_commits_that_hold_them(folder, log):
    where = address("predict")
    asked = relation(cells(where), ids(3))
    plan(log, asked)
    commit(log, cell_rows(where, ids(3)))
    commit(log, cell_rows(where, ["s1"]))
    found = Snapshot(log).predictions(asked, "toy", "", "faces")
    assert sorted(s for s, _ in found) == list(ids(3))


def test_a_location_of_any_kind(place, log):
    plan(log, relation(cells(SCORE), ids(1)))
    assert RunFolder(location_of(place)).exists()
    assert isinstance(RunFolder(place).table("scores"), pa.Table)
