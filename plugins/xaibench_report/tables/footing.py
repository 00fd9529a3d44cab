"""What the numbers of a table rest on: marks of detectors, gates of boards, and what may be bold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

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
from xaibench_statistics import Ranking


class Best(NamedTuple):
    """Whether a cell's explainer is among the best, and why none of its column is."""

    is_best: bool
    why_not: str = ""


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
            yield f"ranks nothing here, since {here.withheld[score]}"
        elif reason := here.left_out.get(score, {}).get(key.explainer):
            yield with_reason("not ranked", reason)
        central = sorted(set(here.centre.shut) & set(cell.methods.tolist())) if self._localises(key.metric) else []
        if central and score not in here.withheld:
            names = f"{', '.join(map(method_name, central))} {'takes' if len(central) == 1 else 'take'}"
            yield f"{names} no part in ranks, since the centre prior's mask AUC is above {GATE:g}"
        spec = self.info.spec(*score)
        if spec is not None and not (spec.ranked and spec.primary):
            yield with_reason("ranks nothing", spec.why_not or "a score beside the board")

    def best(self, cells: Mapping[CellKey, CellValues]) -> dict[CellKey, Best]:
        """Of every cell of one part whether its explainer is not told apart from the best one, on the samples that all
        ranked explainers have there."""
        columns: dict[tuple[Where, ScoreKey], dict[str, CellValues]] = {}
        for key, cell in cells.items():
            columns.setdefault((key.where, (key.metric, key.score)), {})[key.explainer] = cell
        return {
            CellKey(where, *score, explainer): best
            for (where, score), column in columns.items()
            for explainer, best in self._best_of(where, score, column).items()
        }

    def _best_of(self, where: Where, score: ScoreKey, column: Mapping[str, CellValues]) -> dict[str, Best]:
        ranking = self._ranking(where, score, column)
        lows = {e: rank.low for e, rank in ranking.ranks.items()} if ranking else {}
        why_not = self._no_ranks(where, score) or _none_best(ranking)
        return {e: Best(not why_not and lows.get(e) == 1, why_not) for e in column}

    def _no_ranks(self, where: Where, score: ScoreKey) -> str:
        """Why a score has no ranks on a detector: in few words, the reason stands in its note."""
        here, spec = self._of(where), self.info.spec(*score)
        if here.marks:
            return "the detector is marked"
        if score in here.withheld:
            return f"no ranks by a gate ({here.withheld[score].partition(': ')[0]})"
        return "" if spec is None or (spec.ranked and spec.primary) else "it ranks nothing"

    def _ranking(self, where: Where, score: ScoreKey, column: Mapping[str, CellValues]) -> Ranking | None:
        if self._no_ranks(where, score):
            return None
        here = self._of(where)
        centre = here.centre if self._localises(score[0]) else CentreGate()
        kept = {e: centre.keeps(c) for e, c in column.items() if e not in here.left_out.get(score, {})}
        return explainer_ranks(kept, tie_spreads(where, score, self.cells, column, self.info), self.info, self.seed)

    def board_order(self, where: Where, scores: Sequence[ScoreKey]) -> dict[str, int]:
        """The place of every explainer by its rank, then by its mean, under the first of the scores that ranks them, as
        on the boards."""
        for metric, score in scores:
            column = {
                k.explainer: c
                for k, c in self.cells.items()
                if k.where == where and k.metric == metric and k.score.partition(" ")[0] == score
            }
            ranking = self._ranking(where, (metric, score), column) if column else None
            if ranking is not None:
                ranks = {e: rank.rank for e, rank in ranking.ranks.items()}
                return {e: i for i, e in enumerate(sorted(ranking.order, key=lambda e: ranks.get(e, 0)))}
        return {}

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


def with_reason(what: str, reason: str) -> str:
    """``ranks nothing: a score beside the board``; a reason that has a colon of its own stands in parentheses."""
    return f"{what} ({reason})" if ": " in reason else f"{what}: {reason}"


def _none_best(ranking: Ranking | None) -> str:
    """Why no explainer of a score that ranks can be best."""
    if ranking is None:
        return "it ranks nothing"
    if not ranking.ranks:
        return f"no ranks ({ranking.note.removesuffix(': no ranks')})"
    if len(ranking.ranks) == 1:
        return "one explainer alone is ranked"
    return "not told apart" if all(rank.low == 1 for rank in ranking.ranks.values()) else ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _OfDetector:
    marks: tuple[str, ...]
    withheld: Mapping[ScoreKey, str]
    left_out: Mapping[ScoreKey, Mapping[str, str]]
    centre: CentreGate
