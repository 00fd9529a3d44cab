"""Rankings of detectors and their balance as tables for a terminal, and as plain data for ``--json``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from xaibench_report.comparisons.balance import Balances
    from xaibench_report.comparisons.standings import DetectorRanking, EqualAccuracy, MeasureRanking
    from xaibench_report.values.aliases import Aliases

_NAME_WIDTH = 22
_CELL_WIDTH = 17
_TESTED = (
    "A rank (#) is one more than the number shown better, with the places that the tests leave. p by permutation of "
    "runs, adjusted by Holm over everything tested here."
)


def to_json(found: DetectorRanking, balanced: Balances | None) -> dict[str, Any]:
    """Everything that is printed, and the numbers behind it."""
    from xaibench_report.answer.ranking_answer import ranking_answer
    from xaibench_report.values.plain_data import plain_data

    answer = plain_data(ranking_answer(found))
    del answer["aliases"]
    data: dict[str, Any] = {"schema": "xaibench.ranking/1", "answer": answer, **plain_data(found)}
    data["entrants"] = [e | {"correct": len(e["correct"])} for e in data["entrants"]]
    return data | ({"balance": plain_data(balanced)} if balanced is not None else {})


def print_ranking(found: DetectorRanking, console: Console, *, detail: bool) -> None:
    """Print which measures tell detectors apart, then one line a measure, or with ``detail`` everything."""
    from xaibench.api import say
    from xaibench_report.answer.ranking_answer import ranking_answer
    from xaibench_report.terminal.answer_terminal import say_text

    answer = ranking_answer(found)
    say_text(" ".join(answer.sentences), console, style="bold")
    if detail:
        say(console, "")
        print_all_measures(found, console)
        return
    _print_entrants(found, console)
    for note in found.notes:
        say_text(note, console)
    for group in found.classes:
        _print_short(group, answer.aliases, console)
    if found.classes:
        text = "Means over runs; # is the rank. Intervals, p and runs: --detail"
        say_text(text, console, style="dim")


def _print_entrants(found: DetectorRanking, console: Console) -> None:
    """One line a detector, and one for each of its marks, with the runs that have it."""
    from xaibench_report.detectors.detector_accuracy import entrant_line
    from xaibench_report.terminal.answer_terminal import say_text
    from xaibench_report.values.run_values import short

    several = len({e.dataset for e in found.entrants}) > 1
    for entrant in found.entrants:
        on = f" on {short(entrant.dataset)}" if several else ""
        say_text(f"{entrant_line(entrant)}{on}", console, style="yellow" if entrant.marks else "")
        runs: dict[str, dict[str, None]] = {}
        for mark in entrant.marks:
            runs.setdefault(mark.text, {})[mark.where.member] = None
        for text, members in runs.items():
            who = ", ".join(m for m in members if m)
            say_text(f"  mark{f' of {who}' if who else ''}: {text}", console, style="yellow")


def _print_short(group: EqualAccuracy, aliases: Aliases, console: Console) -> None:
    """One line a measure, a column a detector."""
    from xaibench_report.terminal.text_columns import broken, name_width, plain_table
    from xaibench_report.values.run_values import short

    table = plain_table()
    names = [_measure_name(m, aliases) for m in group.measures]
    width = max(name_width(["measure", *names]), min(max(map(len, names)), console.width // 2))
    table.add_column("measure", no_wrap=True, min_width=width)
    for model in group.models:
        table.add_column(broken(console, short(model), _NAME_WIDTH), no_wrap=True)
    for measure, name in zip(group.measures, names, strict=True):
        cells = (broken(console, _short_cell(measure, model), _NAME_WIDTH) for model in group.models)
        table.add_row(broken(console, name, width), *cells)
    console.print("")
    console.print(table)


def _measure_name(measure: MeasureRanking, aliases: Aliases) -> str:
    from xaibench_report.boards.wording import ARROWS

    m = measure.measure
    of = f", {aliases(m.explainer)}" if m.explainer else ""
    return f"{aliases.score(m.metric, m.score)} {ARROWS.get(measure.better, '')}".rstrip() + of


def _short_cell(measure: MeasureRanking, model: str) -> str:
    from xaibench_report.boards.wording import rank
    from xaibench_report.values.number_format import number

    standing = next(s for s in measure.standings if s.model == model)
    value = standing.estimate.value if standing.estimate else None
    return f"{number(value)} {rank(standing.rank)}".rstrip()


def print_all_measures(found: DetectorRanking, console: Console) -> None:
    """Print the marks, who is compared, the tables and the findings."""
    from xaibench.api import say
    from xaibench_report.detectors.detector_accuracy import entrant_line
    from xaibench_report.terminal.boards_terminal import print_marks
    from xaibench_report.values.run_values import short

    print_marks([m for e in found.entrants for m in e.marks], console)
    several = len({e.dataset for e in found.entrants}) > 1
    for entrant in found.entrants:
        on = f" on {short(entrant.dataset)}" if several else ""
        say(console, f"{entrant_line(entrant)}{on}", style="bold")
    for note in found.notes:
        say(console, f"  {note}")
    for group in found.classes:
        _print_class(group, console, several)
    if found.classes:
        say(
            console,
            "Means over runs with 95 % intervals over runs crossed with people. " + (_TESTED if _tested(found) else ""),
            style="dim",
        )


def _tested(found: DetectorRanking) -> bool:
    return any(m.contests for group in found.classes for m in group.measures)


def _print_class(group: EqualAccuracy, console: Console, several: bool) -> None:
    from xaibench.api import say
    from xaibench_report.values.run_values import short

    for explainer in dict.fromkeys(m.measure.explainer for m in group.measures):
        measures = [m for m in group.measures if m.measure.explainer == explainer]
        where = f" on {short(group.dataset)}" if several else ""
        title = f"{', '.join(map(short, group.models))}{where}: {short(explainer) or 'without an explainer'}"
        per_table = max(1, (console.width - _NAME_WIDTH) // (_CELL_WIDTH + 2))
        for start in range(0, len(measures), per_table):
            say(console, f"\n{title}", style="bold")
            console.print(_table(group.models, measures[start : start + per_table], console))
        for measure in measures:
            if measure.finding:
                say(console, measure.finding)


def _table(models: Sequence[str], measures: Sequence[MeasureRanking], console: Console) -> Table:
    """One row a detector, by its rank under the first measure; one column a measure."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from xaibench_report.boards.wording import ARROWS
    from xaibench_report.terminal.text_columns import broken
    from xaibench_report.values.run_values import score_name, short

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("detector", overflow="fold", max_width=_NAME_WIDTH)
    for m in measures:
        name = score_name(m.measure.metric, m.measure.score, "\n")
        header = broken(console, f"{name} {ARROWS.get(m.better, '')}".rstrip(), _CELL_WIDTH)
        if m.n:
            header.append(f"\nn={m.n}", style="dim")
        table.add_column(header, overflow="fold", max_width=_CELL_WIDTH)
    order = [s.model for s in measures[0].standings]
    for model in sorted(models, key=order.index):
        table.add_row(broken(console, short(model), _NAME_WIDTH), *(_cell(m, model, console) for m in measures))
    return table


def _cell(measure: MeasureRanking, model: str, console: Console) -> Text:
    from xaibench.api import literal
    from xaibench_report.boards.wording import rank
    from xaibench_report.values.number_format import DASH, interval, number, plural

    standing = next(s for s in measure.standings if s.model == model)
    if standing.estimate is None:
        return literal(console, DASH, style="dim")
    found = literal(console, f"{number(standing.estimate.value)}  {rank(standing.rank)}".rstrip())
    for line in (interval(standing.estimate), plural(standing.runs, "run")):
        if line:
            found.append(f"\n{literal(console, line)}", style="dim")
    return found


def print_balances(found: Balances, console: Console) -> None:
    """Print accuracy kept, interpretability gained and their harmonic mean, a row a detector."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from xaibench.api import literal, say
    from xaibench_report.values.number_format import number, plural
    from xaibench_report.values.run_values import short

    say(console, f"\nbalance against {short(found.baseline)}", style="bold")
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("detector", "AUC", "kept accuracy A", "interpretability I", "harmonic H", "runs"):
        table.add_column(name, justify="left" if name == "detector" else "right", overflow="fold")
    for row in found.rows:
        b = row.balance
        parts = [number(x) for x in (row.auc, b.accuracy, b.interpretability, b.harmonic)]
        table.add_row(*(literal(console, c) for c in (short(row.model), *parts, plural(row.runs, "run"))))
    console.print(table)
    for row in found.rows:
        if row.balance.reason:
            say(console, f"  note: {short(row.model)}: {row.balance.reason}", style="dim")
    for note in found.notes:
        say(console, f"  note: {note}", style="dim")
