"""The methods of a run in words: what the run records, and how the report computes its statistics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from xaibench.api import format_value
from xaibench_report.exports.control_words import INVERSE_WORDS, control_words
from xaibench_report.exports.marked_text import Block, Cite, Code, Part, Parts
from xaibench_report.exports.methods_summary import TARGETS, detector_name, families, summary
from xaibench_report.exports.part_lists import count, count_were, joined, listed
from xaibench_report.exports.run_record import ComponentFacts, DataFacts, RunRecord
from xaibench_report.exports.statistics_text import statistics
from xaibench_report.values.run_values import inverse_of, short

_SHORT_DIGEST = 12


def methods_of(record: RunRecord, reporter: str) -> tuple[Block, ...]:
    """The methods as blocks, of which the first stands alone. ``reporter`` is the version of xaibench whose report
    computes the statistics."""
    blocks = (
        Block(title="Evaluation", parts=tuple(summary(record))),
        Block(title="Detectors", parts=tuple(_detectors(record))),
        Block(title="Data", parts=tuple(_data(record))),
        Block(title="Explainers", parts=tuple(_explainers(record))),
        Block(title="Controls", parts=tuple(_controls(record))),
        Block(title="Measures", parts=tuple(_measures(record))),
        Block(title="Statistics", parts=tuple(statistics(record, reporter))),
        Block(title="Computation", parts=tuple(_computation(record))),
        Block(title="All parameters", items=tuple(_parameters(c) for c in record.components)),
        Block(title="Digests", items=tuple(_digests(record))),
    )
    return tuple(b for b in blocks if b.parts or b.items)


# ---- what took part -------------------------------------------------------------------------------------------------


def _detectors(record: RunRecord) -> Iterator[Part]:
    models = record.of_kind("model")
    verb = "explained" if record.explainers("explainer") else "evaluated"
    yield f"{count_were(len(models), 'detector', verb)}: "
    yield from joined([_detector(m) for m in models], "; ")
    yield "."
    if record.settings["members"] == "first" and len(models) > 1:
        yield " Of each family of training runs, all measures were taken of the first run, and of the others only "
        yield "those that compare training runs."
    for name, marks in record.marks.items():
        yield from (" xaibench marks ", Code(detector_name(name)), f": {'; '.join(marks)}.")


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
    return Code(detector_name(model.name)), Cite(model.references), f" ({'; '.join(f for f in facts if f)})"


def _data(record: RunRecord) -> Iterator[Part]:
    cited = {c.name: c.references for c in record.of_kind("dataset")}
    sentences = [
        ("Of ", Code(short(data.name)), Cite(cited.get(data.name, ())), f", {_pictures(data)}") for data in record.data
    ]
    yield from joined(sentences, " ")
    options = [
        f"--{name} {' '.join(map(str, value)) if isinstance(value, list) else value}"
        for name in ("preset", "split", "method", "limit", "part")
        if (value := record.preset if name == "preset" else record.settings.get(name))
    ]
    if options:
        yield from (" The run was started with ", Code(" ".join(options)), ".")


def _pictures(data: DataFacts) -> str:
    methods = ", ".join(f"{n:,} {method}" for method, n in sorted(data.methods.items()))
    labels = f"{data.labels.get('real', 0):,} real and {data.labels.get('fake', 0):,} fake"
    split = f" of the {' and '.join(data.splits)} split{'s' if len(data.splits) > 1 else ''}" if data.splits else ""
    pictures = f"{count(data.pictures, 'picture')}{split} {'was' if data.pictures == 1 else 'were'} evaluated: {labels}"
    sentences = [f"{pictures}{f' ({methods})' if methods else ''}", _groups(data)]
    if data.doubted:
        doubted = count_were(data.doubted, "picture", "left out of localisation")
        sentences.append(f"{doubted}, since a mask, counterpart or label is in doubt")
    if data.unreadable:
        sentences.append(f"{count(data.unreadable, 'file')} could not be used")
    return "".join(f"{s}. " for s in sentences).rstrip()


def _groups(data: DataFacts) -> str:
    if data.cross_groups:
        targets, donors = count(data.groups, "target"), count(data.cross_groups, "donor")
        return f"They combine {targets} and {donors}, which are two crossed factors"
    return f"They form {count(data.groups, 'group')} of pictures that share source material"


def _explainers(record: RunRecord) -> Iterator[Part]:
    explainers = record.explainers("explainer")
    if not explainers:
        return
    yield f"{count_were(len(explainers), 'explainer', 'evaluated')}: "
    yield from listed([_named(e) for e in explainers])
    target = record.settings["target"]
    yield ". Each map explains "
    yield from (TARGETS[target],) if target in TARGETS else ("the class ", Code(target))
    yield ". This class is chosen once for each picture. It stays the same when a measure changes the picture, except "
    yield "in measures that define it otherwise."


def _controls(record: RunRecord) -> Iterator[Part]:
    controls, references = record.explainers("control"), record.explainers("reference")
    plain = [c for c in controls if not inverse_of(c.name)]
    inverses = [inverse_of(c.name) for c in controls if inverse_of(c.name)]
    if controls:
        yield "Controls are maps that explain nothing. They are scored like explainers, held against them and never "
        yield "ranked: "
        own: list[Parts] = [("the inverse of ", *listed([(Code(i),) for i in inverses]), f" ({INVERSE_WORDS})")]
        yield from listed([*map(_control, plain), *(own if inverses else ())])
        yield "."
    elif record.explainers("explainer"):
        yield "No controls were evaluated, so that no explainer is called better or worse."
    if references:
        yield f" {'References are' if len(references) > 1 else 'A reference is'} shown beside them: "
        yield from listed([_control(r) for r in references])
        yield f". {'They use' if len(references) > 1 else 'It uses'} what no detector shows, and "
        yield f"{'are' if len(references) > 1 else 'is'} neither ranked nor to be beaten by an explainer."


def _control(component: ComponentFacts) -> Parts:
    """``edges (the picture's own edges) [Adebayo et al. 2018]``."""
    facts = (control_words(component.name), _maps(component), _foreign(component))
    text = "; ".join(f for f in facts if f)
    return Code(short(component.name)), *((f" ({text})",) if text else ()), Cite(component.references)


def _measures(record: RunRecord) -> Iterator[Part]:
    metrics = record.of_kind("metric")
    if not metrics:
        return
    yield f"{count_were(len(metrics), 'measure', 'taken')}, and no overall number is formed."
    for family in families(record):
        yield f" {family.capitalize()}: "
        yield from listed([_named(m) for m in metrics if m.details["family"] == family])
        yield "."
    yield from _withheld(record)


def _withheld(record: RunRecord) -> Iterator[Part]:
    """What a gate withheld, where, and why, without what to do about it."""
    places = {(w.detector, w.dataset) for w in record.withheld}
    for gate in record.withheld:
        yield from (" A gate withheld the ranks and verdicts of ", Code(gate.score))
        if len(record.of_kind("model")) > 1 or len(record.data) > 1 or len(places) > 1:
            yield from (" for ", Code(gate.detector), " on ", Code(gate.dataset))
        yield f", since {gate.reason.partition('; use ')[0]}."


def _named(component: ComponentFacts) -> Parts:
    facts = "; ".join(f for f in (_maps(component), _foreign(component)) if f)
    return Code(short(component.name)), *_source(component), *((f" ({facts})",) if facts else ())


def _source(component: ComponentFacts) -> Parts:
    """Its publications, or in which way its definition is xaibench's own."""
    note = str(component.details.get("note", ""))
    if not note:
        return (Cite(component.references),)
    own = "defined by " + ("xaibench" if component.distribution == "xaibench" else component.distribution)
    return f" ({note.replace('own', own, 1).replace(', after', ' after')}", Cite(component.references), ")"


def _maps(component: ComponentFacts) -> str:
    return f"{component.maps:,} maps of each picture" if component.maps > 1 else ""


def _foreign(component: ComponentFacts) -> str:
    return f"{component.distribution} {component.version}" if component.distribution != "xaibench" else ""


# ---- how it was computed --------------------------------------------------------------------------------------------


def _computation(record: RunRecord) -> Iterator[Part]:
    settings, identity, machine = record.settings, record.identity, record.provenance
    repeats = "once" if settings["repeats"] == 1 else f"{settings['repeats']:,} times"
    yield f"The seed is {settings['seed']}, and explainers that draw at random were run {repeats}. The run computed in "
    yield f"{identity['precision']} on {identity['device']} ({_machine(machine)}) with "
    yield f"{count(int(identity['threads']), 'thread')}, on {machine['platform']}. "
    yield f"It used Python {machine['python']}{''.join(f', {library}' for library in _libraries(record))}. "
    forward, backward = record.passes
    yield f"It took {forward:,} forward and {backward:,} backward passes. "
    counts = ", ".join(f"{n:,} {status.replace('_', ' ')}" for status, n in sorted(record.statuses.items()))
    yield f"It holds {count(sum(record.statuses.values()), 'value')} of scores: {counts or 'none'}. "
    last = record.runs[-1]
    yield from ("The run is ", Code(last["run"]), ", and the digest of its plan begins with ")
    yield Code(last["plan_digest"][:_SHORT_DIGEST])
    yield f"; it is the last of {len(record.runs):,} plans of its folder." if len(record.runs) > 1 else "."


def _libraries(record: RunRecord) -> Iterator[str]:
    """With their versions; those of ONNX only where a detector is one."""
    onnx = any("onnx" in str(m.details.get("format", "")).lower() for m in record.of_kind("model"))
    for name, version in record.provenance["versions"].items():
        if name != "xaibench" and (onnx or not name.startswith("onnx")):
            yield f"{name} {version}"


def _machine(machine: Mapping[str, Any]) -> str:
    parts = (machine.get("gpu"), machine.get("processor") or machine.get("machine"))
    return ", ".join([str(p) for p in parts if p] + [count(machine["cores"], "core")])


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
