"""The console of tables and bars: control characters of its text are written out, its own sequences pass."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.measure import Measurement
from rich.segment import Segment
from rich.text import Text

from xaibench.api.line_breaks import break_lines, longest_piece
from xaibench.api.safe_text import printable, redact


class CleanConsole(Console):
    """A console on the stream behind ``sys.stdout`` or ``sys.stderr``, since it cleans all text itself."""

    def __init__(self, *, stderr: bool = False, **options: Any) -> None:
        stream = sys.stderr if stderr else sys.stdout
        super().__init__(file=getattr(stream, "unfiltered", stream), **options)

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(_clean(text), **options)  # before the widths of columns are measured

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(_clean(segment.text), segment.style)


class BrokenName:
    """A name in a table, which breaks at spaces and after ``- : , /`` alone."""

    def __init__(self, name: str) -> None:
        self.name = _clean(name)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterable[Text]:
        yield Text(break_lines(self.name, options.max_width))

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(longest_piece(self.name), max(map(len, self.name.split("\n"))))


def _clean(text: str) -> str:
    return printable(redact(text))
