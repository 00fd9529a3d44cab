"""What replaces switched-off pixels."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from xaibench.api import ArtefactQuery, Passes, PassQuery, Product

FillKind = Literal["black", "grey", "white", "mean", "blur"]
FILL_KINDS: tuple[FillKind, ...] = get_args(FillKind)

SIGMA = 0.0225
"""Default blur: the standard deviation as a share of the shorter side, 5 px of 224 (RISE's commonly quoted value)."""


def fill(image: Tensor, kind: FillKind, *, sigma: float = SIGMA) -> Tensor:
    """The picture that stands for "nothing here".

    Parameters
    ----------
    image: ``(3, H, W)`` float32 in [0, 1]; never changed.
    kind: ``black`` 0, ``grey`` 0.5, ``white`` 1, ``mean`` the picture's own mean colour, ``blur`` its Gaussian blur.
    sigma: standard deviation of ``blur`` as a share of the shorter side.

    Returns ``(3, H, W)`` float32 in [0, 1] on the device of ``image``, never the same storage. Kinds that need more
    than the picture (a random stream, the hole to inpaint, a twin, the real counterpart) are in
    :mod:`xaibench_perturbation.switching`.
    """
    make = _FILLS.get(kind)
    if make is None:
        raise ValueError(f"no fill called {kind!r}; there are {', '.join(FILL_KINDS)}")
    return make(image, sigma)


@dataclass(frozen=True, slots=True)
class Background:
    """The fill of a picture as an :class:`xaibench.api.Artefact` with the tensor ``background``."""

    fill: FillKind
    sigma: float = SIGMA

    kind = "background"
    uses_detector = False
    stored = False

    def parameters(self) -> Mapping[str, object]:
        return {"fill": self.fill, "sigma": self.sigma if self.fill == "blur" else None}

    def make(self, query: ArtefactQuery) -> Product:
        image = query.picture.image.to(query.detector.device)
        return Product(tensors={"background": fill(image, self.fill, sigma=self.sigma)})

    def passes(self, query: PassQuery) -> Passes:
        return Passes()


def gaussian_blur(image: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of ``(..., H, W)`` with ``sigma`` in pixels, cut at 4 sigma, borders replicated.

    Equal to ``scipy.ndimage.gaussian_filter(mode="nearest", truncate=4)`` over the last two axes. RISE's own kernel
    has 11 taps at sigma 5, so it is cut at one sigma and blurs less.
    """
    height, width = image.shape[-2:]
    rows = _blur_matrix(height, sigma).to(image)
    columns = _blur_matrix(width, sigma).to(image)
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


def _constant(value: float) -> Callable[[Tensor, float], Tensor]:
    return lambda image, _: torch.full_like(image, value)


def _mean_colour(image: Tensor, _: float) -> Tensor:
    return image.mean(dim=(1, 2), keepdim=True).expand_as(image).contiguous()


def _blurred(image: Tensor, sigma: float) -> Tensor:
    if not math.isfinite(sigma) or sigma <= 0:
        raise ValueError(f"sigma must be positive, got {sigma}")
    return gaussian_blur(image, sigma * min(image.shape[-2:])).clamp(0, 1)


_FILLS: Mapping[str, Callable[[Tensor, float], Tensor]] = {
    "black": _constant(0.0),
    "grey": _constant(0.5),
    "white": _constant(1.0),
    "mean": _mean_colour,
    "blur": _blurred,
}
