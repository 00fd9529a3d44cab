"""``xaibench check``: a detector against its contract and against labelled pictures, or a plugin against the kit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xaibench.api import (
    SHARED_FLAGS,
    Detector,
    JsonFlag,
    PluginError,
    PluginFiles,
    Sample,
    UsageError,
    describe_error,
    make_console,
    parse_assignments,
    plugin_output,
    print_json,
)

if TYPE_CHECKING:
    from xaibench import Registry
    from xaibench_testing import CheckResult

VIOLATED = 5


def check(
    what: Annotated[str, typer.Argument(help="A detector (name, file), or a plugin's distribution or file.")],
    dataset: Annotated[
        str | None, SHARED_FLAGS["dataset"].option("labelled pictures to check the detector on: a dataset or a folder")
    ] = None,
    split: Annotated[str | None, SHARED_FLAGS["split"].option()] = None,
    limit: Annotated[int, SHARED_FLAGS["limit"].option(min=1, max=10**9)] = 200,
    device: Annotated[str, SHARED_FLAGS["device"].option()] = "auto",
    plugin: PluginFiles = None,
    parameter: Annotated[list[str] | None, SHARED_FLAGS["parameter"].option()] = None,
    json: JsonFlag = False,
) -> None:
    """Check that a detector or a plugin keeps its contract. Exit 5 when it does not."""
    parameters = parse_assignments(parameter or [])
    code = check_anything(what, dataset, split, limit, device, plugin or [], parameters, json)
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
            found = _check_plugin(registry, what)
    elif (Path(what) / "pyproject.toml").is_file():
        raise PluginError(f"{what} is the folder of a plugin that is not installed", f"pip install -e {what}")
    else:
        with plugin_output():
            found = _check_model(registry, what, dataset, split, limit, device, parameters)
    failed = [r for r in found if r["status"] == "fail"]
    if as_json:
        print_json({"schema": "xaibench.check/1", "what": what, "checks": found, "failed": len(failed)})
    else:
        _print(found)
        print(f"{len(found) - len(failed)} of {len(found)} checks passed or skipped, {len(failed)} failed")
    return VIOLATED if failed else 0


def _refuse_broken(registry: Registry, what: str) -> None:
    for failure in registry.failures:
        if what in (failure.origin.distribution, failure.origin.entry_point):
            raise PluginError(f"plugin {failure}", "xaibench doctor shows the trace")


def _check_plugin(registry: Registry, what: str) -> list[dict[str, str]]:
    """All checks of all components and commands of one distribution (or one local file)."""
    from xaibench import open_component
    from xaibench_testing import check_component

    chosen = [c for c in registry.components if what in (c.origin.distribution, c.origin.entry_point)]
    found = _check_commands(registry, what)
    if not chosen and not found:
        raise PluginError(
            f"{what} registers no component and no command", "mark the functions that return its records with @hookimpl"
        )
    for component in chosen:
        try:
            use = open_component(component.record.kind, component.name, registry=registry)
        except PluginError as error:
            found.append(_row(component.record.name, "imported", "fail", error.what))
            continue
        except UsageError as error:
            found.append(_row(component.record.name, "made from its defaults", "skip", " ".join(str(error).split())))
            continue
        found += [_of(component.record.name, r) for r in check_component(use, registry)]
    return found


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
            found.append(_row(entry_point, "commands added", "fail", describe_error(error)))
            continue
        found += [_row(name, "command added", "pass", "") for name in names]
    return found


def _check_model(
    registry: Registry,
    what: str,
    dataset: str | None,
    split: str | None,
    limit: int,
    device: str,
    parameters: Mapping[str, object],
) -> list[dict[str, str]]:
    from xaibench import make_runtime, open_models, prepare_torch
    from xaibench_testing import check_detector

    runtime = make_runtime(device)
    prepare_torch(runtime.threads)
    _, use = open_models(what, overrides=parameters, registry=registry)[0]
    detector = use.open(use.instance.members()[0], runtime)
    name = detector.facts.name
    found = [_row(name, "note", "skip", note) for note in detector.facts.notes]
    found += [_row(name, k, "skip", f"not available: {v}") for k, v in detector.facts.limits.items()]
    found += [_of(name, r) for r in check_detector(detector)]
    if dataset is not None:
        found += _check_labels(registry, detector, dataset, split, limit)
    return found


def _check_labels(
    registry: Registry, detector: Detector, dataset: str, split: str | None, limit: int
) -> list[dict[str, str]]:
    """Whether the detector ranks fakes above reals: an AUC below 0.5 means that its labels are swapped."""
    import numpy as np

    from xaibench import open_dataset, survey
    from xaibench_statistics import Values, auc_interval

    use = open_dataset(dataset, registry=registry)
    chosen = survey(use.instance, dataset, seed=0, split=split, limit=limit)
    p_fake = _predict(detector, use.instance, chosen.samples)
    labels = [s.label == "fake" for s in chosen.samples]
    found = [_row(detector.facts.name, "file left out", "skip", f"{p.file}: {p.reason}") for p in chosen.problems]
    if all(labels) or not any(labels):
        kind = "real" if all(labels) else "fake"
        return [*found, _row(detector.facts.name, "labels", "skip", f"no {kind} one among {len(labels)} pictures")]
    values = Values.of([s.id for s in chosen.samples], p_fake, [s.group for s in chosen.samples])
    is_fake = dict(zip((s.id for s in chosen.samples), labels, strict=True))
    auc = auc_interval(values, np.array([is_fake[s] for s in values.samples]))
    assert auc.value is not None
    span = f" [{auc.low:.3f}, {auc.high:.3f}]" if auc.low is not None and auc.high is not None else ""
    text = f"AUC {auc.value:.3f}{span} on {len(labels)} pictures"
    if auc.value >= 0.5:
        return [*found, _row(detector.facts.name, "ranks fake above real", "pass", text)]
    if auc.high is not None and auc.high >= 0.5:  # a detector that only guesses has no labels to swap
        return [*found, _row(
            detector.facts.name, "ranks fake above real", "skip",
            f"{text}: not told from chance; more pictures (--limit) or a dataset that it was made for would tell",
        )]  # fmt: skip
    key = detector.facts.details.get("label_key", "real")
    return [*found, _row(
        detector.facts.name, "ranks fake above real", "fail",
        f"{text}: it ranks real above fake, so its labels look swapped; mend the key '{key}' of its card",
    )]  # fmt: skip


def _predict(detector: Detector, dataset: Any, samples: Sequence[Sample]) -> list[float]:
    from xaibench import run_programmes, show_picture
    from xaibench.api import Forward, p_fake

    def programme(sample: Sample) -> Any:
        reply = yield Forward(show_picture(dataset, sample, detector.facts).image[None])
        return p_fake(reply[0].tolist(), detector.facts)

    done = dict(run_programmes(detector, ((s.id, partial(programme, s)) for s in samples)))
    for result in done.values():
        if result.error is not None:
            raise result.error
    return [float(done[s.id].value or 0.0) for s in samples]


def _of(component: str, result: CheckResult) -> dict[str, str]:
    return _row(component, result.name, result.status, result.message)


def _row(component: str, check: str, status: str, message: str) -> dict[str, str]:
    return {"component": component, "check": check, "status": status, "message": message}


def _print(rows: Sequence[dict[str, str]]) -> None:
    console = make_console()
    styles = {"pass": "green", "fail": "bold red", "skip": "dim"}
    for r in rows:
        console.print(f"{r['status']:4} ", style=styles[r["status"]], end="")
        console.print(f"{r['component']}: {r['check']}" + (f": {r['message']}" if r["message"] else ""),
                      markup=False, highlight=False, soft_wrap=True)  # fmt: skip
