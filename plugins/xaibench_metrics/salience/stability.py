"""Run stability: do independent training runs of one network draw the same maps?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean

import numpy as np
from pydantic import Field
from torch import Tensor

from xaibench.api import Better, MapCase, Passes, PassQuery, Score, Scores, ScoreSpec, SetCase, verdict
from xaibench_metrics.salience.compare import (
    ComparisonParameters,
    Measured,
    as_score,
    compare,
    corrected,
    mean_of,
    shown_map,
)
from xaibench_perturbation import is_constant
from xaibench_statistics import Values, jackknife_variance, people_variance, t_interval

NAME = "run-stability"
Pair = tuple[str, str]
Key = tuple[str, int]
"""A sample and the number of the draw, for explainers that draw several maps of each."""

_WHY = "a map that ignores the detector is the same in every run: the centre prior scores 1"
_BESIDE = "it stands beside the stability and says nothing of where the evidence is"


# corrected 2: no value where the null is above .95; intervals 2 and 3: crossed with people
_VERSIONS = {"corrected": 2, "low": 2, "high": 2, "corrected-low": 3, "corrected-high": 3}


def _spec(name: str, description: str, better: Better = "none", low: float = -1, *, primary: bool = False) -> ScoreSpec:
    version = _VERSIONS.get(name, 1)
    why = _WHY if better == "higher" else _BESIDE
    return ScoreSpec(name=name, better=better, low=low, high=1, version=version, primary=primary, why_not=why,
                     description=description)  # fmt: skip


EACH = ScoreSpec(
    name="each",
    better="none",
    low=-1,
    high=1,
    primary=False,
    ranked=False,
    why_not=_BESIDE,
    item_form="{pair}: {picture}",
    description="similarity of two runs' maps of one picture: a value each pair and picture",
)
SCORES = (
    _spec(NAME, "similarity of two runs' maps of a picture, mean over pictures, then over pairs of runs", "higher",
          primary=True),
    _spec("corrected", "the stability over its null: (s - s0) / (1 - s0)", "higher", float("-inf"), primary=True),
    _spec("null", "similarity by chance: two runs' maps of two pictures of different groups and the same class"),
    _spec("pair", "the stability of one pair of runs, mean over pictures"),
    _spec("picture", "the stability on one picture, mean over pairs of runs"),
    _spec("low", "lower end of the 95 % interval of the stability, by jackknife over runs, crossed with people"),
    _spec("high", "upper end of that interval"),
    _spec("corrected-low", "lower end of the 95 % interval of the corrected stability", low=float("-inf")),
    _spec("corrected-high", "upper end of that interval"),
    _spec("flip", "share of pictures and pairs of runs whose verdicts differ", low=0),
    _spec("class-change", "share of pictures and pairs of runs whose maps speak for different classes", low=0),
    _spec("left-out", "share of pictures and pairs of runs without a value: no map, a constant one, another class",
          low=0),
)  # fmt: skip


class StabilityParameters(ComparisonParameters):
    """Parameters of ``run-stability``; the defaults are the robust form."""

    same_class: bool = Field(
        True, description="compare maps only where both runs explain the same class; else whatever each explains"
    )
    nulls: int = Field(50, ge=1, description="pairs of different pictures that the null of each pair of runs takes")
    each: bool = Field(False, description="keep the value of every picture and pair of runs, as Explain To Me does")


@dataclass(frozen=True, slots=True)
class RunMap:
    """One run's map of one picture in the form of comparison, its class, verdict and the picture's groups."""

    shown: Tensor
    target: int
    verdict: str
    group: str
    cross_group: str | None = None


@dataclass(frozen=True, slots=True)
class PairOfRuns:
    """What two runs came to: likeness on the same pictures and by chance, and what went into it. ``pictures``: the
    likeness on each sample and draw that both have a map of, or why there is none."""

    similarity: Measured
    pictures: Mapping[Key, Measured]
    null: Measured
    compared: int
    flips: int
    class_changes: int
    seen: int


# ---- two runs -------------------------------------------------------------------------------------------------------


def alike(a: RunMap, b: RunMap, parameters: StabilityParameters) -> Measured:
    """Similarity of two runs' maps, symmetric; no value where they explain different classes and that matters."""
    if parameters.same_class and a.target != b.target:
        return "the runs explain different classes"
    return compare(a.shown, b.shown, parameters.similarity, parameters.quantised)


def strangers(
    a: Mapping[Key, RunMap], b: Mapping[Key, RunMap], most: int, generator: np.random.Generator
) -> list[tuple[Key, Key]]:
    """At most ``most`` pairs of pictures that can stand for chance: of different groups, and of one class to each run.

    A picture's own group would be no chance: a fake and its real counterpart show one face.
    """
    shared = sorted(s for s in a if s in b and not is_constant(a[s].shown) and not is_constant(b[s].shown))
    n = len(shared)
    few = n * n <= 100 * most
    codes = generator.permutation(n * n) if few else generator.integers(n * n, size=100 * most)
    found: dict[tuple[Key, Key], None] = {}
    for i, j in ((shared[c // n], shared[c % n]) for c in codes.tolist() if c // n < c % n):
        if len(found) < most and all(r[i].group != r[j].group and r[i].target == r[j].target for r in (a, b)):
            found[i, j] = None
    return list(found)


def by_chance(
    a: Mapping[Key, RunMap],
    b: Mapping[Key, RunMap],
    pairs: Sequence[tuple[Key, Key]],
    parameters: StabilityParameters,
) -> Measured:
    """Mean similarity of one run's map of a picture and the other run's of another picture, both ways round."""
    found = [alike(x, y, parameters) for i, j in pairs for x, y in ((a[i], b[j]), (a[j], b[i]))]
    values = [v for v in found if not isinstance(v, str)]
    if not values:
        return next((v for v in found if isinstance(v, str)), "no two pictures of different groups and one class")
    return fmean(values)


def compared(
    a: Mapping[Key, RunMap], b: Mapping[Key, RunMap], parameters: StabilityParameters, generator: np.random.Generator
) -> PairOfRuns:
    """Everything about two runs."""
    shared = [s for s in sorted(a) if s in b]
    both = [(a[s], b[s]) for s in shared]
    pictures = {s: alike(x, y, parameters) for s, (x, y) in zip(shared, both, strict=True)}
    values = _defined(pictures.values())
    why = next((v for v in pictures.values() if isinstance(v, str)), "no picture has a map of both runs")
    return PairOfRuns(
        similarity=fmean(values) if values else why,
        pictures=pictures,
        null=by_chance(a, b, strangers(a, b, parameters.nulls, generator), parameters),
        compared=len(values),
        flips=sum(x.verdict != y.verdict for x, y in both),
        class_changes=sum(x.target != y.target for x, y in both),
        seen=len(both),
    )


def _defined(values: Iterable[Measured]) -> list[float]:
    return [v for v in values if not isinstance(v, str)]


# ---- all runs -------------------------------------------------------------------------------------------------------


def stability(pairs: Mapping[Pair, PairOfRuns], without: str = "") -> tuple[Measured, Measured]:
    """Mean similarity over pairs of runs, and the corrected one; ``without`` leaves one run out."""
    kept = [p for names, p in pairs.items() if without not in names]
    value = mean_of([p.similarity for p in kept])
    return value, corrected(value, mean_of([p.null for p in kept]))


def on_pictures(pairs: Mapping[Pair, PairOfRuns], people: Mapping[str, tuple[str, str | None]]) -> Values:
    """The mean over pairs of runs, and draws, for every picture that has one."""
    found: dict[str, list[float]] = {}
    for pair in pairs.values():
        for (sample, _), value in pair.pictures.items():
            if not isinstance(value, str):
                found.setdefault(sample, []).append(value)
    groups, cross = [people[s][0] for s in found], [people[s][1] for s in found]
    return Values.of(list(found), [fmean(v) for v in found.values()], groups, cross)


def jackknife(
    leave_one_out: Sequence[Measured], whole: Measured, people: tuple[float, int] | None = None
) -> tuple[Measured, Measured]:
    """95 % interval of a statistic of n runs from its values without each run.

    ``whole -+ t sqrt((n - 1) / n sum (v_r - mean)^2 + V)``: the run is the unit of replication, since pairs that share
    a run are not independent. ``people`` is V, the variance over people, with its degrees of freedom; without it t has
    n - 1 of them.
    """
    if isinstance(whole, str):
        return whole, whole
    n = len(leave_one_out)
    if n < 3:
        reason = f"an interval over runs needs three of them, these are {n}"
        return reason, reason
    reason = next((v for v in leave_one_out if isinstance(v, str)), "")
    if reason:
        return reason, reason
    values = np.array([v for v in leave_one_out if not isinstance(v, str)])
    return t_interval(whole, [(jackknife_variance(values), n - 1), *([people] if people else [])])


class RunStability:
    """Mean similarity between the maps that independent training runs draw of the same picture.

    ``s = mean over pairs of runs a < b of mean over pictures of similarity(M_a(x), M_b(x))`` in [-1, 1], no run with
    itself; higher = the explanation belongs to the task rather than to the seed (Explain To Me: Crum et al., IEEE TAI
    2023, 45 pairs of 10 runs). ``pair`` has an item a pair of runs. ``null``: other pictures *and* other runs, the
    mean over drawn pairs of pictures of different groups whose maps speak for one class (Arun et al., Radiology: AI
    2021, take 50 random pairs); ``corrected`` ``(s - s0) / (1 - s0)``. The run is the unit of replication, so
    intervals are jackknifed over runs, three of which are needed, and crossed with people: the variance of the mean
    over pictures (``picture``, an item a picture), by the clustered bootstrap, is added, with ten groups or more; the
    null is taken as known. With ``each`` there is also the value of every picture and pair of runs. Pictures without a
    map in one of the runs, with a constant one, or explained for different classes are left out of their pair and
    counted in ``left-out``.

    Parameters default to the robust form: float maps before upsampling, Pearson's correlation.
    ``run-stability-explain2me`` is the original: 8-bit maps, scikit-image's SSIM (one window on 7x7 maps), whatever
    class each run explains, and a row a picture with a column a pair of runs (``each``). Its runs differ in the seed
    and in the epoch kept, as far as those given do.
    """

    Parameters = StabilityParameters

    def __init__(self, parameters: StabilityParameters) -> None:
        self.parameters = parameters

    @property
    def scores(self) -> tuple[ScoreSpec, ...]:
        return (*SCORES, EACH) if self.parameters.each else SCORES

    def score(self, case: SetCase) -> Scores:
        names = sorted(case.members)
        if len(names) < 2:
            return Scores.undefined(self.scores, "one run has nothing to be compared with")
        runs = {n: self._run_maps(case.members[n]) for n in names}
        pairs = {
            (a, b): compared(runs[a], runs[b], self.parameters, case.streams.numpy(f"null {a} {b}"))
            for a, b in combinations(names, 2)
        }
        pictures = max(case.asked[n] for n in names)
        people = {s: (m.group, m.cross_group) for run in runs.values() for (s, _), m in run.items()}
        values = (*_stabilities(names, pairs, on_pictures(pairs, people)), *_shares(pairs, pictures))
        return Scores((*values, *each_value(pairs, people)) if self.parameters.each else values)

    def _run_maps(self, cases: Iterable[MapCase]) -> dict[Key, RunMap]:
        found: dict[Key, RunMap] = {}
        seen: Counter[str] = Counter()
        for case in cases:
            sample = case.picture.sample.id
            found[sample, seen[sample]] = self._run_map(case)
            seen[sample] += 1
        return found

    def _run_map(self, case: MapCase) -> RunMap:
        p = self.parameters
        return RunMap(
            shown=shown_map(case.explanation, p.size, p.quantised),
            target=case.target,
            verdict=verdict(case.clean.tolist(), case.detector.facts),
            group=case.picture.sample.group,
            cross_group=case.picture.sample.cross_group,
        )

    def refuses(self, query: PassQuery) -> str:
        """Why maps are too small to be compared, or ``""``."""
        return self.parameters.refuses(query)

    def passes(self, query: PassQuery) -> Passes:
        """None: the maps are there."""
        return Passes()


def _stabilities(names: Sequence[str], pairs: Mapping[Pair, PairOfRuns], pictures: Values) -> tuple[Score, ...]:
    whole, over_null = stability(pairs)
    null = mean_of([p.null for p in pairs.values()])
    people = people_variance(pictures) if len(pictures) else None
    without = [stability(pairs, n) for n in names] if len(names) > 2 else [(whole, over_null)] * len(names)
    low, high = jackknife([w[0] for w in without], whole, people)
    over = None
    if people is not None and not isinstance(null, str) and null < 1:
        over = people[0] / (1 - null) ** 2, people[1]
    corrected_low, corrected_high = jackknife([w[1] for w in without], over_null, over)
    return (
        as_score(NAME, whole),
        as_score("corrected", over_null),
        as_score("null", null),
        *(as_score("pair", p.similarity, f"{a} | {b}") for (a, b), p in pairs.items()),
        *_on_each(pictures),
        as_score("low", _within(low)),
        as_score("high", _within(high)),
        as_score("corrected-low", corrected_low),
        as_score("corrected-high", corrected_high if isinstance(corrected_high, str) else min(1.0, corrected_high)),
    )


def _on_each(pictures: Values) -> Sequence[Score]:
    found = zip(pictures.samples.tolist(), pictures.values.tolist(), strict=True)
    rows = [Score(name="picture", item=sample, value=value) for sample, value in found]
    return rows or [as_score("picture", "no picture has a likeness of two runs")]


def each_value(pairs: Mapping[Pair, PairOfRuns], samples: Iterable[str]) -> Sequence[Score]:
    """A row each pair of runs and picture, the mean over draws; ``samples`` are those that any run has a map of."""
    every, rows = list(samples), []
    for (a, b), pair in pairs.items():
        found: dict[str, list[Measured]] = {}
        for (sample, _), value in pair.pictures.items():
            found.setdefault(sample, []).append(value)
        rows += [as_score(EACH.name, _over_draws(found.get(s, [])), f"{a} | {b}: {s}") for s in every]
    return rows or [as_score(EACH.name, "no picture has a map")]


def _over_draws(values: Sequence[Measured]) -> Measured:
    if not values:
        return "the picture has no map of both runs"
    return fmean(_defined(values)) if _defined(values) else values[0]


def _within(value: Measured) -> Measured:
    return value if isinstance(value, str) else min(1.0, max(-1.0, value))


def _shares(pairs: Mapping[Pair, PairOfRuns], pictures: int) -> tuple[Score, ...]:
    seen = sum(p.seen for p in pairs.values())
    none = "no picture has a map of two runs"
    return (
        as_score("flip", sum(p.flips for p in pairs.values()) / seen if seen else none),
        as_score("class-change", sum(p.class_changes for p in pairs.values()) / seen if seen else none),
        as_score(
            "left-out", 1 - sum(p.compared for p in pairs.values()) / (pictures * len(pairs)) if pictures else none
        ),
    )
