"""How often the 95 % intervals of means hold the mean that they are of, in simulated data.

A cell is one design (single mean, macro mean over four methods, crossed factors), one distribution of the values, one
number of clusters, one correlation within clusters and one rule for the sizes of clusters. Each replication draws data
anew and calls the very functions behind ``mean_interval`` and ``macro_interval``; only names are left out.

* ``rho``: the correlation of two values of one cluster. Two crossed factors have half of it each.
* Shares of single and macro means are beta-binomial. With crossed factors they are normal numbers under a threshold,
  and rho is the correlation of these numbers.
* ``lognormal``: exp of a normal number of deviation 1. ``t3``: the cluster's part and the sample's own part, each of
  Student's distribution with three degrees of freedom.
* ``difference``: of two 0/1 scores, 1 in 10 % and -1 in 2 % of the samples. ``ceiling``: 1 in 90 % of the samples, else
  uniform in (0, 1). Both are functions of a normal number, and rho is the correlation of these.
* Clusters have 4 samples each, or 1 to 10, drawn anew for every :data:`SHARED` replications.
* Macro means: with 4 samples a cluster, each is of another method. Else methods are drawn, 40, 30, 20 and 10 % of the
  samples. ``nested``: all samples of a cluster are of one method, and clusters are dealt out evenly.
* Crossed factors have as many donors as targets. The donors of a target are drawn without replacement.

Finished cells are kept in ``--into FILE`` (JSON lines), so that the same command goes on where it stopped. ``--only
PART`` selects cells, as ``--only macro --only "share .9" --only clusters=10``; of several parts a cell has all. The file
is not named statistics.py, since the scripts of this folder would then import it in place of Python's module.

    OMP_NUM_THREADS=1 python benchmarks/intervals.py --into /tmp/coverage.jsonl --jobs 2
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from itertools import product
from math import e, exp, log1p, sqrt
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from scipy.special import ndtr, ndtri

from xaibench_statistics.bootstrap import Design
from xaibench_statistics.cluster_moments import ClusteredMean
from xaibench_statistics.intervals import Kind, bounds
from xaibench_statistics.values import Floats, Ints, Values

CLUSTERS = (10, 17, 50, 200)
CORRELATIONS = (0.0, 0.5, 0.9)
SIZES = ("4", "1-10")
ASKED = ("share .5", "share .9", "share .97", "normal", "lognormal", "t3")
FURTHER = ("difference", "ceiling")
MEANS = {
    "share .5": 0.5, "share .9": 0.9, "share .97": 0.97, "normal": 0.0, "lognormal": exp(0.5), "t3": 0.0,
    "difference": 0.08, "ceiling": 0.95,
}  # fmt: skip
SHARED = 20
METHOD_SHARES = (0.4, 0.3, 0.2, 0.1)


@dataclass(frozen=True)
class Cell:
    """What is simulated."""

    design: str
    distribution: str
    clusters: int
    rho: float
    sizes: str

    @property
    def parts(self) -> tuple[str, ...]:
        """What ``--only`` selects by."""
        return (
            self.design,
            self.distribution,
            f"clusters={self.clusters}",
            f"rho={self.rho:g}",
            f"sizes={self.sizes}",
        )

    @property
    def name(self) -> str:
        """The parts in one line."""
        return " ".join(self.parts)


@dataclass(frozen=True)
class Coverage:
    """Percent of ``replications`` whose interval holds the mean, lies below it, and lies above it; its mean width."""

    cell: Cell
    replications: int
    held: float
    below: float
    above: float
    width: float


@dataclass(frozen=True, eq=False)
class Layout:
    """The factors of one drawn set of samples, each as the level of every sample, and how many levels there are."""

    factors: tuple[Ints, ...]
    levels: int
    clusters: ClusteredMean


def cells() -> Iterator[Cell]:
    """All cells, those of further distributions and of nested methods last."""
    grid = (CLUSTERS, CORRELATIONS, SIZES)
    for design, distribution in product(("single", "macro", "crossed"), ASKED):
        yield from (Cell(design, distribution, *rest) for rest in product(*grid))
    for design, distribution in (
        ("single", FURTHER[0]),
        ("single", FURTHER[1]),
        ("nested", "share .9"),
        ("nested", "normal"),
    ):
        yield from (Cell(design, distribution, *rest) for rest in product(*grid))


# ---- drawing --------------------------------------------------------------------------------------------------------


def draw_layout(cell: Cell, draw: np.random.Generator) -> Layout:
    """The samples of a cell."""
    k = cell.clusters
    sizes = np.full(k, 4) if cell.sizes == "4" else draw.integers(1, 11, k)
    target = np.repeat(np.arange(k), sizes)
    n = len(target)
    strata, donor = None, None
    if cell.design == "macro":
        regular = cell.sizes == "4"
        strata = np.resize(np.arange(4), n) if regular else draw.choice(4, n, p=METHOD_SHARES)
    elif cell.design == "nested":
        strata = target % 4
    elif cell.design == "crossed":
        donor = np.concatenate([draw.permutation(k)[:size] for size in sizes])
    cross = np.full(n, "") if donor is None else donor.astype(np.str_)
    values = Values(np.arange(n).astype(np.str_), np.zeros(n), target.astype(np.str_), cross)
    methods = None if strata is None else strata.astype(np.str_)
    clusters = ClusteredMean.of(values, Design.of(values.groups, values.cross), methods)
    return Layout((target,) if donor is None else (target, donor), k, clusters)


def draw_values(cell: Cell, layout: Layout, draw: np.random.Generator) -> Floats:
    """One value a sample."""
    name, mean = cell.distribution, MEANS[cell.distribution]
    if name.startswith("share") and len(layout.factors) == 1:
        return beta_binomial(mean, cell.rho, layout, draw)
    if name == "t3":
        return mixed(cell.rho, layout, lambda size: draw.standard_t(3, size))
    rho = log1p(cell.rho * (e - 1)) if name == "lognormal" else cell.rho
    z = mixed(rho, layout, draw.standard_normal)
    if name.startswith("share"):
        z = np.asarray(z < ndtri(mean), dtype=np.float64)
    elif name == "difference":
        z = np.asarray(z < ndtri(0.1), dtype=np.float64) - np.asarray(z > ndtri(0.98), dtype=np.float64)
    elif name == "ceiling":
        z = np.minimum(1.0, ndtr(z) / 0.1)
    return np.exp(z) if name == "lognormal" else z


def beta_binomial(mean: float, rho: float, layout: Layout, draw: np.random.Generator) -> Floats:
    """0/1 values; a cluster's share of ones has a beta distribution."""
    (cluster,) = layout.factors
    scale = 1 / rho - 1 if rho else 0.0
    own = draw.beta(mean * scale, (1 - mean) * scale, layout.levels)[cluster] if rho else mean
    return np.asarray(draw.random(len(cluster)) < own, dtype=np.float64)


def mixed(rho: float, layout: Layout, numbers: Callable[[int], Floats]) -> Floats:
    """Numbers of which the levels' parts have the share rho of the variance."""
    part = rho / len(layout.factors)
    total: Floats = sqrt(1 - rho) * numbers(len(layout.factors[0]))
    for factor in layout.factors:
        total += sqrt(part) * numbers(layout.levels)[factor]
    return total


# ---- coverage -------------------------------------------------------------------------------------------------------


def kind_of_cell(cell: Cell) -> Kind:
    """How the product treats such values."""
    if cell.distribution.startswith("share"):
        return "share"
    return "signed share" if cell.distribution == "difference" else "number"


def coverage(cell: Cell, replications: int, seed: int = 0) -> Coverage:
    """Simulate one cell. An interval that is not given counts as one that holds the mean, of width 0."""
    draw = np.random.default_rng([seed, *cell.name.encode()])
    kind, mean = kind_of_cell(cell), MEANS[cell.distribution]
    lows, highs = [], []
    for start in range(0, replications, SHARED):
        layout = draw_layout(cell, draw)
        values = [draw_values(cell, layout, draw) for _ in range(min(SHARED, replications - start))]
        low, high = bounds(layout.clusters, np.stack(values), kind, 0.0)
        lows.append(np.where(np.isnan(low), mean, low))
        highs.append(np.where(np.isnan(high), mean, high))
    low, high = np.concatenate(lows), np.concatenate(highs)
    held, below, above = (100 * float(np.mean(x)) for x in ((low <= mean) & (mean <= high), high < mean, low > mean))
    return Coverage(cell, replications, held, below, above, float(np.mean(high - low)))


def simulate(wanted: Sequence[Cell], replications: int, into: Path | None, jobs: int) -> list[Coverage]:
    """The coverage of these cells; those that ``into`` already has are read from there."""
    done = {c.cell: c for c in read(into) if c.replications == replications}
    left = [c for c in wanted if c not in done]
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        for found in pool.map(coverage, left, [replications] * len(left)):
            done[found.cell] = found
            if into:
                with into.open("a") as file:
                    file.write(json.dumps(asdict(found)) + "\n")
    return [done[c] for c in wanted]


def read(into: Path | None) -> list[Coverage]:
    """The cells of an earlier call."""
    rows = [json.loads(line) for line in into.read_text().splitlines()] if into and into.exists() else []
    return [Coverage(**row | {"cell": Cell(**row["cell"])}) for row in rows]


# ---- tables ---------------------------------------------------------------------------------------------------------


def allowed(cell: Cell) -> tuple[float, float]:
    """What the coverage of a cell may be, in percent."""
    few = cell.clusters <= 17
    least = 88.0 if few and cell.distribution == "lognormal" else 92.0
    return least, 100.0 if few or cell.distribution in ("share .9", "share .97", *FURTHER) else 98.0


def print_tables(found: Sequence[Coverage]) -> None:
    """A table a design: least and most over correlations and sizes; then what lies outside 92 to 98 %."""
    for design in dict.fromkeys(c.cell.design for c in found):
        part = [c for c in found if c.cell.design == design]
        print(f"\n{design}\n\n| values |" + "".join(f" {k} clusters |" for k in CLUSTERS))
        print("| --- |" + " --- |" * len(CLUSTERS))
        for name in dict.fromkeys(c.cell.distribution for c in part):
            columns = [[c.held for c in part if (c.cell.distribution, c.cell.clusters) == (name, k)] for k in CLUSTERS]
            print(f"| {name} |" + "".join(f" {min(x):.1f} to {max(x):.1f} |" if x else " |" for x in columns))
    for title, outside in (
        ("below 92", [c for c in found if c.held < 92]),
        ("above 98", [c for c in found if c.held > 98]),
    ):
        print(f"\n{title}: {len(outside)} of {len(found)} cells")
        print("\n".join(f"{c.cell.name}: {c.held:.1f}" for c in outside))
    broken = [c for c in found if not allowed(c.cell)[0] <= c.held <= allowed(c.cell)[1]]
    print(f"\noutside what is allowed: {len(broken)}")
    print("\n".join(f"{c.cell.name}: {c.held:.1f} (low {c.below:.1f}, high {c.above:.1f})" for c in broken))


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replications", type=int, default=2000)
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--into", type=Path)
    parser.add_argument("--jobs", type=int, default=1)
    args = parser.parse_args()
    wanted = [c for c in cells() if set(args.only) <= set(c.parts)]
    print_tables(simulate(wanted, args.replications, args.into, args.jobs))


if __name__ == "__main__":
    main()
