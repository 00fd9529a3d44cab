"""What the measures of removal share: what stands in place of a pixel, pictures changed in an order, the verdict."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from xaibench.api import Facts, Forward, MapCase, Programme, predicted_class, to_device
from xaibench_metrics.faithfulness.ties import TieParameters
from xaibench_perturbation import CHUNK, SIGMA, Background, as_fill, background_of, blend, fill_parameter

RemovalFill = Annotated[str, fill_parameter({"random"})]
"""A fill that there is of every picture; a random one is drawn once a picture and the same for every map of it."""

CONSTANT = "the map is constant: it orders no pixels"


class RemovalParameters(TieParameters):
    """What replaces pixels that are removed; to be inherited."""

    fill: RemovalFill = Field("black", description="what replaces removed pixels")
    sigma: float = Field(SIGMA, gt=0, le=1, description="blur of fill=blur, as a share of the shorter side")


def shown_image(case: MapCase) -> Tensor:
    """The case's picture ``(3, H, W)`` where its detector computes."""
    return to_device(case.picture.image, case.detector.device)


def saliency_of(case: MapCase) -> Tensor:
    """The case's map ``(H, W)`` on the CPU, where orders are made: the same on every device."""
    assert case.explanation.map is not None
    return case.explanation.map.cpu()


def removal_background(case: MapCase, fill: str, sigma: float) -> Programme[Tensor]:
    """``(3, H, W)`` that stands in place of removed pixels, on the detector's device."""
    if "random" in as_fill(fill).needs:
        background = yield from background_of(case, fill, sigma)
        return background
    made = yield from case.artefacts.get(Background(fill, sigma), case.picture)
    return made.tensors["background"]


def replaced_probabilities(image: Tensor, background: Tensor, ranks: Tensor, counts: Tensor) -> Programme[Tensor]:
    """Probabilities ``(n, C)``, float64 on the CPU, of ``image`` with the pixels of ``ranks < counts[i]`` from
    ``background``.

    ``ranks``: ``(H, W)`` integers; pixels of one patch or segment share theirs. ``counts``: ``(n,)``, one pass each.
    """
    at, found = to_device(ranks.to(torch.int32), image.device), []
    for some in torch.split(to_device(counts.to(torch.int32), image.device), CHUNK):
        # 1 where a pixel stays: a comparison and ``torch.where`` would take several times as long on a CPU.
        kept = (at - some[:, None, None] + 1).clamp_(0, 1)
        reply: Tensor = yield Forward(blend(image, background, kept))
        found.append(reply.double().cpu())
    return torch.cat(found)


def with_clean(case: MapCase, probabilities: Tensor) -> Tensor:
    """The untouched picture's probabilities before those of the changed ones: ``(n + 1, C)``."""
    return torch.cat([case.clean.double().cpu()[None], probabilities])


def still_called(probabilities: Tensor, target: int, facts: Facts) -> Tensor:
    """``(n,)`` float64: 1 where the class that goes with the verdict is ``target``, else 0.

    The verdict is *fake* from the card's threshold on, and its class the likeliest fake one; of two classes the verdict
    says all.
    """
    rows = (predicted_class(row, facts) == target for row in probabilities.tolist())
    return torch.tensor([float(same) for same in rows], dtype=torch.float64)


def trapezoid(x: Tensor, y: Tensor) -> float:
    """Trapezoid rule, in float64."""
    return float(torch.trapezoid(y.double(), x.double()))


def area(x: Tensor, y: Tensor) -> float:
    """Trapezoid rule over x from 0 to 1, in [0, 1] as y is."""
    return min(1.0, max(0.0, trapezoid(x, y)))
