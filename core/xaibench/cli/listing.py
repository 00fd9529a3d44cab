"""``xaibench list`` and ``xaibench info``."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any, get_args

import typer

from xaibench.api import (
    DETECTOR_NEEDS,
    KINDS,
    NEEDS,
    SHARED_FLAGS,
    Detector,
    ExplainerRecord,
    Facts,
    JsonFlag,
    Kind,
    LayerShape,
    MetricRecord,
    ModelError,
    PaperRecord,
    PluginFiles,
    UnknownComponent,
    UsageError,
    completion,
    help_page,
    make_console,
    plugin_output,
    print_json,
    secret_variable,
)
from xaibench.discovery.registry import PluginFailure, Registered, Registry, load_registry

_CARD = "card"
_PARAMETER_COLUMNS = ("name", "type", "default", "description")
_TOLD_DEFAULT = re.compile(r"\(default:? ([^()]*(?:\[[^]]*\])?[^()]*)\)$")
_EXTRAS = ("needs", "gives", "suffixes", "markers", "signed", "class_specific", "control", "model_independent",
           "stochastic", "family", "scope", "better", "minutes")  # fmt: skip


@help_page(
    "Components",
    "xaibench list explainers",
    "xaibench list papers  # run files: xaibench eval papers/NAME",
    "xaibench list metrics --needs mask --model detector.onnx",
)
def list_components(
    kind: Annotated[
        str | None, typer.Argument(help=f"One of {', '.join(KINDS)}.", autocompletion=completion("", KINDS))
    ] = None,
    needs: Annotated[
        str | None,
        typer.Option(
            help="Only components that need this, such as gradients or mask.",
            autocompletion=completion("", sorted(NEEDS)),
        ),
    ] = None,
    model: Annotated[str | None, SHARED_FLAGS["model"].option("say what can be used with this detector")] = None,
    layers: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Show the inner layers of this detector instead: what target_layer takes.",
            autocompletion=completion("model"),
        ),
    ] = None,
    plugin: PluginFiles = None,
    no_plugin: Annotated[list[str] | None, SHARED_FLAGS["no_plugin"].option()] = None,
    json: JsonFlag = False,
) -> None:
    """List the components of all plugins, and the plugins that are broken."""
    if layers is not None:
        if kind or needs or model:
            raise UsageError("--layers stands for itself", "take off the kind of component, --needs and --model")
        show_layers(load_registry(plugin or [], no_plugin or []), layers, json=json)
        return
    kinds = _kinds(kind)
    if needs is not None and needs not in NEEDS:
        raise UsageError(f"nothing is called a need '{needs}'", f"needs: {', '.join(sorted(NEEDS))}")
    registry = load_registry(plugin or [], no_plugin or [])
    chosen = [c for k in kinds for c in sorted(registry.of_kind(k), key=lambda c: (not c.origin.built_in, c.name))]
    chosen = [c for c in chosen if needs is None or needs in getattr(c.record, "needs", ())]
    usable = _usability(registry, model, chosen) if model else {}
    if json:
        print_json({
            "schema": "xaibench.list/1",
            "components": [_as_json(c) | _usable_json(usable, c) for c in chosen],
            "failures": [_failure_json(f) for f in registry.failures],
        })  # fmt: skip
        return
    _print_tables(kinds, chosen, usable)
    for failure in registry.failures:
        print(f"broken plugin: {failure} (xaibench doctor shows the trace)", file=sys.stderr)


def _kinds(kind: str | None) -> tuple[Kind, ...]:
    if kind is None:
        return KINDS
    single = kind.removesuffix("s")
    if single not in KINDS:
        raise UsageError(f"'{kind}' is no kind of component", f"kinds: {', '.join(KINDS)}")
    return (single,)


def _usability(registry: Registry, model: str, chosen: Sequence[Registered]) -> dict[tuple[str, str], str]:
    """Why a component cannot be used with the detector; empty when it can."""
    facts = _opened(registry, model).facts
    found: dict[tuple[str, str], str] = {}
    for c in chosen:
        wants = getattr(c.record, "needs", None)
        if wants is not None:
            lacking = [n for n in sorted(wants & DETECTOR_NEEDS) if n not in facts.gives]
            found[c.record.kind, c.name] = "; ".join(f"needs {n}: {facts.limits.get(n, 'not given')}" for n in lacking)
    return found


def _opened(registry: Registry, model: str) -> Detector:
    """The first detector that the model stands for."""
    from xaibench.api import Runtime
    from xaibench.discovery.paths import open_models

    _, use = open_models(model, registry=registry)[0]
    with plugin_output():
        detector: Detector = use.open(use.instance.members()[0], Runtime())
    return detector


def _usable_json(usable: dict[tuple[str, str], str], c: Registered) -> dict[str, Any]:
    why = usable.get((c.record.kind, c.name))
    return {} if why is None else {"usable": why or True}


def _as_json(c: Registered) -> dict[str, Any]:
    r = c.record
    row: dict[str, Any] = {
        "kind": r.kind, "name": c.name, "origin": c.origin.distribution, "version": c.origin.version,
        "summary": r.summary, "source": r.source, "note": r.note, "references": [x.to_dict() for x in r.references],
        "presets": sorted(r.presets), "target": r.target,
    }  # fmt: skip
    for extra in _EXTRAS:
        value = getattr(r, extra, None)
        if value is not None:
            row[extra] = sorted(value) if isinstance(value, frozenset | tuple) else value
    return row


def _failure_json(f: PluginFailure) -> dict[str, str]:
    return {"origin": f.origin.distribution, "version": f.origin.version, "entry_point": f.origin.entry_point,
            "stage": f.stage, "error": f.error}  # fmt: skip


def _print_tables(kinds: Sequence[Kind], chosen: Sequence[Registered], usable: dict[tuple[str, str], str]) -> None:
    from rich.markup import escape
    from rich.table import Table

    console = make_console()
    for kind in kinds:
        rows = [c for c in chosen if c.record.kind == kind]
        if not rows:
            continue
        table = Table(
            title=f"{kind}s", title_justify="left", box=None, pad_edge=False, header_style="bold", expand=True
        )
        table.add_column("name", no_wrap=True)
        table.add_column("summary", ratio=3, overflow="fold")
        table.add_column("about", ratio=2, overflow="fold")
        if usable:
            table.add_column("usable", ratio=2, overflow="fold")
        for c in rows:
            why = usable.get((c.record.kind, c.name))
            said = "" if why is None else why or "yes"
            cells = (c.record.name, c.record.summary, _about(c), *([said] if usable else []))
            table.add_row(*map(escape, cells))
        console.print(table)
        console.print()


def _about(c: Registered) -> str:
    """Needs or what is given, presets and traits, and where the component comes from."""
    words = [(word, sorted(getattr(c.record, word, None) or ())) for word in ("needs", "gives")]
    parts = [f"{word} {', '.join(found)}" for word, found in words if found]
    return "; ".join(filter(None, (*parts, _notes(c), f"{c.origin.distribution} {c.origin.version}")))


def _notes(c: Registered) -> str:
    r = c.record
    notes = sorted(r.presets)
    if isinstance(r, ExplainerRecord):
        notes += ["control"] * r.control + ["reference"] * r.reference + ["signed"] * r.signed
        notes += ["model-independent"] * r.model_independent
    if isinstance(r, PaperRecord):
        notes += [r.source] + ([] if r.minutes is None else [f"{r.minutes:g} CPU min"])
    if isinstance(r, MetricRecord):
        notes += [r.family, f"{r.better} is better"] + [r.scope] * (r.scope != "sample")
    return ", ".join(notes)


# ---- layers ---------------------------------------------------------------------------------------------------------

_NAMED_WITHOUT_USE = 6  # layers named of those that cannot be used for one reason


def show_layers(registry: Registry, model: str, *, json: bool) -> None:
    """Print the inner layers of a detector with their shapes: those that ``target_layer`` takes, and why not others."""
    detector = _opened(registry, model)
    facts = detector.facts
    method = getattr(detector, "layer_shapes", None)
    if method is None:
        raise ModelError(f"{facts.name} does not tell its inner layers", "give a PyTorch or ONNX file, or a factory")
    with plugin_output():
        rows: tuple[LayerShape, ...] = tuple(method())
    if json:
        layers = [asdict(row) | {"shape": list(row.shape), "usable": bool(row.grid)} for row in rows]
        chosen = {"model": facts.name, "target_layer": facts.target_layer}
        print_json({"schema": "xaibench.layers/1", **chosen, "layers": layers})
        return
    _print_layers(facts, rows)


def _print_layers(facts: Facts, rows: Sequence[LayerShape]) -> None:
    from rich.markup import escape
    from rich.table import Table

    console = make_console()
    title = f"layers of {facts.name} that target_layer takes, and their shapes on one picture"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in ("layer", "shape", "grid", "remark"):
        table.add_column(column, overflow="fold")
    for row in rows:
        if row.grid:
            remark = "chosen" if row.chosen else row.remark
            cells = (row.name, " x ".join(map(str, row.shape)), row.grid, remark)
            table.add_row(*map(escape, cells), style="bold" if row.chosen else None)
    console.print(table)
    others: dict[str, list[str]] = {}
    for row in rows:
        if not row.grid:
            others.setdefault(row.remark, []).append(row.name)
    for reason, names in others.items():
        shown = ", ".join(names[:_NAMED_WITHOUT_USE])
        more = f" and {len(names) - _NAMED_WITHOUT_USE} more" if len(names) > _NAMED_WITHOUT_USE else ""
        console.print(f"{len(names)} {reason}: {shown}{more}", markup=False, highlight=False)
    if facts.target_layer is None:
        console.print(f"none is chosen: {facts.limits.get('activations', 'not given')}", markup=False, highlight=False)


# ---- info -----------------------------------------------------------------------------------------------------------


@help_page(
    "Components", "xaibench info rise", "xaibench info deletion --json", "xaibench info card  # keys of a model card"
)
def show_component(
    name: Annotated[
        str,
        typer.Argument(
            help="Component, NAME or DISTRIBUTION/NAME; card: the keys of a model card.",
            autocompletion=completion("component", [_CARD]),
        ),
    ],
    plugin: PluginFiles = None,
    json: JsonFlag = False,
) -> None:
    """Describe a component: parameters, needs, scores, source."""
    registry = load_registry(plugin or [])
    found = []
    for kind in get_args(Kind):
        try:
            found.append(registry.find(kind, name))
        except UnknownComponent:
            continue
    if not found and name == _CARD:
        _show_card(registry, json)
        return
    if not found:
        raise UnknownComponent(f"no component called '{name}'", registry.hint(registry.components, name))
    rows = [_as_json(c) | {"parameters": _parameters(c), "scores": _scores(c)} for c in found]
    if json:
        print_json({"schema": "xaibench.info/1", "components": rows})
        return
    for component, row in zip(found, rows, strict=True):
        _print_one(component, row)


def _parameters(c: Registered) -> list[dict[str, Any]]:
    """What can be set, with the defaults under this name: a ready-made name has its own. Of a secret, its variable."""
    from xaibench.api import describe_parameters, parameter_class

    ready = getattr(c.record, "parameters", {})
    rows = describe_parameters(parameter_class(c.load()), c.registry)
    for row in rows:
        if row["type"] == "secret":
            variable = secret_variable(c.origin.distribution, row["name"])
            row |= {"variable": variable, "description": f"{row['description']} (from {variable})".strip()}
        elif row["name"] in ready:
            row["default"] = ready[row["name"]]
    return rows


def _show_card(registry: Registry, json: bool) -> None:
    """Every key of a model card, and the models that read it."""
    rows: list[dict[str, Any]] = []
    for component in registry.of_kind("model"):
        for row in _card_keys(component):
            same = next((r for r in rows if {**r, "models": None} == {**row, "models": None}), None)
            if same is None:
                rows.append(row | {"models": [component.record.name]})
            else:
                same["models"].append(component.record.name)
    if json:
        print_json({"schema": "xaibench.info/1", "card": rows})
        return
    text = "A TOML file beside the model, with any of these keys. A key that is left out has the default."
    make_console().print(text, markup=False, highlight=False)
    _print_table("card", [r | {"models": ", ".join(r["models"])} for r in rows], (*_PARAMETER_COLUMNS, "models"))


def _card_keys(component: Registered) -> list[dict[str, Any]]:
    """The keys of a model's card. Where the default depends on the file, the description tells it."""
    from xaibench.api import describe_parameters

    target = getattr(component.record, "card", "")
    rows = describe_parameters(component.load(target)) if target else []
    for row in rows:
        told = _TOLD_DEFAULT.search(row["description"])
        if row["default"] is None and told is not None:
            row |= {"default": told[1], "description": row["description"][: told.start()].rstrip()}
    return rows


def _scores(c: Registered) -> list[dict[str, Any]]:
    """Scores of a metric that can be made from its defaults; none where it has a required parameter."""
    if not isinstance(c.record, MetricRecord):
        return []
    from xaibench.discovery.components import make

    with plugin_output():
        try:
            specs = make(c, {}).instance.scores
        except UsageError:
            return []
        return [asdict(s) for s in specs]


def _print_one(component: Registered, row: dict[str, Any]) -> None:
    import inspect

    from rich.markup import escape

    console = make_console()
    console.print(f"[bold]{row['kind']} {row['name']}[/bold]  {escape(row['origin'])} {escape(row['version'])}")
    text = inspect.getdoc(component.load()) or row["summary"]
    console.print("\n\n".join(" ".join(p.split()) for p in text.split("\n\n")), markup=False, highlight=False)
    for line in component.record.sources:
        console.print(f"[bold]source[/bold]: {escape(line)}", highlight=False)
    for key in ("presets", *_EXTRAS):
        if row.get(key) not in (None, "", []):
            value = ", ".join(row[key]) if isinstance(row[key], list) else row[key]
            console.print(f"[bold]{key}[/bold]: {escape(str(value))}", highlight=False)
    for title, entries, columns in (
        ("parameters", row["parameters"], _PARAMETER_COLUMNS),
        ("scores", row["scores"], ("name", "better", "low", "high", "version", "description")),
    ):
        if entries:
            _print_table(title, entries, columns)
    console.print()


def _print_table(title: str, entries: Sequence[dict[str, Any]], columns: Sequence[str]) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for entry in entries:
        table.add_row(*("" if entry[c] is None else escape(str(entry[c])) for c in columns))
    make_console().print(table)
