"""A detector that sees only which segments of a known picture are untouched: games with known Shapley values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xaibench.api import Done, Explanation, Facts, Native, Picture, Sample, build_parameters, parameter_class
from xaibench_perturbation import grid_segments
from xaibench_testing.harness import explain

SIZE = (12, 12)
Game = Callable[[Tensor], Tensor]


class GameDetector:
    """Class 1 has the logit, or the probability, ``game(members)``; class 0 logit 0, or what is left of 1.

    ``labels``: the segments. A member is 1 where all of a segment's pixels are the picture's own.
    """

    device = torch.device("cpu")

    def __init__(self, image: Tensor, labels: Tensor, game: Game) -> None:
        self.image, self.labels, self.game = image, labels, game
        self.count = int(labels.max()) + 1
        self.seen: list[Tensor] = []
        height, width = labels.shape
        self.facts = Facts(
            name="game", classes=("real", "fake"), real_class=0, input_size=(height, width), digest="game"
        )

    def members(self, images: Tensor) -> Tensor:
        changed = ((images - self.image).abs().amax(dim=1) > 1e-4).flatten(1).double()
        touched = torch.zeros(len(images), self.count, dtype=torch.float64)
        touched.index_add_(1, self.labels.flatten(), changed)
        return (touched == 0).double()

    def _values(self, images: Tensor) -> Tensor:
        members = self.members(images)
        self.seen.append(members)
        return self.game(members)

    def scores(self, images: Tensor) -> Tensor:
        z = self._values(images)
        return torch.stack([torch.zeros_like(z), z], dim=1).float()

    def probabilities(self, images: Tensor) -> Tensor:
        p = self._values(images)
        return torch.stack([1 - p, p], dim=1).float()

    def design(self, pictures: int) -> np.ndarray:
        """What was asked, in order, without the padding behind it."""
        return torch.cat(self.seen)[:pictures].numpy()


def additive(weights: Tensor, base: float = 0.0) -> Game:
    return lambda members: base + members @ weights.double()


def image_of(seed: int = 0, size: tuple[int, int] = SIZE) -> Tensor:
    return 0.25 + 0.75 * torch.rand(3, *size, generator=torch.Generator().manual_seed(seed))


def grid_world(game: Game, count: int, size: tuple[int, int] = SIZE, seed: int = 0) -> GameDetector:
    """A detector whose segments are those of ``segments=grid,count=COUNT``."""
    return GameDetector(image_of(seed, size), grid_segments(*size, count), game)


def picture_of(image: Tensor, label: Any = "fake", id: str = "fake/0") -> Picture:
    return Picture(
        sample=Sample(id=id, label=label, group="g"), image=image, mask=None, landmarks=None, digest=id,
        native=lambda: Native(np.zeros((1, 1, 3), np.uint8)), counterpart=lambda: None,
    )  # fmt: skip


def make(cls: Any, **values: Any) -> Any:
    return cls(build_parameters(parameter_class(cls), values, "x"))


def run(
    component: Any, detector: Any, image: Tensor, *, target: int = 1, seed: int = 0, batch: int = 32
) -> Done[Explanation]:
    return explain(component, detector, [picture_of(image)], target, seed=seed, batch_size=batch)[0]


def explained(done: Done[Explanation]) -> Explanation:
    if done.error:
        raise done.error
    assert done.value is not None
    assert done.value.status == "ok", done.value.reason
    return done.value


def weights_of(done: Done[Explanation]) -> Tensor:
    weights = explained(done).segment_weights
    assert weights is not None
    return weights


def map_of(done: Done[Explanation]) -> Tensor:
    saliency = explained(done).map
    assert saliency is not None
    return saliency


def reason_of(done: Done[Explanation]) -> str:
    assert done.value is not None, done.error
    assert done.value.status == "undefined"
    return done.value.reason


def record_values(name: str) -> Mapping[str, object]:
    """The fixed parameters of a registered explainer."""
    from xaibench_explainers.perturbation.records import PERTURBATION

    return next(r.parameters for r in PERTURBATION if r.name == name)
