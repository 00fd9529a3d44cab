"""The probe engine: programmes ask, the engine mixes their questions into compute batches and answers.

An explainer, metric or attack is a generator. It yields a request and receives the reply::

    replies = yield Forward(pictures)            # (n, C)
    reply = yield Backward(pictures, targets)    # values (n,), gradients (n, 3, H, W)

The engine runs many programmes side by side, so that their requests fill batches of one fixed size: ragged tails are
padded and the padding dropped. One compute batch for every call is what makes a row independent of its batch mates.
"""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar, cast

from xaibench.contracts import Detector, DifferentiableDetector, Facts, Output, Passes, Programme

if TYPE_CHECKING:
    from torch import Tensor

K = TypeVar("K")
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


@dataclass(frozen=True, slots=True)
class LayerBackward:
    """Activation of a layer and the gradient of each picture's target output there; reply: :class:`LayerGradients`."""

    images: Tensor
    targets: int | Tensor
    output: Output = "logit"
    layer: str | None = None
    detector: Detector | None = None


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


@dataclass(frozen=True, slots=True)
class Wait:
    """Ask to go on when ``ready()`` is true: another programme is computing what this one needs. Reply: None."""

    ready: Callable[[], bool]


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
Request: TypeAlias = Ask | Wait
Reply: TypeAlias = Any  # Tensor, Gradients, LayerGradients, tuple of tensors or None, as the request says


@dataclass(frozen=True, slots=True)
class Done(Generic[T]):
    """A finished programme: its value, or the exception that ended it, and the passes it took."""

    value: T | None
    error: Exception | None
    passes: Passes


@dataclass(slots=True)
class _Job(Generic[K]):
    key: K
    programme: Programme[Any]
    request: Ask | None = None
    parts: list[Any] = field(default_factory=list)
    waiting: int = 0
    forward: int = 0
    backward: int = 0


def addressed(programme: Programme[T], detector: Detector) -> Programme[T]:
    """The same programme with every request that names no detector put to this one."""
    reply: Any = None
    try:
        while True:
            request = programme.send(reply)
            if not isinstance(request, Wait) and request.detector is None:
                request = replace(request, detector=detector)
            reply = yield request
    except StopIteration as stop:
        return cast("T", stop.value)
    finally:
        programme.close()


def compute_batch(facts: Facts, wanted: int) -> int:
    """The batch of every call: the model's fixed one, or the wanted one as far as the model takes it."""
    return facts.batch.fixed or min(wanted, facts.batch.maximum or wanted)


class ProbeEngine:
    """Runs programmes against a detector at one fixed compute batch.

    Parameters
    ----------
    detector: answers requests that name no other.
    batch_size: pictures in every detector call.
    on_passes: called with the number of real pictures after each detector call, for progress.
    """

    def __init__(self, detector: Detector, batch_size: int, on_passes: Callable[[int], None] | None = None) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        self.detector = detector
        self.batch_size = batch_size
        self.on_passes = on_passes
        self._queues: dict[tuple[Any, ...], deque[tuple[_Job[Any], int, int]]] = {}
        self._parked: list[tuple[_Job[Any], Wait]] = []

    def run(self, programmes: Iterable[tuple[K, Callable[[], Any]]]) -> Iterator[tuple[K, Done[Any]]]:
        """Start each programme when there is room, answer requests in full batches, yield results as they finish.

        Each ``Callable`` starts a programme, or returns a plain result that needed none. An exception inside a
        programme ends that programme alone and comes back in its :class:`Done`.
        """
        source = iter(programmes)
        exhausted = False
        while True:
            while not exhausted and not self._full_queue():
                try:
                    key, start = next(source)
                except StopIteration:
                    exhausted = True
                    break
                done = self._start(key, start)
                if done is not None:
                    yield done
            yield from self._wake()
            queue = self._full_queue() or self._longest_queue()
            if queue is not None:
                yield from self._answer(queue)
            elif exhausted and not self._parked:
                return
            elif exhausted and not any(wait.ready() for _, wait in self._parked):
                raise RuntimeError("every programme waits for another: a component waits for itself")

    def run_one(self, start: Callable[[], Any]) -> Done[Any]:
        """Run a single programme to its end."""
        return next(iter(self.run([(None, start)])))[1]

    # ---- programmes ----

    def _start(self, key: Any, start: Callable[[], Any]) -> tuple[Any, Done[Any]] | None:
        try:
            programme = start()
        except Exception as error:
            return key, Done(None, error, Passes())
        if not inspect.isgenerator(programme):
            return key, Done(programme, None, Passes())
        return self._advance(_Job(key, cast("Programme[Any]", programme)), None)

    def _advance(self, job: _Job[Any], reply: Any) -> tuple[Any, Done[Any]] | None:
        """Send a reply; queue the next request, or return the finished programme."""
        try:
            while True:
                request = job.programme.send(reply)
                if isinstance(request, Wait):
                    self._parked.append((job, request))
                    return None
                if len(request.images):
                    break
                reply = self._empty_reply(request)
            self._enqueue(job, request)
            return None
        except StopIteration as stop:
            return job.key, Done(stop.value, None, Passes(job.forward, job.backward))
        except Exception as error:
            return job.key, Done(None, error, Passes(job.forward, job.backward))

    def _wake(self) -> Iterator[tuple[Any, Done[Any]]]:
        """Go on with parked programmes whose wait is over."""
        parked, self._parked = self._parked, []
        for job, wait in parked:
            if not wait.ready():
                self._parked.append((job, wait))
                continue
            done = self._advance(job, None)
            if done is not None:
                yield done

    def _empty_reply(self, request: Ask) -> Any:
        images = request.images
        classes = len((request.detector or self.detector).facts.classes)
        if isinstance(request, Forward):
            return images.new_zeros((0, classes))
        if isinstance(request, Backward):
            return Gradients(images.new_zeros(0), images)
        raise ValueError(f"{type(request).__name__} needs at least one picture")

    # ---- queues ----

    def _enqueue(self, job: _Job[Any], request: Ask) -> None:
        job.request, job.parts, job.waiting = request, [], len(request.images)
        detector = request.detector or self.detector
        layer = request.layer if isinstance(request, LayerBackward) else None
        compute = (request.compute, request.forward, request.backward) if isinstance(request, Apply) else None
        kind = (
            type(request),
            id(detector),
            request.output,
            layer,
            compute,
            tuple(request.images.shape[1:]),
            request.images.dtype,
        )
        self._queues.setdefault(kind, deque()).append((job, 0, job.waiting))

    def _full_queue(self) -> tuple[Any, ...] | None:
        return next((k for k, q in self._queues.items() if sum(b - a for _, a, b in q) >= self._batch(q)), None)

    def _longest_queue(self) -> tuple[Any, ...] | None:
        return next((k for k, q in self._queues.items() if q), None)

    def _batch(self, queue: deque[tuple[_Job[Any], int, int]]) -> int:
        """The compute batch of the detector that a queue waits for; a family's members may take different ones."""
        asked = cast("Ask", queue[0][0].request).detector if queue else None
        return compute_batch((asked or self.detector).facts, self.batch_size)

    def _take(self, kind: tuple[Any, ...]) -> list[tuple[_Job[Any], int, int]]:
        """Slices of the waiting requests, one compute batch at most, oldest first."""
        queue, slices = self._queues[kind], []
        room = self._batch(queue)
        while queue and room:
            job, start, stop = queue.popleft()
            end = min(stop, start + room)
            slices.append((job, start, end))
            room -= end - start
            if end < stop:
                queue.appendleft((job, end, stop))
        return slices

    def _answer(self, kind: tuple[Any, ...]) -> Iterator[tuple[Any, Done[Any]]]:
        slices = self._take(kind)
        total = sum(b - a for _, a, b in slices)
        try:
            reply = self._call(slices, total)
        except Exception as error:
            yield from self._fail(kind, slices, error)
            return
        forward, backward = _cost(cast("Ask", slices[0][0].request))
        if self.on_passes:
            self.on_passes(total * forward)
        offset = 0
        for job, start, stop in slices:
            n = stop - start
            job.parts.append(_rows(reply, offset, offset + n))
            job.forward += n * forward
            job.backward += n * backward
            job.waiting -= n
            offset += n
            if job.waiting == 0:
                done = self._advance(job, _joined(job.parts))
                if done is not None:
                    yield done

    def _fail(
        self, kind: tuple[Any, ...], slices: list[tuple[_Job[Any], int, int]], error: Exception
    ) -> Iterator[tuple[Any, Done[Any]]]:
        """A detector call failed: every programme that took part in it fails, the others go on."""
        failed = {id(job): job for job, _, _ in slices}
        queue = self._queues[kind]
        self._queues[kind] = deque(entry for entry in queue if id(entry[0]) not in failed)
        for job in failed.values():
            with suppress(Exception):  # what its clean-up raises says less than the call's own error
                job.programme.close()
            yield job.key, Done(None, error, Passes(job.forward, job.backward))

    # ---- detector calls ----

    def _call(self, slices: list[tuple[_Job[Any], int, int]], total: int) -> Any:
        import torch

        first = cast("Ask", slices[0][0].request)
        detector = first.detector or self.detector
        images = torch.cat([cast("Ask", j.request).images[a:b].to(detector.device) for j, a, b in slices])
        images = self._pad(images, detector)
        if isinstance(first, Forward):
            out = detector.probabilities(images) if first.output == "probability" else detector.scores(images)
            return out[:total]
        targets = torch.cat([_targets(cast("Backward | LayerBackward | Apply", j.request), a, b) for j, a, b in slices])
        targets = self._pad(targets, detector)
        if isinstance(first, Apply):
            beside = tuple(
                self._pad(torch.cat([cast("Apply", j.request).beside[i][a:b] for j, a, b in slices]), detector)
                for i in range(len(first.beside))
            )
            with torch.enable_grad():
                leaf = images.detach().clone().requires_grad_(True)
                found = first.compute(detector, leaf, targets, beside)
            return tuple(rows[:total].detach() for rows in found)
        return _rows(_differentiate(cast("DifferentiableDetector", detector), images, targets, first), 0, total)

    def _pad(self, rows: Tensor, detector: Detector) -> Tensor:
        rows = rows.to(detector.device)
        missing = compute_batch(detector.facts, self.batch_size) - len(rows)
        if missing <= 0:
            return rows.contiguous()
        import torch

        return torch.cat([rows, rows[-1:].expand(missing, *rows.shape[1:])]).contiguous()


def _cost(request: Ask) -> tuple[int, int]:
    """Forward and backward passes that one picture of a request counts as."""
    if isinstance(request, Apply):
        return request.forward, request.backward
    return 1, 0 if isinstance(request, Forward) else 1


def _targets(request: Backward | LayerBackward | Apply, start: int, stop: int) -> Tensor:
    import torch

    if isinstance(request.targets, int):
        return torch.full((stop - start,), request.targets, dtype=torch.int64)
    return request.targets[start:stop].to("cpu", torch.int64)


def _differentiate(
    detector: DifferentiableDetector, images: Tensor, targets: Tensor, request: Backward | LayerBackward
) -> Gradients | LayerGradients:
    import torch

    layered = isinstance(request, LayerBackward)
    with torch.enable_grad():
        leaf = images.detach().clone().requires_grad_(True)
        if isinstance(request, LayerBackward):
            features = detector.features(leaf, request.layer)
            logits, at = features.logits, features.activation
        else:
            logits, at = detector.logits(leaf), leaf
        outputs = logits if request.output == "logit" else logits.softmax(dim=1)
        values = outputs.gather(1, targets[:, None])[:, 0]
        (gradient,) = torch.autograd.grad(values.sum(), at)
    if layered:
        return LayerGradients(
            values.detach(), features.to_grid(at.detach()).float(), features.to_grid(gradient).float()
        )
    return Gradients(values.detach(), gradient)


def _rows(reply: Any, start: int, stop: int) -> Any:
    if isinstance(reply, tuple):
        return tuple(rows[start:stop] for rows in reply)
    if isinstance(reply, Gradients):
        return Gradients(reply.values[start:stop], reply.gradients[start:stop])
    if isinstance(reply, LayerGradients):
        return LayerGradients(reply.values[start:stop], reply.activations[start:stop], reply.gradients[start:stop])
    return reply[start:stop]


def _joined(parts: list[Any]) -> Any:
    import torch

    if len(parts) == 1:
        return parts[0]
    if isinstance(parts[0], tuple):
        return tuple(torch.cat(rows) for rows in zip(*parts, strict=True))
    if isinstance(parts[0], Gradients):
        return Gradients(torch.cat([p.values for p in parts]), torch.cat([p.gradients for p in parts]))
    if isinstance(parts[0], LayerGradients):
        return LayerGradients(
            torch.cat([p.values for p in parts]),
            torch.cat([p.activations for p in parts]),
            torch.cat([p.gradients for p in parts]),
        )
    return torch.cat(parts)
