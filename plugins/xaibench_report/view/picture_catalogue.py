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
from xaibench_report.browser.picture_listing import filter_columns, filter_values, listed_picture, rows_by_sample
from xaibench_report.browser.sample_entry import Row, prediction_words
from xaibench_report.values.run_values import RunTables, texts
from xaibench_statistics import Strings

Chosen = npt.NDArray[np.bool_]

PAGE: Final = 100
_RIGHT: Final = ("right", "wrong")
_NAMES: Final = ("q", "right", "reason", "offset")
_MOST_VALUES: Final = 200
_OF_VERDICT: Final = ("sample", "verdict", "p_fake", "correct", "status", "reason")


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
    def _ids(self) -> Strings:
        return texts(self._samples, "sample")

    @cached_property
    def _columns(self) -> Mapping[str, Strings]:
        return filter_columns(self._samples, _MOST_VALUES)

    @property
    def filters(self) -> dict[str, list[str]]:
        """The values of each column by which pictures are filtered."""
        return filter_values(self._columns)

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
            passes = {
                s for s, rows in self._predictions.items() if right in {prediction_words(r)["right"] for r in rows}
            }
            yield np.asarray([str(s) in passes for s in self._ids], np.bool_)

    @cached_property
    def _predictions(self) -> Mapping[str, list[Row]]:
        """What all detectors say of a picture."""
        return rows_by_sample(self.tables.predictions.select(_OF_VERDICT))

    def _listed(self, place: int) -> dict[str, Any]:
        sample = str(self._ids[place])
        columns = {name: str(column[place]) for name, column in self._columns.items()}
        return listed_picture(sample, sample, self.reasons.get(sample, ()), self._predictions.get(sample, []), columns)


def _whole_number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise UsageError(f"offset = {printable(text)} is no number", "give 0, 100, 200 and so on")
    return int(text)
