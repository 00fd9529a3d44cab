"""What the numbers of a table rest on: marks of detectors, gates of boards, and what may be bold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from xaibench_report.boards.leaderboard import prepared_cells
from xaibench_report.detectors.detection import Detection
from xaibench_report.detectors.marks import DetectorMark, withholding
from xaibench_report.judgement.board_scores import explainer_ranks
from xaibench_report.judgement.manipulation_methods import FAMILY, GATE, CentreGate, centre_gate, method_name
from xaibench_report.judgement.score_gates import withheld_scores, without_headroom
from xaibench_report.judgement.tie_spread import tie_spreads
from xaibench_report.values.run_values import (
    CellKey,
    Cells,
    CellValues,
    Columns,
    RunTables,
    ScoreInfo,
    ScoreKey,
    Where,
    measured,
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Footings:
    """What boards say of the scores of a run. A gate speaks of a score on all pictures of a detector, so that it holds
    for every part of them."""

    tables: RunTables
    info: ScoreInfo
    seed: int
    cells: Cells
    marks: tuple[DetectorMark, ...]
    metrics: tuple[str, ...]
    _found: dict[Where, _OfDetector] = field(default_factory=dict)

    @classmethod
    def of(
        cls, tables: RunTables, info: ScoreInfo, metrics: tuple[str, ...], found: Sequence[Detection], seed: int
    ) -> Footings:
        """Of the metrics of a table."""
        marks = tuple(m for d in found for m in d.marks)
        return cls(
            tables=tables, info=info, seed=seed, cells=prepared_cells(tables, info), marks=marks, metrics=metrics
        )

    def notes(self, key: CellKey, cell: CellValues) -> Iterator[str]:
        """Why a number ranks nothing, or some of its samples do not; nothing where all do."""
        score, here = (key.metric, key.score), self._of(key.where)
        yield from here.marks
        if score in here.withheld:
            yield f"ranks nothing here: {here.withheld[score]}"
        elif reason := here.left_out.get(score, {}).get(key.explainer):
            yield f"not ranked: {reason}"
        central = sorted(set(here.centre.shut) & set(cell.methods.tolist())) if self._localises(key.metric) else []
        if central and score not in here.withheld:
            names = ", ".join(map(method_name, central))
            yield f"{names}: no part in ranks: the centre prior's mask AUC is above {GATE:g}"
        spec = self.info.spec(*score)
        if spec is not None and not (spec.ranked and spec.primary):
            yield f"ranks nothing: {spec.why_not or 'a score beside the board'}"

    def best(self, cells: Mapping[CellKey, CellValues]) -> frozenset[CellKey]:
        """Those of one part whose explainer is not told apart from the best one on the samples that all ranked
        explainers have there; none of a score that ranks nothing."""
        columns: dict[tuple[Where, ScoreKey], dict[str, CellValues]] = {}
        for key, cell in cells.items():
            columns.setdefault((key.where, (key.metric, key.score)), {})[key.explainer] = cell
        found = (
            CellKey(where, *score, explainer)
            for (where, score), column in columns.items()
            for explainer in self._best_of(where, score, column)
        )
        return frozenset(found)

    def _best_of(self, where: Where, score: ScoreKey, column: Mapping[str, CellValues]) -> Iterator[str]:
        here, spec = self._of(where), self.info.spec(*score)
        if here.marks or score in here.withheld or (spec is not None and not (spec.ranked and spec.primary)):
            return
        centre = here.centre if self._localises(score[0]) else CentreGate()
        kept = {e: centre.keeps(c) for e, c in column.items() if e not in here.left_out.get(score, {})}
        spreads = tie_spreads(where, score, self.cells, column, self.info)
        ranking = explainer_ranks(kept, spreads, self.info, self.seed)
        yield from (e for e, rank in (ranking.ranks.items() if ranking else ()) if rank.low == 1)

    def _of(self, where: Where) -> _OfDetector:
        if where not in self._found:
            self._found[where] = self._judged(where)
        return self._found[where]

    def _judged(self, where: Where) -> _OfDetector:
        columns: dict[ScoreKey, dict[str, CellValues]] = {}
        for key, cell in self.cells.items():
            if key.where == where and key.metric in self.metrics:
                columns.setdefault((key.metric, key.score), {})[key.explainer] = cell
        ranked: Columns = {k: c for k, c in columns.items() if self._ranks(k, c)}
        return _OfDetector(
            marks=tuple(f"the detector is marked: {m.text}" for m in withholding(where, self.marks)),
            withheld=withheld_scores(where, ranked, self.cells, self.info),
            left_out={k: without_headroom(where, k, c, self.cells, self.info) for k, c in ranked.items()},
            centre=centre_gate(where, self.cells) if any(map(self._localises, self.metrics)) else CentreGate(),
        )

    def _ranks(self, key: ScoreKey, column: Mapping[str, CellValues]) -> bool:
        spec = self.info.spec(*key)
        return (spec is None or (spec.ranked and spec.primary)) and measured(column).better != "none"

    def _localises(self, metric: str) -> bool:
        return self.info.family(metric) == FAMILY


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _OfDetector:
    marks: tuple[str, ...]
    withheld: Mapping[ScoreKey, str]
    left_out: Mapping[ScoreKey, Mapping[str, str]]
    centre: CentreGate
