"""The board of one metric family: text in a terminal, a table in a notebook, rows for a data frame."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from xaibench.api import UsageError, make_console
from xaibench_report.boards.leaderboard import Board, Leaderboards, Row
from xaibench_report.page.board_rows import beside_rows, board_rows, detector_rows, method_rows
from xaibench_report.page.html_templates import render
from xaibench_report.terminal.boards_terminal import print_leaderboards
from xaibench_report.values.run_values import family_order, short

if TYPE_CHECKING:
    import pyarrow as pa

_NUMBERS: Final = ("value", "low", "high")
_COUNTS: Final = ("n", "groups", "rank", "rank_low", "rank_high")
_TEXTS: Final = ("family", "dataset", "model", "member", "explainer", "role", "metric", "score", "better", "why")


@dataclass(frozen=True, eq=False, repr=False)
class FamilyBoard:
    """The boards of one metric family, one for every detector and dataset, and its table of detectors.

    ``leaderboards`` holds them as data. Libraries of data frames take the object as it is (the Arrow PyCapsule
    interface).
    """

    family: str
    leaderboards: Leaderboards

    def to_arrow(self) -> pa.Table:
        """A row for each explainer and score.

        ``value`` is the mean with its 95 % interval ``low`` to ``high`` over ``n`` samples in ``groups`` groups;
        ``rank_low`` to ``rank_high`` is the interval of ``rank``. ``why`` says why there is no value.
        """
        import pyarrow as pa

        rows = [row for board in self.leaderboards.boards for r in board.rows for row in _rows(board, r)]
        types = dict.fromkeys(_TEXTS, pa.string()) | dict.fromkeys(_NUMBERS, pa.float64())
        types |= dict.fromkeys(_COUNTS, pa.int64())
        order = (*_TEXTS[:-1], *_NUMBERS, *_COUNTS, "why")
        return pa.Table.from_pylist(rows, schema=pa.schema([(name, types[name]) for name in order]))

    def to_pandas(self) -> Any:
        """The same as a pandas data frame. Raises :class:`UsageError` where pandas is not installed."""
        try:
            return self.to_arrow().to_pandas()
        except ImportError:
            raise UsageError("pandas is not installed", "pip install pandas, or take to_arrow()") from None

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self.to_arrow().__arrow_c_stream__(requested_schema)

    def __repr__(self) -> str:
        width = shutil.get_terminal_size((80, 24)).columns
        console = make_console(width=width, force_terminal=False, force_jupyter=False, no_color=True)
        with console.capture() as text:
            print_leaderboards(self.leaderboards, console)
        return str(text.get()).strip("\n")

    def _repr_html_(self) -> str:
        found = self.leaderboards
        html = render("marks.html", marks=found.marks) if found.marks else ""
        html += render(
            "boards.html", boards=found.boards, detectors=found.detectors, board_rows=board_rows,
            beside_rows=beside_rows, detector_rows=detector_rows, method_rows=method_rows,
        )  # fmt: skip
        return render("display.html", html=html)


def family_board(family: str, leaderboards: Leaderboards) -> FamilyBoard:
    """The boards of one family. Raises :class:`UsageError` where the run has none of it."""
    names = {b.family for b in leaderboards.boards} | {t.family for t in leaderboards.detectors}
    families = sorted(names, key=family_order)
    if family not in families:
        known = ", ".join(families)
        raise UsageError(f"the run has no board of '{family}'", f"boards: {known}" if known else "evaluate a metric")
    boards = tuple(b for b in leaderboards.boards if b.family == family)
    tables = tuple(t for t in leaderboards.detectors if t.family == family)
    return FamilyBoard(family, Leaderboards(detections=(), boards=boards, detectors=tables, marks=leaderboards.marks))


def _rows(board: Board, row: Row) -> list[dict[str, Any]]:
    shared = {"family": board.family, **board.where._asdict(), "explainer": short(row.explainer), "role": row.role}
    found = []
    for column, cell in zip(board.columns, row.cells, strict=True):
        if cell is None:
            continue
        values: dict[str, Any] = {"metric": short(column.metric), "score": column.score, "better": column.better}
        if cell.estimate is not None:
            e = cell.estimate
            values |= {"value": e.value, "low": e.low, "high": e.high, "n": e.n, "groups": e.groups}
        if cell.rank is not None:
            values |= {"rank": cell.rank.rank, "rank_low": cell.rank.low, "rank_high": cell.rank.high}
        found.append({**shared, **values, "why": cell.why or None})
    return found
