"""Fills that follow from the picture, and asking for a fill's background."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from xaibench.api import (
    ArtefactQuery,
    Artefacts,
    Detector,
    FillRequest,
    Passes,
    PassQuery,
    Picture,
    Product,
    Programme,
    Streams,
    to_device,
)
from xaibench_perturbation.fill_parameters import PICTURE_FILLS, as_fill

SIGMA = 0.0225
"""Default blur: the standard deviation as a share of the shorter side, 5 px of 224 (RISE's commonly quoted value)."""


# ---- the fills ------------------------------------------------------------------------------------------------------


def black(request: FillRequest) -> Tensor:
    """0 everywhere."""
    return torch.full_like(request.image, 0.0)


def grey(request: FillRequest) -> Tensor:
    """0.5 everywhere."""
    return torch.full_like(request.image, 0.5)


def white(request: FillRequest) -> Tensor:
    """1 everywhere."""
    return torch.full_like(request.image, 1.0)


def mean(request: FillRequest) -> Tensor:
    """The picture's own mean colour."""
    return request.image.mean(dim=(1, 2), keepdim=True).expand_as(request.image).contiguous()


def minimum(request: FillRequest) -> Tensor:
    """The least value of the picture over all channels (Quantus's "black")."""
    return request.image.min().expand_as(request.image).contiguous()


def blur(request: FillRequest) -> Tensor:
    """The picture's Gaussian blur; its standard deviation is ``sigma`` of the shorter side."""
    sigma, image = request.sigma, request.image
    if sigma is None or not math.isfinite(sigma) or sigma <= 0:
        raise ValueError(f"sigma must be positive, got {sigma}")
    return gaussian_blur(image, sigma * min(image.shape[-2:])).clamp(0, 1)


# ---- asking for one -------------------------------------------------------------------------------------------------


def fill(image: Tensor, kind: str, *, sigma: float = SIGMA) -> Tensor:
    """The picture that stands for "nothing here", from an image alone: a built-in fill of :data:`PICTURE_FILLS`.

    Parameters
    ----------
    image: ``(3, H, W)`` float32 in [0, 1]; never changed.
    kind: the name of the fill.
    sigma: standard deviation of ``blur`` as a share of the shorter side.

    Returns ``(3, H, W)`` float32 in [0, 1] on the device of ``image``, never the same storage.
    """
    if kind not in PICTURE_FILLS:
        raise ValueError(f"no fill called {kind!r}; there are {', '.join(PICTURE_FILLS)}")
    background: Tensor = as_fill(str(kind)).component.load()(FillRequest(image=image, sigma=sigma))
    return background


class Asker(Protocol):
    """What a fill is asked for by: an explanation's request, a metric's case, an artefact's query."""

    @property
    def detector(self) -> Detector: ...
    @property
    def picture(self) -> Picture: ...
    @property
    def streams(self) -> Streams: ...
    @property
    def artefacts(self) -> Artefacts: ...


def background_of(asker: Asker, name: str, sigma: float = SIGMA) -> Programme[Tensor]:
    """``(3, H, W)``, where the detector computes: a fill that needs at most ``sigma`` and ``random``, so that there is
    one for every picture. ``name`` is a parameter's value."""
    background = yield from as_fill(name).of(
        FillRequest(
            image=to_device(asker.picture.image, asker.detector.device),
            picture=asker.picture,
            artefacts=asker.artefacts,
            sigma=sigma,
            streams=asker.streams,
        )
    )
    if not isinstance(background, Tensor):
        raise ValueError(f"fill {name!r} is not one picture")
    return background


@dataclass(frozen=True, slots=True)
class Background:
    """The fill of a picture as an :class:`xaibench.api.Artefact` with the tensor ``background``."""

    fill: str
    sigma: float = SIGMA

    kind = "background"
    uses_detector = False
    stored = False

    def parameters(self) -> Mapping[str, object]:
        return {"fill": self.fill, "sigma": self.sigma if "sigma" in as_fill(self.fill).needs else None}

    def make(self, query: ArtefactQuery) -> Programme[Product]:
        background = yield from background_of(query, self.fill, self.sigma)
        return Product(tensors={"background": background})

    def passes(self, query: PassQuery) -> Passes:
        return Passes()


# ---- blurring -------------------------------------------------------------------------------------------------------


def gaussian_blur(image: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of ``(..., H, W)`` with ``sigma`` in pixels, cut at 4 sigma, borders replicated.

    Equal to ``scipy.ndimage.gaussian_filter(mode="nearest", truncate=4)`` over the last two axes. RISE's own kernel
    has 11 taps at sigma 5, so it is cut at one sigma and blurs less.
    """
    height, width = image.shape[-2:]
    rows = to_device(_blur_matrix(height, sigma).to(image.dtype), image.device)
    columns = to_device(_blur_matrix(width, sigma).to(image.dtype), image.device)
    return rows @ image @ columns.T


def _blur_matrix(n: int, sigma: float) -> Tensor:
    """``(n, n)`` matrix of the one-dimensional blur; rows sum to 1."""
    if sigma <= 0:
        return torch.eye(n, dtype=torch.float64)
    radius = int(4 * sigma + 0.5)
    offsets = torch.arange(-radius, radius + 1)
    taps = torch.exp(-0.5 * (offsets.double() / sigma) ** 2)
    taps /= taps.sum()
    sources = (torch.arange(n)[:, None] + offsets).clamp(0, n - 1)
    return torch.zeros(n, n, dtype=torch.float64).scatter_add_(1, sources, taps.expand(n, -1).contiguous())
