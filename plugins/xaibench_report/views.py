"""Views of an opened run: ``run.NAME(...)``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from xaibench_report.boards.by_column import ByColumn
from xaibench_report.boards.leaderboard import Leaderboards
from xaibench_report.displays.family_board import FamilyBoard, family_board
from xaibench_report.displays.picture_sheet import PictureSheet, picture_sheet
from xaibench_report.page.report_context import context_of
from xaibench_report.tables.run_table import RunTable, build_table
from xaibench_report.tables.table_request import make_request

if TYPE_CHECKING:
    from xaibench import Run


def leaderboards(run: Run) -> Leaderboards:
    """One board a family of metrics, with intervals, ranks and verdicts: what ``xaibench report`` prints."""
    return context_of(run).leaderboards


def by_column(run: Run, column: str) -> ByColumn:
    """Every board by the values of one column of the table ``samples``: what ``xaibench report --by COLUMN`` prints."""
    return context_of(run).by_column(column)


def table(
    run: Run,
    rows: str | Sequence[str] = "explainer",
    columns: str | Sequence[str] = "score",
    score: str | Sequence[str] = (),
    by: str | Sequence[str] = (),
    *,
    intervals: bool = False,
    n: bool = False,
    controls: bool = False,
    untouched: bool = False,
    bold: str | None = None,
    verdicts: bool = False,
    digits: int | None = None,
    over_runs: bool = False,
) -> RunTable:
    """Scores as a table of any shape: what ``xaibench table`` prints.

    Parameters
    ----------
    rows, columns, by: keys, as a list or joined by commas: ``explainer``, ``score``, ``metric``, ``family``, ``item``
        or a part of it such as ``k``, ``model``, ``member``, ``dataset``, ``repeat``, or a column of the table
        ``samples`` such as ``method``. ``by`` gives a table for each value.
    score: ``SCORE``, ``METRIC``, ``METRIC SCORE`` or a family such as ``localisation``, with words of an item;
        ``seconds`` for the time of a map; empty: every primary score.
    intervals, n, controls, untouched: what stands beside the means.
    bold: ``best`` marks what is not told apart from the best explainer.
    verdicts: whether a cell says how its explainer stands to the controls, as the boards do.
    digits: decimals, None for three (CSV: all).
    over_runs: the means over the training runs of a family in place of a number for each run.

    Raises :class:`~xaibench.api.UsageError` for a key or score that the run does not have, and
    :class:`~xaibench.api.NothingToEvaluate` where no number is left.
    """
    request = make_request(
        rows, columns, score, by, intervals=intervals, n=n, controls=controls, untouched=untouched, bold=bold,
        verdicts=verdicts, digits=digits, over_runs=over_runs,
    )  # fmt: skip
    context = context_of(run)
    return build_table(context.tables, context.info, request)


def leaderboard(run: Run, family: str) -> FamilyBoard:
    """The board of one family of metrics, such as ``faithfulness``: it prints as text, shows as a table in a notebook,
    and gives rows for a data frame. Raises :class:`~xaibench.api.UsageError` for a family that the run has not."""
    return family_board(family, context_of(run).leaderboards)


def show(run: Run, sample: str, *, model: str | None = None, member: str | None = None) -> PictureSheet:
    """A picture beside its mask and the maps of every explainer, with the verdict and P(fake).

    ``model`` and ``member`` name the detector where the run has several. ``.save("sheet.pdf")`` writes it to a file.
    Raises :class:`~xaibench.api.UsageError` for an unknown sample, and where the pictures cannot be read.
    """
    return picture_sheet(run, context_of(run).info, str(sample), model, member)
