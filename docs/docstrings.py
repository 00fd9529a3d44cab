"""Our docstrings as Markdown: roles become code, the heading ``Parameters`` becomes a list."""

from __future__ import annotations

import re
from typing import Any

_ROLE = re.compile(r":(?:class|func|meth|mod|data|attr):`~?([^`]+)`")
_LITERAL = re.compile(r"``([^`]+)``")
_HEADING = re.compile(r"^(\w+)\n-{4,}\n", re.MULTILINE)
_PARAMETER = re.compile(r"^(\*{0,2}\w+(?:, \w+)*): ", re.MULTILINE)
_TABLE = re.compile(r"^={3,}( +={3,})+\n(.*?)^={3,}( +={3,})+$", re.MULTILINE | re.DOTALL)


def _table(match: re.Match[str]) -> str:
    """A table of two columns without a heading, whose cells may go on in the next lines."""
    width = match.group().index(" =")
    cells: list[list[str]] = []
    for line in match.group(2).splitlines():
        if line[:width].strip() or not cells:
            cells.append([line[:width].strip(), line[width:].strip()])
        else:
            cells[-1][1] += f" {line.strip()}"
    return "\n".join(("| | |", "| --- | --- |", *(f"| {name} | {text} |" for name, text in cells)))


def markdown(text: str) -> str:
    """Turn roles, double backquotes, literal blocks, tables and underlined headings into what Markdown calls so."""
    text = _TABLE.sub(_table, text)
    text = _LITERAL.sub(r"`\1`", _ROLE.sub(r"`\1`", text))
    text = re.sub(r"(?<=\S)::$", ":", text, flags=re.MULTILINE)
    text = re.sub(r"^::\n", "", text, flags=re.MULTILINE)
    head, *sections = re.split(_HEADING, text)
    for title, body in zip(sections[::2], sections[1::2], strict=True):
        entries, _, rest = body.partition("\n\n")
        listed = _PARAMETER.sub(r"- `\1`: ", entries)
        head += f"**{title}**\n\n{listed}\n\n{rest}"
    return head


try:
    import griffe
except ImportError:  # the tests read the generated pages without the tools of the documentation
    pass
else:

    class Docstrings(griffe.Extension):
        """Rewrites every docstring that mkdocstrings shows."""

        def on_object(self, *, obj: Any, **_: Any) -> None:
            if obj.docstring is not None:
                obj.docstring.value = markdown(obj.docstring.value)
