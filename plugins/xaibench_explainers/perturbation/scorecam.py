"""Score-CAM: activation maps weighted by the score of the picture seen through each of them."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from xaibench.api import ExplainRequest, Explanation, Facts, Output, Passes, PassQuery, Programme
from xaibench_explainers.layer_maps import native_size
from xaibench_explainers.perturbation.channels import ChannelParameters, channel_passes, look, rectified, strongest
from xaibench_explainers.perturbation.regions import masked_scores, no_signal
from xaibench_perturbation import (
    SwitchParameters,
    cell_labels,
    extra_needs,
    random_fill,
    refusal,
    stored_artefacts,
    switch_off,
)


class ScoreCamParameters(ChannelParameters, SwitchParameters):
    """Parameters of ``scorecam``."""

    output: Output = Field("logit", description="score of the target that weighs a channel")


@dataclass(frozen=True, slots=True)
class ChannelMasks:
    """Channels ``(K, h, w)`` as masks over ``size``: upsampled bilinearly, then stretched to [0, 1] one by one.

    No channel may be flat.
    """

    channels: Tensor
    size: tuple[int, int]

    def __len__(self) -> int:
        return len(self.channels)

    def render(self, start: int, stop: int) -> Tensor:
        """Masks ``start`` to ``stop`` as ``(n, H, W)`` float32 in [0, 1]."""
        chosen = self.channels[start:stop, None]
        masks = F.interpolate(chosen, size=self.size, mode="bilinear", align_corners=False)[:, 0]
        low, high = masks.amin(dim=(1, 2), keepdim=True), masks.amax(dim=(1, 2), keepdim=True)
        return (masks - low) / (high - low)


def varied(activation: Tensor, channels: Tensor) -> Tensor:
    """Those of ``channels`` of ``(K, h, w)`` that are not flat."""
    low, high = activation[channels].amin(dim=(1, 2)), activation[channels].amax(dim=(1, 2))
    return channels[high > low]


class ScoreCam:
    """Score-CAM (Wang et al. 2020): ``relu(sum_k softmax_k(f(x m_k) - f(b)) A_k)``; unsigned.

    ``m_k`` is channel k upsampled and stretched to [0, 1]; where it is 0 the fill shows. ``f(b)``, the score of the
    fill alone, is the same in every term and the softmax cancels it, so it is not asked. A flat channel masks nothing
    and is left out, as in the authors' code; torchcam and pytorch-grad-cam give it a weight, which scales the map.
    torchcam stretches before upsampling, which differs where interpolation misses an extreme. Nothing is scaled:
    others stretch the finished map to [0, 1]. ``fill=segment-mean`` is the mean of each cell of an 8x8 grid. The number
    of channels weighed is the detail ``channels``.
    """

    Parameters = ScoreCamParameters

    def __init__(self, parameters: ScoreCamParameters) -> None:
        self.parameters = parameters
        self.artefacts = stored_artefacts(parameters)
        self.needs = extra_needs(parameters)
        self.stochastic = random_fill(parameters)

    def explain(self, request: ExplainRequest) -> Programme[Explanation]:
        p = self.parameters
        height, width = request.picture.image.shape[1:]
        switch = yield from switch_off(request, p, cell_labels(8, (height, width)))
        if isinstance(switch, Explanation):
            return switch
        _, activation = yield from look(switch.image, request.target, p.layer, p.output)
        if not bool(activation.isfinite().all()):
            return Explanation.none("the layer's activations are not finite")
        channels = varied(activation, strongest(activation, p.most))
        if not len(channels):
            return Explanation.none("every channel of the layer is flat")
        masks = ChannelMasks(activation[channels], (height, width))
        scores = yield from masked_scores(switch, masks, request.target, p.output)
        reason = no_signal(scores) if len(scores) > 1 else ""  # a lone channel has the weight 1 whatever its score
        if reason:
            return Explanation.none(reason)
        details = {**switch.details, "channels": float(len(channels))}
        return rectified(activation[channels], scores.double().softmax(dim=0), (height, width), details)

    def passes(self, query: PassQuery) -> Passes:
        return channel_passes(self.parameters)

    def native_size(self, facts: Facts) -> tuple[int, int] | None:
        """The (h, w) of its maps before upsampling, as far as it is known."""
        return native_size(facts, self.parameters.layer)

    def refuses(self, query: PassQuery) -> str:
        return refusal(self.parameters, query)
