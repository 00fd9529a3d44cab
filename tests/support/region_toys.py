"""What the tests of explainers that switch regions off share: detectors with a known score, pictures, one call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from xaibench.api import (
    Done,
    ExplainRequest,
    Explanation,
    Facts,
    Features,
    Label,
    Native,
    Passes,
    PassQuery,
    Picture,
    Programme,
    Sample,
    build_parameters,
    parameter_class,
)
from xaibench_testing import harness

REAL, FAKE = 0, 1
SIZE = (12, 12)
WHITE = torch.ones(3, *SIZE)


class Scored:
    """A black box whose logits are ``(0, score(images))``; ``pictures`` counts the rows that it was shown."""

    device = torch.device("cpu")

    def __init__(self, score: Callable[[Tensor], Tensor], size: tuple[int, int] = SIZE) -> None:
        self.score, self.size, self.pictures = score, size, 0

    @property
    def facts(self) -> Facts:
        return Facts(name="toy", classes=("real", "fake"), real_class=REAL, input_size=self.size, digest="toy")

    @torch.no_grad()
    def scores(self, images: Tensor) -> Tensor:
        self.pictures += len(images)
        z = self.score(images.double()).float()
        return torch.stack([torch.zeros_like(z), z], dim=1)

    def probabilities(self, images: Tensor) -> Tensor:
        return self.scores(images).softmax(dim=1)


def additive(labels: Tensor, weights: Tensor, offset: float = 0.0) -> Scored:
    """Logit of *fake*: ``offset + sum_j w_j * (mean brightness of region j)``."""
    flat = labels.flatten()
    areas = torch.bincount(flat, minlength=len(weights)).clamp(min=1).double()
    pixel_weights = (weights.double() / areas)[flat].view(labels.shape)
    size = (labels.shape[0], labels.shape[1])
    return Scored(lambda images: offset + (images.mean(dim=1) * pixel_weights).sum(dim=(1, 2)), size)


class Layered:
    """``head(body(images))`` with the body's output as its layer; counts the rows it was shown."""

    device = torch.device("cpu")

    def __init__(self, body: Callable[[Tensor], Tensor], head: Callable[[Tensor], Tensor]) -> None:
        self.body, self.head, self.pictures = body, head, 0
        self.layers: set[str | None] = set()

    @property
    def facts(self) -> Facts:
        gives = frozenset({"activations"})
        return Facts(name="t", classes=("real", "fake"), real_class=0, input_size=SIZE, digest="t", gives=gives)

    def features(
        self, images: Tensor, layer: str | None = None, edit: Callable[[Tensor, int], Tensor] | None = None
    ) -> Features:
        self.pictures += len(images)
        self.layers.add(layer)
        activation = self.body(images)
        return Features(activation, self.head(edit(activation, 1) if edit else activation), lambda grid: grid)

    @torch.no_grad()
    def scores(self, images: Tensor) -> Tensor:
        self.pictures += len(images)
        return self.head(self.body(images))

    def probabilities(self, images: Tensor) -> Tensor:
        return self.scores(images).softmax(dim=1)


def small_net(activation: type[nn.Module] = nn.Softplus) -> Layered:
    """Two convolutions to ``(N, 5, 4, 4)`` and a non-linear head."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        body = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1), activation(), nn.AvgPool2d(2), nn.Conv2d(6, 5, 3), activation()
        )
        head = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(20, 8), nn.Tanh(), nn.Linear(8, 2))
    return Layered(body.eval().requires_grad_(False), head.eval().requires_grad_(False))


def image_of(seed: int = 0, size: tuple[int, int] = SIZE) -> Tensor:
    return torch.rand(3, *size, generator=torch.Generator().manual_seed(seed))


def picture_of(image: Tensor, label: Label = "fake", real: Tensor | None = None, id: str = "s") -> Picture:
    """A picture; ``real`` is the image of its real counterpart."""
    sample = Sample(id=id, label=label, group="g", pair=None if real is None else "r")

    def counterpart() -> Picture | None:
        return None if real is None else picture_of(real, "real", id="r")

    return Picture(
        sample=sample, image=image, mask=None, landmarks=None, digest=id,
        native=lambda: Native(np.zeros((1, 1, 3), np.uint8)), counterpart=counterpart,
    )  # fmt: skip


def make(cls: Any, **values: Any) -> Any:
    return cls(build_parameters(parameter_class(cls), values, "x"))


class _Keeps:
    """An explainer that keeps what another returns, before it is stored in half precision."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.kept = inner, Explanation.none("nothing yet")

    def explain(self, request: ExplainRequest) -> Programme[Explanation]:
        self.kept = yield from self.inner.explain(request)
        return self.kept


def explain(component: Any, detector: Any, picture: Tensor | Picture, **how: Any) -> Done[Explanation]:
    """One explanation as a run draws it, at full precision; what ended it is raised."""
    shown = picture if isinstance(picture, Picture) else picture_of(picture)
    keeps = _Keeps(component)
    target, batch = how.get("target", FAKE), how.get("batch", 32)
    done = harness.explain(keeps, detector, [shown], target, seed=how.get("seed", 0), batch_size=batch)[0]
    harness.value(done)
    return replace(done, value=keeps.kept)


def map_of(done: Done[Explanation]) -> Tensor:
    assert done.value is not None
    assert done.value.map is not None, done.value.reason
    return done.value.map


def native_of(done: Done[Explanation]) -> Tensor:
    assert done.value is not None
    assert done.value.native_map is not None, done.value.reason
    return done.value.native_map


def reason_of(done: Done[Explanation]) -> str:
    assert done.value is not None
    assert done.value.status == "undefined"
    assert done.value.map is None
    return done.value.reason


def said(component: Any, detector: Any, picture: Picture | None = None) -> Passes:
    """What the component says that a map costs."""
    shown = picture or picture_of(WHITE)
    passes: Passes = component.passes(PassQuery(sample=shown.sample, facts=detector.facts))
    return passes
