"""What a reader of any result of a detector must know: the marks of the table ``detectors`` and of its accuracy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from xaibench_report.values.run_values import Table, Where
from xaibench_statistics import Accuracy

_CHECKS: Final = ("card", "structure", "accuracy")
"""A wrong card comes first: it is the cause of what follows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorMark:
    """A mark on everything that shows results of one detector on one dataset.

    ``check``: structure, accuracy or card; ``name``: what was looked at. ``withholds_ranks``: whether explanations of
    this detector are neither ranked nor held against controls.
    """

    where: Where
    check: str
    name: str
    text: str
    withholds_ranks: bool


def marks_of(where: Where, detectors: Table | None, accuracy: Accuracy) -> tuple[DetectorMark, ...]:
    """The marks of one detector on one dataset: of its structure, its accuracy, its card, each text once.

    ``detectors``: the run's table of that name; None or empty where the run has none.
    """
    found = [*_of_table(where, detectors)]
    found += [
        DetectorMark(where=where, check="accuracy", name=m.name, text=m.text, withholds_ranks=m.withholds_ranks)
        for m in accuracy.marks
    ]
    by_text: dict[str, DetectorMark] = {}
    for mark in sorted(found, key=lambda m: _CHECKS.index(m.check) if m.check in _CHECKS else len(_CHECKS)):
        by_text.setdefault(mark.text, mark)
    return tuple(by_text.values())


def _of_table(where: Where, detectors: Table | None) -> list[DetectorMark]:
    """The structure holds on every dataset, whichever showed it."""
    rows = [] if detectors is None else detectors.to_pylist()
    return [
        DetectorMark(
            where=where, check=r["check"], name=r["name"], text=r["mark"], withholds_ranks=bool(r["withholds_ranks"])
        )
        for r in rows
        if r["mark"]
        and (r["model"], r["member"]) == (where.model, where.member)
        and (r["check"] == "structure" or r["dataset"] == where.dataset)
    ]


def withholding(where: Where, marks: Iterable[DetectorMark]) -> Sequence[DetectorMark]:
    """Those that withhold the ranks of a board. Scores of a whole family, whose member is empty, rest on every
    member."""
    return [
        m
        for m in marks
        if m.withholds_ranks
        and (m.where.dataset, m.where.model) == (where.dataset, where.model)
        and where.member in ("", m.where.member)
    ]
