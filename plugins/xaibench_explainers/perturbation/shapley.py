"""Shapley values of segments: exactly, from all coalitions, or by Kernel SHAP's regression on some of them."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from xaibench_explainers.perturbation.regions import every_coalition


def exact_shapley(values: Tensor, count: int) -> Tensor:
    """Shapley values from the values of all coalitions, in the order of ``every_coalition``: ``(count,)`` float64.

    ``phi_j = sum over S without j of |S|! (M - |S| - 1)! / M! (v(S + j) - v(S))``, so a coalition of k segments
    counts ``(k - 1)! (M - k)! / M!`` for its members and ``-k! (M - k - 1)! / M!`` for the others.
    """
    members = every_coalition(count).bool()
    ways = [math.factorial(k) * math.factorial(count - 1 - k) / math.factorial(count) for k in range(count)]
    with_j = torch.tensor([0.0, *ways], dtype=torch.float64)
    without_j = torch.tensor([*ways, 0.0], dtype=torch.float64)
    sizes = members.sum(dim=1)
    shares = torch.where(members, with_j[sizes][:, None], -without_j[sizes][:, None])
    return values.double() @ shares


@dataclass(frozen=True, slots=True)
class KernelDesign:
    """``N`` coalitions, neither empty nor full, and what each weighs in the regression.

    ``members``: ``(N, S)`` float32 of 0 and 1. ``weights``: ``(N,)`` float64; those of all coalitions of one size k
    add up to ``(S - 1) / (k (S - k))`` (in expectation where they are drawn).
    """

    members: Tensor
    weights: Tensor


def kernel_design(pictures: int, count: int, generator: torch.Generator) -> KernelDesign:
    """Kernel SHAP's coalitions of ``count`` segments: ``pictures`` of them, one less where that is odd.

    Every coalition comes with its complement. Sizes 1 and S - 1, then 2 and S - 2 and so on are listed whole as long
    as their share of the kernel pays for it (the rule of ``shap``); the rest is spent on sizes drawn by the kernel's
    weight, with replacement. ``pictures`` must be 2 or more and fewer than all ``2 ** count - 2``; some are then always
    left to draw.
    """
    listed, masses = 0, _pair_masses(count)
    members, weights = [torch.zeros(0, count)], [torch.zeros(0, dtype=torch.float64)]
    left = pictures // 2 * 2
    while masses[listed] / sum(masses[listed:]) * left >= (rows := _pair_rows(count, listed + 1)):
        members.append(_of_size(count, listed + 1))
        weights.append(torch.full((rows,), masses[listed] / rows, dtype=torch.float64))
        left -= rows
        listed += 1
    members.append(_drawn(left // 2, count, masses, listed, generator))
    weights.append(torch.full((left,), sum(masses[listed:]) / left, dtype=torch.float64))
    return KernelDesign(torch.cat(members), torch.cat(weights))


def constrained_shapley(design: KernelDesign, gains: Tensor, change: float) -> Tensor | None:
    """``min sum_i w_i (g_i - m_i . phi)^2`` subject to ``sum(phi) = change``: ``(S,)`` float64.

    ``gains`` g ``(N,)``: the score of each coalition less that of the empty one. None where the coalitions are too
    few to tell the segments apart. The last value is eliminated, so the sum is exact to rounding.
    """
    members, root = design.members.double(), design.weights.sqrt()
    last = members[:, -1]
    x = root[:, None] * (members[:, :-1] - last[:, None])
    y = root * (gains.double() - last * change)
    normal = x.T @ x
    if int(torch.linalg.matrix_rank(normal, hermitian=True)) < len(normal):
        return None
    free = torch.linalg.solve(normal, x.T @ y)  # lstsq gives other bytes from call to call
    return torch.cat([free, change - free.sum()[None]])


def _pair_masses(count: int) -> list[float]:
    """Kernel weight of sizes k and S - k together, for k = 1 to S / 2."""
    return [(count - 1) / (k * (count - k)) * (1 if 2 * k == count else 2) for k in range(1, count // 2 + 1)]


def _pair_rows(count: int, size: int) -> int:
    return math.comb(count, size) * (1 if 2 * size == count else 2)


def _of_size(count: int, size: int) -> Tensor:
    """All coalitions of ``size`` segments and, unless that is the same set, their complements."""
    chosen = torch.tensor(list(itertools.combinations(range(count), size)))
    members = torch.zeros(len(chosen), count).scatter_(1, chosen, 1.0)
    return members if 2 * size == count else torch.cat([members, 1 - members])


def _drawn(pairs: int, count: int, masses: list[float], listed: int, generator: torch.Generator) -> Tensor:
    """Random coalitions of sizes beyond those ``listed``, then the complement of each."""
    chances = torch.tensor(masses[listed:], dtype=torch.float64)
    sizes = torch.multinomial(chances, pairs, replacement=True, generator=generator) + listed + 1
    places = torch.rand(pairs, count, generator=generator).argsort(dim=1).argsort(dim=1)
    members = (places < sizes[:, None]).float()
    return torch.cat([members, 1 - members])
