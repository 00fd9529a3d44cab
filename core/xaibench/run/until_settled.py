"""Evaluating until the order of explainers is settled: samples are added in their order, and after each checkpoint the
order by the chosen scores is tested (:mod:`xaibench_statistics.sequential`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal

from xaibench.api import PROJECT, PlanError, Sample, ScoreSpec, closest_first
from xaibench.api.events import SILENT, Display
from xaibench.discovery.registry import Registry
from xaibench.plan.difference import Rerun, SampleSelection
from xaibench.plan.keys import relation_of
from xaibench.plan.parts import Plan, PlannedExplainer, PlannedMetric
from xaibench.plan.settings import Settings
from xaibench.run.driver import PreparedRun, RunResult, execute
from xaibench.store.relation import WHOLE

if TYPE_CHECKING:
    from xaibench_statistics import OrderSoFar, Values

_BEST: Final = "best:"
_COLUMNS: Final = ("model", "member", "dataset", "explainer", "metric", "score", "sample", "value", "status")


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderQuestion:
    """Which explainer is better by a score, on one detector and data set. ``best_alone``: only the best one counts."""

    text: str
    model: str
    member: str
    dataset: str
    metric: str
    score: str
    better: Literal["higher", "lower"]
    best_alone: bool

    @property
    def name(self) -> str:
        """``deletion.deletion on demo-0``."""
        return f"{self.metric.removeprefix(f'{PROJECT}/')}.{self.score} on {self.member or self.model}"

    def is_answered(self, order: OrderSoFar) -> bool:
        """Whether nothing is left to tell apart."""
        return order.is_settled or (self.best_alone and order.best_is_settled)


@dataclass(frozen=True, slots=True, kw_only=True)
class SettledOrder:
    """What was told of one question. ``samples`` of ``planned`` were evaluated, of ``groups`` groups."""

    question: OrderQuestion
    order: OrderSoFar
    samples: int
    planned: int
    groups: int

    @property
    def is_answered(self) -> bool:
        """Whether the run could stop for it."""
        return self.question.is_answered(self.order)

    @property
    def line(self) -> str:
        """The answer in a line."""
        names = [name.removeprefix(f"{PROJECT}/") for name in self.order.ranked]
        where = f"{self.samples:,} of {self.planned:,} pictures, {self.groups:,} groups"
        if self.is_answered:
            what = f"best is {names[0]}" if self.question.best_alone else " > ".join(names)
            return f"settled: {self.question.name}: {what} ({where})"
        if self.order.too_few:
            return f"not settled: {self.question.name}: {self.order.too_few} ({where})"
        pairs = [" and ".join(n.removeprefix(f"{PROJECT}/") for n in pair) for pair in self.order.unsettled]
        more = f" and {len(pairs) - 3} more pairs" if len(pairs) > 3 else ""
        return f"not settled: {self.question.name}: not told apart: {', '.join(pairs[:3])}{more} ({where})"

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            **{k: v for k, v in asdict(self.question).items() if k != "text"},
            "settled": self.is_answered,
            "order": list(self.order.ranked),
            "told_apart": sorted(map(list, self.order.apart)),
            "checkpoints": self.order.checkpoint,
            "samples": self.samples,
            "planned": self.planned,
            "groups": self.groups,
        }


@dataclass(slots=True)
class SettledRun:
    """The result of a run and the answers to the questions that it was to settle; none where none were asked."""

    result: RunResult
    orders: tuple[SettledOrder, ...] = ()


def execute_settled(
    prepared: PreparedRun,
    registry: Registry,
    prepare_again: Callable[[Settings], PreparedRun],
    *,
    rerun: Rerun = "missing",
    replace: bool = False,
    fail_fast: bool = False,
    display: Display = SILENT,
) -> SettledRun:
    """Run a plan as :func:`~xaibench.run.driver.execute` does. With ``until_settled`` in its settings, add samples up
    to the checkpoint at which every question is answered; the plan that is left in the folder ends there.

    ``prepare_again``: makes the plan of changed settings. Raises :class:`PlanError` for a question that the plan
    cannot answer.
    """
    options: dict[str, Any] = {"rerun": rerun, "replace": replace, "fail_fast": fail_fast}
    questions = order_questions(prepared.plan)
    if not questions:
        return SettledRun(execute(prepared, registry, **options, display=display))
    of_parts = Display(output="none" if display.output == "none" else "json", verbose=display.verbose)
    results, orders = list[RunResult](), tuple[SettledOrder, ...]()
    for samples in checkpoint_sizes(prepared.plan):
        results.append(execute(prepared, registry, **options, display=of_parts, only=_first(prepared.plan, samples)))
        options |= {"rerun": "missing", "replace": False}
        if fail_fast and results[-1].failed:
            return SettledRun(_total(results))
        orders = _test(prepared, questions, samples, orders)
        if all(order.is_answered for order in orders):
            break
    plan = prepared.plan
    if samples < max(len(d.survey.samples) for d in plan.datasets):
        prepared = prepare_again(plan.settings.model_copy(update={"limit": samples, "out": plan.out}))
    results.append(execute(prepared, registry, **options, display=display))
    return SettledRun(_total(results), orders)


def order_questions(plan: Plan) -> tuple[OrderQuestion, ...]:
    """The questions that ``until_settled`` asks, each on every detector and data set. Raises :class:`PlanError` where
    the plan has no such score, or nothing to compare."""
    if plan.settings.until_settled and plan.settings.part:
        raise PlanError("--until-settled needs all samples, and --part has some", "take one off")
    questions = [q for text in plan.settings.until_settled for q in _questions(plan, text)]
    return tuple(dict.fromkeys(questions))


def checkpoint_sizes(plan: Plan) -> tuple[int, ...]:
    """The numbers of samples after which the order is tested: the checkpoints of the largest data set; of every other
    one as many samples are taken, or all."""
    from xaibench_statistics import checkpoints

    largest = max(plan.datasets, key=lambda dataset: len(dataset.survey.samples))
    return checkpoints([s.group for s in largest.survey.samples])


def _questions(plan: Plan, text: str) -> Iterator[OrderQuestion]:
    best_alone = text.startswith(_BEST)
    metric, spec = _score(plan, text.removeprefix(_BEST))
    if spec.better == "none" or metric.record.scope != "sample" or spec.per_item:
        raise PlanError(
            f"--until-settled {text}: no explainers are ranked by a mean of '{spec.name}' over pictures",
            f"name one of: {', '.join(_names(plan)) or 'a metric of single pictures'}",
        )
    compared = {e.name for e in plan.explainers if _is_compared(e)}
    cells = [c for c in plan.cells if c.metric == metric.name and not c.reason and c.explainer in compared]
    places = dict.fromkeys((c.model, c.member, c.dataset) for c in cells)
    several = [p for p in places if len({c.explainer for c in cells if (c.model, c.member, c.dataset) == p}) > 1]
    if not several:
        raise PlanError(
            f"--until-settled {text}: fewer than two explainers have this score",
            "name another score or more explainers",
        )
    for model, member, dataset in several:
        yield OrderQuestion(
            text=text,
            model=model,
            member=member,
            dataset=dataset,
            metric=metric.name,
            score=spec.name,
            better=spec.better,
            best_alone=best_alone,
        )


def _is_compared(explainer: PlannedExplainer) -> bool:
    record = explainer.record
    return not (record.control or record.reference or record.model_independent)


def _score(plan: Plan, text: str) -> tuple[PlannedMetric, ScoreSpec]:
    """The score of ``METRIC`` (its first one) or ``METRIC.SCORE``."""
    for metric in plan.metrics:
        for name in (metric.name, metric.name.removeprefix(f"{PROJECT}/"), metric.record.name):
            if text == name:
                return metric, metric.scores[0]
            for spec in metric.scores:
                if text == f"{name}.{spec.name}":
                    return metric, spec
    raise PlanError(
        f"--until-settled {text}: the run has no such score", f"it has: {closest_first(text, _names(plan)) or 'none'}"
    )


def _names(plan: Plan) -> list[str]:
    """The scores of single pictures by which explainers are ranked."""
    return [
        f"{metric.name.removeprefix(f'{PROJECT}/')}.{spec.name}"
        for metric in plan.metrics
        if metric.record.scope == "sample" and metric.named
        for spec in metric.scores
        if spec.better != "none" and spec.ranked and not spec.per_item
    ]


def _first(plan: Plan, samples: int) -> SampleSelection:
    """The rows of the first samples of every data set, and the structure of the detectors."""
    first = {d.name: [s.id for s in d.survey.samples[:samples]] for d in plan.datasets}
    cells = relation_of(plan).cells
    rows = {c.address: first[c.address.dataset] for c in cells if not c.whole}
    return rows | {c.address: [WHOLE] for c in cells if c.address.kind == "structure"}


def _test(
    prepared: PreparedRun, questions: Sequence[OrderQuestion], samples: int, before: Sequence[SettledOrder]
) -> tuple[SettledOrder, ...]:
    """The answers at a checkpoint."""
    from xaibench_statistics import OrderSoFar, next_checkpoint

    tables = _values(prepared, questions, samples)
    orders = [order.order for order in before] or [OrderSoFar()] * len(questions)
    answers = []
    for question, order in zip(questions, orders, strict=True):
        if not question.is_answered(order):
            order = next_checkpoint(order, tables[question], question.better, questions=len(questions))
        planned = prepared.plan.dataset(question.dataset).survey.samples
        answers.append(
            SettledOrder(
                question=question,
                order=order,
                samples=min(samples, len(planned)),
                planned=len(planned),
                groups=len({s.group for s in planned[:samples]}),
            )
        )
    return tuple(answers)


def _values(
    prepared: PreparedRun, questions: Sequence[OrderQuestion], samples: int
) -> dict[OrderQuestion, Mapping[str, Values]]:
    """The values of every explainer that each question compares, on the first samples; repeats are averaged."""
    import pyarrow.compute as pc

    compared = [e.name for e in prepared.plan.explainers if _is_compared(e)]
    table = prepared.folder.table("scores", list(_COLUMNS))
    table = table.filter(pc.equal(table["status"], "ok"))
    values: dict[OrderQuestion, Mapping[str, Values]] = {}
    for question in questions:
        rows = table
        for column in ("model", "member", "dataset", "metric", "score"):
            rows = rows.filter(pc.equal(rows[column], getattr(question, column)))
        means = rows.group_by(["explainer", "sample"], use_threads=False).aggregate([("value", "mean")])
        first = {s.id: s for s in prepared.plan.dataset(question.dataset).survey.samples[:samples]}
        values[question] = {name: _of_explainer(means, name, first) for name in compared}
    return values


def _of_explainer(means: Any, explainer: str, samples: Mapping[str, Sample]) -> Values:
    import pyarrow.compute as pc

    from xaibench_statistics import Values

    rows = means.filter(pc.equal(means["explainer"], explainer))
    value_of = dict(zip(rows["sample"].to_pylist(), rows["value_mean"].to_pylist(), strict=True))
    ids = [s for s in value_of if s in samples]
    return Values.of(
        ids, [value_of[s] for s in ids], [samples[s].group for s in ids], [samples[s].cross_group for s in ids]
    )


def _total(results: Sequence[RunResult]) -> RunResult:
    """The results of all parts of a run as one. What an earlier part made is not counted as reused."""
    last = results[-1]
    done = sum(r.done for r in results)
    return replace(
        last,
        done=done,
        reused=max(0, last.reused - (done - last.done)),
        failed=sum(r.failed for r in results),
        passes=sum((r.passes for r in results[1:]), results[0].passes),
        seconds=sum(r.seconds for r in results),
        failures=[line for r in results for line in r.failures],
        still_failed=max(0, last.still_failed - sum(r.failed for r in results[:-1])),
    )
