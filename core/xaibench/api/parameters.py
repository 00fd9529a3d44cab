"""Typed, documented parameters of components, and the validator that run files and flags share."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Self, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Secret, SecretBytes, SecretStr, ValidationError, model_validator
from pydantic.fields import FieldInfo

from xaibench.api.errors import PluginError, UsageError
from xaibench.api.fills import Components, FillParameter
from xaibench.api.safe_text import MASK
from xaibench.api.toml_text import DEEPEST, parse_toml

P = TypeVar("P", bound="Parameters")

_LARGEST = 10**12


class Parameters(BaseModel):
    """Base class of parameter objects: a frozen pydantic model that refuses unknown keys.

    A component declares ``Parameters = MyParameters`` on its class and takes the object as its only argument. Each
    field has a type and a description: ``cells: int = Field(7, ge=1, description="cells along a side")``.

    A field of type ``SecretStr`` is a secret: its value comes from the variable of :func:`secret_variable` and stands
    in no file, table, log or key.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, ser_json_inf_nan="constants")

    @model_validator(mode="after")
    def _within_bounds(self) -> Self:
        """Refuse integers that only a slip makes: tables and tensors would overflow. Seeds have 63 bits."""
        for name in type(self).model_fields:
            value = getattr(self, name)
            for number in value if isinstance(value, tuple | list) else (value,):
                if isinstance(number, int) and abs(number) >= (2**63 if "seed" in name else _LARGEST):
                    raise ValueError(f"{name} is an integer beyond {_LARGEST:,}, which nothing can count to")
        return self


def parse_value(text: str) -> object:
    """Read ``text`` as a TOML value, or as a string where it is none: ``8000`` -> 8000, ``rise`` -> "rise".

    Parentheses keep a value with commas together: ``(rise:masks=400,cells=7)`` -> "rise:masks=400,cells=7". Brackets
    make a list, whose strings need no quotes: ``[slic-50,grid-7]`` -> ["slic-50", "grid-7"]. An integer of more than 64
    bits stays a string. Raises :class:`UsageError` for lists that are nested more than 40 deep.
    """
    if text[:1] in "[{" and max(text.count("["), text.count("{")) > DEEPEST and _depth(text) > DEEPEST:
        raise UsageError(f"{shorten(text)!r} is nested more than {DEEPEST} deep", "give a flatter value")
    if text.startswith("(") and text.endswith(")"):
        return text[1:-1]
    try:
        return parse_toml(f"v = {text}")["v"]
    except ValueError:
        if text.startswith("[") and text.endswith("]"):
            return [parse_value(part.strip()) for part in split_commas(text[1:-1])]
        return text


def _depth(text: str) -> int:
    """How deep brackets are nested, those in strings included."""
    depth = deepest = 0
    for c in text:
        depth += (c in "[{") - (c in "]}")
        deepest = max(deepest, depth)
    return deepest


def shorten(value: object) -> str:
    """A value for a message, 80 characters at most."""
    try:
        text = str(value)
    except ValueError:  # Python writes no integer of more than 4300 digits
        return "an integer of thousands of digits"
    return text if len(text) <= 80 else f"{text[:60]}... ({len(text):,} characters)"


def parse_spec(text: str) -> tuple[str, dict[str, object]]:
    """Split ``name:key=value,key=value`` into the name and the values.

    A value may hold colons and balanced brackets. A first part without ``=`` is the component's positional parameter
    (``maps:DIR``) and has the key ``""``. Any other part without ``=`` raises :class:`UsageError`.
    """
    name, _, rest = text.partition(":")
    values: dict[str, object] = {}
    for index, part in enumerate(split_commas(rest)):
        key, equals, value = part.partition("=")
        if index == 0 and (not equals or (part.startswith("(") and part.endswith(")"))):
            values[""] = parse_value(part) if part.startswith("(") else part
        elif not equals:
            # The other values are not shown, since one may be a secret.
            raise UsageError(
                f"'{shorten(part)}' among the parameters of '{shorten(name)}' has no value",
                f"write {shorten(name)}:KEY=VALUE,...",
            )
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
            raise UsageError(f"'{shorten(entry)}' has no value", f"write -p {form}")
        values[key.strip()] = parse_value(value.strip())
    return values


def split_commas(text: str) -> list[str]:
    """The parts of ``text`` between commas outside of brackets, without empty ones."""
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


@cache
def secret_fields(model: type[Parameters]) -> tuple[str, ...]:
    """The names of the secret fields: ``SecretStr``, ``SecretBytes`` or ``Secret[...]``, also where None is allowed.

    Raises :class:`PluginError` where a secret lies deeper, in a list, a table or another parameter object.
    """
    found = []
    for name, field in model.model_fields.items():
        options = [a for a in get_args(field.annotation) if a is not type(None)]
        sole = options[0] if len(options) == 1 and get_origin(field.annotation) is not Secret else field.annotation
        if _is_secret(sole) and get_origin(field.annotation) not in _CONTAINERS:
            found.append(name)
        elif any(map(_is_secret, _inner_types(field.annotation, set()))):
            raise PluginError(
                f"{model.__name__}.{name} has a secret within another value, where it cannot be told apart",
                "its author should declare each secret as a field of its own, such as 'api_key: SecretStr'",
            )
    return tuple(found)


_CONTAINERS = (list, tuple, dict, set, frozenset)


def _is_secret(kind: Any) -> bool:
    kind = get_origin(kind) or kind
    return isinstance(kind, type) and issubclass(kind, SecretStr | SecretBytes | Secret)


def _inner_types(kind: Any, seen: set[Any]) -> Iterator[Any]:
    """A type and all that its values may hold."""
    if kind in seen:
        return
    seen.add(kind)
    yield kind
    inner = [f.annotation for f in kind.model_fields.values()] if _is_model(kind) else get_args(kind)
    for part in inner:
        if isinstance(part, type) or get_args(part):
            yield from _inner_types(part, seen)


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def public_json(parameters: Parameters) -> str:
    """Parameters as JSON, without the secret ones."""
    return parameters.model_dump_json(exclude=set(secret_fields(type(parameters))))


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
            raise UsageError(f"{of} takes no parameters, got '{shorten(fields[''])}'", f"write just {of}")
        fields[next(iter(model.model_fields))] = fields.pop("")
    unknown = [k for k in fields if k not in model.model_fields]
    if unknown:
        raise UsageError(f"{of} has no parameter '{shorten(unknown[0])}'", _accepted_names(model, unknown[0]))
    try:
        return model.model_validate(fields, context=components)
    except ValidationError as error:
        first = error.errors()[0]
        reason = first["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
        if not first["loc"]:  # a rule between parameters, which names them itself
            raise UsageError(f"{of}: {reason}") from None
        key = str(first["loc"][0])
        origin = (origins or {}).get(key, key)
        value = MASK if key in secret_fields(model) else shorten(fields.get(key))
        what = f"{origin}={value!s} is wrong: {reason}" if key in fields else f"{origin} is missing"
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

    ``components`` are those that a parameter may name; None: the built-in ones. The type of a secret is ``secret``, and
    its default is not shown.
    """
    secrets = secret_fields(model)
    properties = model.model_json_schema().get("properties", {})
    rows = []
    for name, field in model.model_fields.items():
        kind = _fill_names(field, components) or _type_name(properties.get(name, {}))
        default = "" if name in secrets else field.get_default(call_default_factory=True)
        rows.append({
            "name": name, "type": "secret" if name in secrets else kind,
            "default": "required" if field.is_required() else default, "description": field.description or "",
        })  # fmt: skip
    return rows


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
    ``preset``. Secrets are left out. :func:`parse_spec` reads it back."""
    fields = type(parameters).model_fields
    default = {k: f.get_default(call_default_factory=True) for k, f in fields.items() if not f.is_required()}
    default |= preset or {}
    changed = [
        f"{k}={format_value(v)}"
        for k, v in parameters.model_dump(mode="json", exclude=set(secret_fields(type(parameters)))).items()
        if k not in default or getattr(parameters, k) != default[k]
    ]
    return f"{name}:{','.join(changed)}" if changed else name


def format_value(value: object) -> str:
    """A value as it is written in a spec; :func:`parse_value` reads it back."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"({value})" if isinstance(value, str) and "," in value else str(value)
