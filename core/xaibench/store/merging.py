"""Merging small files, and rewriting those that hold superseded or damaged rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from xaibench.api import Passes
from xaibench.store.commits import DATA_TABLES, CellRows, Commit, CommitLog
from xaibench.store.relation import Address

if TYPE_CHECKING:
    import pyarrow as pa

START = -1
"""The level of a commit that holds the tables of the plan and no cells."""
_MANY = {0: 32, 1: 16}
_MANY_AT_END = {0: 4, 1: 8}
_ADOPTED = 32 * 2**20  # a file of this size is taken over as it is

Allowed = Mapping[str, frozenset[str]]
"""Samples by cell key."""


def merge_some(log: CommitLog, since: int) -> None:
    """Merge commits of equal level where there are many. Only those after number ``since`` are touched."""
    for level, many in _MANY.items():
        small = [n for n, c in log.commits.items() if c.level == level and n > since]
        if len(small) >= many:
            merge(log, small)


def merge_all(log: CommitLog) -> None:
    """Leave few files, none of which holds a superseded row."""
    drop_superseded(log)
    for level, many in _MANY_AT_END.items():
        small = [n for n, c in log.commits.items() if c.level == level]
        if len(small) >= many:
            merge(log, small)


def drop_superseded(log: CommitLog) -> None:
    """Rewrite every commit that holds a superseded row."""
    counts = log.ledger.counts()
    for number in [n for n, c in log.commits.items() if c.level != START and counts.get(n, 0) != c.total]:
        merge(log, [number])


def repair(log: CommitLog) -> None:
    """Rewrite commits of which a file is missing or damaged, with what is left of them."""
    damaged = {name for name in log.damage if not name.startswith("commits/")}
    for number, commit in list(log.commits.items()):
        if commit.level != START and any(f"{f.table}/{f.name}" in damaged for f in commit.files):
            merge(log, [number])


def merge(log: CommitLog, numbers: Iterable[int]) -> None:
    """Put the current rows of some commits into one, which replaces them: files first, then its row, then the old go.

    A single commit keeps its level, since only what is superseded leaves it.
    """
    import pyarrow as pa

    sources = [_Source.of(log, log.commits[n]) for n in sorted(numbers)]
    cells = _joined(cell for source in sources for cell in source.cells)
    level = max(s.commit.level for s in sources) + (len(sources) > 1)
    adopted = [f for s in sources if s.whole for f in s.commit.files if f.size >= _ADOPTED]
    kept = {(f.table, f.name) for f in adopted}
    tables = {
        t: _pieces(log, sources, t, kept) for t in DATA_TABLES if any(s.commit.of(t) for s in sources)
    }  # fmt: skip
    log.add(
        tables, cells, level=min(level, 2), replaces=[s.commit.number for s in sources], adopted=adopted,
        supersede=False,
    )  # fmt: skip
    pa.default_memory_pool().release_unused()  # the driver's memory would grow by a merge's largest piece each time


@dataclass(frozen=True, slots=True)
class _Source:
    """A commit and its current rows. ``whole`` says that nothing of it is superseded or damaged."""

    commit: Commit
    cells: tuple[CellRows, ...]
    whole: bool

    @staticmethod
    def of(log: CommitLog, commit: Commit) -> _Source:
        cells = tuple(c for row in log.rows_of(commit) if (c := _current(log, commit, row)).samples)
        return _Source(commit, cells, sum(len(c.samples) for c in cells) == commit.total)


def _current(log: CommitLog, commit: Commit, cell: CellRows) -> CellRows:
    """The part of a commit's cell that is current."""
    holders = log.ledger.commits(cell.address, cell.samples)
    here = zip(cell.samples, holders.tolist(), strict=True)
    return cell.at({sample for sample, holder in here if holder == commit.number})


def _joined(cells: Iterable[CellRows]) -> list[CellRows]:
    """One row for each cell, with the costs of all and the error of the last that had one."""
    found: dict[tuple[Address, str, bool], list[CellRows]] = {}
    for cell in cells:
        found.setdefault((cell.address, cell.key, cell.kept), []).append(cell)
    return [_sum(several) for several in found.values()]


def _sum(cells: list[CellRows]) -> CellRows:
    last = next((c for c in reversed(cells) if c.error or c.reason), cells[-1])
    return replace(
        last,
        samples=tuple(s for c in cells for s in c.samples),
        statuses=tuple(s for c in cells for s in c.statuses),
        digests=tuple(d for c in cells for d in c.digests),
        attempts=max(c.attempts for c in cells),
        seconds=sum(c.seconds for c in cells),
        passes=sum((c.passes for c in cells), Passes()),
        peak_memory=max(c.peak_memory for c in cells),
    )


def _pieces(log: CommitLog, sources: Iterable[_Source], table: str, kept: Set[tuple[str, str]]) -> Iterator[pa.Table]:
    for source in sources:
        allowed = allowed_by(source.cells)
        for file in source.commit.of(table):
            if f"{file.table}/{file.name}" in log.damage or (file.table, file.name) in kept:
                continue
            for rows in log.pieces_of(file):
                yield rows if source.whole else keep_rows(rows, allowed)


def allowed_by(cells: Iterable[CellRows]) -> Allowed:
    """The samples of some cells by key."""
    found: dict[str, frozenset[str]] = {}
    for cell in cells:
        found[cell.key] = found.get(cell.key, frozenset()).union(cell.samples)
    return found


def keep_rows(rows: pa.Table, allowed: Allowed) -> pa.Table:
    """The rows whose sample is allowed in their cell."""
    import pyarrow as pa
    import pyarrow.compute as pc

    mask = pa.array([False] * len(rows), pa.bool_())
    for key in rows["cell"].unique().to_pylist():
        if key in allowed:
            samples = pa.array(sorted(allowed[key]), pa.string())
            here = pc.and_(pc.equal(rows["cell"], key), pc.is_in(rows["sample"], samples))
            mask = pc.or_(mask, here)
    return rows.filter(mask)
