"""A strict reader of BibTeX: what it takes, BibTeX and biber take."""

from __future__ import annotations

import re

REQUIRED = {
    "article": {"author", "title", "journal", "year"},
    "inproceedings": {"author", "title", "booktitle", "year"},
    "incollection": {"author", "title", "booktitle", "publisher", "year"},
    "book": {"author", "title", "publisher", "year"},
    "misc": {"author", "title", "year"},
}
_ENTRY = re.compile(r"@([a-z]+)\{([^\s,{}\"#%~\\]+),\n((?:  [a-z]+ = \{.*\},\n)+)\}\n")
_BARE = re.compile(r"(?<!\\)[&%#_]|(?<!\\)\$(?!\\times\$)(?<!\\times\$)")


def entries(text: str) -> dict[str, dict[str, str]]:
    """The fields of every entry by its key, ``kind`` among them.

    Raises ``ValueError`` for text that is no entry, a key or a field that stands twice, a lacking field, unbalanced
    braces and a special character that is not escaped.
    """
    found = dict[str, dict[str, str]]()
    at = 0
    while at < len(text):
        match = _ENTRY.match(text, at)
        if match is None:
            raise ValueError(f"no entry at {text[at : at + 60]!r}")
        kind, key, body = match.groups()
        if key in found:
            raise ValueError(f"{key} stands twice")
        found[key] = {"kind": kind, **_fields(key, body)}
        if lacking := REQUIRED[kind] - set(found[key]):
            raise ValueError(f"{key} lacks {lacking}")
        at = match.end()
        at += text[at : at + 1] == "\n"
    return found


def _fields(key: str, body: str) -> dict[str, str]:
    fields = dict[str, str]()
    for line in body.splitlines():
        name, value = line.removeprefix("  ").removesuffix("},").split(" = {", 1)
        if name in fields:
            raise ValueError(f"{key}: {name} stands twice")
        if name != "url" and _BARE.search(value):
            raise ValueError(f"{key}: {name} holds a character that is not escaped: {value}")
        _check_braces(key, value)
        fields[name] = value
    return fields


def _check_braces(key: str, value: str) -> None:
    depth = 0
    for brace in re.sub(r"\\[{}]", "", value):
        depth += (brace == "{") - (brace == "}")
        if depth < 0:
            break
    if depth:
        raise ValueError(f"{key}: braces of {value!r} do not match")
