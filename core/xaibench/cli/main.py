"""The program: commands are declared here and implemented in a module each, imported when called."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from xaibench import __version__
from xaibench.errors import UsageError, XaibenchError

app = typer.Typer(
    name="xaibench",
    help="Which explanation of a deepfake detector can be trusted?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"auto_envvar_prefix": "XAIBENCH", "help_option_names": ["-h", "--help"]},
)

rank = typer.Typer(help="Order what a run compared.", no_args_is_help=True)
app.add_typer(rank, name="rank")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
PluginFile = Annotated[list[Path] | None, typer.Option("--plugin", help="Load a one-off plugin file.")]
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
Baseline = Annotated[
    str | None, typer.Option(help="Model of the run beside which accuracy and interpretability are balanced.")
]
Run = Annotated[Path, typer.Argument(help="Folder of a run.")]


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
    plugin: PluginFile = None,
    no_plugin: NoPlugin = None,
    json: Json = False,
) -> None:
    """List the components of all plugins, and the plugins that are broken."""
    from xaibench.cli.listing import list_components

    list_components(kind, needs, model, plugin or [], no_plugin or [], json)


@app.command()
def info(
    name: Annotated[str, typer.Argument(help="Component, NAME or DISTRIBUTION/NAME.")],
    plugin: PluginFile = None,
    json: Json = False,
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
    plugin: PluginFile = None,
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
    json: Json = False,
) -> None:
    """Evaluate explanations. With no arguments: the demo detector on the demo faces, in a minute or two."""
    from xaibench.cli.evaluate import evaluate

    flags = {
        "model": model, "dataset": dataset, "explainer": explainer, "metric": metric, "preset": preset,
        "target": target, "out": out, "seed": seed, "repeats": repeats, "limit": limit, "split": split,
        "method": method, "batch_size": batch_size, "shard_size": shard_size, "executor": executor, "jobs": jobs,
        "threads": threads, "device": device, "precision": precision, "maps": maps, "members": members,
        "controls": False if no_controls else None, "plugin": [str(p) for p in plugin or []], "no_plugin": no_plugin,
        "parameter": parse_parameters(parameter or []),
    }  # fmt: skip
    code = evaluate(run_file, flags, rerun=rerun, replace=replace, dry_run=dry_run, fail_fast=fail_fast,
                    quiet=quiet, as_json=json)  # fmt: skip
    raise typer.Exit(code)


@app.command()
def status(run: Run, json: Json = False) -> None:
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
    plugin: PluginFile = None,
    parameter: Parameter = None,
    json: Json = False,
) -> None:
    """Explain one picture: verdict, and a map and an overlay for every explainer."""
    from xaibench.cli.explain_one import explain_one

    raise typer.Exit(
        explain_one(image, model, explainer or [], target, out, seed, device or "auto", plugin or [],
                    parse_parameters(parameter or []), json)
    )  # fmt: skip


@app.command()
def check(
    what: Annotated[str, typer.Argument(help="A detector (name, file), or a plugin's distribution or file.")],
    dataset: Annotated[
        str | None, typer.Option("--dataset", "-D", help="Labelled pictures to check the detector on.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Only this split.")] = None,
    limit: Annotated[int, typer.Option(help="Pictures to look at.")] = 200,
    device: Device = None,
    plugin: PluginFile = None,
    parameter: Parameter = None,
    json: Json = False,
) -> None:
    """Check that a detector or a plugin keeps its contract. Exit 5 when it does not."""
    from xaibench.cli.checking import check_anything

    raise typer.Exit(
        check_anything(what, dataset, split, limit, device or "auto", plugin or [],
                       parse_parameters(parameter or []), json)
    )  # fmt: skip


@app.command()
def report(
    run: Run,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="HTML file; default RUN/report.html.")] = None,
    baseline: Baseline = None,
    json: Json = False,
) -> None:
    """Print a run's leaderboards and write a self-contained HTML report."""
    from xaibench.cli.results import make_report

    make_report(run, out, json, baseline)


@app.command()
def compare(first: Run, second: Run, json: Json = False) -> None:
    """Compare two runs on their common samples."""
    from xaibench.cli.results import compare_two

    compare_two(first, second, json)


@rank.command("detectors")
def rank_detectors(
    run: Run,
    explainer: Annotated[
        str | None, typer.Option("--explainer", "-e", help="Only this explainer (default: all that are no controls).")
    ] = None,
    measure: Annotated[
        list[str] | None, typer.Option(help="Only this metric, or 'METRIC SCORE'; may be repeated.")
    ] = None,
    baseline: Baseline = None,
    correct: Annotated[
        bool, typer.Option("--correct", help="Compare all, on pictures that every run calls by their label.")
    ] = False,
    json: Json = False,
) -> None:
    """Order detectors or families of equal accuracy by each measure, the explainer fixed."""
    from xaibench.cli.ranking import rank_detectors

    rank_detectors(run, explainer, measure or [], baseline, correct, json)


@app.command()
def export(
    run: Run,
    out: Annotated[Path, typer.Option("--out", "-o", help="File ending in .parquet or .csv.")] = Path("scores.parquet"),
    table: Annotated[str, typer.Option(help="Table to write.")] = "scores",
) -> None:
    """Write one table of a run into one file."""
    from xaibench.cli.results import export_table

    export_table(run, out, table)


@app.command()
def doctor(json: Json = False) -> None:
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


def parse_parameters(entries: list[str]) -> dict[str, object]:
    """``["explainer.rise.masks=8000"]`` -> ``{"explainer.rise.masks": 8000}``."""
    from xaibench.parameters import parse_value

    found: dict[str, object] = {}
    for entry in entries:
        key, equals, value = entry.partition("=")
        if not equals:
            raise UsageError(f"'{entry}' has no value", "write -p KIND.NAME.KEY=VALUE")
        found[key.strip()] = parse_value(value.strip())
    return found


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the program and exit with the code of the design: see :mod:`xaibench.errors`."""
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
    from xaibench.registry import load_registry

    load_registry().add_commands(app)


def guarded(call: Callable[[], Any], debug: bool) -> int:
    """Call, and turn what a person can mend into one line of what and one of how, with its exit code."""
    try:
        return int(call() or 0)
    except XaibenchError as error:
        if debug:
            raise
        print(f"xaibench: {error.what}", file=sys.stderr)
        if error.mend:
            print(f"  {error.mend}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except OSError as error:
        if debug:
            raise
        where = f"{error.filename}: " if error.filename else ""
        print(f"xaibench: {where}{error.strerror or error}", file=sys.stderr)
        print("  check that the path exists, can be written and has space left", file=sys.stderr)
        return 3
    except Exception as error:
        if debug:
            raise
        print(f"xaibench: internal error: {type(error).__name__}: {' '.join(str(error).split())}", file=sys.stderr)
        print("  this is a bug: please report it with the output of the same command with --debug", file=sys.stderr)
        return 70
