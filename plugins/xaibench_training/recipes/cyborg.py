"""Recipes ``cyborg`` and ``cyborg-shuffled``: cross-entropy, and class activation maps that look where a guide says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from xaibench.api import Loss, Network, Parameters, Picture, PlanError, TrainingBatch
from xaibench_training.recipes import guides as sources
from xaibench_training.recipes.cams import class_activation_maps, guide_loss


class CyborgParameters(Parameters):
    """What guides, and how much."""

    alpha: float = Field(0.5, ge=0, le=1, description="weight of the cross-entropy; the guide has the rest")
    guide: Literal["mask", "files", "maps"] = Field(
        "mask", description="manipulation masks, a folder of files (path), or another model's maps (model, explainer)"
    )
    path: str = Field("", description="guide=files: folder with SAMPLE-ID.npy or a grey picture for each guided sample")
    model: str = Field("", description="guide=maps: the model whose maps guide")
    explainer: str = Field("gradcam", description="guide=maps: the explainer that draws them, NAME[:KEY=VALUE,...]")
    target: str = Field("label", description="guide=maps: the class explained: label, predicted, fake, real or a class")
    class_rule: Literal["true", "predicted"] = Field("true", description="whose activation map is guided")
    layer: Literal["features", "last-convolution"] = Field(
        "features", description="activation that the map is made of: as it is pooled, or out of the last convolution"
    )


class Cyborg:
    """Human-guided training: ``L = alpha CE + (1 - alpha) MSE(C, G)``.

    ``C`` is the class activation map ``sum_k W[c, k] A_k`` of the same forward pass, without ReLU, stretched to [0, 1];
    ``G`` the guide, averaged to its size and stretched likewise. The error is the mean over guided pictures and cells;
    a batch without a guided picture has ``L = alpha CE``. The gradient goes through ``A``, ``W`` and the stretch.

    Departures from the authors' code: the true class's map by default (theirs: the predicted class's, ``class_rule``);
    the pooled activation for every network (theirs differs by network, ``layer``); one forward pass (theirs: two for
    DenseNet); no guide means that the picture takes no part (theirs: an all-zero guide). ``alpha=1`` is
    ``cross-entropy`` to the byte.
    """

    Parameters = CyborgParameters

    def __init__(self, parameters: CyborgParameters) -> None:
        self.parameters = parameters
        self._drawn: dict[tuple[str, ...], list[Tensor | None]] = {}

    def prepare(self, network: Network, generator: torch.Generator) -> Network:
        """The network as it is."""
        return network

    def guides(self, pictures: Sequence[Picture], generator: torch.Generator) -> Sequence[Tensor | None]:
        """Where each picture's evidence is; drawn once for all runs that ask this object about the same pictures."""
        if self.parameters.guide != "maps":
            return list(self._source(pictures))
        key = tuple(p.digest for p in pictures)
        if key not in self._drawn:
            self._drawn[key] = list(self._source(pictures))
        return self._drawn[key]

    def loss(self, network: Network, batch: TrainingBatch) -> Loss:
        """``alpha CE + (1 - alpha) MSE(C, G)`` of one forward pass."""
        p = self.parameters
        if p.alpha == 1:
            entropy = functional.cross_entropy(network.classify(network.features(batch.images)), batch.labels)
            return Loss(entropy, {"cross-entropy": entropy.item()})
        with _watched(network, p.layer) as seen:
            features = network.features(batch.images)
        logits = network.classify(features)
        entropy = functional.cross_entropy(logits, batch.labels)
        chosen = batch.labels if p.class_rule == "true" else logits.argmax(dim=1)
        activation = _activation(features, seen)
        weights = network.head.weight[chosen, : activation.shape[1]]
        guide = guide_loss(class_activation_maps(activation, weights), batch.guides, batch.guided)
        if guide is None:
            return Loss(p.alpha * entropy, {"cross-entropy": entropy.item()})
        total = p.alpha * entropy + (1 - p.alpha) * guide
        return Loss(total, {"cross-entropy": entropy.item(), "guide": guide.item()})

    def _source(self, pictures: Sequence[Picture]) -> Iterator[Tensor | None]:
        p = self.parameters
        if p.guide == "mask":
            return sources.mask_guides(pictures)
        if p.guide == "files":
            return sources.file_guides(pictures, sources.require(p.path, "path", p.guide))
        return sources.map_guides(pictures, sources.require(p.model, "model", p.guide), p.explainer, p.target)


class CyborgShuffled(Cyborg):
    """The control of ``cyborg``: the same guides, each on another guided picture, fixed for the run.

    What ``cyborg`` gains beyond this it owes to where the guides point, not to being guided at all.
    """

    def guides(self, pictures: Sequence[Picture], generator: torch.Generator) -> Sequence[Tensor | None]:
        """The guides of ``cyborg`` after a random permutation that leaves none in its place."""
        own = list(super().guides(pictures, generator))
        guided = [i for i, guide in enumerate(own) if guide is not None]
        if len(guided) == 1:
            raise PlanError("one picture has a guide, which cannot be given to another", "guide two or more pictures")
        given: list[Tensor | None] = [None] * len(own)
        for i, j in zip(guided, derangement(len(guided), generator).tolist(), strict=True):
            given[i] = own[guided[j]]
        return given


def derangement(count: int, generator: torch.Generator) -> Tensor:
    """A permutation of ``count`` without fixed point, uniform over all of them (drawn until one has none)."""
    if count < 2:
        return torch.arange(0)
    while True:
        drawn = torch.randperm(count, generator=generator)
        if not bool((drawn == torch.arange(count)).any()):
            return drawn


@contextmanager
def _watched(network: Network, layer: str) -> Iterator[list[Tensor]]:
    """The output of the last convolution, where it is asked for, while the block runs."""
    seen: list[Tensor] = []
    if layer == "features":
        yield seen
        return
    module = network.module().get_submodule(network.last_convolution)
    handle = module.register_forward_hook(lambda _module, _inputs, output: seen.append(output.clone()))
    try:
        yield seen
    finally:
        handle.remove()


def _activation(features: Tensor, seen: list[Tensor]) -> Tensor:
    if not seen:
        return features
    if seen[-1].shape[1] != features.shape[1]:
        raise PlanError(
            f"the last convolution has {seen[-1].shape[1]} channels, the pooled activation {features.shape[1]}",
            "use layer=features with this network",
        )
    return seen[-1]
