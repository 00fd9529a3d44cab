"""Turning R so that axis j answers to concept j: minimise ``F(R) = <G, R> = sum_ij G_ij R_ij`` over orthogonal R.

G is ``(P, C)``, P <= C: minus the gradient of concept j's activation by row j of R; the rows of the other axes are 0.
The least value is minus the nuclear norm of G. Everything is computed in float64 on the CPU; R comes back in the
type and on the device that it came in.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Solver = Literal["cayley", "procrustes"]

FIRST_STEP, LONGEST_STEP = 1000.0, 1e8
DECREASE, CURVATURE = 1e-4, 0.9
"""Of the Armijo-Wolfe conditions that a step has to fulfil."""
ATTEMPTS = 500
STEPS_A_CALL = 2


def turned_towards(rotation: Tensor, gradient: Tensor, solver: Solver) -> Tensor:
    """The next R, ``(C, C)``, by :func:`cayley` or :func:`procrustes`, orthogonal to rounding; neither is changed."""
    start, slope = rotation.detach().cpu().double(), gradient.detach().cpu().double()
    solved = cayley(start, slope) if solver == "cayley" else procrustes(start, slope)
    # one Newton step to the nearest orthogonal matrix: else the rounding of a thousand updates would add up
    polished = 1.5 * solved - 0.5 * solved @ solved.mT @ solved
    return polished.to(rotation)


def cayley(rotation: Tensor, gradient: Tensor) -> Tensor:
    """Two steps of a curvilinear search on the orthogonal matrices (Wen and Yin 2013; concept whitening, section 3.2).

    ``A = G R^T - R G^T``, ``Y(t) = Q(t) R``, ``Q(t) = (I + t A / 2)^(-1) (I - t A / 2)``; t is halved between bounds
    until F(Y) <= F + 1e-4 t F'(0) and F'(t) >= 0.9 F'(0).

    A has rank 2 P at most, so Q - I lives in the span of ``[E_P, R G^T]`` and the search runs there, on matrices of
    2 P rows instead of C: the same numbers as the published dense search, at a cost that does not grow with C^3.
    """
    for _ in range(STEPS_A_CALL):
        among = _span(rotation, gradient)
        inner = among.mT @ _product(rotation, gradient) @ among
        change = _searched(inner) - torch.eye(len(inner), dtype=inner.dtype)
        rotation = rotation + among @ (change @ (among.mT @ rotation))
    return rotation


def _product(rotation: Tensor, gradient: Tensor) -> Tensor:
    """``G R^T`` with the rows of 0 that G leaves out, ``(C, C)``."""
    return torch.cat([gradient @ rotation.mT, rotation.new_zeros(len(rotation) - len(gradient), len(rotation))])


def _span(rotation: Tensor, gradient: Tensor) -> Tensor:
    """``(C, min(C, 2 P))``: orthonormal columns whose span holds all that A changes."""
    axes = torch.eye(len(rotation), len(gradient), dtype=rotation.dtype)
    basis: Tensor = torch.linalg.qr(torch.cat([axes, rotation @ gradient.mT], dim=1)).Q
    return basis


def _searched(inner: Tensor) -> Tensor:
    """Q(t) of the accepted t within the span; ``inner`` is G R^T there, so that F(Y) - F = <inner, Q - I>.

    After ``ATTEMPTS`` (rounding at a stationary R) the last Q is taken, whose t the bounds have closed in on.
    """
    skew = inner - inner.mT
    identity = torch.eye(len(inner), dtype=inner.dtype)
    slope = -0.5 * skew.square().sum()
    step, low, high = FIRST_STEP, 0.0, LONGEST_STEP
    for _ in range(ATTEMPTS):
        inverse: Tensor = torch.linalg.inv(identity + step / 2 * skew)
        turn = inverse @ (identity - step / 2 * skew)
        if (inner * (turn - identity)).sum() > DECREASE * step * slope:
            high = step
        elif _slope(inner, skew, inverse, turn) < CURVATURE * slope:
            low = step
        else:
            break
        step = (low + high) / 2
    return turn


def _slope(inner: Tensor, skew: Tensor, inverse: Tensor, turn: Tensor) -> Tensor:
    """``F'(t) = -tr(G^T (I + t A / 2)^(-1) A (R + Y) / 2)``, cycled so that only ``inner`` is needed."""
    identity = torch.eye(len(inner), dtype=inner.dtype)
    slope: Tensor = -0.5 * torch.trace((identity + turn) @ inner.mT @ inverse @ skew)
    return slope


def procrustes(rotation: Tensor, gradient: Tensor) -> Tensor:
    """The best R at once: rows of the concepts ``-U V^T`` of the singular value decomposition ``G = U S V^T``.

    The other rows do not enter F; they become the orthonormal rows nearest to what they were (a second decomposition,
    of a ``(C - P, C - P)`` matrix), so that what is no concept changes as little as it can. R may become a reflection,
    which Cayley steps cannot.
    """
    concepts = len(gradient)
    left, _, right = torch.linalg.svd(gradient, full_matrices=True)
    free = right[concepts:]
    outer, _, inner = torch.linalg.svd(rotation[concepts:] @ free.mT)
    return torch.cat([-left @ right[:concepts], outer @ inner @ free])


def attained(rotation: Tensor, gradient: Tensor) -> float:
    """``-<G, R> / |G|_*``, the share of the best that R reaches, at most 1; 0 where G is 0."""
    best = torch.linalg.matrix_norm(gradient.double(), ord="nuc")
    reached = -(gradient.double() * rotation[: len(gradient)].to(gradient.device).double()).sum()
    return float(reached / best) if best > 0 else 0.0
