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

from xaibench.api import Detector, Facts, Forward, Programme, Status
from xaibench_perturbation.attacks.course import GOES_ON, Course, Readings, check_probabilities
from xaibench_perturbation.attacks.result import ALREADY_REAL, Attacked, AttackMode, Reading

JPEG_QUALITY = 90


def in_full_precision(detector: Detector) -> Detector:
    """The detector that an attack asks: itself, or its float32 form where it computes in less."""
    make = getattr(detector, "full_precision", None)
    return make() if make else detector


@dataclass(frozen=True, slots=True)
class Judge:
    """Reads verdicts: at the card's threshold (``strict``), or *real* where no class is likelier (``t24-code``)."""

    facts: Facts
    mode: AttackMode
    detector: Detector | None

    def logits(self, images: Tensor) -> Programme[Tensor]:
        """``(n, C)`` of ``(n, 3, H, W)`` pictures."""
        logits: Tensor = yield Forward(images, output="logit", detector=self.detector)
        return logits

    def read(self, images: Tensor) -> Programme[list[Reading]]:
        """A reading of each of ``(n, 3, H, W)`` pictures. Raises ValueError where one makes no probabilities."""
        logits = (yield from self.logits(images)).double().cpu()
        check_probabilities(logits, self.facts)
        return Readings.of(logits, self.facts, self.mode).on_host()


@dataclass(frozen=True, slots=True)
class Sight:
    """What a mover saw of the picture before a step: ``(C,)`` logits, and its gradient ``(3, H, W)`` if it asked."""

    logits: Tensor
    gradient: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Move:
    """The picture after a step, and a tensor of one integer: why there is none, or that the attack goes on."""

    image: Tensor
    code: Tensor


@dataclass(frozen=True, slots=True)
class End:
    """What a step means that ended an attack: ``queries`` are pictures that were asked to find out."""

    status: Status = "ok"
    reason: str = ""
    queries: int = 0


class Mover(Protocol):
    """The part in which attacks differ. ``asked``: pictures that one move asks for."""

    asked: int

    def refusal(self) -> str:
        """Why no step can be taken, whatever the picture; empty where it can."""

    def look(self, image: Tensor) -> Programme[Sight]:
        """See the picture before a step."""

    def move(self, image: Tensor, sight: Sight) -> Programme[Move] | Move:
        """Take the step."""

    def end(self, code: int, image: Tensor, reading: Reading, step: int) -> Programme[End] | End:
        """What the code of step ``step`` means."""


def pursue(image: Tensor, judge: Judge, mover: Mover, *, steps: int, stop: bool) -> Programme[Attacked]:
    """Move ``(3, H, W)`` towards *real*: at most ``steps`` steps, or exactly so many where ``stop`` is False.

    A picture that is called real at the start is left alone in any case. Beside a device, the host reads one number
    before the first step, one in each step where ``stop`` is True, and the rest after the last. A step that finds no
    signal is found out then, so that more pictures may have been asked than count as queries.
    """
    course = Course(image, judge.facts, judge.mode)
    refusal = ""
    while len(course.logits) < steps:
        sight = yield from mover.look(course.now)
        course.observe(sight.logits)
        is_first = len(course.logits) == 1
        is_over = (stop or is_first) and course.is_over(stop=True)
        refusal = mover.refusal() if is_first and not is_over else ""
        if is_over or refusal:
            break
        moved = mover.move(course.now, sight)
        move = moved if isinstance(moved, Move) else (yield from moved)
        course.advance(move.image, move.code)
        if course.on_host and course.is_over(stop=False):
            break
    else:
        logits = yield from judge.logits(course.now[None])
        course.observe(logits[0])
    found = yield from _concluded(course, judge, mover, steps, End("undefined", refusal) if refusal else End())
    return found


def _concluded(course: Course, judge: Judge, mover: Mover, steps: int, end: End) -> Programme[Attacked]:
    outcome, now = course.outcome(), course.now
    readings = outcome.readings
    queries = _queries(readings, mover.asked, steps, outcome.code)
    if outcome.code != GOES_ON:
        means = mover.end(outcome.code, now, readings[-1], len(readings))
        end = means if isinstance(means, End) else (yield from means)
    before, after = readings[0], readings[-1]
    flipped = after.real and not before.real
    status, reason, saved = end.status, end.reason, [False, False]
    if before.real:
        status, reason = "undefined", ALREADY_REAL
    if flipped:
        status, reason = "ok", ""  # what silenced the detector afterwards takes nothing from that
        rounds = yield from judge.read(torch.stack([rounded(now), jpeg(now)]))
        saved = [reading.real for reading in rounds]
    return Attacked(
        image=now,
        status=status,
        reason=reason,
        flipped=flipped,
        steps=len(readings) - 1,
        queries=queries + end.queries,
        before=before,
        after=after,
        survives_8bit=saved[0],
        survives_jpeg=saved[1],
        largest_change=outcome.largest_change,
        trace=tuple(r.margin for r in readings),
        turned=course.turned if outcome.turned_at >= 0 else None,
        turned_at=outcome.turned_at,
        near=course.near,
    )


def _queries(readings: Sequence[Reading], asked: int, steps: int, code: int) -> int:
    """Pictures that an attack asked for: one a reading and ``asked`` a step; see :class:`Attacked` on the last one."""
    if len(readings) == steps + 1:
        return steps * (1 + asked) + readings[-1].real
    moves = len(readings) if code != GOES_ON else len(readings) - 1
    return len(readings) + moves * asked


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
