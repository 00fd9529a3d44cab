"""The counterfactual oracle: which regions of a fake make the verdict, by exchanging them with the real counterpart."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from xaibench.api import ExplainRequest, Explanation, Forward, Passes, PassQuery, Programme, to_device
from xaibench_explainers.perturbation.regions import every_coalition, no_signal
from xaibench_explainers.perturbation.shapley import exact_shapley
from xaibench_perturbation import (
    CHUNK,
    Coalitions,
    SegmentParameters,
    Switch,
    SwitchParameters,
    fake_margins,
    per_pixel,
    refusal,
    segments_of,
    switch_off,
)

COUNTERPART = SwitchParameters.model_validate({"fill": "counterpart"})
ONE_REGION = "the picture is a single segment: there is nothing to compare"


class CounterfactualParameters(SegmentParameters):
    """Parameters of ``counterfactual-oracle``."""

    count: int = Field(10, ge=2, le=10, description="most regions: segments beyond it join a neighbour")


def merged(labels: Tensor, most: int) -> Tensor:
    """``(H, W)`` int64 labels as before, or fewer: the smallest region joins the neighbour of the longest common
    border until ``most`` are left. Of equals the first counts; numbers stay dense."""
    labels = labels.clone()
    while int(labels.max()) >= most:
        smallest = int(labels.flatten().bincount().argmin())
        neighbour = int(_borders(labels, smallest).argmax())
        labels[labels == smallest] = neighbour
        labels[labels > smallest] -= 1
    return labels


def _borders(labels: Tensor, region: int) -> Tensor:
    """Sides of pixels that each region shares with one: ``(S,)`` int64, 0 for the region itself."""
    pairs = ((labels[1:], labels[:-1]), (labels[:, 1:], labels[:, :-1]))
    beside = torch.cat([side for a, b in pairs for side in (a[b == region], b[a == region])])
    shared = beside.bincount(minlength=int(labels.max()) + 1)
    shared[region] = 0
    return shared


def changed_regions(image: Tensor, other: Tensor, labels: Tensor) -> Tensor:
    """Numbers of the regions in which two ``(3, H, W)`` pictures differ, ``(M,)`` int64 in rising order."""
    changed = to_device((image != other).any(dim=0), labels.device)
    return labels[changed].bincount().nonzero().flatten()


class CounterfactualOracle:
    """Exact Shapley values of ``ln(P(fake) / P(real))``, regions coming from the fake or its real counterpart. Signed.

    The game's value v(S) is the margin of the fake with the regions outside S replaced by the counterpart's pixels
    (baseline Shapley values, the counterpart being the baseline). All ``2**M`` coalitions are scored, so
    ``segment_weights`` are exact: they sum to ``margin(fake) - margin(counterpart)``, ``change`` in the details, and
    two regions that do the same get the same. Only the M regions where the pictures differ are players; the others get
    exactly 0, which is what the axioms give them. For *real* the signs turn round. The map paints each value,
    undivided, on its region.

    What a detector that was trained uses is not known, and the manipulation mask does not say; among trained detectors
    this is the nearest thing to known evidence, as far as regions go. It is no ceiling of pixel measures: it cannot
    order the pixels within a region, exchanging one leaves a seam wherever the pictures do not meet, and a change all
    over the picture (compression) makes every region a player. No explanation without a counterpart, where it is the
    picture itself, where the picture is one segment, and where the margin is the same whatever is exchanged.
    """

    Parameters = CounterfactualParameters

    def __init__(self, parameters: CounterfactualParameters) -> None:
        self.parameters = parameters

    def explain(self, request: ExplainRequest) -> Programme[Explanation]:
        switch = yield from switch_off(request, COUNTERPART)
        if isinstance(switch, Explanation):
            return switch
        segments = yield from segments_of(request.picture, self.parameters, request.artefacts)
        labels = merged(segments, self.parameters.count)
        if not labels.any():
            return Explanation.none(ONE_REGION)
        assert switch.background is not None  # only a fill that needs masks has none
        players = changed_regions(switch.image, switch.background, labels)
        margins = yield from _margins(request, switch, labels, players)
        if reason := no_signal(margins):
            return Explanation.none(reason)
        return _painted(margins, labels, players, speaks_for_real=request.target == request.detector.facts.real_class)

    def passes(self, query: PassQuery) -> Passes:
        """All coalitions of all regions; fewer where some are as in the counterpart."""
        return Passes(forward=2**self.parameters.count, exact=False)

    def refuses(self, query: PassQuery) -> str:
        return refusal(COUNTERPART, query)


def _margins(request: ExplainRequest, switch: Switch, labels: Tensor, players: Tensor) -> Programme[Tensor]:
    """``(2**M,)`` float64 margins of the coalitions, in the order of ``every_coalition``."""
    coalitions = every_coalition(len(players))
    members = torch.zeros(len(coalitions), int(labels.max()) + 1)
    members[:, players] = coalitions
    design, real_class = Coalitions(members, labels).to(request.detector.device), request.detector.facts.real_class
    found = []
    for start in range(0, len(design), CHUNK):
        logits: Tensor = yield Forward(switch(design.render(start, start + CHUNK)), output="logit")
        found.append(fake_margins(logits.double().cpu(), real_class))
    return torch.cat(found)


def _painted(margins: Tensor, labels: Tensor, players: Tensor, *, speaks_for_real: bool) -> Explanation:
    sign = -1 if speaks_for_real else 1
    weights = torch.zeros(int(labels.max()) + 1, dtype=torch.float64)
    weights[players] = sign * exact_shapley(margins, len(players))
    shown = weights.float()
    details = {"change": sign * float(margins[-1] - margins[0]), "players": float(len(players))}
    return Explanation(map=per_pixel(shown, labels), segment_weights=shown, details=details)
