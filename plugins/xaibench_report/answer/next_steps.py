"""What would settle what a run leaves open, computed from the run: other fills, more groups, masks, a look at the
detector, more explainers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from xaibench_report.answer.detector_fitness import Fitness
from xaibench_report.answer.family_words import Measure
from xaibench_report.boards.leaderboard import Board
from xaibench_report.judgement.fill_gate import advice
from xaibench_report.judgement.pictures_needed import LevelPair
from xaibench_report.values.aliases import Aliases
from xaibench_report.values.run_values import ScoreInfo, ScoreKey
from xaibench_statistics import MINIMUM_GROUPS

_IN_DATA: Final = ("masks", "real counterparts", "landmarks")
_WITHIN_REACH: Final = 10  # times the groups of the run: what needs more is not advised
_FEW: Final = f"fewer than {MINIMUM_GROUPS}"


def next_steps(
    fitness: Fitness,
    boards: Sequence[Board],
    every: Sequence[Measure],
    explainers: int,
    info: ScoreInfo,
    aliases: Aliases,
) -> Iterator[str]:
    """One line a step, the most fundamental first."""
    if fitness.marked:
        yield "look at the detector: xaibench check MODEL --dataset FOLDER says more of the mark"
    if fitness.fit is None:
        yield f"more groups: at least {MINIMUM_GROUPS} of each label, so that the detector's accuracy is measured"
    yield from _fills(every, aliases)
    yield from _lacks(every, aliases)
    if boards and not any(info.role(r.explainer) == "control" for b in boards for r in b.rows):
        yield "controls: run without --no-controls, since nothing is judged without them"
    yield from _groups([pair for b in boards for pair in b.level], explainers, aliases)
    if explainers == 1:
        yield "more explainers: one alone is held against controls and ranked against none (--explainer NAME)"


def _lacks(every: Sequence[Measure], aliases: Aliases) -> Iterator[str]:
    """What the data set would have to hold, and groups where there are too few for any verdict."""
    for what in _IN_DATA:
        if names := _names([m for m in every if m.why.startswith(f"needs {what}")], aliases):
            yield f"{what} in the data set, for {names}"
    if names := _names([m for m in every if m.state == "no verdict" and _FEW in m.why], aliases):
        yield f"more groups: at least {MINIMUM_GROUPS} for any verdict by {names}"


def _names(some: Sequence[Measure], aliases: Aliases) -> str:
    return ", ".join(dict.fromkeys(aliases.score(m.metric, m.score) for m in some))


def _fills(every: Sequence[Measure], aliases: Aliases) -> Iterator[str]:
    by_advice: dict[str, dict[str, None]] = {}
    for m in every:
        if text := advice(m.why):
            by_advice.setdefault(text, {})[aliases.score(m.metric, m.score)] = None
    for text, names in by_advice.items():
        yield f"for {', '.join(names)} use {text}"


def _groups(pairs: Sequence[LevelPair], explainers: int, aliases: Aliases) -> Iterator[str]:
    """For each measure that leaves explainers not told apart, the pair that the fewest groups would tell apart; and the
    measures whose ties decide, where no number of pictures does."""
    by_measure: dict[ScoreKey, list[LevelPair]] = {}
    for pair in pairs:
        if pair.needed is not None:
            by_measure.setdefault((pair.metric, pair.score), []).append(pair)
    fewest = {key: min(some, key=lambda p: (p.needed, p.first)) for key, some in by_measure.items()}
    if fewest:
        here = max(pairs, key=lambda p: p.groups)
        most = _WITHIN_REACH * here.groups
        parts = [_pair(p, aliases) for p in fewest.values() if (p.needed or 0) <= most]
        far = [aliases.score(*key) for key, p in fewest.items() if (p.needed or 0) > most]
        parts += [f"{', '.join(far)} over {most:,}"] if far else []
        yield f"to rank explainers, more groups than {here.groups}: {'; '.join(parts)}"
    yield from _tied([pair for pair in pairs if pair.ties], explainers, aliases)


def _pair(pair: LevelPair, aliases: Aliases) -> str:
    """``deletion about 117 (gradcam, rise)``."""
    names = ", ".join(aliases(e) for e in sorted((pair.first, pair.second)))
    return f"{aliases.score(pair.metric, pair.score)} about {pair.needed:,} ({names})"


def _tied(pairs: Sequence[LevelPair], explainers: int, aliases: Aliases) -> Iterator[str]:
    """The measures that ties alone decide between some explainers, all of them unnamed."""
    measures = dict.fromkeys(aliases.score(p.metric, p.score) for p in pairs)
    names = dict.fromkeys(aliases(e) for p in pairs for e in sorted((p.first, p.second)))
    if measures:
        who = "explainers" if len(names) == explainers else ", ".join(names)
        it = "it" if len(measures) == 1 else "them"
        yield f"ties decide {', '.join(measures)}; no number of pictures ranks {who} by {it}"
