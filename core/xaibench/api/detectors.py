"""Detectors, the facts known about them, and the models that open them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from xaibench.api.datasets import Resize

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Batch:
    """Batch sizes that a model accepts: ``fixed`` alone, or at most ``maximum``. Both are None where any size works."""

    fixed: int | None = None
    maximum: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CardVariant:
    """Another plausible reading of a model card: what its author could have meant.

    ``name`` says what is read otherwise (``colour``, ``range``, ``mean and std``, ``layout``, ``resize``, ``size``,
    ``output``, ``classes``). ``keys`` holds the card keys with the values of this reading. ``swaps`` says that real and
    fake change places and nothing else does: such a reading takes no pass.
    """

    name: str
    keys: Mapping[str, Any]
    swaps: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known about a detector without calling it.

    Parameters
    ----------
    name: name in messages.
    classes: class names in the order of the outputs.
    real_class: index of the real class; every other class is fake.
    input_size: (H, W) of the pictures that it takes.
    digest: sha256 of weights (external data included), preprocessing and output mapping.
    batch: batch sizes that it accepts.
    threshold: the value of P(fake) = 1 - P(real) from which the verdict is *fake*.
    resize: how native pictures are resized to ``input_size``.
    gives: its capabilities. ``gradients``: :meth:`DifferentiableDetector.logits` works. ``activations``:
        :meth:`DifferentiableDetector.features` works. ``operations``: the torch operations of ``logits`` can be watched
        and changed while they run (:mod:`xaibench_operations`). ``attention``: one of these operations is the attention
        between the tokens of the picture.
    limits: the reason for each capability that is missing.
    target_layer: the layer that ``features`` takes by default.
    target_grid: (h, w), the rows and columns in which the target layer lies on the picture; None where not known.
    logit_source: meaning of ``logit`` output: ``logits`` of the network, or ``log-odds`` of clipped probabilities.
    scale: one unit of the network's input in picture units, for red, green and blue (the standard deviation that
        normalises it).
    zero_colour: red, green and blue in [0, 1] that are 0 in the network's normalised input; None where nothing is
        subtracted, as far as is known.
    quantum: step to which the input is rounded, in picture units (1/255 for uint8); 0: float32 or finer.
    layers: names of the layers with parameters, from the picture to the verdict, for
        :meth:`DifferentiableDetector.randomised`.
    engine: the library that computes ``probabilities`` and ``scores``: ``torch``, ``onnxruntime`` or another name. On a
        CPU torch computes with one thread beside another library, except in calls that differentiate.
    precision: the number type that it computes in: ``fp32``, ``fp16`` or ``bf16``.
    parallel_calls: the calls of a compute batch that it makes at the same time where it is handed more pictures.
    stochastic: whether its outputs may differ from call to call, as its card says.
    remote: whether a pass is dear because it is computed elsewhere, as its card says. As few passes as possible are
        spent on looking at it.
    suspects: what could make its outputs depend on something besides the picture, found without calling it, with the
        way to mend it: by ``chance`` (a layer in training mode) or by ``company`` (the other pictures of the batch).
    notes: lines to print before a run (defaults taken, layer chosen).
    details: provenance (file, licence, training data, execution providers in use).
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
    target_grid: tuple[int, int] | None = None
    logit_source: Literal["logits", "log-odds"] = "logits"
    scale: tuple[float, float, float] = (1.0, 1.0, 1.0)
    zero_colour: tuple[float, float, float] | None = None
    quantum: float = 0.0
    layers: tuple[str, ...] = ()
    engine: str = "torch"
    precision: Literal["fp32", "fp16", "bf16"] = "fp32"
    parallel_calls: int = 1
    stochastic: bool = False
    remote: bool = False
    suspects: Mapping[Literal["chance", "company"], str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    details: Mapping[str, str] = field(default_factory=dict)


class Detector(Protocol):
    """Maps pictures to class probabilities. Calls take ``(N, 3, H, W)`` float32 RGB in [0, 1] on ``device``.

    Optional methods:
    ``full_precision() -> Detector``: the same detector computing in float32, where it runs in less. Every call returns
    the same object, since only probes of one object share batches. Attacks use it.
    ``verified(images) -> Detector``: the same detector, whose ``gives`` is reduced to what holds on these pictures. A
    plan calls it with the first pictures of each dataset.
    ``variants() -> Sequence[CardVariant]``: other plausible readings of its card, the likeliest first, at most 24.
    ``layer_shapes() -> Sequence[LayerShape]``: its inner layers in the order in which they run, for ``xaibench list
    --layers``. Raises :class:`ModelError` where they cannot be seen.
    ``read_as(variant: CardVariant) -> Detector``: the same network under another reading of its card, with the same
    weights in memory. Raises :class:`ModelError` where the network does not take it so.
    ``in_batches(images, batch, output) -> Tensor``: ``(N, C)`` float32 ``probabilities``, or ``scores`` for the
    ``output`` ``logit``, N a multiple of ``batch``: bit by bit what calls with ``batch`` pictures each give. It leaves
    ``images`` unchanged, so that they are handed to it without a copy.
    ``other_engines(threads) -> Sequence[str]``: names of other engines that may compute its passes without gradient,
    among those of ``--engine``; a plan tries them in this order.
    ``with_engine(engine, threads) -> Detector``: the same detector, whose ``probabilities``, and ``scores`` where it
    can, are computed by one of them. Raises :class:`ModelError` with the reason where that fails.
    """

    @property
    def facts(self) -> Facts: ...
    @property
    def device(self) -> torch.device: ...

    def probabilities(self, images: Tensor) -> Tensor:
        """``(N, C)`` float32 class probabilities without gradient; each row sums to 1."""

    def scores(self, images: Tensor) -> Tensor:
        """``(N, C)`` float32 logits without gradient; the softmax of a row gives its probabilities."""


class DifferentiableDetector(Detector, Protocol):
    """A detector whose logits can be differentiated with respect to pictures and to inner layers."""

    def logits(self, images: Tensor) -> Tensor:
        """``(N, C)`` float32 logits inside autograd."""

    def features(
        self, images: Tensor, layer: str | None = None, edit: Callable[[Tensor, int], Tensor] | None = None
    ) -> Features:
        """Logits and the activation of ``layer`` (None: the target layer), both inside autograd.

        ``edit(activation, axis)`` returns the tensor that replaces the activation in the network; ``axis`` is the axis
        of the channels. The result holds the activation before the edit.
        """

    def randomised(self, layers: Sequence[str], generator: torch.Generator) -> DifferentiableDetector:
        """A copy whose parameters of ``layers`` are drawn again; its digest is derived from this one's."""


@dataclass(frozen=True, slots=True)
class Features:
    """An inner activation in the model's own layout, and the logits.

    ``to_grid`` brings the activation, or a gradient of its shape, to ``(N, K, h, w)``. It is the identity for
    convolutions. For transformers it drops class tokens and unfolds the grid.
    """

    activation: Tensor
    logits: Tensor
    to_grid: Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerShape:
    """An inner layer, as one picture gives it.

    ``grid`` says how it lies on the picture, empty where ``target_layer`` does not take it. ``chosen``: it is
    ``Facts.target_layer``. ``remark`` says in a few words why it is not usable or would not be chosen, or which of
    several runs it stands for.
    """

    name: str
    shape: tuple[int, ...]
    grid: str = ""
    chosen: bool = False
    remark: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """Where and how a detector runs.

    ``device`` is ``cpu``, ``cuda`` or ``cuda:N``; ``precision`` is ``fp32``, ``fp16`` or ``bf16``; ``threads`` is the
    number of CPU threads of each call.
    """

    device: str = "cpu"
    precision: str = "fp32"
    threads: int = 1


class Model(Protocol):
    """A source of detectors: one detector, or a family of independent training runs.

    ``members`` names the detectors in a stable order (one name for a single detector). ``open`` loads one of them.

    Optional method:
    ``write_card(member: str, keys: Mapping[str, Any]) -> str``: changes these keys in the card of a member and returns
    the path of the card. Raises :class:`ModelError` where there is no place for a card.
    """

    def members(self) -> Sequence[str]: ...
    def open(self, member: str, runtime: Runtime) -> Detector: ...
