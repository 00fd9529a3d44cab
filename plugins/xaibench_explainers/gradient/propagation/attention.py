"""Attention rollout and transformer attribution, for networks of picture tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from xaibench.api import Apply, ExplainRequest, Explanation, Output, Parameters, Passes, PassQuery, Programme, to_device
from xaibench_explainers.gradient.propagation.common import (
    as_rows,
    as_text,
    explained,
    lacks,
    target_values,
    upsample,
)
from xaibench_operations import Attention, TokenGrid

Fusion = Literal["mean", "max", "min"]
Readout = Literal["auto", "class-token", "mean"]

_READOUT = "whose attention is shown: the first token's, the mean of all, or the first's where it is extra"


class RolloutParameters(Parameters):
    """Parameters of ``attention-rollout``."""

    heads: Fusion = Field("mean", description="how the heads of a layer become one")
    residual: float = Field(0.5, ge=0, lt=1, description="share of the connection around each attention")
    discard: float = Field(0.0, ge=0, lt=1, description="share of each layer's smallest weights that is set to 0")
    readout: Readout = Field("auto", description=_READOUT)


class AttributionParameters(Parameters):
    """Parameters of ``transformer-attribution``."""

    readout: Readout = Field("auto", description=_READOUT)
    output: Output = Field("logit", description="what is differentiated")


# ---- mathematics ------------------------------------------------------------------------------------------------


def by_head(matrix: Tensor, pictures: int) -> Tensor:
    """``(N, heads, T, T)`` or ``(N * heads, T, T)`` to ``(N, heads, T, T)``."""
    return matrix.reshape(pictures, -1, *matrix.shape[-2:])


def fused(matrix: Tensor, fusion: Fusion, discard: float) -> Tensor:
    """One ``(N, T, T)`` of ``(N, heads, T, T)``; the smallest ``discard`` of each picture's weights set to 0."""
    one = matrix.mean(dim=1) if fusion == "mean" else matrix.amax(dim=1) if fusion == "max" else matrix.amin(dim=1)
    flat = one.flatten(1)
    smallest = flat.argsort(dim=1, stable=True)[:, : int(discard * flat.shape[1])]
    return flat.scatter(1, smallest, 0.0).view_as(one)


def rolled_out(layers: list[Tensor], residual: float) -> Tensor:
    """``A_L ... A_2 A_1`` of ``A_l = (1 - residual) A + residual I`` with rows that sum to 1: ``(N, T, T)``."""
    eye = torch.eye(layers[0].shape[-1], dtype=layers[0].dtype, device=layers[0].device)
    joint = eye.expand_as(layers[0])
    for layer in layers:
        mixed = (1 - residual) * layer + residual * eye
        total = mixed.sum(dim=-1, keepdim=True)
        joint = torch.where(total > 0, mixed / torch.where(total > 0, total, 1), 0) @ joint
    return joint


def relevancy(layers: list[Tensor], gradients: list[Tensor]) -> Tensor:
    """``R <- R + mean_h(max(dA * A, 0)) R`` from the identity, less the identity: ``(N, T, T)`` of ``(N, h, T, T)``."""
    eye = torch.eye(layers[0].shape[-1], dtype=layers[0].dtype, device=layers[0].device)
    found = torch.zeros_like(layers[0][:, 0])
    for attention, gradient in zip(layers, gradients, strict=True):
        speaking = (gradient * attention).clamp(min=0).mean(dim=1)
        found = found + speaking @ (found + eye)
    return found


def shown_rows(joint: Tensor, grid: TokenGrid, readout: Readout) -> Tensor:
    """What the picture's tokens give to the one that is read out: ``(N, h, w)`` of ``(N, T, T)``."""
    first = readout == "class-token" or (readout == "auto" and grid.extra > 0)
    row = joint[:, 0] if first else joint[:, grid.extra :].mean(dim=1)
    return row[:, grid.extra :].reshape(len(row), grid.height, grid.width)


# ---- on a detector ----------------------------------------------------------------------------------------------


def _reply(found: Tensor | None, limit: str, pictures: int) -> tuple[Tensor, Tensor]:
    shown = torch.zeros(pictures, 1, 1) if found is None else found.float()
    return shown, as_rows(limit, pictures)


@dataclass(frozen=True)
class Rollout:
    """``(b, h, w)`` rollout, and why there is none."""

    heads: Fusion
    residual: float
    discard: float
    readout: Readout

    def __call__(
        self, detector: Any, images: Tensor, targets: Tensor, extras: tuple[Tensor, ...]
    ) -> tuple[Tensor, Tensor]:
        n, size = len(images), (images.shape[2], images.shape[3])
        mode = Attention(n, size, keep=lambda matrix: fused(by_head(matrix, n), self.heads, self.discard))
        with torch.no_grad(), mode:
            detector.logits(images.detach())
        if limit := mode.limit():
            return _reply(None, limit, n)
        return _reply(shown_rows(rolled_out(mode.matrices, self.residual), mode.grid(), self.readout), "", n)


@dataclass(frozen=True)
class Attribution:
    """``(b, h, w)`` relevancy, and why there is none."""

    readout: Readout
    output: Output

    def __call__(
        self, detector: Any, images: Tensor, targets: Tensor, extras: tuple[Tensor, ...]
    ) -> tuple[Tensor, Tensor]:
        n, size = len(images), (images.shape[2], images.shape[3])
        mode = Attention(n, size)
        values = target_values(detector, images, targets, self.output, mode)
        if limit := mode.limit():
            return _reply(None, limit, n)
        used = [m for m in mode.matrices if m.requires_grad]
        slopes = torch.autograd.grad(values.sum(), used, allow_unused=True, materialize_grads=True)
        layers = [by_head(m.detach(), n) for m in used]
        joint = relevancy(layers, [by_head(g, n) for g in slopes])
        return _reply(shown_rows(joint, mode.grid(), self.readout), "", n)


def _drawn(native: Tensor, image: Tensor, zero: str) -> Explanation:
    size = (image.shape[1], image.shape[2])
    found = explained(upsample(native, size)[0], zero)
    if found.map is None:
        return found
    return Explanation(map=found.map, native_map=native[0].cpu())


class AttentionRollout:
    """Attention rollout (Abnar and Zuidema 2020, arXiv:2005.00928, equation 1): ``(H, W)``, >= 0; of no class.

    Every attention of the network, its heads fused, is mixed half and half with the identity, its rows scaled to sum
    to 1, and all are multiplied, last to first. What the tokens of the picture give to the token that is read out lies
    on their grid (``native_map``) and is upsampled bilinearly. ``discard`` and the fusions ``max`` and ``min`` are
    Gildenblat's (vit-explain), whose ``discard`` spares the weight of the first token for itself; here it does not.
    A network with tokens beside the grid is read out at its first token (the class token of ViT, DeiT, CLIP), one
    without at the mean over tokens; set ``readout`` where a network with a class token averages its tokens.
    """

    Parameters = RolloutParameters

    def __init__(self, parameters: RolloutParameters) -> None:
        self.parameters = parameters

    def explain(self, request: ExplainRequest) -> Programme[Explanation]:
        p = self.parameters
        if reason := lacks(request.detector, "operations", "attention"):
            return Explanation.none(reason)
        image = to_device(request.picture.image, request.detector.device)
        compute = Rollout(p.heads, p.residual, p.discard, p.readout)
        native, limit = yield Apply(compute, image[None], request.target, backward=0)
        if text := as_text(limit[0]):
            return Explanation.none(text)
        return _drawn(native, image, "the attention that is read out is zero everywhere")

    def passes(self, query: PassQuery) -> Passes:
        return Passes(forward=1)


class TransformerAttribution:
    """Relevancy of Chefer, Gur and Wolf 2021, *Generic attention-model explainability* (arXiv:2103.15679, equations 5
    and 6 for self-attention), of the target's logit: ``(H, W)``, >= 0, class-specific.

    ``R <- R + A' R`` from the identity through the layers, ``A' = mean over heads of max(dA * A, 0)``, dA the logit's
    gradient at the attention. It is not the LRP-based method of the same authors' earlier *Transformer
    interpretability beyond attention visualization*. The identity is left out at the end, which differs for
    ``readout=mean`` alone. Read out and laid on the picture as :class:`AttentionRollout`.
    """

    Parameters = AttributionParameters

    def __init__(self, parameters: AttributionParameters) -> None:
        self.parameters = parameters

    def explain(self, request: ExplainRequest) -> Programme[Explanation]:
        p = self.parameters
        if reason := lacks(request.detector, "operations", "attention"):
            return Explanation.none(reason)
        image = to_device(request.picture.image, request.detector.device)
        compute = Attribution(p.readout, p.output)
        native, limit = yield Apply(compute, image[None], request.target, output=p.output)
        if text := as_text(limit[0]):
            return Explanation.none(text)
        return _drawn(native, image, "no attention to the picture speaks for the class")

    def passes(self, query: PassQuery) -> Passes:
        return Passes(forward=1, backward=1)
