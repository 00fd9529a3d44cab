"""Filling a hole from its border."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xaibench.api import to_device
from xaibench_perturbation.inpainting_device import solved_on_device

_NEIGHBOURS = ((0, 1, 1 / 6), (1, 0, 1 / 6), (1, 1, 1 / 12), (1, -1, 1 / 12))
"""Down, across and weight of half of the eight neighbours; the others lie opposite."""


def inpaint(image: Tensor, hole: Tensor, *, noise: float = 0.0, generator: torch.Generator | None = None) -> Tensor:
    """Linear imputation (ROAD, Rong et al. 2022, section 4.2): every unknown pixel is the mean of its neighbours.

    ``sum_j w_ij (v_i - v_j) = 0`` over the neighbours within the picture, ``w`` 1/6 beside and 1/12 across corners,
    each channel by itself, solved directly in float64. The values lie between the least and the greatest on the hole's
    border. At 224 px on one core about 0.02 s for a hole of a twentieth of the picture, 0.1 s for half of it.

    Parameters
    ----------
    image: ``(3, H, W)`` float32; never changed, and bit-equal outside the hole.
    hole: ``(H, W)`` bool, True where unknown. Where it covers everything, any constant solves the equations, and the
        picture's mean colour is taken, as by ``fill=mean``.
    noise: standard deviation of normal noise added in the hole. ROAD adds 0.01 to normalised pictures, so that a
        network cannot tell the patch by its smoothness; none here by default, so that a fill depends on no draw.
    generator: on the CPU, for the noise.

    Returns ``(3, H, W)`` float32 on the device of ``image``. Equal to Quantus's imputer without noise, on the CPU to
    rounding and elsewhere to 1e-3.
    """
    if noise and generator is None:
        raise ValueError("noise needs a generator")
    if image.device.type != "cpu":
        return _on_device(image, hole[None], noise, generator)[0]
    hole = hole.cpu()
    filled = image.clone()
    filled[:, hole] = _values(image.detach(), hole).to(image)
    if noise:
        filled += hole * noise * torch.randn(image.shape, generator=generator).to(image)
    return filled


def inpaint_each(image: Tensor, holes: Tensor, *, noise: float = 0.0, seed: int = 0) -> Tensor:
    """:func:`inpaint` for each of ``(n, H, W)`` holes: ``(n, 3, H, W)``, all under the noise that ``seed`` draws.

    As many at a time as torch may use threads: the solver uses one, and lets others run meanwhile. On another device
    than the CPU all are solved there together (:mod:`xaibench_perturbation.inpainting_device`).
    """
    if image.device.type != "cpu":
        return _on_device(image, holes, noise, torch.Generator().manual_seed(seed))

    def filled(hole: Tensor) -> Tensor:
        return inpaint(image, hole, noise=noise, generator=torch.Generator().manual_seed(seed))

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        return torch.stack(list(pool.map(filled, holes)))


def _on_device(image: Tensor, holes: Tensor, noise: float, generator: torch.Generator | None) -> Tensor:
    holes = to_device(holes, image.device)
    filled = torch.where(holes[:, None], solved_on_device(image.detach(), holes).to(image.dtype), image)
    if noise:
        normal = torch.randn(image.shape, generator=generator).to(image.dtype)
        filled = filled + holes[:, None] * noise * to_device(normal, image.device)
    return filled


def _values(image: Tensor, hole: Tensor) -> Tensor:
    """``(3, pixels of the hole)``."""
    unknown = hole.flatten().numpy().astype(bool)
    count = int(unknown.sum())
    if count in (0, len(unknown)):
        return image.mean(dim=(1, 2))[:, None].expand(-1, count)
    pixels = image.double().cpu().flatten(1).numpy()
    return torch.from_numpy(_solve(pixels, unknown, (hole.shape[0], hole.shape[1])))


def _solve(pixels: np.ndarray, unknown: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """``(channels, H*W)`` pixels to ``(channels, u)`` values of the unknown ones, float64."""
    from scipy.sparse.linalg import splu

    rows = _laplacian(*size)[np.flatnonzero(unknown)]
    inside = rows[:, np.flatnonzero(unknown)].tocsc()
    from_border = -(rows[:, np.flatnonzero(~unknown)] @ pixels[:, ~unknown].T)
    # symmetric and positive definite: needs no pivots, and has an ordering of its own
    factors = splu(inside, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    solved: np.ndarray = factors.solve(from_border)
    return np.ascontiguousarray(solved.T)


@lru_cache(maxsize=4)
def _laplacian(height: int, width: int) -> Any:
    """``(H*W, H*W)`` sparse matrix of the weighted differences between each pixel and its neighbours."""
    from scipy.sparse import coo_matrix, diags

    number = np.arange(height * width).reshape(height, width)
    ones, others, weights = [], [], []
    for down, across, weight in _NEIGHBOURS:
        one = number[: height - down, max(0, -across) : width - max(0, across)].ravel()
        other = number[down:, max(0, across) : width + min(0, across)].ravel()
        ones += [one, other]
        others += [other, one]
        weights.append(np.full(2 * len(one), weight))
    edges = (np.concatenate(ones), np.concatenate(others))
    near = coo_matrix((np.concatenate(weights), edges), shape=(number.size, number.size)).tocsr()
    return (diags(np.asarray(near.sum(axis=1)).ravel()) - near).tocsr()
