"""Accuracy and AUC of a detector on pictures that its own maps degraded: two numbers for a whole set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from pydantic import Field

from xaibench.api import (
    MapCase,
    Parameters,
    Passes,
    PassQuery,
    Programme,
    Score,
    Scores,
    ScoreSpec,
    SetCase,
    Together,
    log_odds,
    verdict,
)
from xaibench_metrics.salience.blur import MODES, Array
from xaibench_metrics.salience.compare import Measured, as_score
from xaibench_metrics.salience.degradation import DegradationParameters, GuidedDegradation, degraded_views
from xaibench_metrics.salience.responses import ClassRule, clean_map, forwarded, response_passes, shown_under
from xaibench_perturbation import CHUNK
from xaibench_statistics import roc_auc

UNTOUCHED = "untouched"
RANDOM = "random"
ITEMS = (UNTOUCHED, *MODES, *(f"{RANDOM}-{mode}" for mode in MODES))

_BESIDE = "it says how good the detector is on changed pictures; the contrast says whether the map is to blame"
_ONE_CLASS = "AUC needs both real and fake pictures"


def _beside(name: str, description: str, item_form: str = "") -> ScoreSpec:
    return ScoreSpec(
        name=name,
        better="none",
        low=0,
        high=1,
        primary=False,
        why_not=_BESIDE,
        item_form=item_form,
        description=description,
    )


SCORES = (
    ScoreSpec(
        name="accuracy-contrast",
        better="higher",
        low=-1,
        high=1,
        ranks_evidence=True,
        description="accuracy with the background blurred, less accuracy with what is salient blurred",
    ),
    ScoreSpec(
        name="auc-contrast",
        better="higher",
        low=-1,
        high=1,
        why_not="pictures of one label have no AUC; accuracy-contrast ranks the evidence on any",
        description="AUC with the background blurred, less AUC with what is salient blurred",
    ),
    _beside("accuracy", "share of pictures that are called by their label, untouched or degraded", "{pictures}"),
    _beside("auc", "AUC of the log-odds on the same pictures", "{pictures}"),
    _beside("left-out", "share of the maps asked for whose pictures are in no number: no map, a constant one"),
)


class DegradedParameters(Parameters):
    """Parameters of ``degraded-accuracy``; the defaults are the robust form."""

    class_rule: ClassRule = Field(
        "clean", description="whose map degrades: that of the class of the run, or of the picture's own likeliest class"
    )
    quantised: bool = Field(False, description="8-bit maps and pictures instead of floats, as Explain To Me has them")
    matched: bool = Field(True, description="rank the map, so that every map and both modes blur the same area")
    blur: float = Field(10.0, gt=0, description="largest sigma in pixels, for a shorter side of 224")
    smooth: float = Field(5.0, ge=0, description="sigma that smooths the map, in pixels, for a shorter side of 224")
    scaled: bool = Field(True, description="both sigmas grow with the picture's shorter side; else they are in pixels")


@dataclass(frozen=True, slots=True)
class Reading:
    """What the detector says of one picture in each state: log-odds of *fake*, and whether the verdict is right."""

    fake: bool
    odds: Mapping[str, float]
    right: Mapping[str, bool]


def accuracy(readings: Sequence[Reading], state: str) -> Measured:
    """Share of pictures called by their label."""
    if not readings:
        return "no picture was degraded"
    return sum(r.right[state] for r in readings) / len(readings)


def auc(readings: Sequence[Reading], state: str) -> Measured:
    """The chance that a fake has larger log-odds than a real picture."""
    fake, real = (np.array([r.odds[state] for r in readings if r.fake == label]) for label in (True, False))
    return roc_auc(fake, real) if len(fake) and len(real) else _ONE_CLASS


def difference(one: Measured, other: Measured) -> Measured:
    """One less the other, or why one of them is missing."""
    reason = next((v for v in (one, other) if isinstance(v, str)), None)
    if reason is not None:
        return reason
    assert not isinstance(one, str) and not isinstance(other, str)
    return one - other


class DegradedAccuracy:
    """Accuracy and AUC on pictures blurred where their maps are high (``object``) or low (``background``).

    The second half of Explain To Me's salience-guided degradation (Crum et al., IEEE TAI 2023), which scores the
    degraded sets with the plain scoring script. Blur and levels are those of ``guided-degradation``. Items of
    ``accuracy`` and ``auc``: ``untouched``, the two modes, and ``random-object`` and ``random-background``, the blur of
    the same levels arranged by a smooth random map. All are of the same pictures, those that have a map that is not
    constant. ``accuracy-contrast = accuracy(background) - accuracy(object)`` in [-1, 1], ``auc-contrast`` likewise;
    higher = the detector hangs on what its maps mark.

    Accuracy is at the card's threshold, AUC that of the log-odds. With the maps' own areas (``matched=false``, as
    published) a sparse map blurs most of the picture as background: read the random items beside it. The passes are
    taken anew where ``guided-degradation`` is scored in the same run, since a set is scored when its maps are there.
    """

    Parameters = DegradedParameters
    scores = SCORES

    def __init__(self, parameters: DegradedParameters) -> None:
        self.parameters = parameters
        self._degradation = GuidedDegradation(DegradationParameters(**{**parameters.model_dump(), "controls": 1}))

    def score(self, case: SetCase) -> Programme[Scores]:
        ((name, cases),) = case.members.items()
        readings: list[Reading] = []
        remaining = iter(cases)
        while chunk := list(islice(remaining, CHUNK)):
            found = yield Together([self._reading(one) for one in chunk])
            readings += [r for r in found if r is not None]
        return Scores(tuple(self._rows(readings, case.asked[name])))

    def _reading(self, case: MapCase) -> Programme[Reading | None]:
        """None where the picture has no map that is not constant."""
        clean = yield from clean_map(case, self.parameters.class_rule)
        plan = clean if isinstance(clean, str) else self._degradation.plan(case, clean)
        if isinstance(plan, str):
            return None
        states: dict[str, Array] = {mode: plan.levels["", mode] for mode in MODES}
        states |= {f"{RANDOM}-{mode}": plan.levels["random-0", mode] for mode in MODES}
        image = case.picture.image
        largest = self._degradation.largest(image)
        fields = list(states.values())
        views = degraded_views(image, fields, largest, self.parameters.quantised, case.detector.device)
        rows = yield from forwarded(shown_under(case, views))
        probabilities = {UNTOUCHED: case.clean.tolist(), **dict(zip(states, rows.tolist(), strict=True))}
        facts, label = case.detector.facts, case.picture.sample.label
        return Reading(
            label == "fake",
            {state: log_odds(row, facts) for state, row in probabilities.items()},
            {state: verdict(row, facts) == label for state, row in probabilities.items()},
        )

    def _rows(self, readings: Sequence[Reading], asked: int) -> Iterator[Score]:
        for name, of in (("accuracy", accuracy), ("auc", auc)):
            yield as_score(f"{name}-contrast", difference(of(readings, "background"), of(readings, "object")))
            yield from (as_score(name, of(readings, state), state) for state in ITEMS)
        yield as_score("left-out", 1 - len(readings) / asked if asked else "no map was asked for")

    def passes(self, query: PassQuery) -> Passes:
        """Two pictures for the map and two for the control; exact where the map and the class rule let it."""
        return response_passes(query, 4, 0, self.parameters.class_rule)
