"""``report``, ``compare`` and ``rank detectors``: declared here, what computes is imported when a command is given."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from xaibench.api import (
    SHARED_FLAGS,
    JsonFlag,
    RunFolder,
    StoreError,
    UsageError,
    completion,
    help_page,
    make_console,
    print_json,
    printable,
)

Baseline = Annotated[
    str | None, typer.Option(help="Model of the run beside which accuracy and interpretability are balanced.")
]

Detail = Annotated[
    bool, typer.Option("--detail", help="Print everything: all values, intervals, controls, notes and left-out counts.")
]

rank = typer.Typer(help="Order what a run compared.", no_args_is_help=True)


@help_page(
    "Read a run", "xaibench report xaibench-runs/RUN", "xaibench report xaibench-runs/RUN --by compression -o page.html"
)
def report(
    run: RunFolder,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="HTML file; default RUN/report.html.")] = None,
    baseline: Baseline = None,
    by: Annotated[
        list[str] | None,
        typer.Option(
            help="Print every board by the values of this column of the samples, with the gap; may be repeated."
        ),
    ] = None,
    pictures: Annotated[
        int | None,
        typer.Option(
            help="Pictures in the page's browser; default: up to 100, as many as leave the page below 20 MB.", min=1
        ),
    ] = None,
    plugin: Annotated[
        list[Path] | None,
        SHARED_FLAGS["plugin"].option("new place of a plugin file of the run that was moved, of the same name"),
    ] = None,
    detail: Detail = False,
    json: JsonFlag = False,
) -> None:
    """Print a run's answer and boards, and write a self-contained HTML report."""
    from xaibench import open_run
    from xaibench_report.page.report_context import ReportContext
    from xaibench_report.page.report_page import missing_plugins, sections_of, write_report
    from xaibench_report.terminal import boards_terminal as terminal
    from xaibench_report.terminal import by_column_terminal
    from xaibench_report.terminal.answer_terminal import print_answer
    from xaibench_report.terminal.run_terminal import print_run
    from xaibench_report.values.plain_data import plain_data

    opened = open_run(run, plugin=plugin or ())
    target = out or (opened.path / "report.html" if isinstance(opened.path, Path) else None)
    if target is None:
        raise UsageError(f"{run} is a URL, and the page is written on this machine", "give its file with --out")
    context = ReportContext.read(opened, baseline, by or ())
    context.most_pictures = pictures
    boards = context.leaderboards
    _, no_pictures = context.pictures
    if no_pictures and missing_plugins(opened) is None:  # else the sections tell of it
        print(no_pictures, file=sys.stderr)
    try:
        name = opened.path.resolve().name if isinstance(opened.path, Path) else str(run)
        write_report(context, sections_of(opened), target, title=f"xaibench report of {printable(name)}")
    except OSError as error:
        raise StoreError(f"cannot write {target}: {error.strerror}", "choose another --out") from None
    if json:
        split = by_column_terminal.to_json(context.by_columns) if by else {}
        answer = {"answer": plain_data(context.answer)}
        print_json(terminal.to_json(boards) | answer | split | {"report": str(target)})
        return
    if by and not detail:
        print_answer(context.answer, make_console())
    else:
        print_run(context.answer, boards, context.info, make_console(), detail=detail, run=str(run))
    for found in context.by_columns:
        by_column_terminal.print_by_column(found, make_console())
    print(f"report: {target}")


@help_page(
    "Read a run",
    "xaibench compare xaibench-runs/A xaibench-runs/B",
    "xaibench compare RUN --pair 'lime-adv - lime'  # explainers of one run",
)
def compare(
    first: RunFolder,
    second: Annotated[
        str | None,
        typer.Argument(metavar="RUN", help="Folder or URL of the run to compare.", autocompletion=completion("run")),
    ] = None,
    pair: Annotated[
        list[str] | None,
        typer.Option(help="'A - B': compare two explainers of one run, the first minus the second; may be repeated."),
    ] = None,
    score: Annotated[
        list[str] | None,
        typer.Option(
            help="With --pair: only this SCORE, METRIC, 'METRIC SCORE' or family, and words of an item; may "
            "be repeated. Default: every primary score."
        ),
    ] = None,
    by: Annotated[
        str | None, typer.Option(help="Print the differences by the values of this column of the samples.")
    ] = None,
    detail: Detail = False,
    json: JsonFlag = False,
) -> None:
    """Compare two runs on their common samples: paired differences, second minus first. Or explainers of one run."""
    from xaibench import open_run
    from xaibench_report.comparisons.compare import compare_runs
    from xaibench_report.terminal.comparison_terminal import comparison_to_json, print_comparison
    from xaibench_report.values.run_tables import read_run

    if pair or score or second is None:
        _refuse_mixture(second, pair, by)
        _compare_pairs(first, pair or [], score or [], json)
        return
    if _same_place(open_run(first).path, open_run(second).path):
        raise UsageError(f"both are the same run, {first}", "give the folders of two runs")
    (a, info), (b, _) = read_run(first), read_run(second)
    if by is not None:
        from xaibench_report.comparisons.compare_by_column import compare_by_column
        from xaibench_report.tables.show_table import show_table

        show_table(compare_by_column(a, b, info, by), json=json)
        return
    comparison = compare_runs(a, b, info)
    if json:
        print_json(comparison_to_json(comparison))
        return
    print_comparison(comparison, make_console(), detail=detail)


def _refuse_mixture(second: str | None, pair: list[str] | None, by: str | None) -> None:
    """Raise UsageError unless the options are those of one run."""
    if second is not None:
        raise UsageError("--pair and --score compare explainers of one run", "give one run, or take them off")
    if not pair:
        raise UsageError("one run is given", "give a second one, or --pair 'A - B' with two explainers of the run")
    if by is not None:
        raise UsageError(
            "--by compares two runs, not explainers of one",
            "take it off; xaibench table RUN --columns COLUMN shows the explainers of a run by the values of a column",
        )


def _compare_pairs(run: str, pairs: list[str], scores: list[str], json: bool) -> None:
    """Print the paired differences of explainers of one run."""
    from xaibench_report.comparisons.compare_explainers import compare_explainers
    from xaibench_report.terminal.pairs_terminal import print_pairs
    from xaibench_report.values.plain_data import plain_data
    from xaibench_report.values.run_tables import read_run

    comparison = compare_explainers(*read_run(run), pairs, scores)
    if json:
        print_json({"schema": "xaibench.pairs/1", "rows": plain_data(comparison)["rows"]})
        return
    print_pairs(comparison, make_console())


def _same_place(first: Path | str, second: Path | str) -> bool:
    """Whether two folders or URLs of runs are one."""
    if isinstance(first, Path) and isinstance(second, Path):
        return first.samefile(second)
    return first == second


@rank.command("detectors")
@help_page(
    "Read a run",
    "xaibench rank detectors both --measure relevance-mass",
    "xaibench rank detectors both --explainer gradcam --all",
)
def rank_detectors(
    run: RunFolder,
    explainer: Annotated[
        str | None, SHARED_FLAGS["explainer"].option("only this explainer; default: all that are no controls")
    ] = None,
    measure: Annotated[
        list[str] | None,
        typer.Option(help="Test this metric, or 'METRIC SCORE', chosen beforehand, and no other; may be repeated."),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Test every measure, adjusted for their number.")] = False,
    baseline: Baseline = None,
    correct: Annotated[
        bool, typer.Option("--correct", help="Compare all, on pictures that every run calls by their label.")
    ] = False,
    detail: Detail = False,
    json: JsonFlag = False,
) -> None:
    """Order detectors or families of equal accuracy by each measure, the explainer fixed."""
    from xaibench_report.comparisons import ranking
    from xaibench_report.comparisons.balance import balances
    from xaibench_report.terminal import ranking_terminal
    from xaibench_report.values.run_tables import read_run

    tables, info = read_run(run)
    found = ranking.rank_detectors(
        tables, info, explainer=explainer, measures=measure or [], test_all=every, correct=correct
    )
    balanced = balances(tables, info, baseline) if baseline is not None else None
    if json:
        print_json(ranking_terminal.to_json(found, balanced))
        return
    ranking_terminal.print_ranking(found, make_console(), detail=detail)
    if balanced is not None:
        ranking_terminal.print_balances(balanced, make_console())
