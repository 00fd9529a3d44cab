"""Owen values over a picture that is halved again and again, wherever the score changes most."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

import torch
from torch import Tensor

from xaibench.api import Output, Programme, to_device
from xaibench_perturbation import Switch, target_scores

Rectangle: TypeAlias = tuple[int, int, int, int]
"""Rows from the first number to before the second, columns from the third to before the fourth."""

_NOWHERE: Rectangle = (0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Part:
    """A rectangle whose effect is known while ``context`` (rectangles apart from it and one another) is visible.

    ``without`` and ``within``: the score without and with it. ``weight``: the share of this order of arrival.
    """

    rectangle: Rectangle
    context: tuple[Rectangle, ...]
    without: float
    within: float
    weight: float

    @property
    def share(self) -> float:
        return (self.within - self.without) * self.weight


def halves(rectangle: Rectangle) -> tuple[Rectangle, Rectangle] | None:
    """The halves of a rectangle across its longer side, rows first where equal; None for a pixel.

    Of an odd length the first half is the longer one, as in shap, whose leaves are numbered from the end.
    """
    top, bottom, left, right = rectangle
    if bottom - top >= right - left and bottom - top > 1:
        middle = top + (bottom - top + 1) // 2
        return (top, middle, left, right), (middle, bottom, left, right)
    if right - left > 1:
        middle = left + (right - left + 1) // 2
        return (top, bottom, left, middle), (top, bottom, middle, right)
    return None


@cache
def all_evaluations(height: int, width: int) -> int:
    """Pictures that it takes to halve a rectangle down to its pixels, in every context."""
    two = halves((0, height, 0, width))
    if two is None:
        return 0
    return 2 + 2 * sum(all_evaluations(b - t, r - left) for t, b, left, r in two)


def evaluations(size: tuple[int, int], evals: int) -> int:
    """Pictures that :func:`owen_values` scores: an even number up to ``evals``, fewer on a tiny picture."""
    return min(evals // 2 * 2, 2 + all_evaluations(*size))


def owen_values(
    switch: Switch, target: int, *, evals: int, batch: int, output: Output
) -> Programme[tuple[Tensor, Tensor]]:
    """The share of each pixel in ``f(x) - f(background)``, ``(H, W)`` float64, and all scores, ``(N,)`` float64.

    The first two scores are ``f(background)`` and ``f(x)``.

    A part P with halves A and B, seen in a context C, passes on a quarter each: A and B alone join C, and each joins
    C with the other; so A gets ``[f(C+A) - f(C) + f(C+A+B) - f(C+B)] / 2``. The part with the largest absolute share
    is halved next, ``batch`` pictures (two a part) in a round; what the budget leaves whole shares its value equally
    among its pixels. Equal shares go first come, first served, so nothing is random.
    """
    height, width = switch.image.shape[1:]
    whole: Rectangle = (0, height, 0, width)
    ends = yield from _scores(switch, [(), (whole,)], target, output)
    queue = [(0.0, 0, Part(whole, (), ends[0], ends[1], 1.0))]
    done: list[Part] = []
    seen = [*ends]
    left, born = evaluations((height, width), evals) - 2, 1
    while queue and left:
        chosen = _chosen(queue, done, min(batch, left))
        scores = yield from _scores(switch, [m for p in chosen for m in _asked(p)], target, output)
        left -= len(scores)
        seen += scores
        for part, first, second in zip(chosen, scores[::2], scores[1::2], strict=True):
            for child in _children(part, first, second):
                heapq.heappush(queue, (-abs(child.share), born, child))
                born += 1
    done += [part for _, _, part in queue]
    return painted(done, (height, width)), torch.tensor(seen, dtype=torch.float64)


def _chosen(queue: list[tuple[float, int, Part]], done: list[Part], pictures: int) -> list[Part]:
    """The next parts to halve, two pictures each; pixels on the way are done."""
    chosen: list[Part] = []
    while queue and 2 * len(chosen) < pictures:
        part = heapq.heappop(queue)[2]
        (done if halves(part.rectangle) is None else chosen).append(part)
    return chosen


def _asked(part: Part) -> tuple[tuple[Rectangle, ...], tuple[Rectangle, ...]]:
    first, second = _halved(part)
    return (*part.context, first), (*part.context, second)


def _children(part: Part, with_first: float, with_second: float) -> Iterable[Part]:
    """Each half joining the context alone, and joining it after the other."""
    first, second = _halved(part)
    after_first, after_second = _asked(part)
    weight = part.weight / 2
    yield Part(first, part.context, part.without, with_first, weight)
    yield Part(second, part.context, part.without, with_second, weight)
    yield Part(first, after_second, with_second, part.within, weight)
    yield Part(second, after_first, with_first, part.within, weight)


def _halved(part: Part) -> tuple[Rectangle, Rectangle]:
    two = halves(part.rectangle)
    assert two is not None
    return two


def _scores(
    switch: Switch, visible: Sequence[tuple[Rectangle, ...]], target: int, output: Output
) -> Programme[list[float]]:
    """Scores of the picture with these rectangles visible, one picture an entry."""
    if not visible:
        return []
    images = switch(rendered(visible, switch.image))
    scores = yield from target_scores(images, target, output)
    return scores.tolist()


def rendered(visible: Sequence[tuple[Rectangle, ...]], image: Tensor) -> Tensor:
    """``(n, H, W)`` masks, 1 in each entry's rectangles (which do not overlap), in one product for all of them."""
    most = max(1, *map(len, visible))
    padded = [(*entry, *[_NOWHERE] * (most - len(entry))) for entry in visible]
    rows, columns = _indicators(to_device(torch.tensor(padded), image.device), (image.shape[1], image.shape[2]))
    return rows.to(image).mT @ columns.to(image)


def painted(parts: Sequence[Part], size: tuple[int, int]) -> Tensor:
    """Every part's share spread equally over its pixels, summed: ``(H, W)`` float64."""
    rectangles = torch.tensor([p.rectangle for p in parts])
    rows, columns = (t.double() for t in _indicators(rectangles, size))
    areas = rows.sum(dim=1) * columns.sum(dim=1)
    shares = torch.tensor([p.share for p in parts], dtype=torch.float64) / areas
    return rows.T @ (shares[:, None] * columns)


def _indicators(rectangles: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Which rows ``(..., H)`` and columns ``(..., W)`` lie in ``(..., 4)`` rectangles."""
    top, bottom, left, right = rectangles[..., None].unbind(dim=-2)
    rows, columns = (torch.arange(n, device=rectangles.device) for n in size)
    return (rows >= top) & (rows < bottom), (columns >= left) & (columns < right)
