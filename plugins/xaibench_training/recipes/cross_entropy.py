"""Recipe ``cross-entropy``: the classification loss and nothing else."""

from __future__ import annotations

import torch
from torch.nn import functional

from xaibench.api import Loss, Network, Parameters, TrainingBatch


class CrossEntropy:
    """Mean over the batch of ``-log softmax(logits)[label]``: what the guided and whitened recipes are compared
    with."""

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters

    def prepare(self, network: Network, generator: torch.Generator) -> Network:
        """The network as it is."""
        return network

    def loss(self, network: Network, batch: TrainingBatch) -> Loss:
        """Cross-entropy of one forward pass."""
        total = functional.cross_entropy(network.classify(network.features(batch.images)), batch.labels)
        return Loss(total, {"cross-entropy": total.item()})
