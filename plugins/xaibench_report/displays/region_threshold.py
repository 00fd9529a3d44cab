"""The threshold of an explainer's maps that a run calibrates: regions that miss little of what was manipulated.

Over the fakes of a run with a mask and a map, :func:`~xaibench_statistics.control_risk` holds the expected share of
manipulated pixels outside the region at alpha on pictures of new groups. Values are those of the map divided by its
largest absolute value, as runs keep them. Masks in doubt take no part.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow.compute as pc

from xaibench.api import MapRegion, UnreadablePicture, UsageError
from xaibench_report.boards.leaderboard import Board
from xaibench_report.browser.sample_entry import decoded_map
from xaibench_report.displays.map_colours import Mask, Values
from xaibench_report.page.report_context import ReportContext, context_of
from xaibench_report.values.number_format import plural
from xaibench_report.values.run_values import score_name, short
from xaibench_statistics import Floats, RiskControl, control_risk, least_groups

if TYPE_CHECKING:
    from xaibench import Run
    from xaibench_report.judgement.verdicts import Verdict

CENTRE: Final = "center-prior"
_AT_ONCE: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CalibrationMaps:
    """The maps that a threshold is calibrated on. ``values``: of each picture those inside its mask; ``groups``: its
    group. ``whole``: pictures whose mask is the whole picture. ``every``: of each picture, all values of its map."""

    values: tuple[Floats, ...]
    groups: tuple[str, ...]
    crossed: bool
    whole: int
    every: tuple[Values, ...]

    def area(self, threshold: float) -> float:
        """The mean share of the picture that regions take."""
        return float(np.mean([(values >= threshold).mean() for values in self.every]))


def region_threshold(run: Run, explainer: str, *, model: str, member: str, alpha: float = 0.1) -> MapRegion:
    """The threshold of an explainer's maps on one detector, what it promises, and whether the maps can be relied on.

    ``explainer``, ``model`` and ``member`` are names as the tables have them. Raises :class:`UsageError` where
    ``alpha`` is not between 0 and 1, and where the run has too few groups of fakes with masks.
    """
    context = context_of(run)
    if not 0 < alpha < 1:
        raise UsageError(f"alpha = {alpha:g} is not between 0 and 1", "give a share, such as 0.1")
    maps = calibration_maps(context, explainer, model, member)
    groups = len(set(maps.groups))
    if groups < least_groups(alpha):
        what = f"the run has {plural(groups, 'group')} of fakes with masks and maps of {short(explainer)}"
        raise UsageError(what, f"alpha = {alpha:g} takes {least_groups(alpha)}: evaluate more, or raise --alpha")
    found = control_risk(maps.values, maps.groups, alpha)
    warning = centre_warning(context, explainer, model, member)
    return MapRegion(threshold=found.threshold, statement=_statement(found, maps), warning=warning)


def calibration_maps(context: ReportContext, explainer: str, model: str, member: str) -> CalibrationMaps:
    """The maps of one explainer on the fakes of a run that have a mask. Pictures are decoded, a few at a time."""
    fakes = _fakes(context, model, member)
    values, groups, every, whole = list[Floats](), list[str](), list[Values](), 0
    for sample, saliency in _first_maps(context, explainer, model, member, sorted(fakes)):
        mask = _mask(context, sample)
        if mask is None or mask.shape != saliency.shape:
            continue
        whole += bool(mask.all())
        values.append(saliency[mask].astype(np.float64))
        groups.append(fakes[sample]["group"])
        every.append(saliency.astype(np.float16))  # as stored: nothing is lost
    crossed = any(row["cross_group"] is not None for row in fakes.values())
    return CalibrationMaps(values=tuple(values), groups=tuple(groups), crossed=crossed, whole=whole, every=tuple(every))


def _fakes(context: ReportContext, model: str, member: str) -> dict[str, dict[str, Any]]:
    """The predictions of the fakes whose mask is not in doubt, by sample."""
    table = context.run.to_arrow("predictions", ["sample", "label", "model", "member", "group", "cross_group"])
    of_detector = pc.and_(pc.equal(table["model"], model), pc.equal(table["member"], member))
    rows = table.filter(pc.and_(of_detector, pc.equal(table["label"], "fake"))).to_pylist()
    samples = context.run.to_arrow("samples", ["sample", "doubt"]).to_pylist()
    doubtful = {r["sample"] for r in samples if r["doubt"]}
    return {r["sample"]: r for r in rows if r["sample"] not in doubtful}


def _first_maps(
    context: ReportContext, explainer: str, model: str, member: str, samples: list[str]
) -> Iterator[tuple[str, Values]]:
    names = {"explainer": explainer, "model": model, "member": member, "view": "", "status": "ok"}
    for start in range(0, len(samples), _AT_ONCE):
        where = {column: [value] for column, value in names.items()} | {"sample": samples[start : start + _AT_ONCE]}
        table = context.run.to_arrow("maps", where=where)
        rows = table.filter(pc.equal(table["repeat"], 0)).sort_by("sample").to_pylist()
        yield from ((r["sample"], decoded_map(r)) for r in rows if r["map"] is not None)


def _mask(context: ReportContext, sample: str) -> Mask | None:
    try:
        mask: Mask | None = context.run.picture(sample)[1]
    except UnreadablePicture:
        return None
    return mask


# ---- words ----------------------------------------------------------------------------------------------------------


def _statement(found: RiskControl, maps: CalibrationMaps) -> str:
    area = maps.area(found.threshold)
    sizes = f"{plural(found.n, 'fake')} in {plural(found.groups, 'group')}"
    text = (
        f"On fakes like those of the run, the region misses at most {_share(found.alpha)} of the manipulated pixels on "
        f"average over groups (conformal risk control on {sizes}). There it took {_share(area)} of the picture on "
        "average. It is a promise over many pictures, not for this one."
    )
    if area > 0.995:
        text += " The region is the whole picture: the map tells nothing at this alpha."
    if maps.whole:
        text += f" {plural(maps.whole, 'mask')} of the run cover the whole picture."
    if maps.crossed:
        text += " Groups share donors, so that they are exchangeable only nearly."
    return text


def _share(value: float) -> str:
    return f"{100 * value:.3g} %"


def centre_warning(context: ReportContext, explainer: str, model: str, member: str) -> str:
    """Why maps should not be relied on: under which scores of localisation the explainer is not shown better than the
    centre prior on this detector; empty where it is under all of them."""
    boards = [
        b
        for b in context.leaderboards.boards
        if b.family == "localisation" and (b.where.model, b.where.member) == (model, member)
    ]
    verdicts = [(name, v) for board in boards for name, v in _verdicts(board, explainer)]
    if not any(_against_centre(v) is not None for _, v in verdicts):
        return f"{short(explainer)} was not held against the centre prior on this detector in that run."
    failing = [name for name, v in verdicts if not _against_centre(v)]
    if not failing:
        return ""
    scores = ", ".join(failing)
    return (
        f"{short(explainer)} was not shown better than the centre prior on this detector in that run ({scores}): a "
        "spot in the middle of every picture may serve as well."
    )


def _verdicts(board: Board, explainer: str) -> Iterator[tuple[str, Verdict]]:
    for score in board.verdicts:
        for verdict in score.verdicts:
            if verdict.explainer == explainer:
                yield score_name(score.metric, score.score), verdict


def _against_centre(verdict: Verdict) -> bool | None:
    """Whether the explainer is shown better than the centre prior; None where the two were not compared."""
    for against in verdict.against:
        if short(against.control).partition(":")[0] == CENTRE:
            low = against.difference.low
            return verdict.word == "better" or (low is not None and low > against.margin)
    return None
