"""The detector's verdict, not its probability, as segments are replaced in the order of the map."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch

from xaibench.api import Curve, MapCase, Passes, PassQuery, Programme, Score, Scores, ScoreSpec
from xaibench_metrics.faithfulness.curves import area, still_called, with_clean
from xaibench_metrics.faithfulness.segment_removal import (
    SegmentOrder,
    SegmentRemovalParameters,
    segment_order,
    segment_probabilities,
)
from xaibench_metrics.faithfulness.ties import in_tie_orders, with_ties

IROF_ACCURACY = ScoreSpec(
    name="irof-accuracy",
    better="lower",
    low=0,
    high=1,
    ranks_evidence=True,
    is_accuracy=True,
    description="area under the verdict (1: still the target's) over the share of segments replaced",
)


class AccuracyUnderSegmentRemoval:
    """Detector accuracy against the share of segments replaced: the column IROF of Gowrisankar & Thing (2024), who
    report accuracies after each intervention and find some *above* the untouched detector's.

    Segments, their order and what replaces them are those of ``irof``, whose passes it shares. Per picture the curve
    ``irof-accuracy`` is 1 where the picture is still called the class that was explained, else 0; its mean over
    pictures is the accuracy at each share (of the class explained: explain the true one, ``target=label``, to have
    accuracy).
    The score is the area under it by trapezoids, in [0, 1]; lower = the verdict hangs on what the map ranks first. A
    map that gives every segment the same and a picture in one segment are ``undefined``.

    The paper's number of segments removed, its fill and its segment count are not available; the defaults are those of
    ``irof`` (Rieger & Hansen 2020).
    """

    Parameters = SegmentRemovalParameters

    def __init__(self, parameters: SegmentRemovalParameters) -> None:
        self.parameters = parameters

    @property
    def scores(self) -> tuple[ScoreSpec, ...]:
        return with_ties((IROF_ACCURACY,), self.parameters.ties)

    def score(self, case: MapCase) -> Programme[Scores]:
        order = yield from segment_order(case, self.parameters)
        if order.reason:
            return Scores.undefined(self.scores, order.reason)
        in_order = partial(self._in_order, case, order)
        scores = yield from in_tie_orders(self.scores, self.parameters.ties, order.tied_share, in_order)
        return scores

    def _in_order(self, case: MapCase, order: SegmentOrder, ties: int) -> Programme[Scores]:
        changed = yield from segment_probabilities(case, self.parameters, order, ties)
        verdicts = still_called(with_clean(case, changed), case.target, case.detector.facts)
        x = torch.tensor(order.shares, dtype=torch.float64)
        value = Score(name=IROF_ACCURACY.name, value=area(x, verdicts))
        return Scores((value,), (Curve(name=IROF_ACCURACY.name, x=order.shares, y=verdicts.tolist()),))

    def accompanied_by(self) -> tuple[str, ...]:
        return self.parameters.accompanied_by()

    def passes(self, query: PassQuery) -> Passes:
        return self.parameters.passes(query)

    def shared(self, query: PassQuery) -> Mapping[str, Passes]:
        return self.parameters.shared(query)
