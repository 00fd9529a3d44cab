"""An explainer and a control on the samples that both have, as they are judged."""

from __future__ import annotations

from dataclasses import dataclass

from xaibench_report.judgement.manipulation_methods import even_pair
from xaibench_report.judgement.tie_spread import margin
from xaibench_report.values.run_values import CellValues
from xaibench_statistics import Difference, Values, common_samples, paired_difference


@dataclass(frozen=True, slots=True, eq=False)
class OrientedPair:
    """Two explainers on their common samples.

    ``delta`` is their difference on these, every manipulation method weighing alike, positive where the first is
    better. ``margin``: how far ties alone move either mean.
    """

    mine: CellValues
    theirs: CellValues
    delta: Values
    margin: float

    @classmethod
    def of(
        cls,
        mine: CellValues,
        theirs: CellValues,
        better: str,
        spreads: tuple[CellValues | None, CellValues | None],
    ) -> OrientedPair:
        """The pair under a score that improves upwards or downwards (``better``), with the ``spreads`` of its ties."""
        a, b = even_pair(mine, theirs)
        samples = common_samples([a, b])
        first = a.on(samples)
        sign = 1.0 if better == "higher" else -1.0
        delta = first.with_values(sign * (first.values - b.on(samples).values))
        return cls(mine, theirs, delta, max(margin(spread, samples) for spread in spreads))

    def difference(self) -> Difference:
        """First minus second as it is shown: in the score's own direction, uncorrected."""
        methods = self.mine.methods
        return paired_difference(self.mine.values, self.theirs.values, strata=methods, test=False)
