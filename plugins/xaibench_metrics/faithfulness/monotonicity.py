"""Does the output rise while pixels come in, and do pixels of larger attribution matter more?"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor

from xaibench.api import Curve, MapCase, Output, Parameters, Passes, PassQuery, Programme, Score, Scores, ScoreSpec
from xaibench_metrics.faithfulness.changes import (
    CONSTANT,
    ChangeParameters,
    Outputs,
    agreement,
    blocks_of,
    clean_passes,
    outputs_of,
    shared_clean,
    sums_over,
    watching,
)
from xaibench_metrics.faithfulness.correlation import map_of, score_of
from xaibench_metrics.faithfulness.curves import removal_background
from xaibench_perturbation import is_constant, pixel_ranks, step_counts

_EITHER_END = "pixels that do not matter change nothing whether they come first or last: an inverted map does as well"

MONOTONICITY = ScoreSpec(
    name="monotonicity",
    better="higher",
    low=0,
    high=1,
    why_not=_EITHER_END,
    description="share of steps at which the output does not fall while pixels come in, least attribution first",
)
NEVER_FALLS = ScoreSpec(
    name="never-falls",
    better="higher",
    low=0,
    high=1,
    why_not=_EITHER_END,
    primary=False,
    description="1 where the output falls at no step, else 0: the published definition",
)
MONOTONICITY_CORRELATION = ScoreSpec(
    name="monotonicity-correlation",
    better="higher",
    low=-1,
    high=1,
    ranks_evidence=True,
    description="rank correlation of a block's summed |a| with how far random pixels there move the output",
)


class MonotonicityParameters(ChangeParameters):
    """Parameters of ``monotonicity``."""

    steps: int = Field(32, ge=2, description="equal steps from the fill to the picture")
    output: Output = Field("probability", description="output of the target class that is watched")


class MonotonicityCorrelationParameters(Parameters):
    """Parameters of ``monotonicity-correlation``."""

    blocks: int = Field(32, ge=3, description="blocks that the ordered pixels are cut into")
    draws: int = Field(16, ge=1, description="random replacements of each block")
    output: Output = Field("probability", description="output of the target class that is watched")


def shown_first(saliency: Tensor, steps: int) -> Tensor:
    """``(steps, H, W)`` bool: what is shown at each step before the last, pixels of the least ``|a|`` first."""
    ranks = pixel_ranks(-saliency.abs())
    counts = step_counts(ranks.numel(), min(steps, ranks.numel()))
    return ranks < counts[:-1, None, None]


def share_not_falling(outputs: Tensor) -> float:
    """``|{t: f_{t+1} >= f_t}| / T`` of ``(T + 1,)`` outputs, in [0, 1]."""
    return float((outputs.diff() >= 0).double().mean())


class Monotonicity:
    """Monotonicity (Arya et al. 2019) as it is meant: from the fill, add pixels of ascending ``|a|``.

    ``f_t`` is the target's probability with the ``floor(t H W / steps)`` pixels of least ``|a|`` on the fill.
    ``monotonicity = |{t: f_{t+1} >= f_t}| / steps``; ``never-falls`` is whether that is 1. Undefined where the output
    never changes.

    Departures: the paper knows ``never-falls`` alone, which is 0 for nearly every map of a network. Quantus's measure
    of this name writes the fill over the fill, so that its answer is True for every map.
    """

    Parameters = MonotonicityParameters

    def __init__(self, parameters: MonotonicityParameters) -> None:
        self.parameters = parameters
        self.scores = watching(parameters.output, MONOTONICITY, NEVER_FALLS)

    def score(self, case: MapCase) -> Programme[Scores]:
        p, saliency = self.parameters, map_of(case)
        if is_constant(saliency.abs()):
            return Scores.undefined(self.scores, CONSTANT)
        image = case.picture.image.to(case.detector.device)
        background = yield from removal_background(case, p.fill, p.sigma)
        shown = shown_first(saliency, p.steps)[:, None]

        def make(start: int, stop: int) -> Tensor:
            return torch.where(shown[start:stop].to(image.device), image, background)

        outputs = yield from outputs_of(case, len(shown), make, p.output)
        return _monotone(torch.cat([outputs.changed, torch.tensor([outputs.clean], dtype=torch.float64)]))

    def passes(self, query: PassQuery) -> Passes:
        height, width = query.facts.input_size
        return Passes(forward=min(self.parameters.steps, height * width) + clean_passes(self.parameters.output))

    def shared(self, query: PassQuery) -> Mapping[str, Passes]:
        return shared_clean(self.parameters.output)


def _monotone(along: Tensor) -> Scores:
    if Outputs(float(along[-1]), along).never_change():
        return Scores.undefined((MONOTONICITY, NEVER_FALLS), "the output is the same whatever is shown")
    share = share_not_falling(along)
    curve = Curve(name="monotonicity", x=[t / (len(along) - 1) for t in range(len(along))], y=along.tolist())
    values = (Score(name=MONOTONICITY.name, value=share), Score(name=NEVER_FALLS.name, value=float(share == 1)))
    return Scores(values, (curve,))


class MonotonicityCorrelation:
    """Monotonicity correlation (Nguyen, Martinez 2020): larger attributions where change matters more.

    Pixels ordered by ``|a|`` are cut into blocks; each is replaced alone by uniform noise, ``draws`` times.
    ``Spearman_b(sum_{i in b} |a_i|, mean_draws (f(x') - f(x))^2 / f(x)^2)``, f the target's probability. The divisor is
    the same for all blocks, so ranks do without it.

    Departures: every pixel and channel is drawn by itself and all blocks share the draws; Quantus fills a block with
    one random number. The paper replaces one feature at a time.
    """

    Parameters = MonotonicityCorrelationParameters

    def __init__(self, parameters: MonotonicityCorrelationParameters) -> None:
        self.parameters = parameters
        self.scores = watching(parameters.output, MONOTONICITY_CORRELATION)

    def score(self, case: MapCase) -> Programme[Scores]:
        p, size = self.parameters, map_of(case).abs()
        if is_constant(size):
            return Scores.undefined(self.scores, CONSTANT)
        image = case.picture.image.to(case.detector.device)
        blocks = blocks_of(size, p.blocks)
        masks = blocks.view(-1, 1, *size.shape)
        noise = torch.rand((p.draws, *image.shape), generator=case.streams.torch("noise"))

        def make(start: int, stop: int) -> Tensor:
            at = torch.arange(start, stop)
            block, draw = masks[at // p.draws].to(image.device), noise[at % p.draws].to(image)
            return torch.where(block, draw, image)

        outputs = yield from outputs_of(case, len(masks) * p.draws, make, p.output)
        moved = mean_square_change(outputs, p.draws)
        found = agreement(sums_over(blocks, size), moved, outputs, "spearman")
        return Scores((score_of(MONOTONICITY_CORRELATION, found),))

    def passes(self, query: PassQuery) -> Passes:
        p, (height, width) = self.parameters, query.facts.input_size
        return Passes(forward=min(p.blocks, height * width) * p.draws + clean_passes(p.output))

    def shared(self, query: PassQuery) -> Mapping[str, Passes]:
        return shared_clean(self.parameters.output)


def mean_square_change(outputs: Outputs, draws: int) -> Tensor:
    """``mean_draws (f(x') - f(x))^2`` of ``(blocks * draws,)`` outputs, block by block: ``(blocks,)``."""
    return outputs.drops.square().view(-1, draws).mean(dim=1)
