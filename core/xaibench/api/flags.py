"""Flags from declarations: what a setting means stands at its field, its flag and its variable are derived from it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo


@dataclass(frozen=True, slots=True)
class Flag:
    """A flag that several commands have. ``help`` is a phrase without a full stop; ``path``: its value is a file."""

    name: str
    help: str
    short: str = ""
    path: bool = False

    @property
    def long(self) -> str:
        """The flag as it is written, such as ``--no-plugin``."""
        return f"--{self.name.replace('_', '-')}"

    def option(self, help: str = "", **details: Any) -> Any:
        """The flag of a typer command, ``Annotated[str, flag.option()]``; ``help`` replaces the text."""
        import typer

        text = help or self.help
        names = (self.long, self.short) if self.short else (self.long,)
        return typer.Option(*names, help=f"{text[:1].upper()}{text[1:]}.", **details)


SHARED_FLAGS: Mapping[str, Flag] = {
    flag.name: flag
    for flag in (
        Flag("model", "detector: a name, a file, or a folder of files (a family)", "-m"),
        Flag("dataset", "dataset: a name or a folder", "-D"),
        Flag("explainer", "explainer, NAME[:KEY=VALUE,...]; default: the preset's", "-e"),
        Flag("metric", "metric, NAME[:KEY=VALUE,...]; default: the preset's", "-x"),
        Flag("seed", "seed of every random stream"),
        Flag("limit", "only the first N samples of the seeded order"),
        Flag("split", "only samples of this split"),
        Flag("jobs", "worker processes", "-j"),
        Flag("threads", "CPU threads that one detector uses; default: all cores"),
        Flag("device", "device: cpu, cuda, cuda:N or auto"),
        Flag("plugin", "file of a one-off plugin to load", path=True),
        Flag("no_plugin", "distribution whose plugins are left out"),
        Flag("parameter", "component's parameter, KIND.NAME.KEY=VALUE, as explainer.rise.masks=8000", "-p"),
    )
}
"""By name; a setting or an option that means the same is declared with one of them."""


def setting(
    default: Any, help: str | Flag, *, short: str = "", path: bool = False, flag: str = "", **limits: Any
) -> Any:
    """A field of a :class:`~xaibench.api.Parameters` class that a command takes as a flag (:func:`with_flags`).

    Parameters
    ----------
    default: the default, ``...`` where the field is required.
    help: what the setting means, a phrase without a full stop and without the default; or one of ``SHARED_FLAGS``,
        under whose name it is then given.
    short: a second, short flag, such as ``-m``.
    path: whether the value is the path of a file.
    flag: the flag's name where it is not the field's.
    limits: what else ``pydantic.Field`` takes, such as ``ge=1``.
    """
    from pydantic import Field

    shared = help if isinstance(help, Flag) else Flag(flag, help, short, path)
    extra: dict[str, Any] = {"flag": shared.name, "short": shared.short, "path": shared.path}
    return Field(default, description=shared.help, json_schema_extra=extra, **limits)


def with_flags(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a typer command a flag for each field of the settings that it takes.

    A parameter whose annotation is a :class:`~xaibench.api.Parameters` class is replaced by the flags of its fields, in
    their order. The command is called with the validated object, in which a field counts as set
    (``model_fields_set``) where its flag or its variable was given.

    * A list may be repeated; a table is written ``-p KEY=VALUE``; a switch that is on by default becomes ``--no-NAME``.
    * The help is the field's description with the choices and the default.
    * A wrong value raises :class:`~xaibench.api.UsageError`, which names the flag or the variable.
    """
    import typer

    from xaibench.api.parameters import Parameters, build_parameters

    signature = inspect.signature(command, eval_str=True)
    groups: dict[str, tuple[type[Parameters], dict[str, Flag]]] = {}
    parameters = [inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)]
    for parameter in signature.parameters.values():
        model = parameter.annotation
        if isinstance(model, type) and issubclass(model, Parameters):
            flags = {key: _flag(key, field) for key, field in model.model_fields.items()}
            groups[parameter.name] = model, flags
            parameters += [_parameter(flag, model.model_fields[key]) for key, flag in flags.items()]
        else:
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))

    @functools.wraps(command)
    def run(context: typer.Context, **values: Any) -> Any:
        for argument, (model, flags) in groups.items():
            read = {key: _read(values.pop(flag.name), model.model_fields[key]) for key, flag in flags.items()}
            given = {key: value for key, value in read.items() if value is not None}
            origins = {key: _origin(context, flags[key]) for key in given}
            values[argument] = build_parameters(model, given, context.info_name or "", origins=origins)
        return command(**values)

    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    return run


def _flag(key: str, field: FieldInfo) -> Flag:
    """The flag of a field; its help is the description with the choices and the default."""
    extra: Any = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    name, text, default = extra.get("flag") or key, field.description or "", field.default
    if default is True:
        name, text = f"no_{name}", f"do not {text}"
    elif _kind(field) is Literal:
        choices = [f"{c} (default)" if c == default else str(c) for c in get_args(_type(field))]
        text += f": {' or '.join(filter(None, (', '.join(choices[:-1]), choices[-1])))}"
    elif isinstance(default, str | int | float) and default is not False and default != "":
        text += f" (default {default})"
    return Flag(name, text, extra.get("short", ""), extra.get("path", False))


def _parameter(flag: Flag, field: FieldInfo) -> inspect.Parameter:
    """The parameter of a typer command that takes the field."""
    kind, value = _kind(field), Path if flag.path else str
    annotation: Any = bool if kind is bool else list[value] | None if kind in _REPEATED else value | None  # type: ignore[valid-type]
    metavar = f"<{kind.__name__}>" if kind in (int, float) else None
    default = inspect.Parameter.empty if field.is_required() else False if kind is bool else None
    return inspect.Parameter(
        flag.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[annotation, flag.option(metavar=metavar, show_default=False)],
    )


def _read(value: Any, field: FieldInfo) -> Any:
    """What typer read, as the field takes it; None where the flag was not given."""
    from xaibench.api.parameters import parse_assignments

    kind = _kind(field)
    if value is None or value in ([], (), False):
        return None
    if kind is bool:
        return not field.default
    if kind is dict:
        return parse_assignments(value)
    return [str(v) for v in value] if kind in _REPEATED else str(value)


def _origin(context: Any, flag: Flag) -> str:
    """The flag, or the variable where that gave the value."""
    source = context.get_parameter_source(flag.name)
    if source is not None and source.name == "ENVIRONMENT":
        return f"{context.auto_envvar_prefix}_{flag.name}".upper()
    return flag.long


_REPEATED = (tuple, list, set, frozenset, dict)


def _type(field: FieldInfo) -> Any:
    """The type without None; text where there are several."""
    if get_origin(field.annotation) not in (Union, UnionType):
        return field.annotation
    types = [a for a in get_args(field.annotation) if a is not NoneType]
    return types[0] if len(types) == 1 else str


def _kind(field: FieldInfo) -> Any:
    """The type without its parameters: ``tuple`` for ``tuple[str, ...]``."""
    return get_origin(_type(field)) or _type(field)
