"""Channel decorrelation: how far is a layer from white?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean

import torch
from pydantic import Field
from torch import Tensor

from xaibench.api import Apply, ModelCase, Passes, PassQuery, Programme, Scores
from xaibench_metrics.interpretability.layer import (
    Figures,
    LayerGrids,
    LayerParameters,
    as_scores,
    chunks,
    in_order,
    random_axes,
    rotation_seeds,
    spec,
    why_not,
)

_INF = float("inf")

SCORES = (
    spec("odc", "mean |r| over pairs of channels, over pictures and positions", "lower", 0, 1, primary=True),
    spec("whitening-residual", "|Sigma - I|_F / sqrt(K), Sigma the covariance of all K channels", "lower", 0, _INF,
         primary=True),
    spec("odc-random", "odc of a random rotation of the channels, mean over draws: chance", "none", 0, 1),
    spec("variance-mean", "mean of the channels' variances; a white layer has 1", "none", 0, _INF),
    spec("variance-sd", "standard deviation of the channels' variances; a white layer has 0", "none", 0, _INF),
    spec("picture-odc", "odc over the positions of one picture, mean over pictures", "lower", 0, 1),
    spec("picture-left-out", "share of pictures in which fewer than two channels vary", "none", 0, 1),
    spec("constant-channels", "share of channels that never vary, which odc leaves out", "none", 0, 1),
)  # fmt: skip

_NO_PAIR = "fewer than two channels vary"


class DecorrelationParameters(LayerParameters):
    """Parameters of ``channel-decorrelation``."""

    draws: int = Field(5, ge=1, description="random rotations that odc-random is the mean of")


# ---- second moments ------------------------------------------------------------------------------------------------


class ChannelMoments:
    """Mean, scatter and range of K channels over positions that come picture by picture.

    ``scatter`` is ``sum (x - mean)(x - mean)^T``, ``(K, K)`` float64, by Chan, Golub and LeVeque's update (1983),
    which loses no digits to a large mean. Memory does not grow with the pictures.
    """

    def __init__(self, channels: int) -> None:
        self.count = 0
        self.mean = torch.zeros(channels, dtype=torch.float64)
        self.scatter = torch.zeros((channels, channels), dtype=torch.float64)
        self.low = torch.full((channels,), _INF, dtype=torch.float64)
        self.high = torch.full((channels,), -_INF, dtype=torch.float64)

    def add(self, other: ChannelMoments) -> None:
        """Take in the moments of other positions."""
        total = self.count + other.count
        shift = other.mean - self.mean
        self.scatter += other.scatter
        self.scatter += torch.outer(shift, shift) * (self.count * other.count / total)
        self.mean += shift * (other.count / total)
        self.low, self.high = torch.minimum(self.low, other.low), torch.maximum(self.high, other.high)
        self.count = total

    @property
    def covariance(self) -> Tensor:
        """``(K, K)``: the scatter over the number of positions."""
        return self.scatter / self.count

    @property
    def varying(self) -> Tensor:
        """``(K,)`` bool: channels with two different values. Told by the range, so that rounding makes none vary."""
        return self.high > self.low


def moments_of(grid: Tensor) -> ChannelMoments:
    """The moments of one picture's ``(K, h, w)`` activation over its positions."""
    values = grid.detach().cpu().double().flatten(1)
    found = ChannelMoments(len(values))
    found.count = values.shape[1]
    found.mean = values.mean(dim=1)
    found.low, found.high = values.aminmax(dim=1)
    centred = torch.where(found.varying[:, None], values - found.mean[:, None], 0.0)
    found.scatter = centred @ centred.T
    return found


# ---- measures --------------------------------------------------------------------------------------------------------


def off_diagonal_correlation(covariance: Tensor, varying: Tensor) -> float | None:
    """ODC: mean of ``|r_ij|``, i != j, in [0, 1], with ``r_ij = S_ij / sqrt(S_ii S_jj)``.

    ``covariance``: ``(K, K)``, at any scale; ``varying``: ``(K,)`` bool, the channels that count. None where there
    are fewer than two.
    """
    kept = covariance[varying][:, varying]
    n = len(kept)
    if n < 2:
        return None
    deviation = kept.diagonal().sqrt()
    above = (kept / deviation[:, None] / deviation).abs().clamp(max=1).triu(diagonal=1)
    return min(1.0, float(above.sum()) / (n * (n - 1) / 2))


def whitening_residual(covariance: Tensor) -> float:
    """``|Sigma - I|_F / sqrt(K)`` of ``(K, K)``: 0 when white, 1 for channels that are all constant."""
    return float(torch.linalg.matrix_norm(covariance - torch.eye(len(covariance), dtype=covariance.dtype))) / sqrt(
        len(covariance)
    )


def rotated_odc(covariance: Tensor, axes: Tensor) -> float | None:
    """ODC of the layer rotated by ``(K, K)`` orthogonal ``axes``, whose covariance is ``R Sigma R^T``."""
    rotated = axes @ covariance @ axes.T
    return off_diagonal_correlation(rotated, rotated.diagonal() > 0)


@dataclass(frozen=True, slots=True)
class Whiteness:
    """Moments over all pictures and, where two channels vary in it, each picture's own ODC."""

    moments: ChannelMoments
    of_pictures: Sequence[float | None]


def figures_of(found: Whiteness, seeds: Sequence[int]) -> Figures:
    """All scores of a layer of which some channel varies; ``seeds`` are those of the random rotations."""
    moments, own = found.moments, [v for v in found.of_pictures if v is not None]
    covariance, channels = moments.covariance, len(moments.mean)
    variances = covariance.diagonal()
    odc = off_diagonal_correlation(covariance, moments.varying)
    rotated = [rotated_odc(covariance, random_axes(seed, channels, channels)) for seed in seeds]
    chance = [r for r in rotated if r is not None]
    return {
        "odc": _NO_PAIR if odc is None else odc,
        "whitening-residual": whitening_residual(covariance),
        "odc-random": fmean(chance) if len(chance) == len(seeds) else _NO_PAIR,
        "variance-mean": float(variances.mean()),
        "variance-sd": float(variances.std(correction=0)),
        "picture-odc": fmean(own) if own else "in no picture do two channels vary",
        "picture-left-out": 1 - len(own) / len(found.of_pictures),
        "constant-channels": float((~moments.varying).double().mean()),
    }


class ChannelDecorrelation:
    """Correlation between the channels of a layer, and how far its covariance is from the identity.

    ``odc`` = mean over i != j of ``|r_ij|``, the correlation of channels i and j over all pictures and positions (Chen,
    Bei, Rudin 2020, who plot it). Channels that never vary have no correlation: they are left out and counted in
    ``constant-channels``. ``whitening-residual`` = ``|Sigma - I|_F / sqrt(K)``, Sigma the covariance over pictures and
    positions, divided by their number; a channel that never varies is not white, so it counts here. ``variance-mean``
    and ``variance-sd`` are those of Sigma's diagonal. ``picture-odc`` is ``odc`` over the positions of one picture,
    mean over the pictures in which two channels vary (IFFD's measure). In [0, 1] or [0, inf), lower = better.

    Chance: n independent positions give an ``odc`` of about ``sqrt(2 / (pi n))``. ``odc-random`` is that of a random
    rotation of the channels; it depends on Sigma alone, and a white layer has 0 there, too: compare with the rotation
    of an unwhitened detector. What whitens in training need not on other pictures: measure on held-out ones.

    Undefined where no channel varies or an activation is not finite.
    """

    Parameters = DecorrelationParameters
    scores = SCORES

    def __init__(self, parameters: DecorrelationParameters) -> None:
        self.parameters = parameters

    def score(self, case: ModelCase) -> Programme[Scores]:
        reason = why_not(case, self.parameters.layer)
        if reason:
            return Scores.undefined(SCORES, reason)
        found = yield from self._whiteness(case)
        if found is None:
            return Scores.undefined(SCORES, "an activation of the layer is not finite")
        if not found.moments.varying.any():
            return Scores.undefined(SCORES, "no channel of the layer varies")
        seeds = rotation_seeds(case, self.parameters.draws)
        return Scores(as_scores(SCORES, figures_of(found, seeds)))

    def _whiteness(self, case: ModelCase) -> Programme[Whiteness | None]:
        whole: ChannelMoments | None = None
        own: list[float | None] = []
        for some in chunks(in_order(case.pictures)):
            images = torch.stack([case.pictures[i].image for i in some])
            (grids,) = yield Apply(LayerGrids(self.parameters.layer), images, 0, forward=1, backward=0)
            if not grids.isfinite().all():
                return None
            for moments in map(moments_of, grids):
                own.append(off_diagonal_correlation(moments.scatter, moments.varying))
                whole = whole or ChannelMoments(len(moments.mean))
                whole.add(moments)
        assert whole is not None
        return Whiteness(whole, own)

    def passes(self, query: PassQuery) -> Passes:
        """One forward pass."""
        return Passes(1, 0)
