"""Where a run lies for which nobody named a folder: in the memory of this process, or in a temporary folder.

Tasks in other processes read stored maps and artefacts from the folder of the run, so that it has to be one. Otherwise
no file is written.
"""

from __future__ import annotations

import shutil
import tempfile
import uuid
import weakref
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from xaibench.discovery.registry import Registry
from xaibench.run.driver import PreparedRun, runs_in_process
from xaibench.store.files import Location
from xaibench.store.folder import RunFolder
from xaibench.store.open_run import Run


def temporary_folder() -> str:
    """A new folder, for a plan of which nobody knows yet where its tasks run."""
    return tempfile.mkdtemp(prefix="xaibench-")


def without_folder(prepared: PreparedRun, registry: Registry) -> PreparedRun:
    """The plan in memory, and its temporary folder removed, where its tasks run in this process."""
    if not runs_in_process(prepared.plan, registry):
        return prepared
    forget(prepared.folder.path)
    out = f"memory://xaibench-{uuid.uuid4().hex}"
    settings = prepared.plan.settings.model_copy(update={"out": out})
    return PreparedRun(replace(prepared.plan, out=out, settings=settings), RunFolder(out))


def forget_with(run: Run) -> None:
    """Remove what a run consists of as soon as nobody holds the run."""
    weakref.finalize(run, forget, run.path)


def forget(place: Location) -> None:
    """Remove a temporary folder or a run in memory, if it is there."""
    if isinstance(place, Path):
        shutil.rmtree(place, ignore_errors=True)
        return
    import fsspec

    with suppress(FileNotFoundError):
        fsspec.filesystem("memory").rm(place.removeprefix("memory:/"), recursive=True)
