"""Files that stop working at a chosen moment, as if the process had been killed there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from xaibench.store.files import LocalFiles, RemoteFiles


class Killed(BaseException):
    """Stands for SIGKILL. Nothing is written or removed after it."""


class Changes:
    """Counts the files that are written and removed; from ``limit`` on each one raises :class:`Killed`."""

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self.count = 0

    def take(self) -> None:
        if self.limit is not None and self.count >= self.limit:
            raise Killed
        self.count += 1


@contextmanager
def dies_after(changes: int | None) -> Iterator[Changes]:
    """While this lasts, files work for so many changes. None: for ever; they are counted."""
    taken = Changes(changes)
    originals = [(c, name, getattr(c, name)) for c in (LocalFiles, RemoteFiles) for name in ("write", "remove")]

    def counted(original):  # type: ignore[no-untyped-def]
        def change(self, name, *arguments):  # type: ignore[no-untyped-def]
            if not name.startswith("."):  # the lock is the system's
                taken.take()
            return original(self, name, *arguments)

        return change

    for owner, name, original in originals:
        setattr(owner, name, counted(original))
    try:
        yield taken
    finally:
        for owner, name, original in originals:
            setattr(owner, name, original)
