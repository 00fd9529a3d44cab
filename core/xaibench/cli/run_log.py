"""The log of a run, ``log.txt`` in its folder: a line an event with its time in UTC, and the traces of failures.

A listener like anybody's: what hinders it is said on stderr, and the run goes on without it.
"""

from __future__ import annotations

import platform
import shlex
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from xaibench.api import (
    Parameters,
    RunBegins,
    RunEnds,
    RunWarning,
    StageBegins,
    TaskCommitted,
    printable,
    redact,
)
from xaibench.api.safe_text import one_line
from xaibench.store.files import Files, open_files
from xaibench.store.folder import LOG_FILE
from xaibench.store.provenance import versions
from xaibench.store.table_paths import shorten


class RunLog:
    """Adds to the log of the run's folder. Secrets are masked and paths are shortened, as in the tables."""

    def __init__(self, parameters: Parameters) -> None:
        self._log: LocalLog | RemoteLog | None = None
        self._stage, self._stage_began = "", 0.0

    def run_begins(self, event: RunBegins) -> None:
        self._log = LocalLog(event.out / LOG_FILE) if isinstance(event.out, Path) else RemoteLog(open_files(event.out))
        found = ", ".join(f"{name} {version}" for name, version in versions().items())
        self._say(
            f"run {event.run} begins",
            f"command: {shlex.join(shorten(redact(word)) for word in sys.argv)}",
            f"versions: Python {platform.python_version()}, {found}; {platform.platform()}",
            *event.plan,
        )

    def stage_begins(self, event: StageBegins) -> None:
        self._end_stage()
        self._stage, self._stage_began = event.stage, time.monotonic()
        self._say(f"stage {event.stage} begins" + (f": {event.passes:,} passes" if event.passes else ""))
        self._keep()

    def task_committed(self, event: TaskCommitted) -> None:
        self._say(event.line, trace=event.trace)

    def run_warned(self, event: RunWarning) -> None:
        self._say(event.text)

    def run_ends(self, event: RunEnds) -> None:
        self._end_stage()
        how = f"is interrupted ({event.error})" if event.interrupted else "ends"
        self._say(
            f"run {event.run} {how}: {event.done:,} results done, {event.reused:,} reused, {event.failed:,} failed; "
            f"{event.passes.forward:,} forward and {event.passes.backward:,} backward passes in {event.seconds:.1f} s"
        )
        self._keep()

    def _end_stage(self) -> None:
        if self._stage:
            self._say(f"stage {self._stage} ends after {time.monotonic() - self._stage_began:.1f} s")
        self._stage = ""

    def _say(self, *lines: str, trace: str = "") -> None:
        """Lines with the time, and a trace below them."""
        now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        text = [f"{now} {shorten(one_line(line))}" for line in lines]
        text += [f"    {line}" for line in shorten(printable(redact(trace))).splitlines()]
        if self._log is not None:
            self._log.add("".join(f"{line}\n" for line in text))

    def _keep(self) -> None:
        if self._log is not None:
            self._log.keep()


class LocalLog:
    """A log on this machine, to which every line is added as it comes."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, text: str) -> None:
        with self._path.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)

    def keep(self) -> None: ...


class RemoteLog:
    """A log behind a URL, where files are put at once: it is written anew when a stage begins and when the run ends."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._text = files.read(LOG_FILE).decode("utf-8", "replace") if LOG_FILE in files.entries() else ""

    def add(self, text: str) -> None:
        self._text += text

    def keep(self) -> None:
        self._files.write(LOG_FILE, self._text.encode("utf-8", "backslashreplace"))
