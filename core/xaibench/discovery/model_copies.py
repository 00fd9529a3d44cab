"""Copies on this machine of model files behind a URL: each process that opens such a model makes or finds one.

Copies lie in ``xaibench/models`` below ``XDG_CACHE_HOME`` (``~/.cache``, on Windows ``LOCALAPPDATA``), or in the folder
that ``XAIBENCH_CACHE`` names, one folder for each state of the files. Nothing removes them.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from xaibench.api import Location, ModelError, RemotePath, digest, file_state, list_folder, location, parse_toml

_NAMED_IN_CARDS = ("path", "weights", "card")


def cache_folder() -> Path:
    """Where copies lie. Raises :class:`ModelError` where nobody's home is known."""
    if given := os.environ.get("XAIBENCH_CACHE"):
        return Path(given).expanduser() / "models"
    base = os.environ.get("LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME", "")
    try:
        folder = Path(base) if Path(base).is_absolute() else Path.home() / ".cache"
    except RuntimeError:
        raise ModelError("no home folder, in which a copy of the model could lie", "set XAIBENCH_CACHE") from None
    return folder / "xaibench" / "models"


def local_copy(address: str) -> Path:
    """The model file of an address on this machine, with what lies beside it and begins with its name or is named in
    its card. A path on this machine is returned as it is.

    Raises :class:`ModelError` where it is not there or cannot be copied.
    """
    remote = location(address)
    if isinstance(remote, Path):
        return remote
    states = {file: _state(file) for file in _files(remote)}
    if remote not in states:
        raise ModelError(f"model file {remote} does not exist", "give a file, a folder of models or a component name")
    name = digest(f"{address}\0" + "\0".join(f"{file} {state}" for file, state in states.items()))[:16]
    folder = cache_folder() / name
    if not folder.is_dir():
        _copy(list(states), remote.parent, folder)
    return folder / remote.name


def _files(remote: RemotePath) -> Iterator[RemotePath]:
    """The model file, what begins with its name without suffix, and what its card names."""
    try:
        names = sorted(name for name, is_folder in list_folder(remote.parent) if not is_folder)
    except OSError:  # web servers list nothing
        names = [name for name in (remote.name, f"{remote.stem}.toml") if (remote.parent / name).is_file()]
    own = [name for name in names if name.startswith((f"{remote.stem}.", remote.name))]
    for name in own:
        yield remote.parent / name
    card = remote.parent / f"{remote.stem}.toml"
    for name in _named_files(card) if card.name in own else ():
        if name not in own and (remote.parent / name).is_file():
            yield remote.parent / name


def _named_files(card: RemotePath) -> list[str]:
    """The files that a card names. A card that cannot be read is for its model to refuse."""
    with suppress(OSError, ValueError):
        values = parse_toml(card.read_text())
        named = [str(values[key]) for key in _NAMED_IN_CARDS if key in values]
        named.append(f"{str(values.get('factory', '')).partition(':')[0].split('.')[0]}.py")
        return [name for name in named if not {"..", ""} & {*name.split("/")}]
    return []


def _state(file: Location) -> str:
    try:
        return file_state(file) or ""
    except OSError:
        return "absent"


def _copy(files: list[RemotePath], root: RemotePath, folder: Path) -> None:
    """Copy files into a folder, which is there as a whole or not at all."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=".copying-", dir=folder.parent))
        try:
            for file in files:
                target = aside / str(file)[len(str(root)) :].lstrip("/")
                target.parent.mkdir(parents=True, exist_ok=True)
                file.fs.get_file(file.path, str(target))
            try:
                aside.rename(folder)
            except OSError:
                if not folder.is_dir():  # otherwise another process was faster
                    raise
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    except OSError as error:
        raise ModelError(
            f"{files[0]} cannot be copied to {folder.parent}: {error.strerror or error}",
            "free some space, or let XAIBENCH_CACHE name another folder",
        ) from error
