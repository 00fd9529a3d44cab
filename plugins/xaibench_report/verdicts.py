"""Which explainers beat every control.

An explainer beats a control under a score if the 95 % interval of their paired difference, on the samples
that both have, lies wholly on the better side of 0. It beats *every* control if that holds against each one
that applies: random, centre prior, edges, whatever else is declared a control, and the explainer's own
inverse. Needing to beat all of them, no correction is due for their number; none is made for the number of
explainers. ``mask-oracle`` is a ceiling and not to be beaten. A control without any defined value under a
score does not apply to it; one that failed leaves the question open.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from xaibench_report.manipulation_methods import even_pair
from xaibench_report.run_values import CellValues, ScoreInfo, inverse_of, measured, score_name, short
from xaibench_statistics import Difference, Ranking, paired_difference

OWN_INVERSE: Final = "own inverse"
Outcome = Literal["beats", "does not beat", "undetermined"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AgainstControl:
    """One paired comparison, explainer minus control. ``why`` says why the outcome is open."""

    control: str
    outcome: Outcome
    difference: Difference | None = None
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether one explainer beats every control under one score, and the comparisons behind it."""

    explainer: str
    outcome: Outcome
    against: tuple[AgainstControl, ...]
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreVerdict:
    """The verdicts under one score of one metric, and the sentence that says them."""

    metric: str
    score: str
    verdicts: tuple[Verdict, ...]
    sentence: str


def score_verdict(
    metric: str,
    score: str,
    cells: Mapping[str, CellValues],
    *,
    info: ScoreInfo,
    ranking: Ranking | None,
    seed: int,
    why_not: str = "",
) -> ScoreVerdict | None:
    """Judge every explainer under one score; None for a score without direction.

    ``why_not``: a reason why nobody is judged.
    """
    better = measured(cells).better
    if better == "none":
        return None
    spec = info.spec(metric, score)
    if spec is not None and not spec.ranks_evidence:
        why_not = spec.why_not
    if why_not:
        why = f"{score_name(metric, score)}: not held against controls: {why_not.rstrip('.')}."
        return ScoreVerdict(metric=metric, score=score, verdicts=(), sentence=why)
    names = [e for e in sorted(cells) if e and info.role(e) == "explainer" and cells[e].any]
    thin = ranking.unranked if ranking else ()
    verdicts = tuple(_thin(e) if e in thin else _verdict(e, cells, info, better, seed) for e in names)
    return ScoreVerdict(
        metric=metric,
        score=score,
        verdicts=verdicts,
        sentence=_sentence(score_name(metric, score), verdicts),
    )


def _thin(explainer: str) -> Verdict:
    why = "has less than half of the samples that others have"
    return Verdict(explainer=explainer, outcome="undetermined", against=(), why=why)


def _applies(control: str, explainer: str, info: ScoreInfo) -> bool:
    role = info.role(control)
    return role == "control" or (role == "inverse" and inverse_of(control) == short(explainer))


def _verdict(explainer: str, cells: Mapping[str, CellValues], info: ScoreInfo, better: str, seed: int) -> Verdict:
    controls = [c for c in sorted(cells) if _applies(c, explainer, info)]
    judged = (_against(c, cells[explainer], cells[c], better, seed) for c in controls)
    against = tuple(a for a in judged if a is not None)
    if not against:
        why = "no control was measured"
        return Verdict(explainer=explainer, outcome="undetermined", against=(), why=why)
    outcomes = {a.outcome for a in against}
    if "does not beat" in outcomes:
        return Verdict(explainer=explainer, outcome="does not beat", against=against)
    if "undetermined" in outcomes:
        why = next(a.why for a in against if a.outcome == "undetermined")
        return Verdict(explainer=explainer, outcome="undetermined", against=against, why=why)
    return Verdict(explainer=explainer, outcome="beats", against=against)


def _against(control: str, mine: CellValues, theirs: CellValues, better: str, seed: int) -> AgainstControl | None:
    if mine.scope != "sample":
        why = f"a score of a whole {mine.scope} has no interval"
        return AgainstControl(control=control, outcome="undetermined", why=why)
    if not len(theirs.values):
        failed = any(status == "failed" for status, _ in theirs.left_out)
        why = f"{short(control)} failed"
        return AgainstControl(control=control, outcome="undetermined", why=why) if failed else None
    difference = paired_difference(*even_pair(mine, theirs), seed=seed, test=False)
    favours = difference.favours_first(better)
    if favours is None:
        return AgainstControl(control=control, outcome="undetermined", difference=difference, why=difference.note)
    outcome: Outcome = "beats" if favours else "does not beat"
    return AgainstControl(control=control, outcome=outcome, difference=difference)


def _sentence(name: str, verdicts: Sequence[Verdict]) -> str:
    """``deletion auc: gradcam beats every control (random, own inverse); rise does not beat random.``"""
    if not verdicts:
        return f"{name}: no explainer has a value."
    winners = [v for v in verdicts if v.outcome == "beats"]
    parts = [_winners(winners) if winners else "no explainer is shown to beat every control"]
    losers = [v for v in verdicts if v.outcome == "does not beat"]
    parts += [f"{short(v.explainer)} does not beat {', '.join(_unbeaten(v))}" for v in losers]
    reasons: dict[str, list[str]] = {}
    for verdict in verdicts:
        if verdict.outcome == "undetermined":
            reasons.setdefault(verdict.why, []).append(short(verdict.explainer))
    parts += [f"undetermined for {', '.join(names)}: {why}" for why, names in reasons.items()]
    return f"{name}: {'; '.join(parts)}."


def _winners(winners: Sequence[Verdict]) -> str:
    names = ", ".join(short(v.explainer) for v in winners)
    beaten = {n: None for v in winners for n in _names(v, v.against)}
    alone = [short(v.explainer) for v in winners if OWN_INVERSE not in _names(v, v.against)]
    missing = f"; no inverse of {', '.join(alone)} was measured" if alone and OWN_INVERSE in beaten else ""
    ordered = [*sorted(n for n in beaten if n != OWN_INVERSE), *(n for n in beaten if n == OWN_INVERSE)]
    verb = "beats" if len(winners) == 1 else "beat"
    return f"{names} {verb} every control ({', '.join(ordered)}{missing})"


def _unbeaten(verdict: Verdict) -> list[str]:
    return _names(verdict, [a for a in verdict.against if a.outcome == "does not beat"])


def _names(verdict: Verdict, against: Sequence[AgainstControl]) -> list[str]:
    mine = short(verdict.explainer)
    return [OWN_INVERSE if inverse_of(a.control) == mine else short(a.control) for a in against]
