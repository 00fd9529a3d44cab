"""Leaderboards in full as tables for a terminal, and as plain data for ``--json``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from xaibench.api import literal, say
from xaibench_report.boards.board_cells import Cell
from xaibench_report.boards.detector_tables import DetectorTable
from xaibench_report.boards.leaderboard import Board, Leaderboards
from xaibench_report.boards.wording import (
    column_size,
    column_title,
    detection_lines,
    detection_notes,
    detector_title,
    left_out_lines,
    level_line,
    mark_line,
    median,
    method_cell,
    method_title,
    place,
    rank,
    row_title,
    shows_methods,
    span,
    withheld_line,
)
from xaibench_report.detectors.detection import Detection, LeftOut
from xaibench_report.detectors.marks import DetectorMark
from xaibench_report.judgement.manipulation_methods import BoardMethod
from xaibench_report.terminal.text_columns import broken
from xaibench_report.values.number_format import DASH, interval, number
from xaibench_report.values.plain_data import plain_data
from xaibench_report.values.run_values import score_name, short

JSON_VERSION: Final = 1
_NAME_WIDTH: Final = 22
_CELL_WIDTH: Final = 17
_METHOD_WIDTH: Final = 16


def to_json(leaderboards: Leaderboards) -> dict[str, Any]:
    """Everything that is printed, and the numbers behind it, as JSON-able data."""
    return {"version": JSON_VERSION, **plain_data(leaderboards)}


def print_leaderboards(leaderboards: Leaderboards, console: Console) -> None:
    """Print the marks, samples in doubt, the detectors' results, every board, what was left out and the verdicts."""
    print_marks(leaderboards.marks, console)
    for line in leaderboards.doubts:
        say(console, line, style="yellow")
    for detection in leaderboards.detections:
        _print_detection(detection, console)
    for board in leaderboards.boards:
        _print_board(board, console, several=_several(leaderboards))
    for table in leaderboards.detectors:
        _print_detectors(table, console)
    say(
        console,
        "Means with 95 % intervals, clustered by group. # is the 95 % interval of the rank: what is not told "
        "apart shares a rank. Controls are not ranked. Verdicts are paired on the samples that both have and "
        "corrected over all explainers and scores of a board.",
        style="dim",
    )


def print_marks(marks: Iterable[DetectorMark], console: Console, before: str = "") -> None:
    """What a reader must know of the detectors, above everything else. ``before``: of which run it is."""
    for mark in marks:
        say(console, f"mark: {before}{mark_line(mark)}", style="yellow")


def _several(leaderboards: Leaderboards) -> bool:
    return len({b.where for b in leaderboards.boards}) > 1


def _print_detection(detection: Detection, console: Console) -> None:
    pictures, *figures = detection_lines(detection)
    say(console, f"{place(detection.where)}: {pictures}", style="bold")
    for line in figures:
        say(console, f"  {line}", style="bold")
    if len(detection.methods) > 1:
        table = Table(box=SIMPLE_HEAD, pad_edge=False)
        for name in ("method", "AUC", "sensitivity", "fakes", "groups"):
            table.add_column(name, justify="left" if name == "method" else "right", overflow="fold")
        for m in detection.methods:
            auc, hits = (f"{number(e.value if e else None)} {interval(e)}" for e in (m.auc, m.sensitivity))
            cells = (m.method or "fake", auc, hits, str(m.n), str(m.groups))
            table.add_row(*(literal(console, c) for c in cells))
        console.print(table)
    for note in detection_notes(detection):
        say(console, f"  note: {note}", style="yellow")
    _print_left_out(detection.left_out, console)


def _print_left_out(left_out: Sequence[LeftOut], console: Console) -> None:
    for line in left_out_lines(left_out):
        say(console, f"  left out: {line}", style="dim")


def _print_board(board: Board, console: Console, several: bool) -> None:
    where = f", {place(board.where)}" if several else ""
    per_table = max(1, (console.width - _NAME_WIDTH) // (_CELL_WIDTH + 2))
    parts = range(0, len(board.columns), per_table)
    for i, start in enumerate(parts):
        part = f" ({i + 1}/{len(parts)})" if len(parts) > 1 else ""
        say(console, f"\n{board.family}{where}{part}", style="bold")
        console.print(_board_table(board, range(start, min(start + per_table, len(board.columns))), console))
    if shows_methods(board):
        _print_methods(board, console)
    if board.withheld:
        say(console, withheld_line(board.withheld), style="yellow")
    for verdict in board.verdicts:
        say(console, verdict.sentence)
    for pair in board.level:
        say(console, f"  not told apart: {level_line(pair)}", style="dim")
    for note in board.notes:
        say(console, f"  note: {note}", style="dim")
    if board.beside:
        names = dict.fromkeys(score_name(c.column.metric, c.column.score.partition(" ")[0]) for c in board.beside)
        say(console, f"  beside them, in the report: {', '.join(names)}", style="dim")
    _print_left_out(board.left_out, console)


def _board_table(board: Board, columns: range, console: Console) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("explainer", overflow="fold", max_width=_NAME_WIDTH)
    sizes = [column_size(board, i) for i in columns]
    for i, size in zip(columns, sizes, strict=True):
        header = broken(console, column_title(board.columns[i]), _CELL_WIDTH)
        for line in (f"n={size}" if size else "", "no ranks" if board.columns[i].withheld else ""):
            header.append(f"\n{line}" if line else "", style="dim")
        table.add_column(header, overflow="fold", max_width=_CELL_WIDTH)
    last_ranked = max((i for i, r in enumerate(board.rows) if r.role == "explainer"), default=-1)
    for i, row in enumerate(board.rows):
        cells = [_cell(row.cells[c], console, n is None) for c, n in zip(columns, sizes, strict=True)]
        style = "" if row.role == "explainer" else "dim"
        table.add_row(broken(console, row_title(row), _NAME_WIDTH), *cells, style=style, end_section=i == last_ranked)
    return table


def _print_detectors(found: DetectorTable, console: Console) -> None:
    """One row a detector, one column a score of the detector itself."""
    per_table = max(1, (console.width - _NAME_WIDTH) // (_CELL_WIDTH + 2))
    for start in range(0, len(found.columns), per_table):
        columns = range(start, min(start + per_table, len(found.columns)))
        say(console, f"\n{found.family} of detectors on {short(found.dataset)}", style="bold")
        table = Table(box=SIMPLE_HEAD, pad_edge=False)
        table.add_column("detector", overflow="fold", max_width=_NAME_WIDTH)
        for i in columns:
            header = broken(console, column_title(found.columns[i]), _CELL_WIDTH)
            table.add_column(header, overflow="fold", max_width=_CELL_WIDTH)
        for row in found.rows:
            cells = [_cell(row.cells[i], console, with_size=False) for i in columns]
            table.add_row(broken(console, detector_title(row.where), _NAME_WIDTH), *cells)
        console.print(table)
    _print_left_out(found.left_out, console)


def _print_methods(board: Board, console: Console) -> None:
    """Explainers by manipulation method, a section for every score."""
    per_table = max(1, (console.width - _NAME_WIDTH) // (_METHOD_WIDTH + 2))
    for start in range(0, len(board.methods), per_table):
        say(console, f"{board.family} by manipulation method: mean, n", style="bold")
        console.print(_method_table(board, board.methods[start : start + per_table], console))


def _method_table(board: Board, methods: Sequence[BoardMethod], console: Console) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("explainer", overflow="fold", max_width=_NAME_WIDTH)
    for method in methods:
        name, below = method_title(method)
        header = literal(console, name)
        for line in below:
            header.append(f"\n{line}", style="dim")
        table.add_column(header, overflow="fold", max_width=_METHOD_WIDTH)
    for i, column in enumerate(board.columns):
        rows = [row for row in board.rows if row.cells[i] is not None]
        table.add_row(literal(console, column_title(column).replace("\n", " "), style="italic"))
        for row in rows:
            found = [method_cell(row.cells[i], method) for method in methods]
            means = [f"{number(m.estimate.value)} n={m.n}" if m else DASH for m in found]
            style = "" if row.role == "explainer" else "dim"
            cells = (broken(console, text, _NAME_WIDTH) for text in (row_title(row), *means))
            table.add_row(*cells, style=style, end_section=row is rows[-1])
    return table


def _cell(cell: Cell | None, console: Console, with_size: bool) -> Text:
    if cell is None:
        return Text("")
    if cell.estimate is None:
        return literal(console, f"{DASH} {cell.why.partition(':')[0]}", style="dim")
    text = literal(console, f"{number(cell.estimate.value)}  {rank(cell.rank)}".rstrip())
    below = interval(cell.estimate) or span(cell.span)
    for line in (below, median(cell.median), f"n={cell.estimate.n}" if with_size else ""):
        if line:
            text.append(f"\n{line}", style="dim")
    return text
