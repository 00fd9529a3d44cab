"""With the explainer fixed: detectors or families of equal accuracy, ordered by each measure.

Every measure is a mean over training runs. What was chosen beforehand is tested: the measures that are named, or all of
them where that is asked for. Differences are tested by permuting runs and have intervals over runs crossed with people
(:mod:`xaibench_statistics.runs`); one family is *shown* to be better where p, adjusted by Holm over everything that is
tested here, is below .05 and the interval, where people could be counted, excludes 0. A rank is one more than the
number of those shown better, and its interval leaves out the places of those that are shown better or worse. Without a
test there is none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Final

import numpy as np

from xaibench.api import PlanError, UsageError, closest_first
from xaibench_report.boards.leaderboard import ready_cells
from xaibench_report.comparisons.family_values import Cells, FamilyValues, Measure, family_values
from xaibench_report.comparisons.findings import finding
from xaibench_report.comparisons.standings import Contest, DetectorRanking, EqualAccuracy, MeasureRanking, Standing
from xaibench_report.detectors.detector_accuracy import Entrant, accuracy_lines, entrants, equal_classes, pictures_of
from xaibench_report.values.run_values import RunTables, ScoreInfo, encode, family_order, score_name, score_order, short
from xaibench_report.values.score_items import without_item
from xaibench_statistics import (
    SEED,
    Estimate,
    Rank,
    Strings,
    Values,
    holm,
    least_p,
    runs_difference,
    runs_interval,
    runs_needed,
)

LEVEL: Final = 0.05
UNTESTED: Final = (
    "nothing is tested, so that there are no ranks: name the measures that were chosen beforehand (--measure), or test "
    "all of them (--all)"
)


def rank_detectors(
    tables: RunTables,
    info: ScoreInfo,
    *,
    explainer: str | None = None,
    measures: Sequence[str] = (),
    test_all: bool = False,
    correct: bool = False,
    seed: int = SEED,
) -> DetectorRanking:
    """Order the detectors or families of a run.

    Parameters
    ----------
    explainer: keep this one and the measures that need none; None for every explainer that is no control.
    measures: metrics, or scores as ``metric score``, chosen before the values were seen; empty for all primary scores,
        which are tested only with ``test_all``.
    correct: compare all, on the pictures that every run of every one of them calls by their label, whatever their AUC.

    Raises PlanError for fewer than two detectors, and UsageError for an unknown explainer or measure and for both
    ``measures`` and ``test_all``.
    """
    if measures and test_all:
        raise UsageError("all measures are tested, and some are named", "give --measure or --all, not both")
    cells = ready_cells(tables, info)
    datasets = encode(tables.predictions, "dataset").names.tolist()
    found = {d: entrants(tables, d) for d in datasets}
    if not any(len(e) > 1 for e in found.values()):
        raise PlanError(
            _one(found), "evaluate several into one folder: xaibench eval --model A --model B --members all"
        )
    chosen = _measures(cells, info, _explainers(cells, info, explainer), measures)
    tested = bool(measures) or test_all
    classes, notes = [], []
    for dataset, here in found.items():
        able = [e for e in here if e.withheld is None]
        kept = _all_correct(able) if correct and len(able) > 1 else None
        equal = equal_classes(here) if kept is None else (able,)
        on = f"{short(dataset)}: " if len(found) > 1 else ""
        notes += [f"{on}{line}" for line in _who(here, equal, kept)]
        pictures = pictures_of(tables, dataset)
        classes += [_class(dataset, c, chosen, cells, info, kept, pictures, tested, seed) for c in equal]
    adjusted = _adjusted(classes)
    if classes and not tested:
        notes.append(UNTESTED)
    return DetectorRanking(
        entrants=tuple(e for here in found.values() for e in here),
        classes=tuple(adjusted),
        notes=(*notes, *_power(adjusted)),
    )


def _one(found: Mapping[str, Sequence[Entrant]]) -> str:
    names = sorted({short(e.model) for here in found.values() for e in here})
    held = f"one detector or family, {names[0]}" if len(names) == 1 else f"{len(names)} that share no dataset"
    return f"ranking needs two detectors or families; the run holds {held}" if names else "the run has no predictions"


def _all_correct(here: Sequence[Entrant]) -> Strings:
    return np.asarray(sorted(set.intersection(*(set(e.correct) for e in here))), dtype=np.str_)


def _who(here: Sequence[Entrant], equal: Sequence[Sequence[Entrant]], kept: Strings | None) -> list[str]:
    if kept is None:
        return accuracy_lines(here, equal)
    marked = [f"{short(e.model)} is not compared: {e.withheld.text}" for e in here if e.withheld]
    return [f"compared whatever their AUC, on the {len(kept)} pictures that every run calls by their label", *marked]


# ---- what is compared -----------------------------------------------------------------------------------------------


def _explainers(cells: Cells, info: ScoreInfo, wanted: str | None) -> set[str]:
    every = sorted({k.explainer for k in cells if k.explainer})
    if wanted is None:
        return {"", *(e for e in every if info.role(e) == "explainer")}
    named = [e for e in every if wanted in (e, short(e))]
    if not named:
        raise UsageError(
            f"no explainer '{wanted}' in this run", f"explainers: {closest_first(wanted, map(short, every))}"
        )
    return {"", named[0]}


def _measures(cells: Cells, info: ScoreInfo, explainers: set[str], wanted: Sequence[str]) -> list[Measure]:
    every = {Measure(k.explainer, k.metric, k.score) for k in cells if k.score and k.explainer in explainers}
    if not wanted:
        empty = without_item([m[1:] for m in every], info)
        chosen = {m for m in every if info.primary(m.metric, m.score) and m[1:] not in empty}
    else:
        chosen = set().union(*(_named(every, name, info) for name in wanted))
    order = score_order(info)
    return sorted(chosen, key=lambda m: (m.explainer, family_order(info.family(m.metric)), order(m[1:])))


def _named(every: set[Measure], wanted: str, info: ScoreInfo) -> set[Measure]:
    """All measures of a score named in full, or the primary ones of a metric."""
    exact = {m for m in every if wanted in (f"{short(m.metric)} {m.score}", f"{m.metric} {m.score}")}
    of_metric = {m for m in every if wanted in (m.metric, short(m.metric), short(m.metric).partition(":")[0])}
    found = exact or {m for m in of_metric if info.primary(m.metric, m.score)}
    if not found:
        known = sorted({score_name(m.metric, m.score) for m in every if info.primary(m.metric, m.score)})
        raise UsageError(f"no measure '{wanted}' in this run", f"measures: {closest_first(wanted, known)}")
    return found


# ---- one measure ----------------------------------------------------------------------------------------------------


def _class(
    dataset: str,
    compared: Sequence[Entrant],
    chosen: Sequence[Measure],
    cells: Cells,
    info: ScoreInfo,
    kept: Strings | None,
    pictures: Values,
    tested: bool,
    seed: int,
) -> EqualAccuracy:
    models = tuple(e.model for e in compared)
    better = {
        Measure(k.explainer, k.metric, k.score): c.better
        for k, c in cells.items()
        if k.where.dataset == dataset and k.where.model in models
    }
    measures = []
    for measure in (m for m in chosen if m in better):
        values, n = family_values(measure, compared, cells, info, kept, pictures)
        measures.append(
            _ranked(measure, better[measure], n, values, info.limits(measure.metric, measure.score), tested, seed)
        )
    return EqualAccuracy(dataset=dataset, models=models, measures=tuple(measures))


def _within(found: Estimate, limits: tuple[float, float]) -> Estimate:
    if found.low is None or found.high is None:
        return found
    return replace(found, low=max(found.low, limits[0]), high=min(found.high, limits[1]))


def _ranked(
    measure: Measure,
    better: str,
    n: int,
    values: Mapping[str, FamilyValues],
    limits: tuple[float, float],
    tested: bool,
    seed: int,
) -> MeasureRanking:
    known = {m: v.runs for m, v in values.items() if v.runs is not None}
    sign = -1.0 if better == "higher" else 1.0
    order = sorted(known, key=lambda m: (sign * known[m].value, m))
    standings = [
        Standing(
            model=m, runs=known[m].size, estimate=_within(runs_interval(known[m], seed=seed), limits), why=values[m].why
        )
        for m in order
    ]
    standings += [Standing(model=m, runs=0, estimate=None, why=v.why) for m, v in values.items() if m not in known]
    contests = tuple(
        Contest(first=a, second=b, difference=runs_difference(known[a], known[b], seed=seed))
        for a, b in (combinations(order, 2) if tested else ())
    )
    return MeasureRanking(measure=measure, better=better, n=n, standings=tuple(standings), contests=contests)


# ---- all of them ----------------------------------------------------------------------------------------------------


def _adjusted(classes: Sequence[EqualAccuracy]) -> list[EqualAccuracy]:
    """Holm over every test, then who is shown to be better, ranks and sentences."""
    values = [c.difference.p for k in classes for m in k.measures for c in m.contests]
    adjusted, tests = iter(holm(values)), sum(p is not None for p in values)
    return [
        replace(
            k,
            measures=tuple(
                _told(replace(m, contests=tuple(_judged(c, next(adjusted), tests) for c in m.contests)))
                for m in k.measures
            ),
        )
        for k in classes
    ]


def _judged(contest: Contest, p: float | None, tests: int) -> Contest:
    d = replace(contest.difference, p_holm=p)
    if p is None:
        return replace(contest, difference=d)
    held = d.low is not None and d.high is not None and (d.low > 0 or d.high < 0)
    shown = p < LEVEL and (held or not d.people)
    needed = None
    if not shown and d.deviation is not None:
        needed = runs_needed(d.value, d.deviation, tests=tests)
    return replace(contest, difference=d, shown=shown, needed=needed)


def _told(ranking: MeasureRanking) -> MeasureRanking:
    if ranking.better != "none":
        ranking = replace(ranking, standings=tuple(_placed(s, ranking) for s in ranking.standings))
    return replace(ranking, finding=finding(ranking))


def _placed(standing: Standing, ranking: MeasureRanking) -> Standing:
    """Its rank, shared by those not told apart, and the places that the tests leave it; none without a test."""
    mine = [c for c in ranking.contests if standing.model in (c.first, c.second) and c.shown is not None]
    if not mine:
        return standing
    lost = sum(bool(c.shown) and c.second == standing.model for c in mine)
    won = sum(bool(c.shown) and c.first == standing.model for c in mine)
    known = sum(s.estimate is not None for s in ranking.standings)
    return replace(standing, rank=Rank(rank=1 + lost, low=1 + lost, high=known - won))


def _power(classes: Sequence[EqualAccuracy]) -> list[str]:
    """Said where permutations of so few runs cannot reach the level over so many tests."""
    tested = [(c, m) for k in classes for m in k.measures for c in m.contests if c.difference.p is not None]
    permuted = [_least_p(c, m) for c, m in tested if c.difference.deals]
    if not permuted or len(permuted) < len(tested) or min(permuted) * len(tested) < LEVEL:
        return []
    return [
        f"nothing can be significant here: the smallest p of these runs is {min(permuted):.4f}, and Holm multiplies it "
        f"by {len(tested)} comparisons; name fewer measures (--measure) or train more runs"
    ]


def _least_p(contest: Contest, measure: MeasureRanking) -> float:
    runs = {s.model: s.runs for s in measure.standings}
    return least_p(runs[contest.first], runs[contest.second])
