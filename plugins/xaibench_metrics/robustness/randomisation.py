"""Model-parameter randomisation: does the map change when what the detector learned is taken away?

The derived detectors are :meth:`DifferentiableDetector.randomised` copies of the detector, so this works wherever it
gives gradients: PyTorch models, exported programs and ONNX graphs alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import cast
from weakref import WeakValueDictionary

import numpy as np
from pydantic import Field
from torch import Tensor

from xaibench.api import (
    DifferentiableDetector,
    MapCase,
    Parameters,
    Passes,
    PassQuery,
    Programme,
    Score,
    Scores,
    ScoreSpec,
    Streams,
)
from xaibench_metrics.robustness.similarity import SimilarityKind, similarity
from xaibench_metrics.robustness.views import clean_map, map_of

_BLIND = (
    "it sees whether a map depends on the weights, not whether it is right: noise drawn from the weights scores best"
)

MEAN = ScoreSpec(
    name="parameter-randomisation",
    better="lower",
    low=-1,
    high=1,
    why_not=_BLIND,
    description="mean similarity to the map of the detector randomised from the verdict back, over the steps",
)
EFFICIENT = ScoreSpec(
    name="efficient",
    better="higher",
    low=-1,
    why_not=_BLIND,
    description="relative rise of the entropy of the map's values when all weights are drawn anew",
)
CASCADING = ScoreSpec(
    name="cascading",
    item_form="{layer}",
    better="lower",
    low=-1,
    high=1,
    primary=False,
    why_not=_BLIND,
    description="similarity with this layer and all between it and the verdict drawn anew",
)
INDEPENDENT = ScoreSpec(
    name="independent",
    item_form="{layer}",
    better="lower",
    low=-1,
    high=1,
    primary=False,
    why_not=_BLIND,
    description="similarity with this layer alone drawn anew",
)

BINS = 100

Layers = tuple[str, ...]


class RandomisationParameters(Parameters):
    """Parameters of ``parameter-randomisation``."""

    most: int = Field(10, ge=1, description="layers at which maps are compared, evenly spaced if there are more")
    similarity: SimilarityKind = Field("spearman", description="how maps are compared")
    absolute: bool = Field(True, description="compare |a|, so that a mere change of sign is none")


def stops(layers: int, most: int) -> tuple[int, ...]:
    """How many layers, counted from the verdict, are drawn anew at each step: from 1 to all, evenly spaced."""
    steps = min(layers, most)
    if steps <= 1:
        return (layers,) if layers else ()
    return tuple(1 + i * (layers - 1) // (steps - 1) for i in range(steps))


def cascading_steps(layers: Sequence[str], most: int) -> dict[str, Layers]:
    """The layers drawn anew at each step, the verdict's first, by the layer that the step reaches."""
    backwards = tuple(layers)[::-1]
    return {backwards[n - 1]: backwards[:n] for n in stops(len(backwards), most)}


def independent_steps(layers: Sequence[str], most: int) -> dict[str, Layers]:
    """The same layers one at a time."""
    return {name: (name,) for name in cascading_steps(layers, most)}


def histogram_entropy(saliency: Tensor, bins: int = BINS) -> float:
    """Shannon entropy in nats of the values' histogram with ``bins`` equal bins from the least to the largest."""
    counts, _ = np.histogram(saliency.detach().cpu().double().numpy(), bins=bins)
    shares = counts[counts > 0] / counts.sum()
    return max(0.0, -float((shares * np.log(shares)).sum()))


def entropy_rise(clean: Tensor, randomised: Tensor, bins: int = BINS) -> float | None:
    """``(H(a_rand) - H(a)) / H(a)``; None where H(a) is 0 (all values in one bin, as of a constant map)."""
    before = histogram_entropy(clean, bins)
    return (histogram_entropy(randomised, bins) - before) / before if before > 0 else None


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True)
class Copy:
    """A randomised copy, and the detector that it was made of."""

    parent: DifferentiableDetector
    detector: DifferentiableDetector


class Copies:
    """The randomised copies that somebody is using right now, one object each.

    Batches are mixed by object: with a copy for every picture each batch would hold one picture, and all copies would
    live at once. A copy that is let go is made again, the same to the last bit, when it is asked for.
    """

    def __init__(self) -> None:
        self._used: WeakValueDictionary[tuple[int, Layers, int], Copy] = WeakValueDictionary()

    def get(self, parent: DifferentiableDetector, layers: Layers, streams: Streams) -> Copy:
        # a copy holds its parent, so that the id stays the parent's as long as the copy is there
        key = (id(parent), layers, streams.seed("weights"))
        found = self._used.get(key)
        if found is None:
            found = Copy(parent, parent.randomised(layers, streams.torch("weights")))
            self._used[key] = found
        return found


def shared_streams(case: MapCase) -> Streams:
    """Streams of this metric, seed and repeat that are the same for every picture."""
    seed, repeat, component, *_ = case.streams.key
    return Streams.of(int(seed), int(repeat), component, "")


class ParameterRandomisation:
    """Model-parameter randomisation test (Adebayo et al. 2018) and its efficient form (Hedstroem et al. 2023).

    *Cascading*: layers are drawn anew from the verdict back to the picture, one step adding to the last; *independent*:
    each alone. At each step the item is the layer reached, its value the similarity (Spearman's or SSIM, of ``|a|`` by
    default) of the maps before and after, in [-1, 1]: a map that stays the same does not show what was learned.
    ``parameter-randomisation`` is the mean over the cascading steps, lower = better, in one number; it needs a map at
    every step (a mean over those that happen to have one would favour maps that vanish). ``efficient`` is
    ``(H(a_all) - H(a)) / H(a)`` with all layers drawn anew, H the entropy of 100 equal bins, in [-1, inf), higher =
    better. A step without a map, or with a constant one, is ``undefined``.

    The weights are one draw for all pictures of a run, another in every repeat: repeats, not pictures, tell how much
    the draw matters. An explainer uses the same random masks on every copy, so that only the weights differ.

    Departures: Quantus compares at every layer, starts every layer from one seed, and counts the untouched network into
    ``return_average_correlation``; its efficient form takes ``bins`` from the data unless told (here always 100).
    """

    Parameters = RandomisationParameters
    scores = (MEAN, EFFICIENT, CASCADING, INDEPENDENT)

    def __init__(self, parameters: RandomisationParameters) -> None:
        self.parameters = parameters
        self._copies = Copies()

    def score(self, case: MapCase) -> Programme[Scores]:
        facts, most = case.detector.facts, self.parameters.most
        if "gradients" not in facts.gives:
            return Scores.undefined(self.scores, "the detector's weights cannot be drawn anew")
        if not facts.layers:
            return Scores.undefined(self.scores, "the detector names no layer")
        cascading, independent = cascading_steps(facts.layers, most), independent_steps(facts.layers, most)
        maps: dict[Layers, Tensor | str] = {}
        for layers in dict.fromkeys((*cascading.values(), *independent.values())):
            maps[layers] = yield from self._randomised_map(case, layers)
        items = self._items(case, CASCADING, {name: maps[layers] for name, layers in cascading.items()})
        alone = self._items(case, INDEPENDENT, {name: maps[layers] for name, layers in independent.items()})
        whole = _efficient(clean_map(case), maps[facts.layers[::-1]])
        return Scores((_mean(items), whole, *items, *alone))

    def _randomised_map(self, case: MapCase, layers: Layers) -> Programme[Tensor | str]:
        parent = cast("DifferentiableDetector", case.detector)
        copy = self._copies.get(parent, layers, shared_streams(case))
        return (yield from map_of(case, detector=copy.detector))

    def _items(self, case: MapCase, spec: ScoreSpec, maps: Mapping[str, Tensor | str]) -> list[Score]:
        return [self._item(clean_map(case), spec, layer, other) for layer, other in maps.items()]

    def _item(self, clean: Tensor, spec: ScoreSpec, layer: str, other: Tensor | str) -> Score:
        if isinstance(other, str):
            return Score(name=spec.name, item=layer, status="undefined", reason=f"no map: {other}")
        p = self.parameters
        alike = similarity(clean, other, p.similarity, absolute=p.absolute)
        if isinstance(alike, str):
            return Score(name=spec.name, item=layer, status="undefined", reason=alike)
        return Score(name=spec.name, item=layer, value=alike)

    def passes(self, query: PassQuery) -> Passes:
        """Those of one map for every set of layers drawn anew: twice the steps but one, where both begin alike."""
        layers, most = query.facts.layers, self.parameters.most
        sets = {*cascading_steps(layers, most).values(), *independent_steps(layers, most).values()}
        return query.map.times(len(sets))


def _mean(items: Sequence[Score]) -> Score:
    values = [s.value for s in items if s.value is not None]
    if len(values) == len(items):
        return Score(name=MEAN.name, value=fmean(values))
    first = next(s for s in items if s.value is None)
    reason = f"{len(items) - len(values)} of {len(items)} steps have no value; {first.item}: {first.reason}"
    return Score(name=MEAN.name, status="undefined", reason=reason)


def _efficient(clean: Tensor, randomised: Tensor | str) -> Score:
    if isinstance(randomised, str):
        return Score(name=EFFICIENT.name, status="undefined", reason=f"no map: {randomised}")
    rise = entropy_rise(clean, randomised)
    if rise is None:
        return Score(name=EFFICIENT.name, status="undefined", reason="the map's values have no entropy")
    return Score(name=EFFICIENT.name, value=rise)
