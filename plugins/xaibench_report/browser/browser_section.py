"""The section of the page that holds the picture browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xaibench_report.browser.browser_data import browser_page
from xaibench_report.browser.picture_choice import REASONS
from xaibench_report.page.html_templates import render
from xaibench_report.page.report_context import context_of

if TYPE_CHECKING:
    from xaibench import Run


def maps(run: Run) -> str | None:
    """The browser of pictures with their masks, verdicts and maps, or why there are no pictures."""
    context = context_of(run)
    picture, reason = context.pictures
    index, entries = browser_page(context) if picture else ({}, {})
    if index and not entries:  # the run kept no map
        return None
    return render("browser.html", index=index, entries=entries, reasons=REASONS, reason=reason)
