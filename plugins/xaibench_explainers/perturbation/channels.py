"""What the methods that weigh a layer's channels without gradients have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from xaibench.api import Apply, Explanation, Output, Parameters, Passes, Programme
from xaibench_explainers.layer_maps import upsampled


class ChannelParameters(Parameters):
    """Which channels of which layer are weighed; to be inherited."""

    layer: str | None = Field(None, description="layer to look at; none given: the detector's target layer")
    most: int = Field(2048, ge=1, description="channels weighed at most, those of the largest mean activation first")


@dataclass(frozen=True, slots=True)
class Look:
    """For :class:`xaibench.api.Apply`: the activation ``(b, K, h, w)`` and the target's score ``(b,)``.

    ``off``: set to 0, before the network goes on, the channel of each row that the first tensor of ``extras`` numbers.
    """

    layer: str | None
    output: Output
    off: bool = False

    def __call__(
        self, detector: Any, images: Tensor, targets: Tensor, extras: tuple[Tensor, ...]
    ) -> tuple[Tensor, ...]:
        def edit(activation: Tensor, axis: int) -> Tensor:
            return without_channel(activation, axis, extras[0])

        with torch.no_grad():
            features = detector.features(images, self.layer, edit if self.off else None)
            values = features.logits if self.output == "logit" else features.logits.softmax(dim=1)
            scores = values.gather(1, targets[:, None])[:, 0]
            return (scores,) if self.off else (scores, features.to_grid(features.activation).float())


def without_channel(activation: Tensor, axis: int, channels: Tensor) -> Tensor:
    """``activation`` with channel ``channels[i]`` of row i set to 0; ``axis`` is that of the channels."""
    off = F.one_hot(channels, activation.shape[axis]).bool()
    shape = [1] * activation.ndim
    shape[0], shape[axis] = off.shape
    return activation.masked_fill(off.view(shape), 0)


def look(image: Tensor, target: int, layer: str | None, output: Output) -> Programme[tuple[Tensor, Tensor]]:
    """The target's score ``()`` and the layer's activation ``(K, h, w)``; one forward pass."""
    reply = yield Apply(Look(layer, output), image[None], target, backward=0)
    scores, activation = reply
    return scores[0], activation[0]


def strongest(activation: Tensor, most: int) -> Tensor:
    """Numbers of the ``most`` channels of ``(K, h, w)`` with the largest mean, in ascending order."""
    order = activation.mean(dim=(1, 2)).argsort(descending=True, stable=True)
    return order[:most].sort().values


def channel_passes(p: ChannelParameters) -> Passes:
    """One for the layer and one a channel; how many channels there are is known at run time only."""
    return Passes(forward=1 + p.most, exact=False)


def rectified(activation: Tensor, weights: Tensor, size: tuple[int, int], details: Mapping[str, float]) -> Explanation:
    """``relu(sum_k w_k A_k)`` upsampled bilinearly, for ``(K, h, w)`` and ``(K,)``, or why there is none."""
    native = torch.tensordot(weights.to(activation), activation, dims=1).relu()
    zero = "no position of the layer speaks for the class: the map is zero everywhere"
    return replace(upsampled(native, size, zero), details=details)
