"""Whether another reading of a detector's card is more accurate on the same pictures, and that by more than chance.

**Test.** Two readings that are equally good may be exchanged on every group of pictures. Each reading's log-odds become
ranks, since readings differ in scale, and the test exchanges the two readings of whole groups at random: the
permutation test of Bandos, Rockette and Gur (2005), "A permutation test sensitive to differences in areas for comparing
ROC curves from a paired design", Statistics in Medicine 24(18), by cluster. The difference of two AUCs is linear in the
exchanges (see :func:`_auc_shares`), as that of two balanced accuracies is, so 20,000 exchanges are one product of
matrices. p is one-sided and corrected jointly for all readings and both measures
(:func:`xaibench_statistics.joint_flips.joint_p`): four fifths of the error are for the AUC, one fifth for balanced
accuracy, whose gains are large where a threshold is wrong. A reading counts with its opposite, in which real and fake
change places, since that may be tried too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from xaibench_statistics.auc import auc_influence
from xaibench_statistics.bootstrap import LEVEL, MINIMUM_GROUPS, SEED, Design, clustered_variance
from xaibench_statistics.joint_flips import joint_p
from xaibench_statistics.values import Floats, Strings, Values

Bools = npt.NDArray[np.bool_]
ALPHA: Final = 0.05
AREA_PART: Final = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """Other reading minus own, of one measure. ``low`` and ``high``: the 95 % interval, clustered by group and not
    corrected for the other readings. ``p``: that it gains nothing, corrected; ``p_loss``: that it loses nothing."""

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


def accuracy_gains(
    own: Values, own_called: Bools, others: Sequence[tuple[Values, Bools]], fake: Bools, *, seed: int = SEED
) -> tuple[AccuracyGain, ...]:
    """Compare other readings with the card's own.

    Parameters
    ----------
    own, own_called: log-odds of pictures with their groups, and whether each is called fake.
    others: the same of every other reading that was tried.
    fake: the labels of the rows, which are sorted by sample id.

    Raises ValueError where two readings are not of the same pictures.
    """
    if any(not np.array_equal(own.samples, values.samples) for values, _ in others):
        raise ValueError("the two readings are of different pictures")
    fewest = min(len(np.unique(own.groups[rows])) for rows in (fake, ~fake))
    note = Design.of(own.groups, own.cross).too_few()
    if note or fewest < MINIMUM_GROUPS:
        few = f"a label has {fewest} groups, fewer than {MINIMUM_GROUPS}"
        return (AccuracyGain(auc=None, balanced_accuracy=None, better_by="", note=note or few),) * len(others)
    if not others:
        return ()
    with_opposites = [*others, *((values.with_values(-values.values), ~called) for values, called in others)]
    areas = [_auc_shares(own.values, values.values, fake) for values, _ in with_opposites]
    verdicts = [_verdict_shares(own_called, called, fake) for _, called in with_opposites]
    gains, losses = _corrected(own, [np.stack(areas, axis=1), np.stack(verdicts, axis=1)], fake, seed)
    influence = auc_influence(own.values, fake)
    return tuple(
        _told(
            _gain(own, areas[i], auc_influence(values.values, fake) - influence, gains[0][i], losses[0][i]),
            _gain(own, verdicts[i], _centred(verdicts[i], fake), gains[1][i], losses[1][i]),
        )
        for i, (values, _) in enumerate(others)
    )


def _told(area: Gain, balanced: Gain) -> AccuracyGain:
    better: Literal["AUC", "balanced accuracy", ""] = ""
    if area.p < ALPHA:
        better = "AUC"
    elif balanced.p < ALPHA and area.p_loss >= ALPHA:
        better = "balanced accuracy"
    return AccuracyGain(auc=area, balanced_accuracy=balanced, better_by=better)


def _corrected(pictures: Values, shares: Sequence[Floats], fake: Bools, seed: int) -> tuple[list[Floats], list[Floats]]:
    """p of every reading by the AUC and by balanced accuracy, of gains and of losses.

    ``shares``: ``(pictures, readings)`` of each measure, which are whole numbers once multiplied by the pairs of a fake
    and a real picture, and by 4. Of two factors that which tells less decides.
    """
    whole = [np.rint(of * (4 * fake.sum() * (~fake).sum())) for of in shares]
    factors = [pictures.groups]
    if Design.of(pictures.groups, pictures.cross).cross_groups:
        factors.append(_donors(pictures))
    sides = zip(
        *(joint_p([_sums(f, of) for of in whole], (AREA_PART, 1 - AREA_PART), seed) for f in factors), strict=True
    )
    gains, losses = ([np.max(p, axis=0) for p in zip(*side, strict=True)] for side in sides)
    return gains, losses


def _gain(pictures: Values, shares: Floats, influence: Floats, p: float, p_loss: float) -> Gain:
    """``shares``: what every picture adds to the difference; exchanging its readings turns the sign of its share."""
    value = float(shares.sum())
    design = Design.of(pictures.groups, pictures.cross)
    t = float(stdtrit(design.smallest - 1, (1 + LEVEL) / 2))
    half = t * sqrt(clustered_variance(design, influence))
    low, high = max(-1.0, value - half), min(1.0, value + half)
    return Gain(value=value, low=low, high=high, p=float(p), p_loss=float(p_loss))


def _donors(pictures: Values) -> Strings:
    """The second factor; a picture without one is exchanged with its own group."""
    return np.where(pictures.cross == "", np.char.add("group ", pictures.groups), np.char.add("donor ", pictures.cross))


def _sums(levels: Strings, shares: Floats) -> Floats:
    """``(levels, readings)`` of shares ``(pictures, readings)``."""
    names, level = np.unique(levels, return_inverse=True)
    sums = np.zeros((len(names), shares.shape[1]))
    np.add.at(sums, level, shares)
    return sums


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
