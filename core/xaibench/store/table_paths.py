"""Paths in the tables of a run: none tells of the machine or of its user.

What lies below the working directory is written relative to it, what lies below the home directory as ``~/...``, and
the source of a library as it is imported. Of any other absolute path the last part is left. ``run.toml``, which is no
table, keeps paths as they were given, and in ``[record.paths]`` what the shortened ones stand for, so that the run can
be given again and its pictures be opened.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xaibench.api import canonical_json

if TYPE_CHECKING:
    import pyarrow as pa

# A slash that begins a path: not one within an address, a relative path, a fraction or an option's name.
_ABSOLUTE = re.compile(r"(?<![\w.~/*-])/(?!/)[^\s\"'<>|,;()\[\]{}:=]*[^\s\"'<>|,;()\[\]{}:=.]")
_LIBRARY = re.compile(r".*/(?:site-packages|dist-packages|lib/python[0-9.]+)/")


def shorten(text: str) -> str:
    """``text`` with every absolute path in it in its short form."""
    if "/" not in text and "\\" not in text:
        return text
    for folder, word in _places():
        text = re.sub(rf"(?<![\w.~/-]){re.escape(folder)}(?=$|[/\\\s\"',;:)\]}}])[/\\]?", word, text)
    return _ABSOLUTE.sub(lambda match: _last_part(match[0]), text)


def shorten_values(value: Any, paths: dict[str, str] | None = None) -> Any:
    """A JSON value with its strings shortened; ``paths`` collects what each string that is a path stood for."""
    if isinstance(value, str):
        short = _whole(value) if value.startswith("/") and "\n" not in value else shorten(value)
        if paths is not None and short != value:
            paths[short] = value
        return short
    if isinstance(value, Mapping):
        return {key: shorten_values(item, paths) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [shorten_values(item, paths) for item in value]
    return value


def shorten_json(text: str, paths: dict[str, str] | None = None) -> str:
    """The text of a JSON value with its strings shortened."""
    return canonical_json(shorten_values(json.loads(text), paths)) if "/" in text else text


def restore_values(value: Any, paths: Mapping[str, str]) -> Any:
    """A JSON value with the strings for which the short ones stand."""
    if isinstance(value, str):
        if value in paths:
            return paths[value]
        return str(Path.home() / value[2:]) if value.startswith("~/") else value
    if isinstance(value, Mapping):
        return {key: restore_values(item, paths) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [restore_values(item, paths) for item in value]
    return value


def recorded_paths(run_file: Mapping[str, Any]) -> dict[str, str]:
    """What the short paths in a run's tables stand for, as its run file says."""
    record = run_file.get("record")
    paths = record.get("paths") if isinstance(record, Mapping) else None
    return {k: v for k, v in paths.items() if isinstance(v, str)} if isinstance(paths, Mapping) else {}


def shorten_column(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column of texts with paths shortened; few of its values differ."""
    import pyarrow as pa

    unique = [text for text in column.unique().to_pylist() if text and "/" in text]
    short = {text: new for text in unique if (new := shorten(text)) != text}
    if not short:
        return column
    return pa.chunked_array([pa.array([short.get(t, t) for t in column.to_pylist()], column.type)])


def _places() -> list[tuple[str, str]]:
    """The working directory and the home directory, the longer one first, each with what stands in its place."""
    places = [(str(Path.cwd()), ""), (str(Path.home()), "~/")]
    return sorted(((f, word) for f, word in places if len(Path(f).parts) > 1), key=lambda place: -len(place[0]))


def _whole(path: str) -> str:
    """A string that is one absolute path, blanks and all."""
    for folder, word in _places():
        if Path(path).is_relative_to(folder):
            rest = Path(path).relative_to(folder).as_posix()
            return f"{word}{rest}" if word and rest != "." else "~" if word else rest
    return Path(path).name or path


def _last_part(path: str) -> str:
    if library := _LIBRARY.match(path):
        return path[library.end() :]
    inside = [entry for entry in sys.path if len(entry) > 1 and path.startswith(f"{entry}/")]
    if inside:
        return path[len(max(inside, key=len)) + 1 :]
    return path.rstrip("/").rpartition("/")[2] if path.count("/") > 1 else path
