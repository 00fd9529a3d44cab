"""Average drop, increase and average gain: what the map, as a mask, leaves of the verdict."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor

from xaibench.api import Forward, MapCase, Parameters, Passes, PassQuery, Programme, Score, Scores, ScoreSpec, to_device
from xaibench_metrics.faithfulness.fill_response import fill_response
from xaibench_perturbation import SIGMA, Background, PictureFill, blend, is_constant

GUARD = 1e-8
Values = Literal["absolute", "signed"]

_SATURATED = "where the evidence's map leaves the verdict as it was, it gains nothing, as any other map that is right"

DROP = ScoreSpec(
    name="average-drop",
    output="probability",
    better="lower",
    low=0,
    high=1,
    ranks_evidence=True,
    description="share of the target's probability that is lost when the map masks the picture",
)
INCREASE = ScoreSpec(
    name="increase",
    output="probability",
    better="higher",
    low=0,
    high=1,
    version=2,
    why_not=_SATURATED,
    description="1 where masking by the map raises the target's probability, else 0",
)
GAIN = ScoreSpec(
    name="average-gain",
    output="probability",
    better="higher",
    low=0,
    high=1,
    version=2,
    why_not=_SATURATED,
    description="share of what the target's probability lacks to 1 that masking by the map adds",
)


class AverageDropParameters(Parameters):
    """Parameters of ``average-drop``."""

    values: Values = Field("absolute", description="mask from |a| (xplique), or from the values with their sign")
    fill: PictureFill = Field("black", description="what the mask lets through where it is 0")
    sigma: float = Field(SIGMA, gt=0, le=1, description="blur of fill=blur, as a share of the shorter side")


def mask_of(saliency: Tensor, values: Values) -> Tensor:
    """``(v - min v) / (max v - min v)`` of ``v = |a|`` or ``a``, in [0, 1], for ``(H, W)`` that is not constant."""
    v = saliency.double().abs() if values == "absolute" else saliency.double()
    return ((v - v.min()) / (v.max() - v.min())).float()


def average_drop(clean: float, masked: float) -> float:
    """``max(p - p', 0) / (p + 1e-8)`` in [0, 1]."""
    return max(clean - masked, 0.0) / (clean + GUARD)


def average_gain(clean_rest: float, masked_rest: float) -> float:
    """``max(q - q', 0) / (q + 1e-8)`` in [0, 1] of ``q = 1 - p``: ``max(p' - p, 0) / (1 - p + 1e-8)``."""
    return max(clean_rest - masked_rest, 0.0) / (clean_rest + GUARD)


def rest(probabilities: Tensor, target: int) -> float:
    """``1 - p`` of the target, as the float64 sum of the other ``(C,)`` probabilities.

    Near ``p = 1`` float32 holds few digits of p and all of the others': at .9999, ``1 - p`` would be right to three.
    """
    values: list[float] = probabilities.tolist()
    return sum(p for i, p in enumerate(values) if i != target)


class AverageDrop:
    """Average drop and increase (Chattopadhay et al. 2018), average gain (Zhang et al. 2024).

    The picture is blended with the fill by the map stretched to [0, 1], ``x' = fill + m (x - fill)``; p and p' are the
    target's probabilities of x and x'. Drop ``max(p - p', 0) / p``, increase ``p' > p``, gain
    ``max(p' - p, 0) / (1 - p)``, of one picture; their means over pictures are the published numbers, here as shares.

    Formulas and ``1e-8`` as in xplique, which stretches ``|a|``; for maps without negative values ``values`` makes
    no difference. xplique adds ``1e-8`` to the range of the map, too, so that tiny maps score otherwise there; here a
    map's scale changes nothing. Soft masks make pictures that no detector has seen: read it beside ``deletion``.

    The gain takes ``1 - p`` as the probability of the other classes, which keeps its digits where the detector gives
    logits or two classes. One output that is a probability has only those of float32: at p = .9999 ``1 - p`` is right
    to .06 %, at .999999 to 6 %.
    """

    Parameters = AverageDropParameters
    scores = (DROP, INCREASE, GAIN)

    def __init__(self, parameters: AverageDropParameters) -> None:
        self.parameters = parameters

    def score(self, case: MapCase) -> Programme[Scores]:
        p, saliency = self.parameters, case.explanation.map
        assert saliency is not None
        if is_constant(saliency.abs() if p.values == "absolute" else saliency):
            return Scores.undefined(self.scores, "the map is constant: it makes no mask")
        image = to_device(case.picture.image, case.detector.device)
        made = yield from case.artefacts.get(Background(p.fill, p.sigma), case.picture)
        mask = to_device(mask_of(saliency.cpu(), p.values).to(image.dtype), image.device)
        reply: Tensor = yield Forward(blend(image, made.tensors["background"], mask[None]))
        clean, masked = float(case.clean[case.target]), float(reply[0, case.target])
        clean_rest, masked_rest = rest(case.clean, case.target), rest(reply[0], case.target)
        increased = masked_rest < clean_rest if clean > clean_rest else masked > clean  # the smaller has more digits
        values = (average_drop(clean, masked), float(increased), average_gain(clean_rest, masked_rest))
        return Scores(tuple(Score(name=s.name, value=v) for s, v in zip(self.scores, values, strict=True)))

    def accompanied_by(self) -> tuple[str, ...]:
        return fill_response(self.parameters.fill, self.parameters.sigma)

    def passes(self, query: PassQuery) -> Passes:
        return Passes(forward=1)
