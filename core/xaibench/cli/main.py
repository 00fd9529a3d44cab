"""The program: commands are declared here and implemented in a module each, imported when called."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from xaibench import __version__
from xaibench.api import JsonFlag, PluginFiles, RunFolder, guarded, parse_assignments

app = typer.Typer(
    name="xaibench",
    help="Which explanation of a deepfake detector can be trusted?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"auto_envvar_prefix": "XAIBENCH", "help_option_names": ["-h", "--help"]},
)

NoPlugin = Annotated[list[str] | None, typer.Option("--no-plugin", help="Leave a distribution's plugins out.")]
Model = Annotated[
    list[str] | None, typer.Option("--model", "-m", help="Detector: a name, a file, or a folder of files.")
]
Dataset = Annotated[list[str] | None, typer.Option("--dataset", "-D", help="Dataset: a name or a folder.")]
Explainers = Annotated[list[str] | None, typer.Option("--explainer", "-e", help="Explainer, NAME[:KEY=VALUE,...].")]
Parameter = Annotated[
    list[str] | None, typer.Option("-p", "--parameter", help="KIND.NAME.KEY=VALUE, as explainer.rise.masks=8000.")
]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:N or auto (default).")]


def _version(value: bool) -> None:
    if value:
        print(f"xaibench {__version__}")
        raise typer.Exit


@app.callback()
def options(
    ctx: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, allow_from_autoenv=False, help="Print it."),
    ] = False,
) -> None:
    ctx.obj = {"debug": debug}


@app.command("list")
def list_(
    kind: Annotated[str | None, typer.Argument(help="model, explainer, dataset, metric, executor or recipe.")] = None,
    needs: Annotated[
        str | None, typer.Option(help="Only components that need this, such as gradients or mask.")
    ] = None,
    model: Annotated[str | None, typer.Option("--model", "-m", help="Say what can be used with this detector.")] = None,
    plugin: PluginFiles = None,
    no_plugin: NoPlugin = None,
    json: JsonFlag = False,
) -> None:
    """List the components of all plugins, and the plugins that are broken."""
    from xaibench.cli.listing import list_components

    list_components(kind, needs, model, plugin or [], no_plugin or [], json)


@app.command()
def info(
    name: Annotated[str, typer.Argument(help="Component, NAME or DISTRIBUTION/NAME.")],
    plugin: PluginFiles = None,
    json: JsonFlag = False,
) -> None:
    """Describe a component: parameters, needs, scores, source."""
    from xaibench.cli.listing import show_component

    show_component(name, plugin or [], json)


@app.command("eval")
def eval_(
    run_file: Annotated[Path | None, typer.Argument(help="Run file (TOML) with the same keys as the flags.")] = None,
    model: Model = None,
    dataset: Dataset = None,
    explainer: Explainers = None,
    metric: Annotated[list[str] | None, typer.Option("--metric", "-x", help="Metric, NAME[:KEY=VALUE,...].")] = None,
    preset: Annotated[str | None, typer.Option(help="quick (default), standard or full.")] = None,
    target: Annotated[
        str | None, typer.Option(help="Class explained: predicted (default), fake, real, label or a class.")
    ] = None,  # fmt: skip
    out: Annotated[str | None, typer.Option("--out", "-o", help="Folder of the run; the same one resumes.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of every random stream (default 0).")] = None,
    repeats: Annotated[int | None, typer.Option(help="Repeats of explainers that draw at random.")] = None,
    limit: Annotated[int | None, typer.Option(help="Only the first N samples of the seeded order.")] = None,
    split: Annotated[str | None, typer.Option(help="Only this split.")] = None,
    method: Annotated[list[str] | None, typer.Option(help="Only fakes of this method.")] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Pictures in every detector call (default 64; less of large ones on a CPU).")
    ] = None,  # fmt: skip
    shard_size: Annotated[int | None, typer.Option(help="Samples in a unit of work (default 32).")] = None,
    executor: Annotated[str | None, typer.Option(help="Where tasks run (default local).")] = None,
    jobs: Annotated[int | None, typer.Option("--jobs", "-j", help="Worker processes (default 1).")] = None,
    threads: Annotated[int | None, typer.Option(help="Threads of a detector call (default: all cores).")] = None,
    device: Device = None,
    precision: Annotated[str | None, typer.Option(help="fp32 (default), fp16 or bf16.")] = None,
    maps: Annotated[str | None, typer.Option(help="Keep saliency maps: auto (default), keep or drop.")] = None,
    members: Annotated[
        str | None, typer.Option(help="Members of a family for sample metrics: first (default) or all.")
    ] = None,  # fmt: skip
    no_controls: Annotated[bool, typer.Option("--no-controls", help="Run without the controls.")] = False,
    plugin: PluginFiles = None,
    no_plugin: NoPlugin = None,
    parameter: Parameter = None,
    rerun: Annotated[str, typer.Option(help="missing (default), failed or all.")] = "missing",
    replace: Annotated[
        bool, typer.Option("--replace", help="Move results of another plan to superseded/ first.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan, its cost and what cannot run; do nothing.")
    ] = False,  # fmt: skip
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="Stop at the first failed unit.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no leaderboard.")] = False,
    json: JsonFlag = False,
) -> None:
    """Evaluate explanations. With no arguments: the demo detector on the demo faces, in a minute or two."""
    from xaibench.cli.evaluate import evaluate

    flags = {
        "model": model, "dataset": dataset, "explainer": explainer, "metric": metric, "preset": preset,
        "target": target, "out": out, "seed": seed, "repeats": repeats, "limit": limit, "split": split,
        "method": method, "batch_size": batch_size, "shard_size": shard_size, "executor": executor, "jobs": jobs,
        "threads": threads, "device": device, "precision": precision, "maps": maps, "members": members,
        "controls": False if no_controls else None, "plugin": [str(p) for p in plugin or []], "no_plugin": no_plugin,
        "parameter": parse_assignments(parameter or []),
    }  # fmt: skip
    code = evaluate(run_file, flags, rerun=rerun, replace=replace, dry_run=dry_run, fail_fast=fail_fast,
                    quiet=quiet, as_json=json)  # fmt: skip
    raise typer.Exit(code)


@app.command()
def status(run: RunFolder, json: JsonFlag = False) -> None:
    """Say what is done, failed and left in a run's folder."""
    from xaibench.cli.results import show_status

    show_status(run, json)


@app.command()
def explain(
    image: Annotated[Path, typer.Argument(help="Picture to explain.")],
    model: Annotated[str, typer.Option("--model", "-m", help="Detector.")] = "demo",
    explainer: Explainers = None,
    target: Annotated[str, typer.Option(help="Class explained: predicted, fake, real or a class.")] = "predicted",
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the maps.")] = Path("xaibench-explain"),
    seed: Annotated[int, typer.Option(help="Seed.")] = 0,
    device: Device = None,
    plugin: PluginFiles = None,
    parameter: Parameter = None,
    json: JsonFlag = False,
) -> None:
    """Explain one picture: verdict, and a map and an overlay for every explainer."""
    from xaibench.cli.explain_one import explain_one

    raise typer.Exit(
        explain_one(image, model, explainer or [], target, out, seed, device or "auto", plugin or [],
                    parse_assignments(parameter or []), json)
    )  # fmt: skip


@app.command()
def export(
    run: RunFolder,
    out: Annotated[Path, typer.Option("--out", "-o", help="File ending in .parquet or .csv.")] = Path("scores.parquet"),
    table: Annotated[str, typer.Option(help="Table to write.")] = "scores",
) -> None:
    """Write one table of a run into one file."""
    from xaibench.cli.results import export_table

    export_table(run, out, table)


@app.command()
def doctor(json: JsonFlag = False) -> None:
    """Show versions, devices, ONNX providers, and every plugin with its load time or its error."""
    from xaibench.cli.doctor import diagnose

    diagnose(json)


@app.command("new-plugin")
def new_plugin(
    name: Annotated[str, typer.Argument(help="Name of the distribution, such as xaibench-acme.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to put it in.")] = Path(),
) -> None:
    """Write a plugin package with one explainer and one metric that passes `check`."""
    from xaibench.cli.new_plugin import write_plugin

    write_plugin(name, out)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the program and exit with the code of the design: see :mod:`xaibench.api.errors`."""
    argv = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in argv or os.environ.get("XAIBENCH_DEBUG", "").lower() not in ("", "0", "false", "no", "off")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal that cannot show a name must not end a run
    # Read when NumPy is loaded, by workers too: threads of its BLAS would wait for cores that torch's threads hold.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    sys.exit(guarded(lambda: _run(argv), debug))


def _run(argv: list[str]) -> int:
    _add_plugin_commands(argv)
    # --debug is accepted anywhere on the line
    result = app(args=[a for a in argv if a != "--debug"], standalone_mode=True, prog_name="xaibench")
    return int(result or 0)


def _add_plugin_commands(argv: list[str]) -> None:
    """Commands of plugins are added only when the command asked for is none of ours, or help is."""
    ours = {c.name or c.callback.__name__ for c in app.registered_commands if c.callback}
    ours |= {g.name for g in app.registered_groups if g.name}
    words = [a for a in argv if not a.startswith("-")]
    if words and words[0] in ours:
        return
    from xaibench.discovery.registry import load_registry

    load_registry().add_commands(app)
