"""Joining runs by address: the plan of all of them, and their rows that it asks for."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from xaibench.api import StoreError, canonical_json, parse_toml
from xaibench.store.commits import DATA_TABLES, CommitLog
from xaibench.store.files import Location
from xaibench.store.folder import RUN_FILE, RunFolder
from xaibench.store.joined_plan import JoinedPlan, RunPlan, join_plans
from xaibench.store.ledger import Ledger
from xaibench.store.merging import allowed_by, keep_rows, merge_all
from xaibench.store.planning import add_plan, is_whole, run_id, run_table, run_toml
from xaibench.store.relation import WHOLE, Address, Relation, RelationCell
from xaibench.store.schema import COMPONENTS, RUNS
from xaibench.store.snapshot import Snapshot
from xaibench.store.table_paths import shorten_values


@dataclass(frozen=True, slots=True)
class Joined:
    """What came of joining runs.

    ``taken`` is the number of results that were taken from each run; a result is a cell at a sample, or a whole cell.
    ``planned`` is the number that the joined plan asks for, ``left`` that of those which no run holds. ``notes`` say
    what a user may not expect.
    """

    out: Location
    taken: tuple[tuple[str, int], ...]
    planned: int
    left: int
    notes: tuple[str, ...]


def join_runs(runs: Sequence[str | Path], out: str | Path) -> Joined:
    """Join runs into the run ``out``, which is made where it does not exist.

    The joined plan asks for the cells and samples of all. A row is taken where the joined plan asks for it and ``out``
    holds none that is as good: a failed one gives way to another, and one whose map was dropped to one whose map was
    kept. Of several equal ones the first is taken. A row of a whole set is taken only where the set of the joined plan
    is the same; the others are due, as results of the joined plan that no run holds.

    The runs are read, not changed. Raises :class:`StoreError` for what is no run or is damaged, and for runs of which
    one cell or sample is not the same.
    """
    folder = RunFolder(out)
    opened = [_Run.open(run) for run in runs]
    sources = [run for run in opened if _absolute(run.folder.path) != _absolute(folder.path)]
    plans = [run.plan for run in sources]
    if plans:
        join_plans(plans)  # refuses before anything is written
    damage: dict[str, str] = {}
    with folder.writing(lambda log: damage.update(log.damage)) as log:
        before = Snapshot(log)
        paths = {short: path for plan in reversed(plans) for short, path in plan.paths.items()}
        own = RunPlan(str(folder.path), before, paths) if before.readable else None
        joined = join_plans(plans, own)
        paths |= own.paths if own else {}
        run_file = _commit_plan(folder, log, joined, own, plans)
        _write_run_file(folder, log, run_file, paths)
        taken = _take_all(sources, log, joined.relation)
        merge_all(log)
        _write_run_file(folder, log, run_file, paths)
        missing = [~log.ledger.valid(cell, joined.relation) for cell in joined.relation.cells]
    said = (f"{folder.path}/{name}: {what}; its results are lost" for name, what in damage.items())
    return Joined(
        out=folder.path, taken=tuple(zip((r.plan.name for r in sources), taken, strict=True)),
        planned=sum(map(len, missing)), left=sum(int(m.sum()) for m in missing),
        notes=(*said, *joined.notes),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Run:
    """A run to take rows from."""

    folder: RunFolder
    plan: RunPlan

    @staticmethod
    def open(path: str | Path) -> _Run:
        folder = RunFolder(path)
        folder.snapshot().refuse_damage()
        return _Run(folder, RunPlan(str(path), folder.snapshot()))

    @property
    def log(self) -> CommitLog:
        return self.plan.snapshot.log


def _absolute(location: Location) -> Location:
    return location.resolve() if isinstance(location, Path) else location


# ---- the plan ----


def _commit_plan(
    folder: RunFolder, log: CommitLog, joined: JoinedPlan, own: RunPlan | None, plans: Sequence[RunPlan]
) -> dict[str, Any]:
    """Commit the joined plan and the records of the runs, unless the folder holds them; the run file of the plan."""
    known = {row["run"] for row in own.rows("runs")} if own else set()
    run_file = {"out": str(folder.path), **joined.run_file}
    runs, components = [], []
    for plan in plans:
        new = [row for row in plan.rows("runs") if row["run"] not in known]
        known |= (names := {row["run"] for row in new})
        runs += new
        components += [row for row in plan.rows("components") if row["run"] in names]
    if own is None or runs or joined.adds_to(own) or not is_whole(log):
        name = run_id()
        text = canonical_json({**joined.to_json(), "run_file": shorten_values(run_file)})
        components += _components([*([own] if own else []), *plans], name)
        add_plan(
            log, joined.samples,
            [pa.Table.from_pylist(runs, RUNS), run_table(text, name, joined.identity["seed"], sys.argv)],
            [pa.Table.from_pylist(components, COMPONENTS)],
        )  # fmt: skip
    return run_file


def _write_run_file(folder: RunFolder, log: CommitLog, run_file: Mapping[str, Any], paths: Mapping[str, str]) -> None:
    """Write ``run.toml``, unless it says the same."""
    last = max(log.commits)
    try:
        old = parse_toml(folder.files.read(RUN_FILE).decode("utf-8"))
    except (OSError, ValueError):
        old = {}
    if old != {**run_file, "record": {**old.get("record", {}), "commit": last, "paths": dict(paths)}}:
        text = run_toml(run_file, str(Snapshot(log).last_run["run"]), last, paths)
        folder.files.write(RUN_FILE, text.encode())


def _components(plans: Iterable[RunPlan], run: str) -> Iterator[dict[str, Any]]:
    """The components of the last plan of each run, each once, as those of the run ``run``."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for plan in plans:
        for row in plan.rows("components"):
            if row["run"] == plan.snapshot.last_run["run"]:
                found.setdefault((row["kind"], row["name"]), {**row, "run": run})
    yield from found.values()


# ---- the rows ----


def _take_all(sources: Sequence[_Run], log: CommitLog, relation: Relation) -> list[int]:
    """Take the rows of samples of every run, then those of whole sets, whose keys follow from the former."""
    taken = [0] * len(sources)
    for of_sets in (False, True):
        cells = [cell for cell in relation.cells if bool(cell.inputs) is of_sets]
        for i, source in enumerate(sources):
            try:
                taken[i] += _take(source.log, log, cells, relation)
            except FileNotFoundError:
                raise StoreError(
                    f"{source.plan.name} is gone or changes", "give the same command again when it has ended"
                ) from None
    return taken


def _take(source: CommitLog, log: CommitLog, cells: Iterable[RelationCell], relation: Relation) -> int:
    """Take the rows of a run that are better than those that are there, a commit at a time; their number."""
    wanted: dict[int, dict[Address, set[str]]] = {}
    for cell in cells:
        ids = (WHOLE,) if cell.whole else relation.samples[cell.address.dataset].ids
        key = log.ledger.key_of(cell, relation)
        better = _quality(source.ledger, cell, key, relation, ids) > _quality(log.ledger, cell, key, relation, ids)
        holders = source.ledger.commits(cell.address, ids)
        for i in np.flatnonzero(better).tolist():
            wanted.setdefault(int(holders[i]), {}).setdefault(cell.address, set()).add(ids[i])
    return sum(_copy(source, log, number, wanted[number]) for number in sorted(wanted))


def _quality(
    ledger: Ledger, cell: RelationCell, key: str | None, relation: Relation, ids: Sequence[str]
) -> NDArray[np.int8]:
    """How good the row of each sample is: 0 where it is not the planned one, 1 failed, 2 without its map, 3 complete.

    ``key`` is the full key of the cell. A run alone does not know it: it may lack inputs of the joined set.
    """
    planned = np.array([ledger.keys(cell.address) == {key}]) if cell.inputs else ledger.valid(cell, relation)
    ok = ~ledger.failed(cell.address, ids)
    return planned * (1 + ok.astype(np.int8) + (ok & ledger.kept(cell.address, ids)))


def _copy(source: CommitLog, log: CommitLog, number: int, wanted: Mapping[Address, set[str]]) -> int:
    """Copy some rows of a commit into a commit of another run."""
    commit = source.commits[number]
    cells = [c for row in source.rows_of(commit) if (c := row.at(wanted.get(row.address, ()))).samples]
    count, allowed = sum(len(cell.samples) for cell in cells), allowed_by(cells)

    def pieces(table: str) -> Iterator[pa.Table]:
        for file in commit.of(table):
            for rows in source.pieces_of(file):
                yield rows if count == commit.total else keep_rows(rows, allowed)

    # Not the level of what was merged twice, so that the commits of many runs are merged with each other.
    log.add({t: pieces(t) for t in DATA_TABLES if commit.of(t)}, cells, level=min(commit.level, 1))
    return count
