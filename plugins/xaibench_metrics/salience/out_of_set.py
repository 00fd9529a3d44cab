"""Out-of-set response: how a detector's salience changes on pictures that it was not made for.

A second dataset (an unseen manipulation, other people, no faces at all) is compared with the run's first one under the
same detector and explainer. Of the out-of-set pictures of Explain To Me noise alone was published, which is the
synthetic case (``noise-response``); here both sets are real, so that nothing pairs their pictures. What is compared is
a statistic of each map, and only between maps that speak for the same class with about the same confidence: a detector
that is unsure draws other maps, in set and out of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from scipy.stats import wasserstein_distance
from torch import Tensor

from xaibench.api import MapCase, Parameters, Passes, PassQuery, Scores, ScoreSpec, SetCase
from xaibench_metrics.salience.compare import CONSTANT, Measured, as_score, pearson
from xaibench_metrics.salience.entropy import histogram_entropy, spatial_entropy, stretch
from xaibench_perturbation import is_constant

Array = NDArray[np.float64]
_WHY = "it tells two sets of pictures apart, whatever the maps rest on"
_FEW = "no map out of set has the class and confidence of one in set"


def _spec(name: str, description: str, low: float, high: float, *, primary: bool = False) -> ScoreSpec:
    return ScoreSpec(name=name, better="none", low=low, high=high, primary=primary, why_not=_WHY,
                     description=description)  # fmt: skip


SCORES = (
    _spec("distance", "Wasserstein-1 distance of the statistic out of set from that of its matches in set", 0, 1,
          primary=True),
    _spec("null", "that distance with groups dealt to the two sets at random, mean", 0, 1),
    _spec("p-value", "share of random deals at least as far apart, this one counted", 0, 1),
    _spec("difference", "statistic out of set less the mean of its matches in set, mean", -1, 1, primary=True),
    _spec("matched", "share of the maps out of set that have a match in set", 0, 1),
    _spec("position", "correlation of the two sets' mean maps, all maps of both", -1, 1),
)  # fmt: skip


class OutOfSetParameters(Parameters):
    """Parameters of ``out-of-set``."""

    statistic: Literal["entropy-spatial", "entropy-histogram"] = Field(
        "entropy-spatial", description="what is taken of each map"
    )
    caliper: float = Field(
        0.1, gt=0, le=1, description="largest difference in P(class explained) at which two maps are compared"
    )
    nulls: int = Field(199, ge=19, description="random deals of the groups to the two sets")


@dataclass(frozen=True, slots=True)
class Drawn:
    """What is known of one map: ``group`` is that of the picture, told apart by set."""

    statistic: float
    target: int
    confidence: float
    group: str


# ---- the mathematics ------------------------------------------------------------------------------------------------


def matches(outside: Sequence[Drawn], inside: Sequence[Drawn], caliper: float) -> NDArray[np.bool_]:
    """``(n, m)``: whether map i out of set and map j in set speak for one class, ``|p_i - p_j| <= caliper``."""
    target = np.array([d.target for d in outside])[:, None] == np.array([d.target for d in inside])[None]
    p, q = (np.array([d.confidence for d in s]) for s in (outside, inside))
    near: NDArray[np.bool_] = target & (np.abs(p[:, None] - q[None]) <= caliper + 1e-12)
    return near


def compared(outside: Sequence[Drawn], inside: Sequence[Drawn], caliper: float) -> tuple[float, float, float]:
    """Distance, difference and share matched; the first two are NaN-free only where something is matched.

    Each matched map i out of set weighs 1, and so do its matches together: ``difference`` is the mean over i of
    ``s_i - mean_j s_j``, ``distance`` the Wasserstein-1 distance of ``s_i`` from all matches ``s_j`` with the weights
    ``w_j = sum_i 1[j matches i] / (matches of i)``. Raises ``ValueError`` where nothing is matched.
    """
    near = matches(outside, inside, caliper)
    found = near.any(axis=1)
    if not found.any():
        raise ValueError(_FEW)
    shares = near[found] / near[found].sum(axis=1, keepdims=True)
    s = np.array([d.statistic for d in outside])[found]
    r = np.array([d.statistic for d in inside])
    weights = shares.sum(axis=0)
    distance = float(wasserstein_distance(s, r[weights > 0], v_weights=weights[weights > 0]))
    return distance, float((s - shares @ r).mean()), float(found.mean())


def dealt(
    outside: Sequence[Drawn], inside: Sequence[Drawn], generator: np.random.Generator
) -> tuple[list[Drawn], list[Drawn]]:
    """All maps dealt anew: as many groups as before are out of set, drawn at random from those of both."""
    both = [*outside, *inside]
    names = sorted({d.group for d in both})
    count = len({d.group for d in outside})
    out = set(np.array(names, dtype=object)[generator.permutation(len(names))[:count]])
    return [d for d in both if d.group in out], [d for d in both if d.group not in out]


def by_chance(
    outside: Sequence[Drawn], inside: Sequence[Drawn], caliper: float, draws: int, generator: np.random.Generator
) -> Array:
    """``(draws,)`` distances under random deals; a deal in which nothing matches is drawn again, ten times at most."""
    found: list[float] = []
    for _ in range(10 * draws):
        if len(found) == draws:
            break
        out, within = dealt(outside, inside, generator)
        if matches(out, within, caliper).any():
            found.append(compared(out, within, caliper)[0])
    return np.array(found)


def p_value(null: NDArray[np.float64], distance: float) -> float:
    """Share of random deals, the observed one among them, whose distance is at least ``distance``.

    Equal deals differ in the last digits, since their sums run in another order: 1e-12 counts as equal.
    """
    return float((1 + (null >= distance - 1e-12).sum()) / (1 + len(null)))


def mean_map(maps: Sequence[Tensor]) -> Tensor:
    """``(h, w)`` mean of stretched maps, constant ones left out; empty where nothing is left."""
    usable = [stretch(m.cpu()) for m in maps if not is_constant(m)]
    return torch.stack(usable).mean(dim=0) if usable else torch.empty(0, 0)


# ---- the measure ----------------------------------------------------------------------------------------------------


class OutOfSet:
    """How the maps of a dataset differ from those of the run's first dataset: ``--dataset A --dataset B``.

    One value a detector, explainer and further dataset. The p-value deals whole groups, so that a person's pictures
    stay together; with g groups in each set it cannot fall below 1 / (deals that there are). Maps that are constant,
    and pictures without a map, are left out.
    """

    Parameters = OutOfSetParameters
    scores = SCORES

    def __init__(self, parameters: OutOfSetParameters) -> None:
        self.parameters = parameters

    def score(self, case: SetCase) -> Scores:
        (one, out), (two, within) = (
            self._drawn(next(iter(members.values()), ()), where)
            for members, where in ((case.members, "out"), (case.reference, "in"))
        )
        position = _position(out, within)
        if not one or not two:
            reason = f"no map {'out of' if not one else 'in'} set that is not constant"
            return Scores.undefined(SCORES, reason)
        try:
            distance, difference, share = compared(one, two, self.parameters.caliper)
        except ValueError as nothing:
            values: dict[str, Measured] = dict.fromkeys(("distance", "null", "p-value", "difference"), str(nothing))
            return _scores(values | {"matched": 0.0, "position": position})
        null = by_chance(one, two, self.parameters.caliper, self.parameters.nulls, case.streams.numpy("deals"))
        return _scores({
            "distance": distance, "difference": difference, "matched": share, "position": position,
            "null": float(null.mean()) if len(null) else "no random deal has a match",
            "p-value": p_value(null, distance),
        })  # fmt: skip

    def _drawn(self, cases: Iterable[MapCase], where: str) -> tuple[list[Drawn], list[Tensor]]:
        """What is known of each map that is not constant, and all maps."""
        entropy = spatial_entropy if self.parameters.statistic == "entropy-spatial" else histogram_entropy
        drawn, maps = [], []
        for case in cases:
            native = _native(case)
            maps.append(native)
            if not is_constant(native):
                group = f"{where}/{case.picture.sample.group}"
                drawn.append(Drawn(entropy(native.cpu()), case.target, float(case.clean[case.target]), group))
        return drawn, maps

    def passes(self, query: PassQuery) -> Passes:
        return Passes()


def _native(case: MapCase) -> Tensor:
    e = case.explanation
    found = e.map if e.native_map is None else e.native_map
    assert found is not None  # a case's map is always ok
    return found


def _position(outside: Sequence[Tensor], inside: Sequence[Tensor]) -> Measured:
    one, two = mean_map(outside), mean_map(inside)
    if one.shape != two.shape:
        return f"the maps are of different sizes: {tuple(one.shape)} and {tuple(two.shape)}"
    if not one.numel() or is_constant(one) or is_constant(two):
        return CONSTANT
    return min(1.0, max(-1.0, pearson(one.numpy(), two.numpy())))


def _scores(values: dict[str, Measured]) -> Scores:
    return Scores(tuple(as_score(spec.name, values[spec.name]) for spec in SCORES))
