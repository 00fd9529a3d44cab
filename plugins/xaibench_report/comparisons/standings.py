"""Detectors or families of equal accuracy under each measure: who stands where, and what each pair's contest says."""

from __future__ import annotations

from dataclasses import dataclass

from xaibench_report.comparisons.family_values import Measure
from xaibench_report.detectors.detector_accuracy import Entrant
from xaibench_statistics import Estimate, Rank, RunsDifference


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One detector or family under one measure; ``estimate`` is None where it has no value, and ``why`` says so."""

    model: str
    runs: int
    estimate: Estimate | None
    rank: Rank | None = None
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """Two of equal accuracy under one measure, ``first`` the better placed (the lower, without a better side).
    ``shown``: whether that is more than chance; None where nothing was tested. ``needed``: the runs a family that would
    tell such a difference on these pictures (power 0.8, corrected over all comparisons), where it is not shown; None
    where no difference is seen, or no number of runs that can be trained tells it."""

    first: str
    second: str
    difference: RunsDifference
    shown: bool | None = None
    needed: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureRanking:
    """One measure on detectors of equal accuracy. ``n``: samples behind it, 0 for values of whole sets."""

    measure: Measure
    better: str
    n: int
    standings: tuple[Standing, ...]
    contests: tuple[Contest, ...]
    finding: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EqualAccuracy:
    """Detectors or families of one dataset that are equally accurate, under every measure."""

    dataset: str
    models: tuple[str, ...]
    measures: tuple[MeasureRanking, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorRanking:
    """Everything that ``rank detectors`` says."""

    entrants: tuple[Entrant, ...]
    classes: tuple[EqualAccuracy, ...]
    notes: tuple[str, ...]
