"""Segments replaced in the order of a map, most salient first: computed once for all metrics of the map."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from xaibench.api import ArtefactQuery, MapCase, Passes, PassQuery, Product, Programme, digest_shown, to_device
from xaibench_metrics.faithfulness.curves import removal_background, replaced_probabilities, saliency_of, shown_image
from xaibench_metrics.faithfulness.fill_response import fill_response
from xaibench_metrics.faithfulness.ties import TieParameters, planned_orders, tie_order, tie_passes
from xaibench_perturbation import (
    SIGMA,
    Background,
    SegmentParameters,
    as_fill,
    fill_parameter,
    is_constant,
    per_segment_mean,
    pixel_ranks,
    segments_of,
    tied_share,
)

ONE_PIECE = "the picture is in one segment: there is no order"
ALIKE = "the map gives every segment the same: it orders none"
CURRENT_MEAN = "current-mean"


class SegmentRemovalParameters(SegmentParameters, TieParameters):
    """Which segments there are and what replaces them; to be inherited."""

    count: int = Field(100, ge=2, description="segments wanted; where there are more than twice as many, the last go")
    fill: Annotated[str, fill_parameter({"random"}, also=(CURRENT_MEAN,))] = Field(
        "mean", description="what a segment becomes; current-mean is that of the picture as changed so far"
    )
    sigma: float = Field(SIGMA, gt=0, le=1, description="blur of fill=blur, as a share of the shorter side")

    @property
    def is_shared(self) -> bool:
        """Whether the fill is the same for every metric; a random one is drawn anew for each."""
        return self.fill == CURRENT_MEAN or "random" not in as_fill(self.fill).needs

    def curve(self) -> Mapping[str, object]:
        """What two metrics must have in common to share a curve, besides the map and the order of ties."""
        background = (
            {"fill": self.fill} if self.fill == CURRENT_MEAN else Background(self.fill, self.sigma).parameters()
        )
        compactness = self.compactness if self.segments == "slic" else None
        return {"segments": self.segments, "count": self.count, "compactness": compactness, **background}

    def accompanied_by(self) -> tuple[str, ...]:
        """``current-mean`` starts as the mean: the first segments take the colour of the untouched picture."""
        return fill_response("mean" if self.fill == CURRENT_MEAN else self.fill, self.sigma)

    def passes(self, query: PassQuery) -> Passes:
        """A bound: one for each segment, and how many there are shows when the picture is cut; three times as many
        where the map leaves the order of many open."""
        return tie_passes(Passes(forward=2 * self.count, exact=False), self.ties, 2 * self.count, query)

    def shared(self, query: PassQuery) -> Mapping[str, Passes]:
        """The curve in every order of ties, as the part of the passes that other metrics may share."""
        if not self.is_shared:
            return {}
        name = " ".join(f"{key}={value}" for key, value in self.curve().items())
        orders = planned_orders(self.ties, 2 * self.count, query)
        return {f"segment-curve {name} ties={n}": Passes(forward=2 * self.count, exact=False) for n in orders}


def segment_counts(segments: int, most: int) -> Tensor:
    """``(min(segments, most),)`` int64: segments replaced at each point, one more each time; the last takes the rest.

    SLIC finds about as many segments as were wanted, and nothing bounds it; ``most`` bounds the passes.
    """
    counts = torch.arange(1, min(segments, most) + 1)
    counts[-1] = segments
    return counts


def current_means(image: Tensor, labels: Tensor, ranks: Tensor) -> Tensor:
    """``(3, H, W)``: each segment in the mean colour that the picture has when it is its turn.

    ``ranks``: ``(S,)``, the turn of each segment; those before are in their colours by then. Float64 within.
    """
    labels = labels.cpu()
    colours = per_segment_mean(image.cpu(), labels)
    shares = torch.bincount(labels.flatten()).double() / labels.numel()
    mean = image.double().mean(dim=(1, 2)).cpu()
    painted = torch.empty_like(colours)
    for segment in ranks.argsort().tolist():
        painted[:, segment] = mean
        mean = mean + shares[segment] * (mean - colours[:, segment])
    return to_device(painted.to(image.dtype)[:, labels], image.device)


@dataclass(frozen=True, slots=True)
class SegmentOrder:
    """Segments of a picture as a map orders them.

    ``labels``: ``(H, W)`` int64. ``means``: ``(S,)``, the map's mean in each segment. ``counts``: segments replaced at
    each point of the curve.
    """

    labels: Tensor
    means: Tensor
    counts: Tensor

    @property
    def reason(self) -> str:
        """Why the map orders no segments, or ``""``."""
        if not is_constant(self.means):
            return ""
        return ONE_PIECE if len(self.means) == 1 else ALIKE

    @property
    def tied_share(self) -> float:
        """The share of the pixels whose order the means leave open where a point of the curve falls."""
        return tied_share(self.means, self.counts.tolist(), self.labels.flatten().bincount())

    @property
    def shares(self) -> list[float]:
        """The share of segments that are replaced at each point, the untouched picture first."""
        return [0.0, *(self.counts.double() / len(self.means)).tolist()]


def segment_order(case: MapCase, parameters: SegmentRemovalParameters) -> Programme[SegmentOrder]:
    """The segments of the case's picture in the order of its map."""
    labels = yield from segments_of(case.picture, parameters, case.artefacts)
    means = per_segment_mean(saliency_of(case), labels)
    return SegmentOrder(labels, means, segment_counts(len(means), 2 * parameters.count))


def segment_probabilities(
    case: MapCase, parameters: SegmentRemovalParameters, order: SegmentOrder, ties: int
) -> Programme[Tensor]:
    """Probabilities ``(n, C)``, float64 on the CPU, at each of the order's ``n`` counts, with the order ``ties`` of
    equal segments. They are computed once for all metrics of the case's map."""
    if parameters.is_shared:
        curve = SegmentCurve(parameters, case.explainer, digest_shown(saliency_of(case), None, None), order, ties)
        product = yield from case.artefacts.get(curve, case.picture)
        return product.tensors["probabilities"]
    turns = yield from tie_order(case, len(order.means), ties)
    background = yield from removal_background(case, parameters.fill, parameters.sigma)
    ranks = pixel_ranks(order.means, turns)[order.labels]
    probabilities = yield from replaced_probabilities(shown_image(case), background, ranks, order.counts)
    return probabilities


@dataclass(frozen=True, slots=True, eq=False)
class SegmentCurve:
    """Probabilities as segments are replaced in the order of one map: an artefact, not stored.

    ``map_digest`` is that of the map, from which ``order`` follows. It and the explainer are part of the parameters, as
    in :class:`xaibench_metrics.faithfulness.removal_curves.RemovalCurve`. Product: the tensor ``probabilities``
    ``(n, C)`` of all classes, so that the target is no parameter.
    """

    removal: SegmentRemovalParameters
    explainer: str
    map_digest: str
    order: SegmentOrder
    ties: int

    kind = "segment-curve"
    uses_detector = True
    stored = False

    def parameters(self) -> Mapping[str, object]:
        of_map = {"explainer": self.explainer, "map": self.map_digest}
        return {**of_map, **self.removal.curve(), "ties": self.ties}

    def make(self, query: ArtefactQuery) -> Programme[Product]:
        image, order = to_device(query.picture.image, query.detector.device), self.order
        turns = yield from tie_order(query, len(order.means), self.ties)
        ranks = pixel_ranks(order.means, turns)
        background = yield from self._background(query, image, ranks)
        probabilities = yield from replaced_probabilities(image, background, ranks[order.labels], order.counts)
        return Product(tensors={"probabilities": probabilities})

    def _background(self, query: ArtefactQuery, image: Tensor, ranks: Tensor) -> Programme[Tensor]:
        if self.removal.fill == CURRENT_MEAN:
            return current_means(image, self.order.labels, ranks)
        made = yield from query.artefacts.get(Background(self.removal.fill, self.removal.sigma), query.picture)
        return made.tensors["background"]

    def passes(self, query: PassQuery) -> Passes:
        return Passes(forward=2 * self.removal.count, exact=False)
