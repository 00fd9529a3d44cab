"""Which explainers are shown better than every control, which are shown worse than one, and which are not told apart.

The paired differences to each control, on the samples that both have, are oriented so that positive speaks for the
explainer, and all explainers and scores of a board are judged at once
(:func:`~xaibench_statistics.judge_against_controls`): the chance of any wrong word on a board is at most 5 %. *Every*
control is each one that applies: random, centre prior, edges, whatever else is declared a control, and the explainer's
own inverse. A reference is not to be beaten. A control without any defined value under a score does not apply to it;
beside one that failed, nothing is called better than every control.

**Ties.** A difference within the spread by which the order of tied pixels alone moves either mean
(:mod:`~xaibench_report.judgement.tie_spread`) shows nothing; where it would have without that rule, the verdict says
so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from xaibench_report.judgement.board_scores import BoardScore
from xaibench_report.judgement.oriented_pairs import OrientedPair
from xaibench_report.values.number_format import number
from xaibench_report.values.run_values import (
    ScoreInfo,
    inverse_of,
    score_name,
    short,
)
from xaibench_statistics import (
    ControlJudgement,
    Design,
    Difference,
    Word,
    common_samples,
    judge_against_controls,
)

OWN_INVERSE: Final = "own inverse"


@dataclass(frozen=True, slots=True, kw_only=True)
class AgainstControl:
    """One paired comparison, explainer minus control. ``difference`` is uncorrected, its interval one of 95 %;
    ``margin``: how far ties alone move it."""

    control: str
    difference: Difference
    margin: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The verdict on one explainer under one score.

    ``word``: *better* than every control, *worse* than at least one, *not told apart*, or None where nothing can be
    said. ``control``: the one that decides. ``p_better`` and ``p_worse`` are adjusted over the board. ``why``: why
    there is no word, or that ties decide.
    """

    explainer: str
    word: Word | None
    control: str = ""
    p_better: float | None = None
    p_worse: float | None = None
    against: tuple[AgainstControl, ...] = ()
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreVerdict:
    """The verdicts under one score of one metric, and the sentence that says them. ``unjudged``: why the score is held
    against no control although no gate withholds it."""

    metric: str
    score: str
    verdicts: tuple[Verdict, ...]
    sentence: str
    unjudged: str = ""


_Key = tuple[str, str]
_THIN: Final = "less than half of the samples that others have"


def board_verdicts(scores: Iterable[BoardScore], info: ScoreInfo, seed: int) -> tuple[ScoreVerdict, ...]:
    """The verdicts of a board: every score with a direction, all of them judged at once."""
    scores = [s for s in scores if s.better != "none"]
    pairs = {_key(e, s): _pairs(e, s, info) for s in scores for e in _explainers(s, info) if not _unjudged(e, s, info)}
    margins = {key: {c: p.margin for c, p in found.items()} for key, found in pairs.items()}
    deltas = {key: {c: p.delta for c, p in found.items()} for key, found in pairs.items()}
    judged = judge_against_controls(deltas, margins=margins, seed=seed)
    return tuple(_score_verdict(s, pairs, judged, info) for s in scores)


def _key(explainer: str, score: BoardScore) -> _Key:
    return explainer, " ".join(score.key)


def _explainers(score: BoardScore, info: ScoreInfo) -> list[str]:
    if score.withheld or score.unjudged:
        return []
    return [e for e in sorted(score.cells) if e and info.role(e) == "explainer" and score.cells[e].any]


def _unjudged(explainer: str, score: BoardScore, info: ScoreInfo) -> str:
    """Why an explainer cannot be held against controls; empty where it can."""
    if score.ranking is not None and explainer in score.ranking.unranked:
        return _THIN
    scope = score.cells[explainer].scope
    if scope != "sample":
        return f"a score of a whole {scope} has no interval"
    controls = _controls(explainer, score, info)
    if any(_measured_pair(explainer, c, score) for c in controls):
        return ""
    if any(len(score.cells[c].values) for c in controls):
        return "no common samples with any control"
    failed = _failed(controls, score)
    return f"{failed} failed" if failed else "no control was measured"


def _measured_pair(explainer: str, control: str, score: BoardScore) -> bool:
    return len(common_samples([score.cells[explainer].values, score.cells[control].values])) > 0


def _controls(explainer: str, score: BoardScore, info: ScoreInfo) -> list[str]:
    return [c for c in sorted(score.cells) if _applies(c, explainer, info)]


def _applies(control: str, explainer: str, info: ScoreInfo) -> bool:
    role = info.role(control)
    return role == "control" or (role == "inverse" and inverse_of(control) == short(explainer))


def _failed(controls: Sequence[str], score: BoardScore) -> str:
    """The names of controls that have no value because they failed."""
    cells = {c: score.cells[c] for c in controls if not len(score.cells[c].values)}
    return ", ".join(short(c) for c, x in cells.items() if any(status == "failed" for status, _ in x.left_out))


def _pairs(explainer: str, score: BoardScore, info: ScoreInfo) -> dict[str, OrientedPair]:
    controls = [c for c in _controls(explainer, score, info) if _measured_pair(explainer, c, score)]
    return {c: _pair(explainer, c, score) for c in controls}


def _pair(explainer: str, control: str, score: BoardScore) -> OrientedPair:
    mine, theirs = score.cells[explainer], score.cells[control]
    return OrientedPair.of(mine, theirs, score.better, (score.spreads.get(explainer), score.spreads.get(control)))


def _score_verdict(
    score: BoardScore,
    pairs: Mapping[_Key, Mapping[str, OrientedPair]],
    judged: Mapping[_Key, ControlJudgement],
    info: ScoreInfo,
) -> ScoreVerdict:
    found = []
    for e in _explainers(score, info):
        key = _key(e, score)
        if key not in judged:
            found.append(Verdict(explainer=e, word=None, why=_unjudged(e, score, info)))
            continue
        failed = _failed(_controls(e, score, info), score)
        found.append(_verdict(e, score, judged[key], pairs[key], failed))
    return ScoreVerdict(
        metric=score.key[0],
        score=score.key[1],
        verdicts=tuple(found),
        sentence=_sentence(score, found),
        unjudged=score.unjudged,
    )


def _too_few(pairs: Mapping[str, OrientedPair]) -> str:
    """Why differences are not judged: how many groups they rest on, and against which controls where others are."""
    reasons: dict[str, list[str]] = {}
    for control, pair in pairs.items():
        few = Design.of(pair.delta.groups, pair.delta.cross).too_few().partition(": ")[0]
        reasons.setdefault(few, []).append(short(control))
    return "; ".join(
        why if len(reasons) == 1 else f"{why} against {', '.join(names)}" for why, names in reasons.items() if why
    )


def _verdict(
    explainer: str,
    score: BoardScore,
    judgement: ControlJudgement,
    pairs: Mapping[str, OrientedPair],
    failed: str,
) -> Verdict:
    word, why = judgement.word, ""
    if word is None:
        why = _too_few(pairs)
    elif word == "better" and failed:
        word, why = None, f"{failed} failed"
    elif word == "not told apart" and judgement.within_margin:
        why = f"ties move {score_name(*score.key)} by {number(max(p.margin for p in pairs.values()))}"
    against = tuple(AgainstControl(control=c, difference=p.difference(), margin=p.margin) for c, p in pairs.items())
    return Verdict(
        explainer=explainer, word=word, control=judgement.least_control, p_better=judgement.p_better,
        p_worse=judgement.p_worse, against=against, why=why,
    )  # fmt: skip


# ---- the sentence ---------------------------------------------------------------------------------------------------


def _sentence(score: BoardScore, verdicts: Sequence[Verdict]) -> str:
    """``deletion auc: gradcam is shown better than every control (random, own inverse); rise is shown worse than edges;
    not told apart: lime.``"""
    name = score_name(*score.key)
    if score.withheld:
        return f"{name}: no ranks and no verdicts: {score.withheld}."
    if score.unjudged:
        return f"{name}: not held against controls: {score.unjudged.rstrip('.')}."
    if not verdicts:
        return f"{name}: no explainer has a value."
    winners = [v for v in verdicts if v.word == "better"]
    parts = [_winners(winners)] if winners else []
    losers = [v for v in verdicts if v.word == "worse"]
    parts += [f"{short(v.explainer)} is shown worse than {_names(v, [v.control])[0]}" for v in losers]
    level = [f"{short(v.explainer)}{f' ({v.why})' if v.why else ''}" for v in verdicts if v.word == "not told apart"]
    parts += [f"not told apart: {', '.join(level)}"] if level else []
    reasons: dict[str, list[str]] = {}
    for verdict in verdicts:
        if verdict.word is None:
            reasons.setdefault(verdict.why, []).append(short(verdict.explainer))
    parts += [f"no verdict on {', '.join(names)}: {why}" for why, names in reasons.items()]
    return f"{name}: {'; '.join(parts)}."


def _winners(winners: Sequence[Verdict]) -> str:
    names = ", ".join(short(v.explainer) for v in winners)
    controls = {v.explainer: _names(v, [a.control for a in v.against]) for v in winners}
    every = {n: None for found in controls.values() for n in found}
    alone = [short(e) for e, found in controls.items() if OWN_INVERSE not in found]
    missing = f"; no inverse of {', '.join(alone)} was measured" if alone and OWN_INVERSE in every else ""
    ordered = [*sorted(n for n in every if n != OWN_INVERSE), *(n for n in every if n == OWN_INVERSE)]
    verb = "is" if len(winners) == 1 else "are"
    return f"{names} {verb} shown better than every control ({', '.join(ordered)}{missing})"


def _names(verdict: Verdict, controls: Sequence[str]) -> list[str]:
    mine = short(verdict.explainer)
    return [OWN_INVERSE if inverse_of(c) == mine else short(c) for c in controls]
