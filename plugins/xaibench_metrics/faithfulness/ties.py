"""Ties: the order in which what a map holds equal is removed, how much is, and how far that order moves a score."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from xaibench.api import (
    ArtefactQuery,
    MapCase,
    Parameters,
    Passes,
    PassQuery,
    Product,
    Programme,
    Score,
    Scores,
    ScoreSpec,
)

Ties = Literal["seeded", "reading"]

READING = 0
"""The order of reading, as the number of an order of equal values; the seeded ones are 1, 2 and 3."""

SEEDED = (1, 2, 3)
"""The score is that of order 1. The others are computed where more than :data:`TIED_MOST` is tied."""

TIED_MOST = 0.2

_FEW_TIES_STEPS = 20
"""A hundredth of the pixels at each of so many cuts is no more than :data:`TIED_MOST`."""

TIED_SHARE = ScoreSpec(
    name="tied-share",
    better="none",
    low=0,
    high=1,
    primary=False,
    ranked=False,
    why_not="it says how much the map leaves unordered, not whether its order is right",
    description="share of the pixels whose order the map leaves open where a step of the removal falls",
)
TIE_SPREAD = ScoreSpec(
    name="tie-spread",
    better="none",
    low=0,
    primary=False,
    ranked=False,
    why_not="it says how far chance moves the score, not what the map is worth",
    version=2,
    description="largest less smallest value of the score over three random orders of equal pixels; 0 where at most a "
    "fifth of the pixels is tied, of which no further order is computed",
)
SETTLED = "at most a fifth of the pixels is tied: no further order is computed, and the spread is taken as 0"


class TieParameters(Parameters):
    """In which order equal values go; to be inherited by the parameters of what removes in the order of a map."""

    ties: Ties = Field("seeded", description="order of equal values: drawn at random for each picture, or of reading")


# ---- orders ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TieOrder:
    """A random order of ``count`` pixels, patches or segments of equal value: an artefact, not stored.

    It follows from the seed of the run, the picture, ``count`` and ``number``, so that all maps of a picture and all
    metrics share it, whatever the detector. Product: the tensor ``order`` ``(count,)`` int32, a permutation.
    """

    count: int
    number: int

    kind = "tie-order"
    uses_detector = False
    stored = False

    def parameters(self) -> Mapping[str, object]:
        return {"count": self.count, "number": self.number}

    def make(self, query: ArtefactQuery) -> Product:
        order = torch.randperm(self.count, generator=query.streams.torch("order"))
        return Product(tensors={"order": order.to(torch.int32)})

    def passes(self, query: PassQuery) -> Passes:
        return Passes()


def tie_order(case: MapCase | ArtefactQuery, count: int, number: int) -> Programme[Tensor | None]:
    """The order of equal values for :func:`xaibench_perturbation.pixel_ranks`: None is that of reading."""
    if number == READING:
        return None
    product = yield from case.artefacts.get(TieOrder(count, number), case.picture)
    return product.tensors["order"]


def first_order(ties: Ties) -> int:
    """The number of the order that the score is computed with."""
    return READING if ties == "reading" else SEEDED[0]


def _orders(ties: Ties, share: float) -> Sequence[int]:
    """The numbers of the orders that are computed where ``share`` is tied."""
    return SEEDED if ties == "seeded" and share > TIED_MOST else (first_order(ties),)


# ---- the plan -------------------------------------------------------------------------------------------------------


def planned_orders(ties: Ties, steps: int, query: PassQuery) -> Sequence[int]:
    """The numbers of the orders that a removal in ``steps`` steps may be computed with."""
    few = query.few_ties and steps <= _FEW_TIES_STEPS
    return _orders(ties, 0.0 if few else 1.0)


def tie_passes(passes: Passes, ties: Ties, steps: int, query: PassQuery) -> Passes:
    """Passes of a removal that takes ``passes`` with one order: a bound where more than one may be computed."""
    orders = len(planned_orders(ties, steps, query))
    return passes if orders == 1 else replace(passes.times(orders), exact=False)


# ---- scores ---------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=64)
def with_ties(specs: tuple[ScoreSpec, ...], ties: Ties) -> tuple[ScoreSpec, ...]:
    """The scores of a removal with ``tied-share``, and with ``tie-spread`` for each primary one where orders are drawn.

    The definition with the order of reading is the first version of each.
    """
    if ties == "reading":
        return (*specs, TIED_SHARE)
    primary = [s for s in specs if s.primary]
    spreads = {s.name: TIE_SPREAD.name if len(primary) == 1 else f"{TIE_SPREAD.name}-{s.name}" for s in primary}
    seeded = (replace(s, version=s.version + 1, tie_spread=spreads.get(s.name, "")) for s in specs)
    of_ties = (replace(TIE_SPREAD, name=spreads[s.name], high=s.high - s.low) for s in primary)
    return (*seeded, TIED_SHARE, *of_ties)


def in_tie_orders(
    specs: Iterable[ScoreSpec], ties: Ties, share: float, score: Callable[[int], Programme[Scores]]
) -> Programme[Scores]:
    """The scores with the first order of equal values, beside them the share that is tied and the spread over orders.

    Parameters
    ----------
    specs: what :func:`with_ties` makes of the metric's scores.
    share: what :func:`xaibench_perturbation.tied_share` says of the map.
    score: a programme of the scores with the order of a number; :func:`tie_order` gives the order.
    """
    outcomes = []
    for number in _orders(ties, share):
        outcomes.append((yield from score(number)))
    spreads = (_spread(spec, outcomes) for spec in specs if spec.tie_spread)
    values = (*outcomes[0].values, Score(name=TIED_SHARE.name, value=share), *spreads)
    return Scores(values, outcomes[0].curves)


def _spread(spec: ScoreSpec, outcomes: Sequence[Scores]) -> Score:
    scores = [s for o in outcomes for s in o.values if s.name == spec.name]
    reason = next((s.reason for s in scores if s.status != "ok"), "")
    if reason:
        return Score(name=spec.tie_spread, status="undefined", reason=reason)
    if len(outcomes) == 1:
        return Score(name=spec.tie_spread, value=0.0, reason=SETTLED)
    values = list(_values(scores))
    return Score(name=spec.tie_spread, value=max(values) - min(values))


def _values(scores: Iterable[Score]) -> Iterator[float]:
    return (s.value for s in scores if s.value is not None)
