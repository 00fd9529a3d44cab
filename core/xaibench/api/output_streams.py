"""The streams of the program: the answer of a command on stdout, all else on stderr, and nothing unprintable on either.

``main`` installs them with :func:`program_streams`. From then on file descriptor 1 is stderr, so that what native code
and child processes print goes there. ``sys.stdout`` is the answer, except within :func:`plugin_output`, through which
plugins are called. A process that merely imports xaibench keeps its streams: nothing here changes them.
"""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TextIO

from xaibench.api.safe_text import printable, redact

_CODE = r"(?:[0-4]|2[1-4]|[349][0-7]|39|49|10[0-7]|[34]8;5;\d{1,3}|[34]8;2;\d{1,3};\d{1,3};\d{1,3})"
_COLOUR = re.compile(rf"(\x1b\[(?:{_CODE}(?:;{_CODE})*)?m)")
"""Colour and weight of text (SGR). Codes that hide text or make it blink are left out."""


class CleanStream:
    """A text stream that writes out control characters and masks secrets.

    A carriage return becomes a newline: what draws a bar with it shows its steps below each other. On a terminal,
    colours pass. ``unfiltered`` is the stream behind, for a display that cleans its text itself.
    """

    def __init__(self, unfiltered: TextIO) -> None:
        self.unfiltered = unfiltered
        # The variables by which rich and typer colour what is no terminal.
        self._colours = unfiltered.isatty() or any(map(os.environ.get, ("FORCE_COLOR", "PY_COLORS", "GITHUB_ACTIONS")))

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() takes str, not {type(text).__name__}")
        cleaned = redact(text).replace("\r\n", "\n").replace("\r", "\n")
        if self._colours and "\x1b" in cleaned:  # every other part is a colour
            parts = _COLOUR.split(cleaned)
            cleaned = "".join(part if i % 2 else printable(part) for i, part in enumerate(parts))
        else:
            cleaned = printable(cleaned)
        self.unfiltered.write(cleaned)
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.unfiltered, name)


class _CurrentStderr:
    """Whatever ``sys.stderr`` is when it is written to: a progress bar takes its place for a while."""

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stderr, name)


@dataclass
class _Program:
    """The program that owns the streams. ``descriptor`` is the real stdout where file descriptor 1 was moved.

    ``reserved``: the command prints one JSON object, and nothing else reaches the answer. ``foreign``: the command is a
    third-party plugin's, which prints as it likes.
    """

    answer: CleanStream
    descriptor: int | None
    reserved: bool = False
    foreign: bool = False


_STDERR: Any = _CurrentStderr()
_programs: list[_Program] = []


@contextmanager
def program_streams() -> Iterator[None]:
    """While this lasts, the streams are those of the program. In a process of its own they stay so: what plugins print
    when the interpreter ends goes to stderr."""
    if sys.stdout is None or sys.stderr is None:
        yield
        return
    before = sys.stdout, sys.stderr
    if not _programs:
        stream, descriptor = _moved(sys.stdout)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that cannot show a name must not end a run
        _programs.append(_Program(CleanStream(stream), descriptor))
        sys.stderr = CleanStream(sys.stderr)
    program = _programs[0]
    program.reserved = program.foreign = False
    sys.stdout = program.answer
    try:
        yield
    finally:
        if program.descriptor is None:
            _programs.clear()
            sys.stdout, sys.stderr = before
        else:
            sys.stdout = _STDERR
            _flush(program.answer, program.descriptor)


def _flush(stream: Any, descriptor: int) -> None:
    try:
        stream.flush()
    except BrokenPipeError:
        # The interpreter flushes once more when it ends, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
        raise


def _moved(stdout: TextIO) -> tuple[TextIO, int | None]:
    """A stream to the real stdout, after file descriptor 1 was pointed at stderr; ``stdout`` itself where it is no
    stream of that descriptor."""
    if not isinstance(stdout, io.TextIOWrapper) or stdout is not sys.__stdout__:
        return stdout, None
    try:
        os.fstat(2)
        if stdout.fileno() != 1:
            return stdout, None
        stdout.flush()
        descriptor = os.dup(1)
    except OSError:  # stdout or stderr is closed
        return stdout, None
    os.dup2(2, 1)
    lines = stdout.line_buffering or stdout.write_through
    return io.TextIOWrapper(open(descriptor, "wb"), stdout.encoding, line_buffering=lines), descriptor


@contextmanager
def plugin_output() -> Iterator[None]:
    """While this lasts, ``sys.stdout`` leads to stderr. The core and commands call plugins within it.

    It does nothing in a process whose streams are not the program's, such as a notebook.
    """
    with _stdout(_STDERR if _programs else None):
        yield


@contextmanager
def own_output() -> Iterator[None]:
    """While this lasts, ``sys.stdout`` is the answer again: for built-in code within :func:`plugin_output`."""
    with _stdout(_programs[0].answer if _programs and not _programs[0].reserved else None):
        yield


@contextmanager
def _stdout(stream: Any) -> Iterator[None]:
    if stream is None:
        yield
        return
    before, sys.stdout = sys.stdout, stream
    try:
        yield
    finally:
        sys.stdout = before


@contextmanager
def foreign_command() -> Iterator[None]:
    """While this lasts, stdout belongs to the command of a third-party plugin, file descriptor 1 included."""
    program = _programs[0] if _programs else None
    if program is not None:
        program.foreign = True
        if program.descriptor is not None:
            os.dup2(program.descriptor, 1)
    try:
        yield
    finally:
        if program is not None and program.descriptor is not None:
            with suppress(OSError, ValueError):
                program.answer.flush()
            os.dup2(2, 1)


def reserve_answer() -> None:
    """Keep the answer for one JSON object: from now on ``sys.stdout`` leads to stderr.

    The command of a third-party plugin keeps its stdout, on which it may print its object itself.
    """
    if _programs and not _programs[0].foreign:
        _programs[0].reserved = True
        sys.stdout = _STDERR


def answer_stream() -> Any:
    """Where a command prints its answer."""
    return _programs[0].answer if _programs else sys.stdout


def worker_streams() -> None:
    """Send what a worker process prints to stderr, cleaned. Its own stdout may carry results, and is not touched."""
    if sys.stderr is not None and not isinstance(sys.stderr, CleanStream):
        sys.stderr = CleanStream(sys.stderr)
    sys.stdout = _STDERR
