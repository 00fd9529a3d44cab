"""The answer of a run in a terminal: a paragraph a detector, one small table, what it rests on and what comes next."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest

from rich.console import Console

from xaibench.api import break_lines, literal, say
from xaibench_report.answer.run_answer import Answer, AnswerRow, DetectorAnswer, title
from xaibench_report.terminal.text_columns import (
    GAP,
    MARGIN,
    broken,
    fitting,
    name_width,
    plain_table,
    shared_widths,
)


def print_answer(answer: Answer, console: Console) -> None:
    """Print everything that the answer says."""
    styles = ["yellow" if d.fitness.fit is not True else "bold" for d in answer.detectors]
    for text, style in zip_longest(answer.paragraphs, styles, fillvalue="bold"):
        say_text(text, console, style=style)
    if not answer.detectors:
        say(console, "Nothing was measured: the run holds neither predictions nor scores.", style="yellow")
    _print_table(answer, console)
    for head, lines in (("rests on", _shared(answer, "rests_on")), ("next", _shared(answer, "next_steps"))):
        for line in lines:
            say_text(f"{head}: {line}", console)
    if answer.legend:
        say_text(f"short names: {answer.legend}", console, style="dim")


def say_text(text: str, console: Console, style: str = "") -> None:
    """Print a paragraph whose lines break between words only."""
    say(console, break_lines(text, console.width), style=style)


def _shared(answer: Answer, name: str) -> Iterator[str]:
    """The lines of all detectors. One that several detectors have is said once, with their number."""
    lines: dict[str, list[str]] = {}
    for detector in answer.detectors:
        for line in getattr(detector, name):
            lines.setdefault(line, []).append(detector.title)
    every = len(answer.detectors)
    for line, titles in lines.items():
        of = "" if every == 1 or len(titles) == every else f"{', '.join(titles)}: "
        yield f"{of}{line}"


# ---- the table ------------------------------------------------------------------------------------------------------


def _print_table(answer: Answer, console: Console) -> None:
    detectors = [d for d in answer.detectors if d.rows and d.families]
    families = list(dict.fromkeys(f.family for d in detectors for f in d.families))
    if not families:
        return
    names = [row.alias for d in detectors for row in d.rows]
    width = name_width(["explainer", *names])
    columns = [_column_texts(detectors, family) for family in families]
    start = 0
    while start < len(families):
        stop = start + fitting(columns[start:], console.width - width - MARGIN)
        _print_part(detectors, families[start:stop], columns[start:stop], width, console)
        start = stop
    say_text(answer.meaning, console, style="dim")


def _column_texts(detectors: Sequence[DetectorAnswer], family: str) -> list[str]:
    heads = [_head(d, family) for d in detectors]
    cells = [_cell(row, family) for d in detectors for row in d.rows]
    same = len(set(cells)) == 1  # what every row says takes no width from the others
    return [family, *heads, *(c.replace(" ", "\n") if same else c for c in cells)]


def _head(detector: DetectorAnswer, family: str) -> str:
    return next((f.head for f in detector.families if f.family == family), "")


def _cell(row: AnswerRow, family: str) -> str:
    return next((c.text for c in row.cells if c.family == family), "")


def _print_part(
    detectors: Sequence[DetectorAnswer],
    families: Sequence[str],
    texts: Sequence[Sequence[str]],
    width: int,
    console: Console,
) -> None:
    table = plain_table()
    widths = shared_widths(texts, console.width - width - GAP * len(families) - MARGIN)
    heads = [_common(_head(d, f) for d in detectors) for f in families]
    table.add_column("explainer", no_wrap=True, min_width=width)
    for family, head, room in zip(families, heads, widths, strict=True):
        title = literal(console, family)
        if head:
            title.append_text(literal(console, f"\n{head}", style="dim"))
        table.add_column(title, no_wrap=True, min_width=room)
    for detector in detectors:
        shared = [_shared_cell(detector, f) if len(detectors) > 1 else "" for f in families]
        if len(detectors) > 1:
            cells = (broken(console, t, room) for t, room in zip(shared, widths, strict=True))
            table.add_row(broken(console, _section_title(detector, detectors), width, "bold"), *cells)
        for row in detector.rows if not all(shared) else ():
            own = ["" if text else _cell(row, f) for f, text in zip(families, shared, strict=True)]
            cells = (broken(console, text, room) for text, room in zip(own, widths, strict=True))
            table.add_row(broken(console, row.alias, width), *cells)
    console.print(table)


def _section_title(detector: DetectorAnswer, detectors: Sequence[DetectorAnswer]) -> str:
    """A detector's name, with its dataset where there are several."""
    several = len({d.dataset for d in detectors}) > 1
    return detector.title if several else title(detector.model, detector.members)


def _shared_cell(detector: DetectorAnswer, family: str) -> str:
    """What is said of every explainer of a detector alike, where nothing was judged: it stands beside the detector."""
    cells = {c.text: c.judged for row in detector.rows for c in row.cells if c.family == family}
    return next(iter(cells)) if len(cells) == 1 and not any(cells.values()) else ""


def _common(heads: Iterable[str]) -> str:
    """What stands over a column for all detectors; empty where they differ."""
    different = {h for h in heads if h}
    return different.pop() if len(different) == 1 else ""
