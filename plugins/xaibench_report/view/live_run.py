"""A run that is looked at while it may go on: what of it is computed, and when it is computed anew."""

from __future__ import annotations

import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from xaibench.api import XaibenchError, describe_error, digest, list_folder, location
from xaibench_report.browser.browser_data import PictureBrowser
from xaibench_report.page.report_context import ReportContext
from xaibench_report.page.report_page import page_sections, sections_of
from xaibench_report.values.run_tables import read_pictures_of
from xaibench_report.view.picture_catalogue import PictureCatalogue

if TYPE_CHECKING:
    from xaibench import Run
    from xaibench_report.page.report_page import PageSection

ENTRIES: Final = 64
"""Entries of pictures that are kept, so that memory stays flat."""
_LEAST_PAUSE: Final = 5.0
_SHARE: Final = 3.0  # of the time that a state took to compute, the pause before the next


@dataclass(frozen=True, kw_only=True)
class RunState:
    """What is shown of a run at one time. ``version`` changes with every commit; ``sections``: None while they are
    computed."""

    version: str
    context: ReportContext
    browser: PictureBrowser
    catalogue: PictureCatalogue
    sections: tuple[PageSection, ...] | None = None


class LiveRun:
    """A run, and the newest of its states. A thread computes the next state where the run has new commits.

    Parameters
    ----------
    open_again: opens the run as it is now.
    baseline, by: as for ``xaibench report``.
    """

    def __init__(self, open_again: Callable[[], Run], baseline: str | None = None, by: Sequence[str] = ()) -> None:
        self._open, self._baseline, self._by = open_again, baseline, tuple(by)
        self._lock = threading.Lock()
        self._entries: OrderedDict[tuple[str, str], dict[str, Any]] = OrderedDict()
        self._ended = threading.Event()
        self.state = self._first_state(open_again())
        self.trouble = ""
        self._thread = threading.Thread(target=self._follow, name="xaibench-view", daemon=True)

    def start(self) -> None:
        """Compute the sections, and follow the run; once."""
        with self._lock:
            if not self._thread.ident:
                self._thread.start()

    def end(self) -> None:
        """Follow the run no more."""
        self._ended.set()

    def entry(self, sample: str) -> dict[str, Any]:
        """The entry of a picture. Raises :class:`UnreadablePicture`, and :class:`KeyError` for an unknown sample."""
        state = self.state
        if sample not in state.catalogue:
            raise KeyError(sample)
        key = (state.version, sample)
        with self._lock:  # one at a time: pictures are decoded and drawn
            if key not in self._entries:
                self._entries[key] = state.browser.entry(sample, state.browser.map_rows([sample]))
                while len(self._entries) > ENTRIES:
                    self._entries.popitem(last=False)
            self._entries.move_to_end(key)
            return self._entries[key]

    def status(self) -> Mapping[str, Any]:
        """What the page asks for from time to time."""
        state = self.state
        return {"version": state.version, "ready": state.sections is not None, "trouble": self.trouble}

    # ---- the thread ----

    def _follow(self) -> None:
        while not self._ended.is_set():
            began = time.monotonic()
            try:
                self._advance()
                self.trouble = ""
            except XaibenchError as error:  # a run that is deleted or damaged while it is looked at
                self.trouble = error.what
            except Exception as error:
                self.trouble = describe_error(error)
                print(f"view: {self.trouble}", file=sys.stderr)
            self._ended.wait(max(_LEAST_PAUSE, _SHARE * (time.monotonic() - began)))

    def _advance(self) -> None:
        """Compute what is missing of the newest state."""
        run = self._open()
        if self.state.sections is None or run_version(run.path) != self.state.version:
            self.state = self._completed(self._read(run))

    def _first_state(self, run: Run) -> RunState:
        """What the first screen shows, without the scores. With a baseline or a column everything is read, so that a
        wrong one ends the command."""
        if self._baseline or self._by:
            return self._read(run)
        version = run_version(run.path)
        tables, info = read_pictures_of(run)
        return _state(version, ReportContext(run=run, tables=tables, info=info))

    def _read(self, run: Run) -> RunState:
        version = run_version(run.path)  # before the tables: what is committed while they are read is new to this state
        return _state(version, ReportContext.read(run, self._baseline, self._by))

    def _completed(self, state: RunState) -> RunState:
        """A state with its sections, and with the reasons why pictures are chosen."""
        listed = [s for s in sections_of(state.context.run) if s.record.name != "maps"]
        catalogue = PictureCatalogue(state.context.tables, state.browser.reasons)
        return replace(state, sections=tuple(page_sections(state.context, listed)), catalogue=catalogue)


def _state(version: str, context: ReportContext) -> RunState:
    return RunState(
        version=version,
        context=context,
        browser=PictureBrowser(context),
        catalogue=PictureCatalogue(context.tables, {}),
    )


def run_version(path: Path | str) -> str:
    """What changes with every commit of a run: a digest of the names of its commits."""
    return digest(sorted(name for name, _ in list_folder(location(f"{path}/commits"))))[:16]
