"""The methods of a run in words: what the run records, and how the report computes its statistics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from xaibench.api import format_value
from xaibench_report.exports import statistics_references as literature
from xaibench_report.exports.marked_text import Block, Cite, Code, Part, Parts
from xaibench_report.exports.run_record import ComponentFacts, DataFacts, RunRecord
from xaibench_report.values.run_values import FAMILIES, short
from xaibench_statistics import MINIMUM_GROUPS, RESAMPLES

_SHORT_DIGEST = 12
_TARGETS = {
    "predicted": "the class of the detector's verdict on the untouched picture",
    "fake": "the fake class that is likeliest on the untouched picture",
    "real": "the real class",
    "label": "the class of the picture's label",
}


def methods_of(record: RunRecord, reporter: str) -> tuple[Block, ...]:
    """The methods as blocks. ``reporter`` is the version of xaibench whose report computes the statistics."""
    blocks = (
        Block(title="Evaluation", parts=tuple(_evaluation(record))),
        Block(title="Detectors", parts=tuple(_detectors(record))),
        Block(title="Data", parts=tuple(_data(record))),
        Block(title="Explainers", parts=tuple(_explainers(record))),
        Block(title="Controls", parts=tuple(_controls(record))),
        Block(title="Measures", parts=tuple(_measures(record))),
        Block(title="Statistics", parts=tuple(_statistics(record, reporter))),
        Block(title="Computation", parts=tuple(_computation(record))),
        Block(title="All parameters", items=tuple(_parameters(c) for c in record.components)),
        Block(title="Digests", items=tuple(_digests(record))),
    )
    return tuple(b for b in blocks if b.parts or b.items)


# ---- what took part -------------------------------------------------------------------------------------------------


def _evaluation(record: RunRecord) -> Iterator[Part]:
    version = _version(record, "xaibench")
    yield f"The explanations were evaluated with xaibench {version}"
    yield Cite((literature.xaibench_reference(version),))
    yield "."


def _detectors(record: RunRecord) -> Iterator[Part]:
    models = record.of_kind("model")
    yield f"{_count(len(models), 'detector')} took part: "
    yield from _joined([_detector(m) for m in models], "; ")
    yield "."
    if record.settings["members"] == "first" and len(models) > 1:
        yield " Of a family of training runs, the first member has all measures and the others those of families."
    for name, marks in record.marks.items():
        yield from (" xaibench marks ", Code(short(name)), f": {'; '.join(marks)}.")


def _detector(model: ComponentFacts) -> Parts:
    details, (height, width) = model.details, model.details["input_size"]
    facts = (
        str(details.get("format", "")),
        f"input of {height} x {width} pixels",
        f"classes {', '.join(details['classes'])}",
        f"threshold {format_value(details['threshold'])} on P(fake)",
        str(details["precision"]),
        f"SHA-256 {model.digest[:_SHORT_DIGEST]}",
    )
    return Code(short(model.name)), Cite(model.references), f" ({'; '.join(f for f in facts if f)})"


def _data(record: RunRecord) -> Iterator[Part]:
    cited = {c.name: c.references for c in record.of_kind("dataset")}
    sentences = [
        (Code(short(data.name)), Cite(cited.get(data.name, ())), f": {_pictures(data)}.") for data in record.data
    ]
    yield from _joined(sentences, " ")
    chosen = [
        f"--{name} {' '.join(map(str, value)) if isinstance(value, list) else value}"
        for name in ("preset", "split", "method", "limit", "part")
        if (value := record.preset if name == "preset" else record.settings.get(name))
    ]
    if chosen:
        yield from (" Chosen with ", Code(" ".join(chosen)), ".")


def _pictures(data: DataFacts) -> str:
    methods = ", ".join(f"{n:,} {method}" for method, n in sorted(data.methods.items()))
    labels = f"{data.labels.get('real', 0):,} real and {data.labels.get('fake', 0):,} fake"
    split = f" of the split {' and '.join(data.splits)}" if data.splits else ""
    groups = f"in {_count(data.groups, 'group')} of pictures that share source material"
    if data.cross_groups:
        groups = f"with {_count(data.groups, 'target')} and {_count(data.cross_groups, 'donor')} as two crossed factors"
    text = f"{_count(data.pictures, 'picture')}{split}, {labels}{f' ({methods})' if methods else ''}, {groups}"
    if data.doubted:
        text += f"; {data.doubted:,} with a mask, counterpart or label in doubt, which take no part in localisation"
    if data.unreadable:
        text += f"; {_count(data.unreadable, 'file')} could not be used"
    return text


def _explainers(record: RunRecord) -> Iterator[Part]:
    explainers = [e for e in record.of_kind("explainer") if e.role == "explainer"]
    if not explainers:
        return
    yield f"{_count(len(explainers), 'explainer')}: "
    yield from _joined([_named(e) for e in explainers], ", ")
    target = record.settings["target"]
    yield ". Each map explains "
    yield from (_TARGETS[target],) if target in _TARGETS else ("the class ", Code(target))
    yield ". The class is settled once a picture and kept under every change, except in measures that say otherwise."


def _controls(record: RunRecord) -> Iterator[Part]:
    explainers = record.of_kind("explainer")
    controls = [e for e in explainers if e.role == "control"]
    references = [e for e in explainers if e.role == "reference"]
    if controls:
        yield "Beside the explainers ran controls, which are scored in the same way and never ranked: "
        yield from _joined([_named(c) for c in controls], ", ")
        yield "."
    elif explainers:
        yield "No controls ran."
    if references:
        yield " Shown as references, since they use what no detector shows, and neither ranked nor to be beaten: "
        yield from _joined([_named(r) for r in references], ", ")
        yield "."


def _measures(record: RunRecord) -> Iterator[Part]:
    metrics = record.of_kind("metric")
    if not metrics:
        return
    families = [*FAMILIES, *sorted({str(m.details["family"]) for m in metrics} - set(FAMILIES))]
    by_family = [(f, [m for m in metrics if m.details["family"] == f]) for f in families]
    yield f"{_count(len(metrics), 'measure')}, and no overall number."
    for family, members in by_family:
        if members:
            yield f" {family.capitalize()}: "
            yield from _joined([_named(m) for m in members], ", ")
            yield "."


def _named(component: ComponentFacts) -> Parts:
    maps = f" ({component.maps:,} maps of each picture)" if component.maps > 1 else ""
    foreign = f" ({component.distribution} {component.version})" if component.distribution != "xaibench" else ""
    note = str(component.details.get("note", "")) if component.role == "explainer" else ""
    source: Parts = (Cite(component.references),)
    if note:
        source = (f" ({note}", *source, ")")
    return Code(short(component.name)), *source, maps, foreign


# ---- statistics -----------------------------------------------------------------------------------------------------


def _statistics(record: RunRecord, reporter: str) -> Iterator[Part]:
    """As docs/explanation/statistics.md and the docstrings of ``xaibench_statistics`` say it."""
    yield f"As the report of xaibench {reporter} computes them, intervals are 95 % intervals with the group of "
    yield "pictures as the unit: of shares, Wilson's interval"
    yield Cite((literature.WILSON_1927,))
    yield " on an effective sample size"
    yield Cite((literature.FRANCO_2019,))
    yield "; of differences of shares, the interval from those of the two shares"
    yield Cite((literature.ZOU_2008,))
    yield "; of other numbers, at each end the outer one of the t interval with the cluster-robust variance of Bell "
    yield "and McCaffrey"
    yield Cite((literature.BELL_2002,))
    yield " and of Hall's interval for skewed means"
    yield Cite((literature.HALL_1992,))
    yield "."
    if any(data.cross_groups for data in record.data):
        yield " With two crossed factors the variance is the two-way clustered one"
        yield Cite((literature.CAMERON_2011,))
        yield ", and the bootstrap is the pigeonhole bootstrap"
        yield Cite((literature.OWEN_2007,))
        yield "."
    yield f" With fewer than {MINIMUM_GROUPS} groups there is no interval and no verdict."
    families = {m.details["family"] for m in record.of_kind("metric")}
    if "localisation" in families:
        yield " In localisation every manipulation method weighs alike."
    if _is_censored(record):
        yield f" Right-censored scores have a restricted mean and a median, the latter with {RESAMPLES:,} resamples of "
        yield "groups and an expanded tail"
        yield Cite((literature.HESTERBERG_2015,))
        yield "."
    roles = {e.role for e in record.of_kind("explainer")}
    if {"explainer", "control"} <= roles:
        yield from _verdicts()
    if "explainer" in roles:
        yield " Ranks have simultaneous 95 % intervals, from the step-down test over all pairs of explainers"
        yield Cite((literature.MOGSTAD_2024, literature.ROMANO_2005))
        yield "."
    if record.has_accuracy:
        yield " The AUC of a detector has an interval from its clustered variance"
        yield Cite((literature.DELONG_1988, literature.OBUCHOWSKI_1997, literature.NEWCOMBE_2006))
        yield "."


def _verdicts() -> Iterator[Part]:
    yield " An explainer is called better only if it is shown better than every control (an intersection-union test), "
    yield "and worse if it is shown worse than one. All comparisons of a board are tested together in both directions: "
    yield "within a score and a direction by the step-down maximum of the studentised clustered bootstrap"
    yield Cite((literature.ROMANO_2005,))
    yield ", between them by Bonferroni's rule, so that with probability .95 a board makes no false claim."


def _is_censored(record: RunRecord) -> bool:
    return any(score.get("event") for m in record.of_kind("metric") for score in m.details["scores"])


# ---- how it was computed --------------------------------------------------------------------------------------------


def _computation(record: RunRecord) -> Iterator[Part]:
    settings, identity, machine = record.settings, record.identity, record.provenance
    yield f"Seed {settings['seed']}, {_count(settings['repeats'], 'repeat')} of explainers that draw at random, "
    yield f"{identity['precision']} on {identity['device']} ({_machine(machine)}), "
    yield f"{_count(int(identity['threads']), 'thread')}. "
    libraries = [f"{name} {version}" for name, version in machine["versions"].items() if name != "xaibench"]
    yield f"Python {machine['python']}, {', '.join(libraries)}; {machine['platform']}. "
    forward, backward = record.passes
    yield f"The run took {forward:,} forward and {backward:,} backward passes. "
    counts = ", ".join(f"{n:,} {status.replace('_', ' ')}" for status, n in sorted(record.statuses.items()))
    yield f"It holds {_count(sum(record.statuses.values()), 'value')} of scores: {counts or 'none'}. "
    last = record.runs[-1]
    yield from ("It is run ", Code(last["run"]), " of plan ", Code(last["plan_digest"][:_SHORT_DIGEST]))
    yield f", the last of {len(record.runs):,} plans of its folder." if len(record.runs) > 1 else "."


def _machine(machine: Mapping[str, Any]) -> str:
    parts = (machine.get("gpu"), machine.get("processor") or machine.get("machine"))
    return ", ".join([str(p) for p in parts if p] + [_count(machine["cores"], "core")])


def _version(record: RunRecord, name: str) -> str:
    return str(record.provenance["versions"].get(name, "of unknown version"))


def _parameters(component: ComponentFacts) -> Parts:
    facts = _detector_settings(component) if component.kind == "model" else _definition(component)
    return Code(short(component.name)), f": {'; '.join(f for f in facts if f)}."


def _detector_settings(model: ComponentFacts) -> tuple[str, ...]:
    resize = _values(model.details.get("resize", {}))
    layer = model.details.get("target_layer") or "none"
    return f"detector of {model.distribution}", _values(model.parameters), f"layer {layer}", f"resized with {resize}"


def _definition(component: ComponentFacts) -> tuple[str, ...]:
    scores = ", ".join(f"{s['name']} {s['version']} ({s['better']})" for s in component.details.get("scores", ()))
    return (
        f"{component.kind} of {component.distribution} {component.version}, version {component.definition}",
        f"scores with the version of their definition and direction: {scores}" if scores else "",
        _values(component.parameters) or "no parameters",
    )


def _values(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{k} = {'none' if v is None else format_value(v)}" for k, v in sorted(values.items()))


def _digests(record: RunRecord) -> Iterator[Parts]:
    last = record.runs[-1]
    yield "plan of run ", Code(last["run"]), ": ", Code(last["plan_digest"])
    for model in record.of_kind("model"):
        yield "detector ", Code(short(model.name)), ": ", Code(model.digest)
    for dataset in record.of_kind("dataset"):
        yield "dataset ", Code(short(dataset.name)), ": ", Code(dataset.digest)


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def _joined(items: Sequence[Iterable[Part]], between: str) -> Iterator[Part]:
    for at, item in enumerate(items):
        yield from ((between,) if at else ())
        yield from item
