"""What the measures of an inner layer share: its parameter, its activations, random rotations, scores."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from pydantic import Field
from torch import Tensor

from xaibench.api import Better, ModelCase, Parameters, Picture, Score, ScoreSpec

T = TypeVar("T")

CHUNK = 16
"""Pictures whose activations are held at once."""

NO_MAP = "no map is scored: it is a measure of the detector"

Figures = Mapping[str, float | str]
"""A value, or the reason why there is none, by the name of the score."""


class LayerParameters(Parameters):
    """The layer that is looked at."""

    layer: str | None = Field(
        None, description="path of the layer, the whitening layer of a whitened detector; unset: the target layer"
    )


def spec(name: str, description: str, better: Better, low: float, high: float, *, primary: bool = False) -> ScoreSpec:
    """A score of a layer. No map is scored, so none ranks evidence."""
    return ScoreSpec(
        name=name, better=better, low=low, high=high, primary=primary, why_not=NO_MAP, description=description
    )


def why_not(case: ModelCase, layer: str | None, needs: Iterable[str] = ("activations",)) -> str:
    """The reason why the layer cannot be looked at, or ``""``."""
    facts = case.detector.facts
    missing = [n for n in needs if n not in facts.gives]
    if missing:
        return f"the detector gives no {missing[0]}: {facts.limits.get(missing[0], 'no reason is known')}"
    if layer is None and facts.target_layer is None:
        return "the detector names no target layer: give one with layer="
    return "" if len(case.pictures) else "there is no picture that the detector could be shown"


def in_order(pictures: Sequence[Picture]) -> list[int]:
    """Indices that sort the pictures by sample and view, so that sums and draws do not depend on their order."""
    return sorted(range(len(pictures)), key=lambda i: (pictures[i].sample.id, pictures[i].view))


def chunks(items: Sequence[T], size: int = CHUNK) -> Iterator[Sequence[T]]:
    """Runs of at most ``size`` items, in order."""
    return (items[start : start + size] for start in range(0, len(items), size))


def grids_of(detector: Any, images: Tensor, layer: str | None) -> Tensor:
    """``(n, K, h, w)`` float32 activation of the layer, without gradient."""
    with torch.no_grad():
        features = detector.features(images.detach(), layer)
        grids: Tensor = features.to_grid(features.activation)
        return grids.float()


@dataclass(frozen=True, slots=True)
class LayerGrids:
    """For :class:`xaibench.api.Apply`: the activation of a layer, ``(b, K, h, w)``, in a tuple of one."""

    layer: str | None

    def __call__(
        self, detector: Any, images: Tensor, targets: Tensor, extras: tuple[Tensor, ...]
    ) -> tuple[Tensor, ...]:
        return (grids_of(detector, images, self.layer),)


def random_axes(seed: int, axes: int, channels: int) -> Tensor:
    """``(axes, channels)`` float64: the first axes of a random rotation, orthonormal rows.

    Uniform over rotations (and reflections): QR of normal numbers with the signs of R's diagonal moved into Q. Raises
    ValueError where ``axes`` exceeds ``channels``.
    """
    if axes > channels:
        raise ValueError(f"{channels} channels have no {axes} axes")
    generator = torch.Generator().manual_seed(seed)
    q, r = torch.linalg.qr(torch.randn((channels, axes), generator=generator, dtype=torch.float64))
    axes_as_columns: Tensor = q * torch.where(r.diagonal() < 0, -1.0, 1.0).to(q.dtype)
    return axes_as_columns.T.contiguous()


def rotation_seeds(case: ModelCase, draws: int) -> tuple[int, ...]:
    """A seed for every random rotation."""
    return tuple(case.streams.seed(f"rotation {i}") for i in range(draws))


def as_scores(specs: Sequence[ScoreSpec], figures: Figures) -> tuple[Score, ...]:
    """One score a spec; a reason in place of a value makes it ``undefined``."""
    return tuple(_score(s.name, figures[s.name]) for s in specs)


def _score(name: str, value: float | str) -> Score:
    if isinstance(value, str):
        return Score(name=name, status="undefined", reason=value)
    return Score(name=name, value=float(value))
