"""Random logit: is the map of another class another map?"""

from __future__ import annotations

import torch
from pydantic import Field

from xaibench.api import MapCase, Parameters, Passes, PassQuery, Programme, Score, Scores, ScoreSpec
from xaibench_metrics.robustness.similarity import SimilarityKind, similarity
from xaibench_metrics.robustness.views import clean_map, map_of

LOGIT = ScoreSpec(
    name="random-logit",
    better="lower",
    low=-1,
    high=1,
    why_not="it sees whether a map depends on the class, not whether it is right",
    description="similarity of the maps for the target and for another class",
)


class RandomLogitParameters(Parameters):
    """Parameters of ``random-logit``."""

    similarity: SimilarityKind = Field("spearman", description="how maps are compared")
    absolute: bool = Field(False, description="compare |a|, so that a mere change of sign is none")


def other_class(target: int, classes: int, generator: torch.Generator) -> int:
    """A class drawn evenly from all but ``target``: of two the other."""
    drawn = int(torch.randint(classes - 1, (1,), generator=generator))
    return drawn + (drawn >= target)


class RandomLogit:
    """Random logit test (Sixt, Granz, Landgraf 2020): similarity of the maps for the target and for another class.

    Spearman's correlation or SSIM in [-1, 1], lower = the map tells classes apart. With two classes it is the other
    one, with more one drawn from the sample's stream.

    A detector of one logit z has the two logits -z/2 and z/2, so a gradient map of the other class is the same with its
    sign turned: -1 if it is signed, 1 if it is not or with ``absolute``, whatever the detector does. For such detectors
    the number says how the method treats signs, no more; it means something where the network has an output for each
    class, and then still less for two classes than for many. A constant or missing map is ``undefined``.

    Departures: Quantus compares flattened maps with a one-dimensional SSIM and draws the class from one global seed.
    """

    Parameters = RandomLogitParameters
    scores = (LOGIT,)

    def __init__(self, parameters: RandomLogitParameters) -> None:
        self.parameters = parameters

    def score(self, case: MapCase) -> Programme[Scores]:
        p, classes = self.parameters, len(case.detector.facts.classes)
        target = other_class(case.target, classes, case.streams.torch("class"))
        other = yield from map_of(case, target=target)
        if isinstance(other, str):
            return Scores.undefined(self.scores, f"no map of the other class: {other}")
        alike = similarity(clean_map(case), other, p.similarity, absolute=p.absolute)
        if isinstance(alike, str):
            return Scores.undefined(self.scores, alike)
        return Scores((Score(name=LOGIT.name, value=alike),))

    def passes(self, query: PassQuery) -> Passes:
        """Those of one map."""
        return query.map
