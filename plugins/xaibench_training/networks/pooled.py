"""The one shape that all networks here have: normalise, a body of convolutions, pool, one linear layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from xaibench_training.networks.table import TARGET_LAYER

Three = tuple[float, float, float]
IMAGENET_MEAN: Three = (0.485, 0.456, 0.406)
IMAGENET_STD: Three = (0.229, 0.224, 0.225)
HALF: Three = (0.5, 0.5, 0.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How to make a network.

    ``body`` draws a module ``(N, 3, H, W)`` -> ``(N, channels, h, w)``, the last activation as it is pooled. Pictures
    come to it as ``(x - mean) / std``. ``last_convolution`` is a path within the body; ``heads`` are the names that
    checkpoints give to the classifier, without ``.weight``, and ``renamed`` turns a checkpoint's keys into the body's.
    """

    body: Callable[[], nn.Module]
    channels: int
    last_convolution: str
    mean: Three = IMAGENET_MEAN
    std: Three = IMAGENET_STD
    heads: tuple[str, ...] = ("fc", "classifier", "last_linear", "head.fc", "head")
    renamed: Callable[[str], str] = str


class PooledNetwork(nn.Module):
    """``logits = head(mean over h, w of body((pictures - mean) / std))``; see :class:`xaibench.api.Network`.

    The class activation map of class c is therefore exact: ``sum_k head.weight[c, k] * features[:, k]``, and its mean
    plus ``head.bias[c]`` is the logit. ``layers`` are the batch normalisations of the body. ``notes`` are lines to be
    said aloud: what was not taken over from a checkpoint.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, plan: Plan, classes: int = 2) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(plan.mean).reshape(3, 1, 1))
        self.register_buffer("std", torch.tensor(plan.std).reshape(3, 1, 1))
        self.body = plan.body()
        self.head = nn.Linear(plan.channels, classes)
        self.layers = normalisations(self)
        self.last_convolution = f"{TARGET_LAYER}.{plan.last_convolution}" if plan.last_convolution else TARGET_LAYER
        self.notes: tuple[str, ...] = ()

    def features(self, pictures: Tensor) -> Tensor:
        activation: Tensor = self.body((pictures - self.mean) / self.std)
        return activation

    def classify(self, features: Tensor) -> Tensor:
        logits: Tensor = self.head(features.mean((2, 3)))
        return logits

    def forward(self, pictures: Tensor) -> Tensor:
        return self.classify(self.features(pictures))

    def module(self) -> nn.Module:
        return self


def normalisations(module: nn.Module) -> tuple[str, ...]:
    """Paths of the plain batch normalisations, in the order of their definition: from the picture to the verdict.

    Classes derived from it are left out: timm's also hold the activation, which a replacement would drop.
    """
    return tuple(path for path, m in module.named_modules() if type(m) is nn.BatchNorm2d)


@contextmanager
def drawn_from(seed: int) -> Iterator[None]:
    """While this lasts, torch's CPU draws follow ``seed``; afterwards the global random state is as before."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """``module`` in evaluation mode; afterwards every part of it is in the mode in which it was."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode
