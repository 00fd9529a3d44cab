"""Scores whose items are columns of their own, and cells in which a measure has no headroom."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from xaibench.api import Headroom
from xaibench_report.values.run_values import CellKey, CellValues, ScoreInfo, Table
from xaibench_statistics import Values, exact_mean, paired_difference

MOST_RANDOM_FLIPS = 0.9
LEAST_CEILING_FLIPS = 0.1


def split_items(scores: Table, info: ScoreInfo) -> Table:
    """The table with ``score`` saying ``score item`` where a score's items are columns of their own."""
    apart = [key for key, spec in info.specs.items() if spec.per_item]
    if not apart or not len(scores):
        return scores
    wanted = {f"{metric}\n{score}" for metric, score in apart}
    names = pc.binary_join_element_wise(scores["metric"], scores["score"], "\n")
    mask = pc.and_(pc.is_in(names, pa.array(sorted(wanted))), pc.not_equal(scores["item"], ""))
    score = pc.if_else(mask, pc.binary_join_element_wise(scores["score"], scores["item"], " "), scores["score"])
    item = pc.if_else(mask, "", scores["item"])
    return scores.set_column(scores.schema.get_field_index("score"), "score", score).set_column(
        scores.schema.get_field_index("item"), "item", item
    )


def without_item(scores: Iterable[tuple[str, str]], info: ScoreInfo) -> set[tuple[str, str]]:
    """Scores without an item whose items are columns of their own: what a metric could not say of any item. They are
    counted among the values left out and make no column."""
    every = set(scores)
    apart = {(metric, score.partition(" ")[0]) for metric, score in every if " " in score}
    return {k for k in every & apart if (spec := info.spec(*k)) is not None and spec.per_item}


def require_headroom(
    key: CellKey, cell: CellValues, every: Mapping[CellKey, CellValues], info: ScoreInfo
) -> CellValues:
    """The cell, or an undefined one with the reason where the measure has no headroom."""
    reason = no_headroom(key, cell, every, info)
    if not reason:
        return cell
    nothing = cell.where(np.zeros(len(cell.values), dtype=np.bool_))
    return replace(nothing, left_out={**cell.left_out, ("undefined", reason): len(cell.values)})


def no_headroom(key: CellKey, cell: CellValues, every: Mapping[CellKey, CellValues], info: ScoreInfo) -> str:
    """Why a measure cannot tell this explainer's regions apart: its own ceiling does not differ from its random
    control. Empty where it can, where that was not measured, and where no score declares it.

    *Saturated*: random regions turn more than nine verdicts in ten, or the interval of ceiling minus random covers 0.
    *Floored*: even the ceiling turns less than one in ten. Too few groups for an interval are no saturation.
    """
    spec = info.spec(key.metric, key.score)
    if spec is None or spec.headroom is None or not len(cell.values):
        return ""
    return _no_headroom(_References(key, spec.headroom, every))


def headroom_measured(key: CellKey, every: Mapping[CellKey, CellValues], info: ScoreInfo) -> bool:
    """Whether the ceiling and the random control of a cell have values, as their difference or as shares of turned
    verdicts."""
    spec = info.spec(key.metric, key.score)
    if spec is None or spec.headroom is None:
        return False
    r = _References(key, spec.headroom, every)
    return None not in (r.ceiling, r.random) or None not in (r.ceiling_flip, r.random_flip)


class _References:
    """The ceiling and the random control of one cell, on the same item."""

    def __init__(self, key: CellKey, headroom: Headroom, every: Mapping[CellKey, CellValues]) -> None:
        self._key, self._every = key, every
        _, _, self._item = key.score.partition(" ")
        self.ceiling, self.random = self._values(headroom.ceiling), self._values(headroom.random)
        self.ceiling_flip, self.random_flip = self._values(headroom.ceiling_flip), self._values(headroom.random_flip)

    def _values(self, score: str) -> Values | None:
        cell = self._every.get(self._key._replace(score=f"{score} {self._item}".strip()))
        return cell.values if cell is not None and len(cell.values) else None


def _no_headroom(references: _References) -> str:
    turned = _mean(references.random_flip)
    if turned is not None and turned > MOST_RANDOM_FLIPS:
        return f"saturated: random regions of the same area turn {turned:.0%} of the verdicts"
    best = _mean(references.ceiling_flip)
    if best is not None and best < LEAST_CEILING_FLIPS:
        return f"floored: the regions that drop most turn {best:.0%} of the verdicts"
    if references.ceiling is None or references.random is None:
        return ""
    difference = paired_difference(references.ceiling, references.random, test=False)
    if difference.low is not None and difference.low <= 0:
        return "saturated: the measure's own ceiling is not shown to exceed random regions of the same area"
    return ""


def _mean(values: Values | None) -> float | None:
    return None if values is None else exact_mean(values.values)
