"""Typed, documented parameters of components, and the validator that run files and flags share."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

from xaibench.api.errors import UsageError
from xaibench.api.fills import Components, FillParameter

P = TypeVar("P", bound="Parameters")


class Parameters(BaseModel):
    """Base class of parameter objects: a frozen pydantic model that refuses unknown keys.

    A component declares ``Parameters = MyParameters`` on its class and takes the object as its only argument. Each
    field has a type and a description: ``cells: int = Field(7, ge=1, description="cells along a side")``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, ser_json_inf_nan="constants")


def parse_value(text: str) -> object:
    """Read ``text`` as a TOML value, or as a string where it is none: ``8000`` -> 8000, ``rise`` -> "rise".

    Parentheses keep a value with commas together: ``(rise:masks=400,cells=7)`` -> "rise:masks=400,cells=7". Brackets
    make a list, whose strings need no quotes: ``[slic-50,grid-7]`` -> ["slic-50", "grid-7"].
    """
    if text.startswith("(") and text.endswith(")"):
        return text[1:-1]
    try:
        return tomllib.loads(f"v = {text}")["v"]
    except RecursionError:
        return text
    except ValueError:  # no TOML, or a number of thousands of digits
        if text.startswith("[") and text.endswith("]"):
            return [parse_value(part.strip()) for part in _split_commas(text[1:-1])]
        return text


def parse_spec(text: str) -> tuple[str, dict[str, object]]:
    """Split ``name:key=value,key=value`` into the name and the values.

    A value may hold colons and balanced brackets. A first part without ``=`` is the component's positional parameter
    (``maps:DIR``) and has the key ``""``. Any other part without ``=`` raises :class:`UsageError`.
    """
    name, _, rest = text.partition(":")
    values: dict[str, object] = {}
    for index, part in enumerate(_split_commas(rest)):
        key, equals, value = part.partition("=")
        if index == 0 and (not equals or (part.startswith("(") and part.endswith(")"))):
            values[""] = parse_value(part) if part.startswith("(") else part
        elif not equals:
            raise UsageError(f"'{part}' in '{text}' has no value", f"write {name}:KEY=VALUE,KEY=VALUE")
        else:
            values[key.strip()] = parse_value(value.strip())
    return name.strip(), values


def parse_assignments(entries: Sequence[str], form: str = "KIND.NAME.KEY=VALUE") -> dict[str, object]:
    """Parse entries ``KEY=VALUE``: ``["explainer.rise.masks=8000"]`` -> ``{"explainer.rise.masks": 8000}``.

    Values are read by :func:`parse_value`. An entry without a value raises :class:`UsageError`, whose message shows
    ``form``, the form of an entry.
    """
    values: dict[str, object] = {}
    for entry in entries:
        key, equals, value = entry.partition("=")
        if not equals:
            raise UsageError(f"'{entry}' has no value", f"write -p {form}")
        values[key.strip()] = parse_value(value.strip())
    return values


def _split_commas(text: str) -> list[str]:
    parts, depth, start = [], 0, 0
    for i, c in enumerate(text):
        depth += (c in "([{") - (c in ")]}")
        if c == "," and depth == 0:
            parts.append(text[start:i])
            start = i + 1
    return [p for p in (*parts, text[start:]) if p]


def parameter_class(target: Any) -> type[Parameters]:
    """The parameter class that a component's class declares, or :class:`Parameters`, which has no fields.

    Raises :class:`UsageError` where ``target.Parameters`` is no subclass of it.
    """
    model = getattr(target, "Parameters", Parameters)
    if not (isinstance(model, type) and issubclass(model, Parameters)):
        raise UsageError(f"{target.__name__}.Parameters is not a subclass of xaibench.api.Parameters")
    return model


def build_parameters(
    model: type[P],
    values: Mapping[str, object],
    of: str,
    components: Components | None = None,
    *,
    origins: Mapping[str, str] | None = None,
) -> P:
    """Validate ``values`` and build the parameter object.

    ``of`` is the component's name in messages; ``origins`` names the source of a key in them (a flag, a variable). The
    key ``""`` stands for the field declared first. Values that name a component are looked up in ``components``; None:
    only built-in components are known. A wrong key or value raises :class:`UsageError`, which says what is accepted.
    """
    fields = dict(values)
    if "" in fields:
        if not model.model_fields:
            raise UsageError(f"{of} takes no parameters, got '{fields['']}'", f"write just {of}")
        fields[next(iter(model.model_fields))] = fields.pop("")
    unknown = [k for k in fields if k not in model.model_fields]
    if unknown:
        raise UsageError(f"{of} has no parameter '{unknown[0]}'", _accepted_names(model, unknown[0]))
    try:
        return model.model_validate(fields, context=components)
    except ValidationError as error:
        first = error.errors()[0]
        reason = first["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
        if not first["loc"]:  # a rule between parameters, which names them itself
            raise UsageError(f"{of}: {reason}") from None
        key = str(first["loc"][0])
        origin = (origins or {}).get(key, key)
        what = f"{origin}={fields[key]!s} is wrong: {reason}" if key in fields else f"{origin} is missing"
        raise UsageError(f"{of}: {what}", _describe_field(model, key, components)) from None


def _accepted_names(model: type[Parameters], wrong: str) -> str:
    names = list(model.model_fields)
    if not names:
        return "it takes none"
    near = difflib.get_close_matches(wrong, names, n=1)
    hint = f"did you mean '{near[0]}'? " if near else ""
    return f"{hint}accepted: {', '.join(names)}"


def _describe_field(model: type[Parameters], key: str, components: Components | None) -> str:
    rows = describe_parameters(model, components)
    return next((f"{r['name']}: {r['type']}, {r['description']}" for r in rows if r["name"] == key), "")


def describe_parameters(model: type[Parameters], components: Components | None = None) -> list[dict[str, Any]]:
    """One row for each parameter, with name, type, default and description, as ``xaibench info`` prints it.

    ``components`` are those that a parameter may name; None: the built-in ones.
    """
    properties = model.model_json_schema().get("properties", {})
    return [
        {
            "name": name,
            "type": _fill_names(field, components) or _type_name(properties.get(name, {})),
            "default": "required" if field.is_required() else field.get_default(call_default_factory=True),
            "description": field.description or "",
        }
        for name, field in model.model_fields.items()
    ]


def _fill_names(field: FieldInfo, components: Components | None) -> str:
    """What a parameter that names a fill can be; empty for any other."""
    return " | ".join(n for m in field.metadata if isinstance(m, FillParameter) for n in m.names(components))


_JSON_TYPES = {"integer": "int", "number": "float", "string": "str", "boolean": "bool", "object": "table"}
_LIMITS = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}


def _type_name(schema: Mapping[str, Any]) -> str:
    """A field's type for messages: ``int >= 1``, ``black | grey``, ``[int, ...]``."""
    if "anyOf" in schema:
        return " or ".join(_type_name(s) for s in schema["anyOf"] if s.get("type") != "null")
    if "enum" in schema or "const" in schema:
        return " | ".join(map(str, schema.get("enum") or [schema["const"]]))
    if schema.get("type") == "array":
        items = schema.get("prefixItems") or [schema.get("items", {})]
        return f"[{', '.join(map(_type_name, items))}{'' if 'prefixItems' in schema else ', ...'}]"
    name = _JSON_TYPES.get(schema.get("type", ""), "table" if "$ref" in schema else "any")
    bounds = [f"{sign} {schema[key]}" for key, sign in _LIMITS.items() if key in schema]
    return " ".join((name, *bounds))


def format_spec(name: str, parameters: Parameters, preset: Mapping[str, object] | None = None) -> str:
    """``name[:key=value,…]`` with the values that differ from the defaults: those of the fields, overridden by
    ``preset``. :func:`parse_spec` reads it back."""
    fields = type(parameters).model_fields
    default = {k: f.get_default(call_default_factory=True) for k, f in fields.items() if not f.is_required()}
    default |= preset or {}
    changed = [
        f"{k}={format_value(v)}"
        for k, v in parameters.model_dump(mode="json").items()
        if k not in default or getattr(parameters, k) != default[k]
    ]
    return f"{name}:{','.join(changed)}" if changed else name


def format_value(value: object) -> str:
    """A value as it is written in a spec; :func:`parse_value` reads it back."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"({value})" if isinstance(value, str) and "," in value else str(value)
