"""The probe engine: runs programmes concurrently and answers their requests in batches of one fixed size.

A programme is a generator that yields requests. The engine advances many programmes, keeps one queue of rows for each
kind of request, and sends the rows of a queue to the detector one compute batch at a time. A batch that is not full is
padded, and the rows of the padding are dropped. Every call of a detector therefore has the same number of pictures,
which makes a row independent of the other rows of its batch. Where the compute batch is small, several full batches of
one request are called in a row.

Programmes compute with as many threads of torch as suit the detector (:mod:`xaibench.detector.torch_threads`), and so
does a call of a detector. A call that differentiates is torch's and takes all threads.

A job is a programme that has started. It is in one of these states:

    pending    some rows of its request are in a queue
    answered   all rows have a reply; the job is ready to be resumed
    parked     it yielded :class:`~xaibench.api.Wait`, whose condition is not true yet
    suspended  it yielded :class:`~xaibench.api.Together` and waits for its children
    ended      it returned, raised an exception or was cancelled
"""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, Protocol, TypeAlias, TypeVar, cast

from xaibench.api import (
    Apply,
    Detector,
    Done,
    Forward,
    LayerBackward,
    Passes,
    Probe,
    Programme,
    Request,
    Together,
    Wait,
    as_exception,
)
from xaibench.detector.batch_size import calls_in_a_row, compute_batch
from xaibench.detector.calls import call_detector, concatenate_replies, empty_reply, passes_per_picture, slice_reply
from xaibench.detector.device_memory import out_of_memory, with_freed_memory
from xaibench.detector.torch_threads import threads_beside, torch_with_threads

K = TypeVar("K")


@dataclass(slots=True)
class Account:
    """What a programme and all its descendants have cost so far.

    ``key`` is that of the programme. ``seconds`` is the time of its own steps and its share of the detector calls; it
    is kept where the engine has a :class:`Watch`.
    """

    key: Any = None
    forward: int = 0
    backward: int = 0
    seconds: float = 0.0

    def passes(self) -> Passes:
        return Passes(self.forward, self.backward)


class Watch(Protocol):
    """Looks after the steps of programmes and the calls of detectors."""

    def step(self, account: Account, run: Callable[[], Any]) -> Any:
        """Run a step of a programme and return what it gives. What is raised here ends the programme."""

    def call(self, detector: Detector, accounts: Sequence[tuple[Account, int]], run: Callable[[], Any]) -> Any:
        """Call a detector with rows of some programmes and return the reply."""


@dataclass(slots=True, eq=False)
class _Job(Generic[K]):
    """A programme that has started.

    ``siblings`` is the group of children that the job belongs to, None for a programme of the run itself. ``children``
    is the group that it waits for. ``replies`` are the parts of the reply received so far, ``pending_rows`` the number
    of rows without one.
    """

    key: K
    programme: Programme[Any]
    account: Account
    siblings: _ChildGroup | None = None
    children: _ChildGroup | None = None
    request: Probe | None = None
    replies: list[Any] = field(default_factory=list)
    pending_rows: int = 0
    ended: bool = False

    def close(self) -> None:
        """Mark the job as ended and close its generator, which releases what it holds (an artefact that it makes)."""
        self.ended = True
        # An exception of the clean-up says less than the one that ended the job.
        try:
            self.programme.close()
        except BaseException as raised:
            as_exception(raised)


@dataclass(slots=True, eq=False)
class _ChildGroup:
    """The programmes of one :class:`Together`. ``running`` holds the started children that have not ended, by index."""

    parent: _Job[Any]
    unstarted: deque[tuple[int, Programme[Any]]]
    results: list[Any]
    unfinished: int
    running: dict[int, _Job[int]] = field(default_factory=dict)


@dataclass(slots=True)
class _Queue:
    """Pending rows of one kind of request, oldest first. ``rows`` is their number, ``batch`` the compute batch.

    ``group`` is the number of full batches of one request that may be taken at once. They belong to one job, so that a
    call that fails ends no other.
    """

    batch: int
    group: int = 1
    slices: deque[_Slice] = field(default_factory=deque)
    rows: int = 0

    def append(self, job: _Job[Any]) -> None:
        self.slices.append((job, 0, job.pending_rows))
        self.rows += job.pending_rows

    def take_batch(self) -> list[_Slice]:
        """Remove and return the oldest slices, one compute batch or a group at most.

        A request is split where it does not fit.
        """
        _, start, stop = self.slices[0]
        most = self.batch * max(1, min(self.group, (stop - start) // self.batch))
        batch, free = list[_Slice](), most
        while self.slices and free:
            job, start, stop = self.slices.popleft()
            end = min(stop, start + free)
            batch.append((job, start, end))
            free -= end - start
            if end < stop:
                self.slices.appendleft((job, end, stop))
        self.rows -= most - free
        return batch

    def drop_ended_jobs(self) -> None:
        self.slices = deque(entry for entry in self.slices if not entry[0].ended)
        self.rows = sum(stop - start for _, start, stop in self.slices)


_Kind: TypeAlias = tuple[Any, ...]
_Slice: TypeAlias = "tuple[_Job[Any], int, int]"
_Source: TypeAlias = Iterator[tuple[Any, Callable[[], Any]]]


class ProbeEngine:
    """Runs programmes against a detector at one fixed compute batch.

    Parameters
    ----------
    detector: answers requests that name no other detector.
    batch_size: pictures in every call of a detector.
    on_passes: called after each call with the number of pictures forwarded, without padding; for progress displays.
    watch: looks after the steps of programmes; None: nobody does.
    """

    def __init__(
        self,
        detector: Detector,
        batch_size: int,
        on_passes: Callable[[int], None] | None = None,
        watch: Watch | None = None,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        self.detector = detector
        self.batch_size = batch_size
        self.on_passes = on_passes
        self._watch = watch
        self._queues: dict[_Kind, _Queue] = {}
        self._answered: list[_Job[Any]] = []
        self._parked: list[tuple[_Job[Any], Wait]] = []
        self._unstarted_groups: list[_ChildGroup] = []  # groups with unstarted children, the latest last
        self._results: deque[tuple[Any, Done[Any]]] = deque()
        self._threads = 1  # of torch outside the engine; set before the steps to a result

    def run(self, programmes: Iterable[tuple[K, Callable[[], Any]]]) -> Iterator[tuple[K, Done[Any]]]:
        """Run programmes and yield their results, each with its key, in the order in which they finish.

        Each ``Callable`` returns a programme, or the plain result where no detector call is needed. It is called when
        the engine has capacity for another programme. An exception inside a programme ends that programme alone and is
        returned in its :class:`Done`; ``sys.exit`` is treated likewise (:func:`~xaibench.api.as_exception`).

        Between two results torch has the threads that it had before, so that the caller never sees a change.

        Where every programme waits for another one, the one that has waited longest fails with a ``RuntimeError``.
        """
        source, is_left = iter(programmes), True
        while is_left:
            is_left = self._steps_with_threads(source)
            while self._results:
                yield self._results.popleft()

    def run_one(self, start: Callable[[], Any]) -> Done[Any]:
        """Run a single programme to its end."""
        return next(iter(self.run([(None, start)])))[1]

    def _steps_with_threads(self, source: _Source) -> bool:
        """:meth:`_step` up to the next result, with the threads of torch that suit the detector."""
        import torch

        self._threads = torch.get_num_threads()
        with torch_with_threads(self._threads_beside(self.detector)):
            while self._step(source):
                if self._results:
                    return True
            return False

    def _threads_beside(self, detector: Detector) -> int:
        return threads_beside(detector.facts.engine, detector.device.type, self._threads)

    def _step(self, source: _Source) -> bool:
        """Advance one job, start one programme or call the detector once. Return False when nothing is left to do."""
        # Nothing is resumed or started while a full batch is pending: the next request of a job takes memory for its
        # pictures, whereas a job that waits with its reply takes little.
        queue = self._full_queue()
        if queue is None:
            # At most one compute batch of jobs is parked, so that a long list of programmes takes little memory.
            has_capacity = len(self._parked) < self.batch_size
            if self._resume_answered() or self._resume_parked() or (has_capacity and self._start_next(source)):
                return True
            queue = self._longest_queue()
        if queue is not None:
            self._call_detector(queue)
            return True
        # Every job is parked or suspended. What the parked jobs wait for may belong to a programme not started yet.
        if self._start_next(source):
            return True
        if self._parked:
            job, _ = self._parked.pop(0)
            self._advance(job, error=RuntimeError("every programme waits for another: a component waits for itself"))
            return True
        return False

    # ---- jobs ----

    def _resume_answered(self) -> bool:
        """Send one answered job its reply. Return whether there was one."""
        if not self._answered:
            return False
        # Last in, first out: the job answered last has got furthest and holds the most memory. It can finish and
        # release that before another job makes a request of the same size.
        job = self._answered.pop()
        self._advance(job, concatenate_replies(job.replies))
        return True

    def _resume_parked(self) -> bool:
        """Resume the first parked job whose condition is true. Return whether there was one.

        An exception of ``ready()`` is raised in the job that yielded it.
        """
        for index, (job, wait) in enumerate(self._parked):
            error = None
            try:
                ready = self._run_step(job.account, wait.ready)
            except BaseException as raised:
                ready, error = True, as_exception(raised)
            if ready:
                del self._parked[index]
                self._advance(job, error=error)
                return True
        return False

    def _start_next(self, source: _Source) -> bool:
        """Start one child, or else one programme of the run. Return whether there was one."""
        # The latest group goes first, so that it is complete, and its results are released, before older ones go on.
        if self._unstarted_groups:
            self._start_child(self._unstarted_groups[-1])
            return True
        try:
            key, start = next(source)
        except StopIteration:
            return False
        self._start(key, start)
        return True

    def _start_child(self, group: _ChildGroup) -> None:
        index, programme = group.unstarted.popleft()
        if not group.unstarted:
            self._unstarted_groups.remove(group)
        group.running[index] = job = _Job(index, programme, group.parent.account, siblings=group)
        self._advance(job)

    def _start(self, key: Any, start: Callable[[], Any]) -> None:
        account = Account(key)
        try:
            programme = self._run_step(account, start)
        except BaseException as error:
            self._results.append((key, Done(None, as_exception(error), Passes())))
            return
        if inspect.isgenerator(programme):
            self._advance(_Job(key, cast("Programme[Any]", programme), account))
        else:
            self._results.append((key, Done(programme, None, Passes())))

    def _advance(self, job: _Job[Any], reply: Any = None, error: Exception | None = None) -> None:
        """Send a reply to the programme, or raise an error in it, and handle its next request or its end."""
        value, failure = None, None
        resume = partial(job.programme.send, reply) if error is None else partial(job.programme.throw, error)
        try:
            request = self._run_step(job.account, resume)
            while _is_empty(request):
                request = self._run_step(job.account, partial(job.programme.send, self._empty_reply(request)))
            self._handle_request(job, request)
            return
        except StopIteration as stop:
            value = stop.value
        except BaseException as raised:
            failure = as_exception(raised)
        self._end(job, value, failure)

    def _run_step(self, account: Account, step: Callable[[], Any]) -> Any:
        """Run code of a component: up to the next request of a programme, or to its end."""
        return step() if self._watch is None else self._watch.step(account, step)

    def _empty_reply(self, request: Request) -> Any:
        return [] if isinstance(request, Together) else empty_reply(cast("Probe", request), self.detector)

    def _handle_request(self, job: _Job[Any], request: Request) -> None:
        if isinstance(request, Wait):
            self._parked.append((job, request))
        elif isinstance(request, Together):
            n = len(request.programmes)
            job.children = _ChildGroup(job, deque(enumerate(request.programmes)), [None] * n, n)
            self._unstarted_groups.append(job.children)
        else:
            self._enqueue(job, request)

    def _end(self, job: _Job[Any], value: Any, error: Exception | None) -> None:
        """End a job. Its result goes to the caller of :meth:`run`, or to the parent."""
        # A job whose request was invalid or whose call failed is still suspended at its yield. It has to be closed.
        job.close()
        group = job.siblings
        if group is None:
            self._results.append((job.key, Done(value, error, job.account.passes())))
            return
        del group.running[job.key]
        if error is not None:
            self._cancel_children(group)
            self._resume_parent(group, error=error)
            return
        group.results[job.key] = value
        group.unfinished -= 1
        if not group.unfinished:
            self._resume_parent(group, reply=group.results)

    # ---- children ----

    def _resume_parent(self, group: _ChildGroup, reply: Any = None, error: Exception | None = None) -> None:
        group.parent.children = None
        self._advance(group.parent, reply, error)

    def _cancel_children(self, group: _ChildGroup) -> None:
        """End every child that has not ended. The children of a child are ended before it."""
        if group.unstarted:
            self._unstarted_groups.remove(group)
        for job in group.running.values():
            if job.children:
                self._cancel_children(job.children)
            job.close()
        for _, programme in group.unstarted:
            programme.close()
        self._drop_ended_jobs()

    def _drop_ended_jobs(self) -> None:
        for queue in self._queues.values():
            queue.drop_ended_jobs()
        self._drop_empty_queues()
        self._parked = [entry for entry in self._parked if not entry[0].ended]
        self._answered = [job for job in self._answered if not job.ended]

    # ---- queues ----

    def _enqueue(self, job: _Job[Any], request: Probe) -> None:
        job.request, job.replies, job.pending_rows = request, [], request.images.shape[0]
        detector = request.detector or self.detector
        kind = _kind_of(request, detector)
        if kind not in self._queues:
            batch = compute_batch(detector, self.batch_size)
            group = calls_in_a_row(detector.facts, batch) if isinstance(request, Forward) else 1
            self._queues[kind] = _Queue(batch, group)
        self._queues[kind].append(job)

    def _drop_empty_queues(self) -> None:
        # A kind names a detector by its id(), which a later detector may get once this one is gone. A queue therefore
        # does not outlive its requests, which keep the detector alive.
        self._queues = {kind: queue for kind, queue in self._queues.items() if queue.rows}

    def _full_queue(self) -> _Queue | None:
        return next((q for q in self._queues.values() if q.rows >= q.batch), None)

    def _longest_queue(self) -> _Queue | None:
        return max(self._queues.values(), key=lambda q: q.rows, default=None)

    def _call_detector(self, queue: _Queue) -> None:
        """Send one compute batch of a queue, or a group of them, to the detector."""
        slices = queue.take_batch()
        self._drop_empty_queues()
        parts = [(cast("Probe", job.request), start, stop) for job, start, stop in slices]
        request = parts[0][0]
        detector = request.detector or self.detector
        try:
            with torch_with_threads(self._threads_beside(detector) if isinstance(request, Forward) else self._threads):
                call = partial(with_freed_memory, partial(call_detector, detector, parts, queue.batch))
                if self._watch is None:
                    reply = call()
                else:
                    reply = self._watch.call(detector, [(j.account, stop - start) for j, start, stop in slices], call)
        except BaseException as error:
            failure = out_of_memory(error, detector, queue.batch) or as_exception(error)
            self._fail([job for job, _, _ in slices], failure)
            return
        if self.on_passes:
            forward, _ = passes_per_picture(request)
            self.on_passes(sum(stop - start for _, start, stop in slices) * forward)
        self._deliver(slices, reply)

    def _deliver(self, slices: list[_Slice], reply: Any) -> None:
        """Give every job its rows of a reply and count its passes."""
        offset = 0
        for job, start, stop in slices:
            n = stop - start
            forward, backward = passes_per_picture(cast("Probe", job.request))
            job.replies.append(slice_reply(reply, offset, offset + n))
            job.account.forward += n * forward
            job.account.backward += n * backward
            job.pending_rows -= n
            offset += n
            if not job.pending_rows:
                job.request = None
                self._answered.append(job)

    def _fail(self, jobs: list[_Job[Any]], error: Exception) -> None:
        """End every job with rows in a failed call. Other jobs go on."""
        for job in jobs:
            # A job of this batch may have been cancelled with the failure of a sibling before it.
            if job.ended:
                continue
            # The job may have further rows in the queue. They are dropped before its parent is resumed.
            job.ended = True
            self._drop_ended_jobs()
            self._end(job, None, error)


def _is_empty(request: Request) -> bool:
    """Whether a request holds no picture or no programme, so that it is answered at once."""
    if isinstance(request, Wait):
        return False
    return not len(request.programmes if isinstance(request, Together) else request.images)


def _kind_of(request: Probe, detector: Detector) -> _Kind:
    """What requests must have in common for their rows to share a call."""
    layer = request.layer if isinstance(request, LayerBackward) else None
    extras = request.extras if isinstance(request, Apply) else ()
    compute = (request.compute, request.forward, request.backward) if isinstance(request, Apply) else None
    row_types = tuple((tuple(t.shape[1:]), t.dtype) for t in (request.images, *extras))
    return type(request), id(detector), request.output, layer, compute, row_types


def run_programmes(
    detector: Detector,
    programmes: Iterable[tuple[K, Callable[[], Any]]],
    *,
    batch_size: int | None = None,
    on_passes: Callable[[int], None] | None = None,
) -> Iterator[tuple[K, Done[Any]]]:
    """Run programmes against one detector, mixed into compute batches, and yield their results as they finish.

    Parameters
    ----------
    detector: answers requests that name no other detector.
    programmes: keys and functions that return a programme, or the plain result where no detector call is needed.
    batch_size: pictures in every call; None: the default of the detector (:func:`xaibench.compute_batch`).
    on_passes: called after each call with the number of pictures forwarded, without padding.

    An exception inside a programme is returned in its :class:`~xaibench.api.Done`. See :meth:`ProbeEngine.run`.
    """
    return ProbeEngine(detector, compute_batch(detector, batch_size), on_passes).run(programmes)
