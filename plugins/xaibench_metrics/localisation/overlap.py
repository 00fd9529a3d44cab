"""Overlap of a map that was cut into foreground and background with the manipulation mask."""

from __future__ import annotations

from torch import Tensor

from xaibench.api import MapCase, Parameters, Passes, PassQuery, Scores, ScoreSpec
from xaibench_metrics.localisation.case import localised
from xaibench_metrics.localisation.masks import relevance_rank


def _spec(name: str, description: str, *, primary: bool) -> ScoreSpec:
    return ScoreSpec(
        name=name, better="higher", low=0, high=1, ranks_evidence=True, primary=primary, description=description
    )


SPECS = (
    _spec("iou-matched", "overlap of the mask with the |mask| most salient pixels, over their union", primary=True),
    _spec("iou-half", "overlap of the mask with the map cut halfway between its ends, over their union", primary=True),
    _spec("precision", "share of the map cut halfway that lies in the mask", primary=False),
    _spec("recall", "share of the mask that the map cut halfway covers", primary=False),
    _spec("f1", "harmonic mean of precision and recall of the map cut halfway", primary=False),
)


def iou(chosen: Tensor, mask: Tensor) -> float:
    """``|P and M| / |P or M|`` of two bool masks of one shape; 1 where both are empty, as Dolos has it."""
    union = int((chosen | mask).sum())
    return int((chosen & mask).sum()) / union if union else 1.0


def iou_matched(saliency: Tensor, mask: Tensor) -> float:
    """IoU of M with the top ``|M|`` pixels: ``h / (2 |M| - h)``, h of them in M; M must not be empty.

    Pixels tied at the threshold belong to the top by the share of them that has room there, each equally much. With
    r = h / |M|, the relevance rank, this is ``r / (2 - r)``.
    """
    rank = relevance_rank(saliency, mask)
    return rank / (2 - rank)


def cut_halfway(saliency: Tensor) -> Tensor | None:
    """``(H, W)`` bool: ``(a - min) / (max - min) >= 1/2``; None where the map is constant."""
    low, high = (float(v) for v in saliency.double().aminmax())
    return saliency.double() >= low + (high - low) / 2 if high > low else None


def precision_recall_f1(chosen: Tensor, mask: Tensor) -> tuple[float, float, float]:
    """``|P and M| / |P|``, ``|P and M| / |M|`` and ``2 |P and M| / (|P| + |M|)``; neither may be empty."""
    hits, found, wanted = (int(m.sum()) for m in (chosen & mask, chosen, mask))
    return hits / found, hits / wanted, 2 * hits / (found + wanted)


class Iou:
    """Intersection over union with the mask: of the ``|mask|`` most salient pixels, and of the map cut at 0.5.

    ``iou-matched`` depends on the order of pixels alone. ``iou-half`` and the pixel ``precision``, ``recall`` and
    ``f1`` are what Dolos and X-AIGD (Xiao et al. 2026, arXiv:2601.19430) report. Theirs is the output of a localiser
    in [0, 1], cut as it is, while a saliency map has no such scale and is stretched to [0, 1] first: the cut then
    depends on its two most extreme pixels, so read it beside ``iou-matched``. A constant map has no ``iou-half``; every
    other one has a pixel on each side of the cut. ``undefined`` where the mask covers the picture.
    """

    scores = SPECS

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters

    def score(self, case: MapCase) -> Scores:
        return localised(case, self.scores, _overlap, outside=True)

    def passes(self, query: PassQuery) -> Passes:
        return Passes()


def _overlap(saliency: Tensor, mask: Tensor) -> tuple[float | str, ...]:
    chosen = cut_halfway(saliency)
    if chosen is None:
        constant = "the map is constant: it cannot be cut"
        return iou_matched(saliency, mask), *[constant] * (len(SPECS) - 1)
    return iou_matched(saliency, mask), iou(chosen, mask), *precision_recall_f1(chosen, mask)
