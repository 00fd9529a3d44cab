"""The table ``samples`` of a run, and what an earlier survey in it makes it needless to decode."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from xaibench.api import Sample, StoreError, UsageError, closest_first, digest
from xaibench.data.doubts import MASK, PAIR, RULES, split_doubt
from xaibench.data.survey import Known
from xaibench.discovery.code_identity import use_identity
from xaibench.discovery.components import Use
from xaibench.plan.parts import PlannedDataset
from xaibench.store.folder import RunFolder
from xaibench.store.sample_columns import sample_columns


def known_samples(out: str, dataset: Use) -> dict[str, Known]:
    """What a run in this folder knows of the samples of a dataset, where the dataset's code is the same."""
    folder, code = RunFolder(out), _code(dataset)
    try:
        if not folder.exists():
            return {}
        rows = folder.snapshot().samples
    except (StoreError, FileNotFoundError):  # damaged: the run says so where it is opened for writing
        return {}
    names = ("dataset", "sample", "fingerprint", "picture", "face_size", "pixel_digest", "pair", "doubt")
    found = {}
    for name, sample, fingerprint, picture, size, pixels, pair, doubt in zip(
        *(rows[n].to_pylist() for n in names), strict=True
    ):
        made, _, rest = (fingerprint or "").partition(":")
        if name == dataset.display_name and made == code:
            findings = split_doubt(doubt) if doubt else {}
            about_pair = findings.get(PAIR, "").rpartition(" is ")[2]
            found[sample] = Known(rest, picture, size, pixels, findings.get(MASK, ""), pair, about_pair)
    return found


Row = dict[str, Any]


def sample_rows(datasets: Sequence[PlannedDataset], before: Sequence[Row]) -> list[Row]:
    """The rows of ``samples`` of a plan. Samples of earlier plans, and those that are only shown, have no ``order``."""
    rows = [row for dataset in datasets for row in _rows(dataset)]
    here = {(r["dataset"], r["sample"]) for r in rows}
    return [*rows, *(r | {"order": None} for r in before if (r["dataset"], r["sample"]) not in here)]


def refuse_columns(datasets: Sequence[PlannedDataset], columns: Sequence[str]) -> None:
    """Raise :class:`UsageError` for a column of ``samples`` in which the pictures of the plan do not differ."""
    rows = [r for r in sample_rows(datasets, ()) if r["order"] is not None] if columns else []
    names = dict.fromkeys(name for row in rows for name in row)
    differing = [n for n in names if len({repr(v) for r in rows if (v := r.get(n)) not in (None, "")}) > 1]
    for column in columns:
        if column not in differing:
            offered = f"columns: {closest_first(column, differing)}" if differing else "all pictures are alike"
            raise UsageError(f"no column '{column}' by which the pictures of this plan differ", offered)


def same_rows(some: Sequence[Row], others: Sequence[Row]) -> bool:
    """Whether two tables hold the same rows in the same order; a value that is missing is None."""
    return len(some) == len(others) and all(_given(a) == _given(b) for a, b in zip(some, others, strict=True))


def _given(row: Row) -> Row:
    return {name: value for name, value in row.items() if value is not None}


def _rows(dataset: PlannedDataset) -> Iterator[Row]:
    survey, code = dataset.survey, _code(dataset.use)
    for place, sample in enumerate((*survey.samples, *survey.auxiliary.values())):
        own, with_stranger = dataset.sample_digests.get(sample.id, ("", ""))
        fingerprint = survey.fingerprints.get(sample.id)
        yield {
            "dataset": dataset.name,
            **_columns(sample),
            "pair": survey.pairs.get(sample.id),
            "order": dataset.order(place) if place < len(survey.samples) else None,
            "stranger": survey.strangers.get(sample.id),
            "face_size": survey.face_sizes.get(sample.id),
            "doubt": sample.doubt or None,
            "digest": own,
            "stranger_digest": with_stranger,
            "picture": survey.digests[sample.id],
            "pixel_digest": survey.pixel_digests[sample.id],
            "fingerprint": None if fingerprint is None else f"{code}:{fingerprint}",
        }


def _columns(sample: Sample) -> Mapping[str, Any]:
    return {**dict(sample.columns), **sample_columns(sample), "split": sample.split}


def _code(dataset: Use) -> str:
    return digest([use_identity(dataset), RULES])[:16]
