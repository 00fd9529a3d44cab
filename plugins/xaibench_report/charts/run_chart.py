"""One chart of a run, with its words."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from textwrap import wrap
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from xaibench.api import printable
from xaibench_report.charts.chart_theme import config
from xaibench_report.values.run_values import Where

if TYPE_CHECKING:
    import altair

Rows: TypeAlias = list[dict[str, Any]]
Drawing: TypeAlias = "altair.LayerChart | altair.FacetChart"
WIDTH: Final = 420  # pixels of a chart in a file and in a notebook; on the page it is as wide as its box
_DIGITS: Final = 5
_MOST_NAMED: Final = 12
_LINE: Final = 72  # characters of a line below the title


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RunChart:
    """One view on one detector and data set.

    ``kind``: the name of its function in ``run.plot``. ``parts``: what tells it from others of its kind, for its name.
    ``note`` stands below the title. ``alt`` says in words what is seen. ``draw`` gives the layers, without title and
    configuration, so that nothing loads altair before a chart is shown.
    """

    kind: str
    where: Where
    parts: tuple[str, ...]
    title: str
    note: str
    alt: str
    height: int
    draw: Callable[[], Drawing]

    @property
    def name(self) -> str:
        """``intervals-faithfulness-deletion-demo``: letters, digits and hyphens."""
        words = (self.kind, *self.parts, *self.where[1:], self.where.dataset)
        return re.sub(r"[^A-Za-z0-9]+", "-", "-".join(w for w in words if w)).strip("-").lower()

    def altair(self, font: str = "sans-serif") -> Any:
        """The chart as an altair object, with title and description."""
        import altair as alt

        title = alt.TitleParams(text=printable(self.title), subtitle=wrap(printable(self.note), _LINE))
        drawn = self.draw().properties(width=WIDTH, height=self.height, title=title, description=printable(self.alt))
        return drawn.configure(**config(font))


def unique_names(charts: Iterable[RunChart]) -> dict[str, RunChart]:
    """The charts by their names; where two are alike the later ones are numbered."""
    named: dict[str, RunChart] = {}
    for chart in charts:
        name, n = chart.name[:100], 1
        while name in named:
            n += 1
            name = f"{chart.name[:100]}-{n}"
        named[name] = chart
    return named


def data(rows: Rows) -> Any:
    """Rows as the data of a chart: numbers of five digits, control characters written out."""
    import altair as alt

    make_data: Any = alt.Data
    return make_data(values=[{key: _plain(value) for key, value in row.items()} for row in rows])


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}")
    return printable(value) if isinstance(value, str) else value


def with_interval(rows: Rows) -> Rows:
    """The rows whose interval is known. A scale over none has no extent, so a layer of it is left out."""
    return [row for row in rows if row["low"] is not None]


def listed(items: Iterable[str]) -> str:
    """``a, b and 3 more``: at most twelve of them by name."""
    names = list(items)
    rest = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def direction(better: str) -> str:
    """``lower is better``, or nothing."""
    return f"{better} is better" if better in ("higher", "lower") else ""
