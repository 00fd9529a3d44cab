"""The processes that this one and its children began, for tests that kill them."""

from __future__ import annotations

import os
from pathlib import Path

MARKS = {
    "local": "xaibench.run.worker",
    "ray": "ray::TaskRunner",
    "futures:loky": "popen_loky",
    "futures": "spawn_main",
}
"""What stands in the command line of a worker, by the beginning of the executor's name."""


def descendants(mark: str) -> list[int]:
    """The processes that this one and its children began, with ``mark`` in their command line."""
    parents, marked = {}, []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if mark in (folder / "cmdline").read_text(errors="replace"):
                marked.append(int(folder.name))
        except OSError:  # it has ended
            continue
    return [pid for pid in marked if _is_below(pid, os.getpid(), parents)]


def _is_below(pid: int, top: int, parents: dict[int, int]) -> bool:
    while pid in parents and pid != top:
        pid = parents[pid]
    return pid == top
