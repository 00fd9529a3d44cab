"""How the activation of a layer lies on the picture: rows and columns, the axis of the channels, tokens beside them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from torch import Tensor

LayerLayout: TypeAlias = Literal["NCHW", "NHWC", "NLC", "LNC"]
Channels: TypeAlias = Literal["first", "last"]

_MOST_EXTRA_TOKENS = 8
_FEWEST_TOKENS = 4


@dataclass(frozen=True, slots=True)
class Grid:
    """How a layer's activation lies on the picture.

    ``NLC`` and ``LNC`` are token sequences whose first ``extra`` tokens (class, registers) are no part of the picture.
    """

    layout: LayerLayout
    height: int
    width: int
    extra: int = 0

    def __call__(self, tensor: Tensor) -> Tensor:
        """An activation, or a gradient of its shape, as ``(N, K, h, w)``."""
        if self.layout == "NCHW":
            return tensor
        if self.layout == "NHWC":
            return tensor.permute(0, 3, 1, 2)
        tokens = tensor if self.layout == "NLC" else tensor.transpose(0, 1)
        n, _, channels = tokens.shape
        return tokens[:, self.extra :].reshape(n, self.height, self.width, channels).permute(0, 3, 1, 2)

    def __str__(self) -> str:
        left_out = f", the first {self.extra} tokens left out" if self.extra else ""
        return f"{self.height}x{self.width}, {self.layout}{left_out}"


def grid_of(
    shape: Sequence[int],
    pictures: int,
    size: tuple[int, int],
    known: Sequence[tuple[int, int]] = (),
    channels: Channels | None = None,
) -> Grid | None:
    """How an activation of this shape lies on pictures of ``size`` (H, W); None where it cannot.

    Four axes that could be read in two ways are channels first unless ``channels`` says that they come last. Three axes
    are tokens: their grid is the latest of the ``known`` ones (h, w) that fits with at most 8 tokens before it, else
    the largest with the picture's proportions.
    """
    if len(shape) == 4 and shape[0] == pictures:
        first, last = readings(shape, size)
        is_last = last and (not first or channels == "last")
        return Grid("NHWC", shape[1], shape[2]) if is_last else Grid("NCHW", shape[2], shape[3])
    if len(shape) != 3 or pictures not in shape[:2]:
        return None
    layout: LayerLayout = "NLC" if shape[0] == pictures else "LNC"
    length = shape[1] if layout == "NLC" else shape[0]
    for height, width in (*reversed(known), *_grids(length, size)):
        if length >= _FEWEST_TOKENS and 0 <= length - height * width <= _MOST_EXTRA_TOKENS:
            return Grid(layout, height, width, length - height * width)
    return None


def readings(shape: Sequence[int], size: tuple[int, int]) -> tuple[bool, bool]:
    """Whether four axes have the picture's proportions with the channels first, and with the channels last."""
    return proportional(shape[2], shape[3], size), proportional(shape[1], shape[2], size)


@dataclass(frozen=True, slots=True)
class Places:
    """Where the layers of one network lie on pictures of ``size`` (H, W).

    ``known`` are the ``(h, w)`` of its feature maps in order, ``channels_last`` the layers of which both readings have
    the picture's proportions and the channels come last.
    """

    size: tuple[int, int]
    known: tuple[tuple[int, int], ...] = ()
    channels_last: frozenset[str] = frozenset()

    def __call__(self, layer: str, shape: Sequence[int], pictures: int) -> Grid | None:
        return grid_of(shape, pictures, self.size, self.known, "last" if layer in self.channels_last else "first")


def proportional(height: int, width: int, size: tuple[int, int]) -> bool:
    slack = 0 if size[0] == size[1] else max(size)
    return abs(height * size[1] - width * size[0]) <= slack


def _grids(length: int, size: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Grids of at most ``length`` cells with the picture's proportions, largest first."""
    for height in range(length, 0, -1):
        width = round(height * size[1] / size[0])
        if 0 < height * width <= length and proportional(height, width, size):
            yield height, width
