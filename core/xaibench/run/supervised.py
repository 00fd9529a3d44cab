"""Running a task in a worker process of this process, for executors that do not end a task that hangs."""

from __future__ import annotations

import threading

from xaibench.api import Lost
from xaibench.plan.tasks import Task
from xaibench.run.local_executor import LocalExecutor, LocalParameters
from xaibench.run.tasks_here import TaskOutcome, run_in_worker

_SUPERVISOR: list[LocalExecutor] = []
_ONE_TASK = threading.Lock()


def run_supervised(task: Task) -> TaskOutcome | Lost:
    """The outcome of a task. The worker process stays for the next one."""
    with _ONE_TASK:
        if not _SUPERVISOR:
            _SUPERVISOR.append(LocalExecutor(LocalParameters(jobs=1, retries=0, isolated=True)))
        return next(outcome for _, outcome in _SUPERVISOR[0].run([task], run_in_worker))
