"""``xaibench train``: declared here, and run with what is imported when it is called."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xaibench.api import JsonFlag, PluginFiles, parse_assignments, print_json

if TYPE_CHECKING:
    from xaibench_training.family import TrainingPlan
    from xaibench_training.trainer import RunResult

OPTIMISTIC = "best/ was chosen on the validation pictures, so its AUC on them is optimistic"


def train(
    recipe: Annotated[str, typer.Argument(help="Recipe, NAME[:KEY=VALUE,...]; see xaibench list recipe.")],
    dataset: Annotated[str, typer.Option("--dataset", "-D", help="Dataset: a name or a folder.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the family; the same one resumes or extends.")],
    runs: Annotated[int, typer.Option(min=1, help="Independent training runs.")] = 1,
    seed: Annotated[int | None, typer.Option(help="Seed of everything drawn at random (default 0).")] = None,
    network: Annotated[str | None, typer.Option(help="Network to train (default small).")] = None,
    weights: Annotated[Path | None, typer.Option(help="File with the weights to start from.")] = None,
    size: Annotated[int | None, typer.Option(help="Side of the pictures (default: the network's own).")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training pictures (default 20).")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Pictures in one step (default 32).")] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate of the first epoch (default 0.02).")] = None,
    momentum: Annotated[float | None, typer.Option(help="Momentum (default 0.9).")] = None,
    weight_decay: Annotated[float | None, typer.Option(help="Weight decay (default 0.0001).")] = None,
    schedule: Annotated[
        str | None, typer.Option(help="cosine (default), or step: a tenth every --step-epochs.")
    ] = None,
    step_epochs: Annotated[int | None, typer.Option(help="Epochs of one step of the schedule (default 12).")] = None,
    augment: Annotated[
        str | None, typer.Option(help="none, or changes of the defaults: mirror=false,shift=0.1,jpeg=0.5.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Split to train on (default train, if there is one).")] = None,
    validation: Annotated[
        str | None, typer.Option(help="Split to validate on (default val; else a fifth of the groups).")
    ] = None,
    method: Annotated[list[str] | None, typer.Option(help="Only fakes of this method, on both sides.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most N pictures on either side.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads (default: all cores).")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:N or auto (default).")] = "auto",
    export: Annotated[bool, typer.Option("--export/--no-export", help="Also write onnx/run-N.onnx.")] = True,
    plugin: PluginFiles = None,
    parameter: Annotated[
        list[str] | None, typer.Option("-p", "--parameter", help="Parameter of the recipe, KEY=VALUE.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and print the plan; train nothing.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no summary.")] = False,
    json: JsonFlag = False,
) -> None:
    """Train a family of detectors by a recipe. The same command resumes, and a higher --runs extends the family."""
    given = {
        "network": network, "weights": str(weights) if weights else None, "size": size, "epochs": epochs,
        "batch_size": batch_size, "lr": lr, "momentum": momentum, "weight_decay": weight_decay, "schedule": schedule,
        "step_epochs": step_epochs, "seed": seed,
    }  # fmt: skip
    try:
        plan = _plan(recipe, dataset, given, augment, split, validation, method or [], limit, threads, device,
                     plugin or [], parameter or [])  # fmt: skip
        if dry_run:
            _show_plan(plan, out, runs, json)
            return
        found = _train(plan, out, runs, export=export, quiet=quiet)
    except KeyboardInterrupt:
        print("xaibench: interrupted; finished epochs are kept, the same command goes on from there", file=sys.stderr)
        raise typer.Exit(130) from None
    if json:
        print_json(_result_json(plan, out, found))
    elif not quiet:
        _show_result(out, found)


def _plan(
    recipe: str, dataset: str, given: dict[str, Any], augment: str | None, split: str | None, validation: str | None,
    method: list[str], limit: int | None, threads: int | None, device: str, plugin: list[Path], parameter: list[str],
) -> TrainingPlan:  # fmt: skip
    from xaibench import load_registry, make_runtime
    from xaibench.api import build_parameters
    from xaibench_training.family import DataChoice, make_plan
    from xaibench_training.settings import TrainingSettings, read_augmentation

    values = {k: v for k, v in given.items() if v is not None} | {"augmentation": read_augmentation(augment)}
    settings = build_parameters(TrainingSettings, values, "train")
    registry = load_registry(plugin)
    for failure in registry.failures:
        print(f"broken plugin: {failure}", file=sys.stderr)
    runtime = make_runtime(device, threads=threads)
    values_of_recipe = parse_assignments(parameter, "KEY=VALUE, a parameter of the recipe")
    data = DataChoice(dataset=dataset, split=split, validation=validation, methods=tuple(method), limit=limit)
    return make_plan(registry, recipe, values_of_recipe, data, settings, runtime)


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
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("run", "loss", "validation AUC", "best epoch", "its AUC", "seconds"):
        table.add_column(column, justify="left" if column == "run" else "right")
    for r in found:
        last, best = r.history.epochs[-1], r.history.best
        seconds = sum(e.seconds for e in r.history.epochs)
        table.add_row(f"run-{r.run}", f"{last.loss:.4f}", f"{last.validation_auc:.4f}", str(best.epoch),
                      f"{best.validation_auc:.4f}", f"{seconds:.1f}")  # fmt: skip
    Console().print(table)
    print(f"{OPTIMISTIC}.")
    print(f"evaluate the family: xaibench eval --model {out}")
