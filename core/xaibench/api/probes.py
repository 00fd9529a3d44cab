"""Requests that a programme can make, and their replies.

An explainer, metric or attack is a *programme*: a generator that yields a request and receives the reply::

    probabilities = yield Forward(pictures)      # (n, C)
    reply = yield Backward(pictures, targets)    # values (n,), gradients (n, 3, H, W)

A request that calls a detector is a *probe*. Its pictures are ``(n, 3, H, W)`` float32 RGB in [0, 1]. The engine
(:func:`xaibench.run_programmes`) runs many programmes concurrently and mixes their probes into batches of one fixed
size. A row of a reply depends on its own row of the probe alone. An exception of the detector is raised where the probe
was yielded.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar, cast

from xaibench.api.detectors import Detector
from xaibench.api.passes import Passes
from xaibench.api.vocabulary import Output

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Forward:
    """Class scores of pictures. Reply: ``(n, C)`` float32, rows of probabilities that sum to 1, or logits.

    Parameters
    ----------
    images: ``(n, 3, H, W)``.
    output: ``probability`` or ``logit``.
    detector: the detector to call; None: the one that the programme runs against.
    """

    images: Tensor
    output: Output = "probability"
    detector: Detector | None = None


@dataclass(frozen=True, slots=True)
class Backward:
    """Gradient of each picture's target output with respect to the picture. Reply: :class:`Gradients`.

    Parameters
    ----------
    images: ``(n, 3, H, W)``.
    targets: a class index for all pictures, or ``(n,)`` int64 class indices.
    output: ``probability`` or ``logit``.
    detector: the detector to call; None: the one that the programme runs against. It must give ``gradients``.
    """

    images: Tensor
    targets: int | Tensor
    output: Output = "logit"
    detector: Detector | None = None

    def __post_init__(self) -> None:
        _check_rows(self.images, self.targets)


@dataclass(frozen=True, slots=True)
class LayerBackward:
    """Activation of a layer, and the gradient of each picture's target output with respect to it.

    Reply: :class:`LayerGradients`. ``layer`` names the layer; None: the detector's own
    (``Facts.target_layer``). The detector must give ``activations``. The other parameters are those of
    :class:`Backward`.
    """

    images: Tensor
    targets: int | Tensor
    output: Output = "logit"
    layer: str | None = None
    detector: Detector | None = None

    def __post_init__(self) -> None:
        _check_rows(self.images, self.targets)


@dataclass(frozen=True, slots=True)
class Apply:
    """Any other computation with a detector, row by row. Reply: the tuple of tensors that ``compute`` returns.

    Parameters
    ----------
    compute: called as ``compute(detector, images, targets, extras)`` with one padded batch of b pictures, inside
        autograd. ``images`` is ``(b, 3, H, W)``, a leaf with ``requires_grad``; ``targets`` is ``(b,)`` int64. It
        returns a tuple of tensors of b rows, in which row i depends on row i of its arguments alone. Programmes share
        a batch where their ``compute`` is equal, so it should be a frozen dataclass or a function of a module.
    images: ``(n, 3, H, W)``.
    targets: a class index for all pictures, or ``(n,)`` int64 class indices.
    extras: further tensors that ``compute`` needs (baselines, channel numbers), each ``(n, ...)``.
    forward, backward: passes that one picture counts as.
    output: ``probability`` or ``logit``; only probes of one output share a batch.
    detector: the detector to call; None: the one that the programme runs against.

    Raises ``ValueError`` for targets or extras that do not have n rows.
    """

    compute: Compute
    images: Tensor
    targets: int | Tensor
    extras: tuple[Tensor, ...] = ()
    forward: int = 1
    backward: int = 1
    output: Output = "logit"
    detector: Detector | None = None

    def __post_init__(self) -> None:
        _check_rows(self.images, self.targets, *self.extras)


@dataclass(frozen=True, slots=True)
class Wait:
    """Suspends the programme until ``ready()`` is true: another programme computes what it needs. Reply: None."""

    ready: Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Together:
    """Runs programmes concurrently, so that their probes share batches. Reply: the list of their results, in order.

    ``programmes`` are generators that have not started, each given once (``TypeError`` otherwise). They may make any
    request, ``Together`` included. The engine starts a programme when it has capacity for it: a long list takes the
    memory of one compute batch. Passes of the programmes count as those of the parent. An exception of one programme
    ends the others and is raised in the parent, where it yielded this request.
    """

    programmes: Sequence[Programme[Any]]

    def __post_init__(self) -> None:
        for programme in self.programmes:
            if not inspect.isgenerator(programme) or inspect.getgeneratorstate(programme) != inspect.GEN_CREATED:
                raise TypeError(f"Together takes generators that have not begun, got {programme!r}")
        if len(set(map(id, self.programmes))) < len(self.programmes):
            raise TypeError("Together got the same generator twice")


@dataclass(frozen=True, slots=True)
class Gradients:
    """Target outputs ``values``, ``(n,)``, and their ``gradients`` with respect to the pictures, ``(n, 3, H, W)``."""

    values: Tensor
    gradients: Tensor


@dataclass(frozen=True, slots=True)
class LayerGradients:
    """Target outputs ``values``, ``(n,)``; ``activations`` of a layer, ``(n, K, h, w)``, and the ``gradients`` of the
    values with respect to them, of the same shape. Layouts of other shapes are brought to this grid."""

    values: Tensor
    activations: Tensor
    gradients: Tensor


Compute: TypeAlias = "Callable[[Any, Tensor, Tensor, tuple[Tensor, ...]], tuple[Tensor, ...]]"
Probe: TypeAlias = Forward | Backward | LayerBackward | Apply
"""A request that calls a detector."""
Request: TypeAlias = Probe | Wait | Together
Reply: TypeAlias = Any
"""A tensor, :class:`Gradients`, :class:`LayerGradients`, a tuple of tensors, a list or None, as the request says."""
Programme: TypeAlias = "Generator[Request, Reply, T]"
"""A generator that yields requests, receives their replies and returns a ``T``."""


@dataclass(frozen=True, slots=True)
class Done(Generic[T]):
    """The outcome of a programme: its ``value``, or the ``error`` that ended it, and the passes that it took."""

    value: T | None
    error: Exception | None
    passes: Passes


def addressed(programme: Programme[T], detector: Detector) -> Programme[T]:
    """The same programme, with every probe that names no detector sent to ``detector``. Children are included."""
    resume: Callable[[], Request] = partial(programme.send, None)
    try:
        while True:
            request = _addressed(resume(), detector)
            try:
                reply = yield request
            except Exception as error:  # an error of a child or of the detector, which the programme may handle
                resume = partial(programme.throw, error)
            else:
                resume = partial(programme.send, reply)
    except StopIteration as stop:
        return cast("T", stop.value)
    finally:
        programme.close()


def _check_rows(images: Tensor, targets: int | Tensor, *extras: Tensor) -> None:
    """Raise ``ValueError`` unless each picture has its row: a missing row would shift those of other programmes."""
    n = len(images)
    if not isinstance(targets, int) and tuple(targets.shape) != (n,):
        raise ValueError(f"targets have shape {tuple(targets.shape)} for {n} pictures: give a class index, or one each")
    short = next((t for t in extras if len(t) != n), None)
    if short is not None:
        raise ValueError(f"a tensor in extras has {len(short)} rows for {n} pictures: give one each")


def _addressed(request: Request, detector: Detector) -> Request:
    if isinstance(request, Together):
        return Together([addressed(child, detector) for child in request.programmes])
    if isinstance(request, Wait) or request.detector is not None:
        return request
    return replace(request, detector=detector)
