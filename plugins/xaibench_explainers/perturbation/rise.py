"""RISE: random masks weighted by the score of the masked picture."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from xaibench.api import ExplainRequest, Explanation, Passes, PassQuery, Programme, to_device
from xaibench_explainers.perturbation.regions import (
    RegionParameters,
    Regions,
    masked_scores,
    no_signal,
    painted,
    regions_of,
)
from xaibench_perturbation import (
    Coalitions,
    MaskDesign,
    ScoreKind,
    Switch,
    every_mask,
    extra_needs,
    random_fill,
    random_members,
    refusal,
    rise_masks,
    stored_artefacts,
)

RiseDesign = MaskDesign | Coalitions


class RiseParameters(RegionParameters):
    """Parameters of ``rise``; the defaults are those of the paper's ResNet-50 experiments, with N = 4000 masks."""

    masks: int = Field(4000, ge=1, description="masked pictures a sample (design=random)")
    cells: int = Field(7, ge=1, description="cells of a mask along a side")
    keep: float = Field(0.5, gt=0, lt=1, description="probability that a cell or segment stays on")
    design: Literal["random", "every"] = Field(
        "random", description="random masks, or each of the 2^(cells*cells) on-off grids once, in whole cells"
    )
    normaliser: Literal["expected", "coverage"] = Field(
        "expected", description="divide by masks*keep (the paper) or, less noisy, by each pixel's sum of masks"
    )
    output: ScoreKind = Field("probability", description="score of the target that weighs a mask")

    @model_validator(mode="after")
    def _can_be_listed(self) -> RiseParameters:
        if self.design == "every" and (self.on != "grid" or self.cells > 4):
            raise ValueError("design=every lists the masks of a grid of at most 4x4 cells")
        return self


def rise(image: Tensor, background: Tensor, design: RiseDesign, target: int, keep: float | None) -> Programme[Tensor]:
    """``S = sum_i p_target(x * m_i + b * (1 - m_i)) m_i / Z``, float32, in [0, 1] up to sampling noise.

    ``image`` and ``background``: ``(3, H, W)``. Returns ``(H, W)``, or ``(S,)`` for coalitions of segments. Z is
    ``N * keep``, or the per-pixel sum of masks where ``keep`` is None (a pixel that no mask shows is then 0). Masks are
    rendered and scored ``CHUNK`` at a time.
    """
    scores = yield from masked_scores(Switch(image, background), design, target, "probability")
    return weighted_mean(design, scores, keep)


def weighted_mean(design: RiseDesign, scores: Tensor, keep: float | None, weights: Tensor | None = None) -> Tensor:
    """``sum_i w_i s_i m_i / Z`` for ``(N,)`` scores: the map ``(H, W)`` of masks, the weights ``(S,)`` of coalitions.

    ``weights``: ``(N,)`` with mean 1, how often each mask counts; None: once. Z as in :func:`rise`.
    """
    counts = (torch.ones_like(scores) if weights is None else weights).double()
    total = _summed(design, counts * scores.double())
    return (total / (_summed(design, counts).clamp(min=1e-12) if keep is None else len(design) * keep)).float()


def _summed(design: RiseDesign, weights: Tensor) -> Tensor:
    """``sum_i w_i m_i`` in float64: ``(H, W)`` of masks, ``(S,)`` of coalitions."""
    if isinstance(design, Coalitions):
        return to_device(weights, design.members.device) @ design.members.double()
    return design.weighted_sum(weights)


def chance_of_each(design: MaskDesign, keep: float) -> Tensor:
    """``(N,)`` float64, mean 1: ``N p^k (1-p)^(n-k)`` for a grid with k of n cells on, for :func:`every_mask`."""
    on = design.grids.double().sum(dim=(1, 2))
    cells = design.grids.shape[1] * design.grids.shape[2]
    chances: Tensor = len(design) * keep**on * (1 - keep) ** (cells - on)
    return chances


class Rise:
    """RISE (Petsiuk et al. 2018, equation 6): higher = the score is higher where the pixel is visible.

    On a model that is additive over cells the expected map is ``(1-p) w_j + p sum(w)``: an offset that tells nothing,
    so only differences within a map mean anything. ``design=every`` computes that expectation, ``on=segments`` keeps
    whole segments with probability ``keep`` instead of soft cells. Departures: xplique divides by the sum of masks
    (``normaliser=coverage``) and shifts a whole batch of masks together; here each has its own shift, as in the paper.
    Masks are drawn anew for every sample, so that no two samples share their noise.

    Masks that leave every score as it is give no map, where other libraries draw the masks' own noise.
    With ``output=logit`` the map may be negative.
    """

    Parameters = RiseParameters

    def __init__(self, parameters: RiseParameters) -> None:
        self.parameters = parameters
        self.artefacts = stored_artefacts(parameters)
        self.needs = extra_needs(parameters)
        self.signed = parameters.output == "logit"
        self.stochastic = parameters.design == "random" or random_fill(parameters)

    def explain(self, request: ExplainRequest) -> Programme[Explanation]:
        p = self.parameters
        regions = yield from regions_of(request, p)
        if isinstance(regions, Explanation):
            return regions
        design, weights = self._design(request, regions)
        scores = yield from masked_scores(regions.switch, design, request.target, p.output)
        if reason := no_signal(scores):
            return Explanation.none(reason)
        found = weighted_mean(design, scores, p.keep if p.normaliser == "expected" else None, weights)
        if p.on == "segments":
            return painted(found, regions)
        return Explanation(map=found.cpu(), details=regions.switch.details)

    def _design(self, request: ExplainRequest, regions: Regions) -> tuple[RiseDesign, Tensor | None]:
        """The masks, and how often each counts."""
        p, device, generator = self.parameters, request.detector.device, request.streams.torch("masks")
        if p.on == "segments":
            members = random_members(p.masks, regions.count, p.keep, generator)
            return Coalitions(members, regions.labels).to(device), None
        height, width = request.picture.image.shape[1:]
        if p.design == "every":
            listed = every_mask(p.cells, (height, width)).to(device)
            return listed, chance_of_each(listed, p.keep)
        drawn = rise_masks(p.masks, cells=p.cells, keep=p.keep, size=(height, width), generator=generator)
        return drawn.to(device), None

    def passes(self, query: PassQuery) -> Passes:
        p = self.parameters
        return Passes(forward=2 ** (p.cells**2) if p.design == "every" else p.masks)

    def refuses(self, query: PassQuery) -> str:
        return refusal(self.parameters, query)
