"""Training recipes, as types: what ``xaibench train`` hands to a recipe and what it expects back.

A recipe says what is special about a way to train: how the network is changed before training, what is minimised, and
what is done beside the gradient steps. Reading pictures, the loop, checkpoints, resuming and exporting are the
trainer's business and the same for all recipes. A recipe keeps no state outside the network and what ``state`` gives.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

REAL, FAKE = 0, 1
"""Rows of the logits, and labels."""

FAMILY_RECORD = "family.toml"
"""File in a family's folder in which its training says what it makes; ``[family] runs`` is read here."""


class Network(Protocol):
    """What is trained: a ``torch.nn.Module`` in two halves, ``logits = classify(features(pictures))``.

    Pictures are ``(N, 3, H, W)`` float32 RGB in [0, 1]; normalising is the network's own business. ``features`` gives
    ``(N, K, h, w)``, the last spatial activation, as it is pooled; ``classify`` pools it and gives ``(N, 2)`` logits of
    real and fake by way of ``head``, whose first K input columns belong to the K channels in their order. ``layers``
    names modules by path whose output is ``(N, C, h, w)`` and that a recipe may replace by one of the same shape
    (normalisations), from the picture to the verdict; ``last_convolution`` is the path of the last one.
    """

    head: nn.Linear
    layers: tuple[str, ...]
    last_convolution: str

    def features(self, pictures: Tensor) -> Tensor: ...
    def classify(self, features: Tensor) -> Tensor: ...
    def module(self) -> nn.Module:
        """The network itself, for its parameters and modes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingBatch:
    """Some pictures to learn from, augmented, with everything that moved with them.

    ``images``: ``(N, 3, H, W)`` float32 in [0, 1]. ``labels``: ``(N,)`` int64, 0 real and 1 fake. ``guides``:
    ``(N, H, W)`` float32 in [0, 1], where to look; meaningless (zero) where ``guided`` ``(N,)`` is False. ``ids``: the
    samples.
    """

    images: Tensor
    labels: Tensor
    guides: Tensor
    guided: Tensor
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Loss:
    """``total`` is differentiated; ``parts`` are shown and stored, averaged over an epoch."""

    total: Tensor
    parts: Mapping[str, float] = field(default_factory=dict)


class Recipe(Protocol):
    """A way to train. Built from its parameters alone.

    Optional methods, each doing nothing where it is missing:
    ``guides(pictures: Sequence[Picture], generator) -> Sequence[Tensor | None]``: where each training picture's
    evidence is, ``(H, W)`` in [0, 1], or None where nobody says (never an all-zero guide); asked once before training.
    ``after_step(network, batch, step, generator) -> Mapping[str, float]``: something beside the gradient steps, after
    each of them (``step`` counts from 1 through all epochs); figures to store, often none.
    ``state() -> Mapping[str, Tensor]`` and ``restore(state)``: what it keeps beside the network, for resuming.
    ``changes() -> Sequence[Mapping[str, object]]``: what ``prepare`` makes of a network, as plain tables of ``kind``
    (``package.module:function``) and the parameters with which ``function(network, **parameters)`` does it again. They
    go into the card of every trained network, which cannot be opened without them where a layer was replaced.

    ``guides`` may be asked of another object with the same parameters than the one that trains. Everything that a
    recipe draws at random comes from the generators that it is given: ``prepare`` and ``guides`` get one a run,
    ``after_step`` one an epoch.
    """

    def prepare(self, network: Network, generator: torch.Generator) -> Network:
        """The network to train: the given one, changed (a layer replaced) or not."""

    def loss(self, network: Network, batch: TrainingBatch) -> Loss:
        """What one step minimises, from one forward pass of ``network`` in training mode."""
