"""What ``run.table(...)`` returns: one request's tables, in every form."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from xaibench.api import UsageError, closest_first
from xaibench_report.tables.csv_format import to_csv
from xaibench_report.tables.html_format import to_html
from xaibench_report.tables.latex_format import to_latex
from xaibench_report.tables.markdown_format import to_markdown
from xaibench_report.tables.table_entries import make_entries
from xaibench_report.tables.table_grid import Grid, make_grids
from xaibench_report.tables.table_request import FORMATS, TableRequest
from xaibench_report.tables.text_format import WIDTH, to_text
from xaibench_report.values.run_values import RunTables, ScoreInfo


@dataclass(frozen=True, slots=True, eq=False)
class RunTable:
    """The tables of one request. It prints as text and shows itself as HTML in a notebook.

    ``grids``: one table each, with its headers, cells and notes.
    """

    grids: tuple[Grid, ...]

    def __str__(self) -> str:
        return self.to_text()

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return self.to_html()

    def to_text(self, width: int = WIDTH) -> str:
        """Plain text in lines of at most ``width`` characters; columns that do not fit go on in further parts."""
        return to_text(self.grids, width)

    def to_markdown(self) -> str:
        """Pipe tables; levels of headers are joined by commas."""
        return to_markdown(self.grids)

    def to_latex(self, caption: str | None = None, label: str | None = None) -> str:
        r"""Environments ``table`` that need ``booktabs`` alone. ``caption`` is text, escaped; ``label`` goes into
        ``\label``. Raises UsageError for a label that LaTeX would not take."""
        return to_latex(self.grids, caption, label)

    def to_csv(self) -> str:
        """One line a row with all digits, and the notes of the row in the last column."""
        return to_csv(self.grids)

    def to_html(self) -> str:
        """Fragments of HTML that load nothing."""
        return to_html(self.grids)

    def to_format(self, name: str, caption: str | None = None, label: str | None = None) -> str:
        """The tables in one of text, markdown, latex, csv and html. Raises UsageError for another name, and for
        caption or label in a form that has none."""
        forms: Mapping[str, Callable[[], str]] = {
            "text": self.to_text, "markdown": self.to_markdown, "csv": self.to_csv, "html": self.to_html,
            "latex": lambda: self.to_latex(caption, label),
        }  # fmt: skip
        if name not in forms:
            raise UsageError(f"no format '{name}'", f"there are {closest_first(name, FORMATS)}")
        if name != "latex" and (caption is not None or label is not None):
            raise UsageError(f"the format {name} has no caption and no label of yours", "give them with latex")
        return forms[name]()

    def to_arrow(self) -> Any:
        """An Arrow table with one row a number: the keys, ``value``, ``low``, ``high``, ``n``, ``groups``, ``best``,
        ``notes``, and ``verdict`` and ``control`` where they are asked for."""
        import pyarrow as pa

        keys = dict.fromkeys(k for g in self.grids for k in (*g.by, *g.row_keys, *g.column_keys))
        fields = [pa.field(k, pa.string()) for k in keys]
        numbers = (*_NUMBERS, *(_VERDICT if any(g.verdicts for g in self.grids) else ()))
        return pa.Table.from_pylist(
            list(self._rows()), pa.schema([*fields, *map(pa.field, *zip(*numbers, strict=True))])
        )

    def to_pandas(self) -> Any:
        """A data frame as the table is: keys of rows in the index, those of columns in the columns, means as numbers.
        Several tables stand below each other, their keys first in the index. Raises UsageError without pandas."""
        try:
            pandas = importlib.import_module("pandas")
        except ImportError:
            raise UsageError("pandas is not installed", "pip install pandas, or take .to_arrow()") from None
        frames = [_frame(pandas, grid) for grid in self.grids]
        return frames[0] if len(frames) == 1 else pandas.concat(frames)

    def _rows(self) -> Iterator[dict[str, Any]]:
        for grid in self.grids:
            for row, cells, texts in zip(grid.rows, grid.cells, grid.texts, strict=True):
                for column, cell, notes in zip(grid.columns, cells, texts, strict=True):
                    e = cell.estimate
                    yield {
                        **grid.by, **dict(zip(grid.row_keys, row.labels, strict=True)),
                        **dict(zip(grid.column_keys, column.labels, strict=True)),
                        "value": e and e.value, "low": e and e.low, "high": e and e.high, "n": e and e.n,
                        "groups": e and e.groups, "best": cell.best, "notes": "; ".join(notes),
                        "verdict": cell.verdict.word or None, "control": cell.verdict.control_name or None,
                    }  # fmt: skip


_NUMBERS: Final = (
    ("value", "float64"), ("low", "float64"), ("high", "float64"), ("n", "int64"), ("groups", "int64"),
    ("best", "bool"), ("notes", "string"),
)  # fmt: skip
_VERDICT: Final = (("verdict", "string"), ("control", "string"))


def _frame(pandas: Any, grid: Grid) -> Any:
    values = [[c.estimate.value if c.estimate else None for c in row] for row in grid.cells]
    rows = _index(pandas, [(*grid.by.values(), *row.labels) for row in grid.rows], (*grid.by, *grid.row_keys))
    columns = _index(pandas, [c.labels for c in grid.columns], grid.column_keys)
    return pandas.DataFrame(values, index=rows, columns=columns, dtype="float64")


def _index(pandas: Any, paths: Sequence[tuple[str, ...]], keys: Sequence[str]) -> Any:
    if len(keys) == 1:
        return pandas.Index([path[0] for path in paths], name=keys[0])
    return pandas.MultiIndex.from_tuples(paths, names=keys)


def build_table(tables: RunTables, info: ScoreInfo, request: TableRequest) -> RunTable:
    """The tables of a request.

    Raises UsageError for a key, column or score that the run does not have, NothingToEvaluate where no number is left.
    """
    return RunTable(make_grids(make_entries(tables, info, request), request))
