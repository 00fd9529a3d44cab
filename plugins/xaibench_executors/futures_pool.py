"""Pools of futures: opened from ``MODULE:FACTORY``, watched, told apart by how they fail, and ended."""

from __future__ import annotations

import importlib
import inspect
import multiprocessing
import os
import socket
import sys
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import suppress
from pathlib import Path
from typing import Any

from xaibench.api import PlanError, UsageError, describe_error
from xaibench_executors.driver_watch import end_with_driver

_POLL = 0.5  # seconds
_LOOK = 5.0  # seconds between two looks at a pool that gives nothing
_ERRORS_OF_WORKERS = {
    "BrokenExecutor", "CancelledError", "KilledWorker", "CommClosedError", "UncompletedJobError",
    "ConnectionError", "TimeoutError",
}  # fmt: skip
"""Names of the exceptions, or of what they are derived from, by which pools say that a worker is gone: of the standard
library and loky, of all, of Dask twice, of submitit, and of connections."""
_ERRORS_OF_TASKS = {"FailedJobError"}  # derived from one of the above, and said of a function that raised


class FuturesPool:
    """What ``factory`` gives: something with ``submit(function, *arguments)``, whose results have ``done()`` and
    ``result()``.

    ``arguments`` are keywords of the factory. It gets ``max_workers`` and ``mp_context`` where it takes them and they
    are not given: ``jobs``, and processes that are spawned. Where it takes an ``initializer``, and none is given, its
    workers end with this process. What has a method ``get_executor`` (a Dask ``Client``) is asked for its executor.
    """

    def __init__(self, factory: str, arguments: Mapping[str, Any], jobs: int) -> None:
        make = load_factory(factory)
        keywords = {**defaults_of(make, jobs, arguments), **arguments}
        try:
            opened = make(**keywords)
            self._client = opened if hasattr(opened, "get_executor") else None
            self.pool: Any = opened if self._client is None else opened.get_executor()
        except Exception as error:
            raise PlanError(
                f"the pool of {factory} cannot be opened: {describe_error(error)}",
                "check executor.futures.arguments, which are keywords of the factory",
            ) from error
        if not callable(getattr(self.pool, "submit", None)):
            raise UsageError(
                f"{factory} gave {type(self.pool).__name__}, which has no method submit",
                "name a function that returns a concurrent.futures.Executor",
            )

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return self.pool.submit(function, *arguments)

    def is_deserted(self) -> bool:
        """Whether the pool says that it has no worker at all, as Dask does: it waits then until one comes."""
        try:
            return self._client is not None and not self._client.nthreads()
        except Exception:  # no scheduler either, or a client that does not tell
            return hasattr(self._client, "nthreads")

    def close(self, *, at_once: bool) -> None:
        """End the pool. ``at_once``: do not wait for what runs."""
        with suppress(Exception):  # a broken one
            _shut_down(self.pool, at_once)
        if self._client is not None:
            with suppress(Exception):
                self._client.close()


def load_factory(factory: str) -> Callable[..., Any]:
    """The function or class ``MODULE:NAME``. A module may lie in the working directory."""
    module, _, name = factory.partition(":")
    if not (module and name):
        raise UsageError(f"factory '{factory}' is not MODULE:FACTORY", "write for example loky:ProcessPoolExecutor")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)  # the workers get the search path, and unpickle what the module defines
    try:
        found = importlib.import_module(module)
    except ImportError as error:
        raise PlanError(
            f"factory {factory} cannot be imported: {describe_error(error)}", f"install what brings '{module}'"
        ) from error
    make = getattr(found, name, None)
    if not callable(make):
        raise UsageError(f"{module} has no function or class '{name}'", "check executor.futures.factory")
    return make  # type: ignore[no-any-return]


def defaults_of(make: Callable[..., Any], jobs: int, given: Collection[str] = ()) -> dict[str, Any]:
    """What a factory gets of us, of what it takes. ``given`` are the names of what the user gives."""
    with suppress(TypeError, ValueError):  # a builtin without a signature
        names = inspect.signature(make).parameters
        known = {"max_workers": jobs, "mp_context": multiprocessing.get_context("spawn")}
        if {"initializer", "initargs"} <= names.keys() and not {"initializer", "initargs"} & set(given):
            known |= {"initializer": end_with_driver, "initargs": (os.getpid(), socket.gethostname())}
        return {name: value for name, value in known.items() if name in names}
    return {}


def first_done(futures: Collection[Any]) -> list[Any]:
    """Those that are done, after a while at most; the list may be empty."""
    if all(isinstance(f, Future) for f in futures):
        return list(wait(futures, timeout=_LOOK, return_when=FIRST_COMPLETED).done)
    begun = time.monotonic()
    while not (done := [f for f in futures if f.done()]) and time.monotonic() - begun < _LOOK:
        time.sleep(_POLL)
    return done


def answer_or_loss(future: Any) -> tuple[Any, Exception | None]:
    """What a future that is done gives, or the exception by which it says that its worker is gone. Raises any other."""
    try:
        return future.result(), None
    except Exception as error:
        if not is_loss(error):
            raise
        return None, error


def is_loss(error: BaseException) -> bool:
    """Whether an exception of a future says that the worker is gone, and not that the pool is used wrongly."""
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & _ERRORS_OF_WORKERS) and not names & _ERRORS_OF_TASKS


def is_break(error: BaseException) -> bool:
    """Whether it says that the pool takes nothing any more."""
    return "BrokenExecutor" in {kind.__name__ for kind in type(error).__mro__}


def _shut_down(pool: Any, at_once: bool) -> None:
    if not hasattr(pool, "shutdown"):  # submitit: each task is a job of its own
        return
    taken = inspect.signature(pool.shutdown).parameters
    asked = {"wait": not at_once, "cancel_futures": True, "kill_workers": at_once}
    processes = list((getattr(pool, "_processes", None) or {}).values()) if at_once else []
    pool.shutdown(**{name: value for name, value in asked.items() if name in taken})
    for process in processes:  # of the standard library, which lets them end their tasks first
        process.kill()
