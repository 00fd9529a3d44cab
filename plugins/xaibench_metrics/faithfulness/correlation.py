"""Does the sum of a map over some pixels say how far the output drops without them?

Four measures that differ in which sets of pixels they remove: random ones of several sizes (``sensitivity-n``), of one
size (``faithfulness-correlation``), blocks in the order of the map (``faithfulness-estimate``), cells of a grid
(``mufidelity``). All are correlations over sets, in [-1, 1], higher is better, and look at one picture at a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated

import torch
from pydantic import Field, field_validator
from torch import Tensor

from xaibench.api import Curve, MapCase, Passes, PassQuery, Programme, Score, Scores, ScoreSpec
from xaibench_metrics.faithfulness.changes import (
    CONSTANT,
    ChangeParameters,
    Correlation,
    agreement,
    block_ends,
    blocks_of,
    clean_passes,
    outputs_without,
    shared_clean,
    shared_subsets,
    subset_size,
    sums_over,
    watching,
)
from xaibench_metrics.faithfulness.fill_response import fill_response
from xaibench_metrics.faithfulness.ties import TieParameters, in_tie_orders, tie_order, tie_passes, with_ties
from xaibench_perturbation import PictureFill, cell_labels, is_constant, random_members, tied_share

Share = Annotated[float, Field(gt=0, lt=1)]

SENSITIVITY_N = ScoreSpec(
    name="sensitivity-n",
    better="higher",
    low=-1,
    high=1,
    ranks_evidence=True,
    description="mean over the sizes n of the correlation between summed attribution and drop of the output",
)
SENSITIVITY_AT = ScoreSpec(
    name="sensitivity-at",
    item_form="{share}",
    better="higher",
    low=-1,
    high=1,
    ranks_evidence=True,
    primary=False,
    description="that correlation at one size; the item is the share of pixels removed",
)
FAITHFULNESS_CORRELATION = ScoreSpec(
    name="faithfulness-correlation",
    better="higher",
    low=-1,
    high=1,
    ranks_evidence=True,
    description="correlation between summed attribution and drop of the output over random sets of one size",
)
FAITHFULNESS_ESTIMATE = ScoreSpec(
    name="faithfulness-estimate",
    better="higher",
    low=-1,
    high=1,
    ranks_evidence=True,
    description="correlation between summed attribution and drop of the output over blocks in the order of the map",
)
MUFIDELITY = ScoreSpec(
    name="mufidelity",
    better="higher",
    low=-1,
    high=1,
    ranks_evidence=True,
    description="correlation between summed attribution and drop of the output over random cells of a grid",
)


class SensitivityNParameters(ChangeParameters):
    """Parameters of ``sensitivity-n``."""

    shares: tuple[Share, ...] = Field((0.01, 0.05, 0.1, 0.25, 0.5), min_length=1, description="sizes n over pixels")
    subsets: int = Field(100, ge=3, description="random sets of each size")

    @field_validator("shares")
    @classmethod
    def _apart(cls, shares: tuple[float, ...]) -> tuple[float, ...]:
        if len({item_of(s) for s in shares}) < len(shares):
            raise ValueError("two shares are equal")
        return shares


class FaithfulnessCorrelationParameters(ChangeParameters):
    """Parameters of ``faithfulness-correlation``."""

    share: Share = Field(1 / 224, description="size of a set over pixels; Quantus removes 224 of 224 x 224")
    subsets: int = Field(100, ge=3, description="random sets")


class FaithfulnessEstimateParameters(ChangeParameters, TieParameters):
    """Parameters of ``faithfulness-estimate``."""

    blocks: int = Field(64, ge=3, description="blocks that the ordered pixels are cut into")


class MuFidelityParameters(ChangeParameters):
    """Parameters of ``mufidelity``."""

    fill: PictureFill = Field("black", description="what replaces removed cells")
    cells: int = Field(9, ge=2, description="cells along a side")
    off: Share = Field(0.2, description="probability with which a cell is removed")
    subsets: int = Field(200, ge=3, description="random sets of cells")
    correlation: Correlation = Field("spearman", description="of ranks (xplique) or of values (the paper)")


def correlate(
    case: MapCase, removed: Tensor, parameters: ChangeParameters, kind: Correlation = "pearson"
) -> Programme[float | str]:
    """Correlation over ``(n, H * W)`` sets of pixels between ``sum_S a`` and ``f(x) - f(x without S)``, or a reason."""
    outputs = yield from outputs_without(case, removed, parameters)
    return agreement(sums_over(removed, map_of(case)), outputs.drops, outputs, kind)


def map_of(case: MapCase) -> Tensor:
    """The case's ``(H, W)`` map on the CPU."""
    assert case.explanation.map is not None
    return case.explanation.map.cpu()


def item_of(share: float) -> str:
    """How a share is written as a score's item."""
    return f"{share:.4g}"


def score_of(spec: ScoreSpec, found: float | str, item: str = "") -> Score:
    """A value, or an undefined score with its reason."""
    if isinstance(found, str):
        return Score(name=spec.name, item=item, status="undefined", reason=found)
    return Score(name=spec.name, item=item, value=found)


class SensitivityN:
    """Sensitivity-n (Ancona et al. 2018) as a correlation: 1 = sums of attributions tell every drop.

    ``r_n = Pearson_S(sum_{i in S} a_i, f(x) - f(x without S))`` over ``subsets`` random sets S of n pixels, for each
    size ``n = round(share * H * W)``; the score is the mean over n, ``sensitivity-at`` each r_n. f is the target's
    logit and removed pixels take the mean colour (the paper: the output before the softmax, and 0 in the network's
    input). On black, the holes' own contrast drowns fine-grained evidence: on the planted checkerboard the evidence's
    map falls from 0.95 to 0.19. One undefined size leaves the mean undefined.

    Departures: Quantus's measure of this name removes pixels cumulatively in descending order, takes the attribution
    of the last block alone and correlates *across the pictures of a batch*, so one picture has no value and two have
    +-1. None of that is in the paper.
    """

    Parameters = SensitivityNParameters

    def __init__(self, parameters: SensitivityNParameters) -> None:
        self.parameters = parameters
        self.scores = watching(parameters.output, SENSITIVITY_N, SENSITIVITY_AT)

    def score(self, case: MapCase) -> Programme[Scores]:
        p, saliency = self.parameters, map_of(case)
        if is_constant(saliency):
            return Scores.undefined(self.scores, CONSTANT)
        pixels, sizes = saliency.numel(), []
        for share in p.shares:
            stream, size = f"subsets {item_of(share)}", subset_size(share, pixels)
            sizes.append((yield from shared_subsets(case, stream, p.subsets, pixels, size)))
        subsets = torch.cat(sizes)
        outputs = yield from outputs_without(case, subsets, p)
        # one list of pictures, so that the untouched one is forwarded once
        sums, drops = (torch.split(t, p.subsets) for t in (sums_over(subsets, saliency), outputs.drops))
        found = [agreement(a, d, outputs) for a, d in zip(sums, drops, strict=True)]
        each = (score_of(SENSITIVITY_AT, r, item_of(s)) for s, r in zip(p.shares, found, strict=True))
        known = [r for r in found if not isinstance(r, str)]
        whole = len(known) == len(found)  # else a mean curve would go over survivors
        curves = (Curve(name="sensitivity-n", x=list(p.shares), y=known),) if whole else ()
        return Scores((score_of(SENSITIVITY_N, mean_over_sizes(p.shares, found)), *each), curves)

    def accompanied_by(self) -> tuple[str, ...]:
        return fill_response(self.parameters.fill, self.parameters.sigma)

    def passes(self, query: PassQuery) -> Passes:
        p = self.parameters
        return Passes(forward=len(p.shares) * p.subsets + clean_passes(p.output))

    def shared(self, query: PassQuery) -> Mapping[str, Passes]:
        return shared_clean(self.parameters.output)


def mean_over_sizes(shares: tuple[float, ...], found: list[float | str]) -> float | str:
    """The mean of the correlations, or the first reason why there is none."""
    for share, r in zip(shares, found, strict=True):
        if isinstance(r, str):
            return f"at {item_of(share)} of the pixels: {r}"
    values = [r for r in found if not isinstance(r, str)]
    return sum(values) / len(values)


class FaithfulnessCorrelation:
    """Faithfulness correlation (Bhatt, Weller, Moura 2020): random sets of one size, Pearson.

    ``Pearson_S(sum_{i in S} a_i, f(x) - f(x without S))`` over ``subsets`` random sets of ``round(share * H * W)``
    pixels, fresh for each picture, f the target's logit.

    Departures: a feature is a pixel with all its channels and takes the picture's mean colour; to Quantus it is one
    channel of a pixel and takes the least value of the picture. Equal to Quantus for one channel, the same sets and
    the same fill. One size alone may be blind where sets of it rarely meet the evidence: see ``sensitivity-n``.
    """

    Parameters = FaithfulnessCorrelationParameters

    def __init__(self, parameters: FaithfulnessCorrelationParameters) -> None:
        self.parameters = parameters
        self.scores = watching(parameters.output, FAITHFULNESS_CORRELATION)

    def score(self, case: MapCase) -> Programme[Scores]:
        p, saliency = self.parameters, map_of(case)
        if is_constant(saliency):
            return Scores.undefined(self.scores, CONSTANT)
        pixels = saliency.numel()
        removed = yield from shared_subsets(case, "subsets", p.subsets, pixels, subset_size(p.share, pixels))
        found = yield from correlate(case, removed, p)
        return Scores((score_of(FAITHFULNESS_CORRELATION, found),))

    def accompanied_by(self) -> tuple[str, ...]:
        return fill_response(self.parameters.fill, self.parameters.sigma)

    def passes(self, query: PassQuery) -> Passes:
        return Passes(forward=self.parameters.subsets + clean_passes(self.parameters.output))

    def shared(self, query: PassQuery) -> Mapping[str, Passes]:
        return shared_clean(self.parameters.output)


class FaithfulnessEstimate:
    """Faithfulness estimate (Alvarez-Melis, Jaakkola 2018): blocks of the ordered map, each removed alone.

    ``Pearson_b(sum_{i in b} a_i, f(x) - f(x without b))`` over the blocks b of the pixels in descending order, f the
    target's logit. Blocks are never removed together. Pixels of equal value go in a random order, the same for all maps
    of a picture.

    Departures: the paper removes one feature at a time and watches the probability; one pixel of a picture changes
    nothing. Blocks differ by at most one pixel; equal to Quantus for one channel where ``blocks`` times its
    ``features_in_step`` is the number of pixels (its docstring says Spearman; it is Pearson).
    """

    Parameters = FaithfulnessEstimateParameters

    def __init__(self, parameters: FaithfulnessEstimateParameters) -> None:
        self.parameters = parameters

    @property
    def scores(self) -> tuple[ScoreSpec, ...]:
        return with_ties(watching(self.parameters.output, FAITHFULNESS_ESTIMATE), self.parameters.ties)

    def score(self, case: MapCase) -> Programme[Scores]:
        saliency = map_of(case)
        if is_constant(saliency):
            return Scores.undefined(self.scores, CONSTANT)
        p = self.parameters
        share = tied_share(saliency, block_ends(saliency.numel(), p.blocks).tolist())
        scores = yield from in_tie_orders(self.scores, p.ties, share, partial(self._in_order, case))
        return scores

    def _in_order(self, case: MapCase, ties: int) -> Programme[Scores]:
        saliency, p = map_of(case), self.parameters
        order = yield from tie_order(case, saliency.numel(), ties)
        found = yield from correlate(case, blocks_of(saliency, p.blocks, order), p)
        return Scores((score_of(FAITHFULNESS_ESTIMATE, found),))

    def accompanied_by(self) -> tuple[str, ...]:
        return fill_response(self.parameters.fill, self.parameters.sigma)

    def passes(self, query: PassQuery) -> Passes:
        """A bound: a map with many ties is cut in three orders of them, and a constant one not at all."""
        (height, width), p = query.facts.input_size, self.parameters
        blocks = min(p.blocks, height * width)
        return tie_passes(Passes(forward=blocks), p.ties, blocks, query) + Passes(forward=clean_passes(p.output))

    def shared(self, query: PassQuery) -> Mapping[str, Passes]:
        return shared_clean(self.parameters.output)


class MuFidelity:
    """muFidelity as xplique computes it: the faithfulness correlation over cells of a grid.

    Each of ``cells x cells`` cells is removed with probability ``off`` by itself, which does not fix the number
    removed; ``Spearman_S(sum over the removed pixels of a, f(x) - f(x without S))`` over ``subsets`` draws, f the
    target's logit, removed cells black. The number removed varies, and with it both sides, so that any map of
    non-negative values scores above 0 by chance (random maps 0.36 on the planted detector): read it against the
    controls.

    Departures: Bhatt et al. take Pearson and an exact number of features (``correlation=pearson``, or
    ``faithfulness-correlation``). xplique shares its sets among the pictures of a batch and counts a correlation that
    does not exist as 0; here sets are each picture's own and it is ``undefined``. Where ``cells`` does not divide the
    side, xplique rounds the borders of cells at the pixels' centres, here they are rounded down. pnpxai only darkens,
    by clipping its noise to [x - 1, x].
    """

    Parameters = MuFidelityParameters

    def __init__(self, parameters: MuFidelityParameters) -> None:
        self.parameters = parameters
        self.scores = watching(parameters.output, MUFIDELITY)

    def score(self, case: MapCase) -> Programme[Scores]:
        p, saliency = self.parameters, map_of(case)
        if is_constant(saliency):
            return Scores.undefined(self.scores, CONSTANT)
        height, width = saliency.shape
        off = random_members(p.subsets, p.cells**2, p.off, case.streams.torch("cells")).bool()
        removed = off[:, cell_labels(p.cells, (height, width)).flatten()]
        found = yield from correlate(case, removed, p, p.correlation)
        return Scores((score_of(MUFIDELITY, found),))

    def accompanied_by(self) -> tuple[str, ...]:
        return fill_response(self.parameters.fill, self.parameters.sigma)

    def passes(self, query: PassQuery) -> Passes:
        return Passes(forward=self.parameters.subsets + clean_passes(self.parameters.output))

    def shared(self, query: PassQuery) -> Mapping[str, Passes]:
        return shared_clean(self.parameters.output)
