"""``xaibench eval``: settings, plan, run, leaderboards. What computes is imported when the command is given."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from math import isfinite
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xaibench.api import (
    SHARED_FLAGS,
    JsonFlag,
    Parameters,
    Passes,
    PlanError,
    UsageError,
    completion,
    describe_error,
    help_page,
    longest_piece,
    make_console,
    plugin_output,
    print_json,
    printable,
    setting,
    silent_delays,
    with_flags,
)
from xaibench.api.events import Display, Output
from xaibench.api.flags import configured_fields
from xaibench.discovery.paper_files import find_run_file
from xaibench.plan.announcement import count_passes, plan_lines
from xaibench.plan.settings import OUTPUT, WHERE, Rerun, Settings, make_settings

if TYPE_CHECKING:
    from xaibench.discovery.registry import Registry
    from xaibench.plan.estimate import Estimate
    from xaibench.plan.parts import Cell, Plan
    from xaibench.run.driver import PreparedRun, RunResult


_LONG = 60.0  # seconds of detector work beyond which the dearest components are printed
_DEAREST = 5


class Invocation(Parameters):
    """What one call of ``xaibench eval`` is told and no run file holds."""

    rerun: Rerun = setting("missing", "results of this plan that are made", panel=WHERE)
    replace: bool = setting(False, "supersede results that this plan contradicts", panel=WHERE)
    dry_run: bool = setting(False, "print the plan, its cost and what cannot run; do nothing", panel=WHERE)
    fail_fast: bool = setting(False, "stop at the first task with a failure", panel=WHERE)
    quiet: bool = setting(False, SHARED_FLAGS["quiet"], panel=OUTPUT)
    verbose: bool = setting(False, SHARED_FLAGS["verbose"], panel=OUTPUT)
    detail: bool = setting(False, "print everything of the results, not the answer and short boards", panel=OUTPUT)
    by: tuple[str, ...] = setting(
        (), "print the results by the values of this column of the samples, too", panel=OUTPUT
    )
    max_hours: float = setting(
        1.0,
        "hours of detector work beyond which it asks before it starts",
        ge=0,
        allow_inf_nan=False,
        panel=WHERE,
    )
    yes: bool = setting(False, "start without asking, however long it takes", short="-y", panel=WHERE)

    def display(self, as_json: bool) -> Display:
        """What is printed of the run."""
        output: Output = "none" if self.quiet else "json" if as_json else "text"
        return Display(output=output, verbose=self.verbose, detail=self.detail, by=self.by)


@help_page(
    "Evaluate",
    "xaibench eval --model detector.onnx --dataset faces --split test --limit 200",
    "xaibench eval -e gradcam -e rise:masks=400 -x deletion --dry-run",
    "xaibench eval papers/tsigos-2024  # a run file of a paper",
)
@with_flags
def evaluate(
    run_file: Annotated[
        str | None,
        typer.Argument(
            help="Run file (TOML) with the same keys as the flags; papers/NAME: one of xaibench list papers.",
            autocompletion=completion("run-file"),
        ),
    ] = None,
    *,
    flags: Settings,
    call: Invocation,
    json: JsonFlag = False,
    context: typer.Context,
) -> None:
    """Evaluate explanations. With no arguments: the demo detector on the demo faces, in a minute or two."""
    if call.quiet and call.verbose:
        raise UsageError("--quiet and --verbose contradict each other", "take one off")
    configured = configured_fields(context, Settings) & flags.model_fields_set
    given = {key: getattr(flags, key) for key in flags.model_fields_set - configured}
    defaults = {key: getattr(flags, key) for key in configured}
    path = run_file and find_run_file(run_file, flags.plugin, flags.no_plugin)
    raise typer.Exit(_evaluate(make_settings(path, given, defaults), call, json))


def _evaluate(settings: Settings, call: Invocation, as_json: bool) -> int:
    """Run a plan and show what came of it; the exit code."""
    from xaibench.detector.torch_settings import prepare_torch
    from xaibench.discovery.registry import load_registry
    from xaibench.plan.known_samples import refuse_columns
    from xaibench.run.driver import prepare
    from xaibench.run.until_settled import execute_settled, order_questions

    registry = load_registry(settings.plugin, settings.no_plugin)
    for failure in registry.failures:
        print(f"broken plugin: {failure}", file=sys.stderr)
    if call.verbose:
        _tell_plugins(registry)
    try:
        with plugin_output(), silent_delays(call.quiet):
            prepared = prepare(settings, registry, will_run=not call.dry_run)
        refuse_columns(prepared.plan.datasets, call.by)
        order_questions(prepared.plan)
        prepare_torch(prepared.plan.runtime.threads, prepared.plan.runtime.device)
        if call.dry_run:
            show_plan(prepared, as_json, call.verbose)
            return 0
        if not call.quiet:
            _announce(prepared)
        if not _may_start(prepared, call):
            print("xaibench: nothing was run", file=sys.stderr)
            return PlanError.exit_code
    except KeyboardInterrupt:
        print("xaibench: interrupted before anything ran", file=sys.stderr)
        return 130
    try:
        with plugin_output():
            settled = execute_settled(
                prepared, registry, lambda changed: prepare(changed, registry), rerun=call.rerun,
                replace=call.replace, fail_fast=call.fail_fast, display=call.display(as_json),
            )  # fmt: skip
    except KeyboardInterrupt:
        print("xaibench: interrupted; what finished is kept, the same command goes on from there", file=sys.stderr)
        return 130
    result = settled.result
    if as_json:
        orders = {"until_settled": [o.to_json() for o in settled.orders]} if settled.orders else {}
        print_json(_result_json(result) | orders)
    elif not call.quiet:
        for order in settled.orders:
            print(order.line)
        _show_result(result)
    elif not result.exit_code:
        print(f"{_result_line(result)}: {result.out}")
    if result.still_failed and (call.quiet or as_json):
        print(_failed_before(result), file=sys.stderr)
    return result.exit_code


def _announce(prepared: PreparedRun) -> None:
    """What is about to run, in a few lines on stderr."""
    for line in plan_lines(prepared.plan):
        print(line, file=sys.stderr)


def _tell_plugins(registry: Registry) -> None:
    """Every plugin on stderr, with the time that its registration took."""
    for origin, seconds in registry.seconds.items():
        count = sum(c.origin == origin for c in registry.components)
        plugin = f"{origin.distribution} {origin.version} ({origin.entry_point})"
        print(printable(f"plugin {plugin}: {count} components, {1000 * seconds:.0f} ms"), file=sys.stderr)


# ---- before hours are spent ------------------------------------------------------------------------------------------


def _may_start(prepared: PreparedRun, call: Invocation) -> bool:
    """Whether the run may start. Where more than ``max_hours`` are left, a terminal is asked.

    Raises :class:`PlanError` beyond ``max_hours`` where nobody can answer.
    """
    from xaibench.plan.estimate import estimate
    from xaibench.run.driver import left_of

    left = left_of(prepared, call.rerun)
    try:
        with plugin_output():
            cost = estimate(
                prepared.plan,
                left.shares(),
                predictions=left.predictions(),
                looks=sum((c.passes for c in left.due_looks()), Passes()),
            )
    except Exception as error:  # what a detector raises fails its cells, which the run records
        print(f"no estimate of the time: the detector raised {describe_error(error)}", file=sys.stderr)
        return True
    seconds = cost.total.seconds
    beyond = seconds > 3600 * call.max_hours and not call.yes
    if beyond or (seconds >= _LONG and not call.quiet):
        _print_dearest(cost)
    if not beyond:
        return True
    limit = f"more than --max-hours {call.max_hours:g}"
    if all(stream and stream.isatty() for stream in (sys.stdin, sys.stderr)):
        print(f"this is {limit}; start? [y/N] ", end="", file=sys.stderr, flush=True)
        return sys.stdin.readline().strip().lower() in ("y", "yes")
    raise PlanError(
        f"what is left of the plan takes {_duration(seconds)} of detector work by estimate, {limit}",
        "--yes starts it; --limit and cheaper components shorten it",
    )


def _print_dearest(cost: Estimate) -> None:
    """The total and the dearest metrics and explainers on stderr."""
    print(f"{_duration(cost.total.seconds)} of detector work by estimate", file=sys.stderr)
    for kind, costs in (("metrics", cost.metrics()), ("explainers", cost.explainers())):
        print(f"dearest {kind}:", file=sys.stderr)
        for name, part in list(costs.items())[:_DEAREST]:
            print(f"  {_short(name)}  {count_passes(part.passes)}  {_duration(part.seconds)}", file=sys.stderr)


def _duration(seconds: float) -> str:
    """A duration in words, such as ``2 h 05 min``, ``1 min 12 s`` or ``3.1 s``."""
    if round(seconds, 1) < 10:
        return f"{seconds:.1f} s"
    if round(seconds) < 60:
        return f"{seconds:.0f} s"
    if round(seconds) < 3600:
        return f"{round(seconds) // 60} min {round(seconds) % 60:02} s"
    return f"{round(seconds / 60) // 60:,} h {round(seconds / 60) % 60:02} min"


# ---- the plan -------------------------------------------------------------------------------------------------------


def show_plan(prepared: PreparedRun, as_json: bool, verbose: bool = False) -> None:
    """Print the cells, their passes and a time estimate, why others cannot run, and what the pictures can show.

    Without ``verbose`` cells of no passes are a count.
    """
    from xaibench.plan.estimate import estimate
    from xaibench.plan.sample_size import sample_sizes
    from xaibench.run.until_settled import checkpoint_sizes

    plan, sizes = prepared.plan, list(sample_sizes(prepared.plan))
    with plugin_output():
        cost = estimate(plan)
    if as_json:
        print_json({
            "schema": "xaibench.plan/1", "out": str(prepared.folder.path), "notes": list(plan.notes),
            "passes": {"forward": plan.passes.forward, "backward": plan.passes.backward, "exact": plan.passes.exact,
                       "predictions": plan.predictions.forward, "detectors": plan.detector_passes.forward},
            "seconds": cost.total.seconds, "cells": list(_cells_json(plan, cost)),
            "detectors": [{"model": c.model, "member": c.member, "dataset": c.dataset, "check": c.check,
                           "forward": c.passes.forward, "runs": not c.reason, "reason": c.reason}
                          for c in plan.detector_cells],
            "artefacts": [{**asdict(c), "seconds": cost.cells[c].seconds} for c in plan.artefact_cells],
            "sample_sizes": [{**asdict(s), "difference": s.difference if isfinite(s.difference) else None,
                              "needed": {f"{e:g}": n for e, n in s.needed.items()}} for s in sizes],
        })  # fmt: skip
        return
    _announce(prepared)
    _print_cells(plan, cost, verbose)
    print(f"clean predictions: {plan.predictions.forward:,} passes, {_duration(cost.predictions.seconds)}")
    for look in plan.detector_cells:
        if look.reason:
            print(f"{look.check} of {look.model}: not tried: {look.reason}")
        elif look.passes.forward:
            print(f"{look.check} of {look.model}: <= {look.passes.forward:,} passes")
    for made in plan.artefact_cells:
        sign, duration = "" if made.passes.exact else "<= ", _duration(cost.cells[made].seconds)
        passes = f"{sign}{made.passes.forward:,} passes, {duration}"
        print(f"{made.artefact}, once for all that ask: {passes} on {made.dataset}")
    for line in (line for size in sizes for line in size.lines()):
        print(line)
    if plan.settings.until_settled:
        print(f"until settled: tested after {', '.join(f'{n:,}' for n in checkpoint_sizes(plan))} pictures")
    print(f"together: {count_passes(plan.passes)}")
    print(f"about {_duration(cost.total.seconds)} of detector work, from timed batches")


def _cells_json(plan: Plan, cost: Estimate) -> Iterator[dict[str, Any]]:
    for c in plan.cells:
        yield {"model": c.model, "member": c.member, "dataset": c.dataset, "explainer": c.explainer,
               "metric": c.metric, "runs": not c.reason, "reason": c.reason, "forward": c.passes.forward,
               "backward": c.passes.backward, "exact": c.passes.exact,
               "seconds": 0.0 if c.reason else cost.cells[c].seconds}  # fmt: skip


def _print_cells(plan: Plan, cost: Estimate, verbose: bool) -> None:
    from rich.table import Table

    from xaibench.api.rich_console import BrokenName

    due = [c for c in plan.cells if not c.reason]
    costly = [c for c in due if verbose or c.passes.forward or c.passes.backward]
    names = [(_member(c, plan), *map(_short, (c.dataset, c.explainer, c.metric or "(maps)"))) for c in costly]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for i, column in enumerate(("model", "dataset", "explainer", "metric")):
        table.add_column(column, min_width=max((longest_piece(row[i]) for row in names), default=0))
    table.add_column("passes", justify="right", no_wrap=True)
    table.add_column("time", justify="right", no_wrap=True)
    for c, row in zip(costly, names, strict=True):
        sign = "" if c.passes.exact else "<= "
        passes = f"{sign}{c.passes.forward:,}" + (f" + {c.passes.backward:,} back" if c.passes.backward else "")
        table.add_row(*map(BrokenName, row), passes, _duration(cost.cells[c].seconds))
    if costly:
        make_console().print(table)
    if free := len(due) - len(costly):
        cells = f"{free} {'more ' if costly else ''}cell{'s' * (free > 1)}"
        print(f"{'and ' if costly else ''}{cells} of no passes; --verbose lists them")
    reasons = Counter((c.explainer, c.reason) for c in plan.cells if c.reason and c.metric is not None)
    for (explainer, reason), count in reasons.items():
        print(f"not applicable: {_short(explainer)}, {count} cells: {reason}")


def _member(cell: Cell, plan: Plan) -> str:
    return _short(f"{cell.model} {cell.member}" if len(plan.models[0].members) > 1 else cell.model)


def _short(name: str) -> str:
    return name.replace("xaibench/", "")


# ---- the result -----------------------------------------------------------------------------------------------------


def _result_json(result: RunResult) -> dict[str, Any]:
    return {"schema": "xaibench.eval/1", "run": result.run, "out": str(result.out), "done": result.done,
            "reused": result.reused, "failed": result.failed, "failed_before": result.still_failed,
            "forward": result.passes.forward, "backward": result.passes.backward, "seconds": result.seconds,
            "exit": result.exit_code}  # fmt: skip


def _show_result(result: RunResult) -> None:
    print(_result_line(result))
    for line in result.failures[:5]:
        print(f"failed: {line}")
    if result.still_failed:
        print(_failed_before(result))
    print(f"tables: {result.out}/*/*.parquet; a page: xaibench report {result.out}")


def _result_line(result: RunResult) -> str:
    before = f", {result.still_failed} failed before" if result.still_failed else ""
    return (
        f"{result.done:,} results done, {result.reused:,} reused, {result.failed:,} failed{before}; "
        f"{result.passes.forward:,} forward and {result.passes.backward:,} backward passes in {result.seconds:.0f} s"
    )


def _failed_before(result: RunResult) -> str:
    """What to do about results that an earlier run left failed: this one took them as they are, and fails by them."""
    results = "1 result" if result.still_failed == 1 else f"{result.still_failed:,} results"
    return f"failed before: {results}; xaibench status {result.out} says why, --rerun failed tries again"
