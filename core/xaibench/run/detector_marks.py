"""What rows of the table ``detectors`` mean for a run: whether it stops, and what is said before hours are spent."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from xaibench.api import ModelError
from xaibench.detector.structure import is_fault
from xaibench.store.relation import Address

Row = Mapping[str, Any]


def first_fault(rows: Iterable[Row]) -> Row | None:
    """The first row of a structure that is at fault, or that could not be looked at."""
    structures = (row for row in rows if row["check"] == "structure")
    return next((r for r in structures if is_fault(r["name"], r["mark"]) or r["status"] == "failed"), None)


def refusal(fault: Row, rows: Iterable[Row]) -> ModelError:
    """Why a run stops. Where all outputs are one and another reading of the card does better, the card is the cause."""
    what, mend = fault["mark"] or f"could not be looked at: {fault['reason']}", ""
    card = next((r for r in rows if (r["check"], r["model"]) == ("card", fault["model"]) and r["mark"]), None)
    if card is not None and fault["name"] == "distinct":
        what = f"{card['mark']}; with its card it {what}"
        mend = "mend the card (xaibench check MODEL --dataset DATA --write-card does); "
    name = fault["model"] if fault["member"] in ("", fault["model"]) else f"{fault['model']} {fault['member']}"
    return ModelError(
        f"detector {name}: {what}", f"{mend}--accept-detector goes on all the same; every result says so then"
    )


def warnings(rows: Iterable[Row], looks: Collection[Address]) -> Iterator[str]:
    """What was found by these looks and speaks against the detector or its card. Accuracy that withholds no ranks (too
    few people) is left to the results."""
    for row in rows:
        found = any((a.kind, a.model, a.member) == (row["check"], row["model"], row["member"]) for a in looks)
        if row["mark"] and found and (row["withholds_ranks"] or row["check"] != "accuracy"):
            on = f" on {row['dataset']}" if row["check"] != "structure" else ""
            yield f"warning: detector {row['model']}{on}: {row['mark']}"
