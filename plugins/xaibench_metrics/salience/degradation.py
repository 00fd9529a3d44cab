"""Guided degradation: does blurring what the map marks hurt the verdict more than blurring the rest?"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from xaibench.api import (
    Explanation,
    MapCase,
    Passes,
    PassQuery,
    Programme,
    Score,
    Scores,
    ScoreSpec,
    Together,
    View,
    to_device,
)
from xaibench_metrics.salience.blur import (
    MODES,
    Array,
    Mode,
    byte_levels,
    degrade,
    degraded_area,
    rank_levels,
    rearranged,
    shifted,
    smooth_random,
    tenths,
)
from xaibench_metrics.salience.compare import CONSTANT, Measured, as_score, compare, corrected, shown_map
from xaibench_metrics.salience.responses import (
    ResponseParameters,
    clean_class,
    clean_map,
    flipped,
    forwarded,
    moved,
    response_passes,
    shown_under,
)
from xaibench_perturbation import is_constant

NAME = "guided-degradation"
SHIFTED = "shifted"
REFERENCE_SIDE = 224

_BESIDE = "it stands beside the contrast and says nothing of where the evidence is"
_ALIKE = "it says whether the map stays as it was, whatever it marks: the centre prior scores 1"

SCORES = (
    ScoreSpec(
        name=NAME, output="probability", better="higher", low=-1, high=1, ranks_evidence=True,
        description="drop of the explained class's probability when what is salient is blurred, less the drop when "
        "the rest is",
    ),
    ScoreSpec(
        name="lift", output="probability", better="higher", low=-2, high=2, ranks_evidence=True,
        description="that contrast less the mean contrast of random maps of equal area",
    ),
    ScoreSpec(
        name="null", output="probability", better="none", low=-1, high=1, primary=False, why_not=_BESIDE,
        description="the contrast of maps of equal area: random ones and this one shifted by half a picture",
    ),
    ScoreSpec(
        name="per-area", output="probability", better="higher", primary=False,
        why_not="a small area inflates it: a map of one pixel blurs next to nothing, or next to everything",
        description="each drop over its degraded area, object less background",
    ),
    ScoreSpec(
        name="drop", output="probability", better="none", low=-1, high=1, primary=False, why_not=_BESIDE,
        description="drop of the explained class's probability",
    ),
    ScoreSpec(
        name="area", better="none", low=0, high=1, primary=False, why_not=_BESIDE,
        description="degraded area: the mean blur over the largest",
    ),
    ScoreSpec(
        name="flip", better="none", low=0, high=1, primary=False, why_not=_BESIDE,
        description="1 where the degradation flips the verdict; its mean is the flip rate",
    ),
    ScoreSpec(
        name="similarity", better="none", low=-1, high=1, primary=False, why_not=_ALIKE,
        description="similarity of the maps before and after the degradation",
    ),
    ScoreSpec(
        name="similarity-null", better="none", low=-1, high=1, primary=False, why_not=_ALIKE,
        description="the same after the degradation by an area-matched random map",
    ),
    ScoreSpec(
        name="similarity-corrected", better="none", high=1, version=2, primary=False, why_not=_ALIKE,
        description="the similarity over its null: (s - s0) / (1 - s0)",
    ),
)  # fmt: skip


class DegradationParameters(ResponseParameters):
    """Parameters of ``guided-degradation``; the defaults are the robust form. It uses upsampled maps."""

    size: Literal["upscaled"] = Field("upscaled", description="maps as large as the picture say where to blur")
    matched: bool = Field(True, description="rank the map, so that every map and both modes blur the same area")
    blur: float = Field(10.0, gt=0, description="largest sigma in pixels, for a shorter side of 224")
    smooth: float = Field(5.0, ge=0, description="sigma that smooths the map, in pixels, for a shorter side of 224")
    scaled: bool = Field(True, description="both sigmas grow with the picture's shorter side; else they are in pixels")
    controls: int = Field(4, ge=1, description="random maps of equal area")


@dataclass(frozen=True, slots=True)
class Plan:
    """Levels by control (``""`` is the map itself) and mode."""

    levels: Mapping[tuple[str, Mode], Array]

    def controls(self) -> list[str]:
        return [c for c in dict.fromkeys(name for name, _ in self.levels) if c]


def degraded_views(
    image: Tensor, fields: Sequence[Array], largest: float, in_bytes: bool, device: torch.device
) -> list[View]:
    """Blur by each field of levels as a view, named after what it does; ``image`` is the picture to show it on.

    It is blurred on ``device``, in 8 bits on the CPU.
    """
    shown = image if in_bytes else to_device(image, device)
    made = degrade(shown, fields, largest, in_bytes).to(image.device)
    return [_view(image, one, levels, largest, in_bytes) for one, levels in zip(made, fields, strict=True)]


def _view(image: Tensor, made: Tensor, levels: Array, largest: float, in_bytes: bool) -> View:
    described = tenths(levels).tobytes() + struct.pack("<d?", largest, in_bytes)
    code = hashlib.sha256(described).hexdigest()[:16]

    def apply(
        shown: Tensor, mask: Tensor | None, landmarks: Tensor | None
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        same = torch.equal(shown, image)  # else it is the real counterpart that is shown under the same view
        return (made.clone() if same else degrade(shown, [levels], largest, in_bytes)[0]), mask, landmarks

    return View(f"salience-degraded-{code}", apply)


class GuidedDegradation:
    """Blur where the map is high (``object``) and where it is low (``background``), and compare what is lost.

    ``contrast = drop(object) - drop(background)`` in [-1, 1] with ``drop = P(x) - P(x degraded)`` of the explained
    class; higher = the verdict hangs on what the map marks. A pixel at level s (0 least salient, 10 most) is blurred
    by ``10 ((10 - s) / 10)^4`` pixels in ``background``; ``object`` turns the levels over. Explain To Me (Crum et al.,
    IEEE TAI 2023) has no threshold and no filling, only this blur.

    By default the levels are the map's ranks, so that both modes and every map blur the same area: a sparse map
    otherwise blurs most of the picture as background and a small patch as object. Items of ``drop``, ``area``,
    ``flip`` and ``similarity`` (of the maps before and after) are the modes. Nulls are maps of the same levels:
    ``controls`` smooth random ones and the map itself shifted by half a picture; ``lift`` is the contrast less the mean
    of the random ones. Equal values of a map are ranked by a smooth random field.

    ``guided-degradation-explain2me`` is the original: 8-bit maps and pictures, unmatched areas, sigmas in pixels
    whatever the size, SSIM of the maps, each picture's own likeliest class. Departures: the original reports accuracy
    over a set (``degraded-accuracy``), this the probability of each picture; it has no null; that its pictures are
    blurred in 8 bits is inferred.
    """

    Parameters = DegradationParameters
    scores = SCORES

    def __init__(self, parameters: DegradationParameters) -> None:
        self.parameters = parameters

    # ---- where to blur ----

    def plan(self, case: MapCase, explanation: Explanation) -> Plan | str:
        """The levels of the map and its controls, or why there are none."""
        p = self.parameters
        saliency = shown_map(explanation, "upscaled", p.quantised or not p.matched)
        if is_constant(saliency):
            return CONSTANT
        levels: dict[tuple[str, Mode], Array] = {}
        for mode in MODES:
            own = self._levels(case, saliency, mode)
            if own is None:
                return "nothing is left of the map once it is smoothed"
            levels["", mode] = own
            levels[SHIFTED, mode] = shifted(own)
            for i in range(p.controls):
                order = smooth_random(own.shape, case.streams.torch(f"random {i}"))
                levels[f"random-{i}", mode] = rearranged(own, -order if mode == "object" else order)
        return Plan(levels)

    def _levels(self, case: MapCase, saliency: Tensor, mode: Mode) -> Array | None:
        p = self.parameters
        sigma = self._pixels(p.smooth, saliency)
        if not p.matched:
            return byte_levels(saliency, mode, sigma)
        ties = smooth_random((saliency.shape[0], saliency.shape[1]), case.streams.torch("ties"))
        return rank_levels(saliency, mode, sigma, ties)

    def largest(self, image: Tensor) -> float:
        """The largest blur of a ``(3, H, W)`` picture, in pixels."""
        return self._pixels(self.parameters.blur, image[0])

    def _pixels(self, sigma: float, saliency: Tensor) -> float:
        return sigma * min(saliency.shape) / REFERENCE_SIDE if self.parameters.scaled else sigma

    # ---- what it does ----

    def score(self, case: MapCase) -> Programme[Scores]:
        p = self.parameters
        clean = yield from clean_map(case, p.class_rule)
        if isinstance(clean, str):
            return Scores.undefined(self.scores, clean)
        plan = self.plan(case, clean)
        if isinstance(plan, str):
            return Scores.undefined(self.scores, plan)
        largest = self.largest(case.picture.image)
        fields = list(plan.levels.values())
        device = case.detector.device
        changed = degraded_views(case.picture.image, fields, largest, p.quantised, device)
        views = dict(zip(plan.levels, changed, strict=True))
        rows = yield from forwarded(shown_under(case, list(views.values())))
        probabilities = dict(zip(views, rows, strict=True))
        keys = [(c, m) for c in ("", "random-0") for m in MODES]
        found = yield Together([self._alike(case, clean, views[key], probabilities[key]) for key in keys])
        alike: dict[tuple[str, Mode], Measured] = dict(zip(keys, found, strict=True))
        return Scores((*self._contrasts(case, plan, probabilities), *self._by_mode(case, plan, probabilities, alike)))

    def _alike(self, case: MapCase, clean: Explanation, view: View, row: Tensor) -> Programme[Measured]:
        p = self.parameters
        target = case.target if p.class_rule == "clean" else int(row.argmax())
        changed: Explanation = yield from case.explain(view=view, target=target)
        if changed.status != "ok":
            return f"the degraded picture has no map: {changed.reason}"
        one, two = (shown_map(e, "upscaled", p.quantised) for e in (clean, changed))
        return compare(one, two, p.similarity, p.quantised)

    def _contrasts(
        self, case: MapCase, plan: Plan, probabilities: Mapping[tuple[str, Mode], Tensor]
    ) -> Sequence[Score]:
        target = clean_class(case, self.parameters.class_rule)
        drops = {k: moved(case.clean, row, target) for k, row in probabilities.items()}
        contrast = drops["", "object"] - drops["", "background"]
        nulls = {c: drops[c, "object"] - drops[c, "background"] for c in plan.controls()}
        null = fmean(v for c, v in nulls.items() if c != SHIFTED)
        return (
            Score(name=NAME, value=contrast),
            Score(name="lift", value=contrast - null),
            *(Score(name="null", item=c, value=v) for c, v in nulls.items()),
            as_score("per-area", _per_area(drops, plan)),
            *(Score(name="drop", item=m, value=drops["", m]) for m in MODES),
        )

    def _by_mode(
        self,
        case: MapCase,
        plan: Plan,
        probabilities: Mapping[tuple[str, Mode], Tensor],
        alike: Mapping[tuple[str, Mode], Measured],
    ) -> Sequence[Score]:
        rows: list[Score] = []
        for m in MODES:
            similarity, null = alike["", m], alike["random-0", m]
            rows += [
                Score(name="area", item=m, value=degraded_area(plan.levels["", m])),
                Score(name="flip", item=m, value=flipped(case.clean, probabilities["", m], case.detector.facts)),
                as_score("similarity", similarity, m),
                as_score("similarity-null", null, m),
                as_score("similarity-corrected", corrected(similarity, null), m),
            ]
        return rows

    def passes(self, query: PassQuery) -> Passes:
        """Two pictures for the map and for each control, four maps; exact where the map and the class rule let it."""
        return response_passes(query, 2 * (2 + self.parameters.controls), 4, self.parameters.class_rule)


def _per_area(drops: Mapping[tuple[str, Mode], float], plan: Plan) -> Measured:
    """``drop / area`` of the object less that of the background."""
    areas = {m: degraded_area(plan.levels["", m]) for m in MODES}
    if min(areas.values()) <= 0:
        return "one of the modes degrades nothing"
    return drops["", "object"] / areas["object"] - drops["", "background"] / areas["background"]
