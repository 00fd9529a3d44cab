"""What the author of a model card could have meant: other readings of it, tried on labelled pictures.

A reading is told better where its AUC is, or where its AUC is no worse and its balanced accuracy is, corrected for all
that are tried (:func:`xaibench_statistics.accuracy_gains`), and its own AUC is told from chance. Of several the
cross-entropy decides, since readings that differ in scale alone have one AUC: of those that are not told from the one
with the least, the one that changes fewest keys is the best.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from xaibench.api import (
    CardVariant,
    Dataset,
    Detector,
    Facts,
    Forward,
    Programme,
    Sample,
    as_exception,
    describe_error,
    log_odds,
    p_fake,
    toml_value,
)
from xaibench.data.pictures import show_picture
from xaibench.detector.batch_size import compute_batch
from xaibench.detector.engine import run_programmes
from xaibench.plan.detector_cells import MOST_VARIANTS

if TYPE_CHECKING:
    from torch import Tensor

    from xaibench_statistics import AccuracyGain, Estimate, Values

Probabilities = Sequence[float]
_CLIP = 1e-6  # of a probability in the cross-entropy: one saturated error is not to decide
_KEPT_PIXELS = 512 * 512  # 3 MB a picture


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One reading of a card on labelled pictures.

    Parameters
    ----------
    name: what is read otherwise; empty for the card's own reading.
    keys: the card keys with the values of this reading.
    p_fake, log_odds, called_fake: of every picture, sorted by sample id.
    auc, balanced_accuracy: with their intervals; None where a label is missing.
    gain: what it gains over the card's own.
    reason: why it was not tried; empty where it was.
    """

    name: str = ""
    keys: Mapping[str, Any]
    p_fake: NDArray[np.float64] | None = None
    log_odds: Values | None = None
    called_fake: NDArray[np.bool_] | None = None
    auc: Estimate | None = None
    balanced_accuracy: Estimate | None = None
    gain: AccuracyGain | None = None
    reason: str = ""

    @property
    def text(self) -> str:
        """The keys as lines of a card, joined by commas."""
        return ", ".join(f"{key} = {toml_value(value)}" for key, value in self.keys.items())

    @property
    def told_better(self) -> bool:
        """Whether it is told better than the card's own reading, and from chance."""
        told = self.auc is not None and self.auc.low is not None and self.auc.low > 0.5
        return told and self.gain is not None and bool(self.gain.better_by)


@dataclass(frozen=True, kw_only=True)
class CardReadings:
    """The card's own reading and the others. ``best`` is the best of those that are told better, None where none is.

    ``note`` says why no other was tried; it is empty where some were.
    """

    own: Reading
    others: tuple[Reading, ...]
    passes: int
    fake: NDArray[np.bool_]
    note: str = ""

    @property
    def best(self) -> Reading | None:
        better = [r for r in self.others if r.told_better]
        if not better:
            return None
        least = min(better, key=lambda r: float(self._losses(r).mean()))
        alike = [r for r in better if not self._told_apart(r, least)]
        return min(alike, key=lambda r: len(r.keys))  # of equally many keys the likeliest, which was offered first

    def _losses(self, reading: Reading) -> NDArray[np.float64]:
        """The cross-entropy of every picture."""
        assert reading.p_fake is not None
        p = np.clip(reading.p_fake, _CLIP, 1 - _CLIP)
        return -np.log(np.where(self.fake, p, 1 - p))

    def _told_apart(self, reading: Reading, least: Reading) -> bool:
        """Whether the mean loss of a reading is more than two standard errors, of groups, above the least."""
        assert reading.log_odds is not None
        more = self._losses(reading) - self._losses(least)
        _, group = np.unique(reading.log_odds.groups, return_inverse=True)
        sums = np.bincount(group, weights=more)
        error = float(np.sqrt(len(sums)) * sums.std(ddof=1)) if len(sums) > 1 else 0.0
        return float(more.sum()) > 2 * error

    @property
    def advice(self) -> str:
        """What the best reading is and how much better; empty where none is told better."""
        best, own = self.best, self.own
        if best is None or best.auc is None or own.auc is None or best.gain is None:
            return ""
        measured = f"AUC {own.auc.value:.3f} -> {best.auc.value:.3f}"
        if best.balanced_accuracy and own.balanced_accuracy:
            before, after = own.balanced_accuracy.value, best.balanced_accuracy.value
            measured += f", balanced accuracy {before:.3f} -> {after:.3f}"
        return f"{best.text} does better than its card: {measured} on {len(self.fake)} pictures"


def try_readings(
    detector: Detector,
    dataset: Dataset,
    samples: Sequence[Sample],
    own: Mapping[str, Probabilities] | None = None,
    *,
    batch_size: int | None = None,
) -> CardReadings:
    """Compare readings of a detector's card on labelled pictures.

    Parameters
    ----------
    detector: offers the other readings (``variants``), of which the first 24 are tried.
    dataset, samples: the pictures, real and fake; samples without a prediction are left out.
    own: class probabilities of the card's own reading by sample id; None: they are computed.
    batch_size: the compute batch.

    Where the card's own reading ranks and judges every picture rightly, nothing can be told better or is tried. Raises
    what the detector raises on its own card.
    """
    ordered = sorted((s for s in samples if own is None or s.id in own), key=lambda s: s.id)
    trial = _Trial(detector, dataset, ordered, batch_size)
    own = trial.predict(detector) if own is None else own
    mine = trial.measured(Reading(keys={}), own, detector.facts)
    if mine.auc and mine.auc.value == 1 and mine.balanced_accuracy and mine.balanced_accuracy.value == 1:
        note = "the card's own reading is right on every picture"
        return CardReadings(own=mine, others=(), passes=trial.passes, fake=trial.fake, note=note)
    variants = tuple(detector.variants())[:MOST_VARIANTS]  # type: ignore[attr-defined]
    others = trial.compared(list(trial.readings(variants, mine, own)), mine)
    return CardReadings(own=mine, others=tuple(others), passes=trial.passes, fake=trial.fake)


def predicted(
    detector: Detector, samples: Sequence[Sample], image: Callable[[Sample], Tensor], batch_size: int | None = None
) -> dict[str, Probabilities]:
    """Class probabilities by sample id. Raises what a picture or the detector raised, and ``ValueError`` for values
    that are not finite."""

    def programme(sample: Sample) -> Programme[list[float]]:
        reply = yield Forward(image(sample)[None])
        return [float(p) for p in reply[0].cpu()]

    batch, found = compute_batch(detector, batch_size), dict[str, Probabilities]()
    for name, done in run_programmes(detector, ((s.id, partial(programme, s)) for s in samples), batch_size=batch):
        if done.error is not None:
            raise done.error
        if done.value is None or not np.isfinite(done.value).all():
            raise ValueError("its outputs are not finite")
        found[name] = done.value
    return found


def values_of(samples: Sequence[Sample], odds: Sequence[float] | NDArray[np.float64]) -> Values:
    """Log-odds of samples with their groups, as statistics take them."""
    from xaibench_statistics import Values

    groups, crossed = [s.group for s in samples], [s.cross_group or "" for s in samples]
    return Values.of([s.id for s in samples], odds, groups, crossed)


@dataclass
class _Trial:
    detector: Detector
    dataset: Dataset
    samples: Sequence[Sample]
    batch_size: int | None
    passes: int = 0
    shown: dict[str, Tensor] = field(default_factory=dict)

    def _image(self, sample: Sample, facts: Facts) -> Tensor:
        """A picture as a reading shows it. Most readings resize it as the card does; such pictures are kept."""
        own = self.detector.facts
        if (facts.input_size, facts.resize) != (own.input_size, own.resize) or prod(own.input_size) > _KEPT_PIXELS:
            return show_picture(self.dataset, sample, facts).image
        if sample.id not in self.shown:
            self.shown[sample.id] = show_picture(self.dataset, sample, facts).image
        return self.shown[sample.id]

    @property
    def fake(self) -> NDArray[np.bool_]:
        return np.array([s.label == "fake" for s in self.samples], dtype=bool)

    def readings(
        self, variants: Sequence[CardVariant], mine: Reading, own: Mapping[str, Probabilities]
    ) -> Iterator[Reading]:
        """Every other reading, measured. One that ranks real above fake is tried with the classes turned, too."""
        facts = self.detector.facts
        turned = next((v for v in variants if v.swaps), None)
        for variant in variants:
            reading = Reading(name=variant.name, keys=variant.keys)
            if variant.swaps:
                yield self.measured(reading, _turned(own, facts), facts)
                continue
            try:
                other = self.detector.read_as(variant)  # type: ignore[attr-defined]
                seen = self.predict(other)
            except BaseException as raised:
                yield replace(reading, reason=describe_error(as_exception(raised)))
                continue
            found = self.measured(reading, seen, other.facts)
            yield found
            if turned is not None and found.auc is not None and found.auc.value < 0.5:
                both = Reading(name=f"{turned.name} and {variant.name}", keys={**turned.keys, **variant.keys})
                yield self.measured(both, _turned(seen, other.facts), other.facts)
        threshold = self._threshold(mine)
        if threshold is not None:
            yield threshold

    def predict(self, detector: Detector) -> dict[str, Probabilities]:
        """Class probabilities of every picture under a reading. Raises what the detector raised."""
        self.passes += len(self.samples)
        return predicted(detector, self.samples, lambda s: self._image(s, detector.facts), self.batch_size)

    def measured(self, reading: Reading, seen: Mapping[str, Probabilities], facts: Facts) -> Reading:
        """A reading with its accuracy."""
        fakes = np.array([p_fake(seen[s.id], facts) for s in self.samples], dtype=np.float64)
        odds = np.array([log_odds(seen[s.id], facts) for s in self.samples], dtype=np.float64)
        return self._measured(reading, fakes, odds, fakes >= facts.threshold)

    def _measured(
        self, reading: Reading, fakes: NDArray[np.float64], odds: NDArray[np.float64], called: NDArray[np.bool_]
    ) -> Reading:
        from xaibench_statistics import auc_interval, balanced_accuracy

        values = values_of(self.samples, odds)
        both = bool(self.fake.any()) and not self.fake.all()
        return replace(
            reading, p_fake=fakes, log_odds=values, called_fake=called,
            auc=auc_interval(values, self.fake) if both else None,
            balanced_accuracy=balanced_accuracy(values.with_values(called.astype(np.float64)), self.fake)
            if both else None,
        )  # fmt: skip

    def compared(self, readings: Sequence[Reading], mine: Reading) -> list[Reading]:
        """Readings with what they gain over the card's own."""
        from xaibench_statistics import accuracy_gains

        if mine.log_odds is None or mine.called_fake is None or mine.auc is None:
            return list(readings)
        tried = [(r.log_odds, r.called_fake) for r in readings if r.log_odds is not None and r.called_fake is not None]
        gains = iter(accuracy_gains(mine.log_odds, mine.called_fake, tried, self.fake))
        return [r if r.log_odds is None else replace(r, gain=next(gains)) for r in readings]

    def _threshold(self, mine: Reading) -> Reading | None:
        """The card's own reading at another threshold, where its ranks are told from chance.

        The threshold named is the best on all pictures; the verdicts that it is judged by are those of the best on the
        other half of the people, since the best on the same pictures is always better.
        """
        if mine.auc is None or mine.auc.low is None or mine.auc.low <= 0.5:
            return None
        assert mine.p_fake is not None and mine.log_odds is not None
        p, fake = mine.p_fake, self.fake
        best = _best_threshold(p, fake)
        groups = {g: i for i, g in enumerate(dict.fromkeys(s.group for s in self.samples))}
        half = np.array([groups[s.group] % 2 for s in self.samples])
        called = np.zeros(len(p), dtype=bool)
        for side in (0, 1):
            others = _best_threshold(p[half != side], fake[half != side])
            if best is None or others is None:
                return None
            called[half == side] = p[half == side] >= others
        reading = Reading(name="threshold", keys={"threshold": best})
        return self._measured(reading, p, mine.log_odds.values, called)


def _best_threshold(p: NDArray[np.float64], fake: NDArray[np.bool_]) -> float | None:
    """The threshold with the largest balanced accuracy, half of 1 where it is as good; None where none lies between
    0 and 1, or a label is missing."""
    if fake.all() or not fake.any():
        return None
    levels = np.unique(p)
    cuts = [0.5, *((levels[:-1] + levels[1:]) / 2).tolist()]
    scored = [(float((p[fake] >= c).mean() + (p[~fake] < c).mean()), c) for c in cuts if 0 < c < 1]
    top = max(score for score, _ in scored)
    cut = next(c for score, c in scored if score == top)
    short = next((v for v in (round(cut, digits) for digits in range(1, 8)) if 0 < v < 1 and np.array_equal(
        p >= v, p >= cut)), cut)  # fmt: skip
    return float(short)


def _turned(seen: Mapping[str, Probabilities], facts: Facts) -> dict[str, Probabilities]:
    """Class probabilities with real and fake turned; of several fake classes the sum counts."""
    found: dict[str, Probabilities] = {}
    for name, probabilities in seen.items():
        real = float(probabilities[facts.real_class])
        row = [0.0] * len(facts.classes)
        row[facts.real_class] = sum(float(p) for i, p in enumerate(probabilities) if i != facts.real_class)
        first = next(i for i in range(len(row)) if i != facts.real_class)
        row[first] = real
        found[name] = row
    return found
