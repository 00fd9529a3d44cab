"""Changing keys of a card on disk; its comments, its other keys and their order stay."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xaibench.api import ModelError, StoreError, commit_file, parse_toml, stage_text, toml_value
from xaibench_models.card import read_toml


def write_card(path: Path, keys: Mapping[str, Any], check: Callable[[dict[str, Any]], object]) -> str:
    """Change ``keys`` in the card at ``path``, which is made where there is none; the path.

    ``check`` is called with all values of the new card and raises what is wrong with them; nothing is written then.
    Raises :class:`ModelError` too for a card that cannot be read, changed or written.
    """
    path = path.resolve()
    text, values = "", dict[str, Any]()
    if path.exists():
        values = read_toml(path)
        text = path.read_bytes().decode()
    plain = json.loads(json.dumps(keys))
    new = changed_text(text, plain)
    if new is None or parse_toml(new) != {**values, **plain}:
        lines = "; ".join(f"{key} = {toml_value(value)}" for key, value in plain.items())
        raise ModelError(f"{path}: is written in a form that cannot be changed here", f"write by hand: {lines}")
    check(parse_toml(new))
    try:
        commit_file(stage_text(new, path.parent, f".{path.name}"), path)
    except StoreError as error:
        raise ModelError(error.what, "make the folder of the card writable, or change a copy of it") from error
    return str(path)


def refuse_overridden(keys: Mapping[str, Any], parameters: Mapping[str, Any], where: str) -> None:
    """Raise :class:`ModelError` for ``keys`` that ``parameters`` set, as parameters win over the card."""
    both = [key for key in keys if parameters.get(key) is not None]
    if both:
        are = "is set by a parameter" if len(both) == 1 else "are set by parameters"
        raise ModelError(
            f"{', '.join(both)} {are}, which win{'s' * (len(both) == 1)} over the card {where}",
            "take it off the command line (-m NAME:KEY=..., -p) or the run file, and try again",
        )


# ---- text -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Statement:
    """A key with its value, the header of a table, or a line of neither (``names`` is empty).

    ``names`` is the dotted name of the key or table; ``outer`` the first name of the table that it stands in.
    """

    text: str
    names: Sequence[str] = ()
    header: bool = False
    outer: str = ""

    @property
    def key(self) -> str:
        """The key of the whole document that it is a part of."""
        return self.outer or (self.names[0] if self.names else "")


def changed_text(text: str, keys: Mapping[str, Any]) -> str | None:
    """A TOML document with these keys, at their old places where they stood; None for text that is no TOML."""
    statements = list(_statements(text))
    if any(s.names == ("",) for s in statements):
        return None
    end = "\r\n" if "\r\n" in text else "\n"
    lines, left = list[str](), dict(keys)
    root = 0  # where the keys outside all tables end
    for statement in statements:
        outside = not statement.header and not statement.outer
        if statement.key not in keys:
            lines.append(statement.text)
        elif outside and statement.key in left:
            lines.append(f"{statement.key} = {toml_value(left.pop(statement.key))}{_comment(statement.text)}{end}")
        if outside and statement.names:
            root = len(lines)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += end
    if not root:  # behind the first comments, before the first table
        root = next((i for i, s in enumerate(statements) if s.header), len(lines))
        root = min(root, len(lines))
    lines[root:root] = [f"{key} = {toml_value(value)}{end}" for key, value in left.items()]
    return "".join(lines)


def _statements(text: str) -> Iterator[_Statement]:
    outer, waiting = "", ""
    for line in text.splitlines(keepends=True) if "\r" not in text.replace("\r\n", "") else [text]:
        waiting += line
        bare = waiting.strip()
        names = _names(waiting)
        if names is None:
            continue  # a value of several lines
        header = bare.startswith("[")
        if header:
            outer = names[0]
        yield _Statement(waiting, names, header, outer)
        waiting = ""
    if waiting:
        yield _Statement(waiting, ("",))


def _names(text: str) -> tuple[str, ...] | None:
    """The dotted name that a statement sets; empty for a blank line or comment, None where it is not complete."""
    try:
        inner: Any = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None
    names = []
    while isinstance(inner, dict) and len(inner) == 1:
        ((name, inner),) = inner.items()
        names.append(name)
    return tuple(names)


def _comment(text: str) -> str:
    """The comment behind a value, with the blanks before it."""
    whole = tomllib.loads(text)
    for place, sign in enumerate(text):
        if sign == "#" and _same(text[:place], whole):
            value = text[:place].rstrip()
            return text[len(value) :].rstrip()
    return ""


def _same(text: str, values: dict[str, Any]) -> bool:
    try:
        return tomllib.loads(text) == values
    except tomllib.TOMLDecodeError:
        return False
