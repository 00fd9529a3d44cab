"""Whether a detector is fit to be explained: does it tell fakes from real pictures, and does a mark say otherwise?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Final

from xaibench_report.boards.wording import rate
from xaibench_report.detectors.detection import Detection
from xaibench_report.values.number_format import number, plural
from xaibench_statistics import Accuracy

NO_VERDICTS: Final = "Its maps are neither ranked nor held against controls."


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitness:
    """``fit`` is None where it was not measured. ``marked``: how many of ``runs`` have a mark that withholds ranks;
    ``why``: the first of these marks, or why nothing was measured. ``sentences``: in words."""

    fit: bool | None
    runs: int
    marked: int
    why: str
    sentences: tuple[str, ...]


def detector_fitness(subject: str, detections: Sequence[Detection]) -> Fitness:
    """What is known of one detector, or of the runs of one family, on one dataset. ``subject``: what sentences call
    it."""
    runs = max(1, len(detections))
    marked = [text for d in detections if (text := _withholding(d))]
    doubts = list(dict.fromkeys(m.text for d in detections for m in d.marks if not m.withholds_ranks))
    fit, why = _fit(detections, marked, doubts)
    word = _word(subject, fit, why, len(marked), runs)
    sentences = [s for s in (word, *_figures(detections)) if s]
    sentences += [f"Marked: {text}." for text in doubts if not why or why not in text]
    return Fitness(fit=fit, runs=runs, marked=len(marked), why=why, sentences=tuple(sentences))


def _withholding(detection: Detection) -> str:
    """The first mark of a detector that withholds ranks, and how many more there are; empty where there is none."""
    texts = list(dict.fromkeys(m.text for m in detection.marks if m.withholds_ranks))
    more = f" (and {plural(len(texts) - 1, 'further mark')})" if len(texts) > 1 else ""
    return f"{texts[0]}{more}" if texts else ""


def _fit(detections: Sequence[Detection], marked: Sequence[str], doubts: Sequence[str]) -> tuple[bool | None, str]:
    if marked and len(marked) == len(detections):
        return False, marked[0]
    told = [d for d in detections if d.accuracy.auc is not None and d.accuracy.auc.low is not None]
    if not told:
        unknown = next((t for t in doubts if "not measured" in t), "")
        notes = [d.accuracy.note for d in detections if d.accuracy.note]
        return None, unknown.removeprefix("accuracy not measured: ") or (notes[0] if notes else "no predictions")
    return True, marked[0] if marked else ""


def _word(subject: str, fit: bool | None, why: str, marked: int, runs: int) -> str:
    if fit is None:
        return f"{subject}: whether it tells fakes from real pictures was not measured: {why}."
    if not fit:
        mark = f"each run is marked, the first {why}" if runs > 1 else why
        return f"{subject} is not fit to be explained here: {mark}. {NO_VERDICTS}"
    if marked:
        return f"{subject}: {marked} of {plural(runs, 'run')} not fit to be explained: {why}."
    return f"{subject} is fit to be explained: it tells fakes from real pictures better than chance, with"


def _figures(detections: Sequence[Detection]) -> list[str]:
    if not detections:
        return []
    if len(detections) == 1:
        return [f"{_rates(detections[0].accuracy)}."]
    aucs = [d.accuracy.auc.value for d in detections if d.accuracy.auc]
    balanced = [d.accuracy.balanced_accuracy.value for d in detections if d.accuracy.balanced_accuracy]
    parts = [_range(name, values) for name, values in (("AUC", aucs), ("balanced accuracy", balanced)) if values]
    return [f"{', '.join(parts)}."] if parts else []


def _rates(accuracy: Accuracy) -> str:
    """``balanced accuracy 1.000 [0.893, 1.000], AUC ...; it calls 24 of 24 fakes and 0 of 24 real pictures fake``."""
    both = [("balanced accuracy", accuracy.balanced_accuracy), ("AUC", accuracy.auc)]
    rates = ", ".join(rate(name, e) for name, e in both if e is not None)
    nouns = {"fake": "fakes", "real": "real pictures"}
    called = [f"{x.called_fake} of {x.n} {nouns.get(x.label, x.label)}" for x in accuracy.labels]
    return "; ".join(s for s in (rates, f"it calls {' and '.join(called)} fake" if called else "") if s)


def _range(name: str, values: Sequence[float]) -> str:
    return f"{name} {number(fmean(values))} on average ({number(min(values))} to {number(max(values))})"
