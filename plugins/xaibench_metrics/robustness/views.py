"""Changed pictures, and the maps that an explainer draws of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from xaibench.api import Detector, Explanation, MapCase, Programme, Together, View, to_device

Draw = Callable[[tuple[int, ...], torch.Generator], Tensor]


def clean_map(case: MapCase) -> Tensor:
    """``(H, W)`` float64 on the CPU: the map that is scored."""
    assert case.explanation.map is not None
    return case.explanation.map.cpu().double()


def map_of(
    case: MapCase, *, view: View | None = None, target: int | None = None, detector: Detector | None = None
) -> Programme[Tensor | str]:
    """Another map by the same explainer, ``(H, W)`` float64 on the CPU, or the reason why there is none."""
    found: Explanation = yield from case.explain(view=view, target=target, detector=detector)
    return found.reason or found.status if found.map is None else found.map.cpu().double()


def maps_of(case: MapCase, views: Sequence[View]) -> Programme[list[Tensor | str]]:
    """:func:`map_of` of each view, drawn side by side."""
    found: list[Tensor | str] = yield Together([map_of(case, view=view) for view in views])
    return found


def noise_view(name: str, noise: Tensor) -> View:
    """Adds ``noise`` ``(3, H, W)`` and clips to [0, 1]; mask and landmarks stay."""

    def apply(
        image: Tensor, mask: Tensor | None, landmarks: Tensor | None
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        return (image + to_device(noise.to(image.dtype), image.device)).clamp(0, 1), mask, landmarks

    return View(name, apply)


def noisy_views(case: MapCase, kind: str, samples: int, draw: Draw) -> Iterator[View]:
    """``samples`` noisy copies of a picture. ``kind`` names the noise with its strength; ``draw(shape, generator)``.

    Maps are keyed by the names of views, so the name holds the kind, the number of the copy and its seed.
    """
    for i in range(samples):
        purpose = f"{kind} {i}"
        noise = draw(tuple(case.picture.image.shape), case.streams.torch(purpose))
        yield noise_view(f"noise {purpose} seed {case.streams.seed(purpose)}", noise)


def shown(case: MapCase, view: View) -> Tensor:
    """``(3, H, W)``: the case's picture under a view."""
    return view.apply(case.picture.image, case.picture.mask, case.picture.landmarks)[0]


def distance(first: Tensor, second: Tensor) -> float:
    """Euclidean distance over all values, in float64."""
    return float((first.double() - second.double()).square().sum().sqrt())
