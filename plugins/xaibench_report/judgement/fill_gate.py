"""Whether measures that replace pixels by a fill mean anything on a detector: the gate of *fill response*.

A measure of removal reads a fall of the score as evidence removed. Where filling a region anywhere turns real pictures
fake, the fill itself is evidence, and the score says how the fill looks rather than what the map found. The metric
``fill-response`` measures that on the run's own detector and pictures, whatever the maps; every measure with a fill is
accompanied by it. The gate speaks where real pictures turn fake in more than :data:`MOST_TURNED` of the trials, on
average over pictures. Without real pictures that the detector calls real, and with too few groups for an interval, the
fill response is *not measured*, which withholds nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from xaibench.api import parse_spec
from xaibench_report.values.run_values import CellKey, Cells, CellValues, Columns, ScoreInfo, ScoreKey, Where, short
from xaibench_statistics import Estimate, exact_mean, mean_interval

MOST_TURNED: Final = 0.1
METRIC: Final = "xaibench/fill-response"
TURNS: Final = "real-turns"
CHANGE: Final = "real-change"
DEFAULT_FILL: Final = "black"
WITHOUT_FILL: Final = ("repair", "counterpart-attack")
"""Measures that ask where the evidence is and replace no pixels by a fill. Both need real counterparts."""
_MISLEADS: Final = "removal misleads on this detector"
_USE: Final = "; use "


def fill_gate(where: Where, columns: Columns, cells: Cells, info: ScoreInfo) -> Mapping[ScoreKey, str]:
    """Scores of measures whose fill turns real pictures fake, each with the share and with what to use instead."""
    responses = _responses(where, cells)
    found = {}
    for key in columns:
        turned = [(m, e) for m in _fill_responses(key, info) if (e := responses.get(m)) and _misleads(e)]
        if turned:
            found[key] = _reason(*max(turned, key=lambda t: (t[1].value, t[0])), responses, where, cells)
    return found


def fill_unmeasured(where: Where, columns: Columns, cells: Cells, info: ScoreInfo) -> Mapping[ScoreKey, str]:
    """Scores of measures that use a fill, of which it is not known whether it turns real pictures fake."""
    responses = _responses(where, cells)
    found = {}
    for key in columns:
        missing = [m for m in _fill_responses(key, info) if m not in responses]
        if missing:
            reasons = (f"{fill_text(m)}: {_why(cells.get(_cell(where, m)))}" for m in missing)
            found[key] = f"fill response not measured ({'; '.join(reasons)})"
    return found


def fill_text(metric: str) -> str:
    """``fill=blur,sigma=0.05``: the fill of a ``fill-response``, as the parameters of other measures take it."""
    values = parse_spec(short(metric))[1]
    sigma = f",sigma={values['sigma']}" if "sigma" in values else ""
    return f"fill={values.get('fill', DEFAULT_FILL)}{sigma}"


def _fill_responses(key: ScoreKey, info: ScoreInfo) -> list[str]:
    return [m for m in info.accompanied_by.get(key[0], ()) if _is_fill_response(m)]


def _is_fill_response(metric: str) -> bool:
    return metric.partition(":")[0] == METRIC


def _cell(where: Where, metric: str) -> CellKey:
    return CellKey(where, metric, TURNS, "")


def _responses(where: Where, cells: Cells) -> dict[str, Estimate]:
    """How often real pictures turn fake on a detector and dataset, by the metric that measured it."""
    found = {}
    for key, cell in cells.items():
        if key == _cell(where, key.metric) and _is_fill_response(key.metric) and len(cell.values):
            estimate = mean_interval(cell.values)
            if estimate.low is not None:
                found[key.metric] = estimate
    return found


def _why(cell: CellValues | None) -> str:
    if cell is None:
        return "it did not run"
    if len(cell.values):
        return mean_interval(cell.values).note
    return next((reason for _, reason in cell.left_out), "no real picture")


def _misleads(estimate: Estimate) -> bool:
    return estimate.value > MOST_TURNED


def _hides(where: Where, metric: str, cells: Cells) -> bool:
    """Whether a fill takes P(fake) from real pictures wherever it lies: it hides evidence without touching it."""
    change = cells.get(CellKey(where, metric, CHANGE, ""))
    return change is not None and len(change.values) > 0 and exact_mean(change.values.values) < -MOST_TURNED


def _reason(
    metric: str,
    estimate: Estimate,
    responses: Mapping[str, Estimate],
    where: Where,
    cells: Cells,
) -> str:
    assert estimate.low is not None
    assert estimate.high is not None
    share = f"{_percent(estimate.value)} of the regions filled anywhere turn a real picture fake"
    known = f"95 % interval {_percent(estimate.low)} to {_percent(estimate.high)}, {estimate.n} pictures"
    instead = " or ".join(_instead(responses, where, cells))
    return f"{_MISLEADS}: with {fill_text(metric)}, {share} ({known}){_USE}{instead} instead"


def advice(reason: str) -> str:
    """What to use instead, of a reason that this gate gave; empty for any other text."""
    return reason.partition(_USE)[2].removesuffix(" instead") if reason.startswith(_MISLEADS) else ""


def _instead(responses: Mapping[str, Estimate], where: Where, cells: Cells) -> Iterator[str]:
    """The fill of the run that turns fewest, where one leaves real pictures as they are, and the measures without a
    fill."""
    harmless = [(e.value, m) for m, e in responses.items() if not _misleads(e) and not _hides(where, m, cells)]
    if harmless:
        least, metric = min(harmless)
        yield f"{fill_text(metric)} (here {_percent(least)})"
    ran = {short(k.metric).partition(":")[0] for k in cells if k.where == where}
    for name in WITHOUT_FILL:
        yield f"{name} (in this run)" if name in ran else name


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share == 0 or share >= 0.01 else f"{100 * share:.1f} %"
