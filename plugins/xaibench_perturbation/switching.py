"""What replaces a switched-off region: one choice, shared by every explainer that switches regions off."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal, cast, get_args

import torch
from pydantic import Field
from torch import Tensor

from xaibench.api import Artefact, ExplainRequest, Explanation, Parameters, PassQuery, Picture, Programme
from xaibench_perturbation.attacks import AttackMode
from xaibench_perturbation.coalitions import per_segment_mean
from xaibench_perturbation.fills import SIGMA, FillKind, fill
from xaibench_perturbation.inpainting import inpaint_each
from xaibench_perturbation.masks import blend
from xaibench_perturbation.twins import Twin

SwitchKind = Literal[
    "black", "grey", "white", "mean", "colour", "segment-mean", "blur", "noise", "inpaint", "twin", "noise-twin",
    "counterpart",
]  # fmt: skip
SWITCH_KINDS: tuple[SwitchKind, ...] = get_args(SwitchKind)
_TWINS = ("twin", "noise-twin")
UnitValue = Annotated[float, Field(ge=0, le=1)]
IMAGENET_MEAN = (0.485, 0.456, 0.406)
"""0 in the normalised space of most networks: what published code fills with when it fills with 0."""
REAL_HAS_NONE, UNPAIRED = "real pictures have no real counterpart", "the picture has no real counterpart"


class SwitchParameters(Parameters):
    """What replaces a region that is off; to be inherited by the parameters of perturbation explainers."""

    fill: SwitchKind = Field("black", description="what replaces a region that is off")
    sigma: float = Field(SIGMA, gt=0, le=1, description="blur of fill=blur, as a share of the shorter side")
    colour: tuple[UnitValue, UnitValue, UnitValue] = Field(
        IMAGENET_MEAN, description="red, green and blue of fill=colour; the default is the mean of ImageNet"
    )
    twin_mode: AttackMode = Field("strict", description="attack that makes the twin of fill=twin and fill=noise-twin")
    twin_steps: int = Field(80, ge=1, description="most steps of that attack")


@dataclass(frozen=True, slots=True)
class Switch:
    """Switches regions of one picture off.

    ``image`` ``(3, H, W)``; ``background`` ``(3, H, W)`` stands in its place where a mask is 0, None where the hole is
    inpainted mask by mask: the pixels whose mask is below half, blended like a background where it is above 0.
    ``details`` go into the explanation (whether the twin flipped the verdict).
    """

    image: Tensor
    background: Tensor | None
    details: Mapping[str, float] = field(default_factory=dict)

    def __call__(self, masks: Tensor) -> Tensor:
        """``(n, H, W)`` masks, 1 keeps and 0 replaces, to ``(n, 3, H, W)`` pictures."""
        if self.background is not None:
            return blend(self.image, self.background, masks)
        filled = inpaint_each(self.image, masks < 0.5)
        return filled + masks[:, None] * (self.image - filled)


def switch_off(
    request: ExplainRequest, parameters: SwitchParameters, labels: Tensor | None = None
) -> Programme[Switch | Explanation]:
    """The switch of a picture, or an explanation that says why there is none.

    ==================  ====================================================================================
    ``fill``            what stands in place of the picture
    ==================  ====================================================================================
    black ... blur      see :func:`xaibench_perturbation.fills.fill`
    ``colour``          the one of the parameters, whatever the picture
    ``segment-mean``    the mean colour of each segment (``labels``: ``(H, W)``, asked for by this fill alone)
    ``noise``           uniform in [0, 1], drawn once a map
    ``inpaint``         :func:`xaibench_perturbation.inpainting.inpaint`, for each mask anew
    ``twin``            the :class:`Twin`, even one that did not turn the verdict (detail ``twin_flipped`` 0)
    ``noise-twin``      the twin's change with random signs, :func:`with_random_signs`
    ``counterpart``     the real picture of the pair; refused without one
    ==================  ====================================================================================

    No map where there is no twin (the picture is called real already, the attack had no signal), no counterpart, or
    where either is the picture itself.
    """
    p = parameters
    image = request.picture.image.to(request.detector.device)
    if p.fill in _TWINS:
        found = yield from _twin(request, p, image)
        return found
    if p.fill == "counterpart":
        return _counterpart(request.picture, image)
    return Switch(image, None if p.fill == "inpaint" else _background(request, p, image, labels))


def _background(request: ExplainRequest, p: SwitchParameters, image: Tensor, labels: Tensor | None) -> Tensor:
    if p.fill == "colour":
        return image.new_tensor(p.colour)[:, None, None].expand_as(image).contiguous()
    if p.fill == "noise":
        return torch.rand(image.shape, generator=request.streams.torch("fill")).to(image)
    if p.fill == "segment-mean":
        if labels is None:
            raise ValueError("fill=segment-mean needs segments: choose another fill")
        at = labels.to(image.device)
        return per_segment_mean(image, at).to(image)[:, at]
    return fill(image, cast("FillKind", p.fill), sigma=p.sigma)


def _counterpart(picture: Picture, image: Tensor) -> Switch | Explanation:
    real = picture.counterpart() if picture.sample.label == "fake" else None
    if real is None:
        return Explanation.none(REAL_HAS_NONE if picture.sample.label == "real" else UNPAIRED)
    return _unlike("real counterpart", Switch(image, real.image.to(image)))


def _unlike(name: str, switch: Switch) -> Switch | Explanation:
    """The switch, unless there is no difference to switch: every map would be constant."""
    same = switch.background is not None and torch.equal(switch.image, switch.background)
    return Explanation.none(f"the {name} is the picture itself") if same else switch


def _twin(request: ExplainRequest, p: SwitchParameters, image: Tensor) -> Programme[Switch | Explanation]:
    product = yield from request.artefacts.get(twin_of(p), request.picture)
    if "twin" not in product.tensors:
        return Explanation.none(f"no twin: {product.reason}")
    twin = product.tensors["twin"].to(image)
    if p.fill == "noise-twin":
        twin = with_random_signs(image, twin, request.streams.torch("signs"))
    details = {f"twin_{name}": product.numbers[name] for name in ("flipped", "queries")}
    return _unlike("twin", Switch(image, twin, details))


def with_random_signs(image: Tensor, twin: Tensor, generator: torch.Generator) -> Tensor:
    """``image + s |twin - image|``, s = +-1 drawn for each element of ``(3, H, W)``: as large, without direction.

    Where that would leave [0, 1] the element is the twin's, so that no change is smaller than the twin's (clipping
    would halve it wherever the picture is black or white). ``generator``: on the CPU.
    """
    signs = torch.randint(0, 2, image.shape, generator=generator).to(image) * 2 - 1
    changed = image + (twin - image).abs() * signs
    return torch.where((changed >= 0) & (changed <= 1), changed, twin)


def twin_of(parameters: SwitchParameters) -> Twin:
    """The twin that these parameters ask for."""
    return Twin(mode=parameters.twin_mode, steps=parameters.twin_steps)


def stored_artefacts(parameters: SwitchParameters) -> tuple[Artefact, ...]:
    """For an explainer's attribute ``artefacts``."""
    return (twin_of(parameters),) if parameters.fill in _TWINS else ()


def extra_needs(parameters: SwitchParameters) -> frozenset[str]:
    """For an explainer's attribute ``needs``."""
    return frozenset({"pair"}) if parameters.fill == "counterpart" else frozenset()


def random_fill(parameters: SwitchParameters) -> bool:
    """For an explainer's attribute ``stochastic``: whether what replaces a region is drawn at random."""
    return parameters.fill in ("noise", "noise-twin")


def refusal(parameters: SwitchParameters, query: PassQuery) -> str:
    """For an explainer's method ``refuses``: why a sample will get no map."""
    if parameters.fill != "counterpart":
        return ""
    if query.sample.label == "real":
        return REAL_HAS_NONE
    return "" if query.sample.pair else UNPAIRED
