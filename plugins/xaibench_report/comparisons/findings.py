"""The sentence that says what a measure found between detectors of equal accuracy."""

from __future__ import annotations

from xaibench_report.comparisons.standings import Contest, MeasureRanking, Standing
from xaibench_report.values.number_format import interval, number, p_value, plural
from xaibench_report.values.run_values import score_name, short
from xaibench_statistics import LEAST_RUNS, RunsDifference


def finding(ranking: MeasureRanking) -> str:
    """``entropy-spatial, gradcam: guided is better than plain: 0.41 against 0.53, difference -0.12 [-0.15, -0.09],
    p 0.008, Holm 0.016.`` Empty where there is nothing to say: no test, and no family without a value."""
    name = score_name(ranking.measure.metric, ranking.measure.score)
    if ranking.measure.explainer:
        name += f", {short(ranking.measure.explainer)}"
    by_model = {s.model: s for s in ranking.standings}
    few = {s.model for s in ranking.standings if ranking.contests and 0 < s.runs < LEAST_RUNS}
    parts = [_contest(c, by_model, ranking.better) for c in ranking.contests if not {c.first, c.second} & few]
    parts += [_few(s) for s in ranking.standings if s.model in few]
    parts += [f"{short(s.model)}: {s.why}" for s in ranking.standings if s.why]
    return f"{name}: {'; '.join(parts)}." if parts else ""


def _few(standing: Standing) -> str:
    runs = f"{plural(standing.runs, 'run')}, fewer than {LEAST_RUNS} cannot be significant"
    return f"{short(standing.model)} is not tested: {runs}"


def _contest(contest: Contest, standings: dict[str, Standing], better: str) -> str:
    first, second = short(contest.first), short(contest.second)
    d = contest.difference
    if contest.shown is None:
        return f"{first} and {second} are not tested: {d.note}"
    word = "better" if better != "none" else "lower"
    says = f"{first} is {word} than" if contest.shown else f"{first} is not shown to be {word} than"
    values = [number(e.value) if (e := standings[m].estimate) else "" for m in (contest.first, contest.second)]
    fewest = min(standings[m].runs for m in (contest.first, contest.second))
    more = contest.needed is not None and contest.needed > fewest
    needed = f"; about {contest.needed} runs of each would tell such a difference" if more else ""
    return f"{says} {second}: {values[0]} against {values[1]}, {_difference(d)}{needed}"


def _difference(d: RunsDifference) -> str:
    over = "" if d.people else " over runs alone"
    ends = f" {interval(d)}{over}" if d.low is not None else ""
    deals = f"{d.deals:,} permutations of runs" if d.deals else d.test
    return f"difference {number(d.value)}{ends}, p {p_value(d.p)}, Holm {p_value(d.p_holm)} ({deals})"
