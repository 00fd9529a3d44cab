"""The answer of a ranking of detectors: which measures tell detectors of equal accuracy apart, and which do not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from xaibench_report.comparisons.standings import DetectorRanking, EqualAccuracy, MeasureRanking
from xaibench_report.values.aliases import Aliases
from xaibench_report.values.number_format import plural
from xaibench_report.values.run_values import short


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedMeasure:
    """One measure between detectors of equal accuracy. ``pairs``: how many pairs of detectors were tested; ``apart``:
    those told apart, the better one first (the lower one, where no side is better)."""

    explainer: str
    metric: str
    score: str
    pairs: int
    apart: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RankingAnswer:
    """What a reader of a ranking must know first."""

    sentences: tuple[str, ...]
    measures: tuple[RankedMeasure, ...]
    aliases: Aliases


def ranking_answer(ranking: DetectorRanking) -> RankingAnswer:
    """Which measures tell detectors apart."""
    every = [m for group in ranking.classes for m in group.measures]
    aliases = Aliases.of((m.measure.explainer for m in every if m.measure.explainer), (m.measure.metric for m in every))
    sentences = tuple(s for group in ranking.classes for s in _sentences(group, aliases))
    return RankingAnswer(
        sentences=sentences or ("No two detectors are equally accurate: none is compared with another.",),
        measures=tuple(map(_ranked, every)),
        aliases=aliases,
    )


def _ranked(measure: MeasureRanking) -> RankedMeasure:
    return RankedMeasure(
        explainer=measure.measure.explainer,
        metric=measure.measure.metric,
        score=measure.measure.score,
        pairs=sum(c.shown is not None for c in measure.contests),
        apart=tuple((c.first, c.second) for c in measure.contests if c.shown),
    )


def _sentences(group: EqualAccuracy, aliases: Aliases) -> Iterator[str]:
    names = ", ".join(map(short, group.models))
    tested = [m for m in group.measures if any(c.shown is not None for c in m.contests)]
    total = plural(len(group.measures), "measure")
    if not tested:
        yield f"{names}: {total} compared, and none is tested."
        return
    telling = [m for m in tested if any(c.shown for c in m.contests)]
    head = f"{names}: {len(telling) or 'none'} of {plural(len(tested), 'tested measure')} tells them apart"
    yield f"{head}: {'; '.join(_telling(m, aliases) for m in telling)}." if telling else f"{head}."
    level = [_name(m, aliases) for m in tested if m not in telling]
    if level and telling:
        yield f"Not shown to differ: {', '.join(level)}."
    untested = [_name(m, aliases) for m in group.measures if m not in tested]
    if untested:
        yield f"Not tested: {', '.join(untested)}."


def _name(measure: MeasureRanking, aliases: Aliases) -> str:
    of = f" of {aliases(measure.measure.explainer)}" if measure.measure.explainer else ""
    return f"{aliases.score(measure.measure.metric, measure.measure.score)}{of}"


def _telling(measure: MeasureRanking, aliases: Aliases) -> str:
    word = "lower than" if measure.better == "none" else "better than"
    pairs: Sequence[str] = [f"{short(c.first)} {word} {short(c.second)}" for c in measure.contests if c.shown]
    return f"{_name(measure, aliases)} ({', '.join(pairs)})"
