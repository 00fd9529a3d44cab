"""Run files that plugins bring: ``papers/NAME`` in place of a path."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from xaibench.api import PluginError, describe_error
from xaibench.discovery.registry import Registered, load_registry

PREFIX: Final = "papers/"


def find_run_file(run_file: str, plugin: Sequence[str] = (), no_plugin: Sequence[str] = ()) -> str:
    """The path of a run file. ``papers/NAME`` and ``papers/DISTRIBUTION/NAME`` are those that plugins bring, unless a
    file of that path exists.

    Raises :class:`UnknownComponent`, which offers near names, and :class:`PluginError` where a plugin gives no file.
    """
    if not run_file.startswith(PREFIX) or Path(run_file).exists():
        return run_file
    return str(paper_path(load_registry(plugin, no_plugin).find("paper", run_file.removeprefix(PREFIX))))


def paper_path(paper: Registered) -> Path:
    """The run file of a paper."""
    function = paper.load()
    try:
        path = function(paper.record.name)
        if Path(path).is_file():
            return Path(path)
        problem = f"there is no file {path}"
    except Exception as error:
        problem = describe_error(error)
    raise PluginError(
        f"paper '{paper.name}' ({paper.origin.distribution} {paper.origin.version}) gives no run file: {problem}",
        f"reinstall or update {paper.origin.distribution}",
    )
