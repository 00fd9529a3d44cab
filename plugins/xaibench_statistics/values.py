"""One value a sample, with the clusters that the sample belongs to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]
Strings = npt.NDArray[np.str_]


@dataclass(frozen=True, slots=True, eq=False)
class Values:
    """One finite value a sample, sorted by sample id. Build it with :meth:`of`.

    ``groups`` is the statistical cluster of every sample, ``cross`` the second crossed factor (the donor of a
    manipulation), empty where a sample has none.
    """

    samples: Strings
    values: Floats
    groups: Strings
    cross: Strings

    @staticmethod
    def of(
        samples: Sequence[str] | Strings,
        values: Sequence[float] | Floats,
        groups: Sequence[str] | Strings | None = None,
        cross: Sequence[str | None] | Strings | None = None,
    ) -> Values:
        """Sort the rows by sample. Without ``groups`` every sample is its own group.

        Raises ValueError where lengths differ, a sample comes twice or a value is not finite.
        """
        ids = np.asarray(samples, dtype=np.str_)
        numbers = np.asarray(values, dtype=np.float64)
        owners = ids if groups is None else np.asarray(groups, dtype=np.str_)
        donors = np.asarray([c or "" for c in (cross if cross is not None else [""] * len(ids))], dtype=np.str_)
        if not len(ids) == len(numbers) == len(owners) == len(donors):
            raise ValueError("samples, values, groups and cross must have the same length")
        order = np.argsort(ids, kind="stable")
        ids, numbers = ids[order], numbers[order]
        if (ids[1:] == ids[:-1]).any():
            raise ValueError("a sample comes twice: average its repeats first")
        if not np.isfinite(numbers).all():
            raise ValueError("a value is not finite: leave undefined samples out")
        return Values(ids, numbers, owners[order], donors[order])

    def __len__(self) -> int:
        return len(self.samples)

    def on(self, samples: Strings) -> Values:
        """The rows of ``samples`` only."""
        return self.where(np.isin(self.samples, samples))

    def where(self, keep: npt.NDArray[np.bool_]) -> Values:
        """The rows where ``keep`` is True."""
        return Values(self.samples[keep], self.values[keep], self.groups[keep], self.cross[keep])

    def with_values(self, values: Floats) -> Values:
        """The same samples with other values."""
        return Values(self.samples, values, self.groups, self.cross)


def common_samples(many: Iterable[Values]) -> Strings:
    """The samples that all of them have, sorted; empty for none."""
    ids = [v.samples for v in many]
    if not ids:
        return np.asarray([], dtype=np.str_)
    return reduce(lambda a, b: np.intersect1d(a, b, assume_unique=True), ids)
