"""The sentences of an answer about explainers, and the lines that say what it rests on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from xaibench_report.answer.family_words import MARKED, FamilyCell, Measure, brief
from xaibench_report.values.aliases import Aliases
from xaibench_report.values.number_format import plural

_NAMED: Final = 5


def explainer_sentences(
    rows: Sequence[tuple[str, Sequence[FamilyCell]]], every: Sequence[Measure], runs: int
) -> list[str]:
    """How many explainers are shown better than every control, by how many measures each."""
    if not rows:
        return []
    judged = sum(m.state == "judged" for m in every)
    if all(m.why == MARKED for m in every):
        return []  # the sentence on the detector says it
    if not judged:
        reasons = list(dict.fromkeys(brief(m.why) for m in every if m.state in ("withheld", "no verdict")))
        why = f": {', '.join(reasons)}" if reasons else ""
        return [f"Nothing can be said of {_explainers(len(rows))}: no measure gives a verdict{why}."]
    better = {alias: sum(c.better for c in cells) for alias, cells in rows}
    worse = {alias: sum(k for c in cells for _, k in c.worse) for alias, cells in rows}
    what = plural(judged, "judged measure") + (f" (counted in each of {runs} runs)" if runs > 1 else "")
    if not any(better.values()):
        return [f"None of {_explainers(len(rows))} is shown better than every control by {what}.", *_losers(worse)]
    if len(rows) > _NAMED:
        return [_summed(better, judged, what), *_losers(worse)]
    names = [f"{alias} in {_better(n, worse[alias])}" for alias, n in better.items()]
    return [f"Shown better than every control, by {what}: {', '.join(names)}."]


def _better(better: int, worse: int) -> str:
    """``1 (worse in 2)``."""
    return f"{better or 'none'}{f' (worse in {worse})' if worse else ''}"


def _summed(better: Mapping[str, int], judged: int, what: str) -> str:
    some, every = sum(n > 0 for n in better.values()), sum(n == judged for n in better.values())
    return (
        f"{some} of {_explainers(len(better))} {'is' if some == 1 else 'are'} shown better than every control in at "
        f"least one of {what}, {every or 'none'} in all."
    )


def _losers(worse: Mapping[str, int]) -> list[str]:
    losers = sum(n > 0 for n in worse.values())
    return [f"{losers} {'is' if losers == 1 else 'are'} shown worse than a control in at least one."] if losers else []


def _explainers(n: int) -> str:
    return plural(n, "explainer")


def family_head(every: Sequence[Measure]) -> str:
    """``1 of 2 judged``, ``4 judged``, ``none of 2 judged``, ``2 measures``: stands over a family's column."""
    ranking = [m for m in every if m.state != "describes"]
    judged = sum(m.state == "judged" for m in ranking)
    if not ranking:
        return plural(len(every), "measure")
    if judged == len(ranking):
        return f"{judged} judged"
    return f"{judged or 'none'} of {len(ranking)} judged"


def footing_lines(pictures: str, every: Sequence[Measure], aliases: Aliases) -> list[str]:
    """The pictures, how many measures have footing, and which do not and why, as one line."""
    judged = sum(m.state == "judged" for m in every)
    measures = f"{judged} of {plural(len(every), 'measure')} judged" if every else ""
    members = {m.member for m in every}
    by_reason: dict[tuple[str, str], dict[str, str]] = {}
    for m in every:
        if m.state in ("withheld", "no verdict"):
            by_reason.setdefault((m.state, brief(m.why)), {}).setdefault(aliases.score(m.metric, m.score), m.why)
    lines = []
    for (state, why), found in by_reason.items():
        every_why = set(found.values())
        full = _plain(every_why.pop().partition("; use ")[0]) if len(every_why) == 1 and len(members) < 2 else why
        lines.append(f"{state}: {', '.join(found)}: {aliases.text(full)}")
    return ["; ".join(line for line in (pictures, measures, *lines) if line)]


def _plain(reason: str) -> str:
    """A reason without the interval in brackets that may end it."""
    return reason.rpartition(" (")[0] if reason.endswith(")") else reason
