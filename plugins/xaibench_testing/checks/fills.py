"""What every fill must hold to, on planted and awkward pictures. Each check takes a :class:`Subject` and raises
:class:`ContractViolation`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from xaibench.api import (
    Done,
    ExplainerRecord,
    ExplainRequest,
    Explanation,
    Fill,
    FillRequest,
    FillResult,
    Passes,
    Picture,
    Product,
    Programme,
)
from xaibench_perturbation import IMAGENET_MEAN, SIGMA, Twin, cell_labels
from xaibench_testing.checks.subject import BATCH, Subject, bytes_of, finished, name_of, named
from xaibench_testing.harness import explain
from xaibench_testing.planted import FAKE
from xaibench_testing.violations import NotApplicable, require
from xaibench_testing.worlds import World, awkward_worlds, planted_world

_TWIN_STEPS = 2


@dataclass(frozen=True, slots=True)
class _Asker:
    """An explainer that asks a fill for its background and draws no map. ``results`` are by sample."""

    fill: Fill
    results: dict[str, FillResult] = field(default_factory=dict)

    def explain(self, request: ExplainRequest) -> Programme[Explanation]:
        image = request.picture.image.to(request.detector.device)
        self.results[request.picture.sample.id] = yield from self.fill.of(
            FillRequest(
                image=image,
                picture=request.picture,
                artefacts=request.artefacts,
                sigma=SIGMA,
                colour=IMAGENET_MEAN,
                streams=request.streams,
                labels=cell_labels(4, (image.shape[1], image.shape[2])),
                twin=Twin(steps=_TWIN_STEPS),
            )
        )
        return Explanation.none("a check of a fill draws no map")


def _fill(subject: Subject) -> Fill:
    return Fill(subject.use.registered)


def _asked(fill: Fill, world: World, seed: int = 0) -> tuple[dict[str, FillResult], list[Done[Explanation]]]:
    """What the fill is of each of the world's pictures, by sample; an exception is a violation."""
    asker = _Asker(fill)
    record = ExplainerRecord(name="asker", target=f"{__name__}:_Asker", summary="asks a fill")
    from xaibench import hold_component

    done = explain(hold_component(record, asker), world.detector, world.pictures, FAKE, seed=seed, batch_size=BATCH)
    for picture, one in zip(world.pictures, done, strict=True):
        finished(one, name_of(picture))
    return asker.results, done


def _worlds(fill: Fill) -> Iterator[World]:
    yield planted_world(fill.needs)
    yield from awkward_worlds(fill.needs).values()


def _masks(image: Tensor) -> Tensor:
    """Four masks: everything stays, nothing does, the left half does, everything at a half."""
    _, height, width = image.shape
    left = torch.zeros(height, width)
    left[:, : width // 2] = 1
    full = torch.ones(height, width)
    return torch.stack([full, 0 * full, left, full / 2]).to(image)


def _pixels(result: FillResult, picture: Picture) -> Tensor | None:
    """The background, or the pictures of some masks; None where there is none of this picture."""
    if isinstance(result, Product):
        return result.tensors.get("background")
    return result if isinstance(result, Tensor) else result(_masks(picture.image))


# ---- checks ---------------------------------------------------------------------------------------------------------


def check_pixels(subject: Subject) -> None:
    """A fill is finite float32 in [0, 1] of the picture's shape, and some planted picture has one."""
    fill = _fill(subject)
    for number, world in enumerate(_worlds(fill)):
        results, _ = _asked(fill, world)
        filled = [_check_pixels(results[p.sample.id], p) for p in world.pictures]
        require(any(filled) or number > 0, "no planted picture has this fill")


def _check_pixels(result: FillResult, picture: Picture) -> bool:
    pixels, where, shape = _pixels(result, picture), name_of(picture), tuple(picture.image.shape)
    if pixels is None:
        return False
    if not isinstance(result, Tensor | Product):
        shape = (4, *shape)
    require(tuple(pixels.shape) == shape, f"{where}: the shape is {tuple(pixels.shape)}, not {shape}")
    require(pixels.dtype == torch.float32, f"{where}: the type is {pixels.dtype}, not float32")
    require(bool(((pixels >= 0) & (pixels <= 1)).all()), f"{where}: values are not in [0, 1]")
    if not isinstance(result, Tensor | Product):
        require(torch.equal(pixels[0], picture.image), f"{where}: pixels change where the mask is 1")
    return True


def check_determinism(subject: Subject) -> None:
    """Equal seeds give the same fill to the byte."""
    fill = _fill(subject)
    world = planted_world(fill.needs)
    require(_bytes(fill, world) == _bytes(fill, world), "two calls with equal seeds give two fills")


def check_seed(subject: Subject) -> None:
    """Another seed gives another fill where the record says ``random``, and the same where it does not."""
    fill = _fill(subject)
    if "twin" in fill.needs:
        raise NotApplicable("the twin depends on the seed by itself")
    world = planted_world(fill.needs)
    same = _bytes(fill, world) == _bytes(fill, world, seed=1)
    if "random" in fill.needs:
        require(not same, "the record says random, but two seeds give the same fill")
    else:
        require(same, "two seeds give two fills, but the record does not say random")


def _bytes(fill: Fill, world: World, seed: int = 0) -> bytes:
    results, _ = _asked(fill, world, seed)
    return b"|".join(bytes_of(_pixels(results[p.sample.id], p)) for p in world.pictures)


def check_mutation(subject: Subject) -> None:
    """The fill changes nothing that it is handed."""
    fill = _fill(subject)
    world = planted_world(fill.needs)
    before = [tuple(map(bytes_of, (p.image, p.mask, p.landmarks))) for p in world.pictures]
    results, _ = _asked(fill, world)
    for picture, own in zip(world.pictures, before, strict=True):
        _pixels(results[picture.sample.id], picture)
        after = tuple(map(bytes_of, (picture.image, picture.mask, picture.landmarks)))
        require(after == own, f"{name_of(picture)}: the fill changes the picture, its mask or its landmarks in place")


def check_passes(subject: Subject) -> None:
    """The fill makes no detector call of its own."""
    fill = _fill(subject)
    if "twin" in fill.needs:
        raise NotApplicable("the twin is made with detector calls")
    world = planted_world(fill.needs)
    _, done = _asked(fill, world)
    for picture, one in zip(world.pictures, done, strict=True):
        require(one.passes == Passes(), f"{name_of(picture)}: the fill takes {one.passes.forward} detector passes")


CHECKS = named(check_pixels, check_determinism, check_seed, check_mutation, check_passes)
