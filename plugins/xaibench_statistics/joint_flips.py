"""Many one-sided sign-flip tests at once, their p corrected jointly.

The minimum-p method of Westfall and Young (1993), "Resampling-Based Multiple Testing", algorithm 2.5 (single step): the
signs of a group are flipped for all tests together, every flip has a p of each test among all flips, and the corrected
p of a test is the share of flips whose smallest p is no larger. Tests that go together, such as those of readings that
are compared with one reading, are corrected by less than their number, which is what Bonferroni multiplies by.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xaibench_statistics.paired import flip_signs
from xaibench_statistics.values import Floats


def joint_p(blocks: Sequence[Floats], parts: Sequence[float], seed: int) -> tuple[list[Floats], list[Floats]]:
    """p of every test that its sum is no greater than 0, and that it is no less, each corrected over all blocks.

    Parameters
    ----------
    blocks: ``(groups, tests)`` each, whole numbers, so that equal sums are equal to the bit: what the groups add to the
        sums that are tested.
    parts: the part of the error of each block, which its p are divided by; their sum is 1.

    Returns an array ``(tests,)`` a block, for either side.
    """
    above, below = zip(*(_p_of_flips(block, seed) for block in blocks), strict=True)
    return _corrected(above, parts), _corrected(below, parts)


def _corrected(of_flips: Sequence[Floats], parts: Sequence[float]) -> list[Floats]:
    weighted = [p / part for p, part in zip(of_flips, parts, strict=True)]
    smallest = np.sort(np.min([p.min(axis=1) for p in weighted], axis=0))
    return [np.searchsorted(smallest, p[0], side="right") / len(smallest) for p in weighted]


def _p_of_flips(sums: Floats, seed: int) -> tuple[Floats, Floats]:
    """``(flips, tests)``: the share of flips with a sum no less, and no greater, than each; the observed one first."""
    totals = flip_signs(len(sums), seed) @ sums
    if 2 ** len(sums) == len(totals):  # all flips are tried, and that without a flip is among them, last
        totals = totals[:-1]
    totals = np.concatenate([sums.sum(axis=0)[None], totals])
    above, below = np.empty_like(totals), np.empty_like(totals)
    for test, column in enumerate(totals.T):
        _, place, counts = np.unique(column, return_inverse=True, return_counts=True)
        no_greater = np.cumsum(counts)
        below[:, test] = no_greater[place]
        above[:, test] = (len(column) - no_greater + counts)[place]
    return above / len(totals), below / len(totals)
