"""Pages of the reference that are written from the code itself.

``tools/reference.py`` writes them, and a test tells when they have fallen behind. This folder has to be on ``sys.path``.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

from docstrings import markdown

from xaibench.api import describe_parameters, parameter_class
from xaibench.discovery.components import make
from xaibench.discovery.registry import Registered, load_registry

NOTE = "<!-- written by tools/reference.py from the code; do not edit -->\n"


def pages() -> dict[str, str]:
    """Path below ``docs/`` to Markdown."""
    return {
        "reference/command-line.md": command_line(),
        "reference/run-file.md": run_file(),
        "reference/tables.md": tables(),
        "reference/components.md": components(),
        "reference/card.md": card(),
        "reference/onnx-operators.md": onnx_operators(),
        "reference/hooks.md": hooks(),
    }


# ---- command line ---------------------------------------------------------------------------------------------------

EXIT_CODES = {
    0: "every planned cell is ok, undefined or not applicable",
    1: "the run finished, but results failed; in `audit`, metrics",
    2: "wrong usage: a flag, a run-file key given as a flag, or a parameter",
    3: "the plan cannot run: an unknown component, a broken plugin that it needs, a model or dataset that cannot be "
    "opened, a bad run file, a folder that cannot be written or is being written by another process; or it takes longer than "
    "`--max-hours` and nobody said yes",
    4: "nothing to evaluate: no picture or no cell is left",
    5: "`check` found violations, or could check nothing",
    70: "a bug in xaibench; the message asks for a report",
    130: "interrupted; results are kept, but for those of `audit`, which begins anew",
}

VARIABLES = {
    "XAIBENCH_DEBUG": "any value but 0 shows the traceback of an error, as `--debug` does",
    "XAIBENCH_CACHE": "where copies of models lie that are behind a URL, in place of `~/.cache/xaibench`",
    "XAIBENCH_CONFIG": "the user's config file in place of `~/.config/xaibench/config.toml`; empty, none is read",
    "XAIBENCH_STRICT_PLUGINS": "any value but 0 makes every broken plugin fatal (exit 3), whether it is needed or not",
    "XAIBENCH_DISABLE_PLUGINS": "distributions whose plugins are left out, separated by commas, as `--no-plugin` does; "
    "`distribution:entry-point` leaves out one plugin of several",
}


def command_line() -> str:
    """Every command with its arguments and flags, exit codes, environment variables."""
    import typer

    from xaibench.cli.program import commands_of

    app, foreign = commands_of("")
    group: Any = typer.main.get_command(app)
    parts = [
        NOTE,
        "# Command line\n",
        "`xaibench COMMAND`, or `python -m xaibench COMMAND`. `--debug` may stand anywhere on the line. Results and "
        "`--json` go to stdout, progress and messages to stderr. Flags that take a list may be repeated.\n",
    ]
    for name, command in _commands({n: c for n, c in group.commands.items() if n not in foreign}):
        parts += [
            f"## {name}\n",
            f"{inspect.cleandoc(command.help or '')}\n",
            _usage(name, command),
            _flags(name, command),
            _examples(command),
        ]
    parts += [
        "## Exit codes\n",
        _table(("code", "meaning"), ((str(c), text) for c, text in EXIT_CODES.items())),
        "## Environment variables\n",
        "Every flag can be given as a variable, named in the tables above; a flag on the command line wins. Besides:\n",
        _table(("variable", "meaning"), ((f"`{n}`", text) for n, text in VARIABLES.items())),
    ]
    return "\n".join(parts)


def _commands(commands: Any, before: str = "") -> Any:
    """Every command by the words that call it, those of a group after it."""
    for name, command in commands.items():
        yield f"{before}{name}", command
        yield from _commands(getattr(command, "commands", {}), f"{before}{name} ")


def _usage(name: str, command: Any) -> str:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    words = [f"[{a.name.upper()}]" if not a.required else a.name.upper() for a in arguments]
    if getattr(command, "commands", None):
        words.append("COMMAND")
    return f"```sh\nxaibench {' '.join((name, *words))} [FLAGS]\n```\n"


def _examples(command: Any) -> str:
    lines = (command.epilog or "").replace("\\[", "[").splitlines()[1:]
    return f"```sh\n{chr(10).join(lines)}\n```\n" if lines else ""


def _flags(name: str, command: Any) -> str:
    rows = []
    for p in command.params:
        if p.name == "help":
            continue
        if p.param_type_name == "argument":
            rows.append((f"`{p.name.upper()}`", p.help or "", ""))
            continue
        words = ", ".join(f"`{o}`" for o in p.opts)
        variable = f"XAIBENCH_{name}_{p.name}".upper().replace("-", "_").replace(" ", "_")
        shown = p.show_default and p.default is not None and p.default is not False
        default = f" Default: {_value(p.default)}." if shown else ""
        rows.append((words, f"{p.help or ''}{default}", f"`{variable}`"))
    return _table(("argument or flag", "meaning", "variable"), rows) if rows else ""


# ---- ONNX operators -------------------------------------------------------------------------------------------------


def onnx_operators() -> str:
    """What the differentiable executor claims."""
    from xaibench_models.onnx_graph import claims_table

    rows = ((f"`{name}`", opsets, types, limits, mode) for name, opsets, types, limits, mode in claims_table())
    return "\n".join([
        NOTE,
        "# ONNX operators with gradients\n",
        "A graph of these operators is run inside torch's autograd (see [ONNX](../how-to/onnx.md)). A node outside a claim "
        "is refused with its operator, name and reason, and the detector stays a black box. Every official node test of "
        "the installed `onnx` that lies inside the claims is part of the test suite.\n",
        _table(("operator", "opsets", "types", "limits", "inference"), rows),
    ])  # fmt: skip


# ---- run file -------------------------------------------------------------------------------------------------------


def run_file() -> str:
    """Every key of the run file."""
    from xaibench.plan.settings import Settings

    rows = [
        (f"`{r['name'].replace('_', '-')}`", _value(r["default"]), r["type"], r["description"])
        for r in describe_parameters(Settings)
    ]
    return "\n".join([
        NOTE,
        "# Run file\n",
        "A TOML file with the same keys as the flags of [`eval`](command-line.md#eval); a flag wins over the file. "
        "Dashes and underscores are the same. Relative paths are relative to the working directory. Every run writes "
        "its own as `run.toml`, so `xaibench eval RUN/run.toml` does the same run again; the table `[record]` in it, "
        "which names the version, the start and the last commit, is not read as settings.\n",
        '```toml\nmodel = ["detectors/acme.onnx"]\ndataset = ["faces"]\nsplit = "test"\n'
        'explainer = ["rise:masks=4000", "integrated-gradients"]\nlimit = 200\nout = "runs/acme"\n\n'
        "[parameter.metric.deletion]\nsteps = 50\n```\n",
        _table(("key", "default", "type", "meaning"), rows),
    ])  # fmt: skip


# ---- tables ---------------------------------------------------------------------------------------------------------


def tables() -> str:
    """Every table and column of a run's folder, from the Arrow schemas."""
    from xaibench.store.schema import SCHEMA_VERSION, TABLES

    parts = [
        NOTE,
        "# Tables\n",
        f"A run's folder holds one folder a table, with Parquet files that [commits](../explanation/store.md) name. Schema "
        f"version {SCHEMA_VERSION}, kept in each file's metadata (`xaibench.schema`). Descriptions and units are in the "
        "metadata of the columns too. `samples` has the further columns of the data set besides. How to read them: "
        "[Query the tables](../how-to/tables.md).\n",
    ]
    for name, schema in TABLES.items():
        rows = []
        for field in schema:
            metadata = {k.decode(): v.decode() for k, v in (field.metadata or {}).items()}
            kind = str(field.type).replace("<element: ", "<") + (", nullable" if field.nullable else "")
            rows.append((f"`{field.name}`", kind, metadata.get("unit", ""), metadata.get("description", "")))
        parts += [f"## {name}\n", _table(("column", "type", "unit", "meaning"), rows)]
    return "\n".join(parts)


# ---- components -----------------------------------------------------------------------------------------------------

_TITLES = {
    "model": "Detectors", "explainer": "Explainers and controls", "dataset": "Datasets", "metric": "Metrics",
    "fill": "Fills", "executor": "Executors", "recipe": "Training recipes", "listener": "Listeners", "section": "Sections of the report",
    "view": "Views", "paper": "Papers",
}  # fmt: skip


def components() -> str:
    """Every built-in component: what it does, its parameters, its scores."""
    registry = load_registry()
    parts = [
        NOTE,
        "# Components\n",
        "The built-in ones. `xaibench list` shows those of installed plugins too, `xaibench info NAME` one in full. "
        "Parameters are set as `NAME:KEY=VALUE,KEY=VALUE`, with `-p KIND.NAME.KEY=VALUE`, or in the run file.\n",
    ]
    for kind, title in _TITLES.items():
        found = [c for c in registry.of_kind(kind) if c.origin.built_in]  # type: ignore[arg-type]
        if found:
            parts += [f"## {title}\n", *(_component(c) for c in found)]
    return "\n".join(parts)


def _component(component: Registered) -> str:
    record, target = component.record, component.load()
    anchor = f"{record.kind}-{record.name.replace('+', 'p')}"
    parts = [f'<a id="{anchor}"></a>\n', f"### {record.name}\n", f"{record.summary}\n"]
    if record.sources:
        parts.append(f"Source: {' '.join(record.sources)}\n")
    facts = [
        f"{word}: {', '.join(f'`{v}`' for v in sorted(values))}"
        for word in ("needs", "gives", "suffixes", "markers", "presets")
        if (values := getattr(record, word, ()))
    ]
    facts += [word for word in ("signed", "control", "stochastic") if getattr(record, word, False)]
    if family := getattr(record, "family", ""):
        facts.append(f"leaderboard: {family}; scope: {record.scope}")  # type: ignore[attr-defined]
    if facts:
        parts.append(f"{'; '.join(facts)}.\n")
    parts.append(f"{text_of(target)}\n")
    if rows := describe_parameters(parameter_class(target)):
        ready = record.parameters
        parts.append(_table(("parameter", "type", "default", "meaning"), (
            (f"`{r['name']}`", r["type"], _value(ready.get(r["name"], r["default"])), r["description"])
            for r in rows
        )))  # fmt: skip
    if record.kind == "metric":
        parts.append(_scores(component))
    return "\n".join(parts)


def _scores(component: Registered) -> str:
    return _table(("score", "better", "range", "definition", "meaning"), (
        (f"`{s.name}`", s.better, f"{s.low:g} to {s.high:g}", str(s.version),
         s.description + (f" Not held against controls: {s.why_not}." if s.why_not else ""))
        for s in make(component, {}).instance.scores
    ))  # fmt: skip


# ---- model card -----------------------------------------------------------------------------------------------------


def card() -> str:
    """The keys of a model's card."""
    from xaibench_models.card import BatchKeys, CardKeys, OnnxKeys, ResizeKeys
    from xaibench_models.torch_card import TorchKeys

    shared = set(CardKeys.model_fields)
    parts = [
        NOTE,
        "# Model card\n",
        "A TOML file beside the model (`detector.onnx`, `detector.toml`), the same keys in an ONNX file's metadata "
        "(`xaibench.KEY`), or parameters of the component. Parameters win over the TOML file, the TOML file over the "
        "metadata. What the model file says itself is read from it; where card and file contradict each other the "
        "model is refused. A key that is left out has the default given here, which is printed before a run.\n",
        "## Keys\n",
        _keys(CardKeys),
        "## Keys of ONNX files\n",
        _keys(OnnxKeys, leave_out=shared),
        "## Keys of PyTorch models\n",
        _keys(TorchKeys, leave_out=shared),
        "## The table resize\n",
        _keys(ResizeKeys),
        "## The table batch\n",
        _keys(BatchKeys),
    ]
    return "\n".join(parts)


def _keys(model: Any, leave_out: Iterable[str] = ()) -> str:
    left_out = set(leave_out)
    rows = [(f"`{n}`", f.description or "") for n, f in model.model_fields.items() if n not in left_out]
    return _table(("key", "meaning"), rows)


# ---- hooks ----------------------------------------------------------------------------------------------------------


def hooks() -> str:
    """Every hook from its docstring, and the records that hooks return."""
    from xaibench.api import hookspecs

    parts = [
        NOTE,
        "# Hooks and records\n",
        "A plugin is a module named by an entry point of the group `xaibench`. It implements any of these hooks, "
        "marked with `xaibench.api.hookimpl`. `XAIBENCH_API = '1'` on the module says which version of the hooks it was "
        "written for.\n",
        f"{text_of(hookspecs)}\n",
        "## Hooks\n",
    ]
    for name, function in vars(hookspecs).items():
        if name.startswith("xaibench_"):
            parts += [f"### {name}\n", f"```python\ndef {name}{_signature(function)}: ...\n```\n", f"{text_of(function)}\n"]
    parts += ["## Records\n", "Parameters are given by their names. Every record has those of `ComponentRecord`.\n", *map(_record, _records())]
    return "\n".join(parts)


def _records() -> list[type]:
    """The classes of records, the one of what they share first."""
    from xaibench.api import ComponentRecord, records

    return [r for r in vars(records).values() if isinstance(r, type) and issubclass(r, ComponentRecord)]


def _record(record: Any) -> str:
    """A record's docstring, and the parameters that it adds to those of all records."""
    shared = inspect.signature(record.__bases__[0]).parameters if record.__bases__[0] is not object else {}
    own = [p for name, p in inspect.signature(record).parameters.items() if name not in shared]
    rows = [(f"`{p.name}`", f"`{p.annotation}`", _ready(p.default)) for p in own]
    table = _table(("parameter", "type", "default"), rows) if rows else ""
    return f"### {record.__name__}\n\n{text_of(record).rstrip()}\n\n{table}"


def _ready(default: object) -> str:
    if default is inspect.Parameter.empty:
        return "required"
    return f"`{default!r}`" if "factory" not in repr(default) else "`{}`"


def _signature(function: Any) -> str:
    return str(inspect.signature(function)).replace("'", "")


# ---- writing --------------------------------------------------------------------------------------------------------


def text_of(thing: object) -> str:
    """A docstring as Markdown."""
    return markdown(inspect.getdoc(thing) or "")


def _value(value: object) -> str:
    if value is None or value == "":
        return "none"
    if value == "required":
        return "required"
    return f"`{str(value).lower()}`" if isinstance(value, bool) else f"`{value}`"


def _table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    columns = list(columns)
    lines = [columns, ["---"] * len(columns), *(list(row) for row in rows)]
    return "".join(
        f"| {' | '.join(cell.replace('|', chr(92) + '|').replace(chr(10), ' ') for cell in line)} |\n" for line in lines
    )
