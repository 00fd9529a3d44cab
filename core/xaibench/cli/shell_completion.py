"""What the shell offers for a word on the command line, by typer's protocol of completion.

A shell waits at each press of a key: nothing that computes is imported, nothing reaches stderr, and whatever goes wrong
offers nothing, so that the shell completes files.
"""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from itertools import islice
from pathlib import Path
from textwrap import shorten
from typing import Any

from xaibench.api.output_streams import program_streams
from xaibench.api.records import KINDS
from xaibench.api.value_completion import Source, offer_values
from xaibench.discovery.paper_files import PREFIX

_VARIABLE = "_XAIBENCH_COMPLETE"
_RUNS = "xaibench-runs"
_MOST = 2000  # entries of a folder, and rows of a manifest, that are looked at
_WIDEST = 70  # characters of a help text: typer breaks lines at 80, and to fish each line is a value


def is_completing() -> bool:
    """Whether a shell asks this process for completions."""
    return os.environ.get(_VARIABLE, "").startswith("complete_")


def complete(program: Callable[[str], Any]) -> int:
    """Print what the shell asks for; the exit code, by which fish tells whether there is anything.

    ``program`` makes the typer app with one command, or with all where it is given none.
    """
    code = 0
    with suppress(BaseException), _no_stderr(), program_streams():
        try:
            _join_bash_words()
            offer_values(SOURCES)
            program(_command())(args=[], prog_name="xaibench", standalone_mode=True)
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 0
    return code


@contextmanager
def _no_stderr() -> Iterator[None]:
    """While this lasts, what is written to stderr is lost, also from native code."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        before, descriptor = sys.stderr, os.dup(2)
        os.dup2(nowhere.fileno(), 2)
        sys.stderr = nowhere
        try:
            yield
        finally:
            sys.stderr = before
            os.dup2(descriptor, 2)
            os.close(descriptor)


def _join_bash_words() -> None:
    """Undo that bash takes ``=`` and ``:`` for words of their own: ``--model = a : b`` is ``--model a:b``."""
    words = os.environ.get("COMP_WORDS", "").split("\n")
    if os.environ.get(_VARIABLE) != "complete_bash" or len(words) < 2:
        return
    place = int(os.environ["COMP_CWORD"])
    joined: list[str] = []
    glued = False
    for index, word in enumerate(words[: place + 1]):
        if word == "=" and joined and joined[-1].startswith("--"):
            if index == place:
                joined.append("")
        elif joined and (word == ":" or glued):
            joined[-1] += word
        else:
            joined.append(word)
        glued = word == ":"
    os.environ["COMP_WORDS"], os.environ["COMP_CWORD"] = "\n".join(joined), str(len(joined) - 1)


def _command() -> str:
    """The command on the line, which is all that has to be loaded; empty while it is being typed."""
    line = os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS", "")
    words = line.split()[1:]
    name = next((w for w in words if not w.startswith("-")), "")
    return name if words[-1:] != [name] or line.endswith((" ", "\n")) else ""


# ---- values ----------------------------------------------------------------------------------------------------------


def _components(kinds: Iterable[str], given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Names of components: bare where that is enough to name them, with their distribution after a slash."""
    from rich.markup import escape

    from xaibench.discovery.registry import load_registry

    registry = load_registry()
    for kind in kinds:
        known = registry.of_kind(kind)  # type: ignore[arg-type]
        names = [c.record.name for c in known]
        for component in sorted(known, key=lambda c: (not c.built_in, c.name)):
            bare = component.built_in or names.count(component.record.name) == 1
            name = component.name if "/" in given[""] or not bare else component.record.name
            yield name, escape(shorten(component.record.summary, _WIDEST, placeholder="..."))


def _runs(given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Folders of runs where the word points to, and those below ``xaibench-runs``."""
    word = given[""]
    places = {word[: word.rfind("/") + 1], *((f"{_RUNS}/",) if "/" not in word else ())}
    for place in sorted(places):
        with suppress(OSError, RuntimeError):  # a folder that is not there, and a ~ where there is no home
            for path in islice(Path(place or ".").expanduser().iterdir(), _MOST):
                if (path / "run.toml").is_file():
                    yield f"{place}{path.name}", ""


def _run_files(given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """TOML files and folders where the word points to, and the papers as ``papers/NAME``."""
    word = given[""]
    place = word[: word.rfind("/") + 1]
    with suppress(OSError, RuntimeError):
        for path in islice(sorted(Path(place or ".").expanduser().iterdir()), _MOST):
            if path.suffix == ".toml" or path.is_dir():
                yield f"{place}{path.name}{'/' if path.is_dir() else ''}", ""
    yield from ((f"{PREFIX}{name}", text) for name, text in _components(("paper",), {"": word.removeprefix(PREFIX)}))


def _splits(given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The splits that the manifest of the named folder tells. Others take too long to find out."""
    datasets = given.get("dataset") or ()
    for folder in (datasets,) if isinstance(datasets, str) else datasets:
        with open(Path(folder) / "manifest.csv", encoding="utf-8", newline="") as file:
            rows = islice(csv.DictReader(file), _MOST)
            yield from ((split, "") for split in sorted({row.get("split") or "" for row in rows} - {""}))


def _tables(given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The tables of the run that is named, by their folders."""
    for path in sorted(Path(given.get("run") or given["arguments"][0]).iterdir()):
        if any(path.glob("*.parquet")):
            yield path.name, ""


def _families(given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    from xaibench.discovery.registry import load_registry

    families = {getattr(c.record, "family", "") for c in load_registry().of_kind("metric")}
    yield from ((family, "") for family in sorted(families - {""}))


SOURCES: Mapping[str, Source] = {
    **{kind: partial(_components, (kind,)) for kind in KINDS},
    "component": partial(_components, KINDS),
    "run": _runs,
    "run-file": _run_files,
    "split": _splits,
    "table": _tables,
    "family": _families,
}
"""What there is of each kind of value (:func:`xaibench.api.value_completion`)."""
