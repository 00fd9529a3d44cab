"""Whether another reading of a detector's card is more accurate on the same pictures, and that by more than chance.

**Test.** Two readings that are equally good may be exchanged on every group of pictures. Each reading's log-odds become
ranks, since readings differ in scale, and the test exchanges the two readings of whole groups at random: the
permutation test of Bandos, Rockette and Gur (2005), "A permutation test sensitive to differences in areas for comparing
ROC curves from a paired design", Statistics in Medicine 24(18), by cluster. The difference of two AUCs is linear in the
exchanges (see :func:`_auc_shares`), as that of two balanced accuracies is, so 20,000 exchanges are one product of
matrices. p is one-sided, ``(1 + hits) / (1 + exchanges)``, and multiplied by the number of readings tried over the
measure's part of the error: four fifths for the AUC, one fifth for balanced accuracy, whose gains are large where a
threshold is wrong (a weighted Bonferroni correction).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from xaibench_statistics.auc import auc_influence
from xaibench_statistics.bootstrap import LEVEL, MINIMUM_GROUPS, SEED, Design, clustered_variance
from xaibench_statistics.paired import flip_p
from xaibench_statistics.values import Floats, Strings, Values

Bools = npt.NDArray[np.bool_]
ALPHA: Final = 0.05
AREA_PART: Final = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """Other reading minus own, of one measure. ``low`` and ``high``: the 95 % interval, clustered by group and not
    corrected for the number of readings. ``p``: that it gains nothing, corrected; ``p_loss``: that it loses nothing."""

    value: float
    low: float
    high: float
    p: float
    p_loss: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyGain:
    """What another reading gains on the same pictures.

    ``better_by``: the measure by which it is told better; balanced accuracy only where the AUC is not told worse, and
    empty where none is. The measures are None where a label has too few groups, and ``note`` says so.
    """

    auc: Gain | None
    balanced_accuracy: Gain | None
    better_by: Literal["AUC", "balanced accuracy", ""]
    note: str = ""


def accuracy_gain(
    own: Values, other: Values, fake: Bools, own_called: Bools, other_called: Bools, *, tries: int, seed: int = SEED
) -> AccuracyGain:
    """Compare another reading with the card's own.

    Parameters
    ----------
    own, other: log-odds of the same pictures under both readings, with their groups.
    fake, own_called, other_called: label and verdicts of the rows of ``own``, which are sorted by sample id.
    tries: how many readings are compared with the card's own.

    Raises ValueError where the two readings are not of the same pictures.
    """
    if not np.array_equal(own.samples, other.samples):
        raise ValueError("the two readings are of different pictures")
    fewest = min(len(np.unique(own.groups[rows])) for rows in (fake, ~fake))
    note = Design.of(own.groups, own.cross).too_few()
    if note or fewest < MINIMUM_GROUPS:
        few = f"a label has {fewest} groups, fewer than {MINIMUM_GROUPS}"
        return AccuracyGain(auc=None, balanced_accuracy=None, better_by="", note=note or few)
    area = _gain(
        own, _auc_shares(own.values, other.values, fake),
        auc_influence(other.values, fake) - auc_influence(own.values, fake), tries / AREA_PART, seed,
    )  # fmt: skip
    shares = _verdict_shares(own_called, other_called, fake)
    balanced = _gain(own, shares, _centred(shares, fake), tries / (1 - AREA_PART), seed)
    better: Literal["AUC", "balanced accuracy", ""] = ""
    if area.p < ALPHA:
        better = "AUC"
    elif balanced.p < ALPHA and area.p_loss >= ALPHA:
        better = "balanced accuracy"
    return AccuracyGain(auc=area, balanced_accuracy=balanced, better_by=better)


def _gain(pictures: Values, shares: Floats, influence: Floats, tests: float, seed: int) -> Gain:
    """``shares``: what every picture adds to the difference; exchanging its readings turns the sign of its share."""
    value = float(shares.sum())
    design = Design.of(pictures.groups, pictures.cross)
    t = float(stdtrit(design.smallest - 1, (1 + LEVEL) / 2))
    half = t * sqrt(clustered_variance(design, influence))
    factors = [pictures.groups]
    if design.cross_groups:
        factors.append(_donors(pictures))
    gains, losses = zip(*(flip_p(_sums(f, shares), seed) for f in factors), strict=True)
    return Gain(
        value=value,
        low=max(-1.0, value - half),
        high=min(1.0, value + half),
        p=min(1.0, tests * max(gains)),
        p_loss=min(1.0, tests * max(losses)),
    )


def _donors(pictures: Values) -> Strings:
    """The second factor; a picture without one is exchanged with its own group."""
    return np.where(pictures.cross == "", np.char.add("group ", pictures.groups), np.char.add("donor ", pictures.cross))


def _sums(levels: Strings, shares: Floats) -> Floats:
    _, level = np.unique(levels, return_inverse=True)
    return np.asarray(np.bincount(level, weights=shares), dtype=np.float64)


def _auc_shares(own: Floats, other: Floats, fake: Bools) -> Floats:
    """The difference of AUCs, other minus own, as a sum over pictures that exchanges of readings turn the sign of.

    With ``psi(x, y)`` 1, 1/2 or 0 for a fake's rank above, at or below a real picture's, ``x'`` and ``y'`` being the
    other reading's ranks, exchanging some pictures leaves of the difference the terms that are odd in the signs: a
    fake's share is the mean over real pictures of ``(psi(x', y') + psi(x', y) - psi(x, y') - psi(x, y)) / 2``, over the
    number of fakes, and a real picture's is that with y in the place of x.
    """
    x, y = _ranks(own), _ranks(other)
    m, n = int(fake.sum()), int((~fake).sum())
    both = [[_above(a[fake], b[~fake]) for b in (x, y)] for a in (x, y)]
    shares = np.empty(len(own))
    shares[fake] = (both[1][1] + both[1][0] - both[0][1] - both[0][0]).sum(axis=1) / (2 * m * n)
    shares[~fake] = (both[1][1] - both[1][0] + both[0][1] - both[0][0]).sum(axis=0) / (2 * m * n)
    return shares


def _above(fakes: Floats, reals: Floats) -> Floats:
    wins: Floats = (np.sign(fakes[:, None] - reals[None, :]) + 1) / 2
    return wins


def _ranks(values: Floats) -> Floats:
    """Midranks."""
    ordered = np.sort(values)
    return (np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")) / 2


def _verdict_shares(own: Bools, other: Bools, fake: Bools) -> Floats:
    """The difference of balanced accuracies as a sum over pictures."""
    change = other.astype(np.float64) - own.astype(np.float64)
    return np.asarray(np.where(fake, change / (2 * fake.sum()), -change / (2 * (~fake).sum())))


def _centred(shares: Floats, fake: Bools) -> Floats:
    return np.asarray(np.where(fake, shares - shares[fake].mean(), shares - shares[~fake].mean()))
