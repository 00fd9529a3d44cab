"""What would settle what a run leaves open, computed from the run: other fills, more groups, masks, a look at the
detector, more explainers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from xaibench_report.answer.detector_fitness import Fitness
from xaibench_report.answer.family_words import Measure
from xaibench_report.boards.leaderboard import Board
from xaibench_report.judgement.fill_gate import advice
from xaibench_report.judgement.pictures_needed import LevelPair
from xaibench_report.values.aliases import Aliases
from xaibench_report.values.run_values import ScoreInfo
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
    yield from _groups([pair for b in boards for pair in b.level], aliases)
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


def _groups(pairs: Sequence[LevelPair], aliases: Aliases) -> Iterator[str]:
    """For each measure that leaves explainers not told apart, the pair that the fewest groups would tell apart."""
    by_measure: dict[tuple[str, str], dict[tuple[str, str], int]] = {}
    for pair in pairs:
        if pair.needed is not None:
            named = by_measure.setdefault((pair.metric, pair.score), {})
            names = min((pair.first, pair.second), (pair.second, pair.first))
            named[names] = min(pair.needed, named.get(names, pair.needed))
    if not by_measure:
        return
    here = max(pair.groups for pair in pairs)
    most = _WITHIN_REACH * here
    near = {key: named for key, named in by_measure.items() if min(named.values()) <= most}
    parts = [f"{aliases.score(*key)} about {_fewest(named, aliases)}" for key, named in near.items()]
    far = [aliases.score(*key) for key in by_measure if key not in near]
    parts += [f"{', '.join(far)} over {most:,}"] if far else []
    yield f"more groups than these {here} rank explainers against each other: {'; '.join(parts)}"


def _fewest(needed: Mapping[tuple[str, str], int], aliases: Aliases) -> str:
    """``117 (gradcam, rise)``."""
    first, second = min(needed, key=lambda names: (needed[names], names))
    return f"{needed[first, second]:,} ({aliases(first)}, {aliases(second)})"
