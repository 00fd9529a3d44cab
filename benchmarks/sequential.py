"""How often a run that stops when its order is settled has told a wrong order, and what it saves.

Every trial draws explainers on groups of samples: sample i of group g has the value
``mean_e + f(sqrt(icc) z_ge + sqrt(1 - icc) z_ie)`` for explainer e, each z normal and ``f`` of a shape with mean 0 and
variance 1 (benchmarks/verdicts.py). *Worlds*: ``null``: all means are equal. ``steps``: neighbours differ by ``step``.
``pairs``: explainers in pairs of equal means, pairs differ by ``step``. A trial is wrong where a pair was told apart
that has no difference, or in the wrong order. Samples are in rounds over the groups, as a run has them.

    python benchmarks/sequential.py
    python benchmarks/sequential.py --trials 1000 --jobs 4
    python benchmarks/sequential.py --run RUN --score deletion.deletion   # replays a finished run
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np
from verdicts import SHAPES

from xaibench_statistics import OrderSoFar, Values, checkpoints, next_checkpoint


@dataclass(frozen=True, kw_only=True)
class World:
    """``explainers`` with neighbouring means ``step`` apart, ``equal`` of them alike at a time; ``groups`` of ``sizes``
    samples."""

    name: str
    explainers: int = 6
    step: float = 0.0
    equal: int = 1
    groups: int = 150
    sizes: tuple[int, int] = (1, 4)
    icc: float = 0.5
    shape: str = "normal"

    def means(self) -> np.ndarray:
        """The true mean of every explainer."""
        return self.step * (np.arange(self.explainers) // self.equal)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """``wrong``: a pair told apart wrongly; ``settled``: the run stopped; ``share``: of the samples it took."""

    wrong: bool
    settled: bool
    share: float


def rounds(rng: np.random.Generator, world: World) -> np.ndarray:
    """The group of every sample, in rounds over the groups."""
    sizes = rng.integers(world.sizes[0], world.sizes[1] + 1, size=world.groups)
    return np.concatenate([np.flatnonzero(sizes > r) for r in range(sizes.max())])


def trial(seed: int, world: World) -> Trial:
    """One run of a world."""
    rng = np.random.default_rng(seed)
    group = rounds(rng, world)
    latent = np.sqrt(world.icc) * rng.normal(size=(world.groups, world.explainers))[group]
    latent += np.sqrt(1 - world.icc) * rng.normal(size=(len(group), world.explainers))
    x = world.means() + SHAPES[world.shape](latent)
    names = [f"e{i:02d}" for i in range(world.explainers)]
    order, samples = settle([f"g{g:04d}" for g in group], dict(zip(names, x.T, strict=True)), seed)
    means = dict(zip(names, world.means(), strict=True))
    wrong = any(means[a] <= means[b] for a, b in order.apart)
    return Trial(wrong=wrong, settled=order.is_settled, share=samples / len(group))


def settle(groups: list[str], values: dict[str, np.ndarray], seed: int) -> tuple[OrderSoFar, int]:
    """The order, and how many samples it took. ``values``: those of all samples in order, by explainer."""
    order, samples = OrderSoFar(), 0
    ids = [f"s{i:06d}" for i in range(len(groups))]
    for samples in checkpoints(groups):
        first = {e: Values.of(ids[:samples], x[:samples], groups[:samples]) for e, x in values.items()}
        order = next_checkpoint(order, first, "higher", seed=seed)
        if order.is_settled:
            break
    return order, samples


WORLDS = [
    World(name="null"),
    World(name="null", shape="lognormal"),
    World(name="null", shape="t3"),
    World(name="null", explainers=12, groups=60, sizes=(1, 10)),
    World(name="steps", step=0.3),
    World(name="steps", step=0.6),
    World(name="steps", step=1.2),
    World(name="steps", step=0.6, shape="lognormal"),
    World(name="pairs", step=0.8, equal=2),
    World(name="pairs", step=0.8, equal=2, shape="lognormal"),
]


def rows(trials: int, jobs: int) -> Iterator[str]:
    """The lines of the table."""
    yield "| world | explainers | step | values | groups | wrong | settled | share of samples |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
    with ProcessPoolExecutor(jobs) as pool:
        for world in WORLDS:
            many = list(pool.map(partial(trial, world=world), range(trials), chunksize=5))
            wrong, settled = (np.mean([getattr(t, f) for t in many]) for f in ("wrong", "settled"))
            share = np.mean([t.share for t in many])
            yield (
                f"| {world.name} | {world.explainers} | {world.step:g} | {world.shape} | {world.groups} "
                f"| {wrong:.3f} | {settled:.2f} | {share:.2f} |"
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
    parser.add_argument("--run", type=Path, help="replay this finished run instead")
    parser.add_argument("--score", default="xaibench/relevance-mass.relevance-mass", help="METRIC.SCORE of the run")
    given = parser.parse_args()
    for line in replay(given.run, given.score) if given.run else rows(given.trials, given.jobs):
        print(line, flush=True)


if __name__ == "__main__":
    main()
