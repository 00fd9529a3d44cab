"""Which explainers are shown better, or worse, than their controls, over a whole board.

**Hypotheses.** A board holds explainers under scores, and each explainer under a score is compared with several
controls. It is *better* if it is better than every control: an intersection-union test, whose p is the largest over
controls. It is *worse* if it is worse than at least one: the smallest p over controls, corrected for their number.
Anything else is *not told apart*.

**Correction.** Every comparison is tested in both directions, and with probability .95 no claim of a board is wrong.
Within a score and a direction the step-down maximum over all explainers and controls corrects
(:mod:`~xaibench_statistics.step_down`), between the ``2 x scores`` of these families Bonferroni's rule does. Scores are
kept apart since one with heavy tails raises the bar of all that share a maximum with it. The number of resamples grows
with the number of scores, so that at least :data:`IN_TAIL` of them lie beyond the bar.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Final, Literal

from xaibench_statistics.bootstrap import LEVEL, RESAMPLES, SEED, Design
from xaibench_statistics.step_down import Means, adjusted_p
from xaibench_statistics.values import Floats, Values

Key = tuple[str, str]
Word = Literal["better", "worse", "not told apart"]
IN_TAIL: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlJudgement:
    """One explainer under one score against its controls.

    ``word`` is None where nothing can be said, and ``note`` says why. ``p_better`` and ``p_worse`` are adjusted over
    the board; ``p_better`` is None where a control cannot be compared with. ``least_control`` decides: the control that
    is hardest to beat, or, for "worse", the one most clearly better. ``within_margin``: the word would be another
    without the margins.
    """

    word: Word | None
    p_better: float | None = None
    p_worse: float | None = None
    least_control: str = ""
    within_margin: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Comparison:
    """One explainer with one control: the adjusted p of both directions, and whether the difference exceeds what ties
    alone may make."""

    control: str
    t: float
    better: float
    worse: float
    beyond: bool

    def with_margin(self) -> _Comparison:
        """The comparison as it is judged: a difference within the margin shows nothing."""
        return self if self.beyond else replace(self, better=1.0, worse=1.0)


def judge_against_controls(
    deltas: Mapping[Key, Mapping[str, Values]],
    *,
    margins: Mapping[Key, Mapping[str, float]] = {},
    level: float = 1 - LEVEL,
    seed: int = SEED,
    resamples: int = RESAMPLES,
) -> dict[Key, ControlJudgement]:
    """Judge all explainers of a board; a key is an explainer and a score.

    ``deltas[key][control]`` holds the paired differences on the samples that both have, positive where the explainer is
    better. ``margins[key][control]`` is what ties alone move the mean difference by; one no larger shows nothing. Each
    comparison may have samples of its own. A comparison with too few groups is left out and withholds "better".
    """
    notes = {key: {c: _why_not(v) for c, v in sorted(controls.items())} for key, controls in sorted(deltas.items())}
    comparable = [(key, c) for key, of_key in notes.items() for c, note in of_key.items() if not note]
    family = Families(
        keys=len({key for key, _ in comparable}),
        comparisons=len(comparable),
        scores=len({score for (_, score), _ in comparable}),
        level=level,
    )
    found: dict[Key, list[_Comparison]] = {key: [] for key in notes}
    for score in sorted({score for (_, score), _ in comparable}):
        here = [(key, c) for key, c in comparable if key[1] == score]
        means = Means.of([deltas[key][c] for key, c in here])
        better, worse = family.directions(means, means.replicates(seed, family.resamples(resamples)))
        for (key, control), mean, t, up, down in zip(here, means.mean, means.t, better, worse, strict=True):
            beyond = bool(abs(mean) > margins.get(key, {}).get(control, 0.0))
            found[key].append(
                _Comparison(control=control, t=float(t), better=float(up), worse=float(down), beyond=beyond)
            )
    return {key: _with_margins(found[key], notes[key], level) for key in deltas}


def _why_not(values: Values) -> str:
    """Why a comparison cannot be made; empty where it can."""
    if not len(values):
        return "no common samples"
    return Design.of(values.groups, values.cross).too_few().replace("no interval", "no judgement")


@dataclass(frozen=True, slots=True, kw_only=True)
class Families:
    """How much is tested on a board: explainers under scores (``keys``), their comparisons with controls, scores."""

    keys: int
    comparisons: int
    scores: int
    level: float

    def resamples(self, least: int) -> int:
        """How many resamples leave :data:`IN_TAIL` beyond the level of one family."""
        return max(least, ceil(IN_TAIL * 2 * self.scores / self.level))

    def directions(self, means: Means, replicates: Floats) -> tuple[Floats, Floats]:
        """The adjusted p that the means of one score are above, and below, 0."""
        above, below = (
            adjusted_p(
                sign * means.t, sign * replicates, means.differing,
                tests=2 * tests, families=2 * self.scores, balance=True, level=self.level,
            )
            for sign, tests in ((1, self.keys), (-1, self.comparisons))
        )  # fmt: skip
        return above, below


def _with_margins(compared: Sequence[_Comparison], notes: Mapping[str, str], level: float) -> ControlJudgement:
    judgement = _judge([c.with_margin() for c in compared], notes, level)
    return replace(judgement, within_margin=_judge(compared, notes, level).word != judgement.word)


def _judge(compared: Sequence[_Comparison], notes: Mapping[str, str], level: float) -> ControlJudgement:
    missing = "; ".join(f"{control}: {note}" for control, note in notes.items() if note) or "no control was measured"
    if not compared:
        return ControlJudgement(word=None, note=missing)
    hardest = max(compared, key=lambda c: (c.better, -c.t))
    worst = min(compared, key=lambda c: (c.worse, c.t))
    complete = len(compared) == len(notes)
    p_better = hardest.better if complete else None
    if worst.worse <= level:
        return ControlJudgement(word="worse", p_better=p_better, p_worse=worst.worse, least_control=worst.control)
    if not complete:
        return ControlJudgement(word=None, p_worse=worst.worse, note=missing)
    word: Word = "better" if hardest.better <= level else "not told apart"
    return ControlJudgement(word=word, p_better=p_better, p_worse=worst.worse, least_control=hardest.control)
