"""Region share: how much of a layer's energy lies in the manipulation and on the face?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from xaibench.api import Apply, Curve, ModelCase, Passes, PassQuery, Picture, Programme, Scores
from xaibench_metrics.interpretability.layer import (
    Figures,
    LayerParameters,
    as_scores,
    chunks,
    grids_of,
    in_order,
    spec,
    why_not,
)
from xaibench_perturbation import hull_mask

_INF = float("inf")
REGIONS = ("mask", "hull")
_WORDS = {"mask": "the manipulation mask", "hull": "the convex hull of the landmarks"}

SCORES = tuple(
    s
    for region, words in _WORDS.items()
    for s in (
        spec(f"{region}-lift", f"{region}-share over {region}-area; 1 is chance", "higher", 0, _INF, primary=True),
        spec(
            f"{region}-share", f"share of a channel's |activation| inside {words}, mean over channels", "higher", 0, 1
        ),
        spec(f"{region}-area", f"share of the picture inside {words}, mean over pictures", "none", 0, 1),
    )
)


class RegionParameters(LayerParameters):
    """Parameters of ``region-share``."""

    axes: int = Field(0, ge=0, description="the first so many channels, those of the concepts; 0: all")


def regions_of(picture: Picture) -> Tensor:
    """``(2, H, W)`` float32: the mask and the hull, 1 inside; all 0 where the picture has none."""
    size = (picture.image.shape[1], picture.image.shape[2])
    found = (picture.mask, hull_mask(picture.landmarks, size))
    return torch.stack([torch.zeros(size) if m is None else m.cpu().float() for m in found])


def energy_within(grids: Tensor, regions: Tensor) -> tuple[Tensor, Tensor]:
    """``sum_x |a_k(x)|`` ``(b, K)`` and ``sum_x |a_k(x)| w_r(x)`` ``(b, K, R)`` in float64.

    ``grids``: ``(b, K, h, w)``; ``regions``: ``(b, R, H, W)``. ``w_r(x)`` is the share of cell x inside region r: the
    energy of a cell counts as spread evenly over it.
    """
    size = (grids.shape[2], grids.shape[3])
    inside = functional.interpolate(regions.double(), size=size, mode="area")
    energy = grids.double().abs()
    return energy.sum(dim=(2, 3)), torch.einsum("bkhw,brhw->bkr", energy, inside)


def mean_shares(energy: Tensor, within: Tensor) -> Tensor:
    """``(K',)``: share of each channel's energy inside, mean over pictures where it has any; channels without any in
    all pictures are left out. ``energy``, ``within``: ``(n, K)``."""
    there = energy > 0
    shares = torch.where(there, within / energy.where(there, torch.ones_like(energy)), 0.0)
    counts = there.sum(dim=0)
    return (shares.sum(dim=0)[counts > 0] / counts[counts > 0]).clamp(0, 1)


@dataclass(frozen=True, slots=True)
class RegionEnergy:
    """For :class:`xaibench.api.Apply`: :func:`energy_within` of the first ``axes`` channels (0: all); ``extras``:
    the regions ``(b, 2, H, W)``."""

    layer: str | None
    axes: int

    def __call__(
        self, detector: Any, images: Tensor, targets: Tensor, extras: tuple[Tensor, ...]
    ) -> tuple[Tensor, ...]:
        grids = grids_of(detector, images, self.layer)
        return energy_within(grids[:, : self.axes or grids.shape[1]], extras[0])


class RegionShare:
    """Share of a layer's energy inside the manipulation mask, and inside the convex hull of the landmarks.

    For channel k and picture i: ``sum_x |a_k(x)| w(x) / sum_x |a_k(x)|``, w the share of cell x that lies in the
    region. ``mask-share`` is its mean over the pictures in which the channel has energy, then over channels; a channel
    without any energy is left out. ``mask-area`` is the region's share of the picture, mean over the same pictures:
    what a channel that is even everywhere scores. ``mask-lift`` is the quotient. Likewise ``hull-``. In [0, 1]; lifts
    in [0, inf). The curves ``mask-share`` and ``hull-share`` hold the channels' shares in falling order.

    This is where a layer answers, not what the verdict hangs on: cells see more than their own place in the picture.
    Undefined where no picture has the region (an empty mask is none), or the layer is 0 on all that have it.
    """

    Parameters = RegionParameters
    scores = SCORES

    def __init__(self, parameters: RegionParameters) -> None:
        self.parameters = parameters

    def score(self, case: ModelCase) -> Programme[Scores]:
        p = self.parameters
        reason = why_not(case, p.layer)
        if reason:
            return Scores.undefined(SCORES, reason)
        pictures = [case.pictures[i] for i in in_order(case.pictures)]
        energy, within, area = [], [], []
        for some in chunks(pictures):
            regions = torch.stack([regions_of(picture) for picture in some])
            some_area = regions.double().mean(dim=(2, 3))
            with_any = some_area.any(dim=1)
            if with_any.any():
                images = torch.stack([picture.image for picture in some])[with_any]
                compute = RegionEnergy(p.layer, p.axes)
                found = yield Apply(compute, images, 0, (regions[with_any],), forward=1, backward=0)
                energy.append(found[0].cpu())
                within.append(found[1].cpu())
                area.append(some_area[with_any])
        if not area:
            return Scores.undefined(SCORES, "no picture has a mask or landmarks")
        return _scored(torch.cat(energy), torch.cat(within), torch.cat(area))

    def passes(self, query: PassQuery) -> Passes:
        """One forward pass at most, for a picture with a mask or landmarks; an empty mask takes none."""
        shown = query.sample.has_mask or query.sample.has_landmarks
        return Passes(1, 0, exact=False) if shown else Passes()


def _scored(energy: Tensor, within: Tensor, area: Tensor) -> Scores:
    if not energy.isfinite().all():
        return Scores.undefined(SCORES, "an activation of the layer is not finite")
    figures: dict[str, float | str] = {}
    curves = []
    for r, region in enumerate(REGIONS):
        rows = area[:, r] > 0
        shares = mean_shares(energy[rows], within[rows, :, r])
        figures |= _figures(region, shares, area[rows, r])
        y = shares.sort(descending=True).values.tolist()
        curves += [Curve(name=f"{region}-share", x=list(range(len(y))), y=y)] if y else []
    return Scores(as_scores(SCORES, figures), tuple(curves))


def _figures(region: str, shares: Tensor, area: Tensor) -> Figures:
    names = (f"{region}-share", f"{region}-area", f"{region}-lift")
    if not len(area):
        return dict.fromkeys(names, f"no picture has {'a mask' if region == 'mask' else 'landmarks'}")
    chance = float(area.mean())
    if not len(shares):
        return dict(zip(names, (_DARK, chance, _DARK), strict=True))
    share = float(shares.mean())
    return dict(zip(names, (share, chance, share / chance), strict=True))


_DARK = "the channels are 0 on every picture with the region"
