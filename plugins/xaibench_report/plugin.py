"""Registers what people see of a run: leaderboards, the page, comparisons. Light: the rest is imported when used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xaibench.api import ListenerRecord, SectionRecord, ViewRecord, hookimpl

if TYPE_CHECKING:
    import typer

XAIBENCH_API = "1"


@hookimpl
def xaibench_run_events() -> list[ListenerRecord]:
    """The leaderboards that ``eval`` prints when a run ends."""
    return [
        ListenerRecord(
            name="leaderboards",
            target="xaibench_report.listener:Leaderboards",
            summary="The leaderboards on stdout when a run ends.",
        )
    ]


@hookimpl
def xaibench_run_views() -> list[ViewRecord]:
    """The answer, boards, tables, a picture with its maps, and the overlay that ``explain`` writes."""
    return [
        ViewRecord(
            name="summary",
            target="xaibench_report.run_summary:summary",
            summary="The answer of a run: is the detector fit to be explained, and what is shown of each explainer.",
        ),
        ViewRecord(
            name="leaderboards",
            target="xaibench_report.views:leaderboards",
            summary="The leaderboards of a run, as data.",
        ),
        ViewRecord(
            name="leaderboard",
            target="xaibench_report.views:leaderboard",
            summary="The leaderboard of one family of metrics, as text, as a table or as data.",
        ),
        ViewRecord(
            name="show",
            target="xaibench_report.views:show",
            summary="One picture beside its mask and the maps of every explainer.",
        ),
        ViewRecord(
            name="by-column",
            target="xaibench_report.views:by_column",
            summary="Every board by the values of one column of the samples, with the gap between them, as data.",
        ),
        ViewRecord(
            name="table",
            target="xaibench_report.views:table",
            summary="Scores as a table of any shape: text, Markdown, LaTeX, CSV, HTML, a data frame.",
        ),
        ViewRecord(
            name="plot",
            target="xaibench_report.run_plots:RunPlots",
            summary="The charts of the page as altair objects: run.plot.intervals(), run.plot.curves() and others.",
        ),
        ViewRecord(
            name="overlay",
            target="xaibench_report.displays.map_colours:overlay",
            summary="A map laid over its picture, as PNG.",
            of="explanation",
            suffix="png",
        ),
        ViewRecord(
            name="contact-sheet",
            target="xaibench_report.displays.contact_sheet:contact_sheet",
            summary="Explained pictures beside their maps, with verdict and legend, as HTML or PNG.",
            of="explanations",
        ),
        ViewRecord(
            name="region-threshold",
            target="xaibench_report.displays.region_threshold:region_threshold",
            summary="The threshold of an explainer's maps whose regions miss at most a share of what was manipulated.",
        ),
    ]


@hookimpl
def xaibench_report_sections() -> list[SectionRecord]:
    """The sections of every page. Those of other plugins stand between the maps and what was left out, unless their
    ``position`` says otherwise."""
    return [
        _section("answer", "Answer", 3, "Is the detector fit to be explained, and what is shown of each explainer."),
        _section("marks", "Marks", 5, "What a reader of any result of a detector must know first."),
        _section("detectors", "Detectors", 10, "What every detector says of the untouched pictures."),
        _section("boards", "Leaderboards", 20, "One leaderboard a metric family, with verdicts and notes."),
        _section("by-column", "By column", 22, "Every board by the values of the columns that --by names."),
        _section(
            "balance", "Accuracy and interpretability", 25, "Every detector beside the one that --baseline names."
        ),
        _section("agreement", "Agreement", 28, "How alike measures, and explainers, order the samples."),
        _section("curves", "Curves", 30, "Mean curves of the metrics that draw some."),
        _section(
            "maps",
            "Pictures and maps",
            40,
            "A browser of pictures with masks, verdicts and every map.",
            module="browser.browser_section",
        ),
        _section("left-out", "Left out", 80, "How many values are missing of what, and why."),
        _section("provenance", "Provenance", 90, "Commands, versions, plans, components and costs of the runs."),
    ]


def _section(name: str, title: str, position: int, summary: str, module: str = "page.report_sections") -> SectionRecord:
    target = f"xaibench_report.{module}:{name.replace('-', '_')}"
    return SectionRecord(name=name, title=title, target=target, summary=summary, position=position)


@hookimpl
def xaibench_add_commands(app: typer.Typer) -> None:
    """``report``, ``view``, ``table``, ``compare``, ``rank detectors`` and ``export``."""
    from xaibench_report.commands import compare, rank, report
    from xaibench_report.export_command import export
    from xaibench_report.tables.command import table
    from xaibench_report.view.command import view

    app.command()(report)
    app.command()(view)
    app.command()(table)
    app.command()(compare)
    app.add_typer(rank, name="rank")
    app.command()(export)
