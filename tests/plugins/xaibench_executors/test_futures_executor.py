"""The executor of futures on pools that the tests control: what is in flight, what is lost, what is made anew."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import CancelledError, Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from types import ModuleType
from typing import ClassVar

import pytest

from xaibench.api import Lost, PlanError, UsageError
from xaibench_executors.driver_watch import end_with_driver
from xaibench_executors.futures_executor import FuturesExecutor, FuturesParameters


class Pool:
    """A pool that finishes what it holds when asked. ``deadly`` tasks break it as often as said; all else in it fails
    with them."""

    opened: ClassVar[list[Pool]] = []

    def __init__(self, max_workers=0, **keywords):
        self.max_workers, self.keywords, self.waiting, self.ended = max_workers, keywords, [], None
        self.opened.append(self)

    def submit(self, function, call, task):
        future = Future()
        self.waiting.append((future, function, call, task))
        self.most = max(getattr(self, "most", 0), len(self.waiting))
        if len(self.waiting) == self.size or self.size == 0:
            self.work()
        return future

    size = 0
    deadly: ClassVar[dict[object, int]] = {}

    def work(self):
        waiting, self.waiting = self.waiting, []
        broken = [t for _, _, _, t in waiting if self.deadly.get(t, 0)]
        for task in broken:
            self.deadly[task] -= 1
        for future, function, call, task in waiting:
            future.set_exception(BrokenProcessPool("a child died")) if broken else future.set_result(
                function(call, task)
            )

    def shutdown(self, wait=True, cancel_futures=False):
        self.ended = wait


@pytest.fixture
def pools(monkeypatch):
    """The module ``pools``, whose ``make`` opens a pool."""
    module = ModuleType("pools")
    monkeypatch.setitem(sys.modules, "pools", module)
    monkeypatch.setattr(Pool, "opened", [])
    monkeypatch.setattr(Pool, "deadly", {})
    module.Pool = Pool
    return module


def double(task):
    return 2 * task


def executor(**parameters):
    return FuturesExecutor(FuturesParameters(**{"factory": "pools:Pool", **parameters}))


def test_tasks_come_back_with_their_outcomes_and_a_task_is_taken_when_there_is_room(pools, monkeypatch):
    monkeypatch.setattr(Pool, "size", 3)
    taken = []
    tasks = (taken.append(i) or i for i in range(6))
    here = executor(jobs=3)
    answers = here.run(tasks, double)
    assert next(answers) in [(0, 0), (1, 2), (2, 4)] and taken == [0, 1, 2]
    assert sorted([*answers])[-1] == (5, 10)
    (pool,) = pools.Pool.opened
    assert (pool.max_workers, pool.most, pool.ended) == (3, 3, None)
    here.close()
    assert pool.ended is True


def test_who_breaks_a_pool_is_told_from_who_was_in_it(pools, monkeypatch):
    """Two that were in flight with it lose nothing, though no retry is allowed; the pool is opened three times."""
    monkeypatch.setattr(Pool, "size", 3)
    Pool.deadly = {1: 1}
    pool_sizes = iter([3, 0, 0, 0])
    monkeypatch.setattr(Pool, "__init__", _sized(Pool.__init__, pool_sizes))
    outcomes = dict(executor(jobs=3, retries=0).run(iter([0, 1, 2]), double))
    assert outcomes == {0: 0, 1: 2, 2: 4}  # it broke once: alone it did its work
    assert len(Pool.opened) == 2


def test_a_task_that_breaks_the_pool_alone_is_lost(pools, monkeypatch, capsys):
    Pool.deadly = {1: 2}
    pool_sizes = iter([3, 0, 0, 0])
    monkeypatch.setattr(Pool, "__init__", _sized(Pool.__init__, pool_sizes))
    outcomes = dict(executor(jobs=3, retries=0).run(iter([0, 1, 2]), double))
    assert isinstance(outcomes[1], Lost) and "a child died" in outcomes[1].reason
    assert (outcomes[0], outcomes[2]) == (0, 4)
    assert "one by one" in capsys.readouterr().err


def _sized(init, sizes):
    def begin(self, *arguments, **keywords):
        init(self, *arguments, **keywords)
        self.size = next(sizes)

    return begin


def test_a_loss_that_came_back_before_the_pool_broke_is_tried_again(pools, monkeypatch):
    class Breaking(Pool):
        def work(self):
            waiting, self.waiting = self.waiting, []
            for future, function, call, task in waiting:
                broken = task == 0 and len(waiting) > 1
                future.set_exception(BrokenProcessPool("a child died")) if broken else future.set_result(
                    function(call, task)
                )

    monkeypatch.setattr("xaibench_executors.futures_executor.first_done", lambda running: [next(iter(running))])
    pools.Breaking, losses = Breaking, [Lost("its own worker died")]
    pool_sizes = iter([2, 0, 0])
    monkeypatch.setattr(Pool, "__init__", _sized(Pool.__init__, pool_sizes))
    here = executor(factory="pools:Breaking", jobs=2, retries=1)
    assert dict(here.run(iter([0, 1]), lambda task: losses.pop() if task and losses else double(task))) == {0: 0, 1: 2}


@pytest.mark.parametrize("deaths", [2, 3])
def test_a_task_is_tried_again_as_often_as_said(pools, deaths):
    Pool.deadly = {1: deaths}
    outcomes = dict(executor(retries=2).run(iter([0, 1]), double))
    assert outcomes[0] == 0 and (outcomes[1] == 2 if deaths == 2 else isinstance(outcomes[1], Lost))


def test_a_pool_that_always_breaks_ends_the_command(pools):
    Pool.deadly = {0: 100}
    with pytest.raises(PlanError, match="broke 10 times in a row: BrokenProcessPool: a child died"):
        list(executor(retries=50).run(iter([0]), double))


def test_a_worker_that_knows_its_component_is_not_tried_again(pools):
    lost = Lost("it died", "acme", "s1")
    assert list(executor().run(iter([0]), lambda _: lost)) == [(0, lost)]


def test_what_the_call_raises_is_raised_whatever_it_is(pools):
    for error in (PlanError("other torch"), TimeoutError("of the call, not of the pool")):
        with pytest.raises(type(error), match=str(error)):
            list(executor().run(iter([0]), _raiser(error)))


def _raiser(error):
    def call(task):
        raise error

    return call


class Job:
    """What submitit gives: no Future, but something of its kind."""

    def __init__(self, value, error=None):
        self.value, self.error, self.polls = value, error, 0

    def done(self):
        self.polls += 1
        return self.polls > 1

    def result(self):
        if self.error:
            raise self.error
        return self.value

    def cancel(self):
        self.polls = 2


def test_jobs_that_are_no_futures_and_how_they_are_lost(pools, monkeypatch):
    monkeypatch.setattr("xaibench_executors.futures_pool._POLL", 0.01)
    uncompleted = type("UncompletedJobError", (RuntimeError,), {})
    failed = type("FailedJobError", (uncompleted,), {})
    errors = {1: uncompleted("no result"), 2: CancelledError(), 3: failed("cannot unpickle")}

    class Cluster:
        def submit(self, function, call, task):
            return Job(function(call, task), errors.get(task))

    pools.Cluster = Cluster
    here = executor(factory="pools:Cluster", retries=0)
    outcomes = dict(here.run(iter([0, 1, 2]), double))
    assert outcomes[0] == 0 and all(isinstance(outcomes[i], Lost) for i in (1, 2))
    here.close()
    with pytest.raises(failed):
        list(here.run(iter([3]), double))


def test_a_client_is_asked_for_its_executor_and_closed(pools):
    class Client:
        def get_executor(self):
            return Pool()

        def close(self):
            self.pool_ended = True
            closed.append(self)

    closed, pools.Client = [], Client
    here = executor(factory="pools:Client")
    assert list(here.run(iter([1]), double)) == [(1, 2)]
    here.close()
    assert len(closed) == 1


@pytest.mark.parametrize("empty", [1, 100])
def test_a_client_without_workers_is_made_anew(pools, monkeypatch, capsys, empty):
    """Dask waits for workers for ever, also where its nannies have given up."""
    monkeypatch.setattr("xaibench_executors.futures_pool._LOOK", 0.01)

    class Client:
        def __init__(self):
            clients.append(self)
            self.pool = Pool()
            self.pool.size = 99 if len(clients) <= empty else 0

        def get_executor(self):
            return self.pool

        def nthreads(self):
            return {} if self.pool.size else {"tcp://a": 1}

        def close(self):
            pass

    clients, pools.Client = [], Client
    here = executor(factory="pools:Client", jobs=2, retries=0, patience=0.02)
    if empty == 1:
        assert sorted(here.run(iter([1, 2]), double)) == [(1, 2), (2, 4)] and len(clients) == 2
        assert "has no worker for 0.02 s: it is opened anew" in capsys.readouterr().err
    else:
        with pytest.raises(PlanError, match="broke 10 times in a row: TimeoutError: no worker"):
            list(here.run(iter([1, 2]), double))


def test_what_was_in_flight_is_not_waited_for_when_a_run_stops(pools, monkeypatch):
    monkeypatch.setattr(Pool, "size", 2)
    here = executor(jobs=2)
    answers = here.run(iter(range(9)), double)
    next(answers)
    here.close()
    assert Pool.opened[0].ended is False


@pytest.mark.parametrize(
    ("factory", "error", "words"),
    [
        ("pools", UsageError, "is not MODULE:FACTORY"),
        ("pools:nothing", UsageError, "no function or class 'nothing'"),
        ("no_such_module_here:Pool", PlanError, "cannot be imported"),
        ("pools:refuses", PlanError, "cannot be opened: ValueError: no address"),
        ("pools:gives_none", UsageError, "has no method submit"),
    ],
)
def test_a_wrong_factory_is_told(pools, factory, error, words):
    pools.refuses, pools.gives_none = _raiser(ValueError("no address")), lambda: 3
    pools.refuses = lambda: _raiser(ValueError("no address"))(0)
    with pytest.raises(error, match=words):
        list(executor(factory=factory).run(iter([0]), double))


def test_keywords_of_the_factory_and_processes_that_are_spawned(pools):
    def make(max_workers, mp_context, address):
        return Pool(max_workers, method=mp_context.get_start_method(), address=address)

    pools.make = make
    list(executor(factory="pools:make", jobs=4, arguments={"address": "tcp://a"}).run(iter([0]), double))
    assert Pool.opened[0].max_workers == 4
    assert Pool.opened[0].keywords == {"method": "spawn", "address": "tcp://a"}


def test_an_initializer_is_given_where_it_is_taken_and_none_is_named(pools):
    def make(max_workers, initializer=None, initargs=()):
        return Pool(max_workers, initializer=initializer, initargs=initargs)

    pools.make = make
    for arguments in ({}, {"initializer": print}):
        list(executor(factory="pools:make", arguments=arguments).run(iter([0]), double))
    ours, theirs = (pool.keywords for pool in Pool.opened)
    assert ours == {"initializer": end_with_driver, "initargs": (os.getpid(), socket.gethostname())}
    assert theirs == {"initializer": print, "initargs": ()}


DRIVER = """
import os, signal, sys
from xaibench_executors.futures_pool import FuturesPool
if __name__ == "__main__":
    pool = FuturesPool(sys.argv[1], {}, 2)
    print([f.result() for f in [pool.submit(os.getpid) for _ in range(2)]][0], flush=True)
    print(*pool.pool._processes, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("library", ["concurrent.futures", "loky"])
def test_workers_that_had_no_task_of_a_run_end_with_a_driver_that_is_killed(tmp_path, library):
    pytest.importorskip(library)
    (tmp_path / "driver.py").write_text(DRIVER)
    command = [sys.executable, str(tmp_path / "driver.py"), f"{library}:ProcessPoolExecutor"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        said = process.stdout.read()  # to the end of the last worker, which has the other end of the pipe
    workers = [int(number) for line in said.splitlines() for number in line.split()]
    assert process.returncode == -signal.SIGKILL and len(set(workers)) == 2
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{worker}/exe").exists() for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(Path(f"/proc/{worker}/exe").exists() for worker in workers)
