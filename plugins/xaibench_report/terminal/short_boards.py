"""The boards of a run in few lines: one table a family, one line an explainer, controls folded into the best one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Final

from rich.console import Console
from rich.text import Text

from xaibench.api import literal, longest_piece, say
from xaibench_report.answer.run_answer import title
from xaibench_report.boards.board_cells import Cell, Column
from xaibench_report.boards.leaderboard import Board, Leaderboards
from xaibench_report.boards.wording import ARROWS, rank
from xaibench_report.terminal.text_columns import GAP, MARGIN, broken, name_width, plain_table
from xaibench_report.values.aliases import Aliases
from xaibench_report.values.number_format import DASH, interval, number
from xaibench_report.values.run_values import ScoreKey, family_order, short

WITHHELD: Final = "withheld"
SIGNS: Final[Mapping[str | None, str]] = {"better": "+", "worse": "-", "not told apart": "~"}
"""Of the verdict against the controls."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """What one cell of a short board says: its value with the rank, and the interval or range."""

    value: str
    ends: str = ""


@dataclass(frozen=True, slots=True)
class _Line:
    """One line of a short board."""

    name: str
    entries: tuple[_Entry, ...]
    style: str = ""


def shows_ranks(leaderboards: Leaderboards) -> bool:
    """Whether some short table shows ranks: those of a detector that is no family of training runs."""
    alone = (some for _, boards in _by_family(leaderboards.boards) for some in _by_model(boards).values())
    return any(c and c.rank for some in alone if len(some) == 1 for row in some[0].rows for c in row.cells)


def print_short_boards(leaderboards: Leaderboards, aliases: Aliases, console: Console) -> None:
    """Print one table for every dataset and family."""
    several = len({b.where.dataset for b in leaderboards.boards}) > 1
    for (dataset, family), boards in _by_family(leaderboards.boards):
        where = f" on {short(dataset)}" if several else ""
        _print_family(f"{family}{where}", boards, aliases, console)


def _by_family(boards: Iterable[Board]) -> list[tuple[tuple[str, str], list[Board]]]:
    found: dict[tuple[str, str], list[Board]] = {}
    for board in boards:
        found.setdefault((board.where.dataset, board.family), []).append(board)
    return sorted(found.items(), key=lambda item: (item[0][0], family_order(item[0][1])))


def _by_model(boards: Iterable[Board]) -> dict[str, list[Board]]:
    found: dict[str, list[Board]] = {}
    for board in boards:
        found.setdefault(board.where.model, []).append(board)
    return found


def _print_family(heading: str, boards: Sequence[Board], aliases: Aliases, console: Console) -> None:
    columns = {(c.metric, c.score): c for b in boards for c in b.columns}
    by_model = _by_model(boards)
    lines: list[_Line] = []
    for model, some in by_model.items():
        if len(by_model) > 1:
            members = dict.fromkeys(b.where.member for b in some if b.where.member)
            lines.append(_Line(title(model, tuple(members)), (), "bold"))
        lines += _lines(some, tuple(columns), aliases)
    heads = [_head(key, column, boards, aliases) for key, column in columns.items()]
    if any(line.entries for line in lines):
        _print_tables(heading, heads, lines, console)


def _head(key: ScoreKey, column: Column, boards: Sequence[Board], aliases: Aliases) -> tuple[str, str]:
    """The title of a column and the line below it."""
    arrow = ARROWS.get(column.better, "")
    return f"{aliases.score(*key)} {arrow}".rstrip(), WITHHELD if _is_withheld(boards, key) else ""


def _is_withheld(boards: Sequence[Board], key: ScoreKey) -> bool:
    """Whether a gate or a mark withholds a score on every one of these boards."""
    return all(b.withheld or c.withheld for b in boards for c in b.columns if (c.metric, c.score) == key)


# ---- the lines of one detector --------------------------------------------------------------------------------------


def _lines(boards: Sequence[Board], keys: Sequence[ScoreKey], aliases: Aliases) -> Iterator[_Line]:
    """Explainers in the order of the first board, then the best control of each score."""
    rows = {r.explainer: r.role for b in boards for r in b.rows}
    explainers = [e for e, role in rows.items() if role == "explainer"]
    for explainer in explainers:
        name = aliases(explainer) or "(detector)"
        yield _Line(name, tuple(_explainer_entry(boards, key, explainer) for key in keys))
    controls = [e for e, role in rows.items() if role == "control"]
    best = {key: _best(boards, key, explainers, controls) for key in keys}
    names = {aliases(name) for name, _ in best.values() if name}
    if names:
        alone = len(names) == 1
        texts = (f"{value} {aliases(name)}" if name and not alone else value for name, value in best.values())
        yield _Line(f"{names.pop()}, control" if alone else "best control", tuple(map(_Entry, texts)), "dim")


def _explainer_entry(boards: Sequence[Board], key: ScoreKey, explainer: str) -> _Entry:
    """Value, rank and sign of the verdict; a withheld value stands in brackets, without an interval."""
    entry = _entry(_cells(boards, key, explainer))
    if _is_withheld(boards, key):
        return _Entry(f"({entry.value})" if entry.value else "")
    words = {v.word for b in boards for s in b.verdicts if (s.metric, s.score) == key
             for v in s.verdicts if v.explainer == explainer}  # fmt: skip
    return replace(entry, value=f"{entry.value} {SIGNS.get(words.pop(), '') if len(words) == 1 else ''}".rstrip())


def _cells(boards: Sequence[Board], key: ScoreKey, explainer: str) -> list[Cell]:
    found = []
    for board in boards:
        at = next((i for i, c in enumerate(board.columns) if (c.metric, c.score) == key), None)
        row = next((r for r in board.rows if r.explainer == explainer), None)
        cell = row.cells[at] if row is not None and at is not None else None
        found += [cell] if cell is not None else []
    return found


def _entry(cells: Sequence[Cell]) -> _Entry:
    """One run: value, rank and interval. Several: their mean, and the range of the runs."""
    estimates = [c.estimate for c in cells if c.estimate is not None]
    if not estimates:
        return _Entry(DASH if cells else "")
    if len(estimates) == 1:
        cell = next(c for c in cells if c.estimate is not None)
        return _Entry(f"{number(estimates[0].value)} {rank(cell.rank)}".rstrip(), interval(estimates[0]))
    values = [e.value for e in estimates]
    return _Entry(number(fmean(values)), f"({number(min(values))} to {number(max(values))})")


def _best(
    boards: Sequence[Board], key: ScoreKey, explainers: Sequence[str], controls: Sequence[str]
) -> tuple[str, str]:
    """The control with the best mean and that mean, where the score holds explainers against controls. The number of
    samples stands with it where it has fewer than the explainers."""
    unjudged = [v.unjudged for b in boards for v in b.verdicts if (v.metric, v.score) == key]
    better = next((c.better for b in boards for c in b.columns if (c.metric, c.score) == key), "none")
    if better == "none" or any(unjudged) or _is_withheld(boards, key):
        return "", ""
    least = max((len_ for e in explainers if (len_ := _samples(boards, key, e))), default=0)
    means = {
        c: fmean(x.estimate.value for x in _cells(boards, key, c) if x.estimate is not None)
        for c in controls
        if _samples(boards, key, c)
    }
    if not means:
        return "", ""
    sign = -1 if better == "higher" else 1
    best = min(means, key=lambda c: (sign * means[c], c))
    n = _samples(boards, key, best)
    return best, f"{number(means[best])}{f' n={n}' if n < least else ''}"


def _samples(boards: Sequence[Board], key: ScoreKey, explainer: str) -> int:
    return sum(c.estimate.n for c in _cells(boards, key, explainer) if c.estimate is not None)


# ---- tables ---------------------------------------------------------------------------------------------------------


def _print_tables(heading: str, heads: Sequence[tuple[str, str]], lines: Sequence[_Line], console: Console) -> None:
    name = name_width([f"{heading} (1/2)", *(line.name for line in lines)])
    room = console.width - name - MARGIN
    with_ends = sum(_width(i, heads, lines, ends=True) + GAP for i in range(len(heads))) <= room
    widths = [_width(i, heads, lines, ends=with_ends) for i in range(len(heads))]
    whole = [max(width, len(title)) for width, (title, _) in zip(widths, heads, strict=True)]
    if sum(whole) + GAP * len(whole) <= room:  # titles break only where they must
        widths = whole
    for part, (start, stop) in enumerate(parts := list(_parts(widths, room)), start=1):
        of = f" ({part}/{len(parts)})" if len(parts) > 1 else ""
        say(console, "")
        table = plain_table()
        table.add_column(literal(console, f"{heading}{of}", style="bold"), no_wrap=True, min_width=name)
        for i in range(start, stop):
            table.add_column(_header(heads[i], widths[i], console), no_wrap=True, min_width=widths[i])
        for line in lines:
            entries = line.entries[start:stop] or (_Entry(""),) * (stop - start)
            cells = (broken(console, _text(e, with_ends), w) for e, w in zip(entries, widths[start:stop], strict=True))
            table.add_row(broken(console, line.name, name), *cells, style=line.style)
        console.print(table)


def _header(head: tuple[str, str], width: int, console: Console) -> Text:
    title, below = head
    text = literal(console, "")
    text.append_text(broken(console, title, width))
    if below:
        text.append_text(literal(console, f"\n{below}", style="dim"))
    return text


def _text(entry: _Entry, ends: bool) -> str:
    return f"{entry.value} {entry.ends}".rstrip() if ends else entry.value


def _width(i: int, heads: Sequence[tuple[str, str]], lines: Sequence[_Line], *, ends: bool) -> int:
    """The width of a column: that of its values, and of the words of its title."""
    values = [_text(line.entries[i], ends) for line in lines if line.entries and line.style != "dim"]
    folded = [longest_piece(line.entries[i].value) for line in lines if line.entries and line.style == "dim"]
    return max((*map(len, values), *folded, longest_piece(heads[i][0]), len(heads[i][1])))


def _parts(widths: Sequence[int], room: int) -> Iterator[tuple[int, int]]:
    start, taken = 0, 0
    for i, width in enumerate(widths):
        taken += width + GAP
        if taken > room and i > start:
            yield start, i
            start, taken = i, width + GAP
    yield start, len(widths)
