"""What holds for every component, whatever its kind."""

from __future__ import annotations

from xaibench.api import FILL_NEEDS, NEEDS, build_parameters, describe_parameters, parameter_class, parse_spec
from xaibench_testing.checks.subject import Subject, named
from xaibench_testing.violations import require


def check_record(subject: Subject) -> None:
    """The record can be printed: one line of summary, known needs."""
    record = subject.use.registered.record
    require(bool(record.summary.strip()), f"{record.name} has no summary")
    require("\n" not in record.summary, f"the summary of {record.name} has several lines")
    needs: frozenset[str] = getattr(record, "needs", frozenset())
    known = FILL_NEEDS if record.kind == "fill" else NEEDS
    unknown = ", ".join(sorted(needs - known))
    require(not unknown, f"{record.name} needs {unknown}, which is none of {', '.join(sorted(known))}")


def check_parameters(subject: Subject) -> None:
    """Every parameter is documented, and the component's name leads back to the same parameters."""
    model = type(subject.use.parameters)
    name = subject.use.registered.record.name
    for row in describe_parameters(model):
        require(bool(row["description"].strip()), f"parameter '{row['name']}' of {name} has no description")
    if subject.use.registered.origin.distribution != "held":
        declared = parameter_class(subject.use.registered.load())
        require(declared is model, f"{name} declares {declared.__name__} but was given {model.__name__}")
    values = parse_spec(subject.use.name)[1]
    given = {**subject.use.registered.record.parameters, **values}
    again = build_parameters(model, given, name, subject.use.registered.registry)
    same = again == subject.use.parameters
    require(same, f"'{subject.use.name}' does not lead back to its parameters {subject.use.parameters}")


CHECKS = named(check_record, check_parameters)
