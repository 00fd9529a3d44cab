"""The lock of a folder behind a URL: a lease that one process holds, renews, and loses when it stops renewing it.

A lease is an object ``.lock/NUMBER`` that says who holds the folder and until when; that of the highest number counts.
A process takes the folder with a *conditional put* of the next number, which the store grants to one process alone. It
does so where nobody holds the folder, where the holder's lease has ended, and where the holder was a process of this
machine that is dead. Numbers never go down, so that a process whose lease was taken over can see that it was.

What is guaranteed: on a store with conditional puts (S3, Google Cloud Storage, Azure, memory) two processes never hold
the same number, and a holder looks whether it still holds the folder right before each commit. A process that is
suspended for longer than its lease between that look and the put may write one more commit; it names data files of a
number that another process uses, and their digests tell. Lifetimes are measured by the clocks of the machines, which
may differ by half of :data:`SECONDS`.
"""

from __future__ import annotations

import json
import os
import platform
import re
import threading
import time
import uuid
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from xaibench.api import StoreError
from xaibench.api.store_answers import put_was_refused, store_answers

SECONDS = 60.0
"""How long a lease lasts without being renewed."""
RENEWAL = 10.0
"""Seconds between renewals."""
_UNKNOWN = "alive"
"""Stands for the birth of a process that lives where the system does not tell more."""
_NUMBER = re.compile(r"[0-9]{8}")


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a folder. ``machine`` tells processes of one machine, ``born`` those of one id; ``until`` is in seconds
    since 1970, and 0 of a lease that was given back."""

    token: str
    machine: str
    process: int
    born: str
    host: str
    until: float

    @staticmethod
    def here() -> Holder:
        """This process."""
        born = _born(os.getpid())
        return Holder(uuid.uuid4().hex, _machine(), os.getpid(), born, platform.node(), time.time() + SECONDS)

    @staticmethod
    def parse(text: bytes) -> Holder | None:
        """A holder from the contents of its object; None where these are no lease."""
        try:
            return Holder(**json.loads(text))
        except (ValueError, TypeError):
            return None

    def __str__(self) -> str:
        return f"process {self.process} of {self.host}"

    @property
    def is_gone(self) -> bool:
        """Whether the lease was given back, has ended, or was that of a process of this machine that is dead."""
        return self.until < time.time() or (
            self.machine == _machine() and _born(self.process) not in (self.born, _UNKNOWN)
        )


class Lease:
    """The lock of a folder of an fsspec file system. ``place`` is its name in messages."""

    def __init__(self, fs: Any, folder: str, place: str) -> None:
        self._fs, self._folder, self._place = fs, f"{folder}/.lock", place
        self._number = 0
        self._own: Holder | None = None
        self._taken = ""
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def acquire(self) -> None:
        """Take the folder. Raises :class:`StoreError` with the name of a process that holds it."""
        number, holder = self._newest()
        if holder is not None and not holder.is_gone:
            raise self._is_written(holder)
        self._number, self._own = number + 1, Holder.here()
        if not self._create():
            raise self._is_written(self._newest()[1])
        self._remove_older()
        self._thread = threading.Thread(target=self._renew_always, name="xaibench lease", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise :class:`StoreError` where another process has taken the folder over."""
        assert self._own is not None
        if self._own.until - time.time() < SECONDS / 2:
            self._renew()
        if taken := self._taken or self._taker():
            raise StoreError(
                f"{self._place} was taken over by {taken}: this one did not renew its lease for {SECONDS:.0f} s",
                "what it has committed is kept; give the same command again when the other has ended",
            )

    def release(self) -> None:
        """Give the folder back where this process holds it. If the store does not answer, the lease ends by itself."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        with suppress(StoreError, OSError):
            if self._own is not None and self._is_own(self._newest()[1]):
                self._put(replace(self._own, until=0.0))

    # ---- objects ----

    def _path(self, number: int) -> str:
        return f"{self._folder}/{number:08d}"

    def _numbers(self) -> list[int]:
        self._fs.invalidate_cache(self._folder)
        with store_answers(self._place):
            try:
                names = [str(entry["name"]).rpartition("/")[2] for entry in self._fs.ls(self._folder, detail=True)]
            except (FileNotFoundError, NotADirectoryError):
                return []
        return sorted(int(name) for name in names if _NUMBER.fullmatch(name))

    def _newest(self) -> tuple[int, Holder | None]:
        """The highest number and its holder; 0 and None where nobody held the folder yet."""
        numbers = self._numbers()
        if not numbers:
            return 0, None
        with store_answers(self._place):
            try:
                return numbers[-1], Holder.parse(self._fs.cat_file(self._path(numbers[-1])))
            except FileNotFoundError:
                return numbers[-1], None

    def _is_own(self, holder: Holder | None) -> bool:
        return holder is not None and self._own is not None and holder.token == self._own.token

    def _taker(self) -> str:
        """Who holds the folder instead of this process; empty where nobody does."""
        number, holder = self._newest()
        # A store without conditional puts may have kept another's lease of the same number.
        is_lost = number > self._number or (number == self._number and holder is not None and not self._is_own(holder))
        return str(holder or "another process") if is_lost else ""

    def _create(self) -> bool:
        """Put the lease of the next number, and whether this process was the one to which the store granted it."""
        assert self._own is not None
        path, text = self._path(self._number), json.dumps(asdict(self._own)).encode()
        with store_answers(self._place, "written"):
            try:
                self._fs.pipe_file(path, text, mode="create")
            except Exception as error:
                if put_was_refused(error):
                    return False
                raise
            stored = Holder.parse(self._fs.cat_file(path))  # a store without conditional puts keeps the last one
        return self._is_own(stored)

    def _put(self, holder: Holder) -> None:
        with store_answers(self._place, "written"):
            self._fs.pipe_file(self._path(self._number), json.dumps(asdict(holder)).encode())

    def _remove_older(self) -> None:
        for number in self._numbers():
            if number < self._number:
                with store_answers(self._place, "written"), suppress(FileNotFoundError):
                    self._fs.rm_file(self._path(number))

    # ---- renewal ----

    def _renew(self) -> None:
        assert self._own is not None
        self._taken = self._taker()
        if self._taken:
            return
        self._own = replace(self._own, until=time.time() + SECONDS)
        self._put(self._own)

    def _renew_always(self) -> None:
        while not self._stop.wait(RENEWAL) and not self._taken:
            with suppress(StoreError, OSError):  # the store may answer the next time
                self._renew()

    def _is_written(self, holder: Holder | None) -> StoreError:
        left = max(0, int(holder.until - time.time())) if holder else 0
        return StoreError(
            f"{self._place} is being written by {holder or 'another process'}",
            f"wait for it, or give this run another --out; if it was killed, its lease ends in {left} s",
        )


def _machine() -> str:
    """What processes that see each other's ids have in common: the boot and the space of process ids on Linux, else the
    name and the address of the machine."""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    return f"{platform.node()} {uuid.getnode()}"


def _born(process: int) -> str:
    """When a process of this machine began, as far as the system tells; empty where it is dead."""
    with suppress(OSError):  # also of a live process, where /proc hides those of other users
        text = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
        state = text.rpartition(")")[2].split()
        return "" if state[0] == "Z" else state[19]
    if os.name == "posix":
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return ""
        except PermissionError:
            pass
    return _UNKNOWN
