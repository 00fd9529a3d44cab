"""The answer of a comparison of two runs: what changed by more than chance, and what is not shown to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from xaibench_report.answer.family_words import brief
from xaibench_report.boards.wording import mark_line
from xaibench_report.comparisons.compare import ComparedScore, RunComparison
from xaibench_report.detectors.marks import DetectorMark
from xaibench_report.values.aliases import Aliases
from xaibench_report.values.number_format import plural
from xaibench_report.values.run_values import CellKey

LEVEL: Final = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonAnswer:
    """``changed``: the rows whose interval excludes 0 and whose p, adjusted by Holm over all rows, is below 0.05.
    ``level``: how many were tested and are not shown to differ; ``untested``: how many have no test, by reason."""

    sentences: tuple[str, ...]
    changed: tuple[ComparedScore, ...]
    level: int
    untested: tuple[tuple[str, int], ...]
    aliases: Aliases


def comparison_answer(comparison: RunComparison) -> ComparisonAnswer:
    """What a reader of a comparison must know first."""
    changed = tuple(row for row in comparison.rows if _changed(row))
    untested = [row for row in comparison.rows if row.difference.p_holm is None]
    level = len(comparison.rows) - len(changed) - len(untested)
    reasons = Counter(brief(row.difference.note) or "no test" for row in untested)
    names: list[ComparedScore | CellKey] = [*comparison.rows, *comparison.only_first, *comparison.only_second]
    return ComparisonAnswer(
        sentences=tuple(_sentences(comparison, changed, level, reasons)),
        changed=changed,
        level=level,
        untested=tuple(sorted(reasons.items(), key=lambda item: (-item[1], item[0]))),
        aliases=Aliases.of((row.explainer for row in names if row.explainer), (row.metric for row in names)),
    )


def _changed(row: ComparedScore) -> bool:
    d = row.difference
    if d.p_holm is None or d.p_holm >= LEVEL or d.low is None or d.high is None:
        return False
    return d.low > 0 or d.high < 0


def _sentences(
    comparison: RunComparison, changed: Sequence[ComparedScore], level: int, untested: Counter[str]
) -> list[str]:
    if not comparison.rows:
        return ["The runs have no measure of an explainer in common: nothing is compared."]
    marks = {f"{run} run: {mark_line(m)}" for run, marks in _marks(comparison) for m in marks if m.withholds_ranks}
    sentences = [f"Marked: {text}." for text in sorted(marks)]
    sentences += [f"{note[:1].upper()}{note[1:]}." for note in comparison.notes]
    total = plural(len(comparison.rows), "mean")
    if changed:
        words = Counter(row.improved for row in changed)
        parts = [f"{words[w]} {name}" for w, name in ((True, "for the better"), (False, "for the worse")) if words[w]]
        parts += [f"{words[None]} of which no side is called better"] if words[None] else []
        sentences.append(f"{len(changed)} of {total} changed by more than chance: {', '.join(parts)}.")
    else:
        sentences.append(f"None of {total} is shown to have changed.")
    equal = sum(row.difference.value == 0 for row in comparison.rows)
    if level:
        same = f" ({equal} are equal)" if equal else ""
        sentences.append(f"{level} {'is' if level == 1 else 'are'} not shown to differ{same}.")
    if untested:
        alone = len(untested) == 1
        why = "; ".join(reason if alone else f"{reason} ({n})" for reason, n in untested.most_common())
        sentences.append(f"{sum(untested.values())} could not be tested: {why}.")
    sentences.append("Second run minus first, on common samples; p adjusted by Holm over all rows.")
    missing = [
        (name, len(x)) for name, x in (("first", comparison.only_first), ("second", comparison.only_second)) if x
    ]
    return [*sentences, *(f"Only in the {name} run: {plural(n, 'cell')}." for name, n in missing)]


def _marks(comparison: RunComparison) -> tuple[tuple[str, Sequence[DetectorMark]], ...]:
    return ("first", comparison.first_marks), ("second", comparison.second_marks)
