"""Flags and environment variables of commands, derived from the fields that declare the settings."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from xaibench.api.value_completion import completion

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo


@dataclass(frozen=True, slots=True)
class Flag:
    """A flag of a command.

    ``help`` is a phrase without a full stop. ``short`` is a second, short flag. ``path`` is True where the value is the
    path of a file. ``values`` is the kind of its values, which the shell completes (:func:`completion`). ``choices``
    are its only values. ``panel`` is the heading under which the help shows it.
    """

    name: str
    help: str
    short: str = ""
    path: bool = False
    values: str = ""
    choices: tuple[str, ...] = ()
    panel: str = ""

    @property
    def long(self) -> str:
        """The flag on the command line, such as ``--no-plugin``."""
        return f"--{self.name.replace('_', '-')}"

    def option(self, help: str = "", **details: Any) -> Any:
        """The option of a typer command, ``Annotated[str, flag.option()]``. ``help`` replaces the text of the flag."""
        import typer

        text = help or self.help
        names = (self.long, self.short) if self.short else (self.long,)
        if self.values or self.choices:
            details.setdefault("autocompletion", completion(self.values, self.choices))
        if self.panel:
            details.setdefault("rich_help_panel", self.panel)
        if details.keys() & {"min", "max"}:
            details["callback"] = _within(details.pop("min", None), details.pop("max", None))
        return typer.Option(*names, help=f"{text[:1].upper()}{text[1:]}.", **details)


def _within(low: float | None, high: float | None) -> Callable[[Any], Any]:
    """A callback that refuses numbers beyond the bounds. Those of typer stand in the help, where they leave no room."""

    def check(value: Any) -> Any:
        import typer

        bounds = f"{'' if low is None else f'{low} <= '}x{'' if high is None else f' <= {high}'}"
        if value is not None and ((low is not None and value < low) or (high is not None and value > high)):
            raise typer.BadParameter(f"{value} is not in the range {bounds}")
        return value

    return check


SHARED_FLAGS: Mapping[str, Flag] = {
    flag.name: flag
    for flag in (
        Flag("model", "detector: a name, a file, or a folder of files (a family)", "-m", values="model"),
        Flag("dataset", "dataset: a name or a folder", "-D", values="dataset"),
        Flag("explainer", "explainer, NAME[:KEY=VALUE,...]; default: the preset's", "-e", values="explainer"),
        Flag("metric", "metric, NAME[:KEY=VALUE,...]; default: the preset's", "-x", values="metric"),
        Flag("seed", "seed of every random stream"),
        Flag("limit", "only the first N samples of the seeded order"),
        Flag("split", "only samples of this split", values="split"),
        Flag("jobs", "worker processes", "-j"),
        Flag("threads", "CPU threads that one detector uses; default: all cores"),
        Flag("device", "device: cpu, cuda, cuda:N or auto"),
        Flag("plugin", "file of a one-off plugin to load", path=True),
        Flag("no_plugin", "distribution whose plugins are left out"),
        Flag("quiet", "print what failed, else one line, and nothing more", "-q"),
        Flag("verbose", "say more on stderr: plugins, each part of the work, its time", "-v"),
        Flag("parameter", "component's parameter, KIND.NAME.KEY=VALUE, as explainer.rise.masks=8000", "-p"),
    )
}
"""Flags that several commands have, by name. A setting with the same meaning is declared with one of them."""


def setting(
    default: Any,
    help: str | Flag,
    *,
    short: str = "",
    path: bool = False,
    flag: str = "",
    values: str = "",
    panel: str = "",
    **limits: Any,
) -> Any:
    """A field of a :class:`~xaibench.api.Parameters` class that a command takes as a flag (:func:`with_flags`).

    Parameters
    ----------
    default: the default, ``...`` where the field is required.
    help: the meaning of the setting, a phrase without a full stop and without the default; or one of
        ``SHARED_FLAGS``, whose name and text the flag then has.
    short: a second, short flag, such as ``-m``.
    path: whether the value is the path of a file.
    flag: the flag's name where it is not the field's.
    values: the kind of its values, which the shell completes (:func:`completion`).
    panel: the heading under which the help of the command shows the flag.
    limits: further arguments of ``pydantic.Field``, such as ``ge=1``.
    """
    from pydantic import Field

    shared = help if isinstance(help, Flag) else Flag(flag, help, short, path, values)
    extra: dict[str, Any] = {key: getattr(shared, key) for key in ("short", "path", "values")}
    extra |= {"flag": shared.name, "panel": panel}
    return Field(default, description=shared.help, json_schema_extra=extra, **limits)


def with_flags(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a typer command a flag for each field of the settings that it takes.

    A parameter whose annotation is a :class:`~xaibench.api.Parameters` class is replaced by the flags of its fields, in
    their order. The command is called with the validated object. Its ``model_fields_set`` are the fields whose flag or
    environment variable the user set.

    * A list may be repeated; a table is written ``-p KEY=VALUE``; a switch that is on by default becomes ``--no-NAME``.
    * The help is the field's description with the choices and the default.
    * A wrong value raises :class:`~xaibench.api.UsageError`, which names the flag, the variable or the user's config.
    * A command that has a parameter ``context: typer.Context`` receives it.
    """
    import typer

    from xaibench.api.parameters import Parameters, build_parameters

    signature = inspect.signature(command, eval_str=True)
    groups: dict[str, tuple[type[Parameters], dict[str, Flag]]] = {}
    parameters = [inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)]
    takes_context = "context" in signature.parameters
    for parameter in (p for p in signature.parameters.values() if p.name != "context"):
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
            inputs = {key: _input(values.pop(flag.name), model.model_fields[key]) for key, flag in flags.items()}
            fields = {key: value for key, value in inputs.items() if value is not None}
            origins = {key: _origin(context, flags[key]) for key in fields}
            values[argument] = build_parameters(model, fields, context.info_name or "", origins=origins)
        return command(**values, **({"context": context} if takes_context else {}))

    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    return run


def configured_fields(context: Any, model: type[Any]) -> set[str]:
    """The fields of ``model`` whose flag has its value from the user's config."""
    names = {key: _flag(key, field).name for key, field in model.model_fields.items()}
    return {key for key, name in names.items() if _source(context, name) == "DEFAULT_MAP"}


def _source(context: Any, name: str) -> str:
    source = context.get_parameter_source(name)
    return source.name if source is not None else ""


def _flag(key: str, field: FieldInfo) -> Flag:
    """The flag of a field. Its help is the description with the choices and the default."""
    extra: Any = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    name, text, default = extra.get("flag") or key, field.description or "", field.default
    choices: tuple[str, ...] = ()
    if default is True:
        name, text = f"no_{name}", f"do not {text}"
    elif _kind(field) is Literal:
        choices = tuple(map(str, get_args(_type(field))))
        words = [f"{c} (default)" if c == default else c for c in choices]
        text += f": {' or '.join(filter(None, (', '.join(words[:-1]), words[-1])))}"
    elif isinstance(default, str | int | float) and default is not False and default != "":
        text += f" (default {default})"
    more = {word: extra.get(word, "") for word in ("short", "values", "panel")}
    return Flag(name, text, path=extra.get("path", False), choices=choices, **more)


def _parameter(flag: Flag, field: FieldInfo) -> inspect.Parameter:
    """The parameter of a typer command for a field."""
    kind, value = _kind(field), Path if flag.path else str
    annotation: Any = bool if kind is bool else list[value] | None if kind in _REPEATED else value | None  # type: ignore[valid-type]
    word = kind.__name__ if kind in (int, float) else "path" if flag.path else "str"
    metavar = None if kind is bool else f"<{word}>{'...' if kind in _REPEATED else ''}"
    default = inspect.Parameter.empty if field.is_required() else False if kind is bool else None
    return inspect.Parameter(
        flag.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[annotation, flag.option(metavar=metavar, show_default=False)],
    )


def _input(value: Any, field: FieldInfo) -> Any:
    """The value that typer read, as input of the field; None where the flag is not set."""
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
    """The source of a value for messages: the flag, the environment variable, or the config that ``obj`` names."""
    source = _source(context, flag.name)
    if source == "ENVIRONMENT":
        return f"{context.auto_envvar_prefix}_{flag.name}".upper()
    return f"{context.obj}: {flag.long[2:]}" if source == "DEFAULT_MAP" else flag.long


_REPEATED = (tuple, list, set, frozenset, dict)


def _type(field: FieldInfo) -> Any:
    """The type of a field without None; ``str`` where there are several."""
    if get_origin(field.annotation) not in (Union, UnionType):
        return field.annotation
    types = [a for a in get_args(field.annotation) if a is not NoneType]
    return types[0] if len(types) == 1 else str


def _kind(field: FieldInfo) -> Any:
    """The type of a field without its parameters: ``tuple`` for ``tuple[str, ...]``."""
    return get_origin(_type(field)) or _type(field)
