"""Ablation-CAM: activation maps weighted by how far the score falls without each of them."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from xaibench.api import Apply, ExplainRequest, Explanation, Facts, Output, Passes, PassQuery, Programme, to_device
from xaibench_explainers.layer_maps import native_size
from xaibench_explainers.perturbation.channels import (
    ChannelParameters,
    Look,
    channel_passes,
    look,
    rectified,
    strongest,
)
from xaibench_explainers.perturbation.regions import no_signal
from xaibench_perturbation import CHUNK


class AblationCamParameters(ChannelParameters):
    """Parameters of ``ablationcam``."""

    output: Output = Field("logit", description="score of the target that falls")


def ablated_scores(
    image: Tensor, channels: Tensor, target: int, layer: str | None, output: Output
) -> Programme[Tensor]:
    """``(n,)`` scores of the picture with each of ``(n,)`` channels of the layer set to 0; one pass each."""
    found = []
    compute = Look(layer, output, off=True)
    for part in torch.split(channels, CHUNK):
        pictures = image.expand(len(part), *image.shape)
        (scores,) = yield Apply(compute, pictures, target, extras=(part,), backward=0)
        found.append(scores)
    return torch.cat(found)


class AblationCam:
    """Ablation-CAM (Desai and Ramaswamy 2020): ``relu(sum_k (y - y_k) / |y| A_k)``; unsigned.

    ``y`` is the target's logit, ``y_k`` that with channel k of the layer set to 0. The paper divides by ``y``, which it
    takes to be positive; by the absolute value a channel that the class needs has a positive weight even where the
    logit is negative, where the paper's form and pytorch-grad-cam's turn the map around. pytorch-grad-cam also sets
    the channel to a value far below its minimum rather than to 0. Channels beyond ``most`` have the weight 0; how many
    were weighed, and how many there are, are the details ``channels`` and ``layer_channels``.
    """

    Parameters = AblationCamParameters

    def __init__(self, parameters: AblationCamParameters) -> None:
        self.parameters = parameters

    def explain(self, request: ExplainRequest) -> Programme[Explanation]:
        p = self.parameters
        image = to_device(request.picture.image, request.detector.device)
        whole, activation = yield from look(image, request.target, p.layer, p.output)
        channels = strongest(activation, p.most)
        scores = yield from ablated_scores(image, channels, request.target, p.layer, p.output)
        reason = no_signal(torch.cat([whole[None], scores]))
        if reason:
            return Explanation.none(reason)
        if not whole:
            return Explanation.none("the score of the picture is 0: a relative drop is undefined")
        drops = (whole.double() - scores.double()) / whole.double().abs()
        details = {"channels": float(len(channels)), "layer_channels": float(len(activation))}
        height, width = image.shape[1:]
        return rectified(activation[channels], drops, (height, width), details)

    def passes(self, query: PassQuery) -> Passes:
        return channel_passes(self.parameters)

    def native_size(self, facts: Facts) -> tuple[int, int] | None:
        """The (h, w) of its maps before upsampling, as far as it is known."""
        return native_size(facts, self.parameters.layer)
