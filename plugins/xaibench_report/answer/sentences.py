"""The sentences of an answer about explainers, and the lines that say what it rests on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from xaibench_report.answer.family_words import MARKED, FamilyCell, Measure, brief
from xaibench_report.values.aliases import Aliases
from xaibench_report.values.number_format import plural

_NAMED: Final = 5
QUESTIONS: Final = {
    "faithfulness": "does the verdict hang on what a map marks?",
    "localisation": "do maps mark what was manipulated?",
    "attack": "does changing what a map marks change the verdict?",
    "robustness": "do maps hold still where they should, and move where they should?",
}
"""What the measures of a family ask, in plain words."""


def explainer_sentences(
    rows: Sequence[tuple[str, Sequence[FamilyCell]]], every: Sequence[Measure], runs: int, *, asks: bool = True
) -> list[str]:
    """Which explainers are shown better than every control, a sentence a family; ``asks``: with its question. Families
    that judge nothing go unsaid beside others."""
    if not rows or all(m.why == MARKED for m in every):
        return []  # no explainer, or the sentence on the detector says it
    by_family: dict[str, list[tuple[str, FamilyCell]]] = {}
    for alias, cells in rows:
        for cell in cells:
            by_family.setdefault(cell.family, []).append((alias, cell))
    judged = {f: some for f, some in by_family.items() if any(c.judged for _, c in some)}
    if not judged:
        reasons = list(dict.fromkeys(brief(m.why) for m in every if m.state in ("withheld", "no verdict")))
        why = f": {', '.join(reasons)}" if reasons else ""
        return [f"Nothing can be said of {_explainers(len(rows))}: no measure gives a verdict{why}."]
    noun = "measure" if runs == 1 else "verdict"
    if asks:
        parts = [f"{_question(family)}: {_shown(some, noun)}." for family, some in judged.items()]
        return [f"Shown better than every control. {parts[0]}", *parts[1:]]
    shown = "; ".join(f"by {family} {_shown(_told(some), noun)}" for family, some in judged.items())
    return [f"Shown better than every control: {shown}."]


def _question(family: str) -> str:
    """``Localisation (do maps mark what was manipulated?)``."""
    question = QUESTIONS.get(family, "")
    return f"{family.capitalize()}{f' ({question})' if question else ''}"


def _told(cells: Sequence[tuple[str, FamilyCell]]) -> Sequence[tuple[str, FamilyCell]]:
    """Those that are shown better, where some are: the rest stands in the table."""
    return [(alias, c) for alias, c in cells if c.better] or cells


def _shown(cells: Sequence[tuple[str, FamilyCell]], noun: str) -> str:
    """``gradcam in 4 of 4 measures, rise in 1 (worse in 1)``; ``none of 3 explainers``; of many explainers a count."""
    count = max(_verdicts(c) for _, c in cells)
    worse = {alias: sum(k for _, k in c.worse) for alias, c in cells}
    better = {alias: c.better for alias, c in cells}
    if not any(better.values()):
        return f"none of {_explainers(len(cells))}{_losers(worse)}"
    if len(cells) > _NAMED:
        some, whole = sum(n > 0 for n in better.values()), sum(n == count for n in better.values())
        parts = f" in at least one of {plural(count, noun)}, {whole or 'none'} in all" if count > 1 else ""
        return f"{some} of {_explainers(len(cells))}{parts}{_losers(worse)}"
    if count == 1:
        return f"{', '.join(alias for alias, n in better.items() if n)}{_losers(worse)}"
    first, *rest = (f"{alias} in {n or 'none'}" for alias, n in better.items())
    names = [f"{first} of {plural(count, noun)}", *rest]
    return ", ".join(f"{name}{_worse_in(n)}" for name, n in zip(names, worse.values(), strict=True))


def _worse_in(n: int) -> str:
    return f" (worse in {n})" if n else ""


def _verdicts(cell: FamilyCell) -> int:
    return cell.judged + sum(k for _, k in cell.none)


def _losers(worse: Mapping[str, int]) -> str:
    losers = [alias for alias, n in worse.items() if n]
    if not losers:
        return ""
    return f"; worse than a control: {', '.join(losers) if len(losers) <= _NAMED else plural(len(losers), 'explainer')}"


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
