"""The page of ``xaibench report`` as a server gives it: the data of its pictures are fetched on demand."""

from __future__ import annotations

from importlib.resources import files
from typing import Final

from xaibench.api import printable
from xaibench_report.browser.picture_choice import REASONS
from xaibench_report.page.html_templates import render
from xaibench_report.page.page_assets import json_script, styles
from xaibench_report.page.report_page import PageSection, page_scripts
from xaibench_report.view.live_run import RunState

_FETCHES: Final = "; connect-src 'self'"
_PICTURES: Final = ("maps", "Pictures and maps")
_WAITING: Final = (
    "The answer and the boards are being computed from {count} pictures. They appear here by themselves; the pictures "
    "below can be looked at meanwhile."
)


def served_page(state: RunState, title: str) -> tuple[str, str]:
    """The page of a state as HTML, and the policy that is to be sent with it.

    Before the sections are computed it says so, and holds the pictures alone.
    """
    version = json_script("view-state", {"version": state.version, "ready": state.sections is not None})
    pictures = PageSection(anchor=_PICTURES[0], title=_PICTURES[1], html=_pictures(state) + version)
    if state.sections is None:
        waiting = f'<p class="note">{_WAITING.format(count=f"{len(state.catalogue):,}")}</p>'
        sections = [PageSection(anchor="waiting", title="Answer", html=waiting), pictures]
    else:
        after = next((i for i, s in enumerate(state.sections) if s.anchor == "left-out"), len(state.sections))
        sections = [*state.sections[:after], pictures, *state.sections[after:]]
    served = (files("xaibench_report.view") / "view.js").read_text(encoding="utf-8").strip()
    ordered, rule = page_scripts(sections, served)
    rule += _FETCHES
    html = render("report_frame.html", title=title, sections=sections, styles=styles(), scripts=ordered, policy=rule)
    return printable(html), rule


def _pictures(state: RunState) -> str:
    """The browser of all pictures of the run, without their entries.

    Whether pictures can be opened is looked up with the sections: it takes seconds, and the first screen does not wait.
    """
    reason = "" if state.sections is None else state.context.pictures[1]
    if reason:
        return render("browser.html", index={}, entries={}, reason=reason)
    index = {**state.browser.frame, "filters": state.catalogue.filters, "served": True, "pictures": []}
    count = len(state.catalogue)
    index["rule"] = f"All {count:,} pictures of the run in the order of its plan; each is read when it is looked at."
    return render(
        "browser.html", index=index, entries={}, reasons=REASONS if state.catalogue.reasons else (), reason=""
    )
