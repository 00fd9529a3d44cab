"""The audit as a whole: what is to be done, each piece in this process or another, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from xaibench.api import Executor, Lost, MetricRecord, NothingToEvaluate, PlanError
from xaibench_audit.budgets import metric_use
from xaibench_audit.evidence import SENSITIVE, evidence, plant
from xaibench_audit.maps import TRUTH, candidates
from xaibench_audit.mechanism import Mechanism, mechanism
from xaibench_audit.ranking import Ladder, Tau, above, difference, ladder, tau
from xaibench_audit.salience import QUESTIONS, Asked, Found, answer
from xaibench_audit.scoring import Cost, Measure, Measured, correlations, score_maps, why_not
from xaibench_audit.verdicts import Verdict, verdict
from xaibench_statistics import Estimate
from xaibench_testing import make_bench

if TYPE_CHECKING:
    from xaibench import Registered, Registry

FAMILIES = frozenset(("faithfulness", "localisation", "attack"))
REFERENCES = (("repair", "repair-auc"), ("counterpart-attack", "margin-drop"))
BATCH = 64


@dataclass(frozen=True, slots=True)
class Settings:
    """What is audited, and how much of it."""

    metrics: tuple[str, ...]
    questions: tuple[tuple[str, str], ...]
    evidence: tuple[str, ...]
    pairs: int
    draws: int
    explainers: tuple[str, ...]
    seed: int
    plugins: tuple[str, ...] = ()
    left: tuple[tuple[str, str], ...] = ()
    """Metrics that were asked for and cannot be audited, with the reason."""


@dataclass(frozen=True, slots=True)
class Task:
    """One evidence with all metrics, or one question with one metric."""

    settings: Settings
    evidence: str = ""
    asked: Asked | None = None

    @property
    def title(self) -> str:
        return self.evidence or (f"{self.asked.question}: {self.asked.metric}" if self.asked else "")


@dataclass(frozen=True, slots=True)
class OnEvidence:
    """Everything measured on one planted evidence. ``kinds`` maps a map's name to its kind."""

    name: str
    kinds: Mapping[str, str]
    roles: Mapping[str, str]
    truth: Mapping[str, Mapping[str, float]]
    groups: Mapping[str, str]
    measured: tuple[Measured, ...]
    costs: tuple[Cost, ...]
    mechanism: tuple[Mechanism, ...]


@dataclass(slots=True)
class Ranked:
    """One measure on one evidence: tau, how often the truth is above each rival, and tau less the references'."""

    measure: Measure
    evidence: str
    tau: Tau
    above: Mapping[str, Estimate | str]
    against: Mapping[str, Tau]
    failed: str = ""


@dataclass(frozen=True, slots=True)
class Audit:
    """All that an audit found."""

    settings: Settings
    on: tuple[OnEvidence, ...]
    ranked: tuple[Ranked, ...]
    verdicts: Mapping[Measure, Verdict]
    salience: tuple[Found, ...]

    @property
    def failures(self) -> tuple[str, ...]:
        """Where a metric raised an exception or broke its contract, one line each: some maps lack its scores then."""
        ranked = [f"{r.measure.name} on {r.evidence}: {r.failed}" for r in self.ranked if r.failed]
        asked = [f"{f.measure.name} ({f.question}, {f.explainer}): {f.failed}" for f in self.salience if f.failed]
        return (*ranked, *asked)


# ---- what to do -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Chosen:
    """What is asked of which metrics: to rank maps, to answer a question (``(question, metric)``), and of which
    nothing can be asked, with the reason."""

    metrics: tuple[str, ...]
    questions: tuple[tuple[str, str], ...]
    left: tuple[tuple[str, str], ...]


def choose(registry: Registry, names: Sequence[str]) -> Chosen:
    """The metrics named, each once however it was written; none named: all of the families that rank evidence and
    those of others that say they do, and the salience measures.

    Raises :class:`NothingToEvaluate` where nothing can be asked of any of them.
    """
    every = [c for c in registry.of_kind("metric") if isinstance(c.record, MetricRecord)]
    specs = names or [c.name for c in every if _ranks(registry, c)]
    uses = {spec: metric_use(registry, spec) for spec in specs}
    once = {use.name: spec for spec, use in reversed(uses.items())}
    wanted = [spec for spec, use in uses.items() if once[use.name] == spec]
    reasons = {spec: why_not(uses[spec]) for spec in wanted}
    questions = chosen_questions(registry, wanted if names else ())
    answering = {spec for _, spec in questions}
    metrics = tuple(spec for spec, reason in reasons.items() if not reason)
    left = tuple((uses[s].name, reason) for s, reason in reasons.items() if reason and s not in answering)
    if not metrics and not questions:
        said = "; ".join(f"{n}: {reason}" for n, reason in left) or "no metric ranks maps"
        raise NothingToEvaluate(f"nothing is left to audit: {said}", "name others: 'xaibench list metric'")
    return Chosen(metrics, questions, left)


def _ranks(registry: Registry, component: Registered) -> bool:
    record = component.record
    assert isinstance(record, MetricRecord)
    if record.scope != "sample":
        return False
    scores = metric_use(registry, component.name).instance.scores
    return record.family in FAMILIES or any(s.ranks_evidence for s in scores)


def chosen_questions(registry: Registry, names: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """The questions of the salience measures among those named (none named: all)."""
    known = {c.record.name for c in registry.of_kind("metric") if c.origin.built_in}
    asked = names or sorted(known)
    return tuple(
        (q, spec) for q, metrics in QUESTIONS.items() for m in metrics for spec in asked
        if m in known and m == spec.removeprefix("xaibench/").partition(":")[0]
    )  # fmt: skip


def tasks(settings: Settings) -> list[Task]:
    """The largest pieces first: searching detectors cost more than those of one place."""
    named = sorted(settings.evidence, key=lambda n: not evidence(n).sensitive) if settings.metrics else []
    asked = [Asked(q, m, settings.pairs, settings.seed) for q, m in settings.questions]
    return [Task(settings, n) for n in named] + [Task(settings, asked=a) for a in asked]


# ---- doing it -------------------------------------------------------------------------------------------------------


def run(settings: Settings, jobs: int, done: Callable[[str, int, int], None]) -> Audit:
    """Do everything. ``done(title, finished, of)`` is called after each piece.

    Raises :class:`PlanError` where a worker died twice.
    """
    todo = tasks(settings)
    executor = _executor(max(1, min(jobs, len(todo))), _registry(settings.plugins))
    found: dict[Task, OnEvidence | tuple[Found, ...]] = {}
    try:
        for task, outcome in executor.run(todo, perform):
            if isinstance(outcome, Lost):
                raise PlanError(f"{task.title} could not be audited: {outcome.reason}", "give --jobs 1")
            found[task] = outcome
            done(task.title, len(found), len(todo))
    finally:
        executor.close()
    outcomes = [found[t] for t in todo]
    on = sorted((o for o in outcomes if isinstance(o, OnEvidence)), key=lambda o: settings.evidence.index(o.name))
    return concluded(settings, on, [f for o in outcomes if isinstance(o, tuple) for f in o])


def _executor(jobs: int, registry: Registry) -> Executor:
    from xaibench import open_component

    executor: Executor = open_component("executor", "local", {"jobs": jobs, "retries": 1}, registry=registry).instance
    return executor


def perform(task: Task) -> OnEvidence | tuple[Found, ...]:
    """One piece, in whatever process."""
    registry = _registry(task.settings.plugins)
    return answer(task.asked, registry) if task.asked else on_evidence(task.evidence, task.settings, registry)


@lru_cache(maxsize=1)
def _registry(plugins: tuple[str, ...]) -> Registry:
    from xaibench import load_registry

    return load_registry([Path(p) for p in plugins])


def on_evidence(name: str, settings: Settings, registry: Registry) -> OnEvidence:
    """Every metric on the maps of one planted evidence, and what hiding places does to its detector."""
    planted = plant(evidence(name), settings.pairs, settings.seed)
    bench = make_bench(planted.detector, seed=settings.seed, batch_size=BATCH, registry=registry)
    asked = candidates(planted, settings.seed, settings.draws, settings.explainers, registry)
    truth = correlations(asked, planted, bench)
    measured: list[Measured] = []
    costs: list[Cost] = []
    for spec in settings.metrics:
        found, cost = score_maps(metric_use(registry, spec), asked, planted, bench)
        measured += found
        costs.append(cost)
    return OnEvidence(
        name=name,
        kinds={c.name: c.kind for c in asked},
        roles={c.name: c.role for c in asked},
        truth=truth,
        groups={p.sample.id: p.sample.group for p in planted.fakes},
        measured=tuple(measured),
        costs=tuple(costs),
        mechanism=mechanism(planted, settings.seed),
    )


# ---- what came of it ------------------------------------------------------------------------------------------------


def concluded(settings: Settings, on: Sequence[OnEvidence], salience: Sequence[Found]) -> Audit:
    """Taus, shares and verdicts from what was measured."""
    ranked = [r for o in on for r in ranked_on(o)]
    measures = sorted({r.measure for r in ranked}, key=lambda m: m.name)
    verdicts = {m: verdict({r.evidence: r.tau for r in ranked if r.measure == m}) for m in measures}
    return Audit(settings, tuple(on), tuple(ranked), verdicts, tuple(salience))


def ranked_on(on: OnEvidence) -> list[Ranked]:
    """Every measure's ranking on one evidence."""
    known = {n: v for n, v in on.truth.items() if on.roles[n] != "rival"}
    ladders = {m.measure: _ladder(m, known, on.groups) for m in on.measured}
    references = {name: _reference(ladders, metric, score) for name, (metric, score) in _named(REFERENCES)}
    return [
        Ranked(
            measure=m.measure,
            evidence=on.name,
            tau=tau(ladders[m.measure]),
            above=_above(m, on),
            against={
                name: difference(ladders[m.measure], other)
                for name, other in references.items()
                if other is not None and evidence(on.name).sensitive in SENSITIVE
            },
            failed=m.failed,
        )
        for m in on.measured
    ]


def _ladder(m: Measured, known: Mapping[str, Mapping[str, float]], groups: Mapping[str, str]) -> Ladder | str:
    found = ladder(m.values, m.measure.better, m.measure.width, known, groups)
    if isinstance(found, str) and m.reasons and not found.startswith("saturated"):
        return m.reasons.most_common(1)[0][0]
    return found


def _named(references: Sequence[tuple[str, str]]) -> list[tuple[str, tuple[str, str]]]:
    return [(metric, (metric, score)) for metric, score in references]


def _reference(ladders: Mapping[Measure, Ladder | str], metric: str, score: str) -> Ladder | str | None:
    wanted = f"xaibench/{metric}"
    return next((x for m, x in ladders.items() if m.metric.partition(":")[0] == wanted and m.score == score), None)


def _above(m: Measured, on: OnEvidence) -> dict[str, Estimate | str]:
    kinds: dict[str, list[str]] = {}
    for name, role in on.roles.items():
        if role == "rival":
            kinds.setdefault(on.kinds[name], []).append(name)
    return {
        kind: above(m.values, m.measure.better, m.measure.width, TRUTH, names, on.groups)
        for kind, names in kinds.items()
    }
