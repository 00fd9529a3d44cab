"""All pictures of a run, by what a browser filters them: columns of the samples, and whether a verdict is right."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from xaibench.api import UsageError, printable
from xaibench_report.values.number_format import number
from xaibench_report.values.run_values import RunTables, texts

Chosen = npt.NDArray[np.bool_]

PAGE: Final = 100
_RIGHT: Final = ("right", "wrong")
_NAMES: Final = ("q", "right", "reason", "offset")
_MOST_VALUES: Final = 200
_NO_FILTERS: Final = frozenset(
    ("dataset", "sample", "order", "group", "cross_group", "pair", "stranger", "face_size", "doubt", "digest",
     "stranger_digest", "picture", "pixel_digest", "fingerprint")
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class PictureCatalogue:
    """The samples of the last plan in their order.

    ``reasons``: why a sample is among the chosen ones; those that are not have none.
    """

    tables: RunTables
    reasons: Mapping[str, Sequence[str]]

    @cached_property
    def _samples(self) -> pa.Table:
        rows = self.tables.samples
        if rows is None:
            return pa.table({"sample": pa.array([], pa.string())})
        return rows.filter(pc.is_valid(rows["order"])).sort_by("order")

    @cached_property
    def _ids(self) -> npt.NDArray[np.str_]:
        return texts(self._samples, "sample")

    @cached_property
    def _columns(self) -> Mapping[str, npt.NDArray[np.str_]]:
        """The columns of text that tell pictures apart, label and method first."""
        schema = self._samples.schema
        names = [f.name for f in schema if f.name not in _NO_FILTERS and pa.types.is_string(f.type)]
        ordered = sorted(names, key=lambda n: (n not in ("label", "method"), n))
        columns = {name: texts(self._samples, name) for name in ordered}
        return {n: c for n, c in columns.items() if 1 < len(np.unique(c)) <= _MOST_VALUES}

    @property
    def filters(self) -> dict[str, list[str]]:
        """The values of each column by which pictures are filtered."""
        return {
            printable(name): [printable(str(v)) for v in np.unique(column) if v]
            for name, column in self._columns.items()
        }

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, sample: str) -> bool:
        return sample in self._place

    @cached_property
    def _place(self) -> Mapping[str, int]:
        return {str(s): i for i, s in enumerate(self._ids)}

    def page(self, asked: Mapping[str, str]) -> dict[str, Any]:
        """Up to :data:`PAGE` of the pictures that pass, as the browser's index lists them, and how many pass.

        ``asked``: values of columns by ``column.NAME``, ``right`` (right or wrong), ``reason``, ``q`` (part of an id)
        and ``offset``. Raises :class:`UsageError` for another name or value.
        """
        passing = np.flatnonzero(np.logical_and.reduce([np.ones(len(self), np.bool_), *self._tests(asked)]))
        offset = _whole_number(asked.get("offset", "0"))
        shown = passing[offset : offset + PAGE]
        return {
            "total": len(passing),
            "offset": offset,
            "pictures": [self._listed(i) for i in shown.tolist()],
        }

    def _tests(self, asked: Mapping[str, str]) -> Iterator[Chosen]:
        """Which pictures pass each of the filters."""
        columns = {f"column.{printable(name)}": column for name, column in self._columns.items()}
        for name, value in asked.items():
            if name in columns:
                printed = np.asarray([printable(str(v)) for v in np.unique(columns[name])])
                raw = np.unique(columns[name])[printed == value]
                yield np.isin(columns[name], raw)
            elif name not in _NAMES:
                raise UsageError(f"pictures have no '{printable(name)}'", f"filters: {', '.join((*_NAMES, *columns))}")
        if asked.get("q"):
            yield np.char.find(np.char.lower(self._ids), asked["q"].lower()) >= 0
        if asked.get("reason"):
            named = [s for s, reasons in self.reasons.items() if asked["reason"] in reasons]
            yield np.isin(self._ids, np.asarray(named, dtype=np.str_))
        if right := asked.get("right"):
            if right not in _RIGHT:
                raise UsageError(f"right = {printable(right)} is not known", "give right or wrong")
            yield np.asarray([right in self._rightness.get(str(s), ()) for s in self._ids], np.bool_)

    @cached_property
    def _rightness(self) -> Mapping[str, frozenset[str]]:
        """Whether the verdicts on a picture are right, of all detectors."""
        rows = self.tables.predictions.select(["sample", "correct", "status"]).to_pydict()
        found: dict[str, set[str]] = {}
        for sample, correct, status in zip(rows["sample"], rows["correct"], rows["status"], strict=True):
            if status == "ok" and correct is not None:
                found.setdefault(sample, set()).add("right" if correct else "wrong")
        return {sample: frozenset(words) for sample, words in found.items()}

    @cached_property
    def _verdicts(self) -> Mapping[str, str]:
        rows = self.tables.predictions.select(["sample", "verdict", "p_fake", "status"]).to_pydict()
        found: dict[str, dict[str, None]] = {}
        for sample, verdict, p_fake, status in zip(*rows.values(), strict=True):
            if status == "ok":
                found.setdefault(sample, {})[f"{verdict} {number(p_fake)}"] = None
        return {sample: " / ".join(words) for sample, words in found.items()}

    def _listed(self, place: int) -> dict[str, Any]:
        sample = str(self._ids[place])
        columns = {printable(name): printable(str(column[place])) for name, column in self._columns.items()}
        return {
            "key": sample,
            "sample": printable(sample),
            "label": columns.get("label", ""),
            "reasons": list(self.reasons.get(sample, ())),
            "right": sorted(self._rightness.get(sample, ())),
            "verdict": self._verdicts.get(sample, ""),
            "columns": columns,
        }


def _whole_number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise UsageError(f"offset = {printable(text)} is no number", "give 0, 100, 200 and so on")
    return int(text)
