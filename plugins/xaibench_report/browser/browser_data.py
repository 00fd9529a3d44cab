"""What the picture browser shows of a run, as plain data: an index of pictures, and an entry for each.

The index is small; an entry holds the pictures of one sample. ``xaibench report`` writes both of chosen samples into
the page. ``xaibench view`` asks for the entry of any sample.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from xaibench.api import UnreadablePicture, printable
from xaibench_report.browser.picture_choice import (
    DISPUTE_CANDIDATES,
    PictureValues,
    agreement,
    choose_pictures,
    choosing_score,
    drawn,
    goodness,
    ranked_ends,
    rule,
)
from xaibench_report.browser.picture_listing import filter_columns, filter_values, listed_picture, rows_by_sample
from xaibench_report.browser.sample_entry import ROLES, Row, SampleRows, first_maps, sample_entry
from xaibench_report.displays.map_colours import NORMALISATION, decoded_map, legend_stops, resized
from xaibench_report.page.report_context import ReportContext
from xaibench_report.values.run_values import Table, score_name, short, texts
from xaibench_statistics import Strings

MOST_PICTURES: Final = 100
"""Pictures of the browser where no number is asked for; fewer where their maps would fill a page."""
_PAGE_BYTES: Final = 12_000_000
_MAP_BYTES: Final = 9_000  # of a noisy layer in base64
_PICTURE_BYTES: Final = 30_000
_MOST_VALUES: Final = 40  # of a column by which the browser filters
_COARSE: Final = (24, 24)


@dataclass(frozen=True, eq=False)
class PictureBrowser:
    """The browser of one run. Maps and artefacts are read of the samples that it needs alone."""

    context: ReportContext

    # ---- the choice ----

    @cached_property
    def index(self) -> dict[str, Any]:
        """The pictures of the browser with what they are filtered by, the rule of their choice, and how maps are drawn.

        ``pictures[i]["key"]`` names the entry of a picture.
        """
        return {
            "rule": rule(self._values, len(self.reasons), len(self._candidates)),
            **self.frame,
            "filters": filter_values(self._columns),
            "pictures": [self._listed(i, sample) for i, sample in enumerate(self.reasons)],
        }

    @cached_property
    def frame(self) -> dict[str, Any]:
        """What of the index does not depend on the choice: how maps are drawn, and whose they are."""
        return {
            "normalisation": NORMALISATION,
            "legend": {"unsigned": legend_stops(signed=False), "signed": legend_stops(signed=True)},
            "explainers": self._explainers,
        }

    @cached_property
    def _kept(self) -> Any:
        """What the run tells of its maps, without the maps."""
        columns = ["dataset", "model", "member", "sample", "explainer", "view", "status", "scale"]
        rows = self.context.run.to_arrow("maps", columns)
        return rows.filter(pc.and_(pc.equal(rows["view"], ""), pc.is_valid(rows["scale"])))

    @cached_property
    def _candidates(self) -> list[str]:
        """The samples with a map."""
        return sorted(set(texts(self._kept, "sample").tolist()))

    @cached_property
    def _most(self) -> int:
        asked = self.context.most_pictures
        if asked is not None:
            return asked
        columns = [texts(self._kept, c) for c in ("dataset", "model", "member", "explainer")]
        maps = len(set(zip(*(c.tolist() for c in columns), strict=True)))
        return int(np.clip(_PAGE_BYTES // (maps * _MAP_BYTES + _PICTURE_BYTES), 10, MOST_PICTURES))

    @cached_property
    def _goodness(self) -> tuple[str, str, Mapping[str, float]]:
        """The score by which pictures are good or bad, its direction, and its oriented value by sample."""
        info, scores = self.context.info, self.context.tables.scores
        key = choosing_score(scores, info)
        if key is None:
            return "", "", {}
        values, better = goodness(scores, info, key)
        candidates = set(self._candidates)
        return printable(score_name(*key)), better, {s: v for s, v in values.items() if s in candidates}

    @cached_property
    def _disputable(self) -> list[str]:
        return drawn(self._candidates, max(DISPUTE_CANDIDATES, self._most))

    @cached_property
    def _rows(self) -> Mapping[str, Sequence[Row]]:
        """The maps of the samples among which those of the browser are, read once."""
        return self.map_rows({*self._disputable, *ranked_ends(self._goodness[2], self._most)})

    @cached_property
    def reasons(self) -> Mapping[str, tuple[str, ...]]:
        """Why each sample of the browser is in it."""
        return choose_pictures(self._candidates, self._values, self._most)

    @cached_property
    def _values(self) -> PictureValues:
        score, better, good = self._goodness
        agreements = {s: self._agreement(s) for s in self._disputable}
        known = {s: a for s, a in agreements.items() if a is not None}
        return PictureValues(score=score, better=better, goodness=good, agreement=known, looked_at=len(agreements))

    def _agreement(self, sample: str) -> float | None:
        """The mean over detectors of the rank correlation between the maps of explainers."""
        info = self.context.info
        mine = [r for r in self._rows.get(sample, ()) if info.role(r["explainer"]) == "explainer" and r["map"]]
        places = {_where(r) for r in mine}
        parts = [first_maps([r for r in mine if _where(r) == where], info) for where in sorted(places)]
        found = [agreement([resized(decoded_map(r), _COARSE) for r in part]) for part in parts]
        known = [a for a in found if a is not None]
        return float(np.mean(known)) if known else None

    # ---- the index ----

    @cached_property
    def _explainers(self) -> list[dict[str, str]]:
        info = self.context.info
        names = sorted(set(texts(self._kept, "explainer").tolist()), key=lambda e: (ROLES.index(info.role(e)), e))
        return [{"name": printable(short(e)), "role": info.role(e)} for e in names]

    @cached_property
    def _samples(self) -> Table | None:
        """The rows of the pictures of the browser."""
        table = self.context.tables.samples
        if table is None:
            return None
        return table.filter(pc.is_in(table["sample"], pa.array(list(self.reasons), pa.string())))

    @cached_property
    def _columns(self) -> Mapping[str, Strings]:
        return {} if self._samples is None else filter_columns(self._samples, _MOST_VALUES)

    @cached_property
    def _place(self) -> Mapping[str, int]:
        """The row of each picture in the columns."""
        return {} if self._samples is None else {s: i for i, s in enumerate(texts(self._samples, "sample").tolist())}

    def _listed(self, number: int, sample: str) -> dict[str, Any]:
        """What stands of one picture in the index."""
        at = self._place.get(sample)
        values = {name: "" if at is None else str(column[at]) for name, column in self._columns.items()}
        return listed_picture(str(number), sample, self.reasons[sample], self._predictions.get(sample, []), values)

    # ---- entries ----

    def entries(self) -> dict[str, dict[str, Any]]:
        """The entries of the index by their keys; of a picture that cannot be read its reason alone."""
        return {str(i): self._entry_or_why(sample) for i, sample in enumerate(self.reasons)}

    def _entry_or_why(self, sample: str) -> dict[str, Any]:
        try:
            return self.entry(sample, self._rows)
        except UnreadablePicture as error:
            return {"sample": printable(sample), "failed": error.what}

    def entry(self, sample: str, maps: Mapping[str, Sequence[Row]]) -> dict[str, Any]:
        """The entry of any sample of the run: its pictures as ``data:`` URIs, verdicts, maps and alternative texts.

        ``maps``: rows of the table by sample. Raises :class:`~xaibench.api.UsageError` for an unknown sample, and
        :class:`~xaibench.api.UnreadablePicture` for a file that broke.
        """
        pixels, mask = self.context.run.picture(sample)
        rows = SampleRows(
            sample=sample,
            pixels=pixels,
            mask=mask,
            predictions=self._predictions.get(sample, []),
            maps=maps.get(sample, []),
            artefacts=self._artefacts(sample),
        )
        return sample_entry(rows, self.context.info)

    def map_rows(self, samples: Iterable[str]) -> dict[str, list[Row]]:
        """The rows of ``maps`` of some samples, by sample."""
        return rows_by_sample(self.context.run.to_arrow("maps", where={"sample": sorted(samples)}))

    def _artefacts(self, sample: str) -> list[Row]:
        if not self.context.tables.artefacts:  # most runs have none, and a read takes a while
            return []
        return rows_by_sample(self.context.run.to_arrow("artefacts", where={"sample": [sample]})).get(sample, [])

    @cached_property
    def _predictions(self) -> dict[str, list[Row]]:
        return rows_by_sample(self.context.tables.predictions)


def _where(row: Row) -> tuple[str, str, str]:
    return row["dataset"], row["model"], row["member"]
