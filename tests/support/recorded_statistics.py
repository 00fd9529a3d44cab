"""Figures of every statistic on fixed data, so that a change of any of them is seen.

They are a record, no proof: that intervals cover and tests keep their level is simulated in ``benchmarks/``, and exact
values stand in ``tests/plugins/xaibench_statistics``. A change that is meant renews the record, whose difference is then
read before it is committed::

    python -m tests.support.recorded_statistics
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xaibench_statistics import (
    AxisFigures,
    Runs,
    Values,
    accuracy_gains,
    auc_interval,
    balance,
    balanced_accuracy,
    censored_median,
    detectable_difference,
    detector_accuracy,
    expected_calibration_error,
    gap_between,
    groups_needed,
    judge_against_controls,
    least_p,
    macro_interval,
    mean_auc_interval,
    mean_interval,
    paired_difference,
    people_variance,
    proportion_interval,
    rank_explainers,
    runs_difference,
    runs_interval,
)

RECORD = Path(__file__).parent / "data" / "recorded_statistics.json"
SIZES = {"ten": [1] * 10, "unequal": [1, 2, 3, 4, 5] * 3 + [2, 3], "fifty": [4] * 50}
CHANCE = AxisFigures(odc=0.8, axis_auc=0.55, diagonal_share=0.1)
FEW = 400
"""Resamples: the figures need not be precise, only the same."""


def draw(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


def values(numbers: Sequence[float] | np.ndarray[Any, Any], sizes: Sequence[int]) -> Values:
    """Numbers in groups of ``sizes``, samples in order."""
    groups = np.repeat(np.arange(len(sizes)), sizes)
    ids = [f"s{i:04d}" for i in range(len(groups))]
    return Values.of(ids, list(map(float, numbers)), [f"g{g:03d}" for g in groups])


def crossed(numbers: np.ndarray[Any, Any], targets: int, donors: int, every: int = 1) -> Values:
    """Numbers of every ``every``-th pair of a target and a donor."""
    pairs = [(t, d) for t in range(targets) for d in range(donors)][::every]
    ids = [f"{t:02d}-{d:02d}" for t, d in pairs]
    return Values.of(
        ids, list(map(float, numbers[: len(pairs)])), [f"t{t}" for t, _ in pairs], [f"d{d}" for _, d in pairs]
    )


def samples() -> Iterator[tuple[str, Values]]:
    """Values of several kinds in several designs."""
    for i, (size, sizes) in enumerate(SIZES.items()):
        n, k, generator = sum(sizes), len(sizes), draw(i)
        people = np.repeat(generator.normal(size=k), sizes)
        normal = people + generator.normal(size=n)
        yield f"normal {size}", values(normal, sizes)
        yield f"lognormal {size}", values(np.exp(normal), sizes)
        yield f"heavy tails {size}", values(normal**3, sizes)
        yield f"half right {size}", values(normal > 0, sizes)
        yield f"most right {size}", values(normal > -1.8, sizes)
        yield f"all right {size}", values(np.ones(n), sizes)
        yield f"none right {size}", values(np.zeros(n), sizes)
        yield f"equal {size}", values(np.full(n, 0.25), sizes)
        yield f"shares {size}", values(1 / (1 + np.exp(-normal)), sizes)
        yield f"signs {size}", values(np.sign(np.round(normal)), sizes)
    numbers = draw(9).normal(size=400)
    yield "crossed", crossed(numbers, 12, 11)
    yield "crossed in part", crossed(numbers > 0.3, 20, 20, 3)


def intervals() -> Iterator[tuple[str, Any]]:
    for name, sample in samples():
        strata = np.array(["abcd"[i % 4] for i in range(len(sample))])
        yield f"mean, {name}", mean_interval(sample)
        yield f"macro mean, {name}", macro_interval(sample, strata)
        if set(sample.values.tolist()) <= {0.0, 1.0}:
            yield f"proportion, {name}", proportion_interval(sample)


def comparisons() -> Iterator[tuple[str, Any]]:
    every = dict(samples())
    for name, sample in every.items():
        other = sample.with_values(sample.values[::-1] * 0.5)
        yield f"difference, {name}", paired_difference(sample, other, resamples=FEW)
    strata = np.array(["ab"[i % 2] for i in range(200)])
    fifty = every["normal fifty"]
    shifted = fifty.with_values(fifty.values * 0.3 + 0.2)
    yield "difference by strata", paired_difference(fifty, shifted, strata=strata, resamples=FEW)
    for name in ("half right fifty", "shares fifty", "normal unequal"):
        first, second = (every[name].where(np.arange(len(every[name])) % 2 == i) for i in (0, 1))
        second = second.with_values(second.values * 0.5)
        parts = {"a": first, "b": second}
        yield f"gap, {name}", gap_between(parts, {k: mean_interval(v) for k, v in parts.items()})
    explainers = {
        f"e{i}": fifty.with_values(fifty.values * 0.2 + 0.11 * i + draw(i).normal(size=200) * 0.2) for i in range(5)
    }
    explainers["short"] = explainers["e0"].where(np.arange(200) < 60)
    for better in ("higher", "lower"):
        yield f"ranks, {better}", rank_explainers(explainers, better, margins={"e1": 0.2}, resamples=FEW)  # type: ignore[arg-type]
    few = {k: v.where(np.arange(200) < 12) for k, v in explainers.items() if k != "short"}
    yield "ranks of three groups", rank_explainers(few, "higher", resamples=FEW)
    deltas = {
        (e, score): {
            c: fifty.with_values(draw(20 + 10 * i + j).normal(size=200) + 0.35 * i - 0.2 * j)
            for j, c in enumerate("xyz")
        }
        for i, e in enumerate(("bad", "level", "good", "best"), -1)
        for score in ("one", "two")
    }
    yield "controls", judge_against_controls(deltas, resamples=FEW)
    margins = {key: {"x": 0.9} for key in deltas}
    yield from crossed_comparisons()
    yield "controls beyond ties", judge_against_controls(deltas, margins=margins, resamples=FEW)


def crossed_comparisons() -> Iterator[tuple[str, Any]]:
    """Ranks, verdicts and gains on targets and donors, some pictures without a donor."""
    numbers = draw(70).normal(size=(8, 400))
    full = crossed(numbers[0], 15, 14)
    cross = [d if i % 5 else None for i, d in enumerate(full.cross)]
    part = Values.of(full.samples.tolist(), full.values.tolist(), full.groups.tolist(), cross)
    for name, design in (("full", full), ("some donors", part)):
        n = len(design)
        yield f"crossed mean, {name}", mean_interval(design)
        rows = {f"e{i}": design.with_values(numbers[i, :n] * 0.5 + 0.1 * i) for i in range(4)}
        yield f"crossed ranks, {name}", rank_explainers(rows, "lower", margins={"e2": 0.05}, resamples=FEW)
        deltas = {(e, "s"): {c: v.with_values(v.values + 0.1 * j) for j, c in enumerate("xy")} for e, v in rows.items()}
        yield f"crossed controls, {name}", judge_against_controls(deltas, resamples=FEW)
        fake = np.arange(n) % 2 == 0
        odds = [design.with_values(numbers[4 + i, :n] + (2 * fake - 1) * 0.3 * (i + 1)) for i in range(3)]
        readings = [(v, v.values > 0) for v in odds]
        yield f"crossed gains, {name}", accuracy_gains(*readings[0], readings[1:], fake)
        yield f"crossed AUC, {name}", auc_interval(odds[2], fake)
        yield (
            f"crossed accuracy, {name}",
            detector_accuracy(odds[2], 1 / (1 + np.exp(-odds[2].values)), fake, odds[2].values > 0),
        )


def detectors() -> Iterator[tuple[str, Any]]:
    for name, shift in (("good", 2.5), ("weak", 0.4), ("wrong way", -1.5), ("perfect", 30.0)):
        for size, sizes in SIZES.items():
            n = sum(sizes)
            fake = np.arange(n) % 2 == 1
            odds = draw(n).normal(size=n) + shift * (2 * fake - 1)
            sample, p = values(odds, sizes), 1 / (1 + np.exp(-odds))
            called = p > 0.5
            yield f"accuracy, {name} {size}", detector_accuracy(sample, p, fake, called)
            yield f"AUC, {name} {size}", auc_interval(sample, fake)
            yield f"balanced, {name} {size}", balanced_accuracy(sample.with_values(called.astype(float)), fake)
            yield f"calibration, {name} {size}", expected_calibration_error(p, fake)
            other = values(odds + draw(n + 1).normal(size=n), sizes)
            yield f"mean AUC, {name} {size}", mean_auc_interval([sample, other], fake)
            yield f"gain, {name} {size}", accuracy_gains(other, other.values > 0, [(sample, called)], fake)
    n, sizes = 40, [1] * 40
    fake = np.arange(n) % 4 == 1
    for name, odds in (("all fake", np.full(n, 2.0)), ("all real", draw(1).normal(size=n) - 9)):
        yield f"accuracy, {name}", detector_accuracy(values(odds, sizes), 1 / (1 + np.exp(-odds)), fake, odds > 0)


def families() -> Iterator[tuple[str, Any]]:
    first, second = Runs.of_values([0.6, 0.72, 0.65, 0.7, 0.61]), Runs.of_values([0.5, 0.55, 0.48, 0.6, 0.52, 0.57])
    yield "runs", runs_interval(first)
    yield "difference of runs", runs_difference(first, second)
    sizes = SIZES["unequal"]
    many = [values(draw(20 + i).normal(size=sum(sizes)) + 0.1 * i, sizes) for i in range(5)]
    more = [values(draw(40 + i).normal(size=sum(sizes)) + 0.8, sizes) for i in range(6)]
    yield "runs on people", runs_interval(Runs.of_samples(many))
    yield "difference on people", runs_difference(Runs.of_samples(many), Runs.of_samples(more))
    pairs = {(a, b): (ord(a) * ord(b) % 17) / 17 for a in "abcde" for b in "abcde" if a < b}
    yield "pairs of runs", runs_interval(Runs.of_pairs(pairs))
    yield "pairs on people", runs_interval(Runs.of_pairs(pairs, many[0]))
    fewer = {k: v * 0.5 for k, v in pairs.items()}
    yield "difference of pairs", runs_difference(Runs.of_pairs(pairs, many[0]), Runs.of_pairs(fewer, more[0]))
    yield "difference of pairs alone", runs_difference(Runs.of_pairs(pairs), Runs.of_pairs(fewer))
    yield "difference of equal pairs", runs_difference(Runs.of_pairs(pairs), Runs.of_pairs(pairs))
    yield (
        "difference of many runs",
        runs_difference(*(Runs.of_values(draw(80 + i).normal(size=14) + i) for i in (0, 1))),
    )
    yield "variance of people", people_variance(many[0])
    yield "least p", [least_p(m, n) for m in range(1, 7) for n in range(1, 7)]


def others() -> Iterator[tuple[str, Any]]:
    for size, sizes in SIZES.items():
        numbers = np.minimum(draw(60).exponential(size=sum(sizes)), 1.2)
        yield f"censored median, {size}", censored_median(values(numbers, sizes), numbers == 1.2, resamples=FEW)
    for tests in (1, 12):
        for difference in (0.02, 0.1, 0.5, 2.0):
            yield f"groups, {difference} over {tests}", groups_needed(difference, 0.5, tests=tests)
        for groups in (8, 20, 50, 300):
            yield f"detectable, {groups} over {tests}", detectable_difference(groups, tests=tests)
    for i, merits in enumerate(((0.9, 0.8, 0.7), (0.2, 0.5, 0.1), (0.6, 0.2, 0.9))):
        measured, chance = AxisFigures(**dict(zip(("odc", "axis_auc", "diagonal_share"), merits, strict=True))), CHANCE
        yield f"balance {i}", [balance(auc, 0.95, measured, chance) for auc in (0.4, 0.8, 0.97)]


def plain(thing: Any) -> Any:
    """Numbers, texts and lists of them."""
    if dataclasses.is_dataclass(thing) and not isinstance(thing, type):
        return {f.name: plain(getattr(thing, f.name)) for f in dataclasses.fields(thing) if f.name != "samples"}
    if isinstance(thing, Mapping):
        return {str(k): plain(v) for k, v in sorted(thing.items())}
    if isinstance(thing, frozenset):
        return sorted(plain(v) for v in thing)
    if isinstance(thing, np.ndarray | list | tuple):
        return [plain(v) for v in thing]
    return thing.item() if isinstance(thing, np.generic) else thing


def figures() -> dict[str, Any]:
    """Every figure by its name."""
    parts = (intervals(), comparisons(), detectors(), families(), others())
    return {name: plain(figure) for part in parts for name, figure in part}


if __name__ == "__main__":
    RECORD.write_text(
        json.dumps(figures(), indent=None, separators=(",", ":")).replace('},"', '},\n"') + "\n", encoding="utf-8"
    )
