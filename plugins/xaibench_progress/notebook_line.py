"""Progress in Jupyter and marimo: one line under the cell that changes while the run goes on.

Neither is imported here: a process that runs a notebook has imported it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from html import escape
from typing import Any

from xaibench.api import printable

_SECONDS = 0.25  # between two changes of the line: each is a message to the browser


def notebook_line() -> NotebookLine | None:
    """The line of the notebook that this process runs; None where it runs none."""
    marimo, ipython = sys.modules.get("marimo"), sys.modules.get("IPython")
    if marimo is not None and marimo.running_in_notebook():
        return NotebookLine(MarimoLine(marimo))
    shell = ipython.get_ipython() if ipython is not None else None
    if ipython is not None and hasattr(shell, "kernel"):  # IPython in a terminal has none
        return NotebookLine(JupyterLine(ipython))
    return None


class NotebookLine:
    """What is done of a stage, in one line, which ``line(title, rest, share)`` shows.

    ``share`` of the passes is None where their number is not known; ``title`` is empty when the run has ended.
    """

    def __init__(self, line: Callable[[str, str, float | None], None]) -> None:
        self._line = line
        self._name, self._done, self._total = "", 0, 0
        self._start = self._began = time.monotonic()
        self._shown = float("-inf")

    def stage(self, name: str, passes: int) -> None:
        self._name, self._done, self._total = name, 0, passes
        self._began = time.monotonic()
        self._show(self._began)

    def advance(self, passes: int) -> None:
        self._done += passes
        now = time.monotonic()
        if now - self._shown >= _SECONDS:
            self._show(now)

    def say(self, text: str) -> None:
        print(printable(text), file=sys.stderr, flush=True)

    def close(self, complete: bool) -> None:
        seconds = time.monotonic() - self._start
        self._line("", f"{'done in' if complete else 'stopped after'} {seconds:,.1f} s", 1.0 if complete else None)

    def _show(self, now: float) -> None:
        self._shown = now
        if not self._total:
            self._line(self._name, f"{self._done:,} passes" if self._done else "", None)
            return
        rate = self._done / max(now - self._began, 1e-3)
        left = f", {max(self._total - self._done, 0) / rate:,.0f} s left" if self._done else ""
        share = min(1.0, self._done / self._total)  # a stage may take more passes than were expected
        self._line(self._name, f"{self._done:,} of {self._total:,} passes, {rate:,.0f} passes/s{left}", share)


class JupyterLine:
    """A bar and a text in an output of the cell, which is updated."""

    def __init__(self, ipython: Any) -> None:
        self._display = ipython.display.display
        self._handle: Any = None

    def __call__(self, title: str, rest: str, share: float | None) -> None:
        text = ": ".join(filter(None, (title, rest)))
        value = "" if share is None else f' value="{share:.3f}"'
        bar = f'<progress max="1"{value} style="width: 12em"></progress> ' if title else ""
        output = {"text/plain": text, "text/html": f"{bar}{escape(text)}"}
        if self._handle is None:
            self._handle = self._display(output, raw=True, display_id=True)
        else:
            self._handle.update(output, raw=True)


class MarimoLine:
    """marimo's own sign that a cell is at work, which goes when the run has ended."""

    def __init__(self, marimo: Any) -> None:
        self._spinner = marimo.status.spinner(title="xaibench", remove_on_exit=True)
        self._shown: Any = None

    def __call__(self, title: str, rest: str, share: float | None) -> None:
        if self._shown is None:
            self._shown = self._spinner.__enter__()
        if title:
            self._shown.update(title=title, subtitle=rest)
        else:
            self._spinner.__exit__(None, None, None)
