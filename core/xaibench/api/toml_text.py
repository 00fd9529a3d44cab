"""Reading of TOML that anybody may have written, and single values of it."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from typing import Any

DEEPEST = 40
"""Tables and arrays may lie in one another this deep."""


def parse_toml(text: str) -> dict[str, Any]:
    """The values of a TOML document.

    Raises ``ValueError`` (``tomllib.TOMLDecodeError`` is one) for text that is no TOML, for values that lie in one
    another more than 40 deep, and for an integer of more than 64 bits, which TOML does not have.
    """
    try:
        values = tomllib.loads(text)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    layer: list[object] = [values]
    # Layer by layer: a recursion would end at the nesting that it looks for.
    for _ in range(DEEPEST):
        layer = [inner for value in layer for inner in _inner(value)]
        if wide := next((v for v in layer if isinstance(v, int) and not -(2**63) <= v < 2**63), None):
            raise ValueError(f"an integer has {wide.bit_length()} bits, and TOML's have 64")
    if any(_inner(value) for value in layer):
        raise ValueError(_TOO_DEEP)
    return values


def toml_value(value: Any) -> str:
    """A value as TOML on one line, where it is made of texts, numbers, booleans, lists and mappings.

    >>> toml_value({"mode": "crop", "size": (96, 160)})
    '{mode = "crop", size = [96, 160]}'
    """
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k} = {toml_value(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml_value, value)) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


_TOO_DEEP = f"its tables or arrays are nested more than {DEEPEST} deep"


def _inner(value: object) -> list[object]:
    return list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
