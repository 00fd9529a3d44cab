"""Changing keys of a card on disk: the TOML file beside a model, with its comments, order and other keys kept."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import AbstractTable, InlineTable

from xaibench.api import ModelError, StoreError, commit_file, parse_toml, stage_text
from xaibench_models.card import CardKeys, given, read_toml, validate

Keys = Mapping[str, Any]


def write_keys(path: Path, keys: Keys, card: type[CardKeys], parameters: CardKeys) -> str:
    """Change ``keys`` in the card at ``path``, which is created where there is none, and return its path.

    The new text replaces the old one in one step, after it was read and found valid.

    Parameters
    ----------
    card: the keys that the card may have.
    parameters: what was given over the card.

    Raises :class:`ModelError` where a key was given as a parameter, where the file cannot be written, is a symbolic
    link, or is no TOML.
    """
    over = sorted(keys.keys() & given(parameters).keys())
    if over:
        names = ", ".join(over)
        raise ModelError(
            f"{path}: {names} was given as a parameter, which stands over the card",
            f"leave it off and check again, or give {_lines(keys, ', ')}",
        )
    _refuse_unwritable(path, keys)
    old = _read(path) if path.exists() else ""
    new = changed_text(old, keys, path)
    validate({k: v for k, v in parse_toml(new).items() if k != "path"}, card, str(path))
    _replace(path, new, keys)
    return str(path)


def changed_text(old: str, keys: Keys, path: Path) -> str:
    """TOML with some top-level keys changed. Raises :class:`ModelError` for text that is no TOML."""
    try:
        document = tomlkit.parse(old)
        for key, value in keys.items():
            _set(document, key, value)
        new = tomlkit.dumps(document)
        if "\r\n" in old:
            new = new.replace("\r\n", "\n").replace("\n", "\r\n")
        right = parse_toml(new) == {**parse_toml(old), **parse_toml(_lines(keys))}
    except (TOMLKitError, ValueError) as error:
        raise ModelError(f"{path}: is no TOML: {error}", "mend the line named; strings need quotes") from None
    if not right:  # an unusual spelling of a table, which the library changes otherwise than asked
        raise ModelError(f"{path}: these keys cannot be changed in place", f"write them yourself: {_lines(keys, ', ')}")
    return new


def _set(document: tomlkit.TOMLDocument, key: str, value: Any) -> None:
    """Change one key; a table keeps its form, its comments and the lines that stay."""
    present = document.get(key)
    if not isinstance(value, Mapping) or not isinstance(present, AbstractTable):
        document[key] = _item(value)
        return
    for name in [name for name in present if name not in value]:
        present.remove(name)
    for name, inner in value.items():
        if present.get(name) != inner:
            present[name] = inner


def _item(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return list(value) if isinstance(value, tuple) else value
    table: InlineTable = tomlkit.inline_table()
    table.update(value)
    return table


def _lines(keys: Keys, joint: str = "\n") -> str:
    """The keys as TOML, one a line."""
    return joint.join(f"{key} = {tomlkit.item(_item(value)).as_string()}" for key, value in keys.items())


def _read(path: Path) -> str:
    read_toml(path)  # its errors say more
    return path.read_bytes().decode("utf-8")  # reading as text would change the ends of lines


def _refuse_unwritable(path: Path, keys: Keys) -> None:
    mend = f"write it yourself: {_lines(keys, ', ')}"
    if path.is_symlink():
        raise ModelError(f"{path}: is a symbolic link to {path.readlink()}, and other models may share that card", mend)
    if path.is_file() and not path.stat().st_mode & stat.S_IWUSR:
        raise ModelError(f"{path}: is read-only", mend)
    if path.exists() and not path.is_file():
        raise ModelError(f"{path}: is no file", mend)


def _replace(path: Path, text: str, keys: Keys) -> None:
    try:
        staged = stage_text(text, path.parent, f".{path.name}")
        if path.exists():
            staged.chmod(stat.S_IMODE(path.stat().st_mode))
        commit_file(staged, path)
    except (StoreError, OSError) as error:
        what = error.what if isinstance(error, StoreError) else f"{path}: {error.strerror}"
        raise ModelError(what, f"make the folder writable, or write it yourself: {_lines(keys, ', ')}") from None
