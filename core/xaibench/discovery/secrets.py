"""Secret parameters: from environment variables, so that no file, table, key or argument of a process holds them.

A value that is given literally (``--model acme:api_key=k3y``) is moved into the process's environment, which workers
inherit, and taken out of what is stored.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from xaibench.api import Parameters, UsageError, XaibenchError, parameter_class, parse_value, secret_variable
from xaibench.api.parameters import secret_fields, split_commas
from xaibench.api.safe_text import MASK
from xaibench.discovery.registry import Registered, Registry


@dataclass(frozen=True, slots=True)
class Literal:
    """A secret that was given literally: the component's kind and name, the field, and the value."""

    kind: str
    name: str
    field: str
    value: str


Literals = dict[str, Literal]
"""Secrets given literally, by their variable."""

_runs: list[Literals] = []
_warned: set[str] = set()


@contextmanager
def collected_literals() -> Iterator[Literals]:
    """The secrets that are given literally while this lasts: those of one run, which has one value a variable."""
    literals: Literals = {}
    _runs.append(literals)
    try:
        yield literals
    finally:
        _runs.remove(literals)


def fill_secrets(registered: Registered, model: type[Parameters], values: Mapping[str, object]) -> dict[str, object]:
    """Parameter values with the secret ones: the literal value, else that of the variable.

    Raises :class:`UsageError` for a required one that has neither, and for two literal values of one variable in a run.
    """
    filled, ready = dict(values), registered.record.parameters
    fields = secret_fields(model)
    if fields and "" in filled and next(iter(model.model_fields)) in fields:
        filled[next(iter(model.model_fields))] = filled.pop("")
    for field in fields:
        variable = secret_variable(registered.origin.distribution, field)
        if field in filled and filled[field] is None:
            continue
        if field in filled:
            filled[field] = _take(registered, field, variable, filled[field])
        elif value := os.environ.get(variable):
            filled[field] = value
        elif field in ready:
            filled[field] = ready[field]
        elif model.model_fields[field].is_required():
            raise UsageError(
                f"{registered.record.name}: the secret parameter '{field}' is missing: its variable is {variable}",
                f"set {variable}",
            )
    return filled


def take_parameters(entries: Mapping[str, object], registry: Registry) -> None:
    """Take the secrets among ``KIND.NAME.KEY`` entries. What names no component is left for the plan to refuse."""
    for key, value in entries.items():
        kind, _, rest = key.partition(".")
        name, _, field = rest.rpartition(".")
        try:
            registered = registry.find(kind, name)  # type: ignore[arg-type]
            fields = secret_fields(parameter_class(registered.load()))
        except XaibenchError:
            continue
        if value is not None and field in fields:
            _take(registered, field, secret_variable(registered.origin.distribution, field), value)


def is_secret_entry(key: str, literals: Mapping[str, Literal]) -> bool:
    """Whether a ``KIND.NAME.KEY`` entry gives a secret literally."""
    return key in {f"{secret.kind}.{secret.name}.{secret.field}" for secret in literals.values()}


def _take(registered: Registered, field: str, variable: str, given: object) -> str:
    """Move a literal value into the environment, warn once, and mask it in the arguments of this process."""
    value = _text(registered, field, variable, given)
    literal = Literal(registered.record.kind, registered.record.name, field, value)
    if _runs and _runs[-1].setdefault(variable, literal).value != value:
        raise UsageError(
            f"{registered.record.name}: {variable} has one value in a run, and two were given", f"set {variable} alone"
        )
    os.environ[variable] = value
    sys.argv[:] = [masked(argument, literal) for argument in sys.argv]
    if variable not in _warned:
        _warned.add(variable)
        print(
            f"{registered.name}: the secret '{field}' was given in clear, where shells and process lists keep it; "
            f"it is stored nowhere, and the next time is to come from {variable}",
            file=sys.stderr,
        )
    return value


def _text(registered: Registered, field: str, variable: str, given: object) -> str:
    reveal = getattr(given, "get_secret_value", None)
    value = reveal() if reveal is not None else given
    value = value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value
    if isinstance(value, bool) or not isinstance(value, str | int) or "\0" in str(value):
        raise UsageError(
            f"{registered.record.name}: the secret '{field}' was read as {type(value).__name__}, not as text",
            f"set {variable}, or put the value in quotes",
        )
    return str(value)


def masked(argument: str, literal: Literal) -> str:
    """A command-line argument with a literal secret masked."""
    if literal.value == argument:
        return MASK
    written = "|".join({re.escape(literal.value), re.escape(repr(literal.value)[1:-1])})
    assignment = rf"(\b{re.escape(literal.field)}\s*=\s*[\"'(]*|:)(?:{written})(?=[\"'),\]]|$)"
    return re.sub(assignment, lambda match: match.group(1) + MASK, argument)


def without_literals(text: str, literals: Mapping[str, Literal]) -> str:
    """A spec without the secrets that it gives literally: ``acme:api_key=k3y,size=7`` -> ``acme:size=7``."""
    if not any(secret.value in text for secret in literals.values()):
        return text
    head, *parts = split_commas(text) or [""]
    name, colon, first = head.partition(":")
    if "=" in first and not first.startswith("("):  # the name may be an address, which holds colons itself
        start, _, value = head.partition("=")
        name, colon, key = start.rpartition(":")
        first = f"{key}={value}"
    kept = [_without_literal(part, literals, positional=part is first) for part in (first, *parts) if part]
    values = ",".join(filter(None, kept))
    return f"{name}{colon}{values}" if values else name


def _without_literal(part: str, literals: Mapping[str, Literal], positional: bool) -> str:
    """A parameter of a spec, empty where it is a secret, without those in its brackets."""
    key, equals, value = part.partition("=")
    if not equals or part.startswith("("):
        return "" if positional and _is_literal(None, part, literals) else _without_nested(part, literals)
    if _is_literal(key.strip(), value, literals):
        return ""
    return f"{key}={_without_nested(value, literals)}"


def _without_nested(value: str, literals: Mapping[str, Literal]) -> str:
    """A value with the specs in its brackets cleaned."""
    text = value.strip()
    if text[:1] + text[-1:] == "()":
        return f"({without_literals(text[1:-1], literals)})"
    if text[:1] + text[-1:] == "[]":
        return f"[{','.join(without_literals(part, literals) for part in split_commas(text[1:-1]))}]"
    return without_literals(value, literals) if ":" in value else value


def _is_literal(field: str | None, written: str, literals: Mapping[str, Literal]) -> bool:
    value = parse_value(written.strip())
    return any(field in (None, secret.field) and str(value) == secret.value for secret in literals.values())
