"""Fill response: what filling regions does to a detector's verdict, wherever they lie and whatever a map says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from xaibench.api import (
    FillRequest,
    Forward,
    ModelCase,
    Passes,
    PassQuery,
    Picture,
    Programme,
    Sample,
    Score,
    Scores,
    ScoreSpec,
    Streams,
    to_device,
)
from xaibench_metrics.faithfulness.curves import RemovalParameters
from xaibench_metrics.faithfulness.matched_regions import Extent, balanced_samples, extents_of, random_regions
from xaibench_perturbation import CHUNK, SIGMA, as_fill, fill_parameter

NAME = "fill-response"
ROUNDING = 1e-6
"""Changes of a probability up to this are none: one float32 and the order of its sums make as much."""

CALLED_FAKE = "the picture is called fake as it is"
_WHY = "no map is scored: it says what the fill does by itself, and so whether removal means anything here"


def _spec(name: str, low: float, description: str, *, primary: bool) -> ScoreSpec:
    return ScoreSpec(
        name=name, better="none", low=low, high=1, primary=primary, ranked=False, item_is_sample=True, why_not=_WHY,
        description=description,
    )  # fmt: skip


FAKE_RISES = _spec("fake-rises", 0, "share of the filled regions of a fake with which its P(fake) rises", primary=True)
REAL_TURNS = _spec(
    "real-turns", 0, "share of the filled regions of a real picture that turn its verdict to fake", primary=True
)
FAKE_CHANGE = _spec("fake-change", -1, "P(fake) of a fake with a region filled less P(fake), mean", primary=False)
REAL_CHANGE = _spec(
    "real-change", -1, "P(fake) of a real picture with a region filled less P(fake), mean", primary=False
)


class FillResponseParameters(RemovalParameters):
    """Parameters of ``fill-response``."""

    fill: Annotated[str, fill_parameter({"random", "masks"})] = Field(
        "black", description="what replaces the pixels of a region"
    )
    area: float = Field(0.1, gt=0, lt=1, description="share of the picture filled where no picture has a mask")
    regions: int = Field(8, ge=1, description="regions filled, one at a time, on each picture")
    pictures: int = Field(200, ge=1, description="most pictures, half of them real; drawn at random, groups in turn")


def fill_response(fill: str, sigma: float = SIGMA) -> tuple[str, ...]:
    """The spec of the measure that accompanies one which replaces pixels by a fill (:class:`xaibench.api.Metric`)."""
    blurred = f",sigma={sigma!r}" if "sigma" in as_fill(fill).needs else ""
    return (f"{NAME}:fill={fill}{blurred}",)


# ---- the mathematics ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Response:
    """One picture: shares of its regions and mean change. ``turns`` is None for a picture that is called fake as it
    is."""

    rises: float
    turns: float | None
    change: float


def response_of(clean: float, filled: Tensor, threshold: float) -> Response:
    """``rises = |{i: p_i > p}| / n``, ``turns = |{i: p_i >= threshold}| / n``, ``change = mean p_i - p``.

    ``clean``: P(fake) p of the untouched picture. ``filled``: ``(n,)`` P(fake) p_i with each region filled. A rise of
    at most :data:`ROUNDING` is none.
    """
    filled = filled.double()
    turns = None if clean >= threshold else float((filled >= threshold).double().mean())
    return Response(float((filled > clean + ROUNDING).double().mean()), turns, float(filled.mean()) - clean)


# ---- the measure ----------------------------------------------------------------------------------------------------


class FillResponse:
    """What a fill does to the verdict where no map chose the pixels: a check of removal on this very detector.

    Measures of removal take a fall of the score for evidence removed. Where the fill itself is evidence, they measure
    the fill: Gowrisankar & Thing (2024) find detectors *more* accurate after removals, since what is filled looks
    manipulated. Here regions of matched area at random places are filled, one at a time, ``regions`` on each picture.
    ``fake-rises`` is the share of a fake's regions with which P(fake) = 1 - P(real) rises, ``real-turns`` the share of
    a real picture's regions that turn its verdict (by the detector's threshold) to fake; both in [0, 1], one value a
    picture. A real picture that is called fake as it is cannot turn and has no value. ``fake-change`` and
    ``real-change`` are the mean changes of P(fake), in [-1, 1]. No map is looked at, and nothing is ranked: a board of
    removal says that removal misleads where ``real-turns`` exceeds a tenth on average.

    A region is a rectangle with the area and the aspect (of the bounding box) of the picture's manipulation mask; of a
    real picture, of that of the fake made from it; else of the mean mask of the pictures looked at; ``area`` and a
    square where no picture has a mask. It lies anywhere within the picture, so also upon the manipulation. Places
    depend on the seed, the sample and the region's number: every fill, and every detector, meets the same.

    At most ``pictures`` pictures are filled, real and fake in equal numbers as far as there are enough; groups take
    turns, and the methods of a group (:func:`~xaibench_metrics.faithfulness.matched_regions.balanced_samples`).
    """

    Parameters = FillResponseParameters
    scores = (FAKE_RISES, REAL_TURNS, FAKE_CHANGE, REAL_CHANGE)

    def __init__(self, parameters: FillResponseParameters) -> None:
        self.parameters = parameters

    def score(self, case: ModelCase) -> Programme[Scores]:
        p, facts = self.parameters, case.detector.facts
        streams = Streams.of(int(case.streams.key[0]), 0, NAME, "")  # of the seed alone: the same for every fill
        chosen = balanced_samples(case.samples, p.pictures, streams)
        number = {s.id: i for i, s in enumerate(case.samples)}
        extents = extents_of(chosen, case.samples, lambda i: case.pictures[number[i]].mask, p.area)
        responses = []
        for some in _blocks(chosen, max(1, CHUNK // p.regions)):
            pictures = [case.pictures[number[s.id]] for s in some]
            filled = []
            for picture in pictures:
                of_sample = streams.child(picture.sample.id)
                filled.append((yield from self._filled(case, picture, extents[picture.sample.id], of_sample)))
            reply: Tensor = yield Forward(torch.cat(filled))
            changed = (1 - reply[:, facts.real_class].double().cpu()).view(len(some), p.regions)
            clean = 1 - case.clean[[number[s.id] for s in some], facts.real_class].double().cpu()
            responses += [response_of(float(c), f, facts.threshold) for c, f in zip(clean, changed, strict=True)]
        return Scores((*_of_fakes(chosen, responses), *_of_reals(chosen, responses)))

    def _filled(self, case: ModelCase, picture: Picture, extent: Extent, streams: Streams) -> Programme[Tensor]:
        """``(regions, 3, H, W)``: the picture with each region filled."""
        p, image = self.parameters, to_device(picture.image, case.detector.device)
        regions = to_device(random_regions(extent, (image.shape[1], image.shape[2]), p.regions, streams), image.device)
        request = FillRequest(
            image=image, picture=picture, artefacts=case.artefacts, sigma=p.sigma, streams=streams.child("fill")
        )
        replacement = yield from as_fill(p.fill).of(request)
        if isinstance(replacement, Tensor):
            return torch.where(regions[:, None], replacement, image)
        assert callable(replacement)  # the only other result of a fill that needs no more than these parameters give
        return replacement((~regions).to(image.dtype))

    def passes(self, query: PassQuery) -> Passes:
        """At most: a picture that is not drawn takes none."""
        return Passes(forward=self.parameters.regions, exact=False)

    def passes_of_set(self, queries: Sequence[PassQuery]) -> Passes:
        """Exact where every picture has a prediction."""
        return Passes(forward=self.parameters.regions * min(len(queries), self.parameters.pictures))


def _blocks(samples: Sequence[Sample], size: int) -> Iterator[Sequence[Sample]]:
    return (samples[start : start + size] for start in range(0, len(samples), size))


def _of_fakes(chosen: Sequence[Sample], responses: Sequence[Response]) -> Iterator[Score]:
    found = [(s.id, r) for s, r in zip(chosen, responses, strict=True) if s.label == "fake"]
    for sample, response in found:
        yield Score(name=FAKE_RISES.name, item=sample, value=response.rises)
        yield Score(name=FAKE_CHANGE.name, item=sample, value=response.change)
    if not found:
        yield from Scores.undefined((FAKE_RISES, FAKE_CHANGE), "there is no fake picture").values


def _of_reals(chosen: Sequence[Sample], responses: Sequence[Response]) -> Iterator[Score]:
    found = [(s.id, r) for s, r in zip(chosen, responses, strict=True) if s.label == "real"]
    for sample, response in found:
        if response.turns is None:
            yield Score(name=REAL_TURNS.name, item=sample, status="undefined", reason=CALLED_FAKE)
        else:
            yield Score(name=REAL_TURNS.name, item=sample, value=response.turns)
        yield Score(name=REAL_CHANGE.name, item=sample, value=response.change)
    if not found:
        yield from Scores.undefined((REAL_TURNS, REAL_CHANGE), "there is no real picture").values
