"""Fills that need more than the picture: a parameter, a random draw, segments, each mask, the twin, the counterpart."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from xaibench.api import FillRequest, MaskFill, Product, Programme, Sample, to_device
from xaibench_perturbation.coalitions import per_segment_mean
from xaibench_perturbation.inpainting import inpaint_each

REAL_HAS_NONE, UNPAIRED = "real pictures have no real counterpart", "the picture has no real counterpart"


def colour(request: FillRequest) -> Tensor:
    """The colour of the parameters, whatever the picture."""
    assert request.colour is not None
    filling = torch.tensor(request.colour, dtype=request.image.dtype)
    return _beside(filling, request.image)[:, None, None].expand_as(request.image).contiguous()


def segment_mean(request: FillRequest) -> Tensor:
    """The mean colour of each segment."""
    if request.labels is None:
        raise ValueError("fill=segment-mean needs segments: choose another fill")
    # On the CPU: a device adds in another order each time, and would be asked for the number of segments.
    image, labels = request.image.cpu(), request.labels.cpu()
    return _beside(per_segment_mean(image, labels).to(image)[:, labels], request.image)


def noise(request: FillRequest) -> Tensor:
    """Uniform in [0, 1], drawn once a map."""
    assert request.streams is not None
    noise = torch.rand(request.image.shape, generator=request.streams.torch("fill"))
    return _beside(noise, request.image)


def inpainted(request: FillRequest) -> MaskFill:
    """:func:`xaibench_perturbation.inpaint`, for each mask anew: the hole is where the mask is below half, and what
    fills it is blended like a background where the mask is above 0."""
    image = request.image

    def replace(masks: Tensor) -> Tensor:
        filled = inpaint_each(image, masks < 0.5)
        return filled + masks[:, None] * (image - filled)

    return replace


def twin(request: FillRequest) -> Programme[Product]:
    """The :class:`xaibench_perturbation.Twin`, even one that did not turn the verdict (``twin_flipped`` 0)."""
    made = yield from _twin(request)
    if "twin" not in made.tensors:
        return _none(f"no twin: {made.reason}")
    return _unlike("twin", request, _beside(made.tensors["twin"], request.image), _details(made))


def noise_twin(request: FillRequest) -> Programme[Product]:
    """The twin's change with random signs, :func:`with_random_signs`."""
    made = yield from _twin(request)
    if "twin" not in made.tensors:
        return _none(f"no twin: {made.reason}")
    assert request.streams is not None
    signs = request.streams.torch("signs")
    background = with_random_signs(request.image, _beside(made.tensors["twin"], request.image), signs)
    return _unlike("twin", request, background, _details(made))


def why_unpaired(sample: Sample) -> str:
    """Why there is no real counterpart to show."""
    if sample.label == "real":
        return REAL_HAS_NONE
    return f"in doubt: {sample.pair_doubt}" if sample.pair_doubt else UNPAIRED


def counterpart(request: FillRequest) -> Product:
    """The real picture of the pair; none of a real picture, or of one without a pair."""
    picture = request.picture
    assert picture is not None
    real = picture.counterpart() if picture.sample.label == "fake" else None
    if real is None:
        return _none(why_unpaired(picture.sample))
    return _unlike("real counterpart", request, _beside(real.image, request.image))


def with_random_signs(image: Tensor, twin: Tensor, generator: torch.Generator) -> Tensor:
    """``image + s |twin - image|``, s = +-1 drawn for each element of ``(3, H, W)``: as large, without direction.

    Where that would leave [0, 1] the element is the twin's, so that no change is smaller than the twin's (clipping
    would halve it wherever the picture is black or white). ``generator``: on the CPU.
    """
    signs = _beside(torch.randint(0, 2, image.shape, generator=generator), image) * 2 - 1
    changed = image + (twin - image).abs() * signs
    return torch.where((changed >= 0) & (changed <= 1), changed, twin)


def _beside(tensor: Tensor, image: Tensor) -> Tensor:
    """``tensor`` with the type and on the device of ``image``."""
    return to_device(tensor.to(image.dtype), image.device)


def _twin(request: FillRequest) -> Programme[Product]:
    assert request.artefacts is not None
    assert request.twin is not None
    assert request.picture is not None
    made = yield from request.artefacts.get(request.twin, request.picture)
    return made


def _details(made: Product) -> Mapping[str, float]:
    return {f"twin_{name}": made.numbers[name] for name in ("flipped", "queries")}


def _none(reason: str) -> Product:
    return Product(status="undefined", reason=reason)


def _unlike(name: str, request: FillRequest, background: Tensor, details: Mapping[str, float] | None = None) -> Product:
    """The background, unless there is no difference to switch: every map would be constant."""
    if torch.equal(request.image, background):
        return _none(f"the {name} is the picture itself")
    return Product(tensors={"background": background}, numbers=details or {})
