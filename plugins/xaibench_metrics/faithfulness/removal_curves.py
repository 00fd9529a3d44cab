"""Removal curves that the metrics of one map share: pixels replaced in the order of the map, computed once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

from xaibench.api import (
    ArtefactQuery,
    MapCase,
    Passes,
    PassQuery,
    Product,
    Programme,
    Scores,
    ScoreSpec,
    digest,
    digest_shown,
    to_device,
)
from xaibench_metrics.faithfulness.curves import (
    CONSTANT,
    removal_background,
    replaced_probabilities,
    saliency_of,
    shown_image,
    with_clean,
)
from xaibench_metrics.faithfulness.ties import READING, SEEDED, Ties, in_tie_orders, planned_orders, tie_order
from xaibench_perturbation import Background, as_fill, is_constant, pixel_ranks, step_counts, tied_share

Order = Literal["most", "least"]
"""The most or the least salient pixels first; pixels of equal value in the order of ties, or the other way round."""


@dataclass(frozen=True, slots=True)
class Removal:
    """What two metrics must have in common to share a curve, besides the map: order, fill and numbers of pixels.

    ``counts`` are the numbers of pixels that are replaced, ascending, one picture each. ``sigma`` matters for a fill
    that blurs alone. The same pictures are *insertion* in the opposite order, from the fill to the picture. ``ties`` is
    the number of the order in which pixels of equal value go (:func:`xaibench_metrics.faithfulness.ties.tie_order`).
    """

    order: Order
    fill: str
    sigma: float
    counts: tuple[int, ...]
    ties: int = READING

    def cuts(self, pixels: int) -> tuple[int, ...]:
        """How many of the most salient pixels each picture parts from the others."""
        return self.counts if self.order == "most" else tuple(pixels - count for count in self.counts)

    @property
    def is_shared(self) -> bool:
        """Whether the fill is the same for every metric; a random one is drawn anew for each."""
        return "random" not in as_fill(self.fill).needs

    def parameters(self) -> Mapping[str, object]:
        """All that is in common, as JSON values."""
        background = Background(self.fill, self.sigma).parameters()
        return {"order": self.order, **background, "counts": _digest(self.counts), "ties": self.ties}

    def shared(self) -> Mapping[str, Passes]:
        """The curve as the part of a metric's passes that others may share (:class:`xaibench.api.Metric`)."""
        if not self.is_shared:
            return {}
        name = " ".join(f"{key}={value}" for key, value in self.parameters().items())
        return {f"removal-curve {name}": Passes(forward=len(self.counts), exact=self.ties <= SEEDED[0])}


def deletion(pixels: int, steps: int, fill: str, sigma: float, order: Order = "most") -> Removal:
    """``floor(t * pixels / steps)`` pixels removed, t = 1 .. steps."""
    return Removal(order, fill, sigma, _counts_removed(pixels, steps))


def insertion(pixels: int, steps: int, fill: str, sigma: float) -> Removal:
    """``floor(t * pixels / steps)`` most salient pixels shown, t = steps - 1 .. 0: all others are removed.

    The last picture is the first of an insertion.
    """
    return Removal("least", fill, sigma, _counts_hidden(pixels, steps))


def pixels_of(query: PassQuery) -> int:
    """Pixels of a picture as the detector is shown it."""
    height, width = query.facts.input_size
    return height * width


def shared_passes(removals: Iterable[Removal], ties: Ties, query: PassQuery) -> Mapping[str, Passes]:
    """What a metric with these curves declares as ``shared``: each in every order of ties that may be computed."""
    shared: dict[str, Passes] = {}
    for removal in removals:
        for number in planned_orders(ties, len(removal.counts), query):
            shared |= replace(removal, ties=number).shared()
    return shared


def removal_probabilities(case: MapCase, removal: Removal, ties: int) -> Programme[Tensor]:
    """Probabilities ``(n, C)``, float64 on the CPU, at each of the removal's ``n`` counts, in the order ``ties`` of
    equal values.

    They are computed once for all metrics of the case's map.
    """
    saliency, removal = saliency_of(case), replace(removal, ties=ties)
    if removal.is_shared:
        curve = RemovalCurve(removal, case.explainer, saliency, digest_shown(saliency, None, None))
        product = yield from case.artefacts.get(curve, case.picture)
        return product.tensors["probabilities"]
    background = yield from removal_background(case, removal.fill, removal.sigma)
    order = yield from tie_order(case, saliency.numel(), ties)
    probabilities = yield from _removed(shown_image(case), background, pixel_ranks(saliency, order), removal)
    return probabilities


def removal_scores(
    case: MapCase,
    specs: tuple[ScoreSpec, ...],
    ties: Ties,
    removals: Sequence[Removal],
    score: Callable[[int], Programme[Scores]],
) -> Programme[Scores]:
    """The scores of these removals by the case's map, in the orders of equal values that they need
    (:func:`xaibench_metrics.faithfulness.ties.in_tie_orders`). A constant map is ``undefined``."""
    saliency = saliency_of(case)
    if is_constant(saliency):
        return Scores.undefined(specs, CONSTANT)
    cuts = (cut for removal in removals for cut in removal.cuts(saliency.numel()))
    scores = yield from in_tie_orders(specs, ties, tied_share(saliency, cuts), score)
    return scores


def target_curve(case: MapCase, removal: Removal, ties: int) -> Programme[tuple[Tensor, Tensor]]:
    """Shares of pixels removed and the target's probability there, ``(n + 1,)`` float64 each, from the untouched
    picture on."""
    changed = yield from removal_probabilities(case, removal, ties)
    x = torch.tensor((0, *removal.counts)).double() / saliency_of(case).numel()
    return x, with_clean(case, changed)[:, case.target]


@dataclass(frozen=True, slots=True, eq=False)
class RemovalCurve:
    """Probabilities along a removal by one map: an artefact, not stored, that all metrics of the map share.

    ``saliency``: ``(H, W)``; its digest ``map_digest`` is part of the parameters. So is the explainer: which explainers
    meet on one bench depends on how a run is cut into tasks, and the passes must not. Product: the tensor
    ``probabilities`` ``(n, C)`` of all classes, so that the target is no parameter.
    """

    removal: Removal
    explainer: str
    saliency: Tensor
    map_digest: str

    kind = "removal-curve"
    uses_detector = True
    stored = False

    def parameters(self) -> Mapping[str, object]:
        of_map = {"explainer": self.explainer, "map": self.map_digest}
        return {**of_map, **self.removal.parameters()}

    def make(self, query: ArtefactQuery) -> Programme[Product]:
        image = to_device(query.picture.image, query.detector.device)
        made = yield from query.artefacts.get(Background(self.removal.fill, self.removal.sigma), query.picture)
        order = yield from tie_order(query, self.saliency.numel(), self.removal.ties)
        ranks = pixel_ranks(self.saliency, order)
        probabilities = yield from _removed(image, made.tensors["background"], ranks, self.removal)
        return Product(tensors={"probabilities": probabilities})

    def passes(self, query: PassQuery) -> Passes:
        return Passes(forward=len(self.removal.counts))


def _removed(image: Tensor, background: Tensor, ranks: Tensor, removal: Removal) -> Programme[Tensor]:
    if removal.order == "least":
        ranks = ranks.numel() - 1 - ranks
    return replaced_probabilities(image, background, ranks, torch.tensor(removal.counts))


# The plan asks for them once for each sample.


@lru_cache(maxsize=64)
def _counts_removed(pixels: int, steps: int) -> tuple[int, ...]:
    return tuple(step_counts(pixels, steps)[1:].tolist())


@lru_cache(maxsize=64)
def _counts_hidden(pixels: int, steps: int) -> tuple[int, ...]:
    return tuple((pixels - step_counts(pixels, steps)[:-1]).flip(0).tolist())


@lru_cache(maxsize=256)
def _digest(counts: tuple[int, ...]) -> str:
    return f"{len(counts)}-{digest(counts)[:12]}"
