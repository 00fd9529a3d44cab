"""A run in a terminal: its answer, then its boards in short or in full."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Set

from rich.console import Console

from xaibench.api import say
from xaibench_report.answer.run_answer import Answer, run_aliases
from xaibench_report.boards.board_notes import INDEPENDENT
from xaibench_report.boards.detector_tables import DetectorTable
from xaibench_report.boards.leaderboard import Leaderboards
from xaibench_report.boards.wording import detector_title, left_out_lines
from xaibench_report.terminal.answer_terminal import print_answer, say_text
from xaibench_report.terminal.boards_terminal import print_leaderboards
from xaibench_report.terminal.short_boards import print_short_boards, shows_ranks
from xaibench_report.values.aliases import Aliases
from xaibench_report.values.number_format import interval, number
from xaibench_report.values.run_values import ScoreInfo, score_name, short

SIGNS = "+ better than every control, - worse than one, ~ not told apart; [ ] 95 % interval"
RANKS = "#2–3 rank 2 or 3"
MORE = "All: xaibench report {run} --detail"
_NOTED = 2


def print_run(
    answer: Answer, leaderboards: Leaderboards, info: ScoreInfo, console: Console, *, detail: bool, run: str
) -> None:
    """Print the answer, then the boards: one line an explainer, or with ``detail`` everything. ``run``: the folder that
    the last line names."""
    print_answer(answer, console)
    if detail:
        say(console, "")
        print_leaderboards(leaderboards, console)
        return
    aliases = run_aliases(leaderboards, info)
    print_short_boards(leaderboards, aliases, console)
    _print_detector_tables(leaderboards.detectors, info, aliases, console)
    notes = list(short_notes(leaderboards))
    rest = len(notes) - _NOTED
    if notes:
        more = f"; {rest} more" if rest > 0 else ""
        say_text(f"noted: {'; '.join(notes[:_NOTED])}{more}", console, style="dim")
    judged = any(c.judged for d in answer.detectors for r in d.rows for c in r.cells)
    legend = [*([SIGNS] if judged else []), *([RANKS] if shows_ranks(leaderboards) else [])]
    before = f"{'; '.join(legend)}. " if legend else ""
    say_text(f"{before}{MORE.format(run=run)}", console, style="dim")


def _print_detector_tables(
    tables: Iterable[DetectorTable], info: ScoreInfo, aliases: Aliases, console: Console
) -> None:
    """Measures of detectors themselves, one line each. Those that only say whether another measure has footing stand
    in the detail."""
    companions = {m for some in info.accompanied_by.values() for m in some}
    for table in tables:
        for i, column in enumerate(table.columns):
            if column.metric in companions:
                continue
            cells = [(detector_title(row.where), row.cells[i]) for row in table.rows]
            values = [
                f"{t} {number(c.estimate.value)} {interval(c.estimate)}".rstrip() for t, c in cells if c and c.estimate
            ]
            if values:
                name = aliases.score(column.metric, column.score)
                say_text(f"{table.family} of detectors on {short(table.dataset)}: {name}: {', '.join(values)}", console)


# ---- notes, each said once ------------------------------------------------------------------------------------------


def short_notes(leaderboards: Leaderboards) -> Iterator[str]:
    """The gist of every note and of what was left out, each once, with how often it was said, the commonest first."""
    counts: dict[str, int] = {}
    for board in leaderboards.boards:
        names = {score_name(c.metric, c.score) for c in board.columns}
        for note in board.notes:
            gist = _gist(note, names)
            # the groups that would tell stand in the answer, and that controls are not ranked in every short table
            if "(power " not in note and gist != INDEPENDENT:
                counts[gist] = counts.get(gist, 0) + 1
    for detection in leaderboards.detections:
        for line in left_out_lines(detection.left_out):
            counts[line] = counts.get(line, 0) + 1
    for doubt in leaderboards.doubts:
        counts[doubt] = counts.get(doubt, 0) + 1
    for gist, n in sorted(counts.items(), key=lambda item: -item[1]):
        yield f"{gist} ({n} x)" if n > 1 else gist
    yield from _values_left_out(leaderboards)


def _values_left_out(leaderboards: Leaderboards) -> Iterator[str]:
    counts: dict[str, int] = {}
    boards = (x for b in leaderboards.boards for x in b.left_out)
    for x in (*boards, *(x for t in leaderboards.detectors for x in t.left_out)):
        gist = f"{x.status.replace('_', ' ')}{f': {x.reason}' if x.reason else ''}"
        counts[gist] = counts.get(gist, 0) + x.count
    for gist, n in counts.items():
        yield f"{n:,} {'value' if n == 1 else 'values'} {gist}"


def _gist(note: str, names: Set[str]) -> str:
    """The first clause of a note without the scores that it is about."""
    any_name = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    note = re.sub(rf"^(?:{any_name})(?:, (?:{any_name}))*(?: of [^:]*(?::\S[^:]*)*)?: ", "", note)
    for end in (": ", "; ", " ("):
        note = note.partition(end)[0]
    return note
