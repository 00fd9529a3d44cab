"""The plan of several runs: the union of their cells and samples, where none contradicts another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pyarrow as pa

from xaibench.api import StoreError, parse_toml
from xaibench.store.folder import RUN_FILE
from xaibench.store.planning import changes_of
from xaibench.store.relation import Address, Relation, RelationCell
from xaibench.store.sample_columns import sample_table
from xaibench.store.snapshot import Snapshot, relation_samples
from xaibench.store.table_paths import recorded_paths, restore_values, shorten_values

_MEND = "evaluate it again with the settings and data of the other, or merge it into another --out"


@dataclass(frozen=True)
class RunPlan:
    """The last plan of a run. ``name`` is the folder or URL as the user gave it.

    ``known_paths`` are what short paths stand for in the runs that were joined into it, for a lost ``run.toml``.
    """

    name: str
    snapshot: Snapshot
    known_paths: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def run_file(self) -> dict[str, Any]:
        """The run file of the plan: ``run.toml``, where it is there and of this plan, since it holds whole paths."""
        shortened = dict(self.snapshot.plan["run_file"])
        written = {key: value for key, value in self._written.items() if key != "record"}
        return written if shorten_values(written) == shortened else restore_values(shortened, self.known_paths)

    @property
    def paths(self) -> dict[str, str]:
        """What the shortened paths in the tables stand for."""
        return {**self.known_paths, **recorded_paths(self._written)}

    @cached_property
    def _written(self) -> dict[str, Any]:
        try:
            return parse_toml(self.snapshot.log.files.read(RUN_FILE).decode("utf-8"))
        except (OSError, ValueError):
            return {}

    @property
    def identity(self) -> dict[str, Any]:
        return dict(self.snapshot.plan["identity"])

    @property
    def problems(self) -> dict[str, list[list[str]]]:
        return dict(self.snapshot.plan["problems"])

    @cached_property
    def samples(self) -> list[dict[str, Any]]:
        return self.rows("samples")

    def rows(self, table: str) -> list[dict[str, Any]]:
        return list(self.snapshot.whole_table(table).to_pylist())

    @property
    def size(self) -> int:
        """The number of samples that it evaluates, those of other parts included."""
        return max((row["order"] for row in self.samples if row["order"] is not None), default=-1) + 1

    def named(self, kind: str) -> dict[str, str]:
        """What the run file gives for each model or dataset by its name in tables."""
        values = self.run_file[kind]
        predicted = [c.address for c in self.snapshot.relation.cells if c.address.kind == "predict"]
        names = list(dict.fromkeys(getattr(a, kind) for a in predicted))
        return dict(zip(names if len(names) == len(values) else values, values, strict=True))


@dataclass(frozen=True)
class JoinedPlan:
    """The plan of several runs. ``run_file`` has neither the part nor, unless the first is the joined run itself, the
    folder. ``notes`` are lines for the user."""

    run_file: dict[str, Any]
    identity: dict[str, Any]
    cells: tuple[RelationCell, ...]
    samples: pa.Table
    problems: dict[str, list[list[str]]]
    notes: tuple[str, ...]

    @cached_property
    def relation(self) -> Relation:
        return Relation(self.cells, relation_samples(self.samples))

    def to_json(self) -> dict[str, Any]:
        """As ``runs`` holds it, without the run file."""
        return {
            "identity": self.identity,
            "relation": [cell.to_json() for cell in self.cells],
            "problems": self.problems,
            "notes": shorten_values(self.notes),
            "samples": {d: len(s.ids) for d, s in self.relation.samples.items()},
        }

    def adds_to(self, plan: RunPlan) -> bool:
        """Whether it asks for anything that a plan does not ask for, or says otherwise."""
        theirs = (plan.run_file, plan.identity, plan.snapshot.relation.cells, plan.problems)
        mine = (self.run_file, self.identity, self.cells, self.problems)
        return mine != theirs or not self.samples.replace_schema_metadata(None).equals(plan.snapshot.samples)


def join_plans(plans: Sequence[RunPlan], own: RunPlan | None = None) -> JoinedPlan:
    """The union of some plans and, before them, that of the joined run itself.

    Raises :class:`StoreError` where a setting, a component, a cell or a sample of one is not that of another.
    """
    every = [*([own] if own else []), *plans]
    samples, notes = _join_samples(every)
    problems: dict[str, list[list[str]]] = {}
    for plan in every:
        for dataset, found in plan.problems.items():
            known = problems.setdefault(dataset, [])
            known += [problem for problem in found if problem not in known]
    run_file = _join_run_files(every)
    if own is None:
        run_file.pop("out", None)
    return JoinedPlan(run_file, _join_identities(every), _join_cells(every), samples, problems, tuple(notes))


def _contradiction(plan: RunPlan, earlier: RunPlan, what: str) -> StoreError:
    return StoreError(f"{plan.name} contradicts {earlier.name}: {what}", _MEND)


# ---- settings ----


def _join_identities(plans: Sequence[RunPlan]) -> dict[str, Any]:
    joined: dict[str, Any] = {}
    for i, plan in enumerate(plans):
        if changes_of(joined, plan.identity):
            earlier = next(p for p in plans[:i] if changes_of(p.identity, plan.identity))
            first, *_ = changes_of(earlier.identity, plan.identity).values()
            raise _contradiction(plan, earlier, first)
        joined |= plan.identity
    return joined


def _join_run_files(plans: Sequence[RunPlan]) -> dict[str, Any]:
    """The settings of the first, with everything that one of them names, and the limit of the largest."""
    files = [plan.run_file for plan in plans]
    joined = {key: value for key, value in files[0].items() if key not in ("part", "limit", "preset")}
    largest = max(plans, key=lambda plan: plan.size).run_file
    joined |= {key: largest[key] for key in ("limit", "preset") if key in largest}
    for kind in ("model", "dataset"):
        named = {name: value for plan in reversed(plans) for name, value in plan.named(kind).items()}
        order = dict.fromkeys(name for plan in plans for name in plan.named(kind))
        joined[kind] = [named[name] for name in order]
    for key in ("explainer", "metric", "plugin", "requires"):
        joined[key] = list(dict.fromkeys(value for file in files for value in file.get(key, ())))
    methods = [file.get("method", ()) for file in files]
    joined["method"] = list(dict.fromkeys(m for of in methods for m in of)) if all(methods) else []  # none means all
    without = [file.get("no-plugin", ()) for file in files]
    joined["no-plugin"] = [name for name in without[0] if all(name in names for names in without)]
    joined["parameter"] = {k: v for file in reversed(files) for k, v in file.get("parameter", {}).items()}
    joined["repeats"] = max(file["repeats"] for file in files)
    joined["controls"] = any(file["controls"] for file in files)
    if any(file.get("accept-detector") for file in files):  # its results stand in the joined run
        joined["accept-detector"] = True
    joined["members"] = "all" if any(file["members"] == "all" for file in files) else "first"
    return {key: value for key, value in joined.items() if value not in ([], {}) or key in files[0]}


# ---- cells ----


def _join_cells(plans: Sequence[RunPlan]) -> tuple[RelationCell, ...]:
    """Every cell once: one that can run before one that cannot, the larger of two sets.

    Every run chooses the pictures on which a card is tried: those of the largest run count.
    """
    joined: dict[Address, tuple[RelationCell, RunPlan]] = {}
    for plan in plans:
        for cell in plan.snapshot.relation.cells:
            known, earlier = joined.get(cell.address, (None, plan))
            if known is None or (known.reason and not cell.reason) or len(known.inputs) < len(cell.inputs):
                joined[cell.address] = (cell, plan)
            elif cell.address.kind == "card":
                if bool(known.reason) is bool(cell.reason) and earlier.size < plan.size:
                    joined[cell.address] = (cell, plan)
            elif not cell.reason and cell.inputs == known.inputs and cell.key != known.key:
                raise _contradiction(plan, earlier, f"{_words(cell.address)} is not the same as it was")
    return tuple(cell for cell, _ in joined.values())


def _words(a: Address) -> str:
    names = " / ".join(filter(None, (a.explainer, a.metric))) or a.artefact
    return names or f"the detector {a.model} {a.member}".strip()


# ---- samples ----


def _join_samples(plans: Sequence[RunPlan]) -> tuple[pa.Table, list[str]]:
    """The table ``samples`` of all, in the order of datasets and evaluation, and notes on that order."""
    joined: dict[tuple[str, str], tuple[dict[str, Any], RunPlan]] = {}
    for plan in plans:
        for row in plan.samples:
            known, earlier = joined.get((row["dataset"], row["sample"]), (None, plan))
            if known is not None and _differs(known, row):
                what = f"sample {row['sample']} of {row['dataset']} is not the same as it was"
                raise _contradiction(plan, earlier, what)
            joined[row["dataset"], row["sample"]] = (row, plan) if known is None else (_both(known, row), earlier)
    of_dataset: dict[str, list[dict[str, Any]]] = {}
    for row, _ in joined.values():
        of_dataset.setdefault(row["dataset"], []).append(row)
    notes: list[str] = []
    rows = [row for dataset, found in of_dataset.items() for row in _in_order(dataset, found, notes)]
    return sample_table(rows), notes


def _differs(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Whether two rows of a sample, as far as both know it, tell of different pictures."""
    both_evaluated = first["digest"] and second["digest"]
    both_strange = both_evaluated and first["stranger"] and second["stranger"]
    return bool(
        first["picture"] != second["picture"]
        or (both_evaluated and first["digest"] != second["digest"])
        or (both_strange and first["stranger_digest"] != second["stranger_digest"])
    )


def _both(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """One row of a sample: the first, unless the second alone is evaluated, with the stranger that one of them has."""
    row, other = (second, first) if first["order"] is None and second["order"] is not None else (first, second)
    if row["digest"] and other["digest"] and not row["stranger"] and other["stranger"]:
        row = row | {name: other[name] for name in ("stranger", "stranger_digest")}
    return row


def _in_order(dataset: str, rows: Iterable[dict[str, Any]], notes: list[str]) -> Iterator[dict[str, Any]]:
    """Those that are evaluated by their place, then the others. Where two have one place, places are given anew."""
    rows = list(rows)
    planned = sorted((row for row in rows if row["order"] is not None), key=lambda row: int(row["order"]))
    if len({row["order"] for row in planned}) < len(planned):
        notes.append(
            f"{dataset}: different samples have the same place in two runs; they now stand in turn, in the order in"
            " which the runs were named"
        )
        planned = [row | {"order": place} for place, row in enumerate(planned)]
    yield from planned
    yield from (row for row in rows if row["order"] is None)
