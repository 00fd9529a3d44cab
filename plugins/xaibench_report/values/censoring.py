"""Right-censored scores: which samples the event never came for, and what is said of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from xaibench_report.values.run_values import CellKey, CellValues, ScoreInfo, score_name, short
from xaibench_statistics import CensoredMedian, censored_median

_TOLERANCE = 1e-9


def with_censoring(key: CellKey, cell: CellValues, every: Mapping[CellKey, CellValues], info: ScoreInfo) -> CellValues:
    """The cell with its samples marked where the event never came, if its score names one and every sample tells.

    Of several draws of a sample all must have failed; where some did, their mean of ``min(value, largest)`` stands.
    """
    spec = info.spec(key.metric, key.score)
    if spec is None or not spec.event or not len(cell.values):
        return cell
    item = key.score.partition(" ")[2]
    event = every.get(key._replace(score=f"{spec.event} {item}".strip()))
    if event is None or not np.isin(cell.values.samples, event.values.samples).all():
        return cell
    censored = event.values.on(cell.values.samples).values == 0
    return _at_one_place(cell, censored)


def _at_one_place(cell: CellValues, censored: np.typing.NDArray[np.bool_]) -> CellValues:
    """The marks, where all marked values are one and the largest (up to the rounding of a mean over draws)."""
    values = cell.values.values
    if censored.any():
        largest = float(values[censored].max())
        slack = _TOLERANCE * abs(largest)
        if values[censored].min() < largest - slack or values.max() > largest + slack:
            return cell
        values = np.where(censored, largest, np.minimum(values, largest))
    return replace(cell, values=cell.values.with_values(values), censored=censored)


def median_of(cell: CellValues, seed: int) -> CensoredMedian | None:
    """The median of a censored cell; None for every other."""
    return None if cell.censored is None else censored_median(cell.values, cell.censored, seed=seed)


def censoring_notes(key: tuple[str, str], cells: Mapping[str, CellValues], info: ScoreInfo) -> list[str]:
    """How often the event did not come, and why a median is missing."""
    spec = info.spec(*key)
    if spec is None or not spec.event:
        return []
    name = score_name(*key)
    marked = {e: c.censored for e, c in sorted(cells.items()) if c.censored is not None}
    notes = [
        f"{name}: no median of {short(e)}: '{spec.event}' does not say for each sample whether it was reached"
        for e, c in sorted(cells.items())
        if c.censored is None and len(c.values)
    ]
    never = [f"{short(e)} {int(m.sum())} of {len(m)}" for e, m in marked.items() if m.any()]
    if not never:
        return notes
    largest = max(float(cells[e].values.values[m].max()) for e, m in marked.items() if m.any())
    tried = f"not reached within the largest tried, {largest:.4g}"
    return [f"{name}: {tried}: {', '.join(never)}; means are restricted to it, and ranks use them", *notes]
