"""The call of a task that an executor of a plugin makes, in whatever process and on whatever machine.

What the driver's process has and another one needs goes with the call: search path, working directory, secrets. Where
code or libraries are others than the driver's, the task is refused: its numbers would stand under a wrong key.

This module imports no torch: the first call in a process sets variables that torch reads when it is imported.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from xaibench.api import PROJECT, Lost, PlanError
from xaibench.api.errors import ignore_interrupts
from xaibench.api.output_streams import worker_streams
from xaibench.api.parent_watch import end_with_parent
from xaibench.api.safe_text import SECRET_PREFIX
from xaibench.discovery.code_identity import code_digest, fills_of
from xaibench.discovery.components import HELD
from xaibench.discovery.registry import LOCAL, Origin, Registry, local_origin
from xaibench.store.provenance import versions

if TYPE_CHECKING:
    from xaibench.plan.parts import Plan
    from xaibench.plan.tasks import Task
    from xaibench.run.tasks_here import TaskOutcome

_PROCESS = uuid4().hex  # that of a forked child is its parent's, but not its process id
_PREPARED: set[tuple[str, int]] = set()
_PREPARING = threading.Lock()

Code = tuple[Origin, str, str]
"""A distribution, a component of it and the digest of its code."""


@dataclass(frozen=True, slots=True)
class RemoteCall:
    """A function of a task that gives its outcome. It can be pickled.

    ``isolated``: the task runs in a worker process of the process that makes the call. So do components of third
    parties (``is_foreign``) in another process than the driver's, even where the run does not isolate them: what the
    owner's threads change there would be blamed on them. ``driver`` is the driver's process, in which nothing is
    prepared. ``search_path`` and ``folder`` are the driver's. ``versions`` and ``codes`` have to be the same where the
    call is made.
    """

    isolated: bool
    is_foreign: bool
    driver: tuple[str, int]
    search_path: tuple[str, ...]
    folder: str
    versions: tuple[tuple[str, str], ...]
    codes: tuple[Code, ...]
    secrets: dict[str, str] = field(repr=False)

    def __call__(self, task: Task) -> TaskOutcome | Lost:
        """Run the task. Raises :class:`PlanError` where this process cannot give the driver's numbers."""
        elsewhere = self.driver != (_PROCESS, os.getpid())
        if elsewhere:
            self._prepare()
        if self.isolated or (elsewhere and self.is_foreign):
            from xaibench.run.supervised import run_supervised

            return run_supervised(task)
        from xaibench.run.tasks_here import run_in_worker

        return run_in_worker(task)

    def _prepare(self) -> None:
        """Get this process ready, once for each driver."""
        if self.driver[0] == _PROCESS:
            raise PlanError(
                "a worker of the executor is a fork of this process, which torch does not survive",
                'let it spawn processes, for example with mp_context = multiprocessing.get_context("spawn")',
            )
        with _PREPARING:
            os.environ.update(self.secrets)
            if self.driver in _PREPARED:
                return
            _set_up_process(self.driver[1])
            sys.path.extend(p for p in self.search_path if p not in sys.path and Path(p).exists())
            with suppress(OSError):  # another machine, where all that is read has absolute paths or URLs
                os.chdir(self.folder)
            self._refuse_others()
            _PREPARED.add(self.driver)

    def _refuse_others(self) -> None:
        """Refuse where libraries or code are others than the driver's."""
        here, differences = versions(), []
        for name, version in self.versions:
            if here.get(name) != version:
                differences.append(f"{name} {here.get(name, 'is missing')} and not {version}")
        for origin, target, code in self.codes:
            if not differences and _code(origin, target) != code:
                differences.append(f"other code of {origin.distribution}")
        if differences:
            raise PlanError(
                f"a worker on {socket.gethostname()} has {', '.join(differences)}",
                f"give the workers the environment of this process: {sys.executable} is theirs",
            )


def remote_call(plan: Plan, registry: Registry) -> RemoteCall:
    """The call for executors of plugins in a run of this plan."""
    codes = tuple((origin, target, _code(origin, target)) for origin, target in _distributions(plan, registry))
    return RemoteCall(
        isolated=plan.isolated,
        is_foreign=len(codes) > 1,
        driver=(_PROCESS, os.getpid()),
        search_path=tuple(sys.path),
        folder=str(Path.cwd()),
        versions=tuple(versions().items()),
        codes=codes,
        secrets={name: value for name, value in os.environ.items() if name.startswith(SECRET_PREFIX)},
    )


def _distributions(plan: Plan, registry: Registry) -> list[tuple[Origin, str]]:
    """Where the components of a plan come from, each with an import string of one of them."""
    components = [registry.find("executor", f"{PROJECT}/local"), *(use.registered for use in plan.uses)]
    components += [fill for use in plan.uses for fill in fills_of(use).values()]
    components += [registry.find("model", m.ref.ref.name) for model in plan.models for m in model.members]
    files = {c.origin.entry_point: c for c in components if c.origin.distribution == LOCAL}
    others = {c.origin.distribution: c for c in components if c.origin.distribution not in (LOCAL, HELD)}
    return [(c.origin, c.record.target) for c in (*others.values(), *files.values())]


def _code(origin: Origin, target: str) -> str:
    """The digest of the code of a distribution, or of a plugin file, as it is on this machine."""
    return (
        local_origin(Path(origin.entry_point)).version if origin.distribution == LOCAL else code_digest(origin, target)
    )


def _set_up_process(driver: int) -> None:
    """What a worker process of ours does when it begins, as far as the owner of this one leaves it to us."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    worker_streams()
    with suppress(ValueError):  # not the main thread, which alone hears of Ctrl-C
        ignore_interrupts()
    if os.getppid() == driver:
        end_with_parent(driver)
