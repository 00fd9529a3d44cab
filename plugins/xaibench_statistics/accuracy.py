"""How well a detector tells fakes from real pictures, and what a reader of any other result of it must know.

One computation: ``check``, ``eval``, tables and page all state the numbers that :func:`detector_accuracy` gives.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import sqrt
from typing import Final

import numpy as np
import numpy.typing as npt

from xaibench_statistics.auc import auc_interval
from xaibench_statistics.bootstrap import MINIMUM_GROUPS, Design, Estimate
from xaibench_statistics.intervals import mean_interval, proportion_interval
from xaibench_statistics.proportions import margin
from xaibench_statistics.values import Floats, Values

Bools = npt.NDArray[np.bool_]

CALIBRATION_BINS: Final = 15
NOT_MEASURED: Final = "not measured"
CONSTANT: Final = "constant output"
CHANCE: Final = "not told from chance"
ONE_CLASS: Final = "all of one class"
VERDICTS: Final = "verdicts not told from chance"
WRONG_WAY: Final = "the wrong way round"
NEEDS_BOTH: Final = "AUC needs both real and fake pictures"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What a reader of any result of a detector must know.

    ``name`` is one of this module's constants; ``text`` says it in one line with its numbers. ``withholds_ranks``:
    whether ranks and verdicts on explanations of this detector would mislead.
    """

    name: str
    text: str
    withholds_ranks: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelReadings:
    """P(fake) of the ``n`` pictures of one label in ``groups`` groups: median and quartiles."""

    label: str
    n: int
    groups: int
    called_fake: int
    low_quartile: float
    median: float
    high_quartile: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """One detector on one set of labelled pictures; every interval is a 95 % one, clustered by group.

    ``auc``: of the log-odds, fake against real. ``sensitivity``: share of fakes called fake. ``false_alarm_rate``:
    share of real pictures called fake. ``balanced_accuracy``: ``(sensitivity + 1 - false_alarm_rate) / 2`` at the
    threshold. ``brier``: mean of ``(P(fake) - label)^2``. ``calibration_error``: see
    :func:`expected_calibration_error`; it is biased upwards where pictures are few, and has no interval. What needs a
    label that is missing is None, and ``note`` says so. ``marks`` come in the order of what they mean for a reader.
    """

    threshold: float
    auc: Estimate | None
    sensitivity: Estimate | None
    false_alarm_rate: Estimate | None
    balanced_accuracy: Estimate | None
    brier: Estimate | None
    calibration_error: float | None
    labels: tuple[LabelReadings, ...]
    n: int
    real: int
    fake: int
    correct: int
    groups: int
    cross_groups: int
    marks: tuple[Mark, ...]
    note: str = ""

    @property
    def withholds_ranks(self) -> bool:
        """Whether one of the marks withholds ranks."""
        return any(m.withholds_ranks for m in self.marks)


def detector_accuracy(
    log_odds: Values,
    p_fake: Floats,
    fake: Bools,
    called_fake: Bools,
    *,
    threshold: float = 0.5,
) -> Accuracy:
    """The accuracy of a detector on labelled pictures.

    Parameters
    ----------
    log_odds: ``log(P(fake) / P(real))`` of every picture, with its groups. It tells apart what saturates as P(fake).
    p_fake, fake, called_fake: P(fake), label and verdict of the rows of ``log_odds``, which are sorted by sample id.
    threshold: the P(fake) from which the verdict is fake; only the texts of marks name it.

    Raises ValueError where lengths differ.
    """
    if not len(log_odds) == len(p_fake) == len(fake) == len(called_fake):
        raise ValueError("log_odds, p_fake, fake and called_fake must have the same length")
    design = Design.of(log_odds.groups, log_odds.cross)
    called = log_odds.with_values(called_fake.astype(np.float64))
    both = bool(fake.any()) and not fake.all()
    squares = log_odds.with_values((np.asarray(p_fake, dtype=np.float64) - fake) ** 2)
    measured = Accuracy(
        threshold=threshold,
        auc=auc_interval(log_odds, fake) if both else None,
        sensitivity=proportion_interval(called.where(fake)) if fake.any() else None,
        false_alarm_rate=proportion_interval(called.where(~fake)) if len(fake) and not fake.all() else None,
        balanced_accuracy=balanced_accuracy(called, fake) if both else None,
        brier=mean_interval(squares) if len(squares) else None,
        calibration_error=expected_calibration_error(p_fake, fake) if len(fake) else None,
        labels=_labels(log_odds, p_fake, fake, called_fake),
        n=len(fake),
        real=int((~fake).sum()),
        fake=int(fake.sum()),
        correct=int((fake == called_fake).sum()),
        groups=design.groups if len(fake) else 0,
        cross_groups=design.cross_groups,
        marks=(),
        note="" if both else NEEDS_BOTH,
    )
    return replace(measured, marks=_marks(measured, log_odds)) if both else measured


def balanced_accuracy(called: Values, fake: Bools) -> Estimate:
    """The mean of sensitivity and specificity with its interval; ``called`` is 1 where the verdict is fake.

    The bounds combine those of the two shares (the method of variance estimates recovery: Zou and Donner 2008,
    Statistics in Medicine 27(10)) with the correlation that clusters holding both labels give them.
    """
    hit, alarm = proportion_interval(called.where(fake)), proportion_interval(called.where(~fake))
    value = (hit.value + 1 - alarm.value) / 2
    design = Design.of(called.groups, called.cross)
    found = Estimate(value=value, n=len(called), groups=design.groups, cross_groups=design.cross_groups)
    if hit.low is None or hit.high is None or alarm.low is None or alarm.high is None:
        return replace(found, note=hit.note or alarm.note)
    r = _correlation(called, fake, hit.value, alarm.value)
    low = float(margin(hit.value - hit.low, alarm.high - alarm.value, r))
    high = float(margin(hit.high - hit.value, alarm.value - alarm.low, r))
    return replace(found, low=max(0.0, value - low / 2), high=min(1.0, value + high / 2))


def _correlation(called: Values, fake: Bools, hit: float, alarm: float) -> float:
    """Between sensitivity and specificity, over groups that hold both labels; 0 where one of them does not vary."""
    design = Design.of(called.groups, called.cross)
    group = design.group[design.cell]
    of_fakes = np.bincount(group[fake], weights=called.values[fake] - hit, minlength=design.groups)
    of_reals = np.bincount(group[~fake], weights=alarm - called.values[~fake], minlength=design.groups)
    scale = sqrt(float(of_fakes @ of_fakes) * float(of_reals @ of_reals))
    return float(of_fakes @ of_reals) / scale if scale else 0.0


def expected_calibration_error(p_fake: Floats, fake: Bools) -> float:
    """``sum_b n_b / n |mean P(fake) in b - share of fakes in b|`` over 15 bins of equal width of P(fake).

    Guo, Pleiss, Sun and Weinberger (2017), "On calibration of modern neural networks", ICML, equation 3, of the
    probability of one class rather than of the predicted one. It never averages to 0 on few pictures, however well
    calibrated (Nixon et al. 2019, "Measuring calibration in deep learning", CVPR workshops).
    """
    p = np.asarray(p_fake, dtype=np.float64)
    bins = np.minimum((p * CALIBRATION_BINS).astype(np.intp), CALIBRATION_BINS - 1)
    gaps = np.bincount(bins, weights=p - fake, minlength=CALIBRATION_BINS)
    return float(np.abs(gaps).sum() / len(p))


def _labels(log_odds: Values, p_fake: Floats, fake: Bools, called_fake: Bools) -> tuple[LabelReadings, ...]:
    found = []
    for label, rows in (("fake", fake), ("real", ~fake)):
        if rows.any():
            low, middle, high = np.quantile(np.asarray(p_fake, dtype=np.float64)[rows], [0.25, 0.5, 0.75])
            found.append(
                LabelReadings(
                    label=label,
                    n=int(rows.sum()),
                    groups=len(np.unique(log_odds.groups[rows])),
                    called_fake=int(called_fake[rows].sum()),
                    low_quartile=float(low),
                    median=float(middle),
                    high_quartile=float(high),
                )
            )
    return tuple(found)


# ---- marks ----------------------------------------------------------------------------------------------------------


def _marks(found: Accuracy, log_odds: Values) -> tuple[Mark, ...]:
    """Of data with both labels. What is exact, a constant output or one verdict for all, is said whatever the number of
    groups; what rests on an interval is not claimed where a label has too few of them."""
    few = _too_few(found)
    called = sum(x.called_fake for x in found.labels)
    marks = [Mark(name=NOT_MEASURED, text=few, withholds_ranks=False)] if few else []
    if len(np.unique(log_odds.values)) == 1:
        text = f"gives all {found.n} pictures the same output: it tells nothing (AUC 0.500)"
        marks.append(Mark(name=CONSTANT, text=text, withholds_ranks=not few))
    if called in (0, found.n):
        marks.append(Mark(name=ONE_CLASS, text=_one_verdict(found, fake=called > 0), withholds_ranks=not few))
    if few or any(m.name == CONSTANT for m in marks):
        return tuple(marks)
    of_ranks = _ranking_marks(found)
    return (*marks, *(of_ranks or ([] if marks else _verdict_marks(found))))


def _too_few(found: Accuracy) -> str:
    few = [f"{x.n} {x.label} of {_plural(x.groups, 'group')}" for x in found.labels if x.groups < MINIMUM_GROUPS]
    if few:
        return f"accuracy not measured: {' and '.join(few)}, fewer than {MINIMUM_GROUPS} groups"
    unknown = next((e.note for e in (found.auc, found.sensitivity) if e is not None and e.low is None), "")
    return f"accuracy not measured: {unknown}" if unknown else ""


def _ranking_marks(found: Accuracy) -> list[Mark]:
    auc = found.auc
    assert auc is not None and auc.low is not None and auc.high is not None
    if auc.high < 0.5:
        text = f"the wrong way round: real pictures rank above fakes, {_auc(auc)}; are the classes swapped?"
        return [Mark(name=WRONG_WAY, text=text, withholds_ranks=True)]
    if auc.low <= 0.5:
        text = f"not told from chance: {_auc(auc)} on {found.fake} fake and {found.real} real pictures"
        return [Mark(name=CHANCE, text=text, withholds_ranks=True)]
    return []


def _verdict_marks(found: Accuracy) -> list[Mark]:
    """Verdicts at the threshold, where the AUC is told from chance."""
    balanced = found.balanced_accuracy
    if balanced is None or balanced.low is None or balanced.low > 0.5:
        return []
    fakes, reals = found.labels
    text = (
        f"verdicts at threshold {found.threshold:g} are not told from chance: {reals.called_fake} of "
        f"{reals.n} real pictures are called fake, and {fakes.called_fake} of {fakes.n} fakes"
    )
    return [Mark(name=VERDICTS, text=text, withholds_ranks=True)]


def _one_verdict(found: Accuracy, fake: bool) -> str:
    fakes, reals = found.labels
    others = f"{reals.n} of {reals.n} real ones" if fake else f"{fakes.n} of {fakes.n} fakes"
    verdict = "fake" if fake else "real"
    return f"calls all {found.n} pictures {verdict}: {others} too (threshold {found.threshold:g})"


def _auc(auc: Estimate) -> str:
    return f"AUC {auc.value:.3f} [{auc.low:.3f}, {auc.high:.3f}]"


def _plural(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"
