"""From the tables of a run to its leaderboards: one a metric family, no overall number.

Rows are explainers, columns the primary scores of the family's metrics. Every mean is over the explainer's
own complete samples and says how many they are; ranks, differences and verdicts use only samples that all the
compared explainers have, and the notes say where that makes a difference. Controls are never ranked. In localisation
every manipulation method weighs alike (:mod:`~xaibench_report.judgement.manipulation_methods`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace

from xaibench_report.boards.above_untouched import above_notes, above_untouched
from xaibench_report.boards.board_cells import Cell, Column, make_cell, make_column
from xaibench_report.boards.board_notes import (
    absent_notes,
    independent_notes,
    interval_notes,
    not_applicable,
    score_notes,
)
from xaibench_report.boards.detector_tables import DetectorTable, detector_tables, of_detector
from xaibench_report.detectors.data_doubts import data_doubts
from xaibench_report.detectors.detection import Detection, LeftOut, detections
from xaibench_report.detectors.marks import DetectorMark, withholding
from xaibench_report.judgement.board_scores import BoardScore, board_scores, gate_notes, versus_best
from xaibench_report.judgement.manipulation_methods import (
    FAMILY,
    BoardMethod,
    CentreGate,
    alike,
    board_methods,
    centre_gate,
    centre_notes,
    method_cells,
)
from xaibench_report.judgement.pictures_needed import LevelPair, level_pairs, pictures_note
from xaibench_report.judgement.score_gates import unmeasured_notes
from xaibench_report.judgement.tie_spread import tie_notes
from xaibench_report.judgement.verdicts import ScoreVerdict, board_verdicts
from xaibench_report.values.censoring import censoring_notes, with_censoring
from xaibench_report.values.run_values import (
    CellKey,
    Cells,
    CellValues,
    Role,
    RunTables,
    ScoreInfo,
    ScoreKey,
    Where,
    cell_values,
    family_order,
    score_order,
    short,
)
from xaibench_report.values.score_items import require_headroom, split_items, without_item
from xaibench_report.values.score_outputs import output_notes
from xaibench_statistics import SEED

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
    board has neither ranks nor verdicts; what a gate withholds of one score stands in its column. ``level``: the pairs
    of explainers that share a rank, with the groups that would tell them apart. ``absent``: the explainers that no
    score of the board applies to, which have no row, with the reason.
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
    level: tuple[LevelPair, ...] = ()
    absent: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaderboards:
    """Everything that is printed of a run. ``marks``: what a reader must know of its detectors; ``doubts``: the lines
    about samples in doubt. ``detectors`` are the tables of
    measures that need no map."""

    detections: tuple[Detection, ...]
    boards: tuple[Board, ...]
    detectors: tuple[DetectorTable, ...] = ()
    marks: tuple[DetectorMark, ...] = ()
    doubts: tuple[str, ...] = ()


def build_leaderboards(
    tables: RunTables, info: ScoreInfo, cells: Cells | None = None, *, seed: int = SEED
) -> Leaderboards:
    """The detectors' own results and one board for every (dataset, detector, metric family) with scores.

    ``cells``: what :func:`prepared_cells` gives, where it is at hand.

    Scores of a whole family of training runs stand on a board of their own, whose ``where.member`` is empty.
    """
    cells = prepared_cells(tables, info) if cells is None else cells
    mapped = {key: cell for key, cell in cells.items() if not of_detector(cell)}
    found = detections(tables)
    seen = {d.where: d for d in found}
    marks = tuple(m for d in found for m in d.marks)
    keys = sorted({(k.where, info.family(k.metric)) for k in mapped}, key=lambda k: (k[0], family_order(k[1])))
    boards = [
        _board(
            where, family, columns=_columns(mapped, where, family, info), mapped=mapped, every=cells,
            detection=seen.get(where), withheld=tuple(withholding(where, marks)), info=info, seed=seed,
        )
        for where, family in keys
    ]  # fmt: skip
    above = above_untouched(tables.curves, info)
    boards = [replace(b, notes=(*b.notes, *above_notes(b.where, b.family, above, info))) for b in boards]
    return Leaderboards(
        detections=found, boards=tuple(b for b in boards if b.columns),
        detectors=detector_tables(cells, info, seed), marks=marks, doubts=data_doubts(tables.samples),
    )  # fmt: skip


def ready_cells(tables: RunTables, info: ScoreInfo, prepared: Cells | None = None) -> dict[CellKey, CellValues]:
    """Every cell of a run as detectors are compared by it: as on a board, but undefined where a measure has no
    headroom. ``prepared``: what :func:`prepared_cells` gives, where it is at hand."""
    cells = prepared_cells(tables, info) if prepared is None else prepared
    return {key: require_headroom(key, cell, cells, info) for key, cell in cells.items()}


def prepared_cells(tables: RunTables, info: ScoreInfo) -> dict[CellKey, CellValues]:
    """Every cell of a run: items apart, censored values marked, and manipulation methods kept apart only where they
    weigh alike."""
    cells = cell_values(split_items(tables.scores, info))
    cells = {key: with_censoring(key, cell, cells, info) for key, cell in cells.items()}
    cells = {key: replace(cell, limits=info.limits(key.metric, key.score)) for key, cell in cells.items()}
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
    mapped: Mapping[CellKey, CellValues],
    every: Mapping[CellKey, CellValues],
    detection: Detection | None,
    withheld: tuple[DetectorMark, ...],
    info: ScoreInfo,
    seed: int,
) -> Board:
    by_method = family == FAMILY
    centre = centre_gate(where, every) if by_method else CentreGate()
    all_cells = [c for cells in columns.values() for c in cells.values()]
    methods = board_methods(all_cells, centre, detection) if by_method else ()
    scores = [] if withheld else board_scores(where, columns, every, centre, info, seed)
    by_key = {score.key: score for score in scores}
    filled = {key: _cells(cells, by_key.get(key), seed, by_method=by_method) for key, cells in columns.items()}
    names = {e for cells in columns.values() for e in cells}
    absent = not_applicable(columns, names)
    rows = [
        Row(explainer=e, role=info.role(e), cells=tuple(filled[key].get(e) for key in columns))
        for e in names
        if e not in absent
    ]
    return Board(
        family=family,
        where=where,
        columns=tuple(_column(key, c, by_key.get(key), info) for key, c in columns.items()),
        rows=tuple(sorted(rows, key=_row_order(scores))),
        verdicts=board_verdicts(scores, info, seed),
        left_out=_left_out(where, family, mapped, info),
        notes=(
            *pictures_note(scores),
            *absent_notes(absent, info),
            *independent_notes(names - absent.keys(), info),
            *output_notes(columns, info),
            *centre_notes(centre, methods),
            *unmeasured_notes(where, _ranked(columns, by_key), every, info),
            *tie_notes(where, columns, every, info),
            *(
                n
                for key, cells in columns.items()
                for n in _score_notes(key, cells, by_key.get(key), filled[key], info)
            ),
        ),
        methods=methods,
        beside=tuple(_beside(_columns(mapped, where, family, info, primary=False), names - absent.keys(), info, seed)),
        withheld=withheld,
        level=level_pairs(scores),
        absent=absent,
    )


def _column(key: ScoreKey, cells: Mapping[str, CellValues], score: BoardScore | None, info: ScoreInfo) -> Column:
    common = score.ranking.n if score and score.ranking else 0
    return make_column(key, cells, common, info, score.withheld if score else "")


def _score_notes(
    key: ScoreKey,
    cells: Mapping[str, CellValues],
    score: BoardScore | None,
    filled: Mapping[str, Cell],
    info: ScoreInfo,
) -> Iterator[str]:
    """All that is to know of one score, in the order in which it is shown."""
    yield from score_notes(key, cells, score.ranking if score else None, info)
    yield from gate_notes(score) if score else ()
    yield from censoring_notes(key, cells, info)
    yield from interval_notes(key, {e: c.estimate for e, c in filled.items() if c.estimate})


def _ranked(
    columns: Mapping[ScoreKey, Mapping[str, CellValues]], scores: Mapping[ScoreKey, BoardScore]
) -> dict[ScoreKey, Mapping[str, CellValues]]:
    """The columns that rank explainers."""
    return {key: cells for key, cells in columns.items() if key in scores and scores[key].ranking is not None}


def _beside(
    columns: Mapping[ScoreKey, Mapping[str, CellValues]], explainers: Set[str], info: ScoreInfo, seed: int
) -> Iterator[Companion]:
    """Those of which something is known of a row of the board."""
    for key, cells in columns.items():
        found = {e: make_cell(c, seed) for e, c in cells.items() if e in explainers}
        if any(c.estimate for c in found.values()):
            yield Companion(column=make_column(key, cells, 0, info), cells=found)


def _row_order(scores: Sequence[BoardScore]) -> Callable[[Row], tuple[int, float, int, str]]:
    """Explainers by their rank, then by their mean, under the first score that ranks them; then controls, inverses and
    references by name."""
    ranking = next((s.ranking for s in scores if s.ranking is not None), None)
    ranks = {e: rank.rank for e, rank in ranking.ranks.items()} if ranking else {}
    places = {e: i for i, e in enumerate(ranking.order)} if ranking else {}
    last = float("inf")
    return lambda row: (
        _ROLES.index(row.role),
        ranks.get(row.explainer, last),
        places.get(row.explainer, len(places)),
        row.explainer,
    )


def _cells(cells: Mapping[str, CellValues], score: BoardScore | None, seed: int, *, by_method: bool) -> dict[str, Cell]:
    """``score``: the cells as the ranks use them, None where nothing is ranked."""
    versus = versus_best(score, seed) if score else {}
    ranks = score.ranking.ranks if score and score.ranking else {}
    return {
        e: replace(
            make_cell(c, seed),
            rank=ranks.get(e),
            versus_best=versus.get(e),
            methods=method_cells(c) if by_method else (),
        )
        for e, c in cells.items()
    }


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
