"""What all attacks share: reading the verdict, stopping, bounds, and whether a flip survives saving."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from xaibench.api import Detector, Facts, Forward, Programme, Status, verdict
from xaibench_perturbation.attacks.result import ALREADY_REAL, NEAR, Attacked, AttackMode, Reading

JPEG_QUALITY = 90


def in_full_precision(detector: Detector) -> Detector:
    """The detector that an attack asks: itself, or its float32 form where it computes in less."""
    make = getattr(detector, "full_precision", None)
    return make() if make else detector


def fake_margins(logits: Tensor, real_class: int) -> Tensor:
    """``ln(P(fake) / P(real)) = logsumexp(z of the fakes) - z_real``: ``(n, C)`` to ``(n,)`` in the logits' dtype.

    Falls as P(real) rises, and unlike P(real) does not saturate.
    """
    fakes = [i for i in range(logits.shape[1]) if i != real_class]
    return logits[:, fakes].logsumexp(dim=1) - logits[:, real_class]


@dataclass(frozen=True, slots=True)
class Judge:
    """Reads verdicts: at the card's threshold (``strict``), or *real* where no class is likelier (``t24-code``)."""

    facts: Facts
    mode: AttackMode
    detector: Detector | None

    def read(self, images: Tensor) -> Programme[list[Reading]]:
        """A reading of each of ``(n, 3, H, W)`` pictures."""
        logits: Tensor = yield Forward(images, output="logit", detector=self.detector)
        return [self.reading(row) for row in logits.double().cpu()]

    def reading(self, logits: Tensor, gradient: Tensor | None = None) -> Reading:
        """``(C,)`` float64 logits as a reading. Raises ValueError where they make no probabilities (NaN, infinity)."""
        found = logits.softmax(dim=0).float()
        if found.isnan().any():
            raise ValueError(f"{self.facts.name} gives {logits.tolist()} for a picture of the attack")
        probabilities = found.tolist()
        real_class = self.facts.real_class
        real = verdict(probabilities, self.facts) == "real"
        if self.mode == "t24-code":
            real = int(logits.argmax()) == real_class
        return Reading(probabilities[real_class], float(fake_margins(logits[None], real_class)), real, gradient)


@dataclass(frozen=True, slots=True)
class Move:
    """One step: the picture after it and the pictures asked. No picture: the attack ends there, with this status."""

    image: Tensor | None
    queries: int = 0
    status: Status = "ok"
    reason: str = ""


class Mover(Protocol):
    """The part in which attacks differ. ``look`` reads the picture before a step, ``move`` takes the step."""

    def look(self, image: Tensor) -> Programme[Reading]: ...
    def move(self, image: Tensor, reading: Reading, step: int) -> Programme[Move] | Move: ...


def pursue(image: Tensor, judge: Judge, mover: Mover, *, steps: int, stop: bool) -> Programme[Attacked]:
    """Move ``(3, H, W)`` towards *real*: at most ``steps`` steps, or exactly so many where ``stop`` is False.

    A picture that is called real at the start is left alone in any case.
    """
    now, queries, readings = image, 0, list[Reading]()
    end, way = Move(None), Way(image)
    while True:
        if len(readings) == steps:
            (reading,) = yield from judge.read(now[None])
            readings.append(reading)
            way.pass_by(now, readings)
            queries += reading.real
            break
        reading = yield from mover.look(now)
        readings.append(reading)
        way.pass_by(now, readings)
        queries += 1
        if reading.real and (stop or len(readings) == 1):
            break
        moved = mover.move(now, reading, len(readings))
        end = moved if isinstance(moved, Move) else (yield from moved)
        queries += end.queries
        if end.image is None:
            break
        now = end.image
    found = yield from _concluded(image, now, judge, readings, end, queries, way)
    return found


@dataclass(slots=True)
class Way:
    """Pictures worth keeping on the way: see :class:`Attacked`."""

    near: Tensor
    turned: Tensor | None = None
    turned_at: int = -1

    def pass_by(self, image: Tensor, readings: Sequence[Reading]) -> None:
        """``image`` has the last of the readings."""
        first, last = readings[0], readings[-1]
        if last.p_real - first.p_real <= NEAR:
            self.near = image
        if last.real and not first.real and self.turned is None:
            self.turned, self.turned_at = image, len(readings) - 1


def _concluded(
    image: Tensor, now: Tensor, judge: Judge, readings: Sequence[Reading], end: Move, queries: int, way: Way
) -> Programme[Attacked]:
    before, after = readings[0], readings[-1]
    flipped = after.real and not before.real
    status, reason, saved = end.status, end.reason, [False, False]
    if before.real:
        status, reason = "undefined", ALREADY_REAL
    if flipped:
        status, reason = "ok", ""  # what silenced the detector afterwards takes nothing from that
        found = yield from judge.read(torch.stack([rounded(now), jpeg(now)]))
        saved = [reading.real for reading in found]
    return Attacked(
        image=now,
        status=status,
        reason=reason,
        flipped=flipped,
        steps=len(readings) - 1,
        queries=queries,
        before=before,
        after=after,
        survives_8bit=saved[0],
        survives_jpeg=saved[1],
        largest_change=float((now.double() - image.double()).abs().max()),
        trace=tuple(r.margin for r in readings),
        turned=way.turned,
        turned_at=way.turned_at,
        near=way.near,
    )


# ---- bounds -----------------------------------------------------------------------------------------------------


def ball(image: Tensor, bound: float, *, clamp: bool) -> tuple[Tensor, Tensor]:
    """The least and greatest picture within ``bound`` of ``(3, H, W)`` float32, and within [0, 1] where ``clamp``.

    Rounded inwards, so that no element is further than ``bound`` from the picture's, computed exactly.
    """
    exact = image.double()
    low, high = (exact - bound).float(), (exact + bound).float()
    low = torch.where(exact - low.double() > bound, _next(low, math.inf), low)
    high = torch.where(high.double() - exact > bound, _next(high, -math.inf), high)
    return (low.clamp(min=0), high.clamp(max=1)) if clamp else (low, high)


def _next(values: Tensor, towards: float) -> Tensor:
    return torch.nextafter(values, torch.full_like(values, towards))


def within(changed: Tensor, image: Tensor, region: Tensor | None) -> Tensor:
    """``changed`` in the region, the very picture outside; ``region``: ``(H, W)`` bool, None is everywhere."""
    return changed if region is None else torch.where(region, changed, image)


# ---- saving -----------------------------------------------------------------------------------------------------


def rounded(image: Tensor) -> Tensor:
    """``(3, H, W)`` clipped to [0, 1] and rounded to 256 levels: what a lossless file keeps."""
    return (image.clamp(0, 1) * 255).round() / 255


def jpeg(image: Tensor, quality: int = JPEG_QUALITY) -> Tensor:
    """``(3, H, W)`` after it was saved as JPEG (Pillow's defaults: 4:2:0) and read again."""
    pixels = (rounded(image) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    with Image.open(file) as decoded:
        read = np.array(decoded)
    return torch.from_numpy(read).permute(2, 0, 1).to(image) / 255
