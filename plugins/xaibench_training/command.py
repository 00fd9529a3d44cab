"""``xaibench train``: declared here, and run with what is imported when it is called."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xaibench.api import (
    SHARED_FLAGS,
    JsonFlag,
    PluginFiles,
    UsageError,
    completion,
    help_page,
    make_console,
    parse_assignments,
    plugin_output,
    print_json,
    with_flags,
)
from xaibench_training.settings import DataChoice, Invocation, TrainingSettings

if TYPE_CHECKING:
    from xaibench_training.family import TrainingPlan
    from xaibench_training.trainer import RunResult

OPTIMISTIC = "best/ was chosen on the validation pictures, so its AUC on them is optimistic"


@help_page(
    "Check and extend",
    "xaibench train cyborg -D faces -o families/guided --runs 3",
    "xaibench train cross-entropy -D demo:split=train -o families/plain --dry-run",
)
@with_flags
def train(
    recipe: Annotated[
        str,
        typer.Argument(
            help="Recipe, NAME[:KEY=VALUE,...]; see xaibench list recipe.", autocompletion=completion("recipe")
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the family; the same one resumes or extends.")],
    data: DataChoice,
    call: Invocation,
    settings: TrainingSettings,
    plugin: PluginFiles = None,
    parameter: Annotated[
        list[str] | None, SHARED_FLAGS["parameter"].option("parameter of the recipe, KEY=VALUE")
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Train a family of detectors by a recipe. The same command resumes, and a higher --runs extends the family."""
    if call.quiet and call.verbose:
        raise UsageError("--quiet and --verbose contradict each other", "take one off")
    changes = parse_assignments(parameter or [], "KEY=VALUE, a parameter of the recipe")
    try:
        with plugin_output():
            plan = _plan(recipe, changes, data, call, settings, plugin or [])
            if call.verbose:
                _tell_settings(plan)
        if call.dry_run:
            _show_plan(plan, out, call.runs, json)
            return
        with plugin_output():
            found = _train(plan, out, call.runs, export=call.export, quiet=call.quiet)
    except KeyboardInterrupt:
        print("xaibench: interrupted; finished epochs are kept, the same command goes on from there", file=sys.stderr)
        raise typer.Exit(130) from None
    if json:
        print_json(_result_json(plan, out, found))
    elif call.quiet:
        print(f"{len(found)} run{'s' * (len(found) > 1)} in {out}")
    else:
        _show_result(out, found)


def _plan(
    recipe: str,
    changes: dict[str, object],
    data: DataChoice,
    call: Invocation,
    settings: TrainingSettings,
    plugin: list[Path],
) -> TrainingPlan:
    from xaibench import load_registry, make_runtime
    from xaibench_training.family import make_plan

    registry = load_registry(plugin)
    for failure in registry.failures:
        print(f"broken plugin: {failure}", file=sys.stderr)
    runtime = make_runtime(call.device, threads=call.threads)
    return make_plan(registry, recipe, changes, data, settings, runtime)


def _train(plan: TrainingPlan, out: Path, runs: int, *, export: bool, quiet: bool) -> list[RunResult]:
    from xaibench_training.progress import display_for
    from xaibench_training.trainer import train_family

    if not quiet:
        _announce(plan, out, runs)
    with display_for(runs, quiet) as display:
        return train_family(plan, out, runs, export=export, display=display)


def _announce(plan: TrainingPlan, out: Path, runs: int) -> None:
    for note in plan.notes:
        print(note, file=sys.stderr)
    for problem in plan.problems:
        print(f"left out: {problem.file}: {problem.reason}", file=sys.stderr)
    s = plan.settings
    print(
        f"{plan.recipe.name}: {runs} run{'s' * (runs > 1)} of {s.epochs} epochs, network {s.network} at {s.size} x "
        f"{s.size}, {plan.runtime.device}, {plan.runtime.threads} threads; into {out}",
        file=sys.stderr,
    )


def _tell_settings(plan: TrainingPlan) -> None:
    """Everything that a run depends on beside the pictures, on stderr."""
    for key, value in plan.settings.model_dump(mode="json").items():
        print(f"{key}: {value}", file=sys.stderr)


def _show_plan(plan: TrainingPlan, out: Path, runs: int, as_json: bool) -> None:
    from xaibench_training.family import identity
    from xaibench_training.trainer import refuse_foreign

    guides = plan.guides(0)  # refused here where there are none
    refuse_foreign(out, identity(plan, guides))
    if not as_json:
        _announce(plan, out, runs)
        print(f"{guides.count} of {len(plan.train)} training pictures have a guide")
        return
    print_json({
        "schema": "xaibench.train-plan/1", "out": str(out), "recipe": plan.recipe.name, "runs": runs,
        "seeds": [plan.seed_of(run) for run in range(runs)], "settings": plan.settings.model_dump(mode="json"),
        "device": plan.runtime.device, "threads": plan.runtime.threads, "dataset": plan.dataset,
        "training": len(plan.train), "validation": len(plan.validation), "guided": guides.count,
        "notes": list(plan.notes), "left_out": _left_out(plan),
    })  # fmt: skip


def _left_out(plan: TrainingPlan) -> list[dict[str, str]]:
    return [{"file": p.file, "reason": p.reason} for p in plan.problems]


def _result_json(plan: TrainingPlan, out: Path, found: list[RunResult]) -> dict[str, Any]:
    rows = []
    for r in found:
        last, best = r.history.epochs[-1], r.history.best
        rows.append({
            "run": r.run, "seed": r.seed, "epochs": last.epoch, "loss": last.loss, "parts": dict(last.parts),
            "validation_auc": last.validation_auc, "best_epoch": best.epoch, "best_auc": best.validation_auc,
            "seconds": sum(e.seconds for e in r.history.epochs), "resumed": r.resumed, "onnx_difference": r.onnx,
        })  # fmt: skip
    return {"schema": "xaibench.train/1", "out": str(out), "recipe": plan.recipe.name, "dataset": plan.dataset,
            "notes": [*plan.notes, OPTIMISTIC], "left_out": _left_out(plan), "runs": rows}  # fmt: skip


def _show_result(out: Path, found: list[RunResult]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("run", "loss", "validation AUC", "best epoch", "its AUC", "seconds"):
        table.add_column(column, justify="left" if column == "run" else "right")
    for r in found:
        last, best = r.history.epochs[-1], r.history.best
        seconds = sum(e.seconds for e in r.history.epochs)
        table.add_row(f"run-{r.run}", f"{last.loss:.4f}", f"{last.validation_auc:.4f}", str(best.epoch),
                      f"{best.validation_auc:.4f}", f"{seconds:.1f}")  # fmt: skip
    make_console().print(table)
    print(f"{OPTIMISTIC}.")
    print(f"evaluate the family: xaibench eval --model {out}")
