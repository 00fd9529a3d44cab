"""What ``explain`` and ``score`` give of a batch of pictures: maps, or the scores of maps."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from xaibench.api import (
    ExplainedMap,
    ExplainedPicture,
    Explanation,
    Score,
    Scores,
    ScoreSpec,
    Sheet,
    SheetView,
    UsageError,
)
from xaibench.run.batch_display import MOST, number, table_html, table_text, titled_html
from xaibench.store.data_frames import pandas_frame

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Explanations:
    """The maps of a batch of pictures. ``maps[i]`` is the :class:`~xaibench.api.Explanation` of picture i.

    Parameters
    ----------
    explainer: the name of the explainer with its parameters.
    ids: the ids of the pictures.
    targets: the explained class of each picture by name; empty where the detector failed.
    results: the explanation of each picture.
    verdicts: ``real`` or ``fake`` of each picture, at the detector's threshold; empty where the detector failed.
    p_fake: P(fake) of each picture; NaN where the detector failed.
    pixels: each picture as the detector saw it, ``(H, W, 3)`` uint8 RGB.
    threshold: P(fake) from which the verdict is ``fake``.
    sheet: draws contact sheets; None where no plugin does.
    """

    explainer: str
    ids: tuple[str, ...]
    targets: tuple[str, ...]
    results: tuple[Explanation, ...]
    verdicts: tuple[str, ...]
    p_fake: tuple[float, ...]
    pixels: tuple[Any, ...]
    threshold: float = 0.5
    sheet: SheetView | None = None

    def __len__(self) -> int:
        return len(self.results)

    def __getitem__(self, index: int) -> Explanation:
        return self.results[index]

    def __iter__(self) -> Iterator[Explanation]:
        return iter(self.results)

    @cached_property
    def array(self) -> np.ndarray[Any, Any]:
        """The maps, ``(N, H, W)`` float32; NaN where a picture has none (its status is not ``ok``)."""
        import numpy as np

        height, width = self.pixels[0].shape[:2]
        absent = np.full((height, width), np.nan, np.float32)
        return np.stack([absent if e.map is None else e.array for e in self.results])

    @property
    def status(self) -> tuple[str, ...]:
        """The status of each map: ``ok``, ``undefined``, ``not_applicable`` or ``failed``."""
        return tuple(e.status for e in self.results)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why a picture has no map; empty where it has one."""
        return tuple(e.reason for e in self.results)

    @property
    def _title(self) -> str:
        return f"{self.explainer}: {_count(len(self), 'picture')}"

    def __repr__(self) -> str:
        rows = [
            (sample, verdict, number(p), target, e.status, *_extremes(e), e.reason)
            for sample, verdict, p, target, e in self._rows()
        ]
        header = ("sample", "verdict", "P(fake)", "explains", "status", "least", "most", "why")
        used = [i for i, name in enumerate(header) if any(row[i] for row in rows) or not rows]
        return table_text(self._title, [header[i] for i in used], [[row[i] for i in used] for row in rows])

    def show(self) -> Sheet:
        """The contact sheet of the first 16 pictures, as ``xaibench explain`` draws it, at the size that the detector
        saw: a notebook shows it, and ``.save("sheet.html")`` writes it.

        Raises :class:`UsageError` where no plugin draws sheets.
        """
        if self.sheet is None:
            raise UsageError("no plugin draws contact sheets", "install xaibench whole")
        rows = zip(self.pixels[:MOST], self._rows(), strict=False)
        return self.sheet([self._explained(pixels, *row) for pixels, row in rows])

    def _repr_html_(self) -> str | None:
        if self.sheet is None:
            return None
        return titled_html(self._title, self.show()._repr_html_(), len(self))

    def _explained(
        self, pixels: Any, sample: str, verdict: str, p: float, target: str, explanation: Explanation
    ) -> ExplainedPicture:
        return ExplainedPicture(
            name=sample,
            pixels=pixels,
            box=(0.0, 0.0, float(pixels.shape[0]), float(pixels.shape[1])),
            verdict=verdict,
            p_fake=p,
            threshold=self.threshold,
            target=target,
            maps=(ExplainedMap(explainer=self.explainer, explanation=explanation),),
        )

    def _rows(self) -> Iterator[tuple[str, str, float, str, Explanation]]:
        return zip(self.ids, self.verdicts, self.p_fake, self.targets, self.results, strict=True)


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class MapScores:
    """The scores of the maps of a batch by one metric. ``scores[i]`` are the :class:`~xaibench.api.Scores` of map i.

    A score of several items, such as of several k, stands under ``NAME ITEM``. Libraries of data frames take the
    object as it is (the Arrow PyCapsule interface): ``polars.DataFrame(scores)``.

    Parameters
    ----------
    metric: the name of the metric with its parameters.
    specs: the scores that it declares.
    ids: the ids of the pictures.
    targets: the explained class of each picture by name; empty where the detector failed.
    results: the scores of each map, with curves.
    """

    metric: str
    specs: tuple[ScoreSpec, ...]
    ids: tuple[str, ...]
    targets: tuple[str, ...]
    results: tuple[Scores, ...]

    def __len__(self) -> int:
        return len(self.results)

    def __getitem__(self, index: int) -> Scores:
        return self.results[index]

    def __iter__(self) -> Iterator[Scores]:
        return iter(self.results)

    @cached_property
    def values(self) -> dict[str, np.ndarray[Any, Any]]:
        """Score to its values, ``(N,)`` float64; NaN where the status of a picture is not ``ok``."""
        import numpy as np

        return {name: np.array([v for v, _, _ in column]) for name, column in self._columns.items()}

    @cached_property
    def status(self) -> dict[str, tuple[str, ...]]:
        """Score to the status of each picture: ``ok``, ``undefined``, ``not_applicable`` or ``failed``."""
        return {name: tuple(s for _, s, _ in column) for name, column in self._columns.items()}

    @cached_property
    def reasons(self) -> dict[str, tuple[str, ...]]:
        """Score to the reason of each picture why there is no value; empty where there is one."""
        return {name: tuple(r for _, _, r in column) for name, column in self._columns.items()}

    @cached_property
    def _columns(self) -> dict[str, list[_Entry]]:
        """Value, status and reason of each picture by score, in the order in which the metric declares them."""
        rows = [{f"{s.name} {s.item}".strip(): s for s in scores.values} for scores in self.results]
        found = dict.fromkeys(name for row in rows for name in row)
        with_items = {name.partition(" ")[0] for name in found if " " in name}
        order = [s.name for s in self.specs]
        names = sorted(
            found.keys() - with_items, key=lambda n: (order.index(n.partition(" ")[0]), list(found).index(n))
        )
        return {name: [_entry(row.get(name) or row.get(name.partition(" ")[0])) for row in rows] for name in names}

    def to_arrow(self) -> pa.Table:
        """A row for each picture, score and item, with the target, the metric, the direction and the status."""
        import pyarrow as pa

        better = {s.name: s.better for s in self.specs}
        rows = [
            {
                "sample": sample, "target": target or None, "metric": self.metric, "score": s.name, "item": s.item,
                "value": None if s.value is None else float(s.value), "better": better[s.name], "status": s.status,
                "reason": s.reason or None,
            }
            for sample, target, scores in zip(self.ids, self.targets, self.results, strict=True)
            for s in scores.values
        ]  # fmt: skip
        columns = ("sample", "target", "metric", "score", "item", "value", "better", "status", "reason")
        schema = pa.schema([(c, pa.float64() if c == "value" else pa.string()) for c in columns])
        return pa.Table.from_pylist(rows, schema=schema)

    def to_pandas(self) -> Any:
        """The rows of :meth:`to_arrow` as a pandas data frame. Raises :class:`UsageError` where it is not installed."""
        return pandas_frame(self.to_arrow())

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self.to_arrow().__arrow_c_stream__(requested_schema)

    @property
    def _title(self) -> str:
        return f"{self.metric}: {_count(len(self), 'picture')}"

    def __repr__(self) -> str:
        return table_text(self._title, *self._summary)

    def _repr_html_(self) -> str:
        return table_html(self._title, *self._summary)

    @property
    def _summary(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """A row for each score: its mean and range over the pictures that have a value, and why others have none."""
        better = {s.name: str(s.better) for s in self.specs}
        rows: list[tuple[str, ...]] = []
        for name, column in self._columns.items():
            values = [value for value, status, _ in column if status == "ok"]
            rows.append((name, better[name.partition(" ")[0]], *_mean_and_range(values), _why(column)))
        return ("score", "better", "mean", "least", "most", "pictures", "without a value"), rows


_Entry = tuple[float, str, str]


def _entry(score: Score | None) -> _Entry:
    """Value, status and reason. ``None``: an item that this picture does not have."""
    if score is None:
        return math.nan, "not_applicable", "this picture has no such item"
    return math.nan if score.value is None else float(score.value), score.status, score.reason


def _mean_and_range(values: Sequence[float]) -> tuple[str, str, str, str]:
    if not values:
        return "-", "-", "-", "0"
    return number(sum(values) / len(values)), number(min(values)), number(max(values)), str(len(values))


def _why(column: Sequence[_Entry]) -> str:
    """How many have no value, and the most frequent reason."""
    missing = Counter(f"{status}: {reason}" for _, status, reason in column if status != "ok")
    return f"{missing.total()} {missing.most_common(1)[0][0]}" if missing else ""


def _extremes(explanation: Explanation) -> tuple[str, str]:
    if explanation.map is None:
        return "", ""
    return number(float(explanation.map.min())), number(float(explanation.map.max()))


def _count(n: int, thing: str) -> str:
    return f"{n} {thing}{'' if n == 1 else 's'}"
