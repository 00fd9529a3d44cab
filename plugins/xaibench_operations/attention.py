"""Whether a network attends from every token of the picture to every other, and the matrices by which it does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from xaibench_operations.calls import Call, Operations

MOST_EXTRA = 8
"""Tokens beside those of the picture (class token, registers) that a network is believed to have at most."""


@dataclass(frozen=True, slots=True)
class TokenGrid:
    """Where the tokens of a picture lie: ``extra`` tokens first, then ``height`` rows of ``width``."""

    height: int
    width: int
    extra: int


def token_grid(tokens: int, size: tuple[int, int]) -> TokenGrid | None:
    """The grid of square patches on a picture of ``(H, W)`` pixels with the fewest extra tokens, None where no patch
    size leaves 0 to :data:`MOST_EXTRA`."""
    sides = range(1, min(size) + 1)
    cut = {(size[0] // p, size[1] // p) for p in sides} | {(-(-size[0] // p), -(-size[1] // p)) for p in sides}
    grids = [TokenGrid(h, w, tokens - h * w) for h, w in cut if 0 <= tokens - h * w <= MOST_EXTRA]
    return min(grids, key=lambda g: (g.extra, g.height), default=None)


class Attention(Operations):
    """Keeps the attention of a network: its softmaxes over the last of three or four axes, in order.

    ``matrices`` are the very tensors that go on through the network, so that logits can be differentiated with respect
    to them; or what ``keep`` makes of each. They are kept as long as there is no :meth:`limit`.
    """

    def __init__(self, pictures: int, size: tuple[int, int], keep: Callable[[Tensor], Tensor] | None = None) -> None:
        super().__init__({"softmax": self._softmax})
        self.pictures, self.size, self.keep = pictures, size, keep
        self.shapes: list[tuple[int, ...]] = []
        self.matrices: list[Tensor] = []

    def _softmax(self, call: Call) -> Tensor:
        result = call.run()
        last = call.get(1, "dim") in (-1, result.ndim - 1)
        if result.ndim in (3, 4) and last and result.shape[-2] > 1:
            self.shapes.append(tuple(result.shape))
            if not self.limit():
                self.matrices.append(self.keep(result) if self.keep else result)
        return result

    def limit(self) -> str:
        """Why what was seen is no attention of all picture tokens to one another; empty where it is."""
        if not any(shape[-1] == shape[-2] for shape in self.shapes):
            return NO_ATTENTION
        tokens = self.shapes[0][-1]
        for shape in self.shapes:
            if shape[-1] != shape[-2]:
                return f"the network attends from {shape[-2]} tokens to {shape[-1]} others (pooled or cross-attention)"
            if shape[0] != self.pictures if len(shape) == 4 else shape[0] % self.pictures:
                return "the network attends within windows: no token sees the whole picture"
            if shape[-1] != tokens:
                return f"the number of tokens changes from {tokens} to {shape[-1]} on the way through the network"
        if token_grid(tokens, self.size) is None:
            return f"the network's {tokens} tokens do not lie on a grid over {self.size[0]} x {self.size[1]} pixels"
        return ""

    def grid(self) -> TokenGrid:
        """Where the tokens lie. Raises ValueError where there is a limit."""
        found = token_grid(self.shapes[0][-1], self.size) if self.shapes else None
        if found is None:
            raise ValueError(self.limit())
        return found


NO_ATTENTION = "the network has no attention of picture tokens to one another"


def attention_limit(logits: Callable[[Tensor], Tensor], images: Tensor) -> str:
    """Why methods on attention cannot work on ``logits``, tried on ``images`` ``(N, 3, H, W)``; empty where they can.

    Attention counts where every matrix is ``(N, heads, T, T)``, ``(N * heads, T, T)`` with the pictures first, of one
    number T of tokens that lie on the picture (:func:`token_grid`). Windowed attention (Swin), pooled keys (PVT) and a
    changing number of tokens do not count: their matrices cannot be multiplied with one another.
    """
    watching = Attention(len(images), (images.shape[-2], images.shape[-1]))
    with torch.no_grad(), watching:
        logits(images)
    return watching.limit()


def has_attention(logits: Callable[[Tensor], Tensor], images: Tensor) -> bool:
    """Whether there is no :func:`attention_limit`."""
    return not attention_limit(logits, images)
