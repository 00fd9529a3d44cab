"""Merging: few files, no superseded row, nothing rewritten more than twice, and a kill at any moment loses nothing."""

from __future__ import annotations

from collections import Counter

import pyarrow as pa
import pytest
from dying_files import Killed, dies_after
from store_rows import address, cell, cell_rows, commit, ids, key_of, plan, relation

from xaibench.api import Passes
from xaibench.store import merging
from xaibench.store.commits import CommitLog
from xaibench.store.merging import START, drop_superseded, merge, merge_all, merge_some
from xaibench.store.relation import WHOLE

SCORE, MAPS, PREDICT = address(), address("explain"), address("predict")


@pytest.fixture
def log(files):
    return CommitLog.read(files)


def rows(log, table="scores"):
    """(explainer, sample, value or key) of every row in the files of a table, sorted."""
    found = [log.read_file(f) for c in log.commits.values() for f in c.of(table)]
    if not found:
        return []
    whole = pa.concat_tables(found)
    names = ["explainer", "sample", "value" if table == "scores" else "cell"]
    return sorted(tuple(r.values()) for r in whole.select(names).to_pylist())


def checked(files):
    """The log as it is read anew, where the files of the folder are exactly those that it names."""
    log = CommitLog.read(files, verify=True)
    assert not log.damage and not log.lost
    named = Counter(f.table for c in log.commits.values() for f in c.files)
    for table in ("scores", "maps", "predictions"):
        assert len(files.sizes(table)) == named[table]
    assert len(files.sizes("commits")) == len(log.commits)
    counts = log.ledger.counts()
    assert all(counts.get(c.number, 0) == c.total for c in log.commits.values() if c.level != START)
    return log


def test_merged_rows_are_the_current_rows(log, files):
    for i, sample in enumerate(ids(5)):
        commit(log, cell_rows(SCORE, [sample]), cell_rows(MAPS, [sample]), value=i)
    commit(log, cell_rows(SCORE, ["s1", "s3"]), value=9)
    merge(log, list(log.commits))
    for again in (log, checked(files)):
        assert rows(again) == [("rows", f"s{i}", v) for i, v in enumerate([0, 9, 2, 9, 4])]
        assert len(rows(again, "maps")) == 5
        assert again.ledger.counts() == {7: 10}


def test_one_row_of_commits_a_cell_with_the_costs_of_all(log, files):
    for i, sample in enumerate(ids(3)):
        costs = {"seconds": 1.0, "passes": Passes(forward=2), "attempts": i + 1, "peak_memory": i}
        commit(log, cell_rows(SCORE, [sample], error="no luck" if i == 1 else "", **costs))
    commit(log, cell_rows(SCORE, ["s3"], key="k2"))  # another key: a row of its own
    commit(log, cell_rows(MAPS, ["s0"], kept=False))
    merge(log, list(log.commits))
    (merged,) = log.commits.values()
    first, second, third = checked(files).rows_of(merged)
    assert (first.samples, first.seconds, first.passes, first.attempts, first.error, first.peak_memory) == (
        ids(3), 3.0, Passes(forward=6), 3, "no luck", 2,
    )  # fmt: skip
    assert second.key == key_of(SCORE, "k2") and third.address == MAPS and not third.kept
    assert checked(files).ledger.kept(MAPS, ids(1)).tolist() == [False]


def test_no_superseded_row_is_left_at_the_end(log, files):
    commit(log, cell_rows(SCORE, ids(4)), cell_rows(MAPS, ids(4)), value=1)
    commit(log, cell_rows(SCORE, ["s0"]), value=2)
    commit(log, cell_rows(address(metric="gone"), [WHOLE], status="not_applicable"))
    commit(log, cell_rows(address(metric="gone"), ids(2)), value=3)
    merge_all(log)
    read = checked(files)
    assert rows(read) == [
        ("rows", "s0", 2), ("rows", "s0", 3), ("rows", "s1", 1), ("rows", "s1", 3), ("rows", "s2", 1), ("rows", "s3", 1),
    ]  # fmt: skip


def test_cells_of_equal_samples_are_told_apart(log, files):
    """Superseding one of two cells in a commit leaves the other."""
    commit(log, cell_rows(SCORE, ids(2)), cell_rows(address(explainer="other"), ids(2)), value=1)
    commit(log, cell_rows(SCORE, ids(2)), value=2)
    drop_superseded(log)
    assert rows(checked(files)) == [("other", "s0", 1), ("other", "s1", 1), ("rows", "s0", 2), ("rows", "s1", 2)]


def test_a_commit_of_which_nothing_is_current_leaves_no_row(log, files):
    commit(log, cell_rows(SCORE, ids(2)), value=1)
    commit(log, cell_rows(SCORE, ids(2)), value=2)
    merge_all(log)
    assert rows(checked(files)) == [("rows", "s0", 2), ("rows", "s1", 2)]


def test_no_row_is_rewritten_more_than_twice(log, files, monkeypatch):
    """Every sample is written once by its own commit and then in at most two others."""
    monkeypatch.setattr(merging, "_MANY", {0: 4, 1: 3})
    monkeypatch.setattr(merging, "_MANY_AT_END", {0: 2, 1: 2})
    written = Counter()
    original = CommitLog.add

    def counted(self, tables, cells, **more):
        written.update(s for c in cells for s in c.samples)
        return original(self, tables, cells, **more)

    monkeypatch.setattr(CommitLog, "add", counted)
    for sample in ids(90):
        commit(log, cell_rows(SCORE, [sample]))
        merge_some(log, 0)
    levels = Counter(c.level for c in log.commits.values())
    assert levels[0] < 4 and levels[1] < 3 and levels[2] >= 6
    merge_all(log)
    assert max(written.values()) == 3 and len(written) == 90
    assert len(rows(checked(files))) == 90


def test_while_a_stage_runs_only_its_own_commits_are_merged(log, files, monkeypatch):
    """Tasks that are out read files of earlier stages by name."""
    monkeypatch.setattr(merging, "_MANY", {0: 3, 1: 3})
    for sample in ids(5):
        commit(log, cell_rows(MAPS, [sample]))
    for sample in ids(5):
        commit(log, cell_rows(SCORE, [sample]))
        merge_some(log, 5)
    assert list(log.commits)[:5] == [1, 2, 3, 4, 5] and len(files.sizes("maps")) == 5
    assert len(log.commits) < 10 and len(rows(checked(files))) == 5


@pytest.mark.parametrize("superseded", [False, True])
def test_a_large_file_is_taken_over_as_it_is(log, files, monkeypatch, superseded):
    """And nothing else of its commit is lost, whose files have the same name. A row of it that is superseded goes."""
    monkeypatch.setattr(merging, "_ADOPTED", 2**16)
    commit(log, cell_rows(SCORE, ids(3)), cell_rows(MAPS, ids(3)), value=1, payload=2**15)
    commit(log, cell_rows(SCORE, ["s3"]), cell_rows(MAPS, ["s3"]), value=1)
    if superseded:
        commit(log, cell_rows(MAPS, ["s0"]))
    before = files.read("maps/00000001.parquet")
    merge(log, list(log.commits))
    read = checked(files)
    assert rows(read) == [("rows", s, 1) for s in ids(4)]
    assert [r[1] for r in rows(read, "maps")] == list(ids(4))
    (merged,) = read.commits.values()
    assert ("00000001.parquet" in [f.name for f in merged.of("maps")]) is not superseded
    if not superseded:
        assert files.read("maps/00000001.parquet") == before
        unit = {u for f in merged.of("maps") for u in read.read_file(f)["unit"].to_pylist()}
        assert unit == {"00000001", "00000003"}
        merge(read, [3])  # and once more
        assert files.read("maps/00000001.parquet") == before and rows(checked(files)) == rows(read)


def test_no_file_grows_without_bound(log, files, monkeypatch):
    """A file of maps under 256 MB, here under 2 MB."""
    monkeypatch.setattr("xaibench.store.commits._LARGEST", 2**20)
    monkeypatch.setattr("xaibench.store.commits._SLICE", 2**18)
    monkeypatch.setattr(merging, "_ADOPTED", 2**18)
    for start in range(0, 80, 10):
        commit(log, cell_rows(MAPS, ids(80)[start : start + 10]), payload=2**15)
        merge_all(log)
    commit(log, cell_rows(MAPS, ids(80)[::7]), payload=2**15)  # a bit of every file is superseded
    merge_all(log)
    merge(log, list(log.commits))
    sizes = files.sizes("maps").values()
    assert max(sizes) < 2**21 and len(rows(checked(files), "maps")) == 80


def history(log):
    """Commits, a plan, a superseded row, merges of both levels."""
    asked = relation([cell(SCORE), cell(MAPS)], ids(4))
    plan(log, asked)
    for sample in ids(4):
        commit(log, cell_rows(SCORE, [sample]), cell_rows(MAPS, [sample]), value=1)
        merge_some(log, 1)
    commit(log, cell_rows(SCORE, ["s2"]), value=2)
    merge_all(log)


@pytest.mark.parametrize("place", ["memory"], indirect=True)
def test_killed_at_every_change_and_repaired(files, monkeypatch):
    """Between data files, before a commit, between the unlinkings: what was committed is there, and nothing twice."""
    monkeypatch.setattr(merging, "_MANY", {0: 2, 1: 2})
    monkeypatch.setattr(merging, "_MANY_AT_END", {0: 2, 1: 2})
    monkeypatch.setattr(merging, "_ADOPTED", 2**30)
    with dies_after(None) as changes:
        history(CommitLog.read(files))
    calm = rows(checked(files))
    clear(files)
    assert changes.count > 40
    done = [0]
    for change in range(changes.count):
        with pytest.raises(Killed), dies_after(change):
            history(CommitLog.read(files))
        before = CommitLog.read(files, verify=True)
        assert not before.damage and not before.lost
        seen = rows(before)  # a reader sees each row once, whatever lies about
        assert len({r[:2] for r in seen}) == len(before.ledger.commits(SCORE, ids(4)).nonzero()[0])
        before.remove_orphans()
        drop_superseded(before)
        after = checked(files)
        done.append(len(rows(after)))
        assert done[-1] >= done[-2]
        assert set(rows(after)) <= {(e, s, v) for e, s, _ in calm for v in (1, 2)}
        clear(files)
    assert done[-1] == 4


def clear(files):
    for table in ("scores", "maps", "samples", "runs", "components", "commits"):
        for name in files.sizes(table):
            files.remove(f"{table}/{name}")
