"""ROAD: removal that leaves no hole to see. What is taken out is imputed from its border."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Annotated

import torch
from pydantic import AfterValidator, Field
from torch import Tensor

from xaibench.api import Curve, Forward, MapCase, Passes, PassQuery, Programme, Score, Scores, ScoreSpec
from xaibench_metrics.faithfulness.curves import CONSTANT, saliency_of, shown_image, still_called, with_clean
from xaibench_metrics.faithfulness.fill_response import fill_response
from xaibench_metrics.faithfulness.ties import TieParameters, in_tie_orders, tie_order, tie_passes, with_ties
from xaibench_perturbation import CHUNK, inpaint_each, is_constant, pixel_ranks, tied_share

_P = "of the target's probability over the shares removed"

COMBINED = ScoreSpec(
    name="combined",
    output="probability",
    untouched="start",
    better="higher",
    low=-0.5,
    high=0.5,
    ranks_evidence=True,
    description="(lerf - morf) / 2",
)
MORF = ScoreSpec(
    name="morf",
    output="probability",
    better="lower",
    low=0,
    high=1,
    ranks_evidence=True,
    primary=False,
    description=f"mean {_P}, most relevant first",
)
LERF = ScoreSpec(
    name="lerf",
    output="probability",
    better="higher",
    low=0,
    high=1,
    ranks_evidence=True,
    primary=False,
    description=f"mean {_P}, least relevant first",
)
MORF_KEPT = ScoreSpec(
    name="morf-kept",
    item_form="{percent}",
    better="lower",
    low=0,
    high=1,
    ranks_evidence=True,
    primary=False,
    description="1 where the verdict is still the target's with the most relevant ITEM percent of pixels removed",
)
LERF_KEPT = ScoreSpec(
    name="lerf-kept",
    item_form="{percent}",
    better="higher",
    low=0,
    high=1,
    ranks_evidence=True,
    primary=False,
    description="1 where the verdict is still the target's with the least relevant ITEM percent of pixels removed",
)


def _ascending(percentages: tuple[float, ...]) -> tuple[float, ...]:
    if list(percentages) != sorted(set(percentages)):
        raise ValueError("percentages must ascend")
    return percentages


class RoadParameters(TieParameters):
    """Parameters of ``road``."""

    percentages: Annotated[tuple[Annotated[float, Field(gt=0, lt=100)], ...], AfterValidator(_ascending)] = Field(
        (10, 20, 30, 40, 50, 60, 70, 80, 90), min_length=1, description="percent of the pixels removed"
    )
    noise: float = Field(0.01, ge=0, description="standard deviation of the noise on imputed pixels, of a range of 1")


def removed_counts(pixels: int, percentages: Sequence[float]) -> list[int]:
    """Pixels removed at each percentage, rounded down."""
    return [math.floor(pixels * percent / 100 + 1e-9) for percent in percentages]


def imputed(image: Tensor, ranks: Tensor, counts: Sequence[int], noise: float, seed: int) -> Tensor:
    """``(counts, 3, H, W)`` in [0, 1]: the first pixels of ``ranks`` imputed, under one noise."""
    holes = torch.stack([ranks < count for count in counts])
    return inpaint_each(image, holes, noise=noise, seed=seed).clamp(0, 1)


class Road:
    """ROAD (Rong et al. 2022): removal by noisy linear imputation, both ways round.

    At each percentage the most (``morf``) or least (``lerf``) relevant pixels are imputed from the others
    (:func:`xaibench_perturbation.inpaint`), plus normal noise. ``morf`` and ``lerf`` are the means of P(target) over
    the percentages, ``combined = (lerf - morf) / 2`` (higher = the map separates what matters from what does not).
    ``morf-kept`` and ``lerf-kept`` say for each percentage (the item) whether the picture is still called the target;
    their mean over pictures is the detector's accuracy against the share removed, ROAD's own curve. Pixels of equal
    value go in a random order, the same for all maps of a picture, and the other way round for ``lerf``. A constant map
    is ``undefined``. The noise is drawn once a picture, so that all maps of it meet the same. The curves begin with the
    untouched picture, which no mean counts.

    Departures: the paper's noise is in the units of a normalised input, here in those of the picture, clipped to
    [0, 1]. Quantus removes 1, 3, .. 99 % and averages the verdicts of the first batch alone, and cannot take a map of
    one channel on a picture of three; pytorch-grad-cam scores the change of the target's output, which is ``morf`` and
    ``lerf`` minus P(target) of the untouched picture, and its combined score is the same. ROAD prefers blurry maps
    (arXiv:2304.13836): compare with random maps of the same smoothness.
    """

    Parameters = RoadParameters

    def __init__(self, parameters: RoadParameters) -> None:
        self.parameters = parameters

    @property
    def scores(self) -> tuple[ScoreSpec, ...]:
        return with_ties((COMBINED, MORF, LERF, MORF_KEPT, LERF_KEPT), self.parameters.ties)

    def score(self, case: MapCase) -> Programme[Scores]:
        saliency = saliency_of(case)
        if is_constant(saliency):
            return Scores.undefined(self.scores, CONSTANT)
        pixels, p = saliency.numel(), self.parameters
        counts = removed_counts(pixels, p.percentages)
        share = tied_share(saliency, (*counts, *(pixels - count for count in counts)))
        scores = yield from in_tie_orders(self.scores, p.ties, share, partial(self._in_order, case))
        return scores

    def _in_order(self, case: MapCase, ties: int) -> Programme[Scores]:
        saliency = saliency_of(case)
        order = yield from tie_order(case, saliency.numel(), ties)
        ranks = pixel_ranks(saliency, order)
        most = yield from self._probabilities(case, ranks)
        least = yield from self._probabilities(case, ranks.numel() - 1 - ranks)
        morf, lerf = most[:, case.target], least[:, case.target]
        means = float(morf.mean()), float(lerf.mean())
        values = (
            Score(name=COMBINED.name, value=(means[1] - means[0]) / 2),
            Score(name=MORF.name, value=means[0]),
            Score(name=LERF.name, value=means[1]),
            *self._kept(MORF_KEPT, most, case),
            *self._kept(LERF_KEPT, least, case),
        )
        x = [0.0, *(percent / 100 for percent in self.parameters.percentages)]
        along = (("morf", most), ("lerf", least))
        curves = (Curve(name=n, x=x, y=with_clean(case, y)[:, case.target].tolist()) for n, y in along)
        return Scores(values, tuple(curves))

    def _probabilities(self, case: MapCase, ranks: Tensor) -> Programme[Tensor]:
        """``(percentages, C)`` float64."""
        p, found = self.parameters, []
        counts = removed_counts(ranks.numel(), p.percentages)
        for start in range(0, len(counts), CHUNK):
            some = counts[start : start + CHUNK]
            reply: Tensor = yield Forward(imputed(shown_image(case), ranks, some, p.noise, case.streams.seed("noise")))
            found.append(reply.double().cpu())
        return torch.cat(found)

    def _kept(self, spec: ScoreSpec, probabilities: Tensor, case: MapCase) -> Iterator[Score]:
        kept = still_called(probabilities, case.target, case.detector.facts)
        for percent, value in zip(self.parameters.percentages, kept.tolist(), strict=True):
            yield Score(name=spec.name, item=f"{percent:.12g}", value=value)

    def accompanied_by(self) -> tuple[str, ...]:
        """Of the imputation, without its noise."""
        return fill_response("inpaint")

    def passes(self, query: PassQuery) -> Passes:
        """A bound: a map with many ties is removed in three orders of them, and a constant one not at all."""
        p = self.parameters
        steps = 2 * len(p.percentages)
        return tie_passes(Passes(forward=steps), p.ties, steps, query)
