"""What the sections of one page share of a run, read and computed once a page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Final

from xaibench_report.answer.run_answer import Answer, build_answer, stopping_sentence
from xaibench_report.boards.by_column import ByColumn, build_by_column, offered_columns
from xaibench_report.boards.leaderboard import Leaderboards, build_leaderboards, prepared_cells
from xaibench_report.comparisons.balance import Balances, balances
from xaibench_report.values.run_tables import pictures, read_run
from xaibench_report.values.run_values import Cells, Pixels, RunTables, ScoreInfo

if TYPE_CHECKING:
    from xaibench import Run

_PARTS: Final = ("label", "method")


@dataclass(eq=False, kw_only=True)
class ReportContext:
    """One run, its tables and what is computed from them. ``balances``: None where no baseline was named;
    ``by_columns``: the boards by each column that was named. ``most_pictures``: how many the picture browser holds;
    None: as many as leave the page small."""

    run: Run
    tables: RunTables
    info: ScoreInfo
    balances: Balances | None = None
    by_columns: tuple[ByColumn, ...] = ()
    most_pictures: int | None = None

    @classmethod
    def read(cls, run: Run, baseline: str | None = None, by: Sequence[str] = ()) -> ReportContext:
        """The context of a run. Raises :class:`~xaibench.api.UsageError` where nothing can be balanced against
        ``baseline``, and for a column of ``by`` by which its pictures do not differ."""
        tables, info = read_run(run)
        beside = balances(tables, info, baseline) if baseline is not None else None
        context = cls(run=run, tables=tables, info=info, balances=beside)
        context.by_columns = tuple(context.by_column(column) for column in dict.fromkeys(by))
        return context

    @cached_property
    def leaderboards(self) -> Leaderboards:
        """Detectors and boards, with intervals, ranks and verdicts."""
        return build_leaderboards(self.tables, self.info, self.cells)

    @cached_property
    def cells(self) -> Cells:
        """Every cell of the run, as boards and charts use them."""
        return prepared_cells(self.tables, self.info)

    def by_column(self, column: str) -> ByColumn:
        """The boards by one column of the samples. Raises :class:`~xaibench.api.UsageError` for a column by which the
        pictures do not differ."""
        return build_by_column(self.tables, self.info, column, self.cells)

    @cached_property
    def answer(self) -> Answer:
        """What a reader must know first."""
        stopping = stopping_sentence(self.run.settings.get("until-settled", ()))
        return replace(build_answer(self.leaderboards, self.info), stopping=stopping)

    @cached_property
    def parts(self) -> tuple[ByColumn, ...]:
        """The boards by label, by manipulation method where pictures differ in them, and by the columns that were
        named."""
        offered = [c for c in _PARTS if c in offered_columns(self.tables.samples)]
        named = {found.column: found for found in self.by_columns}
        for column in offered:
            if column not in named:
                named[column] = self.by_column(column)
        return tuple(named.values())

    @cached_property
    def pictures(self) -> tuple[Callable[[str], Pixels] | None, str]:
        """A function from sample id to the picture as the detector saw it, or None and the reason."""
        return pictures(self.run)


_page: ContextVar[ReportContext | None] = ContextVar("xaibench_report_page", default=None)


@contextmanager
def use_context(context: ReportContext) -> Iterator[None]:
    """Inside, :func:`context_of` gives ``context`` for its run."""
    token = _page.set(context)
    try:
        yield
    finally:
        _page.reset(token)


def context_of(run: Run) -> ReportContext:
    """The context of the page that is being written of this very ``run``, else a new one.

    Sections are handed the run alone, so that anybody can call one with what :func:`xaibench.open_run` opens; through
    this function those of one page build leaderboards and open the data set once.
    """
    page = _page.get()
    return page if page is not None and page.run is run else ReportContext.read(run)
