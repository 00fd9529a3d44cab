"""The page of ``xaibench report``: the sections of all plugins in one HTML file, which needs nothing beside it."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from xaibench.api import SectionRecord, XaibenchError, describe_error, printable
from xaibench_report.charts.vega_bundle import vega_script
from xaibench_report.exports.output_file import write_whole
from xaibench_report.page.html_templates import render
from xaibench_report.page.page_assets import policy, scripts, styles
from xaibench_report.page.report_context import ReportContext, use_context
from xaibench_report.values.run_values import short

if TYPE_CHECKING:
    from xaibench import Registered, Run


@dataclass(frozen=True, slots=True, kw_only=True)
class PageSection:
    """A section that has something to show. ``html`` goes into the page as it is."""

    anchor: str
    title: str
    html: str
    built_in: bool = True


def sections_of(run: Run) -> list[Registered]:
    """The sections of the plugins that the run named and of those that are installed.

    Plugins that are broken, or that the run named and are not here any more, are said on stderr and left out.
    """
    from xaibench import load_registry

    missing = missing_plugins(run)
    if missing is not None:
        print(f"the pictures and the sections of the run's own plugins are left out: {missing.what}", file=sys.stderr)
        print(f"  {missing.mend}", file=sys.stderr)
    registry = run.registry if missing is None else load_registry()
    for failure in registry.failures:
        print(f"broken plugin: {failure}", file=sys.stderr)
    return registry.of_kind("section")


def missing_plugins(run: Run) -> XaibenchError | None:
    """Why the plugins that the run named cannot be loaded, where they cannot. Without them no picture is opened."""
    try:
        run.registry  # noqa: B018
    except XaibenchError as error:
        return error
    return None


def write_report(
    context: ReportContext, sections: Sequence[Registered], out_path: Path, *, title: str = "xaibench report"
) -> Path:
    """Write the page of a run to ``out_path`` and return that path.

    A section that raises costs only itself: the page says so in its place, and so does stderr. Raises OSError where
    the file cannot be written.
    """
    # Written out in the form of JavaScript, so that literals of its scripts keep their meaning.
    page = printable(render_page(title, page_sections(context, sections)))
    write_whole(out_path, lambda aside: aside.write_text(page, encoding="utf-8"))
    return out_path


def render_page(title: str, sections: Sequence[PageSection]) -> str:
    """The whole page as HTML. Scripts that sections of other plugins bring run beside those of the page."""
    inline, rule = page_scripts(sections)
    return render("report_frame.html", title=title, sections=sections, styles=styles(), scripts=inline, policy=rule)


def page_scripts(sections: Sequence[PageSection], *early: str) -> tuple[list[str], str]:
    """The scripts at the end of a page with these sections, and the policy under which these and theirs run.

    ``early`` run after the first, which the others build on. Vega is there where a chart is.
    """
    drawn = any("data-chart=" in section.html for section in sections)
    first, *others = scripts()
    inline = [printable(text) for text in (first, *early, *((vega_script(),) if drawn else ()), *others)]
    foreign = [printable(text) for section in sections if not section.built_in for text in _script_texts(section.html)]
    return inline, policy([*inline, *foreign])


def _script_texts(html: str) -> list[str]:
    return re.findall(r"<script\b[^>]*>(.*?)</script\s*>", html, flags=re.DOTALL | re.IGNORECASE)


def page_sections(context: ReportContext, sections: Sequence[Registered]) -> list[PageSection]:
    """Every section that has something to show, in the order of the page."""
    # stdout belongs to the command, which may print one JSON object there
    with use_context(context), redirect_stdout(sys.stderr):
        results = [_page_section(section, context.run) for section in sorted(sections, key=_place)]
    return [section for section in results if section is not None]


def _place(section: Registered) -> tuple[int, str, str]:
    record = _record(section)
    return record.position, record.name, section.name


def _page_section(section: Registered, run: Run) -> PageSection | None:
    try:
        html = _html(section, run)
    except (Exception, SystemExit) as error:
        message = f"section {section.record.name} of {section.origin.distribution} failed: {describe_error(error)}"
        print(message, file=sys.stderr)
        html = f'<p class="warn">{escape(message)}</p>'
    if html is None:
        return None
    title = _record(section).title
    return PageSection(anchor=short(section.name), title=title, html=html, built_in=section.origin.built_in)


def _html(section: Registered, run: Run) -> str | None:
    """What the section's function gives, which has to be text that a file can hold."""
    html = section.load()(run)
    if html is not None and not isinstance(html, str):
        raise TypeError(f"it gave {type(html).__name__}, neither HTML as str nor None")
    if html is not None:
        html.encode("utf-8")
    return html


def _record(section: Registered) -> SectionRecord:
    assert isinstance(section.record, SectionRecord)
    return section.record
