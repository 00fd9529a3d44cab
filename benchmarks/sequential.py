"""How often a run that stops when its order is settled has told a wrong order, and what it saves.

Every trial draws explainers on groups of samples: sample i of group g has the value
``mean_e + spread_e f(sqrt(icc) z_ge + sqrt(1 - icc) z_ie)`` for explainer e, each z normal. ``f`` has a shape with mean
0 and variance 1 (benchmarks/verdicts.py). Two shapes are bounded. ``piled``: ``.2 spread_e z + c_e`` cut to [0, 1], of
which much lies at 1. ``hits``: 1 with probability ``mean_e``, else 0. A step of 1 is .1 of piled scores and .3 of hits,
about a standard deviation of each; the best mean is .9, and ``c_e`` follows from the mean.

Neighbours among the explainers differ by the ``gaps`` of their world in turn. A trial is wrong where a pair was told
apart that has no difference, or in the wrong order. Samples are in rounds over the groups, as a run has them.

Most checkpoints tell nothing new: all open pairs have a t below 1.6, or by 200 resamples a p above .15. These are not
tested in full; the levels of the checkpoints are at most .025.

    python benchmarks/sequential.py
    python benchmarks/sequential.py --first 20 --trials 1000 --jobs 4 --world 3 --world 7
    python benchmarks/sequential.py --run RUN --score deletion.deletion   # replays a finished run
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import combinations, cycle, islice
from math import ceil
from pathlib import Path

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri
from scipy.stats import binomtest
from verdicts import SHAPES

from xaibench_statistics import OrderSoFar, Values, checkpoint_level, checkpoints, next_checkpoint
from xaibench_statistics.bootstrap import MINIMUM_GROUPS, RESAMPLES, SEED
from xaibench_statistics.sequential import FIRST, evenly_spread
from xaibench_statistics.step_down import Factor, Means, adjusted_p

BEST = 0.9  # the best mean of bounded scores
STEP = {"piled": 0.1, "hits": 0.3}
MIXED = (0.0, 0.2, 0.5, 1.0)
UNEQUAL = (1.0, 3.0)
NEAR = 1.6
SCREEN = (200, 0.15)  # resamples, and the p that is promising


@dataclass(frozen=True, kw_only=True)
class World:
    """``explainers`` whose means and spreads follow from ``gaps`` and ``spreads``, each taken in turn; ``groups`` of
    ``sizes`` samples."""

    explainers: int = 6
    gaps: tuple[float, ...] = (0.0,)
    spreads: tuple[float, ...] = (1.0,)
    groups: int = 80
    sizes: tuple[int, int] = (1, 4)
    icc: float = 0.5
    shape: str = "normal"

    def means(self) -> np.ndarray:
        """The true mean of every explainer."""
        below = np.cumsum([0.0, *islice(cycle(self.gaps), self.explainers - 1)])
        return BEST - STEP[self.shape] * below if self.shape in STEP else -below

    def scores(self, latent: np.ndarray) -> np.ndarray:
        """``(samples, explainers)`` scores of normal ``latent`` ones."""
        spreads = np.fromiter(cycle(self.spreads), float, self.explainers)
        if self.shape == "hits":
            return (latent < ndtri(self.means())).astype(float)
        if self.shape == "piled":
            centres = [piled_centre(mean, 0.2 * spread) for mean, spread in zip(self.means(), spreads, strict=True)]
            return np.clip(centres + 0.2 * spreads * latent, 0, 1)
        return self.means() + spreads * SHAPES[self.shape](latent)


def piled_centre(mean: float, spread: float) -> float:
    """The centre of a normal of this spread whose part cut to [0, 1] has this mean."""
    return brentq(lambda centre: cut_mean(centre, spread) - mean, -5.0, 5.0)


def cut_mean(centre: float, spread: float) -> float:
    """The mean of a normal cut to [0, 1], ``int_0^1 P(x > u) du``."""

    def upper(u: float) -> float:  # the integral of P(x > v) over v > u
        z = (centre - u) / spread
        return spread * (z * ndtr(z) + np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi))

    return float(upper(0.0) - upper(1.0))


def rounds(rng: np.random.Generator, world: World) -> np.ndarray:
    """The group of every sample, in rounds over the groups."""
    sizes = rng.integers(world.sizes[0], world.sizes[1] + 1, size=world.groups)
    return np.concatenate([np.flatnonzero(sizes > r) for r in range(sizes.max())])


class Trial:
    """One run of a world, up to the checkpoint at which its order is settled.

    ``apart``: ``(explainers, explainers)``, whether i was told better than j; ``samples``: how many it took.
    """

    def __init__(self, seed: int, world: World, first: int) -> None:
        rng = np.random.default_rng(seed)
        self.world = world
        self.group = rounds(rng, world)
        latent = np.sqrt(world.icc) * rng.normal(size=(world.groups, world.explainers))[self.group]
        latent += np.sqrt(1 - world.icc) * rng.normal(size=(len(self.group), world.explainers))
        self.scores = world.scores(latent)
        self.places = checkpoints(list(map(str, self.group)), first=first)
        self.apart = np.zeros((world.explainers, world.explainers), dtype=bool)
        self.samples = 0

    @property
    def settled(self) -> bool:
        """Whether all pairs are told apart."""
        return int(self.apart.sum()) == self.world.explainers * (self.world.explainers - 1) // 2

    @property
    def wrong(self) -> bool:
        """Whether a pair was told apart that has no difference, or in the wrong order."""
        means = self.world.means()
        return bool((self.apart & (means[:, None] <= means)).any())

    @property
    def share(self) -> float:
        """Of the samples, those it took."""
        return self.samples / len(self.group)

    def test(self, number: int) -> None:
        """Test the order at a checkpoint, as :func:`xaibench_statistics.next_checkpoint` does."""
        if self.settled or number > len(self.places):
            return
        self.samples = self.places[number - 1]
        level = checkpoint_level(number)
        i, j = np.triu_indices(self.world.explainers, 1)
        shown = self.scores[: self.samples]
        means = means_of(shown[:, i] - shown[:, j], self.group[: self.samples])
        if means is None or (np.abs(means.t)[~(self.apart | self.apart.T)[i, j]] < NEAR).all():
            return
        for resamples, bar in (SCREEN, (max(RESAMPLES, ceil(20 / level)), level)):
            replicates = means.replicates(SEED, resamples)
            p = adjusted_p(
                np.concatenate([means.t, -means.t]), np.concatenate([replicates, -replicates], axis=1),
                np.concatenate([means.differing] * 2), tests=2 * len(i), balance=False, level=bar,
            )  # fmt: skip
            told = np.zeros_like(self.apart)
            told[i, j], told[j, i] = p[: len(i)] <= bar, p[len(i) :] <= bar
            told &= ~(self.apart | self.apart.T)
            if not told.any():
                return
        names, groups = list(map(str, range(self.samples))), self.group[: self.samples].astype(str)
        self.apart |= told & evenly_spread([Values.of(names, column, groups) for column in shown.T])


def means_of(x: np.ndarray, group: np.ndarray) -> Means | None:
    """The means of ``(samples, M)`` differences; None with too few groups."""
    groups = int(group.max()) + 1
    if groups < MINIMUM_GROUPS:
        return None
    of_level = np.equal.outer(np.arange(groups + 1), group).astype(np.float64)
    sums, mean = of_level @ x, x.mean(axis=0)
    sizes = of_level.sum(axis=1, keepdims=True)
    differing = (np.abs(sums) > 1e-12).sum(axis=0)
    return Means(mean, (Factor(sums - sizes * mean, sizes, np.full(x.shape[1], groups)),), differing)


def run_trials(seeds: Sequence[int], world: World, first: int) -> list[Trial]:
    """Some runs of a world, side by side, so that they share the weights of the resamples."""
    trials = [Trial(seed, world, first) for seed in seeds]
    for number in range(1, 1 + max(len(t.places) for t in trials)):
        for one in trials:
            one.test(number)
    return trials


FEW = {"groups": 17, "sizes": (8, 8)}  # as the faces' test pictures
MANY = {"groups": 30, "sizes": (1, 10)}
WORLDS = [
    # all alike
    World(),
    World(shape="lognormal"),
    World(shape="t3"),
    World(explainers=10, **MANY),
    World(explainers=2, **FEW),
    World(explainers=5, **FEW, icc=0.9),
    World(explainers=2, spreads=UNEQUAL, shape="lognormal", **FEW),
    World(explainers=2, spreads=UNEQUAL, shape="-lognormal", **MANY),
    World(explainers=5, spreads=UNEQUAL, shape="lognormal", **FEW),
    World(explainers=10, spreads=UNEQUAL, shape="lognormal", **MANY),
    World(explainers=3, shape="piled", **FEW),
    World(explainers=10, spreads=UNEQUAL, shape="piled", **MANY),
    World(explainers=5, shape="hits", **FEW),
    # unequal
    World(explainers=2, gaps=(0.2,), **FEW),
    World(explainers=2, gaps=(0.5,), **FEW),
    World(explainers=2, gaps=(1.0,), **FEW),
    World(explainers=5, gaps=(1.0,), **FEW),
    World(explainers=5, gaps=MIXED, **FEW),
    World(explainers=5, gaps=MIXED, spreads=UNEQUAL, shape="lognormal", **FEW),
    World(explainers=5, gaps=MIXED, spreads=UNEQUAL, shape="piled", **FEW),
    World(explainers=5, gaps=MIXED, shape="hits", **FEW),
    World(explainers=2, gaps=(0.2,), **MANY),
    World(explainers=2, gaps=(0.5,), **MANY),
    World(explainers=2, gaps=(1.0,), **MANY),
    World(explainers=4, gaps=(0.5,), **MANY),
    World(explainers=10, gaps=(1.0,), **MANY),
    World(explainers=10, gaps=MIXED, **MANY),
    World(explainers=10, gaps=MIXED, spreads=UNEQUAL, shape="lognormal", **MANY),
    World(explainers=10, gaps=MIXED, spreads=UNEQUAL, shape="piled", **MANY),
]


def rows(worlds: Sequence[World], trials: int, jobs: int, first: int) -> Iterator[str]:
    """The lines of the table."""
    yield "| explainers | gaps | spreads | values | groups | samples a group | wrong | 95 % | settled | saved |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    with ProcessPoolExecutor(jobs) as pool:
        for world in worlds:
            parts = [range(trials)[i::jobs] for i in range(jobs)]
            many = [t for part in pool.map(partial(run_trials, world=world, first=first), parts) for t in part]
            wrong, settled = (sum(getattr(t, f) for t in many) for f in ("wrong", "settled"))
            interval = binomtest(wrong, trials).proportion_ci(method="exact")
            gaps, spreads = (" ".join(f"{v:g}" for v in values) for values in (world.gaps, world.spreads))
            sizes = " to ".join(map(str, dict.fromkeys(world.sizes)))
            yield (
                f"| {world.explainers} | {gaps} | {spreads} | {world.shape} | {world.groups} | {sizes} "
                f"| {wrong / trials:.3f} | {interval.low:.3f} to {interval.high:.3f} "
                f"| {settled / trials:.2f} | {1 - np.mean([t.share for t in many]):.2f} |"
            )


def replay(run: Path, score: str) -> Iterator[str]:
    """What stopping would have saved of a finished run."""
    import pyarrow.compute as pc

    from xaibench import open_run

    opened = open_run(run)
    metric, _, name = score.rpartition(".")
    samples = opened.to_arrow("samples")
    samples = samples.filter(pc.is_valid(samples["order"])).sort_by("order")
    groups = dict(zip(samples["sample"].to_pylist(), samples["group"].to_pylist(), strict=True))
    table = opened.to_arrow("scores")
    table = table.filter((pc.field("metric") == metric) & (pc.field("score") == name) & (pc.field("status") == "ok"))
    better = table["better"][0].as_py()
    values: dict[str, dict[str, float]] = {}
    for row in table.group_by(["explainer", "sample"]).aggregate([("value", "mean")]).to_pylist():
        values.setdefault(row["explainer"], {})[row["sample"]] = row["value_mean"]
    roles = {"random", "center-prior", "edges", "face-hull", "other-mask", "inverse", "mask-oracle"}
    ranked = [e for e in values if e.split("/")[-1].partition(":")[0] not in roles]
    for pair in [ranked, *combinations(sorted(ranked), 2)]:
        order, taken = OrderSoFar(), 0
        for taken in checkpoints(list(groups.values())):
            shown = list(groups)[:taken]
            first = {e: _values(values[e], shown, groups) for e in pair}
            order = next_checkpoint(order, first, better)
            if order.is_settled:
                break
        verdict = " > ".join(order.explainers) if order.is_settled else "not settled"
        yield f"{', '.join(pair)}: {verdict}; {taken} of {len(groups)} pictures"


def _values(of_explainer: dict[str, float], shown: list[str], groups: dict[str, str]) -> Values:
    ids = [s for s in shown if s in of_explainer]
    return Values.of(ids, [of_explainer[s] for s in ids], [groups[s] for s in ids])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--first", type=int, default=FIRST, help="groups of the first checkpoint")
    parser.add_argument("--world", type=int, action="append", help="the number of a world, from 0 on; default: all")
    parser.add_argument("--run", type=Path, help="replay this finished run instead")
    parser.add_argument("--score", default="xaibench/relevance-mass.relevance-mass", help="METRIC.SCORE of the run")
    given = parser.parse_args()
    worlds = [WORLDS[i] for i in given.world or range(len(WORLDS))]
    lines = replay(given.run, given.score) if given.run else rows(worlds, given.trials, given.jobs, given.first)
    for line in lines:
        print(line, flush=True)


if __name__ == "__main__":
    main()
