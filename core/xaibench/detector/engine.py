"""The probe engine: programmes ask, the engine mixes their questions into compute batches and answers.

It runs many programmes side by side, so that their requests fill batches of one fixed size: ragged tails are padded and
the padding dropped. One compute batch for every call is what makes a row independent of its batch mates. Programmes
that ask for others to be run (:class:`~xaibench.api.Together`) wait for them as for any reply.
"""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Generic, TypeAlias, TypeVar, cast

from xaibench.api import (
    Apply,
    Ask,
    Detector,
    Done,
    LayerBackward,
    Passes,
    Programme,
    Request,
    Together,
    Wait,
    as_exception,
)
from xaibench.detector.batch_size import compute_batch
from xaibench.detector.calls import call, cost, empty_reply, joined, rows

K = TypeVar("K")


@dataclass(slots=True)
class _Tally:
    """Passes of a programme and of all that it runs together."""

    forward: int = 0
    backward: int = 0

    def passes(self) -> Passes:
        return Passes(self.forward, self.backward)


@dataclass(slots=True, eq=False)
class _Job(Generic[K]):
    """A programme that runs. ``among``: the children of which it is one; ``children``: those it waits for.

    ``over``: ended or given up; whatever still refers to it passes it by.
    """

    key: K
    programme: Programme[Any]
    tally: _Tally
    among: _Children | None = None
    children: _Children | None = None
    request: Ask | None = None
    parts: list[Any] = field(default_factory=list)
    waiting: int = 0
    over: bool = False


@dataclass(slots=True, eq=False)
class _Children:
    """The programmes of one :class:`Together`. ``running``: begun and not ended, by number."""

    parent: _Job[Any]
    unstarted: deque[tuple[int, Programme[Any]]]
    results: list[Any]
    left: int
    running: dict[int, _Job[int]] = field(default_factory=dict)


@dataclass(slots=True)
class _Queue:
    """Requests of one kind, oldest first, and how many of their pictures wait; ``batch``: the compute batch."""

    batch: int
    slices: deque[_Slice] = field(default_factory=deque)
    pictures: int = 0

    def append(self, job: _Job[Any]) -> None:
        self.slices.append((job, 0, job.waiting))
        self.pictures += job.waiting

    def take(self) -> list[_Slice]:
        """Slices of the waiting requests, one compute batch at most."""
        taken, room = list[_Slice](), self.batch
        while self.slices and room:
            job, start, stop = self.slices.popleft()
            end = min(stop, start + room)
            taken.append((job, start, end))
            room -= end - start
            if end < stop:
                self.slices.appendleft((job, end, stop))
        self.pictures -= self.batch - room
        return taken

    def forget(self) -> None:
        """Leave out programmes that are over."""
        self.slices = deque(entry for entry in self.slices if not entry[0].over)
        self.pictures = sum(stop - start for _, start, stop in self.slices)


_Kind: TypeAlias = tuple[Any, ...]
_Slice: TypeAlias = "tuple[_Job[Any], int, int]"
_Source: TypeAlias = Iterator[tuple[Any, Callable[[], Any]]]


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
        self._queues: dict[_Kind, _Queue] = {}
        self._answered: list[_Job[Any]] = []
        self._parked: list[tuple[_Job[Any], Wait]] = []
        self._families: list[_Children] = []  # those with unstarted ones, the latest last
        self._finished: deque[tuple[Any, Done[Any]]] = deque()

    def run(self, programmes: Iterable[tuple[K, Callable[[], Any]]]) -> Iterator[tuple[K, Done[Any]]]:
        """Start each programme when there is room, answer requests in full batches, yield results as they finish.

        Each ``Callable`` starts a programme, or returns a plain result that needed none. An exception inside a
        programme ends that programme alone and comes back in its :class:`Done`; so does ``sys.exit``, as
        :func:`~xaibench.api.as_exception` makes it.
        """
        source = iter(programmes)
        while self._step(source):
            while self._finished:
                yield self._finished.popleft()

    def run_one(self, start: Callable[[], Any]) -> Done[Any]:
        """Run a single programme to its end."""
        return next(iter(self.run([(None, start)])))[1]

    def _step(self, source: _Source) -> bool:
        """Do what is to be done next; False where nothing is left.

        Nobody is let go on or begin while a full batch waits: what is asked next takes memory, what waits for its
        turn with a reply takes little.
        """
        queue = self._full_queue()
        if queue is None:
            room = len(self._parked) < self.batch_size
            if self._go_on() or self._wake() or (room and self._begin(source)):
                return True
            queue = self._longest_queue()
        if queue is not None:
            self._answer(queue)
            return True
        if self._begin(source):  # all wait, perhaps for one that has not begun
            return True
        if self._parked:
            raise RuntimeError("every programme waits for another: a component waits for itself")
        return False

    # ---- programmes ----

    def _go_on(self) -> bool:
        """Hand one programme its reply: the one answered last, which holds most of what it asked with."""
        if not self._answered:
            return False
        job = self._answered.pop()
        self._advance(job, joined(job.parts))
        return True

    def _begin(self, source: _Source) -> bool:
        """Start one programme: of the children asked for last, so that few families are open, or else of the run."""
        if self._families:
            self._begin_child(self._families[-1])
            return True
        try:
            key, start = next(source)
        except StopIteration:
            return False
        self._start(key, start)
        return True

    def _begin_child(self, family: _Children) -> None:
        number, programme = family.unstarted.popleft()
        if not family.unstarted:
            self._families.remove(family)
        family.running[number] = job = _Job(number, programme, family.parent.tally, among=family)
        self._advance(job)

    def _start(self, key: Any, start: Callable[[], Any]) -> None:
        try:
            programme = start()
        except (Exception, SystemExit) as error:
            self._finished.append((key, Done(None, as_exception(error), Passes())))
            return
        if inspect.isgenerator(programme):
            self._advance(_Job(key, cast("Programme[Any]", programme), _Tally()))
        else:
            self._finished.append((key, Done(programme, None, Passes())))

    def _advance(self, job: _Job[Any], reply: Any = None, error: Exception | None = None) -> None:
        """Send a reply or raise an error in the programme, and take up what it asks next."""
        value, problem = None, None
        try:
            request = job.programme.send(reply) if error is None else job.programme.throw(error)
            while _asks_nothing(request):
                request = job.programme.send(self._at_once(request))
            self._take_up(job, request)
            return
        except StopIteration as stop:
            value = stop.value
        except (Exception, SystemExit) as raised:
            problem = as_exception(raised)
        self._end(job, value, problem)

    def _at_once(self, request: Request) -> Any:
        return [] if isinstance(request, Together) else empty_reply(cast("Ask", request), self.detector)

    def _take_up(self, job: _Job[Any], request: Request) -> None:
        if isinstance(request, Wait):
            self._parked.append((job, request))
        elif isinstance(request, Together):
            n = len(request.programmes)
            job.children = _Children(job, deque(enumerate(request.programmes)), [None] * n, n)
            self._families.append(job.children)
        else:
            self._enqueue(job, request)

    def _wake(self) -> bool:
        """Go on with the parked programme that has waited longest of those whose wait is over; whether there was one.

        An exception of its ``ready`` is raised where it waits.
        """
        for place, (job, wait) in enumerate(self._parked):
            problem = None
            try:
                ready = wait.ready()
            except (Exception, SystemExit) as error:
                ready, problem = True, as_exception(error)
            if ready:
                del self._parked[place]
                self._advance(job, error=problem)
                return True
        return False

    def _end(self, job: _Job[Any], value: Any, error: Exception | None) -> None:
        """A programme has ended: hand out its result, or tell the one that asked for it.

        One that asked what cannot be answered, or whose call failed, is still waiting there: it is closed, so that
        what it holds (the making of an artefact) is free for others.
        """
        job.over = True
        with suppress(Exception, SystemExit):  # what a clean-up raises says less than the error that led here
            job.programme.close()
        family = job.among
        if family is None:
            self._finished.append((job.key, Done(value, error, job.tally.passes())))
            return
        del family.running[job.key]
        if error is not None:
            self._give_up(family)
            self._resume(family, error=error)
            return
        family.results[job.key] = value
        family.left -= 1
        if not family.left:
            self._resume(family, reply=family.results)

    # ---- children ----

    def _resume(self, family: _Children, reply: Any = None, error: Exception | None = None) -> None:
        family.parent.children = None
        self._advance(family.parent, reply, error)

    def _give_up(self, family: _Children) -> None:
        """End every child that has not ended, the innermost first."""
        if family.unstarted:
            self._families.remove(family)
        for job in family.running.values():
            job.over = True
            if job.children:
                self._give_up(job.children)
            with suppress(Exception, SystemExit):  # what a clean-up raises says less than the error that led here
                job.programme.close()
        for _, programme in family.unstarted:
            programme.close()
        self._forget()

    def _forget(self) -> None:
        """Take programmes that are over out of all lists."""
        for queue in self._queues.values():
            queue.forget()
        self._parked = [entry for entry in self._parked if not entry[0].over]
        self._answered = [job for job in self._answered if not job.over]

    # ---- queues ----

    def _enqueue(self, job: _Job[Any], request: Ask) -> None:
        job.request, job.parts, job.waiting = request, [], request.images.shape[0]
        detector = request.detector or self.detector
        layer = request.layer if isinstance(request, LayerBackward) else None
        beside = request.beside if isinstance(request, Apply) else ()
        compute = (request.compute, request.forward, request.backward) if isinstance(request, Apply) else None
        forms = tuple((tuple(t.shape[1:]), t.dtype) for t in (request.images, *beside))
        kind = (type(request), id(detector), request.output, layer, compute, forms)
        if kind not in self._queues:
            self._queues[kind] = _Queue(compute_batch(detector, self.batch_size))
        self._queues[kind].append(job)

    def _full_queue(self) -> _Queue | None:
        return next((q for q in self._queues.values() if q.pictures >= q.batch), None)

    def _longest_queue(self) -> _Queue | None:
        waiting = (q for q in self._queues.values() if q.pictures)
        return max(waiting, key=lambda q: q.pictures, default=None)

    def _answer(self, queue: _Queue) -> None:
        """One detector call."""
        slices = queue.take()
        if not queue.slices:  # its kind names a detector by id, which another may have later
            self._queues = {kind: other for kind, other in self._queues.items() if other is not queue}
        asked = [(cast("Ask", job.request), start, stop) for job, start, stop in slices]
        try:
            reply = call(asked[0][0].detector or self.detector, asked, queue.batch)
        except (Exception, SystemExit) as error:
            self._fail([job for job, _, _ in slices], as_exception(error))
            return
        forward, _ = cost(asked[0][0])
        if self.on_passes:
            self.on_passes(sum(stop - start for _, start, stop in slices) * forward)
        self._hand_out(slices, reply)

    def _hand_out(self, slices: list[_Slice], reply: Any) -> None:
        """Give every programme its rows, and count its passes."""
        offset = 0
        for job, start, stop in slices:
            n = stop - start
            forward, backward = cost(cast("Ask", job.request))
            job.parts.append(rows(reply, offset, offset + n))
            job.tally.forward += n * forward
            job.tally.backward += n * backward
            job.waiting -= n
            offset += n
            if not job.waiting:
                job.request = None
                self._answered.append(job)

    def _fail(self, jobs: list[_Job[Any]], error: Exception) -> None:
        """A detector call failed: every programme that took part in it fails, the others go on."""
        for job in jobs:
            if job.over:
                continue
            job.over = True
            self._forget()
            self._end(job, None, error)


def _asks_nothing(request: Request) -> bool:
    if isinstance(request, Wait):
        return False
    return not len(request.programmes if isinstance(request, Together) else request.images)


def run_programmes(
    detector: Detector,
    programmes: Iterable[tuple[K, Callable[[], Any]]],
    *,
    batch_size: int | None = None,
    on_passes: Callable[[int], None] | None = None,
) -> Iterator[tuple[K, Done[Any]]]:
    """Run programmes in front of one detector, mixed into compute batches; results come as they finish.

    See :meth:`ProbeEngine.run`. ``batch_size`` None is the detector's own choice
    (:func:`xaibench.detector.batch_size.compute_batch`).
    """
    return ProbeEngine(detector, compute_batch(detector, batch_size), on_passes).run(programmes)
