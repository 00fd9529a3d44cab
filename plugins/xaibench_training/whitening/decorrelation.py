"""Decorrelating channels: covariance in groups, its inverse square root, and what correlation is left.

Activations ``(N, C, H, W)`` are seen as C channels with M = N H W samples each, cut into C / g groups of g neighbours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from xaibench.api import UsageError


@dataclass(frozen=True, slots=True)
class Moments:
    """``mean``: ``(C,)``. ``centred``: ``(C/g, g, M)``. ``covariance``: ``(C/g, g, g)``, with ``epsilon I`` added."""

    mean: Tensor
    centred: Tensor
    covariance: Tensor


def settled_group(channels: int, most: int) -> int:
    """Channels a group: the largest divisor of ``channels`` that is at most ``most``, so that groups are equal.

    728 channels in groups of at most 64 make 13 of 56. Raises :class:`UsageError` where the divisor is below half of
    what was asked for (prime numbers of channels): such groups would leave most correlation as it is.
    """
    size = next(g for g in range(min(channels, most), 0, -1) if channels % g == 0)
    if 2 * size < min(channels, most):
        larger = next(g for g in range(most, channels + 1) if channels % g == 0)
        raise UsageError(
            f"{channels} channels cannot be cut into equal groups of {min(channels, most) // 2} to {most}",
            f"set group_size={larger}, or name another layer",
        )
    return size


def grouped(activation: Tensor, size: int) -> Tensor:
    """``(N, C, H, W)`` -> ``(C/size, size, N H W)``."""
    return activation.transpose(0, 1).reshape(activation.shape[1] // size, size, -1)


def ungrouped(groups: Tensor, shape: torch.Size) -> Tensor:
    """The inverse of :func:`grouped`; ``shape`` is that of the activation."""
    n, c, h, w = shape
    return groups.reshape(c, n, h, w).transpose(0, 1)


def moments(activation: Tensor, size: int, epsilon: float = 0.0) -> Moments:
    """``mu = mean x`` and ``Sigma = (X - mu)(X - mu)^T / M + epsilon I`` in groups of ``size`` channels.

    ``activation``: ``(N, C, H, W)``, C a multiple of ``size``. Differentiable.
    """
    samples = grouped(activation, size)
    mean = samples.mean(dim=-1, keepdim=True)
    centred = samples - mean
    covariance = centred @ centred.mT / samples.shape[-1]
    identity = torch.eye(size, dtype=covariance.dtype, device=covariance.device)
    return Moments(mean.flatten(), centred, covariance + epsilon * identity)


def newton_root(covariance: Tensor, iterations: int) -> Tensor:
    """``W``, about ``Sigma^(-1/2)``, by iterative normalisation (Huang et al. 2019, IterNorm, algorithm 1).

    ``S = Sigma / tr(Sigma)``, ``P_0 = I``, ``P_k = 1.5 P_(k-1) - 0.5 P_(k-1)^3 S``, ``W = P_T / sqrt(tr(Sigma))``.
    ``covariance``: ``(..., g, g)``, symmetric, positive trace. Differentiable. An eigenvalue e of S becomes one of
    ``e p^2`` in the output's covariance, where ``p <- 1.5 p - 0.5 p^3 e`` from 1: what is small beside 1.5^(-2 T)
    stays small. Dividing by tr/d instead would diverge where an eigenvalue exceeds three times their mean.

    Departure: the same iterates are computed in the coupled form ``Y = P S``, ``M = 1.5 I - 0.5 P Y``, ``Y <- Y M``,
    ``P <- M P`` (Higham 1997), as many products. As published, rounding grows at every step once P is close: with 64
    channels of spectrum 1/k^2, float32 and T = 10, P is wrong by hundreds of times its norm; coupled, by 1e-5 of it.
    """
    trace = covariance.diagonal(dim1=-2, dim2=-1).sum(dim=-1)[..., None, None]
    identity = torch.eye(covariance.shape[-1], dtype=covariance.dtype, device=covariance.device)
    root, beside = identity.expand_as(covariance), covariance / trace
    for _ in range(iterations):
        step = 1.5 * identity - 0.5 * root @ beside
        root, beside = step @ root, beside @ step
    return root / trace.sqrt()


def exact_root(covariance: Tensor) -> Tensor:
    """``Sigma^(-1/2) = U diag(lambda^(-1/2)) U^T`` (ZCA), what :func:`newton_root` tends to.

    ``covariance``: ``(..., g, g)``. Raises :class:`ValueError` where it is singular to working precision.
    """
    values, vectors = torch.linalg.eigh(covariance)
    least = torch.finfo(covariance.dtype).eps * covariance.shape[-1] * values[..., -1:].abs()
    if bool((values <= least).any()):
        raise ValueError("the covariance is singular: fewer independent samples than channels, or a constant channel")
    root: Tensor = (vectors * values.rsqrt()[..., None, :]) @ vectors.mT
    return root


def residual(covariance: Tensor) -> Tensor:
    """``|Sigma - I|_F / sqrt(d)`` of ``(..., d, d)``: 0 when white, 1 when all is 0."""
    identity = torch.eye(covariance.shape[-1], dtype=covariance.dtype, device=covariance.device)
    norm: Tensor = torch.linalg.matrix_norm(covariance - identity)
    return norm / math.sqrt(covariance.shape[-1])


def mean_correlation(covariance: Tensor) -> float:
    """Mean of ``|r_ij|`` over i != j, in [0, 1], of a ``(d, d)`` covariance.

    Channels that do not vary are left out; raises :class:`ValueError` where fewer than two are left.
    """
    kept = covariance.diagonal() > 0
    among = covariance[kept][:, kept]
    d = len(among)
    if d < 2:
        raise ValueError("fewer than two channels vary, so that there is no correlation")
    scale = among.diagonal().rsqrt()
    r = (among * scale[:, None] * scale).abs()
    return float((r.sum() - r.diagonal().sum()) / (d * (d - 1)))
