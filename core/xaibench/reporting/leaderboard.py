"""From the tables of a run to its leaderboards: one a metric family, no overall number.

Rows are explainers, columns the primary scores of the family's metrics. Every mean is over the explainer's
own complete samples and says how many they are; ranks, differences and verdicts use only samples that all the
compared explainers have, and the notes say where that makes a difference. Controls are never ranked. In localisation
every manipulation method weighs alike (:mod:`~xaibench.reporting.methods`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, cast

import numpy as np

from xaibench.reporting.detection import Detection, LeftOut, detections
from xaibench.reporting.items import split_items, without_room
from xaibench.reporting.methods import (
    FAMILY,
    BoardMethod,
    Gate,
    MethodCell,
    alike,
    board_methods,
    even,
    even_mean,
    gate,
    gate_notes,
    method_cells,
)
from xaibench.reporting.notes import absent_notes, interval_notes, not_applicable, score_notes
from xaibench.reporting.results import (
    FAMILIES,
    CellKey,
    CellValues,
    Role,
    RunTables,
    ScoreInfo,
    Where,
    cell_values,
    measured,
    short,
)
from xaibench.reporting.verdicts import ScoreVerdict, score_verdict
from xaibench.statistics import (
    RESAMPLES,
    SEED,
    Difference,
    Estimate,
    Rank,
    Ranking,
    holm,
    paired_difference,
    rank_explainers,
)

ScoreKey = tuple[str, str]
_ROLES: tuple[Role, ...] = ("explainer", "control", "inverse", "reference")


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One score of one metric. ``common``: samples that the ranks rest on; ``labels``: how many of them are
    what."""

    metric: str
    score: str
    better: str
    scope: str
    definitions: tuple[int, ...]
    items: tuple[str, ...]
    common: int
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One explainer under one score.

    ``estimate`` is None where nothing was defined, and ``why`` says so. ``span`` is the range over items of a
    score of a whole detector or family, which has no samples and so no interval. ``incomplete`` counts
    samples left out. ``versus_best``: paired difference to the explainer of rank 1 on the samples of the
    ranks; ``p_holm`` is adjusted over the column. ``methods``, on boards of localisation: the mean of every
    manipulation method, over which ``estimate`` is the mean.
    """

    estimate: Estimate | None
    span: tuple[float, float] | None = None
    rank: Rank | None = None
    versus_best: Difference | None = None
    labels: Mapping[str, int]
    incomplete: int = 0
    why: str = ""
    methods: tuple[MethodCell, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One explainer; ``cells`` follow the board's columns. The empty name stands for scores without an
    explainer."""

    explainer: str
    role: Role
    cells: tuple[Cell | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """One metric family on one detector and dataset: explainers first, controls after them.

    ``methods``: the manipulation methods behind a board of localisation; empty on others.
    """

    family: str
    where: Where
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    verdicts: tuple[ScoreVerdict, ...]
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...]
    methods: tuple[BoardMethod, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaderboards:
    """Everything that is printed of a run. ``seed`` and ``resamples`` are those of the bootstrap."""

    detections: tuple[Detection, ...]
    boards: tuple[Board, ...]
    seed: int = SEED
    resamples: int = RESAMPLES


def build_leaderboards(tables: RunTables, info: ScoreInfo, *, seed: int = SEED) -> Leaderboards:
    """The detectors' own results and one board for every (dataset, detector, metric family) with scores.

    Scores of a whole family of training runs stand on a board of their own, whose ``where.member`` is empty.
    """
    cells = cell_values(split_items(tables.scores, info))
    cells = {key: without_room(key, cell, cells, info, seed) for key, cell in cells.items()}
    cells = {key: cell if info.family(key.metric) == FAMILY else alike(cell) for key, cell in cells.items()}
    found = detections(tables, seed=seed)
    seen = {d.where: d for d in found}
    keys = sorted({(k.where, info.family(k.metric)) for k in cells}, key=lambda k: (k[0], _family_order(k[1])))
    boards = [
        _board(
            where, family, columns=_columns(cells, where, family, info), every=cells, detection=seen.get(where),
            info=info, seed=seed,
        )
        for where, family in keys
    ]  # fmt: skip
    return Leaderboards(detections=found, boards=tuple(b for b in boards if b.columns), seed=seed)


def _family_order(family: str) -> tuple[int, str]:
    return (FAMILIES.index(family) if family in FAMILIES else len(FAMILIES), family)


def _columns(
    cells: Mapping[CellKey, CellValues], where: Where, family: str, info: ScoreInfo
) -> dict[ScoreKey, dict[str, CellValues]]:
    """The cells of one board: score -> explainer -> cell, in the order in which the scores are declared."""
    declared = {key: i for i, key in enumerate(info.specs)}
    found: dict[ScoreKey, dict[str, CellValues]] = {}
    for key, cell in cells.items():
        primary = key.score and info.primary(key.metric, key.score)
        if key.where == where and info.family(key.metric) == family and primary:
            found.setdefault((key.metric, key.score), {})[key.explainer] = cell
    order = sorted(found, key=lambda k: (declared.get((k[0], k[1].partition(" ")[0]), len(declared)), k))
    return {key: found[key] for key in order}


def _board(
    where: Where,
    family: str,
    *,
    columns: Mapping[ScoreKey, Mapping[str, CellValues]],
    every: Mapping[CellKey, CellValues],
    detection: Detection | None,
    info: ScoreInfo,
    seed: int,
) -> Board:
    by_method = family == FAMILY
    found = gate(where, every) if by_method else Gate()
    all_cells = [c for cells in columns.values() for c in cells.values()]
    methods = board_methods(all_cells, found, detection) if by_method else ()
    ranked = {key: {e: found.keeps(c) for e, c in cells.items()} for key, cells in columns.items()}
    rankings = {key: _ranking(cells, info, seed) for key, cells in ranked.items()}
    filled = {
        key: _cells(cells, ranked[key], rankings[key], seed, by_method=by_method) for key, cells in columns.items()
    }
    names = {e for cells in columns.values() for e in cells}
    absent = not_applicable(columns, names)
    rows = [
        Row(explainer=e, role=info.role(e), cells=tuple(filled[key].get(e) for key in columns))
        for e in names
        if e not in absent
    ]
    judged = (
        score_verdict(
            *key, cells, info=info, ranking=rankings[key], seed=seed, why_not=found.closed(columns[key].values())
        )
        for key, cells in ranked.items()
    )
    return Board(
        family=family,
        where=where,
        columns=tuple(_column(key, cells, rankings[key], info) for key, cells in columns.items()),
        rows=tuple(sorted(rows, key=_row_order)),
        verdicts=tuple(v for v in judged if v is not None),
        left_out=_left_out(where, family, every, info),
        notes=(
            *absent_notes(absent, info),
            *gate_notes(found, methods),
            *(
                n
                for key, cells in columns.items()
                for n in (
                    *score_notes(key, cells, rankings[key], info),
                    *interval_notes(key, {e: c.estimate for e, c in filled[key].items() if c.estimate}),
                )
            ),
        ),
        methods=methods,
    )


def _row_order(row: Row) -> tuple[int, float, str]:
    """Explainers by their rank under the first score, then controls, inverses and references by name."""
    first = row.cells[0] if row.cells else None
    rank = first.rank.rank if first is not None and first.rank is not None else float("inf")
    return (_ROLES.index(row.role), rank, row.explainer)


def _column(key: ScoreKey, cells: Mapping[str, CellValues], ranking: Ranking | None, info: ScoreInfo) -> Column:
    spec = info.spec(*key)
    return Column(
        metric=key[0],
        score=key[1],
        better=measured(cells).better,
        scope=measured(cells).scope,
        definitions=tuple(sorted({d for c in cells.values() for d in c.definitions})),
        items=tuple(sorted({i for c in cells.values() for i in c.items})),
        common=ranking.n if ranking else 0,
        description=spec.description if spec else "",
    )


def _ranking(cells: Mapping[str, CellValues], info: ScoreInfo, seed: int) -> Ranking | None:
    """Ranks of the explainers that are no controls; None for scores without samples or direction."""
    better = measured(cells).better
    ranked = {e: c for e, c in cells.items() if e and info.role(e) == "explainer" and len(c.values)}
    if better == "none" or not ranked:
        return None
    direction = cast(Literal["higher", "lower"], better)
    found = rank_explainers({e: c.values for e, c in ranked.items()}, direction, seed=seed)
    if all(len(np.unique(c.methods)) < 2 for c in ranked.values()):
        return found
    samples = np.asarray(found.samples, dtype=np.str_)  # the same ones again: weighing changes no sizes
    return rank_explainers({e: even(c, samples) for e, c in ranked.items()}, direction, seed=seed)


def _cells(
    cells: Mapping[str, CellValues],
    ranked: Mapping[str, CellValues],
    ranking: Ranking | None,
    seed: int,
    *,
    by_method: bool,
) -> dict[str, Cell]:
    """``ranked``: the cells as the ranks use them."""
    versus = _versus_best(ranked, ranking, seed)
    return {
        e: replace(
            _cell(c, seed),
            rank=ranking.ranks.get(e) if ranking else None,
            versus_best=versus.get(e),
            methods=method_cells(c, seed) if by_method else (),
        )
        for e, c in cells.items()
    }


def _cell(cell: CellValues, seed: int) -> Cell:
    if len(cell.values):
        estimate = even_mean(cell, seed)
        return Cell(estimate=estimate, labels=cell.labels, incomplete=cell.incomplete)
    if cell.whole:
        values = sorted(cell.whole.values())
        span = (values[0], values[-1]) if len(values) > 1 else None
        note = f"one value of a whole {cell.scope}: no interval"
        if span:
            note = f"mean and range over {len(values)} items of a whole {cell.scope}: no interval"
        return Cell(estimate=Estimate(value=sum(values) / len(values), n=0, groups=0, note=note), span=span, labels={})
    return Cell(estimate=None, labels={}, incomplete=cell.incomplete, why=_why(cell))


def _why(cell: CellValues) -> str:
    """The commonest reason why nothing is defined."""
    if not cell.left_out:
        return "no rows"
    (status, reason), _ = max(cell.left_out.items(), key=lambda item: item[1])
    return f"{status.replace('_', ' ')}: {reason}" if reason else status


def _versus_best(cells: Mapping[str, CellValues], ranking: Ranking | None, seed: int) -> dict[str, Difference]:
    if ranking is None or len(ranking.ranks) < 2:
        return {}
    best = min(ranking.ranks, key=lambda e: (ranking.ranks[e].rank, e))
    others = [e for e in ranking.ranks if e != best]
    samples = np.asarray(ranking.samples, dtype=np.str_)
    on = {e: even(cells[e], samples).on(samples) for e in ranking.ranks}
    found = [paired_difference(on[e], on[best], seed=seed) for e in others]
    adjusted = holm([d.p for d in found])
    return {e: replace(d, p_holm=p) for e, d, p in zip(others, found, adjusted, strict=True)}


def _left_out(where: Where, family: str, cells: Mapping[CellKey, CellValues], info: ScoreInfo) -> tuple[LeftOut, ...]:
    """Values that are not ok, by metric, status and reason, over all explainers; what is not applicable is noted."""
    counts: Counter[tuple[str, str, str]] = Counter()
    for key, cell in cells.items():
        if key.where == where and info.family(key.metric) == family:
            for (status, reason), n in cell.left_out.items():
                if status != "not_applicable":
                    counts[key.metric, status, reason] += n
    return tuple(
        LeftOut(what=f"values of {short(m)}", status=s, reason=r, count=n) for (m, s, r), n in sorted(counts.items())
    )
