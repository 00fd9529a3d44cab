"""``xaibench eval``: settings, plan, run, leaderboards. What computes is imported when the command is given."""

from __future__ import annotations

import json as jsonlib
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xaibench.api import JsonFlag, Parameters, setting, with_flags
from xaibench.plan.settings import Rerun, Settings, make_settings

if TYPE_CHECKING:
    from xaibench.plan.parts import Plan
    from xaibench.run.driver import PreparedRun, RunResult


class Invocation(Parameters):
    """What one call of ``xaibench eval`` is told and no run file holds."""

    rerun: Rerun = setting("missing", "units of this plan that run")
    replace: bool = setting(False, "move results of another plan to superseded/ first")
    dry_run: bool = setting(False, "print the plan, its cost and what cannot run; do nothing")
    fail_fast: bool = setting(False, "stop at the first failed unit")
    quiet: bool = setting(False, "no progress and no leaderboard", short="-q")


@with_flags
def evaluate(
    run_file: Annotated[Path | None, typer.Argument(help="Run file (TOML) with the same keys as the flags.")] = None,
    *,
    flags: Settings,
    call: Invocation,
    json: JsonFlag = False,
) -> None:
    """Evaluate explanations. With no arguments: the demo detector on the demo faces, in a minute or two."""
    given = {key: getattr(flags, key) for key in flags.model_fields_set}
    raise typer.Exit(_evaluate(make_settings(run_file, given), call, json))


def _evaluate(settings: Settings, call: Invocation, as_json: bool) -> int:
    """Run a plan and show what came of it; the exit code."""
    from xaibench.detector.torch_settings import prepare_torch
    from xaibench.discovery.registry import load_registry
    from xaibench.run.driver import execute, prepare

    registry = load_registry(settings.plugin, settings.no_plugin)
    for failure in registry.failures:
        print(f"broken plugin: {failure}", file=sys.stderr)
    try:
        prepared = prepare(settings, registry)
    except KeyboardInterrupt:
        print("xaibench: interrupted before anything ran", file=sys.stderr)
        return 130
    prepare_torch(prepared.plan.runtime.threads)
    if call.dry_run:
        show_plan(prepared, as_json)
        return 0
    if not call.quiet:
        _announce(prepared)
    try:
        result = execute(
            prepared, registry, rerun=call.rerun, replace=call.replace, fail_fast=call.fail_fast,
            output="none" if call.quiet else "json" if as_json else "text",
        )  # fmt: skip
    except KeyboardInterrupt:
        print("xaibench: interrupted; finished units are kept, the same command goes on from there", file=sys.stderr)
        return 130
    if as_json:
        print(jsonlib.dumps(_result_json(result)))
    elif not call.quiet:
        _show_result(result)
    if result.still_failed and (call.quiet or as_json):
        print(_failed_before(result), file=sys.stderr)
    return result.exit_code


def _announce(prepared: PreparedRun) -> None:
    """What is about to run, in a few lines on stderr."""
    plan = prepared.plan
    for note in plan.notes:
        print(note, file=sys.stderr)
    sizes = ", ".join(f"{d.name} ({len(d.survey.samples)} samples)" for d in plan.datasets)
    print(f"{', '.join(m.name for m in plan.models)} on {sizes}", file=sys.stderr)
    cells = [c for c in plan.cells if c.metric is not None]
    out = sum(bool(c.reason) for c in cells)
    print(
        f"plan: {len(cells) - out} cells, {out} not applicable, {_passes(plan)}; results in {prepared.folder.path}",
        file=sys.stderr,
    )


def _passes(plan: Plan) -> str:
    passes = plan.passes
    word = "" if passes.exact else "at most "
    back = f" and {passes.backward:,} backward" if passes.backward else ""
    return f"{word}{passes.forward:,} forward{back} passes"


# ---- the plan -------------------------------------------------------------------------------------------------------


def show_plan(prepared: PreparedRun, as_json: bool) -> None:
    """Print the cells, the reasons of those that cannot run, the passes and a time estimate."""
    from xaibench.plan.estimate import seconds

    plan = prepared.plan
    estimate = seconds(plan)
    if as_json:
        print(jsonlib.dumps({
            "schema": "xaibench.plan/1", "out": str(prepared.folder.path), "notes": list(plan.notes),
            "passes": {"forward": plan.passes.forward, "backward": plan.passes.backward, "exact": plan.passes.exact,
                       "predictions": plan.predictions.forward},
            "seconds": estimate, "cells": list(_cells_json(plan)),
            "artefacts": [asdict(c) for c in plan.artefact_cells],
        }))  # fmt: skip
        return
    _announce(prepared)
    _print_cells(plan)
    print(f"clean predictions: {plan.predictions.forward:,} passes")
    for made in plan.artefact_cells:
        sign = "" if made.passes.exact else "<= "
        print(f"{made.artefact}, once for all that ask: {sign}{made.passes.forward:,} passes on {made.dataset}")
    print(f"together: {_passes(plan)}")
    print(f"about {estimate:,.0f} s of detector work, from one timed batch")


def _cells_json(plan: Plan) -> Iterator[dict[str, Any]]:
    for c in plan.cells:
        yield {"model": c.model, "member": c.member, "dataset": c.dataset, "explainer": c.explainer,
               "metric": c.metric, "runs": not c.reason, "reason": c.reason, "forward": c.passes.forward,
               "backward": c.passes.backward, "exact": c.passes.exact}  # fmt: skip


def _print_cells(plan: Plan) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("model", "dataset", "explainer", "metric"):
        table.add_column(column, overflow="fold")
    table.add_column("passes", justify="right", no_wrap=True)
    for c in plan.cells:
        if c.reason:
            continue
        sign = "" if c.passes.exact else "<= "
        cost = f"{sign}{c.passes.forward:,}" + (f" + {c.passes.backward:,} back" if c.passes.backward else "")
        model = f"{c.model} {c.member}" if len(plan.models[0].members) > 1 else c.model
        table.add_row(*map(_short, (model, c.dataset, c.explainer, c.metric or "(maps)")), cost)
    Console().print(table)
    reasons = Counter((c.explainer, c.reason) for c in plan.cells if c.reason and c.metric is not None)
    for (explainer, reason), count in reasons.items():
        print(f"not applicable: {_short(explainer)}, {count} cells: {reason}")


def _short(name: str) -> str:
    return name.replace("xaibench/", "")


# ---- the result -----------------------------------------------------------------------------------------------------


def _result_json(result: RunResult) -> dict[str, Any]:
    return {"schema": "xaibench.eval/1", "run": result.run, "out": str(result.out), "done": result.done,
            "reused": result.reused, "failed": result.failed, "failed_before": result.still_failed,
            "forward": result.passes.forward, "backward": result.passes.backward, "seconds": result.seconds,
            "exit": result.exit_code}  # fmt: skip


def _show_result(result: RunResult) -> None:
    before = f", {result.still_failed} failed before" if result.still_failed else ""
    print(
        f"{result.done} units done, {result.reused} reused, {result.failed} failed{before}; "
        f"{result.passes.forward:,} forward and {result.passes.backward:,} backward passes in {result.seconds:.0f} s"
    )
    for line in result.failures[:5]:
        print(f"failed: {line}")
    if before:
        print(_failed_before(result))
    print(
        f"tables: {result.out}/{{scores,predictions,curves,units}}/*.parquet; xaibench report {result.out} for a page"
    )


def _failed_before(result: RunResult) -> str:
    """What to do about units that an earlier run left failed: this one took them as they are, and fails by them."""
    units = "1 unit" if result.still_failed == 1 else f"{result.still_failed} units"
    return f"failed before: {units}; xaibench status {result.out} says why, --rerun failed tries again"
