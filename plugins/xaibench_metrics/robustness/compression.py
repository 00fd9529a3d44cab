"""Compression response: what JPEG and halving do to the verdict, and what they do to the map."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from io import BytesIO
from typing import Annotated

import numpy as np
import torch
from PIL import Image
from pydantic import Field, field_validator
from torch import Tensor
from torch.nn import functional as F

from xaibench.api import (
    Forward,
    MapCase,
    Parameters,
    Passes,
    PassQuery,
    Programme,
    Score,
    Scores,
    ScoreSpec,
    View,
    to_device,
    verdict,
)
from xaibench_metrics.robustness.sensitivity import STILL
from xaibench_metrics.robustness.similarity import rank_correlation, ranks
from xaibench_metrics.robustness.views import clean_map, maps_of, shown
from xaibench_perturbation import CHUNK, is_constant

MAP = ScoreSpec(
    name="map-change",
    better="lower",
    low=0,
    high=2,
    why_not=STILL,
    description="1 - Spearman between the maps before and after the compression",
)
NULL = ScoreSpec(
    name="null",
    better="none",
    low=0,
    high=2,
    primary=False,
    why_not="it is what map-change would be by chance",
    description="map-change when the second map lies at a random place instead of its own",
)
VERDICT = ScoreSpec(
    name="verdict-change",
    output="probability",
    better="lower",
    low=0,
    high=1,
    primary=False,
    why_not="it is about the detector: no map enters it",
    description="absolute change of the target's probability",
)
FLIP = ScoreSpec(
    name="verdict-flip",
    better="lower",
    low=0,
    high=1,
    primary=False,
    why_not="it is about the detector: no map enters it",
    description="1 where the verdict is another after the compression, else 0",
)

HALF = "half-size"
CONSTANT = "the map is constant: it has no ranks"


class CompressionParameters(Parameters):
    """Parameters of ``compression-response``."""

    qualities: tuple[Annotated[int, Field(ge=1, le=95)], ...] = Field(
        (90, 70, 50), description="JPEG qualities; half size and back is always among the changes"
    )
    draws: int = Field(20, ge=1, description="random places of the null")

    @field_validator("qualities")
    @classmethod
    def _distinct(cls, qualities: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(qualities)) < len(qualities):
            raise ValueError("a quality is there twice")
        return qualities


def jpeg(image: Tensor, quality: int) -> Tensor:
    """``(3, H, W)`` in [0, 1], rounded to 8 bits, written as JPEG by Pillow (colour at half size) and read again."""
    pixels = (image * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    file = BytesIO()
    Image.fromarray(pixels).save(file, format="JPEG", quality=quality)
    with Image.open(file) as read:
        decoded = np.array(read.convert("RGB"))
    return torch.from_numpy(decoded).permute(2, 0, 1).contiguous().to(image) / 255


def halved(image: Tensor) -> Tensor:
    """``(3, H, W)`` at half its sides (averaged; rounded down, never below 1) and back (bilinear)."""
    size = (image.shape[1], image.shape[2])
    small = F.interpolate(image[None], size=(max(1, size[0] // 2), max(1, size[1] // 2)), mode="area")
    return F.interpolate(small, size=size, mode="bilinear", align_corners=False)[0].clamp(0, 1)


def compressions(qualities: tuple[int, ...]) -> dict[str, View]:
    """The changes by the item that they are reported under."""
    views = {f"jpeg-{q}": _pixel_view(f"jpeg {q}", partial(jpeg, quality=q)) for q in qualities}
    return views | {HALF: _pixel_view("half size and back", halved)}


def _pixel_view(name: str, change: Callable[[Tensor], Tensor]) -> View:
    return View(name, lambda image, mask, landmarks: (change(image), mask, landmarks))


def chance_change(clean: Tensor, other: Tensor, draws: int, generator: torch.Generator) -> float:
    """Mean of ``1 - Spearman(a, roll(a', offset))`` over random offsets other than 0, from the centred ranks of both.

    Rolling keeps the values and how neighbours go together, and takes away the place.
    """
    places = torch.randint(1, other.numel(), (draws,), generator=generator).tolist()
    rolled = (other.roll(divmod(place, other.shape[1]), dims=(0, 1)) for place in places)
    alike = sum(float((clean * moved).sum()) for moved in rolled) / draws
    return 1 - alike / float((clean.square().sum() * other.square().sum()).sqrt())


class CompressionResponse:
    """The change of the verdict and of the map after JPEG 90, 70, 50 and half size and back, apart from one another.

    For each change of the shown picture (the item): ``map-change`` ``1 - Spearman(a(x), a(x'))`` in [0, 2], lower =
    steadier; ``null``, what map-change would be if the new map kept its look but lay anywhere; ``verdict-change``
    ``|p(x') - p(x)|`` of the class explained, in [0, 1]; ``verdict-flip`` 0 or 1, at the detector's threshold. A
    detector may change while its map stays and the other way round, so the two are never mixed.

    The null rolls the new map by random offsets: a metric of one sample sees no other picture's map. It takes away what
    maps of all pictures share as well, such as lying in the middle: compare with the control ``center-prior``, which
    never changes. Maps that are constant or missing leave ``map-change`` and ``null`` undefined, item by item. Own
    definition (no library has it); the JPEG is that of the Pillow installed.
    """

    Parameters = CompressionParameters
    scores = (MAP, NULL, VERDICT, FLIP)

    def __init__(self, parameters: CompressionParameters) -> None:
        self.parameters = parameters

    def score(self, case: MapCase) -> Programme[Scores]:
        views = compressions(self.parameters.qualities)
        values = list((yield from self._verdicts(case, views)))
        clean = clean_map(case)
        before = None if is_constant(clean) else ranks(clean)
        for item, other in zip(views, (yield from maps_of(case, list(views.values()))), strict=True):
            values += self._map_scores(case, item, before, other)
        return Scores(tuple(values))

    def _verdicts(self, case: MapCase, views: dict[str, View]) -> Programme[list[Score]]:
        facts, clean, rows = case.detector.facts, case.clean.cpu(), []
        for some in torch.split(torch.stack([shown(case, v) for v in views.values()]), CHUNK):
            reply: Tensor = yield Forward(to_device(some, case.detector.device))
            rows.append(reply.cpu())
        before, values = verdict(clean.tolist(), facts), []
        for item, row in zip(views, torch.cat(rows), strict=True):
            change = abs(float(row[case.target]) - float(clean[case.target]))
            flipped = verdict(row.tolist(), facts) != before
            values += [Score(name=VERDICT.name, item=item, value=change)]
            values += [Score(name=FLIP.name, item=item, value=float(flipped))]
        return values

    def _map_scores(self, case: MapCase, item: str, before: Tensor | None, other: Tensor | str) -> list[Score]:
        """``before``: the ranks of the clean map; None where it is constant."""
        if isinstance(other, str):
            return _no_change(item, f"no map after {item}: {other}")
        if before is None or is_constant(other):
            return _no_change(item, CONSTANT)
        after = ranks(other)
        chance = chance_change(before, after, self.parameters.draws, case.streams.torch(f"null {item}"))
        change = 1 - rank_correlation(before, after)
        return [Score(name=MAP.name, item=item, value=change), Score(name=NULL.name, item=item, value=chance)]

    def passes(self, query: PassQuery) -> Passes:
        """One forward pass and one map for every change."""
        changes = len(self.parameters.qualities) + 1
        return Passes(forward=changes) + query.map.times(changes)


def _no_change(item: str, reason: str) -> list[Score]:
    return [Score(name=s.name, item=item, status="undefined", reason=reason) for s in (MAP, NULL)]
