"""What tests of explainers share: a toy detector, small networks, and how an explainer is run on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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
    Native,
    Picture,
    Sample,
    Streams,
    build_parameters,
    parameter_class,
)
from xaibench.detector.engine import ProbeEngine

SIZE = (12, 12)


@dataclass
class Toy:
    """A detector made of ``head(body(images))``; the body's output is the target layer."""

    body: Callable[[Tensor], Tensor]
    head: Callable[[Tensor], Tensor]
    real_class: int = 0

    device = torch.device("cpu")

    @property
    def facts(self) -> Facts:
        return Facts(
            name="toy",
            classes=("real", "fake"),
            real_class=self.real_class,
            input_size=SIZE,
            digest="toy",
            gives=frozenset({"gradients", "activations"}),
        )

    def logits(self, images: Tensor) -> Tensor:
        return self.head(self.body(images))

    def features(self, images: Tensor, layer: str | None = None) -> Features:
        activation = self.body(images)
        return Features(activation, self.head(activation), lambda t: t)

    @torch.no_grad()
    def scores(self, images: Tensor) -> Tensor:
        return self.logits(images)

    @torch.no_grad()
    def probabilities(self, images: Tensor) -> Tensor:
        return self.logits(images).softmax(dim=1)


def small_net(smooth: bool = True, seed: int = 0) -> Toy:
    torch.manual_seed(seed)
    act: type[nn.Module] = nn.Softplus if smooth else nn.ReLU
    body = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), act(), nn.AvgPool2d(2), nn.Conv2d(6, 5, 3), act())
    head = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(20, 8), nn.Tanh(), nn.Linear(8, 2))
    return Toy(body.eval(), head.eval())


def image_of(seed: int = 0, size: tuple[int, int] = SIZE) -> Tensor:
    return torch.rand(3, *size, generator=torch.Generator().manual_seed(seed))


def picture_of(
    image: Tensor, mask: Tensor | None = None, label: Any = "fake", id: str = "s", view: str = ""
) -> Picture:
    sample = Sample(id=id, label=label, group="g", has_mask=mask is not None)
    return Picture(
        sample=sample, image=image, mask=mask, landmarks=None, digest=id, view=view,
        native=lambda: Native(np.zeros((1, 1, 3), np.uint8)), counterpart=lambda: None,
    )  # fmt: skip


def request_of(detector: Any, picture: Picture, target: int = 1, seed: int = 0, **more: Any) -> ExplainRequest:
    def nobody(spec: str) -> Any:
        raise AssertionError(f"nobody asked for {spec}")

    return ExplainRequest(
        detector=detector, picture=picture, target=target, streams=Streams.of(seed, 0, "c", picture.sample.id),
        artefacts=more.get("artefacts"), explanation_of=more.get("explanation_of", nobody),
    )  # fmt: skip


def make(cls: Any, **values: Any) -> Any:
    return cls(build_parameters(parameter_class(cls), values, "x"))


def run(detector: Any, programme: Callable[[], Any], batch: int = 8) -> Done[Any]:
    done: Done[Any] = ProbeEngine(detector, batch).run_one(programme)
    if done.error:
        raise done.error
    return done


def explain(component: Any, detector: Any, image: Tensor, batch: int = 8, **request: Any) -> Done[Explanation]:
    mask = request.pop("mask", None)
    picture = request.pop("picture", None) or picture_of(image, mask)
    return run(detector, lambda: component.explain(request_of(detector, picture, **request)), batch)


def map_of(done: Done[Explanation]) -> Tensor:
    assert done.value is not None
    assert done.value.status == "ok", done.value.reason
    assert done.value.map is not None
    return done.value.map


def reason_of(done: Done[Explanation]) -> str:
    assert done.value is not None
    assert done.value.status == "undefined"
    assert done.value.map is None
    return done.value.reason
