r"""Tables in LaTeX. They need ``\usepackage{booktabs}`` and nothing else."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Final

from xaibench.api import UsageError, printable
from xaibench_report.tables.table_grid import Grid, GridCell
from xaibench_report.tables.text_format import digits_of, head_lines, spans_of
from xaibench_report.values.number_format import interval, number

_SPECIAL: Final = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "\u2191": r"$\uparrow$", "\u2193": r"$\downarrow$", "\u2013": "--",
    "[": "{[}", "]": "{]}",
}  # fmt: skip
_NAME: Final = 22
_HEAD: Final = 12
"""The characters of a line of a row's name, and of a header over one column."""


def to_latex(grids: Sequence[Grid], caption: str | None = None, label: str | None = None) -> str:
    r"""Every table as an environment ``table`` with ``\caption``, ``tabular`` and notes.

    ``caption`` stands in place of title and caption, as text, not as LaTeX; of several tables each keeps its title.
    ``label`` is that of the first, of further ones with ``-2``, ``-3``. Raises UsageError for a label that LaTeX
    would not take.
    """
    if label is not None and not re.fullmatch(r"[\w:./+-]+", label):
        raise UsageError(f"'{label}' is no label", "use letters, digits and : . / + - _")
    tables = []
    for i, grid in enumerate(grids):
        text = f"{_sentence(grid.title)} {grid.caption}" if caption is None else caption
        text = f"{_sentence(grid.title)} {caption}" if caption is not None and len(grids) > 1 else text
        name = label if i == 0 or label is None else f"{label}-{i + 1}"
        tables.append("\n".join(_lines(grid, text, name)))
    return "% needs \\usepackage{booktabs}\n" + "\n\n".join(tables) + "\n"


def escape(text: str) -> str:
    """Text in which nothing is a command; control characters are written out."""
    return "".join(_SPECIAL.get(c, c) for c in re.sub(r"\s+", " ", printable(text)))


def _sentence(text: str) -> str:
    return f"{text}."


def _lines(grid: Grid, caption: str, label: str | None) -> Iterator[str]:
    yield r"\begin{table}[t]"
    yield r"\centering"
    yield rf"\caption{{{escape(caption)}}}"
    if label is not None:
        yield rf"\label{{{label}}}"
    yield rf"\begin{{tabular}}{{{'l' * len(grid.row_keys)}{'r' * len(grid.columns)}}}"
    yield r"\toprule"
    yield from _head(grid)
    yield r"\midrule"
    yield from _body(grid)
    yield r"\bottomrule"
    yield r"\end{tabular}"
    for i, note in enumerate(grid.notes):
        start = r"\par\smallskip" if i == 0 else r"\par"
        yield rf"{start}{{\footnotesize {_mark(note.mark)}{escape(note.text)}\par}}"
    yield r"\end{table}"


def _head(grid: Grid) -> Iterator[str]:
    levels = len(grid.column_keys)
    for level in range(levels):
        last = level == levels - 1
        names = [escape(k) if last else "" for k in grid.row_keys]
        spans = list(spans_of(grid.columns, level))
        sizes = [_size(grid.columns[columns[0]].size) if last else [] for _, _, columns in spans]
        heads = [_header(*span, size) for span, size in zip(spans, sizes, strict=True)]
        yield _row([*names, *heads])
        if not last:
            yield "".join(_rule(columns, len(names)) for label, _, columns in spans if label)


def _header(label: str, mark: str, columns: Sequence[int], size: Sequence[str]) -> str:
    """A header over one column in lines as short as its numbers are."""
    lines = [escape(line) for line in (head_lines(label, _HEAD) if len(columns) == 1 else [label])]
    lines = [*lines[:-1], f"{lines[-1]}{_mark(mark)}", *size]
    text = lines[0] if len(lines) == 1 else r"\shortstack{" + r"\\".join(lines) + "}"
    return rf"\multicolumn{{{len(columns)}}}{{c}}{{{text}}}"


def _rule(columns: Sequence[int], before: int) -> str:
    return rf"\cmidrule(lr){{{columns[0] + before + 1}-{columns[-1] + before + 1}}}"


def _body(grid: Grid) -> Iterator[str]:
    spans = [
        {rows[0]: (label, mark) for label, mark, rows in spans_of(grid.rows, k)} for k in range(len(grid.row_keys))
    ]
    for at, (row, cells) in enumerate(zip(grid.rows, grid.cells, strict=True)):
        outer = at and row.labels[:-1] != grid.rows[at - 1].labels[:-1]
        if at and (outer or row.section != grid.rows[at - 1].section):
            yield r"\midrule" if outer else r"\addlinespace"
        elif at and _has_lines(grid):
            yield r"\addlinespace"
        names = [_name(*level.get(at, ("", "")), lines=_has_lines(grid)) for level in spans]
        for line in zip_longest(*names, *(_cell(c, grid) for c in cells), fillvalue=""):
            yield _row(line)


def _name(label: str, mark: str, *, lines: bool) -> list[str]:
    """A row's name, long ones in two lines where the row has them."""
    pieces = textwrap.wrap(label, _NAME, break_on_hyphens=False, break_long_words=False) if lines else []
    first, *rest = pieces or [label]
    texts = [escape(first), escape(" ".join(rest))] if rest else [escape(first)]
    return [*texts[:-1], f"{texts[-1]}{_mark(mark)}"]


def _has_lines(grid: Grid) -> bool:
    """Whether a row has a second line, for intervals or sizes."""
    return any(len(_cell(c, grid)) > 1 for row in grid.cells for c in row)


def _row(cells: Sequence[str]) -> str:
    return rf"{' & '.join(cells)} \\"


def _cell(cell: GridCell, grid: Grid) -> list[str]:
    """The value, below it the interval, the size, the verdict and its control."""
    digits, estimate = digits_of(grid), cell.estimate
    value = _number(number(estimate.value if estimate else None, digits))
    text = (rf"\textbf{{{value}}}" if cell.best else value) + _mark(cell.mark)
    shown = estimate is not None and grid.intervals and estimate.low is not None
    ends = [rf"{{\scriptsize {_number(interval(estimate, digits))}}}"] if shown else []
    verdict = [rf"{{\scriptsize {escape(line)}}}" for line in cell.verdict.lines]
    return [text, *ends, *_size(cell.size), *verdict]


def _size(n: int | None) -> list[str]:
    return [] if n is None else [rf"{{\scriptsize $n={n}$}}"]


def _number(text: str) -> str:
    """A number or interval, minus signs as mathematics has them; brackets in braces, as ``\\\\[`` would be a length."""
    return re.sub(r"-(?=\d)", "$-$", escape(text))


def _mark(mark: str) -> str:
    return rf"\textsuperscript{{{mark}}}" if mark else ""
