"""What programmes may ask of a detector, and what comes back.

An explainer, metric or attack is a generator. It yields a request and receives the reply::

    replies = yield Forward(pictures)            # (n, C)
    reply = yield Backward(pictures, targets)    # values (n,), gradients (n, 3, H, W)

The engine (:mod:`xaibench.detector.engine`) runs many programmes side by side and answers them in batches of one fixed
size.
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
    """Scores of pictures. ``images``: ``(n, 3, H, W)``; reply: ``(n, C)`` probabilities or logits.

    ``detector`` None means the programme's own.
    """

    images: Tensor
    output: Output = "probability"
    detector: Detector | None = None


@dataclass(frozen=True, slots=True)
class Backward:
    """Gradient of each picture's target output (a class index, or ``(n,)`` int64); reply: :class:`Gradients`."""

    images: Tensor
    targets: int | Tensor
    output: Output = "logit"
    detector: Detector | None = None

    def __post_init__(self) -> None:
        _check_rows(self.images, self.targets)


@dataclass(frozen=True, slots=True)
class LayerBackward:
    """Activation of a layer and the gradient of each picture's target output there; reply: :class:`LayerGradients`."""

    images: Tensor
    targets: int | Tensor
    output: Output = "logit"
    layer: str | None = None
    detector: Detector | None = None

    def __post_init__(self) -> None:
        _check_rows(self.images, self.targets)


@dataclass(frozen=True, slots=True)
class Apply:
    """Anything else that is computed from a detector, row by row; reply: the tuple of tensors that ``compute`` returns.

    ``compute(detector, images, targets, beside)`` gets one padded batch inside autograd: ``images`` ``(b, 3, H, W)``,
    a leaf with ``requires_grad``, ``targets`` ``(b,)`` int64 and the rows of ``beside`` (baselines, channel numbers),
    each ``(b, ...)``. It returns tensors of b rows in which row i depends on row i of its arguments alone. Pictures of
    several programmes share a batch where their ``compute`` is equal (make it a frozen dataclass or a function of a
    module). One picture counts as ``forward`` and ``backward`` passes.
    """

    compute: Compute
    images: Tensor
    targets: int | Tensor
    beside: tuple[Tensor, ...] = ()
    forward: int = 1
    backward: int = 1
    output: Output = "logit"
    detector: Detector | None = None

    def __post_init__(self) -> None:
        _check_rows(self.images, self.targets, *self.beside)


@dataclass(frozen=True, slots=True)
class Wait:
    """Ask to go on when ``ready()`` is true: another programme is computing what this one needs. Reply: None."""

    ready: Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Together:
    """Programmes to be run side by side, so that their requests share batches. Reply: their results, in order.

    They are handed over unstarted (each a generator of its own; TypeError otherwise) and may ask anything, Together
    too. The engine begins them as there is room for what they ask, so a long list holds the memory of a compute batch,
    not of itself. Their passes count as the asking programme's. An exception that leaves one ends the others and is
    raised where the request was yielded.
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
    """``values``: ``(n,)``; ``gradients``: ``(n, 3, H, W)``."""

    values: Tensor
    gradients: Tensor


@dataclass(frozen=True, slots=True)
class LayerGradients:
    """``values``: ``(n,)``; ``activations`` and ``gradients``: ``(n, K, h, w)``."""

    values: Tensor
    activations: Tensor
    gradients: Tensor


Compute: TypeAlias = "Callable[[Any, Tensor, Tensor, tuple[Tensor, ...]], tuple[Tensor, ...]]"
Ask: TypeAlias = Forward | Backward | LayerBackward | Apply
Request: TypeAlias = Ask | Wait | Together
Reply: TypeAlias = Any  # Tensor, Gradients, LayerGradients, tuple of tensors, list or None, as the request says
Programme: TypeAlias = "Generator[Request, Reply, T]"


@dataclass(frozen=True, slots=True)
class Done(Generic[T]):
    """A finished programme: its value, or the exception that ended it, and the passes it took."""

    value: T | None
    error: Exception | None
    passes: Passes


def addressed(programme: Programme[T], detector: Detector) -> Programme[T]:
    """The same programme with every request that names no detector put to this one, its children's too."""
    go_on: Callable[[], Request] = partial(programme.send, None)
    try:
        while True:
            request = _addressed(go_on(), detector)
            try:
                reply = yield request
            except Exception as error:  # of a child, or of the detector: the programme may clean up
                go_on = partial(programme.throw, error)
            else:
                go_on = partial(programme.send, reply)
    except StopIteration as stop:
        return cast("T", stop.value)
    finally:
        programme.close()


def _check_rows(images: Tensor, targets: int | Tensor, *beside: Tensor) -> None:
    """Raise ValueError unless each picture has its row: others share the batch, and a missing row shifts theirs."""
    n = len(images)
    if not isinstance(targets, int) and tuple(targets.shape) != (n,):
        raise ValueError(f"targets have shape {tuple(targets.shape)} for {n} pictures: give a class index, or one each")
    short = next((t for t in beside if len(t) != n), None)
    if short is not None:
        raise ValueError(f"a tensor in beside has {len(short)} rows for {n} pictures: give one each")


def _addressed(request: Request, detector: Detector) -> Request:
    if isinstance(request, Together):
        return Together([addressed(child, detector) for child in request.programmes])
    if isinstance(request, Wait) or request.detector is not None:
        return request
    return replace(request, detector=detector)
