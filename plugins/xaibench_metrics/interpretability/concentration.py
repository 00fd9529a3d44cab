"""Concentration of the mean class activation map: does the detector look at one place of aligned faces?"""

from __future__ import annotations

from typing import Literal, cast

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from xaibench.api import LayerBackward, LayerGradients, ModelCase, Passes, PassQuery, Picture, Programme, Scores
from xaibench_metrics.interpretability.layer import (
    Figures,
    LayerParameters,
    as_scores,
    chunks,
    in_order,
    spec,
    why_not,
)

NEEDS = ("activations", "gradients")

SCORES = (
    spec("above-50", "share of cells of the mean class activation map above 0.5", "none", 0, 1, primary=True),
    spec("above-60", "share of cells of the mean class activation map above 0.6", "none", 0, 1),
    spec("spread", "standard deviation over cells of the mean class activation map", "none", 0, float("inf")),
    spec("left-out", "share of pictures whose class activation map is constant", "none", 0, 1),
)


class ConcentrationParameters(LayerParameters):
    """Parameters of ``cam-concentration``."""

    label: Literal["real", "fake", "all"] = Field("real", description="pictures that are averaged")
    side: int = Field(45, ge=2, description="cells along a side of the averaged map")


def class_activation_map(activations: Tensor, gradients: Tensor) -> Tensor:
    """``relu(sum_k w_k a_k)`` with ``w_k`` the mean gradient of channel k over positions: ``(n, h, w)`` float64.

    Of ``(n, K, h, w)``. Where pooling and one linear layer follow, ``w_k`` is that layer's weight over ``h w``, so
    this is the class activation map up to a factor.
    """
    weights = gradients.double().mean(dim=(2, 3), keepdim=True)
    return (weights * activations.double()).sum(dim=1).relu()


def stretched(maps: Tensor, side: int) -> Tensor:
    """``(m, side, side)`` of ``(n, h, w)``: each map from its least to its highest value brought to [0, 1], then
    enlarged bicubically (which may overshoot); constant maps are left out."""
    low, high = maps.amin(dim=(1, 2)), maps.amax(dim=(1, 2))
    kept = high > low
    even = (maps[kept] - low[kept, None, None]) / (high - low)[kept, None, None]
    if not len(even):
        return maps.new_zeros((0, side, side))
    return functional.interpolate(even[:, None], size=(side, side), mode="bicubic", align_corners=False)[:, 0]


def figures_of(total: Tensor, maps: int, pictures: int) -> Figures:
    """The scores of ``maps`` maps that sum to ``total`` ``(side, side)``, of so many pictures."""
    left_out = 1 - maps / pictures
    if not maps:
        none = "the class activation map of every picture is constant"
        return {"above-50": none, "above-60": none, "spread": none, "left-out": left_out}
    mean = total / maps
    return {
        "above-50": float((mean > 0.5).double().mean()),
        "above-60": float((mean > 0.6).double().mean()),
        "spread": float(mean.std(correction=0)),
        "left-out": left_out,
    }


class CamConcentration:
    """How much of the mean class activation map is high, as IFFD's test script has it.

    The class activation map of each picture's likeliest class at the layer (``relu``, stretched to [0, 1], enlarged to
    45 x 45 bicubically) is averaged over the real pictures. Scores: the share of the 2,025 cells above 0.5 and above
    0.6, and the standard deviation (n) of the mean map. Neither direction is better: few high cells mean that pictures
    agree on one small place, which may be the wrong one. Faces must be aligned, or the mean is of different places.

    Departures: the weights of the classes are mean gradients, as of Grad-CAM, so that any head will do; enlarging is
    torch's bicubic (a = -0.75, no antialiasing). Constant maps are left out and counted.
    Undefined where no picture has the label, or every map is constant.
    """

    Parameters = ConcentrationParameters
    scores = SCORES

    def __init__(self, parameters: ConcentrationParameters) -> None:
        self.parameters = parameters

    def score(self, case: ModelCase) -> Programme[Scores]:
        p = self.parameters
        reason = why_not(case, p.layer, NEEDS)
        if reason:
            return Scores.undefined(SCORES, reason)
        shown = [i for i in in_order(case.pictures) if self._counts(case.pictures[i])]
        if not shown:
            return Scores.undefined(SCORES, f"there is no {p.label} picture")
        total, maps = torch.zeros((p.side, p.side), dtype=torch.float64), 0
        for some in chunks(shown):
            images = torch.stack([case.pictures[i].image for i in some])
            targets = case.clean.cpu()[list(some)].argmax(dim=1)
            found = cast("LayerGradients", (yield LayerBackward(images, targets, layer=p.layer)))
            cams = class_activation_map(found.activations.cpu(), found.gradients.cpu())
            if not cams.isfinite().all():
                return Scores.undefined(SCORES, "an activation or gradient of the layer is not finite")
            even = stretched(cams, p.side)
            total, maps = total + even.sum(dim=0), maps + len(even)
        return Scores(as_scores(SCORES, figures_of(total, maps, len(shown))))

    def _counts(self, picture: Picture) -> bool:
        return self.parameters.label in ("all", picture.sample.label)

    def passes(self, query: PassQuery) -> Passes:
        """One pass forward and back for a picture of the label."""
        return Passes(1, 1) if self.parameters.label in ("all", query.sample.label) else Passes()
