"""The hooks that a plugin may implement. The docstrings are the reference.

A hook returns records and no objects. The class that a record names is imported on first use, so ``xaibench list``
stays fast with many plugins. The hooks of each plugin are called separately: one that raises disables its plugin alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pluggy

from xaibench.api.records import (
    PROJECT,
    DatasetRecord,
    ExecutorRecord,
    ExplainerRecord,
    FillRecord,
    ListenerRecord,
    MetricRecord,
    ModelRecord,
    PaperRecord,
    RecipeRecord,
    SectionRecord,
    ViewRecord,
)

if TYPE_CHECKING:
    import typer

hookspec = pluggy.HookspecMarker(PROJECT)


@hookspec
def xaibench_models() -> Iterable[ModelRecord]:  # type: ignore[empty-body]
    """Name the sources of detectors that this plugin brings. Called at discovery. Added in API 1."""


@hookspec
def xaibench_explainers() -> Iterable[ExplainerRecord]:  # type: ignore[empty-body]
    """Name the explainers that this plugin brings. Called at discovery. Added in API 1."""


@hookspec
def xaibench_datasets() -> Iterable[DatasetRecord]:  # type: ignore[empty-body]
    """Name the datasets that this plugin brings. Called at discovery. Added in API 1."""


@hookspec
def xaibench_metrics() -> Iterable[MetricRecord]:  # type: ignore[empty-body]
    """Name the metrics that this plugin brings. Called at discovery. Added in API 1."""


@hookspec
def xaibench_fills() -> Iterable[FillRecord]:  # type: ignore[empty-body]
    """Name the fills that this plugin brings: replacements of pixels that explainers and metrics switch off. Called at
    discovery. Added in API 1."""


@hookspec
def xaibench_executors() -> Iterable[ExecutorRecord]:  # type: ignore[empty-body]
    """Name the executors that this plugin brings. Called at discovery. Added in API 1."""


@hookspec
def xaibench_recipes() -> Iterable[RecipeRecord]:  # type: ignore[empty-body]
    """Name the training recipes that this plugin brings. Called at discovery. Added in API 1."""


@hookspec
def xaibench_papers() -> Iterable[PaperRecord]:  # type: ignore[empty-body]
    """Name the run files that this plugin brings, each of which does again what a publication did. Called at discovery.
    Added in API 1."""


@hookspec
def xaibench_run_events() -> Iterable[ListenerRecord]:  # type: ignore[empty-body]
    """Name the listeners that this plugin brings: a progress display, a dashboard, a tracker of experiments. A listener
    is built for each run and receives its events: the run or a stage of it begins, passes are done, what a task gave of
    a cell is committed, the run ends. Called at discovery. Added in API 1."""


@hookspec
def xaibench_run_views() -> Iterable[ViewRecord]:  # type: ignore[empty-body]
    """Name the views that this plugin brings: ``run.NAME(...)`` of an opened run, and files that ``explain`` writes for
    a map. Called at discovery. Added in API 1."""


@hookspec
def xaibench_report_sections() -> Iterable[SectionRecord]:  # type: ignore[empty-body]
    """Name the sections that this plugin adds to the page of ``xaibench report``. Called at discovery. Added in
    API 1."""


@hookspec
def xaibench_add_commands(app: typer.Typer) -> None:
    """Add commands to the command line. Called when the command line starts, with ``app``, the program's
    ``typer.Typer``. A command imports what it needs inside its function. :func:`~xaibench.api.with_flags` makes the
    flags of a command from its settings. Added in API 1."""
