"""One cell of a table: what is said of one explainer, or one detector, under one score."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from xaibench_report.judgement.manipulation_methods import MethodCell, even_mean
from xaibench_report.values.censoring import median_of
from xaibench_report.values.run_values import CellValues, ScoreInfo, measured
from xaibench_statistics import CensoredMedian, Difference, Estimate, Rank


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One score of one metric. ``common``: samples that the ranks rest on; ``censored``: whether its means are
    restricted to the largest value tried; ``withheld``: why a gate lets the score rank nothing."""

    metric: str
    score: str
    better: str
    scope: str
    definitions: tuple[int, ...]
    items: tuple[str, ...]
    common: int
    censored: bool = False
    description: str = ""
    withheld: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One explainer under one score.

    ``estimate`` is None where nothing was defined, and ``why`` says so. ``span`` is the range over items of a
    score of a whole detector or family, which has no samples and so no interval. ``incomplete`` counts
    samples left out. ``versus_best``: paired difference to the explainer of the best mean on the samples of the
    ranks; ``p_holm`` is adjusted over the column. ``methods``, on boards of localisation: the mean of every
    manipulation method, over which ``estimate`` is the mean. ``median``: of right-censored scores, whose
    ``estimate`` is the restricted mean.
    """

    estimate: Estimate | None
    span: tuple[float, float] | None = None
    rank: Rank | None = None
    versus_best: Difference | None = None
    labels: Mapping[str, int]
    incomplete: int = 0
    why: str = ""
    methods: tuple[MethodCell, ...] = ()
    median: CensoredMedian | None = None


def make_cell(cell: CellValues, seed: int) -> Cell:
    """Mean, interval and median of a cell's values, or why there are none."""
    if len(cell.values):
        estimate = even_mean(cell)
        return Cell(estimate=estimate, labels=cell.labels, incomplete=cell.incomplete, median=median_of(cell, seed))
    if cell.whole:
        values = sorted(cell.whole.values())
        span = (values[0], values[-1]) if len(values) > 1 else None
        note = f"one value of a whole {cell.scope}: no interval"
        if span:
            note = f"mean and range over {len(values)} items of a whole {cell.scope}: no interval"
        return Cell(estimate=Estimate(value=sum(values) / len(values), n=0, groups=0, note=note), span=span, labels={})
    return Cell(estimate=None, labels={}, incomplete=cell.incomplete, why=_why(cell))


def make_column(
    key: tuple[str, str], cells: Mapping[str, CellValues], common: int, info: ScoreInfo, withheld: str = ""
) -> Column:
    """What all cells of one score have in common."""
    spec = info.spec(*key)
    return Column(
        metric=key[0],
        score=key[1],
        better=measured(cells).better,
        scope=measured(cells).scope,
        definitions=tuple(sorted({d for c in cells.values() for d in c.definitions})),
        items=tuple(sorted({i for c in cells.values() for i in c.items})),
        common=common,
        censored=any(c.censored is not None for c in cells.values()),
        description=spec.description if spec else "",
        withheld=withheld,
    )


def _why(cell: CellValues) -> str:
    """The commonest reason why nothing is defined."""
    if not cell.left_out:
        return "no rows"
    (status, reason), _ = max(cell.left_out.items(), key=lambda item: item[1])
    return f"{status.replace('_', ' ')}: {reason}" if reason else status
