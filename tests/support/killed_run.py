"""A run of the toy detector that kills itself: ``python killed_run.py PLAN OUT JOBS VICTIM NUMBER DELAY [EXECUTOR [KILLS]]``.

PLAN is ``small`` or ``large``. VICTIM is the process that gets SIGKILL, DELAY seconds after commit NUMBER begins (0: the
run): ``driver`` or ``worker``, any that is there. With KILLS, a worker is killed after every NUMBER commits, KILLS times
at most. ``merging`` is the driver, after merge NUMBER begins. Merging is frequent and slow, so that it is hit.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from descendants import MARKS, descendants
from toy_runs import toy_run

from xaibench.store import merging
from xaibench.store.commits import CommitLog
from xaibench.store.files import LocalFiles

ASKED: dict[str, dict[str, Any]] = {
    "small": {"explainer": ["rows:pause=0.02", "random"], "metric": ["range"], "task_samples": 2},
    "large": {
        "explainer": ["rows:pause=0.02", "random", "shared"], "metric": ["range", "spread", "channels"],
        "task_samples": 2,
    },
}  # fmt: skip
_SLOW = 0.01  # seconds of every change while commits are merged


class _Calls:
    """Calls a function before every call of another, with the number of the call."""

    def __init__(self, owner: Any, name: str, before: Callable[[int], None]) -> None:
        def call(*arguments: Any, **keywords: Any) -> Any:
            self.count += 1
            before(self.count)
            return original(*arguments, **keywords)

        original, self.count = getattr(owner, name), 0
        setattr(owner, name, call)  # a function, which becomes a method


def _kill(find: Callable[[], Sequence[int]], delay: float) -> None:
    """Send SIGKILL to one of the processes that are found after a while."""

    def act() -> None:
        while not (found := find()):
            time.sleep(0.01)
        victim = random.choice(found)
        print(f"killed {victim}", flush=True)
        os.kill(victim, signal.SIGKILL)

    timer = threading.Timer(delay, act)
    timer.daemon = True
    timer.start()


def main(
    plan: str, out: str, jobs: str, victim: str, number: str, delay: str, executor: str = "local", kills: str = "1"
) -> None:
    merging._MANY = {0: 3, 1: 2}
    merging._MANY_AT_END = {0: 2, 1: 2}
    mark = next(mark for name, mark in MARKS.items() if executor.startswith(name))

    def me() -> list[int]:
        return [os.getpid()]

    def workers() -> list[int]:
        return descendants(mark)

    def begins(who: str, find: Callable[[], Sequence[int]]) -> Callable[[int], None]:
        times = [k * int(number) for k in range(1, int(kills) + 1)]
        return lambda count: _kill(find, float(delay)) if victim == who and count in times else None

    merges = _Calls(merging, "merge", begins("merging", me))
    _Calls(CommitLog, "add", begins("driver", me))
    _Calls(CommitLog, "add", begins("worker", workers))
    for name in ("write", "remove"):
        _Calls(LocalFiles, name, lambda _: time.sleep(_SLOW) if merges.count else None)
    begins("driver", me)(0)
    raise SystemExit(toy_run(out, jobs=int(jobs), executor=executor, **ASKED[plan]).exit_code)


if __name__ == "__main__":
    main(*sys.argv[1:])
