"""What replaces a switched-off region: one choice, shared by every explainer that switches regions off."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field
from torch import Tensor

from xaibench.api import (
    NEEDS,
    Artefact,
    ExplainRequest,
    Explanation,
    FillRequest,
    MaskFill,
    Parameters,
    PassQuery,
    Product,
    Programme,
    to_device,
)
from xaibench_perturbation.attacks import AttackMode
from xaibench_perturbation.explanation_fills import REAL_HAS_NONE, why_unpaired
from xaibench_perturbation.fill_parameters import AnyFill, as_fill
from xaibench_perturbation.fills import SIGMA
from xaibench_perturbation.masks import blend
from xaibench_perturbation.twins import Twin

UnitValue = Annotated[float, Field(ge=0, le=1)]
IMAGENET_MEAN = (0.485, 0.456, 0.406)
"""0 in the normalised space of most networks: what published code fills with when it fills with 0."""


class SwitchParameters(Parameters):
    """What replaces a region that is off; to be inherited by the parameters of perturbation explainers."""

    fill: AnyFill = Field("black", description="what replaces a region that is off")
    sigma: float = Field(SIGMA, gt=0, le=1, description="blur of fill=blur, as a share of the shorter side")
    colour: tuple[UnitValue, UnitValue, UnitValue] | None = Field(
        None,
        description="red, green and blue of fill=colour; default: the mean that the detector's card subtracts, which "
        "is 0 to the network; the mean of ImageNet where it subtracts none",
    )
    twin_mode: AttackMode = Field("strict", description="attack that makes the twin of fill=twin and fill=noise-twin")
    twin_steps: int = Field(80, ge=1, description="most steps of that attack")


@dataclass(frozen=True, slots=True)
class Switch:
    """Switches regions of one picture off.

    ``image`` ``(3, H, W)``; ``background`` ``(3, H, W)`` stands in its place where a mask is 0, None where
    ``mask_fill`` makes the pictures mask by mask. ``details`` go into the explanation (whether the twin flipped the
    verdict).
    """

    image: Tensor
    background: Tensor | None
    details: Mapping[str, float] = field(default_factory=dict)
    mask_fill: MaskFill | None = None

    def __call__(self, masks: Tensor) -> Tensor:
        """``(n, H, W)`` masks, 1 keeps and 0 replaces, to ``(n, 3, H, W)`` pictures."""
        if self.background is not None:
            return blend(self.image, self.background, masks)
        assert self.mask_fill is not None
        return self.mask_fill(masks)


def switch_off(
    request: ExplainRequest, parameters: SwitchParameters, labels: Tensor | None = None
) -> Programme[Switch | Explanation]:
    """The switch of a picture, or an explanation that says why there is none.

    ``labels``: ``(H, W)`` int64, the segments, asked for by fills that need them alone. There is no map where the fill
    has no picture: no twin (the picture is called real already, the attack had no signal), no counterpart, or either is
    the picture itself.
    """
    p, image = parameters, to_device(request.picture.image, request.detector.device)
    result = yield from as_fill(p.fill).of(
        FillRequest(
            image=image,
            picture=request.picture,
            artefacts=request.artefacts,
            sigma=p.sigma,
            colour=p.colour or request.detector.facts.zero_colour or IMAGENET_MEAN,
            streams=request.streams,
            labels=labels,
            twin=twin_of(p),
        )
    )
    if isinstance(result, Tensor):
        return Switch(image, result)
    if not isinstance(result, Product):
        return Switch(image, None, mask_fill=result)
    if "background" not in result.tensors:
        return Explanation.none(result.reason)
    return Switch(image, result.tensors["background"], result.numbers)


def twin_of(parameters: SwitchParameters) -> Twin:
    """The twin that these parameters ask for."""
    return Twin(mode=parameters.twin_mode, steps=parameters.twin_steps)


def stored_artefacts(parameters: SwitchParameters) -> tuple[Artefact, ...]:
    """For an explainer's attribute ``artefacts``."""
    return (twin_of(parameters),) if "twin" in as_fill(parameters.fill).needs else ()


def extra_needs(parameters: SwitchParameters) -> frozenset[str]:
    """For an explainer's attribute ``needs``."""
    return as_fill(parameters.fill).needs & NEEDS


def random_fill(parameters: SwitchParameters) -> bool:
    """For an explainer's attribute ``stochastic``: whether what replaces a region is drawn at random."""
    return "random" in as_fill(parameters.fill).needs


def refusal(parameters: SwitchParameters, query: PassQuery) -> str:
    """For an explainer's method ``refuses``: why a sample will get no map."""
    if "pair" not in as_fill(parameters.fill).needs:
        return ""
    if query.sample.label == "real":
        return REAL_HAS_NONE
    return "" if query.sample.pair else why_unpaired(query.sample)
