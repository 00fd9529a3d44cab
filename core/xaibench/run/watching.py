"""Running the programmes of components that are not ours: what they change is undone, and what takes too long ends.

A component of a third party is watched: at every step the state of the process and the version counters of what it was
handed are compared, and after all programmes of a task the values. Where something has changed it is set back, and the
programmes run again one by one, so that the one that changes things fails and no other. Built-in components are not
watched.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from xaibench.api import Detector, Done, Passes
from xaibench.api.errors import Interference
from xaibench.detector.engine import Account
from xaibench.discovery.process_state import ProcessState
from xaibench.run.custody import Custody
from xaibench.run.workbench import Bench

K = TypeVar("K", bound=Hashable)
_FOREIGN_SECONDS = 3600.0  # that a map or a score of a third party may take


class ComponentFault(Exception):
    """A component broke the contract: it changed what it was handed, took too long or asked for too many passes."""


@dataclass(frozen=True, slots=True)
class Watched:
    """Which component runs, and on what, for the watch over its programmes.

    Parameters
    ----------
    component: its name in messages.
    foreign: whether it, or one whose maps it asks for, comes from a third party.
    sample_of: the sample of the programme with a key, for messages.
    bound_of: the passes that the programme with a key may ask for; None: any number.
    """

    component: str
    foreign: bool
    sample_of: Callable[[Any], str] = lambda key: ""
    bound_of: Callable[[Any], Passes | None] = lambda key: None


class ComponentWatch:
    """Watches the programmes of one component on one bench: see :class:`xaibench.detector.engine.Watch`.

    Of a built-in component, only the time is looked at.
    """

    def __init__(self, bench: Bench, watched: Watched, seconds: float) -> None:
        self._bench, self._watched, self._seconds = bench, watched, seconds
        self._board = bench.supervision.board
        self._state = self._before = ProcessState.take()
        self._custody = bench.custody() if watched.foreign else Custody()

    def step(self, account: Account, run: Callable[[], Any]) -> Any:
        watched, start = self._watched, time.perf_counter()
        if watched.foreign:
            self._state = ProcessState.take()
            self._custody.accept_calls()
        self._board.step(watched.component, watched.sample_of(account.key), self._seconds - account.seconds)
        try:
            return run()
        finally:
            self._board.done()
            if watched.foreign:
                self._refuse_changes()
            # With what the watch itself took: steps without end, of no time each, have to end, too.
            account.seconds += time.perf_counter() - start
            self._refuse_excess(account)

    def call(self, detector: Detector, accounts: Sequence[tuple[Account, int]], run: Callable[[], Any]) -> Any:
        rows = sum(n for _, n in accounts)
        asked = {self._watched.sample_of(a.key) for a, _ in accounts}
        left = min(self._seconds - a.seconds for a, _ in accounts)
        component = self._bench.foreign_detector or self._watched.component
        before = ProcessState.take() if self._bench.foreign_detector else None
        self._board.step(component, asked.pop() if len(asked) == 1 else "", left)
        start = time.perf_counter()
        try:
            return run()
        finally:
            seconds = time.perf_counter() - start
            for account, n in accounts:
                account.seconds += seconds * n / rows
            self._board.done()
            if before is not None:
                self._refuse_changes_of_detector(before)

    def _refuse_changes(self) -> None:
        what = [f"changed {name}" for name in self._state.changes()]
        what += self._custody.counted_changes()
        if what:
            raise Interference(_listed(what))

    def _refuse_changes_of_detector(self, before: ProcessState) -> None:
        """Fail a call that leaves the process changed. A detector may draw at random: that is its own affair."""
        what = before.changes(random=False)
        if what:
            before.restore()
            raise ComponentFault(f"{self._bench.foreign_detector} changed {_listed(what)}")

    def _refuse_excess(self, account: Account) -> None:
        component = self._watched.component
        if account.seconds > self._seconds:
            raise ComponentFault(f"{component} took longer than the {self._seconds:g} s that it may (--time-limit)")
        bound = self._watched.bound_of(account.key) if account.forward or account.backward else None
        if bound is not None and (account.forward > bound.forward or account.backward > bound.backward):
            raise ComponentFault(
                f"{component} asked for {account.forward} forward and {account.backward} backward passes; it declares "
                f"at most {bound.forward} and {bound.backward}"
            )

    def changes(self) -> str:
        """What has changed since the programmes began, values compared; empty where nothing has."""
        return _listed([*self._custody.changes()])

    def undo(self, sample: str = "") -> None:
        """Set everything back. ``sample`` is the one that the component ran on.

        Raises :class:`Interference` where something stays changed.
        """
        self._before.restore()
        self._custody.restore()
        rest = [f"changed {name}" for name in self._before.changes()] + [*self._custody.changes()]
        if rest:
            raise Interference(
                f"{self._watched.component} {_listed(rest)}, which could not be undone", self._watched.component, sample
            )

    def failed(self, fault: str) -> Done[Any]:
        """The outcome of a programme that changed what it may not change."""
        return Done(None, ComponentFault(f"{self._watched.component} {fault}"), Passes())


def run_component(
    bench: Bench, programmes: Iterable[tuple[K, Callable[[], Any]]], watched: Watched
) -> dict[K, Done[Any]]:
    """Run the programmes of one component on a bench.

    Raises :class:`Interference` where what it changed cannot be undone.
    """
    supervision = bench.supervision
    supervision.board.component(watched.component)
    if not (watched.foreign or bench.foreign_detector) and supervision.seconds is None:
        return dict(bench.engine().run(programmes))
    seconds = supervision.seconds or _FOREIGN_SECONDS
    several, made = list(programmes), bench.made()
    watch = ComponentWatch(bench, watched, seconds)
    outcomes, fault = _run_watched(bench, several, watch)
    if not fault:
        return outcomes
    watch.undo(watched.sample_of(several[0][0]) if len(several) == 1 else "")
    bench.forget_all_but(made)
    if len(several) == 1:
        return {several[0][0]: watch.failed(fault)}
    outcomes = {}
    for key, start in several:  # one by one, so that the one that changes things fails and no other
        made = bench.made()
        found, fault = _run_watched(bench, [(key, start)], watch)
        if fault:
            watch.undo(watched.sample_of(key))
            bench.forget_all_but(made)
        outcomes[key] = watch.failed(fault) if fault else found[key]
    return outcomes


def _run_watched(
    bench: Bench, programmes: list[tuple[K, Callable[[], Any]]], watch: ComponentWatch
) -> tuple[dict[K, Done[Any]], str]:
    """The outcomes, and what was changed meanwhile."""
    try:
        outcomes = dict(bench.engine(watch).run(programmes))
    except Interference as error:
        return {}, str(error)
    return outcomes, watch.changes()


def _listed(what: Sequence[str]) -> str:
    """The first three of several things."""
    more = f" and {len(what) - 3} more" if len(what) > 3 else ""
    return "; ".join(what[:3]) + more
