"""Training recipes: what ``xaibench train`` passes to a recipe and what it expects back.

A recipe defines what is special about a way to train: how the network is changed before training, what is minimised,
and what happens after a gradient step. The trainer reads pictures, runs the loop, writes checkpoints, resumes and
exports, in the same way for all recipes. A recipe keeps no state outside the network and ``state()``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

REAL, FAKE = 0, 1
"""Class indices of logits and labels."""

FAMILY_RECORD = "family.toml"
"""File in a family's folder that records its training; ``[family] runs`` is the planned number of training runs."""


class Network(Protocol):
    """The network that is trained: a ``torch.nn.Module`` in two halves, ``logits = classify(features(pictures))``.

    Pictures are ``(N, 3, H, W)`` float32 RGB in [0, 1]; the network normalises them itself. ``features`` returns the
    last spatial activation, ``(N, K, h, w)``, as it is pooled. ``classify`` pools it and returns ``(N, 2)`` logits of
    real and fake. Its linear layer ``head`` takes the K channels, in their order, as its first K inputs. ``layers`` are
    the paths of modules with an output of ``(N, C, h, w)``, from the picture to the verdict; a recipe may replace such
    a module by one with an output of the same shape (normalisations). ``last_convolution`` is the path of the last
    convolution.
    """

    head: nn.Linear
    layers: tuple[str, ...]
    last_convolution: str

    def features(self, pictures: Tensor) -> Tensor: ...
    def classify(self, features: Tensor) -> Tensor: ...
    def module(self) -> nn.Module:
        """The network as a module, for its parameters and modes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingBatch:
    """Augmented pictures of one training step, and what was transformed with them.

    Parameters
    ----------
    images: ``(N, 3, H, W)`` float32 in [0, 1].
    labels: ``(N,)`` int64, 0 real and 1 fake.
    guides: ``(N, H, W)`` float32 in [0, 1], the position of the evidence; 0 and without meaning where ``guided`` is
        False.
    guided: ``(N,)`` bool, whether a picture has a guide.
    ids: the samples.
    """

    images: Tensor
    labels: Tensor
    guides: Tensor
    guided: Tensor
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Loss:
    """``total`` is a scalar tensor that is differentiated; ``parts`` are numbers by name that are shown and stored,
    averaged over an epoch."""

    total: Tensor
    parts: Mapping[str, float] = field(default_factory=dict)


class Recipe(Protocol):
    """A way to train. It is built from its parameters alone.

    Optional methods:
    ``guides(pictures: Sequence[Picture], generator) -> Sequence[Tensor | None]``: the position of each training
    picture's evidence, ``(H, W)`` in [0, 1], or None where it is not known (never an all-zero guide). It is called once
    before training, perhaps on another object with the same parameters than the one that trains.
    ``after_step(network, batch, step, generator) -> Mapping[str, float]``: called after each gradient step, of which
    ``step`` is the number, counted from 1 through all epochs. It returns numbers to store, often none.
    ``state() -> Mapping[str, Tensor]`` and ``restore(state)``: state outside the network, for resuming.
    ``changes() -> Sequence[Mapping[str, object]]``: how ``prepare`` changes a network, as tables of ``kind``
    (``package.module:function``) and the parameters with which ``function(network, **parameters)`` repeats the change.
    They are written into the card of every trained network, which cannot be opened without them where a layer was
    replaced.

    All randomness of a recipe comes from the generators that it receives: ``prepare`` and ``guides`` receive one a run,
    ``after_step`` one an epoch.
    """

    def prepare(self, network: Network, generator: torch.Generator) -> Network:
        """The network to train: ``network`` itself, changed in place (a layer replaced) or not."""

    def loss(self, network: Network, batch: TrainingBatch) -> Loss:
        """The loss of one step, from one forward pass of ``network`` in training mode."""
