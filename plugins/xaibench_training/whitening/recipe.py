"""Recipe ``whitening``: channels decorrelated by a layer and, every so often, turned to patches of the face."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from xaibench.api import Loss, Network, PlanError, TrainingBatch, UsageError
from xaibench_training.networks.pooled import evaluating
from xaibench_training.whitening.change import LayerParameters, replaced, whitening_layer
from xaibench_training.whitening.concepts import Activation, Mask, axis_activation, axis_gradient, patch_pictures
from xaibench_training.whitening.layer import Whitening as WhiteningLayer
from xaibench_training.whitening.rotation import Solver, attained, turned_towards

NEWEST = 0.9
"""Weight of the newest gradient in the running one, as published: hardly more than the last batch counts."""

_STATE = "gradient"


class WhiteningParameters(LayerParameters):
    """The layer, and what its axes are turned to."""

    patches: int = Field(4, ge=0, description="patches along a side, each aligned to a channel; 0: decorrelation only")
    period: int = Field(30, ge=1, description="training steps from one rotation to the next")
    solver: Solver = Field("cayley", description="the published search, or the best rotation at once")
    mask: Mask = Field("correct", description="places that count for an axis: its own, or as published each channel's")
    activation: Activation = Field("max", description="what is made great of an axis on its patch")
    colour: tuple[float, float, float] | None = Field(
        None, description="red, green, blue in [0, 1] around a patch; none: what the network subtracts (its `mean`)"
    )


class Whitening:
    """Cross-entropy with a whitening layer, and its rotation turned every ``period`` steps (Hua et al. 2021, 2023).

    After such a step the network, in evaluation mode, sees the step's pictures P = patches^2 times, each time with all
    but patch p in the mean colour; ``G_p <- 0.9 (-g) + 0.1 G_p``, g the gradient of axis p's activation by row p of R
    (:func:`axis_gradient`); then one call of the solver turns R to make <G, R> small. Nothing is added to the loss.
    P evaluations of the batch are the cost. Figures then: ``alignment``, the mean over p of axis p's activation on
    patch p before the turn, and ``attained``, the share of the best <G, R> that R reaches after it.

    Published: layer of 2,048 channels in one group, ``iterations=5``, ``statistics=published``, ``patches=10``,
    ``period=1000``, ``mask=published``. The published division of G by the patch batches since the last turn is left
    out: it is one batch a patch here. With a batch of unaligned faces, patches are no facial parts.
    """

    Parameters = WhiteningParameters

    def __init__(self, parameters: WhiteningParameters) -> None:
        self.parameters = parameters
        self._gradient: Tensor | None = None

    def prepare(self, network: Network, generator: torch.Generator) -> Network:
        """The network with the layer in place. Raises :class:`UsageError` where it has fewer channels than patches."""
        p = self.parameters
        network = replaced(network, p)
        layer = whitening_layer(network, p.layer)
        concepts = p.patches**2
        if concepts > layer.channels:
            raise UsageError(
                f"{concepts} patches need as many channels, the layer has {layer.channels}",
                f"set patches={int(layer.channels**0.5)} or fewer, or name a wider layer",
            )
        self._gradient = None
        if concepts:
            _colour(network, p.colour)  # fail now, not after the first period
        return network

    def changes(self) -> tuple[Mapping[str, Any], ...]:
        """What :meth:`prepare` did, as the tables that a trained member's card holds."""
        values = self.parameters.model_dump(include=set(LayerParameters.model_fields), exclude_none=True)
        return ({"kind": "whitening", **values},)

    def loss(self, network: Network, batch: TrainingBatch) -> Loss:
        """Cross-entropy of one forward pass."""
        total = functional.cross_entropy(network.classify(network.features(batch.images)), batch.labels)
        return Loss(total, {"cross-entropy": total.item()})

    def after_step(
        self, network: Network, batch: TrainingBatch, step: int, generator: torch.Generator
    ) -> Mapping[str, float]:
        """Turn R after every ``period``-th step; nothing is drawn at random."""
        p = self.parameters
        if not p.patches or step % p.period:
            return {}
        layer = whitening_layer(network, p.layer)
        with evaluating(network.module()), torch.no_grad():
            newest, activations = self._concepts(network, layer, batch.images)
            before = torch.zeros_like(newest) if self._gradient is None else self._gradient
            gradient = self._gradient = NEWEST * -newest + (1 - NEWEST) * before
            layer.turn(turned_towards(layer.rotation, gradient, p.solver))
        return {"alignment": float(activations.mean()), "attained": attained(layer.rotation, gradient)}

    def _concepts(self, network: Network, layer: WhiteningLayer, images: Tensor) -> tuple[Tensor, Tensor]:
        """For each patch its axis's gradient, ``(P, C)``, and activation, ``(P,)``, on the patch's pictures."""
        p, colour = self.parameters, _colour(network, self.parameters.colour)
        gradients, activations = [], []
        for patch in range(p.patches**2):
            turned = layer_output(network, layer, patch_pictures(images, patch, p.patches, colour))
            whitened = layer.unturned(turned)
            gradients.append(axis_gradient(whitened, layer.rotation, patch, p.activation, p.mask))
            activations.append(axis_activation(turned[:, patch : patch + 1], p.activation)[0])
        return torch.stack(gradients).cpu().double(), torch.stack(activations).cpu().double()

    def state(self) -> Mapping[str, Tensor]:
        """The running gradient G, ``(P, C)`` float64; nothing before the first turn."""
        return {} if self._gradient is None else {_STATE: self._gradient.clone()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what :meth:`state` gave."""
        self._gradient = state[_STATE].clone() if _STATE in state else None


def layer_output(network: Network, layer: nn.Module, pictures: Tensor) -> Tensor:
    """What ``layer`` gives for ``pictures``: ``(N, C, h, w)``, before anything behind it can change it in place."""
    caught: list[Tensor] = []
    handle = layer.register_forward_hook(lambda _, __, output: caught.append(output.clone()))
    try:
        network.features(pictures)
    finally:
        handle.remove()
    return caught[0]


def _colour(network: Network, colour: tuple[float, float, float] | None) -> Tensor:
    """``(3,)``: the colour around a patch; raises :class:`PlanError` where the network names none."""
    if colour is not None:
        return torch.tensor(colour)
    mean = getattr(network.module(), "mean", None)
    if not isinstance(mean, Tensor) or mean.numel() != 3:
        raise PlanError("the network does not say which colour it subtracts", "set colour=[0.5,0.5,0.5]")
    return mean.flatten()
