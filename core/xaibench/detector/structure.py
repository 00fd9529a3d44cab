"""The structure of a detector: whether what it returns are scores of the picture that it was given.

Looked at before anything else is asked of a detector, in at most :data:`MOST_PASSES` passes: shapes, finite values,
probabilities, outputs that repeat, that tell pictures apart, and that do not hang on the other pictures of a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xaibench.api import Detector, as_exception, describe_error

if TYPE_CHECKING:
    from torch import Tensor

PICTURES = 16
REMOTE_PICTURES = 4
MOST_PASSES = 64
TOLERANCE, REDUCED_TOLERANCE = 1e-4, 1e-2
"""Largest difference of a probability between two passes of one picture, in float32 and in a reduced precision."""

_MEND_CARD = "look at range, mean and std of its card; xaibench check MODEL --dataset DATA tries what it could mean"
_MEND_WEIGHTS = 'name its weights on its card, or say weights = "factory" if the factory loads them itself'
_MEND_CHANCE = "export the network after model.eval(), or say stochastic = true on its card if chance is meant"
_MEND_COMPANY = "say batch = {fixed = 1} on its card, or export the network after model.eval()"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at.

    Parameters
    ----------
    name: what was looked at: ``weights``, ``call``, ``finite``, ``probabilities``, ``distinct``, ``repeat``,
        ``stochastic`` or ``company``.
    value: what was measured: a difference of probabilities, or a number of different outputs; None where it was not
        measured, and ``reason`` says why.
    count: the pictures that it stands on.
    fault: what is wrong, in words that follow the name of a detector; empty where nothing is.
    mend: how to mend it.
    note: what a reader must know though it is no fault.
    """

    name: str
    value: float | None = None
    count: int = 0
    fault: str = ""
    mend: str = ""
    note: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Structure:
    """What was found. ``passes`` counts the pictures forwarded, without padding."""

    findings: tuple[Finding, ...]
    passes: int

    @property
    def fault(self) -> Finding | None:
        """The first fault; None where the detector is sound."""
        return next((f for f in self.findings if f.fault), None)


def is_fault(name: str, mark: str) -> bool:
    """Whether a stored finding with a mark is a fault; that of a detector which says that it is stochastic is none."""
    return bool(mark) and name != "stochastic"


def passes_of(detector: Detector) -> int:
    """Most passes that :func:`look_at_structure` takes."""
    return 4 * REMOTE_PICTURES if detector.facts.remote else MOST_PASSES


def look_at_structure(
    detector: Detector, pictures: Sequence[Tensor], *, batch_size: int, both_labels: bool, most: int = PICTURES
) -> Structure:
    """The structure of a detector.

    Parameters
    ----------
    pictures: pictures of the data as the detector sees them, ``(3, H, W)``. The first ``most`` are shown; where there
        are fewer, generated ones make up the number.
    batch_size: the compute batch of the run.
    both_labels: whether there are real and fake ones among them. Pictures of one label alone may all have one saturated
        output, and generated pictures have to tell then.

    Two passes of a picture may differ by 1e-4 of a probability, by 1e-2 where the detector computes in reduced
    precision. What a detector raises is a finding, ``call``.
    """
    most = min(most, REMOTE_PICTURES) if detector.facts.remote else most
    count = detector.facts.batch.fixed or min(batch_size, most, detector.facts.batch.maximum or batch_size)
    look = _Look(detector, count, _shown(detector, pictures, most), both_labels and len(pictures) >= most)
    try:
        findings = tuple(look.findings())
    except BaseException as raised:
        fault = f"fails on {look.count} pictures: {describe_error(as_exception(raised))}"
        findings = (Finding(name="call", fault=fault, mend="check size, layout and batch of its card"),)
    return Structure(findings, look.passes)


@dataclass
class _Look:
    """One look at a detector, ``count`` pictures in each call."""

    detector: Detector
    count: int
    shown: Tensor
    both_labels: bool
    passes: int = 0

    def findings(self) -> Iterator[Finding]:
        detector, images = self.detector, self.shown
        yield self._weights()
        scores = self._call(detector.scores, images)
        yield (finding := self._finite(scores))
        if finding.fault:
            return
        probabilities = self._call(detector.probabilities, images)
        yield (finding := self._probabilities(probabilities))
        if finding.fault:
            return
        extremes = None
        repeat = self._repeat(scores, probabilities)
        company = Finding(name="company", reason="it takes one picture at a time")
        if self.detector.facts.stochastic:
            company = Finding(name="company", reason="its outputs may differ from call to call, as its card says")
        elif repeat.fault:
            company = Finding(name="company", reason="two passes of one picture differ already")
        elif self.count > 1:
            company, extremes = self._company(probabilities)
        yield self._distinct(scores, extremes)
        yield repeat
        yield company

    def _weights(self) -> Finding:
        """Whether the weights of the network are known to have been loaded, as far as whoever opened it can tell."""
        fault = self.detector.facts.details.get("untrained", "")
        return Finding(name="weights", fault=fault, mend=_MEND_WEIGHTS if fault else "")

    def _call(self, call: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
        """Rows of some pictures, at the batch size of every call."""
        import torch

        rows = []
        for start in range(0, len(images), self.count):
            chunk = images[start : start + self.count]
            padded = chunk if len(chunk) == self.count else torch.cat([chunk, images[:1].expand(
                self.count - len(chunk), *images.shape[1:])])  # fmt: skip
            out = call(padded.to(self.detector.device))
            wanted = (self.count, len(self.detector.facts.classes))
            if tuple(out.shape) != wanted:
                raise ValueError(f"it returns the shape {tuple(out.shape)}, not {wanted}")
            rows.append(out[: len(chunk)].detach().cpu())
        self.passes += len(images)
        return torch.cat(rows)

    def _finite(self, scores: Tensor) -> Finding:
        bad = int((~scores.isfinite().all(dim=1)).sum())
        fault = f"gives values that are not finite on {bad} of {len(scores)} pictures" if bad else ""
        return Finding(name="finite", value=float(bad), count=len(scores), fault=fault, mend=_MEND_CARD if bad else "")

    def _probabilities(self, p: Tensor) -> Finding:
        off = max(float((p.double().sum(dim=1) - 1).abs().max()), float(-p.min()), float(p.max()) - 1)
        off = off if p.isfinite().all() else float("inf")
        fault = f"gives no probabilities: they lie outside [0, 1], or their sum is off by {off:.2g}"
        wrong = not off <= 1e-3
        mend = "say what its output values are (card key activation)"
        return Finding(
            name="probabilities", value=off, count=len(p), fault=fault if wrong else "", mend=mend if wrong else ""
        )

    @property
    def _tolerance(self) -> float:
        return TOLERANCE if self.detector.facts.precision == "fp32" else REDUCED_TOLERANCE

    def _repeat(self, scores: Tensor, probabilities: Tensor) -> Finding:
        """Whether a second pass gives the same, which are probabilities where the first gave scores."""
        facts = self.detector.facts
        value = _difference(scores.softmax(dim=1), probabilities)
        if facts.stochastic:
            note = f"differs from call to call by up to {value:.2g} of a probability, as its card says: nothing repeats"
            return Finding(name="stochastic", value=value, count=len(scores), note=note)
        if value <= self._tolerance:
            return Finding(name="repeat", value=value, count=len(scores))
        again = _difference(self._call(self.detector.scores, self.shown).softmax(dim=1), scores.softmax(dim=1))
        if again <= self._tolerance:
            fault = f"gives probabilities that are not those of its scores: they differ by {value:.2g}"
            return Finding(name="repeat", value=value, count=len(scores), fault=fault, mend="tell its author")
        cause = facts.suspects.get("chance", "")
        fault = f"gives other outputs when it is asked twice: a probability differs by {max(again, value):.2g}"
        return Finding(
            name="repeat", value=max(again, value), count=len(scores), fault=f"{fault}; {cause}" if cause else fault,
            mend=_MEND_CHANCE,
        )  # fmt: skip

    def _company(self, probabilities: Tensor) -> tuple[Finding, Tensor]:
        """Whether a row hangs on the other pictures of its batch: every second one is an extreme now."""
        import torch

        half = min(len(self.shown), PICTURES // 2)
        extremes = extreme_pictures(self.shown[:half])
        mixed = torch.stack([self.shown[:half], extremes], dim=1).flatten(0, 1)
        rows = self._call(self.detector.probabilities, mixed)
        value = _difference(rows[0::2], probabilities[:half])
        fault = mend = ""
        if value > self._tolerance:
            cause = self.detector.facts.suspects.get("company", "")
            fault = f"judges a picture by its company: beside others in its batch a probability differs by {value:.2g}"
            fault, mend = f"{fault}; {cause}" if cause else fault, _MEND_COMPANY
        return Finding(name="company", value=value, count=half, fault=fault, mend=mend), rows[1::2]

    def _distinct(self, scores: Tensor, extremes: Tensor | None) -> Finding:
        """Whether outputs differ at all from picture to picture, to the last bit."""
        different = len(_rows(scores))
        constant = different == 1 and len(scores) > 1
        if constant and not self.both_labels:
            rows = self._call(self.detector.scores, extreme_pictures(self.shown[:4])) if extremes is None else extremes
            constant = len(_rows(rows)) == 1
        fault = f"gives one output for all {len(scores)} pictures, to the last bit" if constant else ""
        return Finding(
            name="distinct", value=float(different), count=len(scores), fault=fault, mend=_MEND_CARD if constant else ""
        )


def _rows(outputs: Tensor) -> set[bytes]:
    """The different rows, to the last bit, but for the sign of zeros."""
    return {row.numpy().tobytes() for row in outputs + 0.0}


def _difference(one: Tensor, other: Tensor) -> float:
    return float((one.double() - other.double()).abs().max())


def _shown(detector: Detector, pictures: Sequence[Tensor], most: int) -> Tensor:
    """The first pictures, and generated ones where there are fewer than ``most``."""
    import torch

    shown = [p.detach().cpu().float() for p in pictures[:most]]
    size = detector.facts.input_size
    generator = torch.Generator().manual_seed(0)
    for number in range(most - len(shown)):
        grain = (size[0], size[1]) if number % 2 else (8, 8)
        noise = torch.rand((1, 3, *grain), generator=generator)
        smooth = torch.nn.functional.interpolate(noise, size=size, mode="bilinear", align_corners=False)
        shown.append(smooth[0].clamp(0, 1))
    return torch.stack(shown)


def extreme_pictures(like: Tensor) -> Tensor:
    """Black, white, checkered and noisy pictures in turn, ``(N, 3, H, W)`` as ``like``."""
    import torch

    generator = torch.Generator().manual_seed(1)
    height, width = like.shape[2:]
    rows, columns = torch.arange(height)[:, None], torch.arange(width)[None, :]
    checkered = ((rows + columns) % 2).float().expand(3, height, width)
    kinds = [
        torch.zeros(3, height, width), torch.ones(3, height, width), checkered,
        torch.rand((3, height, width), generator=generator),
    ]  # fmt: skip
    return torch.stack([kinds[i % len(kinds)] for i in range(len(like))])
