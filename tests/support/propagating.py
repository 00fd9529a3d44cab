"""Small networks behind the detector contract, for the tests of explainers that change how a network propagates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from xaibench.api import (
    DETECTOR_NEEDS,
    Done,
    ExplainRequest,
    Explanation,
    Facts,
    Native,
    Picture,
    Sample,
    Streams,
    build_parameters,
    parameter_class,
)
from xaibench.detector.engine import ProbeEngine


@dataclass
class Net:
    """A detector made of a function of pictures to logits; counts the pictures that it was asked for."""

    function: Callable[[Tensor], Tensor]
    size: tuple[int, int]
    gives: frozenset[str] = DETECTOR_NEEDS
    asked: int = 0
    device = torch.device("cpu")

    def __post_init__(self) -> None:
        if isinstance(self.function, nn.Module) and not isinstance(self.function, torch.fx.GraphModule):
            self.function = self.function.eval().requires_grad_(False)

    @property
    def facts(self) -> Facts:
        return Facts(
            name="net", classes=("real", "fake"), real_class=0, input_size=self.size, digest="net", gives=self.gives,
            limits={"operations": "it is out of sight"},
        )  # fmt: skip

    def logits(self, images: Tensor) -> Tensor:
        self.asked += len(images)
        return self.function(images)

    @torch.no_grad()
    def scores(self, images: Tensor) -> Tensor:
        return self.logits(images)

    @torch.no_grad()
    def probabilities(self, images: Tensor) -> Tensor:
        return self.logits(images).softmax(dim=1)


def scored(score: Callable[[Tensor], Tensor], size: tuple[int, int] = (1, 2)) -> Net:
    """A detector whose logit of *fake* is ``score(images)``, ``(n,)``; that of *real* is 0."""
    return Net(lambda images: torch.stack([0.0 * images.sum(dim=(1, 2, 3)), score(images)], dim=1), size)


def make(cls: Any, **values: Any) -> Any:
    return cls(build_parameters(parameter_class(cls), values, "x"))


def request_of(detector: Any, image: Tensor, target: int, name: str, seed: int) -> ExplainRequest:
    picture = Picture(
        sample=Sample(id=name, label="fake", group="g"), image=image, mask=None, landmarks=None, digest=name,
        native=lambda: Native(np.zeros((1, 1, 3), np.uint8)), counterpart=lambda: None,
    )  # fmt: skip
    return ExplainRequest(
        detector=detector, picture=picture, target=target, streams=Streams.of(seed, 0, "c", name),
        artefacts=None, explanation_of=None,  # type: ignore[arg-type]
    )  # fmt: skip


def explain_all(
    component: Any, detector: Any, images: Tensor, *, target: int = 1, batch: int = 4, seed: int = 0
) -> list[Done[Explanation]]:
    jobs = [
        (i, lambda i=i, x=x: component.explain(request_of(detector, x, target, f"{float(x.sum())}", seed)))
        for i, x in enumerate(images)
    ]
    found = dict(ProbeEngine(detector, batch).run(jobs))
    for done in found.values():
        if done.error:
            raise done.error
    return [found[i] for i in range(len(images))]


def explain(component: Any, detector: Any, image: Tensor, **more: Any) -> Explanation:
    (done,) = explain_all(component, detector, image[None], **more)
    assert done.value is not None
    return done.value


def map_of(component: Any, detector: Any, image: Tensor, **more: Any) -> Tensor:
    found = explain(component, detector, image, **more)
    assert found.map is not None, found.reason
    return found.map


def image_of(*size: int, seed: int = 0) -> Tensor:
    return torch.rand((3, *size), generator=torch.Generator().manual_seed(seed))


def red(*values: float) -> Tensor:
    """A picture of one row whose red has these values, the rest being 0."""
    image = torch.zeros(3, 1, len(values))
    image[0, 0] = torch.tensor(values)
    return image


def exported(module: nn.Module, size: tuple[int, int]) -> nn.Module:
    batch = torch.export.Dim("n", min=1, max=64)
    module = module.eval().requires_grad_(False)
    return torch.export.export(module, (torch.rand(2, 3, *size),), dynamic_shapes=({0: batch},)).module()
