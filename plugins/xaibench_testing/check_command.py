"""``xaibench check``: a detector against its contract and against labelled pictures, or a plugin against the kit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xaibench.api import (
    SHARED_FLAGS,
    ComponentRecord,
    JsonFlag,
    PluginError,
    PluginFiles,
    UsageError,
    completion,
    describe_error,
    help_page,
    make_console,
    parse_assignments,
    plugin_output,
    print_json,
)
from xaibench_testing.model_check import check_model, row

if TYPE_CHECKING:
    from xaibench import Registry
    from xaibench_testing import CheckResult

VIOLATED = 5

Values = dict[str, object]


@help_page(
    "Check and extend",
    "xaibench check detector.onnx --dataset faces",
    "xaibench check detector.onnx --dataset faces --write-card",
    "xaibench check xaibench-acme  # an installed plugin, or its file",
)
def check(
    what: Annotated[
        str,
        typer.Argument(
            help="A detector (name, file), or a plugin's distribution or file.", autocompletion=completion("model")
        ),
    ],
    dataset: Annotated[
        str | None, SHARED_FLAGS["dataset"].option("labelled pictures to check the detector on: a dataset or a folder")
    ] = None,
    split: Annotated[str | None, SHARED_FLAGS["split"].option()] = None,
    limit: Annotated[int, SHARED_FLAGS["limit"].option(min=1, max=10**9)] = 200,
    device: Annotated[str, SHARED_FLAGS["device"].option()] = "auto",
    write_card: Annotated[
        bool,
        typer.Option("--write-card", help="Write the reading of the card that is told best."),
    ] = False,
    plugin: PluginFiles = None,
    parameter: Annotated[list[str] | None, SHARED_FLAGS["parameter"].option()] = None,
    json: JsonFlag = False,
) -> None:
    """Check that a detector or a plugin keeps its contract. Exit 5 when it does not, or when nothing was checked."""
    parameters = parse_assignments(parameter or [])
    if write_card and dataset is None:
        raise UsageError("--write-card needs labelled pictures to tell readings apart", "add --dataset DATA")
    code = check_anything(what, dataset, split, limit, device, plugin or [], parameters, json, write_card)
    raise typer.Exit(code)


def check_anything(
    what: str,
    dataset: str | None,
    split: str | None,
    limit: int,
    device: str,
    files: Sequence[Path],
    parameters: Mapping[str, object],
    as_json: bool,
    write_card: bool = False,
) -> int:
    """Check a detector, or every component of a plugin; the exit code, 5 where a check failed."""
    from xaibench import load_registry

    local = [str(f) for f in files]
    if what.endswith(".py"):
        what = str(Path(what))
        files = files if what in local else [*files, Path(what)]
    registry = load_registry(files)
    _refuse_broken(registry, what)
    if what.endswith(".py") or what in {origin.distribution for origin in registry.seconds}:
        with plugin_output():
            found = _check_plugin(registry, what, parameters)
    elif (Path(what) / "pyproject.toml").is_file():
        raise PluginError(f"{what} is the folder of a plugin that is not installed", f"pip install -e {what}")
    else:
        with plugin_output():
            found = check_model(registry, what, dataset, split, limit, device, parameters, write_card)
    failed = [r for r in found if r["status"] == "fail"]
    unchecked = all(r["status"] == "skip" for r in found)
    if as_json:
        print_json({"schema": "xaibench.check/1", "what": what, "checks": found, "failed": len(failed)})
    else:
        _print(found)
        print(f"{len(found) - len(failed)} of {len(found)} checks passed or skipped, {len(failed)} failed")
        if unchecked:
            print(f"{what}: nothing was checked, every check was skipped")
    return VIOLATED if failed or unchecked else 0


def _refuse_broken(registry: Registry, what: str) -> None:
    for failure in registry.failures:
        if what in (failure.origin.distribution, failure.origin.entry_point):
            raise PluginError(f"plugin {failure}", "xaibench doctor shows the trace")


def _check_plugin(registry: Registry, what: str, parameters: Mapping[str, object]) -> list[dict[str, str]]:
    """All checks of all components and commands of one distribution (or one local file), with these parameters."""
    from xaibench import open_component
    from xaibench_testing import check_component

    chosen = [c for c in registry.components if what in (c.origin.distribution, c.origin.entry_point)]
    given = _given(parameters, {(c.record.kind, c.record.name) for c in chosen}, what)
    found = _check_commands(registry, what)
    if not chosen and not found:
        raise PluginError(
            f"{what} registers no component and no command", "mark the functions that return its records with @hookimpl"
        )
    for component in chosen:
        try:
            values = given.get((component.record.kind, component.record.name), {})
            use = open_component(component.record.kind, component.name, values, registry=registry)
        except PluginError as error:
            found.append(row(component.record.name, "imported", "fail", error.what))
            continue
        except UsageError as error:
            if values:
                raise
            found.append(_unmade(component.record, error))
            continue
        found += [_of(component.record.name, r) for r in check_component(use, registry)]
    return found


def _given(parameters: Mapping[str, object], known: Set[tuple[str, str]], what: str) -> dict[tuple[str, str], Values]:
    """The values of each component by its kind and name."""
    given: dict[tuple[str, str], Values] = {}
    for key, value in parameters.items():
        kind, _, rest = key.partition(".")
        name, dot, field = rest.rpartition(".")
        if not dot or not field:
            raise UsageError(f"parameter '{key}' is not KIND.NAME.KEY", "write for example explainer.rise.masks=8000")
        if (kind, name) not in known:
            names = ", ".join(sorted(".".join(k) for k in known)) or "none"
            raise UsageError(f"parameter '{key}' is of no component of {what}", f"its components: {names}")
        given.setdefault((kind, name), {})[field] = value
    return given


def _unmade(record: ComponentRecord, error: UsageError) -> dict[str, str]:
    """The row of a component that cannot be made without parameters, and so is not checked."""
    why = " ".join(str(error).split())
    return row(
        record.name, "not checked", "skip", f"{why}; give parameters with -p {record.kind}.{record.name}.KEY=VALUE"
    )


def _check_commands(registry: Registry, what: str) -> list[dict[str, str]]:
    """Whether the commands of one distribution (or one local file) can be added to the program."""
    found = []
    hooks = registry.manager.hook.xaibench_add_commands.get_hookimpls() if registry.manager else []
    for hook in hooks:
        distribution, _, entry_point = hook.plugin_name.partition(":")
        if what not in (distribution, entry_point):
            continue
        app = typer.Typer()
        app.callback()(lambda: None)  # makes one command a command of its name and not the program itself
        try:
            hook.function(app)
            names = sorted(getattr(typer.main.get_command(app), "commands", {}))  # flags of other types raise here
        except (Exception, SystemExit) as error:
            found.append(row(entry_point, "commands added", "fail", describe_error(error)))
            continue
        found += [row(name, "command added", "pass", "") for name in names]
    return found


def _of(component: str, result: CheckResult) -> dict[str, str]:
    return row(component, result.name, result.status, result.message)


def _print(rows: Sequence[dict[str, str]]) -> None:
    console = make_console()
    styles = {"pass": "green", "fail": "bold red", "skip": "dim"}
    for r in rows:
        console.print(f"{r['status']:4} ", style=styles[r["status"]], end="")
        console.print(f"{r['component']}: {r['check']}" + (f": {r['message']}" if r["message"] else ""),
                      markup=False, highlight=False, soft_wrap=True)  # fmt: skip
