"""What tests of robustness metrics share: a small detector, and how a metric is run on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xaibench.api import (
    Done,
    Explanation,
    Facts,
    MapCase,
    Native,
    Picture,
    Sample,
    Score,
    Scores,
    Streams,
    build_parameters,
    parameter_class,
)
from xaibench.data.pictures import apply_view
from xaibench.detector.engine import ProbeEngine

SIZE = (8, 10)

Draw = Callable[..., Any]


class Bright:
    """z = slope * (mean brightness - centre), logits (-z/2, z/2)."""

    device = torch.device("cpu")

    def __init__(self, slope: float = 1.0, centre: float = 0.5) -> None:
        self.slope, self.centre = slope, centre
        self.facts = Facts(name="bright", classes=("real", "fake"), real_class=0, input_size=SIZE, digest="bright")

    def scores(self, images: Tensor) -> Tensor:
        z = self.slope * (images.double().mean(dim=(1, 2, 3)) - self.centre)
        return torch.stack((-z / 2, z / 2), dim=1).float()

    def probabilities(self, images: Tensor) -> Tensor:
        return self.scores(images).double().softmax(dim=1).float()


def rand(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def case_of(
    draw: Draw, image: Tensor, *, detector: Any = None, target: int = 1, id: str = "s", mask: Tensor | None = None
) -> MapCase:
    """A case whose maps ``draw(image, target, detector)`` draws: a tensor, or an Explanation. ``case.explain.views``
    lists the views asked for."""
    detector = detector or Bright()
    picture = Picture(
        sample=Sample(id=id, label="fake", group="g"), image=image, mask=mask, landmarks=None, digest=id,
        native=lambda: Native(np.zeros((1, 1, 3), np.uint8)), counterpart=lambda: None,
    )  # fmt: skip

    class Explain:
        def __init__(self) -> None:
            self.views: list[Any] = []

        def __call__(self, view=None, target=None, detector=None):
            self.views.append(view)
            shown = picture if view is None else apply_view(picture, view)
            found = draw(shown.image, case.target if target is None else target, detector or case.detector)
            return found if isinstance(found, Explanation) else Explanation(map=found)
            yield

    first = draw(image, target, detector)
    case = MapCase(
        detector=detector, picture=picture, explainer="e", explanation=Explanation(map=first), target=target,
        clean=detector.probabilities(image[None])[0], streams=Streams.of(0, 0, "m", id),
        artefacts=None, explain=Explain(),  # type: ignore[arg-type]
    )  # fmt: skip
    return case


def make(cls: Any, **values: Any) -> Any:
    return cls(build_parameters(parameter_class(cls), values, "x"))


def run(metric: Any, case: MapCase) -> Done[Scores]:
    done: Done[Scores] = ProbeEngine(case.detector, 8).run_one(lambda: metric.score(case))
    if done.error:
        raise done.error
    return done


def scores_of(metric: Any, case: MapCase) -> dict[tuple[str, str], Score]:
    scores = run(metric, case).value
    assert scores is not None
    return {(s.name, s.item): s for s in scores.values}


def values_of(metric: Any, case: MapCase) -> list[float]:
    found = list(scores_of(metric, case).values())
    assert all(s.status == "ok" for s in found), [s.reason for s in found]
    return [float(s.value) for s in found if s.value is not None]


def reason_of(metric: Any, case: MapCase) -> str:
    found = list(scores_of(metric, case).values())
    assert all(s.status == "undefined" and s.value is None for s in found)
    return found[0].reason
