"""How often a board of verdicts or a column of ranks is wrong, and how often it finds what is there.

Every trial draws a board of 20 explainers under 10 scores against 5 controls. Sample i of group g has the difference
``f(sqrt(icc) z_g + sqrt(1 - icc) z_i)``, each z being that of the explainer less that of the control, so that all
comparisons with one control depend on each other; scores correlate by .5. ``f`` gives the differences their shape, mean
0 and variance 1. *Worlds*: ``null``: no difference at all. ``partial``: a third of the explainers is as in ``null``, a
third is two standard deviations better than all controls but one, and of the rest half are better than all of them and
half are worse than one and as good as the others. An error of a board is any claim that is not true.

Most boards are decided by their first 100 resamples: a p above .1 there is not going to be below .0025 or .05.

    python benchmarks/verdicts.py
    python benchmarks/verdicts.py --tables power --trials 1000
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, stdtr, stdtrit

from xaibench_statistics import RESAMPLES, SEED, Floats, Ints
from xaibench_statistics.control_tests import Families
from xaibench_statistics.step_down import Factor, Means, adjusted_p, step_down, widths

EXPLAINERS: Final = 20
SCORES: Final = 10
LEVEL: Final = 0.05
BETWEEN_SCORES: Final = 0.5
FIRST: Final = 100
PROMISING: Final = 0.1
GROUPS: Final = (10, 17, 50, 200)

_SPREAD: Final = float(np.sqrt(np.e * (np.e - 1)))  # of a lognormal with sigma 1
_GRID: Final = np.linspace(-7, 7, 4001)
_T3: Final = stdtrit(3, ndtr(_GRID)) / np.sqrt(3)
_T3[_GRID > 0] = -_T3[_GRID < 0][::-1]  # ndtr loses the digits of the upper tail
SHAPES: Final[dict[str, Callable[[Floats], Floats]]] = {
    "normal": lambda z: z,
    "t3": lambda z: np.interp(z, _GRID, _T3),
    "lognormal": lambda z: (np.exp(z) - np.exp(0.5)) / _SPREAD,
    "-lognormal": lambda z: (np.exp(0.5) - np.exp(z)) / _SPREAD,
}


@dataclass(frozen=True, kw_only=True)
class Setting:
    """``sizes``: the least and the largest number of samples of a group. ``donors``: levels of a second crossed factor,
    0 for none."""

    groups: int = 50
    shape: str = "normal"
    sizes: tuple[int, int] = (1, 1)
    icc: float = 0.0
    controls: int = 5
    donors: int = 0


def latent(rng: np.random.Generator, rows: int, columns: int, scores: int) -> Floats:
    """``(rows, columns, scores)`` normals that correlate between scores."""
    common = rng.normal(size=(rows, columns, 1))
    own = rng.normal(size=(rows, columns, scores))
    both: Floats = np.sqrt(BETWEEN_SCORES) * common + np.sqrt(1 - BETWEEN_SCORES) * own
    return both


def design(rng: np.random.Generator, setting: Setting) -> tuple[Ints, Ints | None]:
    """The group, and the donor where there are some, of every sample; samples are sorted by group."""
    low, high = setting.sizes
    group = np.repeat(np.arange(setting.groups), rng.integers(low, high + 1, size=setting.groups))
    donor = rng.permutation(np.resize(np.arange(setting.donors), len(group))) if setting.donors else None
    return group, donor


def errors(rng: np.random.Generator, setting: Setting, columns: int, scores: int) -> tuple[Floats, list[Ints]]:
    """The latent values of explainers and controls, ``(samples, columns, scores)``, and the levels of each factor."""
    group, donor = design(rng, setting)
    levels = [group] if donor is None else [group, donor]
    share = setting.icc / len(levels)
    z = np.sqrt(1 - setting.icc) * latent(rng, len(group), columns, scores)
    for level in levels:
        z += np.sqrt(share) * latent(rng, int(level.max()) + 1, columns, scores)[level]
    return z, levels


def means(x: Floats, levels: list[Ints], shift: Floats) -> Means:
    """The means of ``(samples, M)`` differences without one, ``shift`` added to them."""
    mean = x.mean(axis=0)
    factors = []
    for level in levels:
        of_level = np.equal.outer(np.append(np.unique(level), -1), level).astype(np.float64)
        sizes = of_level.sum(axis=1, keepdims=True)
        factors.append(Factor(of_level @ (x - mean), sizes, np.full(x.shape[1], len(sizes) - 1)))
    fewest = min(int(f.levels[0]) for f in factors)
    return Means(mean + shift, tuple(factors), np.full(x.shape[1], fewest))


def comparisons(rng: np.random.Generator, setting: Setting, shifts: Floats) -> Iterator[Means]:
    """The comparisons of every score, of ``(explainers, controls, scores)`` true differences."""
    explainers, controls, scores = shifts.shape
    z, levels = errors(rng, setting, explainers + controls, scores)
    f = SHAPES[setting.shape]
    for score in range(scores):
        own, others = z[:, :explainers, None, score], z[:, None, explainers:, score]
        x = f(((own - others) / np.sqrt(2)).reshape(len(z), -1))
        yield means(x, levels, shifts[:, :, score].reshape(-1))


def world(name: str, setting: Setting) -> Floats:
    """The true differences of a board, in standard deviations."""
    shifts = np.zeros((EXPLAINERS, setting.controls, SCORES))
    if name == "partial":
        third = EXPLAINERS // 3
        shifts[third:-third, 1:] = 2.0  # better than all controls but one: not better
        half = EXPLAINERS - third // 2
        shifts[-third:half] = 2.0
        shifts[half:, 0] = -2.0  # worse than one: worse
    return shifts


# ---- boards ----------------------------------------------------------------------------------------------------------


def families(setting: Setting) -> Families:
    """What is tested on a board."""
    keys = EXPLAINERS * SCORES
    return Families(keys=keys, comparisons=keys * setting.controls, scores=SCORES, level=LEVEL)


Claims = tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]


def board_claims(means: Means, tested: Families, matter: Claims) -> Claims:
    """Whether each comparison of one score is claimed better, and worse. None of those that do not ``matter``."""
    first = means.replicates(SEED, FIRST)
    if not any(promising(sign * means.t, sign * first, of) for sign, of in zip((1, -1), matter, strict=True)):
        return np.zeros_like(matter[0]), np.zeros_like(matter[1])
    draws = tested.resamples(RESAMPLES)
    better, worse = tested.directions(means, means.replicates(SEED, draws))
    return better <= LEVEL, worse <= LEVEL


def promising(t: Floats, first: Floats, matter: npt.NDArray[np.bool_], *, balance: bool = True) -> bool:
    """Whether any hypothesis that matters may be rejected, as far as few resamples tell."""
    scale = widths(first) if balance else 1.0
    return bool((step_down(t / scale, first / scale)[matter] <= PROMISING).any())


def holm_claims(boards: list[Means], controls: int) -> Claims:
    """The same for a whole board by Holm on t tests with cluster-robust variances, half of the level a direction."""
    t = np.stack([m.t for m in boards], axis=1)
    df = min(int(f.levels[0]) for f in boards[0].factors) - 1
    below = stdtr(df, t)
    above = stdtr(df, -t)
    keys = above.reshape(-1, controls, len(boards)).max(axis=1)
    better = np.repeat(holm(keys.reshape(-1)).reshape(keys.shape), controls, axis=0)
    return better <= LEVEL / 2, holm(below.reshape(-1)).reshape(below.shape) <= LEVEL / 2


def holm(p: Floats) -> Floats:
    """Holm's adjustment of many p."""
    order = np.argsort(p)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return adjusted


def false_claims(shifts: Floats) -> Claims:
    """Whether "better", and "worse", would be false of each comparison's explainer and score, ``(E, C, scores)``."""
    better, worse = (shifts <= 0).any(axis=1, keepdims=True), (shifts >= 0).all(axis=1, keepdims=True)
    return np.broadcast_to(better, shifts.shape), np.broadcast_to(worse, shifts.shape)


def is_wrong(claims: Claims, false: Claims) -> bool:
    """Whether any explainer is falsely better than every control, or worse than one."""
    better, worse = (c.reshape(f.shape) for c, f in zip(claims, false, strict=True))
    return bool((better & false[0]).all(axis=1).any() or (worse & false[1]).any())


def board_error(setting: Setting, name: str, trials: int) -> tuple[float, float]:
    """The share of boards with a false claim: by the step-down maximum, and by Holm on t tests."""
    rng = np.random.default_rng(1)
    shifts, tested = world(name, setting), families(setting)
    false = false_claims(shifts)
    # A false "better" passes the control that is no worse, so that only comparisons with it can be the first to go.
    matter = [tuple(m.reshape(-1, SCORES).T) for m in (shifts <= 0, false[1])]
    wrong, wrong_holm = 0, 0
    for _ in range(trials):
        boards = list(comparisons(rng, setting, shifts))
        claims = [board_claims(m, tested, of) for m, of in zip(boards, zip(*matter, strict=True), strict=True)]
        better, worse = (np.stack(c, axis=1) for c in zip(*claims, strict=True))
        wrong += is_wrong((better, worse), false)
        wrong_holm += is_wrong(holm_claims(boards, setting.controls), false)
    return wrong / trials, wrong_holm / trials


def board_power(setting: Setting, effect: float, trials: int) -> tuple[float, float]:
    """How often one explainer that is better than all controls, and one that is worse than all, by ``effect`` standard
    deviations is told under one score of a board on which nothing else differs."""
    rng = np.random.default_rng(2)
    shifts = np.zeros((EXPLAINERS, setting.controls, 1))
    shifts[0], shifts[1] = effect, -effect
    tested = families(setting)
    told = np.zeros(2)
    matter = ((shifts > 0).reshape(-1), (shifts < 0).reshape(-1))
    for _ in range(trials):
        (column,) = comparisons(rng, setting, shifts)
        better, worse = board_claims(column, tested, matter)
        told += better[: setting.controls].all(), worse[setting.controls : 2 * setting.controls].any()
    return float(told[0] / trials), float(told[1] / trials)


# ---- ranks -----------------------------------------------------------------------------------------------------------


def rank_error(setting: Setting, name: str, trials: int) -> float:
    """The share of columns in which a pair is told apart that is equal, or the wrong way round."""
    rng = np.random.default_rng(3)
    pairs = list(combinations(range(EXPLAINERS), 2))
    truth = np.zeros(EXPLAINERS) if name == "null" else np.repeat([0.0, 1.0], EXPLAINERS // 2)
    shift = np.asarray([truth[i] - truth[j] for i, j in pairs])
    false, wrong = (shift <= 0, shift >= 0), 0
    for _ in range(trials):
        z, levels = errors(rng, setting, EXPLAINERS, 1)
        x = z[:, :, 0]
        x[:, ::2] = SHAPES[setting.shape](x[:, ::2])  # every other one stays normal: differences are skewed
        x = np.stack([x[:, i] - x[:, j] for i, j in pairs], axis=1)
        claims = rank_claims(means(x, levels, shift), false)
        wrong += any(bool((claim & of).any()) for claim, of in zip(claims, false, strict=True))
    return wrong / trials


def rank_claims(pairs: Means, matter: Claims) -> Claims:
    """Whether the first, and the second, of every pair is shown better."""
    t, differing = np.concatenate([pairs.t, -pairs.t]), np.concatenate([pairs.differing] * 2)
    first = pairs.replicates(SEED, FIRST)
    if not promising(t, np.concatenate([first, -first], axis=1), np.concatenate(matter), balance=False):
        return np.zeros_like(matter[0]), np.zeros_like(matter[1])
    replicates = pairs.replicates(SEED, RESAMPLES)
    both = np.concatenate([replicates, -replicates], axis=1)
    told = (adjusted_p(t, both, differing, tests=len(t), balance=False, level=LEVEL) <= LEVEL).reshape(2, -1)
    return told[0], told[1]


# ---- tables ----------------------------------------------------------------------------------------------------------

ONE: Final = "one a group"
MANY: Final = "1 to 10, icc .5"
KINDS: Final[dict[str, dict[str, Any]]] = {ONE: {}, MANY: {"sizes": (1, 10), "icc": 0.5}}
Row = tuple[str, Callable[[Setting], str], list[Setting]]


def of_shapes(**setting: Any) -> list[Setting]:
    """The setting with every shape of differences."""
    return [Setting(shape=shape, **setting) for shape in SHAPES]


def error_cell(setting: Setting, name: str, trials: int) -> str:
    """The share of wrong boards by the maximum, and in brackets by Holm on t tests."""
    return "{:.3f} ({:.3f})".format(*board_error(setting, name, trials))


def error_rows(trials: int) -> Iterator[Row]:
    for groups in GROUPS:
        for name, kind in (("null", ONE), ("null", MANY), ("partial", MANY)):
            cell = partial(error_cell, name=name, trials=trials)
            yield f"{groups} | {name} | {kind}", cell, of_shapes(groups=groups, **KINDS[kind])
    for name in ("null", "partial"):
        crossed = of_shapes(groups=30, donors=30, sizes=(1, 10), icc=0.6)
        yield f"30 x 30 donors | {name} | 1 to 10, icc .6", partial(error_cell, name=name, trials=trials), crossed


def power_cell(setting: Setting, effect: float, trials: int) -> str:
    """How often one explainer better than all controls is told, and one worse than all."""
    return "{:.3f}, {:.3f}".format(*board_power(setting, effect, trials))


def power_rows(trials: int) -> Iterator[Row]:
    cells = ((50, 1.0, 4, ONE), (50, 1.0, 6, ONE), (50, 1.0, 5, MANY), (17, 2.0, 5, ONE), (24, 1.0, 5, ONE),
             (24, 2.0, 5, ONE), (100, 0.5, 5, ONE), (200, 0.5, 5, ONE))  # fmt: skip
    for groups, effect, controls, kind in cells:
        settings = of_shapes(groups=groups, controls=controls, **KINDS[kind])
        cell = partial(power_cell, effect=effect, trials=trials)
        yield f"{groups} | {effect:g} | {controls} | {kind}", cell, settings


def rank_cell(setting: Setting, name: str, trials: int) -> str:
    """The share of wrong columns of ranks."""
    return f"{rank_error(setting, name, trials):.3f}"


def rank_rows(trials: int) -> Iterator[Row]:
    for groups in GROUPS:
        for name, kind in (("null", ONE), ("partial", MANY)):
            cell = partial(rank_cell, name=name, trials=trials)
            yield f"{groups} | {name} | {kind}", cell, of_shapes(groups=groups, **KINDS[kind])


TABLES: Final = {
    "errors": ("groups | world | pictures", error_rows),
    "power": ("groups | effect | controls | pictures", power_rows),
    "ranks": ("groups | world | pictures", rank_rows),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=150)
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES))
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    with ProcessPoolExecutor(arguments.workers) as pool:
        for name in arguments.tables:
            start = time.perf_counter()
            head, rows = TABLES[name]
            print(f"\n| {head} | {' | '.join(SHAPES)} |")
            for label, cell, settings in rows(arguments.trials):
                print(f"| {label} | {' | '.join(pool.map(cell, settings))} |", flush=True)
            print(f"{name}: {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
