"""The section of the page that holds the picture browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xaibench_report.browser.browser_data import PictureBrowser
from xaibench_report.browser.picture_choice import REASONS
from xaibench_report.page.html_templates import render
from xaibench_report.page.report_context import context_of

if TYPE_CHECKING:
    from xaibench import Run


def maps(run: Run) -> str | None:
    """The browser of pictures with their masks, verdicts and maps, or why there are no pictures."""
    context = context_of(run)
    picture, reason = context.pictures
    if not picture:
        return render("browser.html", index={}, entries={}, reason=reason)
    browser = PictureBrowser(context)
    if not browser.reasons:  # the run kept no map
        return None
    return render("browser.html", index=browser.index, entries=browser.entries(), reasons=REASONS, reason="")
