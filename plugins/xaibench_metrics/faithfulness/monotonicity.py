"""Does the output rise while pixels come in, and do pixels of larger attribution matter more?"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache, partial

import torch
from pydantic import Field
from torch import Tensor

from xaibench.api import Curve, MapCase, Output, Passes, PassQuery, Programme, Score, Scores, ScoreSpec, to_device
from xaibench_metrics.faithfulness.changes import (
    CONSTANT,
    ChangeParameters,
    Outputs,
    agreement,
    block_ends,
    blocks_of,
    clean_passes,
    outputs_of,
    shared_clean,
    sums_over,
    watching,
)
from xaibench_metrics.faithfulness.correlation import map_of, score_of
from xaibench_metrics.faithfulness.curves import removal_background
from xaibench_metrics.faithfulness.fill_response import fill_response
from xaibench_metrics.faithfulness.ties import TieParameters, in_tie_orders, tie_order, tie_passes, with_ties
from xaibench_perturbation import is_constant, pixel_ranks, tied_share

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


class MonotonicityParameters(ChangeParameters, TieParameters):
    """Parameters of ``monotonicity``."""

    steps: int = Field(32, ge=2, description="equal steps from the fill to the picture")
    output: Output = Field("probability", description="output of the target class that is watched")


class MonotonicityCorrelationParameters(TieParameters):
    """Parameters of ``monotonicity-correlation``."""

    blocks: int = Field(32, ge=3, description="blocks that the ordered pixels are cut into")
    draws: int = Field(16, ge=1, description="random replacements of each block")
    output: Output = Field("probability", description="output of the target class that is watched")


def shown_first(saliency: Tensor, steps: int, tie_order: Tensor | None = None) -> Tensor:
    """``(steps, H, W)`` bool: what is shown at each step before the last, pixels of the least ``|a|`` first; equal
    values in ``tie_order`` (:func:`xaibench_perturbation.pixel_ranks`)."""
    ranks = pixel_ranks(-saliency.abs(), tie_order)
    counts = block_ends(ranks.numel(), steps)
    return ranks < counts[:-1, None, None]


def share_not_falling(outputs: Tensor) -> float:
    """``|{t: f_{t+1} >= f_t}| / T`` of ``(T + 1,)`` outputs, in [0, 1]."""
    return float((outputs.diff() >= 0).double().mean())


class Monotonicity:
    """Monotonicity (Arya et al. 2019) as it is meant: from the fill, add pixels of ascending ``|a|``.

    ``f_t`` is the target's probability with the ``floor(t H W / steps)`` pixels of least ``|a|`` on the fill.
    ``monotonicity = |{t: f_{t+1} >= f_t}| / steps``; ``never-falls`` is whether that is 1. Pixels of equal ``|a|`` go
    in a random order, the same for all maps of a picture. Undefined where the output never changes.

    Departures: the paper knows ``never-falls`` alone, which is 0 for nearly every map of a network. Quantus's measure
    of this name writes the fill over the fill, so that its answer is True for every map.
    """

    Parameters = MonotonicityParameters

    def __init__(self, parameters: MonotonicityParameters) -> None:
        self.parameters = parameters

    @property
    def scores(self) -> tuple[ScoreSpec, ...]:
        return with_ties(watching(self.parameters.output, MONOTONICITY, NEVER_FALLS), self.parameters.ties)

    def score(self, case: MapCase) -> Programme[Scores]:
        p, saliency = self.parameters, map_of(case)
        if is_constant(saliency.abs()):
            return Scores.undefined(self.scores, CONSTANT)
        share = tied_share(-saliency.abs(), block_ends(saliency.numel(), p.steps).tolist())
        scores = yield from in_tie_orders(self.scores, p.ties, share, partial(self._in_order, case))
        return scores

    def _in_order(self, case: MapCase, ties: int) -> Programme[Scores]:
        p, saliency = self.parameters, map_of(case)
        image = to_device(case.picture.image, case.detector.device)
        background = yield from removal_background(case, p.fill, p.sigma)
        order = yield from tie_order(case, saliency.numel(), ties)
        shown = to_device(shown_first(saliency, p.steps, order)[:, None], image.device)

        def make(start: int, stop: int) -> Tensor:
            return torch.where(shown[start:stop], image, background)

        outputs = yield from outputs_of(case, len(shown), make, p.output)
        return _monotone(torch.cat([outputs.changed, torch.tensor([outputs.clean], dtype=torch.float64)]))

    def accompanied_by(self) -> tuple[str, ...]:
        return fill_response(self.parameters.fill, self.parameters.sigma)

    def passes(self, query: PassQuery) -> Passes:
        """A bound: a map with many ties is shown in three orders of them, and a constant one not at all."""
        (height, width), p = query.facts.input_size, self.parameters
        steps = min(p.steps, height * width)
        return tie_passes(Passes(forward=steps), p.ties, steps, query) + Passes(forward=clean_passes(p.output))

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
    the same for all blocks, so ranks do without it. Pixels of equal ``|a|`` go in a random order, the same for all maps
    of a picture.

    Departures: every pixel and channel is drawn by itself and all blocks share the draws; Quantus fills a block with
    one random number. The paper replaces one feature at a time.
    """

    Parameters = MonotonicityCorrelationParameters

    def __init__(self, parameters: MonotonicityCorrelationParameters) -> None:
        self.parameters = parameters

    @property
    def scores(self) -> tuple[ScoreSpec, ...]:
        return with_ties(watching(self.parameters.output, MONOTONICITY_CORRELATION), self.parameters.ties)

    def score(self, case: MapCase) -> Programme[Scores]:
        p, size = self.parameters, map_of(case).abs()
        if is_constant(size):
            return Scores.undefined(self.scores, CONSTANT)
        share = tied_share(size, block_ends(size.numel(), p.blocks).tolist())
        scores = yield from in_tie_orders(self.scores, p.ties, share, partial(self._in_order, case))
        return scores

    def _in_order(self, case: MapCase, ties: int) -> Programme[Scores]:
        p, size = self.parameters, map_of(case).abs()
        image = to_device(case.picture.image, case.detector.device)
        order = yield from tie_order(case, size.numel(), ties)
        blocks = blocks_of(size, p.blocks, order)
        masks = to_device(blocks.view(-1, 1, *size.shape), image.device)
        noise = to_device(uniform_noise(case.streams.seed("noise"), (p.draws, *image.shape)), image.device)

        def make(start: int, stop: int) -> Tensor:
            at = torch.arange(start, stop, device=image.device)
            return torch.where(masks[at // p.draws], noise[at % p.draws], image)

        outputs = yield from outputs_of(case, len(masks) * p.draws, make, p.output)
        moved = mean_square_change(outputs, p.draws)
        found = agreement(sums_over(blocks, size), moved, outputs, "spearman")
        return Scores((score_of(MONOTONICITY_CORRELATION, found),))

    def passes(self, query: PassQuery) -> Passes:
        """A bound: a map with many ties is cut in three orders of them, and a constant one not at all."""
        p, (height, width) = self.parameters, query.facts.input_size
        blocks = min(p.blocks, height * width)
        of_blocks = tie_passes(Passes(forward=blocks * p.draws), p.ties, blocks, query)
        return of_blocks + Passes(forward=clean_passes(p.output))

    def shared(self, query: PassQuery) -> Mapping[str, Passes]:
        return shared_clean(self.parameters.output)


@lru_cache(maxsize=4)
def uniform_noise(seed: int, shape: tuple[int, ...]) -> Tensor:
    """Uniform in [0, 1], on the CPU: the orders of ties and the maps of a picture that come one after another share it.

    Not to be written to.
    """
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def mean_square_change(outputs: Outputs, draws: int) -> Tensor:
    """``mean_draws (f(x') - f(x))^2`` of ``(blocks * draws,)`` outputs, block by block: ``(blocks,)``."""
    return outputs.drops.square().view(-1, draws).mean(dim=1)
