"""What ``xaibench explain`` knows of a picture, for views that draw it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from xaibench.api.explainers import Explanation

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class MapRegion:
    """The part of a picture that a map gives at a threshold that was calibrated on a run.

    ``threshold``: the region holds every pixel whose value is at least this share of the map's largest absolute value.
    ``statement``: what is promised of such regions, one sentence or two. ``warning``: why the map should not be relied
    on; empty for nothing.
    """

    threshold: float
    statement: str
    warning: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ExplainedMap:
    """The map of one explainer at the detector's input size, or why there is none. ``region``: where a run calibrated
    one."""

    explainer: str
    explanation: Explanation
    region: MapRegion | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ExplainedPicture:
    """A picture with its verdict and maps.

    Parameters
    ----------
    name: what the picture is called.
    pixels: ``(H, W, 3)`` uint8 RGB at its own size.
    box: top, left, height and width of the part of ``pixels`` that the detector saw, in pixels. Maps cover it.
    verdict: ``real`` or ``fake`` at ``threshold``; empty where the detector failed.
    p_fake: P(fake); NaN where the detector failed.
    target: the explained class.
    maps: one an explainer.
    """

    name: str
    pixels: NDArray[np.uint8]
    box: tuple[float, float, float, float]
    verdict: str
    p_fake: float
    threshold: float
    target: str
    maps: tuple[ExplainedMap, ...]


class Sheet(Protocol):
    """What a view of explained pictures gives: it writes itself to a file by its ending, and shows in a notebook."""

    def save(self, path: str | Path) -> Any: ...
    def _repr_html_(self) -> str: ...


class SheetView(Protocol):
    """The function of a view ``of="explanations"``."""

    def __call__(self, pictures: Sequence[ExplainedPicture]) -> Sheet: ...
