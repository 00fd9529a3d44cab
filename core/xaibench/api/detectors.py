"""Detectors, what is known of them, and their sources."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from xaibench.api.datasets import Resize

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Batch:
    """``fixed``: the one batch size the model accepts; ``maximum``: the largest; both None when any size works."""

    fixed: int | None = None
    maximum: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of a detector without calling it.

    ``classes`` in the order of the outputs; ``real_class`` indexes them; every other class is fake. ``threshold``
    is the value of P(fake) = 1 - P(real) from which the verdict is *fake*. ``gives`` holds ``gradients`` and
    ``activations`` where :meth:`DifferentiableDetector.logits` and ``features`` work, ``operations`` where the torch
    operations of ``logits`` can be seen and changed while they run (:mod:`xaibench_operations`), and ``attention``
    where one of them is the attention of picture tokens to one another. ``digest`` covers weights
    (external data too), preprocessing and output mapping. ``notes`` are lines to print before a run (defaults
    taken, layer chosen); ``limits`` maps a capability that is missing to the reason. ``logit_source`` says what
    ``logit`` output means: ``logits`` (the network's own) or ``log-odds`` (of clipped probabilities). ``scale`` is one
    unit of the network's input in picture units, for red, green and blue (the standard deviation that normalises it).
    ``quantum`` is the step to which the input is rounded, in picture units (1/255 for uint8; 0: float32 and finer).
    ``layers`` names those with parameters of their own, as :meth:`DifferentiableDetector.randomised` takes them, from
    the picture to the verdict.
    ``details`` are provenance (file, licence, training data, actual execution providers).
    """

    name: str
    classes: tuple[str, ...]
    real_class: int
    input_size: tuple[int, int]
    digest: str
    batch: Batch = Batch()
    threshold: float = 0.5
    resize: Resize = Resize()
    gives: frozenset[str] = frozenset()
    limits: Mapping[str, str] = field(default_factory=dict)
    target_layer: str | None = None
    logit_source: Literal["logits", "log-odds"] = "logits"
    scale: tuple[float, float, float] = (1.0, 1.0, 1.0)
    quantum: float = 0.0
    layers: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    details: Mapping[str, str] = field(default_factory=dict)


class Detector(Protocol):
    """Maps pictures to class probabilities. Calls take ``(N, 3, H, W)`` float32 RGB in [0, 1] on ``device``.

    Optional methods: ``full_precision() -> Detector`` (the same detector computing in float32, where it runs in less,
    and the same object every time: batches are mixed by object; attacks ask it), ``verified(images) -> Detector`` (the
    same with what it ``gives`` cut down to what holds on these pictures; a plan calls it with the data's first ones).
    """

    @property
    def facts(self) -> Facts: ...
    @property
    def device(self) -> torch.device: ...

    def probabilities(self, images: Tensor) -> Tensor:
        """``(N, C)`` float32 class probabilities, rows summing to 1, without gradient."""

    def scores(self, images: Tensor) -> Tensor:
        """``(N, C)`` float32 logits without gradient; softmax of a row gives the probabilities."""


class DifferentiableDetector(Detector, Protocol):
    """A detector whose logits can be differentiated with respect to pictures and inner layers."""

    def logits(self, images: Tensor) -> Tensor:
        """``(N, C)`` float32 logits inside autograd."""

    def features(
        self, images: Tensor, layer: str | None = None, edit: Callable[[Tensor, int], Tensor] | None = None
    ) -> Features:
        """Logits and the activation of ``layer`` (None: the target layer), both inside autograd.

        ``edit(activation, axis)`` returns what goes on through the network in its place; ``axis`` is that of the
        channels. The activation in the result is the one before the edit.
        """

    def randomised(self, layers: Sequence[str], generator: torch.Generator) -> DifferentiableDetector:
        """A copy with the parameters of ``layers`` drawn anew; its digest is the parent's plus the operation."""


@dataclass(frozen=True, slots=True)
class Features:
    """An inner activation in the model's own layout, and ``to_grid``, which brings it (or a gradient of its shape) to
    ``(N, K, h, w)``: the identity for convolutions, dropping class tokens and unfolding the grid for transformers."""

    activation: Tensor
    logits: Tensor
    to_grid: Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """Where and how a detector runs. ``device``: ``cpu``, ``cuda``, ``cuda:1``; ``precision``: ``fp32``, ``fp16`` or
    ``bf16``."""

    device: str = "cpu"
    precision: str = "fp32"
    threads: int = 1


class Model(Protocol):
    """A source of detectors: one, or a family of independent training runs.

    ``members`` names them in a stable order (one name for a single detector); ``open`` loads one.
    """

    def members(self) -> Sequence[str]: ...
    def open(self, member: str, runtime: Runtime) -> Detector: ...
