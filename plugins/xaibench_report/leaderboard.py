"""From the tables of a run to its leaderboards: one a metric family, no overall number.

Rows are explainers, columns the primary scores of the family's metrics. Every mean is over the explainer's
own complete samples and says how many they are; ranks, differences and verdicts use only samples that all the
compared explainers have, and the notes say where that makes a difference. Controls are never ranked. In localisation
every manipulation method weighs alike (:mod:`~xaibench_report.manipulation_methods`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, replace
from typing import Literal, cast

import numpy as np

from xaibench_report.above_untouched import above_notes, above_untouched
from xaibench_report.board_cells import Cell, Column, make_cell, make_column
from xaibench_report.board_notes import absent_notes, independent_notes, interval_notes, not_applicable, score_notes
from xaibench_report.censoring import censoring_notes, with_censoring
from xaibench_report.data_doubts import data_doubts
from xaibench_report.detection import Detection, LeftOut, detections
from xaibench_report.detector_tables import DetectorTable, detector_tables, of_detector
from xaibench_report.manipulation_methods import (
    FAMILY,
    BoardMethod,
    Gate,
    alike,
    board_methods,
    even,
    gate,
    gate_notes,
    method_cells,
)
from xaibench_report.marks import DetectorMark, withholding
from xaibench_report.run_values import (
    CellKey,
    CellValues,
    Role,
    RunTables,
    ScoreInfo,
    Where,
    cell_values,
    family_order,
    measured,
    score_order,
    short,
)
from xaibench_report.score_items import require_headroom, split_items, without_item
from xaibench_report.score_outputs import output_notes
from xaibench_report.verdicts import ScoreVerdict, score_verdict
from xaibench_statistics import RESAMPLES, SEED, Difference, Ranking, holm, paired_difference, rank_explainers

ScoreKey = tuple[str, str]
_ROLES: tuple[Role, ...] = ("explainer", "control", "inverse", "reference")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One explainer; ``cells`` follow the board's columns. The empty name stands for scores without an
    explainer."""

    explainer: str
    role: Role
    cells: tuple[Cell | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Companion:
    """A score that stands beside those of a board and ranks nothing: a control, a null, a share of flips, a cost.
    ``cells`` by explainer."""

    column: Column
    cells: Mapping[str, Cell]


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """One metric family on one detector and dataset: explainers first, controls after them.

    ``methods``: the manipulation methods behind a board of localisation; empty on others. ``beside``: the scores that
    are not primary, in the order in which they are declared. ``withheld``: the marks of the detector for which the
    board has neither ranks nor verdicts.
    """

    family: str
    where: Where
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    verdicts: tuple[ScoreVerdict, ...]
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...]
    methods: tuple[BoardMethod, ...] = ()
    beside: tuple[Companion, ...] = ()
    withheld: tuple[DetectorMark, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaderboards:
    """Everything that is printed of a run. ``marks``: what a reader must know of its detectors; ``doubts``: the lines
    about samples in doubt. ``seed`` and ``resamples`` are those of the bootstrap; ``detectors`` are the tables of
    measures that need no map."""

    detections: tuple[Detection, ...]
    boards: tuple[Board, ...]
    seed: int = SEED
    resamples: int = RESAMPLES
    detectors: tuple[DetectorTable, ...] = ()
    marks: tuple[DetectorMark, ...] = ()
    doubts: tuple[str, ...] = ()


def build_leaderboards(tables: RunTables, info: ScoreInfo, *, seed: int = SEED) -> Leaderboards:
    """The detectors' own results and one board for every (dataset, detector, metric family) with scores.

    Scores of a whole family of training runs stand on a board of their own, whose ``where.member`` is empty.
    """
    cells = ready_cells(tables, info, seed)
    mapped = {key: cell for key, cell in cells.items() if not of_detector(cell)}
    found = detections(tables, seed=seed)
    seen = {d.where: d for d in found}
    marks = tuple(m for d in found for m in d.marks)
    keys = sorted({(k.where, info.family(k.metric)) for k in mapped}, key=lambda k: (k[0], family_order(k[1])))
    boards = [
        _board(
            where, family, columns=_columns(mapped, where, family, info), every=mapped, detection=seen.get(where),
            withheld=tuple(withholding(where, marks)), info=info, seed=seed,
        )
        for where, family in keys
    ]  # fmt: skip
    above = above_untouched(tables.curves, info)
    boards = [replace(b, notes=(*b.notes, *above_notes(b.where, b.family, above, info))) for b in boards]
    return Leaderboards(
        detections=found, boards=tuple(b for b in boards if b.columns), seed=seed,
        detectors=detector_tables(cells, info, seed), marks=marks, doubts=data_doubts(tables.samples),
    )  # fmt: skip


def ready_cells(tables: RunTables, info: ScoreInfo, seed: int) -> dict[CellKey, CellValues]:
    """Every cell of a run as tables use it: items apart, censored values marked, none where a measure has no headroom,
    and manipulation methods kept apart only where they weigh alike."""
    cells = cell_values(split_items(tables.scores, info))
    cells = {key: with_censoring(key, cell, cells, info) for key, cell in cells.items()}
    cells = {key: require_headroom(key, cell, cells, info, seed) for key, cell in cells.items()}
    return {key: cell if info.family(key.metric) == FAMILY else alike(cell) for key, cell in cells.items()}


def _columns(
    cells: Mapping[CellKey, CellValues], where: Where, family: str, info: ScoreInfo, *, primary: bool = True
) -> dict[ScoreKey, dict[str, CellValues]]:
    """The cells of one board: score -> explainer -> cell, in the order in which the scores are declared."""
    found: dict[ScoreKey, dict[str, CellValues]] = {}
    for key, cell in cells.items():
        wanted = key.score and info.primary(key.metric, key.score) == primary
        if key.where == where and info.family(key.metric) == family and wanted:
            found.setdefault((key.metric, key.score), {})[key.explainer] = cell
    order = sorted(found.keys() - without_item(found, info), key=score_order(info))
    return {key: found[key] for key in order}


def _board(
    where: Where,
    family: str,
    *,
    columns: Mapping[ScoreKey, Mapping[str, CellValues]],
    every: Mapping[CellKey, CellValues],
    detection: Detection | None,
    withheld: tuple[DetectorMark, ...],
    info: ScoreInfo,
    seed: int,
) -> Board:
    by_method = family == FAMILY
    found = gate(where, every) if by_method else Gate()
    all_cells = [c for cells in columns.values() for c in cells.values()]
    methods = board_methods(all_cells, found, detection) if by_method else ()
    ranked = {key: {e: found.keeps(c) for e, c in cells.items()} for key, cells in columns.items()}
    rankings = {
        key: _ranking(cells, info, seed) if _is_ranked(key, info) and not withheld else None
        for key, cells in ranked.items()
    }
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
        for key, cells in (ranked.items() if not withheld else ())
    )
    return Board(
        family=family,
        where=where,
        columns=tuple(make_column(key, c, _common(rankings[key]), info) for key, c in columns.items()),
        rows=tuple(sorted(rows, key=_row_order)),
        verdicts=tuple(v for v in judged if v is not None),
        left_out=_left_out(where, family, every, info),
        notes=(
            *absent_notes(absent, info),
            *independent_notes(names - absent.keys(), info),
            *gate_notes(found, methods),
            *output_notes(columns, info),
            *(
                n
                for key, cells in columns.items()
                for n in (
                    *score_notes(key, cells, rankings[key], info),
                    *censoring_notes(key, cells, info),
                    *interval_notes(key, {e: c.estimate for e, c in filled[key].items() if c.estimate}),
                )
            ),
        ),
        methods=methods,
        beside=tuple(_beside(_columns(every, where, family, info, primary=False), names - absent.keys(), info, seed)),
        withheld=withheld,
    )


def _beside(
    columns: Mapping[ScoreKey, Mapping[str, CellValues]], explainers: Set[str], info: ScoreInfo, seed: int
) -> Iterator[Companion]:
    """Those of which something is known of a row of the board."""
    for key, cells in columns.items():
        found = {e: make_cell(c, seed) for e, c in cells.items() if e in explainers}
        if any(c.estimate for c in found.values()):
            yield Companion(column=make_column(key, cells, 0, info), cells=found)


def _is_ranked(key: ScoreKey, info: ScoreInfo) -> bool:
    spec = info.spec(*key)
    return spec is None or spec.ranked


def _common(ranking: Ranking | None) -> int:
    return ranking.n if ranking else 0


def _row_order(row: Row) -> tuple[int, float, str]:
    """Explainers by their rank under the first score, then controls, inverses and references by name."""
    first = row.cells[0] if row.cells else None
    rank = first.rank.rank if first is not None and first.rank is not None else float("inf")
    return (_ROLES.index(row.role), rank, row.explainer)


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
            make_cell(c, seed),
            rank=ranking.ranks.get(e) if ranking else None,
            versus_best=versus.get(e),
            methods=method_cells(c, seed) if by_method else (),
        )
        for e, c in cells.items()
    }


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
