"""``xaibench info card``: the keys of model cards, as the components declare them that read cards."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

from xaibench.api import ModelRecord, Parameters, describe_parameters, make_console, print_json
from xaibench.discovery.registry import Registered, Registry

NAME = "card"


def show_card_keys(registry: Registry, json: bool) -> None:
    """Print every key of a card, and which components read it."""
    readers = [c for c in registry.of_kind("model") if isinstance(c.record, ModelRecord) and c.record.card]
    keys = _keys(readers)
    if json:
        print_json({"schema": "xaibench.card/1", "keys": keys})
        return
    _print(keys, [c.record.name for c in readers])


def _keys(readers: list[Registered]) -> list[dict[str, Any]]:
    """One row for each key with type, default, description and readers; those that all read come first."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for component in readers:
        for row in _rows(component.load(component.record.card), component):  # type: ignore[attr-defined]
            rows.setdefault((row["name"], row["description"]), {**row, "models": []})["models"].append(
                component.record.name
            )
    return sorted(rows.values(), key=lambda row: -len(row["models"]))


def _rows(keys: type[Parameters], component: Registered) -> Iterator[dict[str, Any]]:
    for row in describe_parameters(keys, component.registry):
        yield row
        for table in _tables(keys.model_fields[row["name"]].annotation):
            yield from ({**inner, "name": f"{row['name']}.{inner['name']}"} for inner in describe_parameters(table))


def _tables(annotation: Any) -> Iterator[type[Parameters]]:
    """The tables that a key may be."""
    if isinstance(annotation, type) and issubclass(annotation, Parameters):
        yield annotation
    for inner in get_args(annotation):
        yield from _tables(inner)


def _print(keys: list[dict[str, Any]], readers: list[str]) -> None:
    from rich.markup import escape
    from rich.table import Table

    console = make_console()
    console.print(
        "A card is a TOML file beside a model (FILE.toml beside FILE.onnx), with these keys. They can also be given as "
        "parameters: --model FILE:key=value.",
        highlight=False,
    )
    table = Table(box=None, pad_edge=False, header_style="bold", expand=True)
    table.add_column("key", no_wrap=True)
    table.add_column("type", ratio=2, overflow="fold")
    table.add_column("description", ratio=5, overflow="fold")
    for row in keys:
        notes = [] if row["default"] is None else [f"default {str(row['default']).lower()}"]
        notes += [] if len(row["models"]) == len(readers) else [f"{' and '.join(row['models'])} only"]
        description = row["description"] + (f" ({'; '.join(notes)})" if notes else "")
        table.add_row(*(escape(text) for text in (row["name"], row["type"], description)))
    console.print(table)
