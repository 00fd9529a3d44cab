"""The networks that can be trained, by name. Light: what builds one is imported when one is built."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from types import MappingProxyType

from xaibench.api import UsageError

TARGET_LAYER = "body"
"""The module whose output is pooled, in every network here: with a mean pool, Grad-CAM there is the exact CAM."""

TIMM_PREFIX = "timm:"
_MOST_PIXELS = 8192


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """``target``: ``module:callable`` that returns a ``Plan``. ``size``: side of the input in pixels by default.

    ``multiple``: sides have to be a multiple of it; ``smallest``: the smallest side whose last grid still has 2 x 2
    cells.
    """

    name: str
    target: str
    size: int
    summary: str
    multiple: int = 1
    smallest: int = 64


_HERE = "xaibench_training.networks"
_TABLE = (
    Architecture(
        name="small", target=f"{_HERE}.small:plan", size=128, multiple=32, smallest=32,
        summary="five convolutions over a picture and its high-pass residual, 84,000 weights; for CPUs",
    ),
    Architecture(
        name="resnet18", target=f"{_HERE}.resnet:plan_18", size=224, summary="ResNet-18, torchvision's names",
    ),
    Architecture(
        name="resnet50", target=f"{_HERE}.resnet:plan_50", size=224, summary="ResNet-50, torchvision's names",
    ),
    Architecture(
        name="densenet121", target=f"{_HERE}.densenet:plan", size=224, summary="DenseNet-121, torchvision's names",
    ),
    Architecture(
        name="xception", target=f"{_HERE}.xception:plan", size=299, summary="Xception, Cadene's and timm's names",
    ),
    Architecture(
        name="efficientnetv2-b0", target=f"{_HERE}.efficientnetv2:plan", size=224, multiple=32,
        summary="EfficientNetV2-B0, timm's names (tf_efficientnetv2_b0)",
    ),
)  # fmt: skip
ARCHITECTURES = MappingProxyType({a.name: a for a in _TABLE})


def names() -> tuple[str, ...]:
    """The networks written here, the default first."""
    return tuple(ARCHITECTURES)


def architecture(name: str) -> Architecture:
    """The entry of a name; ``timm:NAME`` is any network of timm's. Raises :class:`UsageError` for an unknown name."""
    if name.startswith(TIMM_PREFIX):
        return Architecture(name=name, target=f"{_HERE}.timm_models:plan", size=224, summary="a network of timm's")
    if name not in ARCHITECTURES:
        near = difflib.get_close_matches(name, ARCHITECTURES, n=1)
        hint = f"did you mean '{near[0]}'? " if near else ""
        raise UsageError(f"no network '{name}'", f"{hint}known: {', '.join(ARCHITECTURES)}, {TIMM_PREFIX}NAME")
    return ARCHITECTURES[name]


def settled_size(name: str, size: int | None = None) -> int:
    """The side of the input in pixels: ``size`` where it is given and fits the network, else the network's own.

    Raises :class:`UsageError` for an unknown network and for a side that does not fit.
    """
    entry = architecture(name)
    if size is None:
        return entry.size
    if not entry.smallest <= size <= _MOST_PIXELS or size % entry.multiple:
        step = f" in steps of {entry.multiple}" if entry.multiple > 1 else ""
        raise UsageError(
            f"network '{name}' takes no pictures of {size} x {size}",
            f"give a size from {entry.smallest} to {_MOST_PIXELS}{step}; {entry.size} is usual",
        )
    return size
