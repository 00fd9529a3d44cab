"""Axis purity: does channel j stand for facial patch j?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import Field

from xaibench.api import Apply, Better, Curve, ModelCase, Passes, PassQuery, Picture, Programme, Scores, ScoreSpec
from xaibench_metrics.interpretability.layer import (
    Figures,
    LayerParameters,
    as_scores,
    in_order,
    rotation_seeds,
    spec,
    why_not,
)
from xaibench_metrics.interpretability.patches import (
    Activation,
    Colour,
    Fill,
    Order,
    PatchResponses,
    ground_colours,
    variants,
)
from xaibench_metrics.interpretability.purity import (
    Floats,
    axis_figures,
    fold_aucs,
    folds,
    mean_figures,
)

Float32s = npt.NDArray[np.float32]

_INF = float("inf")
_PRIMARY = ("axis-auc", "diagonal-share", "hit-1", "occlusion-diagonal-share")
_FIGURES: tuple[tuple[str, str, Better, float, float], ...] = (
    ("axis-auc", "one-vs-rest AUC of axis j for patch j, mean over axes and parts of the pictures", "higher", 0, 1),
    ("diagonal-share", "share of axes whose mean response is highest on their own patch", "higher", 0, 1),
    ("margin", "response to the own patch minus the highest other, over the axis' s.d., mean over axes", "higher",
     -_INF, _INF),
    ("mean-rank", "rank of axis p among the P axes on patch p, mean; 1 is the highest", "lower", 1, _INF),
    ("hit-1", "share of patch pictures on which the patch's own axis is the highest", "higher", 0, 1),
    ("hit-3", "share of patch pictures on which the patch's own axis is among the three highest", "higher", 0, 1),
    ("hit-5", "share of patch pictures on which the patch's own axis is among the five highest", "higher", 0, 1),
    ("energy-ratio", "mean |activation| of the patch's own axis over the mean norm of the P axes", "higher", 0, 1),
    ("gap", "best minus second-best axis for a patch, in 2 AUC - 1, mean over patches (like MIG)", "higher", 0, 1),
    ("disentanglement", "how far each axis answers to one patch alone (like DCI)", "higher", 0, 1),
    ("completeness", "how far each patch is answered by one axis alone (like DCI)", "higher", 0, 1),
    ("occlusion-diagonal-share", "share of axes that fall most when their own patch of a whole picture is hidden",
     "higher", 0, 1),
)  # fmt: skip


def _own(name: str, description: str, better: Better, low: float, high: float) -> ScoreSpec:
    return spec(name, description, better, low, high, primary=name in _PRIMARY)


def _random(name: str, description: str, better: Better, low: float, high: float) -> ScoreSpec:
    return spec(
        f"{name}-random", f"{name} of random rotations of the layer, mean over draws: chance", "none", low, high
    )


OWN = tuple(_own(*figure) for figure in _FIGURES)
RANDOM = tuple(_random(*figure) for figure in _FIGURES)
EXTRA = (
    spec("axis-auc-sd", "standard deviation of axis-auc over the parts of the pictures", "none", 0, 1),
    spec("best-channel-auc", "AUC of the best of all channels for each patch, chosen on these pictures: optimistic",
         "none", 0, 1),
)  # fmt: skip
SCORES = (*OWN, *EXTRA, *RANDOM)


class PurityParameters(LayerParameters):
    """Parameters of ``axis-purity``."""

    patches: int = Field(4, ge=2, description="patches along a side; patch p belongs to channel p (IFFD: 10)")
    order: Order = Field("columns", description="patches are numbered down the columns, as IFFD's, or along the rows")
    activation: Activation = Field("max", description="how an axis' activation is brought to one number, as IFFD's")
    fill: Fill = Field("mean", description="colour of what is hidden: mean of all pictures, or of the picture itself")
    colour: Colour | None = Field(
        None, description="red, green, blue in [0, 1] in place of fill, such as what the network subtracts"
    )
    pictures: int = Field(
        64, ge=1, description="most pictures used, drawn at random; each takes 1 + 2 patches^2 passes"
    )
    splits: int = Field(5, ge=1, description="random parts of the pictures in which AUCs are taken")
    draws: int = Field(5, ge=5, description="random rotations that the -random scores are means of")


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What the layer answered. ``channels``: ``(N, P, K)`` on patches alone; ``rotated``: ``(D, N, P, P)``, the same
    for the axes of D random rotations; ``drops``: ``(P, P)`` and ``rotated_drops``: ``(D, P, P)``, axes first: mean
    fall when a patch of the whole picture is hidden."""

    channels: Float32s
    rotated: Float32s
    drops: Floats
    rotated_drops: Floats


class AxisPurity:
    """Purity of the axes of a layer whose concepts are facial patches, after Concept Whitening, MGCW and IFFD.

    A picture is cut into P = patches x patches cells; axis p is channel p. Patch pictures show one patch on a plain
    ground, ``a_j`` is the activation of axis j, pooled over positions. ``axis-auc``: one-vs-rest AUC of ``a_j`` for
    patch j (over all patches of all pictures), mean over j, in each of ``splits`` random parts of the pictures; their
    mean, and s.d. (n - 1) as ``axis-auc-sd``. ``diagonal-share`` and ``margin`` are of the matrix ``r_jp``, the mean of
    ``a_j`` on patch p: share of j with ``argmax_p r_jp = j``; mean of ``(r_jj - max_{p != j} r_jp) / s_j``, ``s_j`` the
    s.d. of ``a_j`` over patch pictures. ``mean-rank`` and ``hit-k``: rank of ``a_p`` among ``a_1 .. a_P`` on patch p.
    ``energy-ratio`` = mean ``|a_p|`` / mean ``|(a_1 .. a_P)|``. These four compare axes with one another as they are: a
    layer whose channels differ in scale should be normalised. ``gap``, ``disentanglement``, ``completeness``: MIG and
    DCI with the patch as factor and ``max(0, 2 AUC - 1)`` in place of mutual information and of a regressor's weights.
    ``occlusion-diagonal-share``: as ``diagonal-share``, of the fall of ``a_j`` when patch p of the whole picture is
    hidden: no plain ground, which no detector was trained on. Ties count by the share that random tie-breaking would
    give.

    Chance: the ``-random`` scores, of the first P axes of random rotations of all channels: in expectation AUC 1/2,
    diagonal share 1 / P, hit-k k / P, mean rank (P + 1) / 2. ``best-channel-auc`` is what picking channels could give.

    Curves: ``axis-auc`` over p; ``patch-response``, ``r_jj`` and the highest other by ``item`` (``own``, ``other``).

    Departures: the hidden is the mean colour of the pictures; IFFD's zeros after normalisation are ImageNet's, which
    ``colour`` can be. MGCW
    ranks among all axes of the layer; here among the P designated ones.

    Undefined where the layer has fewer channels than patches, there are fewer pictures than parts or pixels than cells,
    the layer says the same of all patch pictures, or an activation is not finite.
    """

    Parameters = PurityParameters
    scores = SCORES

    def __init__(self, parameters: PurityParameters) -> None:
        self.parameters = parameters

    def score(self, case: ModelCase) -> Programme[Scores]:
        chosen = self._chosen(case)
        reason = why_not(case, self.parameters.layer) or self._refusal(case, chosen)
        if reason:
            return Scores.undefined(SCORES, reason)
        answers = yield from self._answers(case, chosen)
        if isinstance(answers, str):
            return Scores.undefined(SCORES, answers)
        parts = folds(len(chosen), self.parameters.splits, case.streams.numpy("parts"))
        aucs = fold_aucs(answers.channels, parts).mean(axis=0)
        return Scores(as_scores(SCORES, _figures(answers, parts, aucs)), _curves(answers, aucs))

    def _chosen(self, case: ModelCase) -> list[Picture]:
        """The pictures used, sorted."""
        order = in_order(case.pictures)
        drawn = case.streams.numpy("pictures").permutation(len(order))[: self.parameters.pictures]
        return [case.pictures[order[i]] for i in sorted(drawn.tolist())]

    def _refusal(self, case: ModelCase, chosen: Sequence[Picture]) -> str:
        p, size = self.parameters, case.detector.facts.input_size
        if len(chosen) < p.splits:
            return f"{len(chosen)} picture(s) cannot be parted in {p.splits}: lower splits"
        if min(size) < p.patches:
            return f"a picture of {size[0]} x {size[1]} pixels has no {p.patches} x {p.patches} patches"
        return ""

    def _answers(self, case: ModelCase, chosen: Sequence[Picture]) -> Programme[Answers | str]:
        p, patches = self.parameters, self.parameters.patches**2
        compute = PatchResponses(p.layer, p.patches, p.order, p.activation, rotation_seeds(case, p.draws))
        kind, patch = variants(patches)
        alone, rotated, drops = [], [], np.zeros((patches, patches * (1 + p.draws)))
        colours = ground_colours([picture.image for picture in chosen], p.fill, p.colour)
        for picture, colour in zip(chosen, colours, strict=True):
            images = picture.image[None].expand(len(kind), -1, -1, -1)
            extras = (kind, patch, colour.expand(len(kind), 3))
            found = yield Apply(compute, images, 0, extras, forward=1, backward=0)
            channels, random = (rows.cpu().numpy() for rows in found)
            reason = _unusable(channels, patches)
            if reason:
                return reason
            both = np.concatenate([channels[:, :patches], random], axis=1, dtype=np.float64)
            drops += (both[:1] - both[1 + patches :]) / len(chosen)
            alone.append(channels[1 : 1 + patches])
            rotated.append(random[1 : 1 + patches])
        return _assembled(np.stack(alone), np.stack(rotated), drops)

    def passes(self, query: PassQuery) -> Passes:
        """At most: the whole picture, each patch alone and each hidden; pictures that are not drawn take none."""
        return Passes(1 + 2 * self.parameters.patches**2, 0, exact=False)


def _unusable(channels: Float32s, patches: int) -> str:
    if channels.shape[1] < patches:
        return f"the layer has {channels.shape[1]} channels, fewer than the {patches} cells: lower patches"
    return "" if np.isfinite(channels).all() else "an activation of the layer is not finite"


def _assembled(alone: Float32s, rotated: Float32s, drops: Floats) -> Answers | str:
    if not np.ptp(alone, axis=(0, 1)).any():
        return "the layer says the same of every patch picture"
    n, patches, _ = alone.shape
    by_draw = drops.T.reshape(-1, patches, patches)
    return Answers(
        channels=alone,
        rotated=np.moveaxis(rotated.reshape(n, patches, -1, patches), 2, 0),
        drops=by_draw[0],
        rotated_drops=by_draw[1:],
    )


def _figures(answers: Answers, parts: Sequence[npt.NDArray[np.intp]], aucs: Floats) -> Figures:
    patches = answers.channels.shape[1]
    own = axis_figures(answers.channels[:, :, :patches], answers.drops, parts)
    each = [axis_figures(r, d, parts) for r, d in zip(answers.rotated, answers.rotated_drops, strict=True)]
    random = {f"{name}-random": value for name, value in mean_figures(each).items()}
    return {**own, **random, "best-channel-auc": float(aucs.max(axis=1).mean())}


def _curves(answers: Answers, aucs: Floats) -> tuple[Curve, ...]:
    patches = answers.channels.shape[1]
    matrix = answers.channels[:, :, :patches].mean(axis=0, dtype=np.float64).T
    others = np.where(np.eye(patches, dtype=np.bool_), -np.inf, matrix).max(axis=1)
    x = list(range(patches))
    return (
        Curve(name="axis-auc", x=x, y=aucs.diagonal().tolist()),
        Curve(name="patch-response", x=x, y=matrix.diagonal().tolist(), item="own"),
        Curve(name="patch-response", x=x, y=others.tolist(), item="other"),
    )
