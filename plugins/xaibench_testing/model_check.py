"""What ``xaibench check`` says of a detector: its card first, then its structure, its accuracy and its contract."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from xaibench.api import Facts, ModelError, is_url

if TYPE_CHECKING:
    from xaibench import Examination, Registry
    from xaibench_statistics import Accuracy, Estimate

Row = dict[str, str]
_STRUCTURE = {
    "weights": "weights are loaded",
    "call": "can be called",
    "finite": "finite outputs",
    "probabilities": "outputs are probabilities",
    "distinct": "tells pictures apart",
    "repeat": "repeats itself",
    "stochastic": "repeats itself",
    "company": "judges each picture alone",
}


def row(component: str, check: str, status: str, message: str) -> Row:
    """A line of the answer. ``status`` is pass, fail or skip."""
    return {"component": component, "check": check, "status": status, "message": message}


def check_model(
    registry: Registry,
    what: str,
    dataset: str | None,
    split: str | None,
    limit: int,
    device: str,
    parameters: Mapping[str, object],
    write_card: bool,
) -> list[Row]:
    """Check the first member of a model; with labelled pictures also its card and its accuracy.

    ``write_card``: where another reading of the card is told better, it is written, and the model checked anew.
    """
    from xaibench import make_runtime, open_models, prepare_torch

    runtime = make_runtime(device)
    prepare_torch(runtime.threads)
    _, use = open_models(what, overrides=parameters, registry=registry)[0]
    member = use.instance.members()[0]
    detector = use.open(member, runtime)
    rows, examination = _rows(registry, detector, dataset, split, limit)
    best = examination.card.best if examination.card else None
    if not write_card or best is None:
        return rows
    write = getattr(use.instance, "write_card", None)
    if is_url(str(getattr(use.parameters, "path", ""))):
        raise ModelError(f"{what} is not on this machine, and its card neither", f"write {best.text} there")
    if write is None:
        raise ModelError(f"{detector.facts.name} has no card that can be written", f"give it {best.text} otherwise")
    path = write(member, best.keys)
    again = check_model(registry, what, dataset, split, limit, device, parameters, False)
    return [row(detector.facts.name, "card written", "pass", f"{path}: {best.text}"), *again]


def _rows(
    registry: Registry, detector: Any, dataset: str | None, split: str | None, limit: int
) -> tuple[list[Row], Examination]:
    from xaibench import doubt_lines, examine, open_dataset, survey
    from xaibench_testing import check_detector

    facts = detector.facts
    notes = [row(facts.name, "note", "skip", note) for note in facts.notes]
    notes += [row(facts.name, k, "skip", f"not available: {v}") for k, v in facts.limits.items()]
    if dataset is None:
        found = examine(detector)
    else:
        use = open_dataset(dataset, registry=registry)
        chosen = survey(use.instance, dataset, seed=0, split=split, limit=limit)
        notes += [row(facts.name, "file left out", "skip", f"{p.file}: {p.reason}") for p in chosen.problems]
        lines = doubt_lines(dataset, chosen.doubts, len(chosen.samples))
        notes += [row(facts.name, "data in doubt", "skip", line.strip()) for line in lines]
        found = examine(detector, use.instance, chosen.samples)
    rows = [*_card(found, facts, dataset), *_structure(found, facts)]
    if found.accuracy is not None:
        rows += _accuracy(found.accuracy, facts)
    if not any(f.fault for f in found.structure.findings if f.name in ("call", "finite", "probabilities")):
        rows += [row(facts.name, r.name, r.status, r.message) for r in check_detector(detector)]
    # What is at fault comes before what is in order, and both before what was not looked at.
    failed = [r for r in rows if r["status"] == "fail"]
    return [*notes, *failed, *(r for r in rows if r["status"] != "fail")], found


def _card(found: Examination, facts: Facts, dataset: str | None) -> Iterator[Row]:
    name = "card is read rightly"
    if found.card is None:
        note = found.card_note or ("labelled pictures would tell (--dataset)" if dataset is None else "")
        yield row(facts.name, name, "skip", f"not tried: {note}" if note else "not tried")
    elif found.card.best is not None:
        yield row(facts.name, name, "fail", f"{found.card.advice}; --write-card writes it")
    elif found.card.note:
        yield row(facts.name, name, "pass", found.card.note)
    else:
        tried = sum(not r.reason for r in found.card.others)
        yield row(facts.name, name, "pass", f"none of {tried} other readings is told better")


def _structure(found: Examination, facts: Facts) -> Iterator[Row]:
    for finding in found.structure.findings:
        name = _STRUCTURE[finding.name]
        if finding.fault:
            yield row(facts.name, name, "fail", f"{finding.fault}: {finding.mend}")
        else:
            skipped = bool(finding.reason or finding.note)
            yield row(facts.name, name, "skip" if skipped else "pass", finding.reason or finding.note)


def _accuracy(found: Accuracy, facts: Facts) -> Iterator[Row]:
    """Ranks and verdicts on the labelled pictures; where a mark withholds ranks in a run, the check fails."""
    from xaibench_statistics import CHANCE, CONSTANT, NOT_MEASURED, ONE_CLASS, VERDICTS, WRONG_WAY

    marks = {mark.name: mark for mark in found.marks}
    ranks = next((marks[n] for n in (CONSTANT, WRONG_WAY, CHANCE) if n in marks), None)
    few = NOT_MEASURED in marks or found.auc is None
    note = marks[NOT_MEASURED].text if NOT_MEASURED in marks else found.note
    if found.auc is None:
        yield row(facts.name, "ranks fake above real", "skip", f"{found.note}, on {found.n} pictures")
    else:
        text = f"{_measured('AUC', found.auc)} on {found.n} pictures"
        failed = ranks is not None and ranks.withholds_ranks
        if ranks is not None and ranks.name == WRONG_WAY:
            key = facts.details.get("label_key", "real")
            text += f": it ranks real above fake, so its labels look swapped; mend the key '{key}' of its card"
        elif ranks is not None:
            text += ": not told from chance" if ranks.name == CHANCE else f": {ranks.text}"
        if few and note:
            text += f"; {note}"
        status = "fail" if failed else "skip" if few else "pass"
        yield row(facts.name, "ranks fake above real", status, text)
    shown = (
        ("sensitivity", found.sensitivity),
        ("false-alarm rate", found.false_alarm_rate),
        ("balanced accuracy", found.balanced_accuracy),
    )
    text = ", ".join(_measured(name, estimate) for name, estimate in shown if estimate is not None)
    one_class = marks.get(ONE_CLASS) or marks.get(VERDICTS)
    if one_class is not None:
        text = f"{one_class.text}; {text}"
    failed = one_class is not None and one_class.withholds_ranks
    status = "fail" if failed else "skip" if few else "pass"
    yield row(facts.name, f"verdicts at threshold {found.threshold:g}", status, text)


def _measured(name: str, estimate: Estimate) -> str:
    span = f" [{estimate.low:.3f}, {estimate.high:.3f}]" if estimate.low is not None else ""
    return f"{name} {estimate.value:.3f}{span}"
