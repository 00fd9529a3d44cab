"""SOBOL: the share of the score's variance that each region has a hand in."""

from __future__ import annotations

from typing import Literal, Self

import torch
from pydantic import Field, field_validator, model_validator
from torch import Tensor

from xaibench.api import ExplainRequest, Explanation, Facts, Passes, PassQuery, Programme, Streams
from xaibench_explainers.perturbation.regions import RegionParameters, Upsampling, known_count, painted, regions_of
from xaibench_perturbation import (
    ScoreKind,
    extra_needs,
    random_fill,
    refusal,
    stored_artefacts,
)

Order = Literal["total", "first"]
Sequence = Literal["scrambled", "plain"]

MOST_REGIONS = 21201 // 2
"""SciPy's Sobol sequence (Joe, Kuo 2008) has 21,201 dimensions, and each region takes two."""
_HIGHEST = f"there is a Sobol sequence for {MOST_REGIONS:,} at most"


class SobolParameters(RegionParameters):
    """Parameters of ``sobol``; grid, designs and order are the paper's."""

    designs: int = Field(32, ge=2, le=2**14, description="rows of each design matrix, a power of 2")
    order: Order = Field("total", description="total index (with all interactions) or first order (alone)")
    sequence: Sequence = Field("scrambled", description="Sobol sequence: scrambled by the seed, or always the same")
    upsampling: Upsampling = Field("nearest", description="from cells to pixels: what each pixel's cell has, or smooth")
    output: ScoreKind = Field("logit", description="score of the target whose variance is shared out")

    @field_validator("designs")
    @classmethod
    def _balanced(cls, designs: int) -> int:
        if designs & (designs - 1):
            raise ValueError("a Sobol sequence is balanced only over a power of 2 rows: 16, 32, 64, ...")
        return designs

    @model_validator(mode="after")
    def _sampled(self) -> Self:
        if self.on == "grid" and self.cells**2 > MOST_REGIONS:
            raise ValueError(f"cells={self.cells} makes {self.cells**2:,} regions; {_HIGHEST}")
        if self.on == "segments" and (most := self.count * (2 if self.segments == "slic" else 1)) > MOST_REGIONS:
            raise ValueError(f"count={self.count} may give {most:,} regions; {_HIGHEST}")
        return self


def sobol_design(rows: int, regions: int, streams: Streams | None) -> Tensor:
    """``(rows * (regions + 2), regions)`` float32 in [0, 1): the matrices A, B, C_1 ... C_S one below the other.

    A and B are the halves of a Sobol sequence of ``2 * regions`` dimensions; C_j is A with column j of B. Scrambled
    (Owen's, by linear matrices) from ``streams``; None leaves the sequence as it is, its first row all 0.
    """
    from scipy.stats import qmc

    seed = streams.numpy("designs") if streams else None
    sequence = qmc.Sobol(2 * regions, scramble=streams is not None, seed=seed)
    points = torch.from_numpy(sequence.random_base2(rows.bit_length() - 1)).float()
    a, b = points[:, :regions], points[:, regions:]
    swap = torch.eye(regions, dtype=torch.bool)[:, None]
    mixed = torch.where(swap, b, a)
    return torch.cat([a, b, mixed.reshape(-1, regions)]).clamp_(max=1)


def jansen(scores: Tensor, rows: int, order: Order) -> Tensor:
    """``(S,)`` float64 indices from the scores of :func:`sobol_design` (Jansen 1999).

    Total: ``sum (f(A) - f(C_j))^2 / (2 N V)``, never negative. First order: ``1 - sum (f(B) - f(C_j))^2 / (2 N V)``,
    below 0 only by sampling noise. V is the variance over A and B together; it must not be 0.
    """
    table = scores.double().view(-1, rows)
    a, b, mixed = table[0], table[1], table[2:]
    variance = table[:2].var(correction=0)
    if order == "total":
        return (a - mixed).square().mean(dim=1) / (2 * variance)
    return 1 - (b - mixed).square().mean(dim=1) / (2 * variance)


class Sobol:
    """Sobol indices (Fel et al. 2021, with Jansen's estimators): higher = more of the score's variance. Unsigned.

    Each region is dimmed towards the fill by its own uniform factor; the index is the share of the score's variance in
    which the region takes part. On a score that is additive over regions both orders are ``w_j^2 / sum(w^2)``. First-
    order estimates below 0 are noise and drawn as 0. It costs ``designs * (regions + 2)`` passes: 2,112 by default.

    The paper leaves open whether f is a logit or a probability; the logit does not saturate. Departures of others:
    xplique and the published deepfake study take the sequence as it is (``sequence=plain``), so that all pictures share
    their sampling error, divide by the variance over A alone, and interpolate the map (``upsampling=bicubic``; here
    without the undershoots below 0). A score that never changes gives no map, where they divide 0 by 0.
    """

    Parameters = SobolParameters

    def __init__(self, parameters: SobolParameters) -> None:
        self.parameters = parameters
        self.artefacts = stored_artefacts(parameters)
        self.needs = extra_needs(parameters)
        self.stochastic = parameters.sequence == "scrambled" or random_fill(parameters)

    def explain(self, request: ExplainRequest) -> Programme[Explanation]:
        p = self.parameters
        streams = request.streams if p.sequence == "scrambled" else None
        regions = yield from regions_of(request, p)
        if isinstance(regions, Explanation):
            return regions
        if regions.count > (most := self._most(request.detector.facts)[0]):
            return Explanation.none(f"SLIC found {regions.count} segments, more than the {most} that passes are for")
        scores = yield from regions.scores(request, sobol_design(p.designs, regions.count, streams), p.output)
        if isinstance(scores, Explanation):
            return scores
        base = scores[: 2 * p.designs]
        if bool((base == base[0]).all()):
            return Explanation.none("the score does not vary over the designs A and B: raise designs")
        index = jansen(scores, p.designs, p.order).clamp(min=0)
        if not bool(index.any()):
            return Explanation.none("no region has an index above 0")
        return painted(index, regions, p.upsampling)

    def _most(self, facts: Facts) -> tuple[int, bool]:
        """The number of regions of a picture, and whether it is exact: of SLIC's, twice those wanted are allowed."""
        known = known_count(self.parameters, facts)
        return (2 * self.parameters.count, False) if known is None else (known, True)

    def passes(self, query: PassQuery) -> Passes:
        regions, exact = self._most(query.facts)
        return Passes(forward=self.parameters.designs * (regions + 2), exact=exact)

    def refuses(self, query: PassQuery) -> str:
        if (regions := self._most(query.facts)[0]) > MOST_REGIONS:  # a grid of segments may have more than count
            return f"count={self.parameters.count} gives {regions:,} regions; {_HIGHEST}"
        return refusal(self.parameters, query)
