"""RISE: random masks weighted by the score of the masked picture."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from xaibench.contracts import ExplainRequest, Explanation, Passes, PassQuery, Programme
from xaibench.parameters import Parameters
from xaibench.probes import Forward
from xaibench_perturbation import CHUNK, SIGMA, FillKind, MaskDesign, blend, fill, rise_masks


class RiseParameters(Parameters):
    """Parameters of ``rise``; the defaults are those of the paper's ResNet-50 experiments, with N = 4000 masks."""

    masks: int = Field(4000, ge=1, description="masked pictures a sample")
    cells: int = Field(7, ge=1, description="cells of a mask along a side")
    keep: float = Field(0.5, gt=0, lt=1, description="probability that a cell stays on")
    fill: FillKind = Field("black", description="what replaces pixels that are off")
    sigma: float = Field(SIGMA, gt=0, le=1, description="blur of fill=blur, as a share of the shorter side")
    normaliser: Literal["expected", "coverage"] = Field(
        "expected", description="divide by masks*keep (the paper) or, less noisy, by each pixel's sum of masks"
    )


def rise(image: Tensor, background: Tensor, design: MaskDesign, target: int, keep: float | None) -> Programme[Tensor]:
    """``S = sum_i p_target(x * m_i + b * (1 - m_i)) m_i / Z``, ``(H, W)`` float32, in [0, 1] up to sampling noise.

    ``image`` and ``background``: ``(3, H, W)``. Z is ``N * keep``, or the per-pixel sum of masks where ``keep`` is
    None (a pixel that no mask shows is then 0). Masks are rendered and scored ``CHUNK`` at a time.
    """
    weighted = torch.zeros(image.shape[1:], dtype=torch.float64, device=image.device)
    coverage = torch.zeros_like(weighted)
    for start in range(0, len(design), CHUNK):
        masks = design.render(start, start + CHUNK)
        scores: Tensor = yield Forward(blend(image, background, masks))
        weighted += torch.tensordot(scores[:, target].to(masks), masks, dims=1)
        coverage += masks.sum(dim=0)
    total = coverage.clamp(min=1e-12) if keep is None else len(design) * keep
    return (weighted / total).float()


class Rise:
    """RISE (Petsiuk et al. 2018, equation 6): higher = the score is higher where the pixel is visible.

    On a model that is additive over cells the expected map is ``(1-p) w_j + p sum(w)``: an offset that tells nothing,
    so only differences within a map mean anything. Departures: xplique divides by the sum of masks
    (``normaliser=coverage``) and shifts a whole batch of masks together; here each has its own shift, as in the paper.
    Masks are drawn anew for every sample, so that no two samples share their noise.
    """

    Parameters = RiseParameters
    always_explains = True

    def __init__(self, parameters: RiseParameters) -> None:
        self.parameters = parameters

    def explain(self, request: ExplainRequest) -> Programme[Explanation]:
        p, device = self.parameters, request.detector.device
        image = request.picture.image.to(device)
        height, width = image.shape[1:]
        design = rise_masks(
            p.masks,
            cells=p.cells,
            keep=p.keep,
            size=(height, width),
            generator=request.streams.torch("masks"),
        ).to(device)
        keep = p.keep if p.normaliser == "expected" else None
        saliency = yield from rise(image, fill(image, p.fill, sigma=p.sigma), design, request.target, keep)
        return Explanation(map=saliency.cpu())

    def passes(self, query: PassQuery) -> Passes:
        return Passes(forward=self.parameters.masks)
