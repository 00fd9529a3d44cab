"""The first paragraph of the methods, which stands alone: about 150 words on what was evaluated, how, and what a
verdict means."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from xaibench_report.exports.control_words import INVERSE_WORDS, control_words
from xaibench_report.exports.marked_text import Cite, Code, Part
from xaibench_report.exports.part_lists import count, count_were, listed
from xaibench_report.exports.run_record import ComponentFacts, RunRecord
from xaibench_report.exports.statistics_references import xaibench_reference
from xaibench_report.values.aliases import Aliases
from xaibench_report.values.run_values import FAMILIES, inverse_of, short

_MOST_NAMES: Final = 8
TARGETS: Final = {
    "predicted": "the class of the detector's verdict on the untouched picture",
    "fake": "the fake class that is likeliest on the untouched picture",
    "real": "the real class",
    "label": "the class of the picture's label",
}


def summary(record: RunRecord) -> Iterator[Part]:
    """The paragraph."""
    explainers = record.explainers("explainer")
    yield from _setting(record, explained=bool(explainers))
    if explainers:
        yield from _explainers(record, explainers)
    yield from _measures(record)
    if explainers and record.explainers("control"):
        yield from _controls(record)
    if record.of_kind("metric"):
        yield from _statistics(record)
    yield from _withheld(record)


def detector_name(name: str) -> str:
    """``demo (demo-0)`` for the training run ``demo-0`` of ``demo``."""
    model, _, member = short(name).partition(" ")
    return f"{model} ({member})" if member and member != model else model


def _setting(record: RunRecord, *, explained: bool) -> Iterator[Part]:
    models = record.of_kind("model")
    yield "The explanations of " if explained else ""
    if len(models) == 1:
        yield from ("the detector " if explained else "The detector ", Code(detector_name(models[0].name)))
    else:
        yield count(len(models), "detector")
    yield f" {'was' if not explained and len(models) == 1 else 'were'} evaluated with xaibench {record.version}"
    yield Cite((xaibench_reference(record.version),))
    pictures, real = sum(d.pictures for d in record.data), sum(d.labels.get("real", 0) for d in record.data)
    yield f" on {count(pictures, 'picture')} ({real:,} real and {pictures - real:,} fake) of "
    yield from listed([(Code(short(d.name)),) for d in record.data])
    yield f", in {count(sum(d.groups for d in record.data), 'group')} of pictures that share source material."


def _explainers(record: RunRecord, explainers: tuple[ComponentFacts, ...]) -> Iterator[Part]:
    aliases = Aliases.of(e.name for e in record.of_kind("explainer"))
    if len(explainers) <= _MOST_NAMES:
        yield " The explainer is " if len(explainers) == 1 else " The explainers are "
        yield from listed([(Code(aliases(e.name)), Cite(e.references)) for e in explainers])
    else:
        yield f" {count_were(len(explainers), 'explainer', 'evaluated')}"
    target = record.settings["target"]
    yield ". Each map explains "
    yield from (TARGETS[target],) if target in TARGETS else ("the class ", Code(target))
    yield "."


def families(record: RunRecord) -> list[str]:
    """The families of the measures in the order of the boards."""
    there = {str(m.details["family"]) for m in record.of_kind("metric")}
    return [f for f in (*FAMILIES, *sorted(there - set(FAMILIES))) if f in there]


def _measures(record: RunRecord) -> Iterator[Part]:
    metrics = record.of_kind("metric")
    if metrics:
        yield f" {count_were(len(metrics), 'measure', 'taken')}, of "
        yield from listed([(f,) for f in families(record)])
        yield "; no overall number is formed."


def _controls(record: RunRecord) -> Iterator[Part]:
    names = [c.name for c in record.explainers("control")]
    words = [w.partition(",")[0] for n in names if (w := control_words(n))][:1]
    examples = [*words, *([INVERSE_WORDS] if any(map(inverse_of, names)) else ())]
    yield " The same measures scored controls, which are maps that explain nothing"
    yield f", such as {' or '.join(examples)}. " if examples else ". "
    yield "An explainer is called better only if it is shown better than every control, and worse if it is shown worse "
    yield "than one."


def _statistics(record: RunRecord) -> Iterator[Part]:
    yield " Intervals are 95 % intervals clustered by group."
    if record.explainers("explainer") and record.explainers("control"):
        yield " Comparisons are paired, and those of one family of measures on one detector are corrected together, so "
        yield "that the probability of any false claim among them is at most 5 %."


def _withheld(record: RunRecord) -> Iterator[Part]:
    """The measures that a gate withheld, with the first clause of its reason."""
    reasons: dict[str, dict[str, None]] = {}
    for gate in record.withheld:
        reasons.setdefault(gate.reason.partition(": ")[0], {})[gate.score] = None
    for reason, scores in reasons.items():
        yield " No ranks and no verdicts are given under "
        yield from listed([(Code(s),) for s in scores])
        yield f", since {reason}."
