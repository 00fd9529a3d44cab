"""The detectors and families of a run, and which of them are equally accurate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from xaibench_report.detectors.detection import Readings, readings_of, threshold_of, thresholds
from xaibench_report.detectors.marks import DetectorMark, marks_of
from xaibench_report.values.number_format import interval, number, plural
from xaibench_report.values.run_values import RunTables, Where, encode, short, texts
from xaibench_statistics import NEEDS_BOTH, Estimate, Strings, Values, common_samples, mean_auc_interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrant:
    """One detector, or one family with its training runs, on one dataset.

    ``auc``: the mean over its runs with an interval over runs and people; None where a label is missing, and ``why``
    says so, as it does where there is no interval. ``correct``: the samples that all of its runs call by their label.
    ``marks``: those of all its runs. ``lacking``: which run has fewest predictions where some run lacks any, as the AUC
    is over the pictures that all runs have.
    """

    dataset: str
    model: str
    runs: tuple[str, ...]
    auc: Estimate | None
    why: str
    correct: tuple[str, ...]
    marks: tuple[DetectorMark, ...] = ()
    lacking: str = ""

    @property
    def withheld(self) -> DetectorMark | None:
        """The first mark that withholds ranks."""
        return next((m for m in self.marks if m.withholds_ranks), None)


def entrants(tables: RunTables, dataset: str) -> tuple[Entrant, ...]:
    """All detectors and families with predictions on a dataset, by name."""
    table = tables.predictions.filter(texts(tables.predictions, "dataset") == dataset)
    found = []
    for model in encode(table, "model").names.tolist():
        part = table.filter(texts(table, "model") == model)
        runs = {
            str(m): readings_of(part.filter(texts(part, "member") == m)) for m in encode(part, "member").names.tolist()
        }
        found.append(_entrant(dataset, str(model), runs, _marks(tables, dataset, str(model), runs)))
    return tuple(found)


def pictures_of(tables: RunTables, dataset: str) -> Values:
    """Every picture of a dataset with its groups; the values say nothing."""
    table = tables.predictions.filter(texts(tables.predictions, "dataset") == dataset)
    samples, first = np.unique(texts(table, "sample"), return_index=True)
    rows = table.take(first)
    return Values.of(samples, np.zeros(len(samples)), texts(rows, "group"), texts(rows, "cross_group"))


def _marks(tables: RunTables, dataset: str, model: str, runs: Mapping[str, Readings]) -> tuple[DetectorMark, ...]:
    limits = thresholds(tables.components)
    found: list[DetectorMark] = []
    for member, readings in runs.items():
        where = Where(dataset, model, member)
        found += marks_of(where, tables.detectors, readings.accuracy(threshold_of(where, limits)))
    return tuple(found)


def _entrant(dataset: str, model: str, runs: Mapping[str, Readings], marks: tuple[DetectorMark, ...]) -> Entrant:
    values = {member: r.log_odds for member, r in runs.items()}
    samples = common_samples(values.values())
    right = [set(r.log_odds.samples[r.fake == r.called_fake].tolist()) for r in runs.values()]
    first = next(iter(runs.values()))
    fake = first.fake[np.isin(first.log_odds.samples, samples)]
    auc = None
    if fake.any() and not fake.all():
        auc = mean_auc_interval([v.on(samples) for v in values.values()], fake)
    return Entrant(
        dataset=dataset, model=model, runs=tuple(runs), auc=auc,
        why=auc.note if auc else _no_auc(values, samples),
        correct=tuple(sorted(set.intersection(*right))), marks=marks, lacking=_lacking(values, samples),
    )  # fmt: skip


def _lacking(runs: Mapping[str, Values], common: Strings) -> str:
    every = len({s for v in runs.values() for s in v.samples.tolist()})
    if len(common) == every:
        return ""
    fewest = min(sorted(runs), key=lambda r: len(runs[r]))
    return f"over {len(common)} of {plural(every, 'picture')}: {fewest} has predictions of {len(runs[fewest])}"


def _no_auc(runs: Mapping[str, Values], samples: Strings) -> str:
    empty = [member for member, values in runs.items() if not len(values)]
    if empty:
        return f"{plural(len(empty), 'run')} without a prediction ({', '.join(empty)})"
    return NEEDS_BOTH if len(samples) else "its runs share no picture with a prediction"


def equal_classes(found: Sequence[Entrant]) -> tuple[tuple[Entrant, ...], ...]:
    """The largest sets of two or more whose AUC intervals all overlap one another, and of which no mark withholds
    ranks.

    Intervals on a line that overlap pairwise share a point, so each such set holds the lower end of one of them. One
    entrant may stand in several.
    """
    known = [
        (e, e.auc.low, e.auc.high)
        for e in found
        if e.auc and e.auc.low is not None and e.auc.high is not None and e.withheld is None
    ]
    sets = {frozenset(o.model for o, low, high in known if low <= point <= high) for _, point, _ in known}
    largest = [s for s in sets if len(s) > 1 and not any(s < other for other in sets)]
    chosen = [tuple(e for e in found if e.model in s) for s in largest]
    return tuple(sorted(chosen, key=lambda c: [e.model for e in c]))


def accuracy_lines(found: Sequence[Entrant], classes: Sequence[Sequence[Entrant]]) -> list[str]:
    """Who is as accurate as whom, and who is compared with nobody."""
    lines = [f"equal accuracy (their AUC intervals overlap): {', '.join(short(e.model) for e in c)}" for c in classes]
    compared = {e.model for c in classes for e in c}
    for e in found:
        if e.model not in compared:
            alone = "no other is on this dataset" if len(found) == 1 else "no other AUC interval overlaps its own"
            why = e.withheld.text if e.withheld else e.why or alone
            lines.append(f"{short(e.model)} is not compared: {why}")
    return lines


def entrant_line(entrant: Entrant) -> str:
    """``plain: AUC 0.970 [0.950, 0.990], 5 runs``."""
    auc = f"AUC {number(entrant.auc.value)} {interval(entrant.auc)}".strip() if entrant.auc else "no AUC"
    lacking = f", {entrant.lacking}" if entrant.lacking else ""
    return f"{short(entrant.model)}: {auc}, {plural(len(entrant.runs), 'run')}{lacking}"
