"""What a run records of its own making: plan, components, data, versions, cost."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from xaibench.api import Reference, StoreError
from xaibench_report.boards.leaderboard import build_leaderboards
from xaibench_report.boards.wording import detector_title
from xaibench_report.values.run_tables import read_run
from xaibench_report.values.run_values import score_name, short

if TYPE_CHECKING:
    from xaibench import Run

Role = Literal["explainer", "control", "reference"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentFacts:
    """One component as the last plan used it: a row of ``components``, its details read."""

    kind: str
    name: str
    distribution: str
    version: str
    definition: int
    digest: str
    parameters: Mapping[str, Any]
    details: Mapping[str, Any]
    references: tuple[Reference, ...] = ()

    @property
    def maps(self) -> int:
        """How many maps an explainer drew of each picture."""
        return int(self.details.get("draws", 1)) * int(self.details.get("repeats", 1))

    @property
    def role(self) -> Role:
        """Of an explainer: a reference uses what no detector shows, a control what is no explanation."""
        if self.details.get("reference"):
            return "reference"
        return "control" if self.details.get("control") else "explainer"


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFacts:
    """The pictures of one dataset that the last plan evaluates.

    ``labels`` and ``methods`` count pictures, those of fakes alone in ``methods``. ``doubted`` pictures take no part in
    localisation, ``unreadable`` files are no pictures.
    """

    name: str
    labels: Mapping[str, int]
    methods: Mapping[str, int]
    splits: tuple[str, ...]
    groups: int
    cross_groups: int
    doubted: int
    unreadable: int

    @property
    def pictures(self) -> int:
        """All of them."""
        return sum(self.labels.values())


class WithheldScore(NamedTuple):
    """One score that a gate of the boards lets rank nothing on one detector and dataset, with its reason."""

    detector: str
    dataset: str
    score: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """What the methods of a paper say of a run.

    ``runs`` are the rows of ``runs``, the last one that of the plan. ``settings`` are the plan's as a run file.
    ``preset`` chose some of detectors, data, explainers and measures; it is empty where all were named or runs were
    joined.
    """

    runs: tuple[Mapping[str, Any], ...]
    settings: Mapping[str, Any]
    identity: Mapping[str, Any]
    provenance: Mapping[str, Any]
    components: tuple[ComponentFacts, ...]
    data: tuple[DataFacts, ...]
    statuses: Mapping[str, int]
    passes: tuple[int, int]
    preset: str = ""
    marks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    has_accuracy: bool = False
    withheld: tuple[WithheldScore, ...] = ()

    def of_kind(self, kind: str) -> tuple[ComponentFacts, ...]:
        """The components of a kind, in the order of the plan."""
        return tuple(c for c in self.components if c.kind == kind)

    def explainers(self, role: Role) -> tuple[ComponentFacts, ...]:
        """The explainers of a role, in the order of the plan."""
        return tuple(e for e in self.of_kind("explainer") if e.role == role)

    @property
    def version(self) -> str:
        """That of the xaibench that evaluated."""
        return str(self.provenance["versions"].get("xaibench", "of unknown version"))

    @classmethod
    def read(cls, run: Run) -> RunRecord:
        """What an opened run records. Raises :class:`StoreError` where a record cannot be read."""
        runs = tuple(run.to_arrow("runs").to_pylist())
        plan, commits = json.loads(runs[-1]["plan"]), run.to_arrow("commits", ["forward", "backward"])
        totals = {name: sum(commits[name].to_pylist()) for name in commits.column_names}
        detectors = run.to_arrow("detectors", ["model", "member", "check", "mark"]).to_pylist()
        marks = dict[str, tuple[str, ...]]()
        for row in detectors:
            name = f"{row['model']} {row['member']}"
            if row["mark"] and row["mark"] not in marks.get(name, ()):
                marks[name] = (*marks.get(name, ()), row["mark"])
        return cls(
            runs=runs,
            settings=plan["run_file"],
            preset=_preset(plan),
            identity=plan["identity"],
            provenance=json.loads(runs[-1]["provenance"]),
            components=_components(run.to_arrow("components").to_pylist(), plan["relation"]),
            data=_data(run.to_arrow("samples").to_pylist(), plan["problems"]),
            statuses=Counter(run.to_arrow("scores", ["status"])["status"].to_pylist()),
            passes=(totals["forward"], totals["backward"]),
            marks=marks,
            has_accuracy=any(row["check"] == "accuracy" for row in detectors),
            withheld=_withheld(run),
        )


def _withheld(run: Run) -> tuple[WithheldScore, ...]:
    """What the gates of the boards withheld."""
    boards = build_leaderboards(*read_run(run)).boards
    return tuple(
        WithheldScore(detector_title(b.where), short(b.where.dataset), score_name(c.metric, c.score), c.withheld)
        for b in boards
        for c in b.columns
        if c.withheld
    )


def _preset(plan: Mapping[str, Any]) -> str:
    asked = plan.get("settings")  # a plan of joined runs has none
    named = asked is None or all(asked[kind] for kind in ("model", "dataset", "explainer", "metric"))
    return "" if named or asked is None else str(asked["preset"])


def _components(rows: Sequence[Mapping[str, Any]], relation: Sequence[Sequence[Any]]) -> tuple[ComponentFacts, ...]:
    """The components that take part in the last plan, as its last invocation recorded each."""
    taking_part = set[tuple[str, str]]()
    for (_, model, member, dataset, explainer, metric, *_), *_ in relation:
        taking_part |= {("model", f"{model} {member}".strip()), ("dataset", dataset), ("explainer", explainer)}
        taking_part.add(("metric", metric))
    latest = {(row["kind"], row["name"]): row for row in rows if (row["kind"], row["name"]) in taking_part}
    return tuple(_component(row) for row in latest.values())


def _component(row: Mapping[str, Any]) -> ComponentFacts:
    details = json.loads(row["details"] or "{}")
    try:
        references = tuple(Reference(**values) for values in details.get("references", ()))
    except (TypeError, ValueError) as error:
        raise StoreError(f"the references of {row['name']} cannot be read: {error}", "evaluate again") from None
    return ComponentFacts(
        kind=row["kind"],
        name=row["name"],
        distribution=row["distribution"],
        version=row["version"],
        definition=row["component_version"],
        digest=row["digest"] or "",
        parameters=json.loads(row["parameters"] or "{}"),
        details=details,
        references=references,
    )


def _data(samples: Sequence[Mapping[str, Any]], problems: Mapping[str, Sequence[Any]]) -> tuple[DataFacts, ...]:
    planned = [row for row in samples if row["order"] is not None]
    datasets = dict.fromkeys(row["dataset"] for row in planned)
    return tuple(_dataset(n, [r for r in planned if r["dataset"] == n], len(problems.get(n, ()))) for n in datasets)


def _dataset(name: str, rows: Sequence[Mapping[str, Any]], unreadable: int) -> DataFacts:
    return DataFacts(
        name=name,
        labels=Counter(row["label"] for row in rows),
        methods=Counter(row["method"] or "unnamed" for row in rows if row["label"] == "fake"),
        splits=tuple(sorted({row["split"] for row in rows if row["split"]})),
        groups=len({row["group"] for row in rows}),
        cross_groups=len({row["cross_group"] for row in rows if row["cross_group"] is not None}),
        doubted=sum(bool(row["doubt"]) for row in rows),
        unreadable=unreadable,
    )
