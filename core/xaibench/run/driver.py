"""The run: plan -> executor -> store, resuming from whatever the folder holds."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from xaibench.api import (
    Lost,
    NothingToEvaluate,
    Passes,
    PassesDone,
    RunBegins,
    RunEnds,
    StageBegins,
    StoreError,
    TaskCommitted,
    digest,
    events,
)
from xaibench.data.survey import slices
from xaibench.discovery import components
from xaibench.discovery.components import open_component
from xaibench.discovery.registry import Registry
from xaibench.plan.making import make_plan
from xaibench.plan.parts import Plan, PlannedDataset, PlannedMember
from xaibench.plan.settings import Settings
from xaibench.plan.tasks import PredictTask, Setup, Task, UnitResult
from xaibench.plan.units import Clean, Units
from xaibench.run.failures import failed_results, reason_of, unit_row
from xaibench.run.listeners import Listeners
from xaibench.run.record import component_rows, folder_identity, refuse_changes, run_row, run_toml
from xaibench.run.workbench import Workbench
from xaibench.run.worker import Performed, carry_out, perform
from xaibench.store.folder import RunFolder

_KEEP_MAPS_BELOW = 2 * 2**30  # bytes
_UNIT_COLUMNS = ("kind", "model", "member", "dataset", "explainer", "metric")


@dataclass(slots=True)
class RunResult:
    """What a run came to. ``reused`` units were there already; ``failures`` are the first reasons of failed ones."""

    run: str
    out: Path
    done: int = 0
    reused: int = 0
    failed: int = 0
    passes: Passes = Passes()
    seconds: float = 0.0
    failures: list[str] = field(default_factory=list)
    still_failed: int = 0  # units of the plan that were reused as they were: failed

    @property
    def exit_code(self) -> int:
        return 1 if self.failed or self.still_failed else 0


@dataclass(frozen=True, slots=True)
class Prepared:
    """A plan and the folder it will fill."""

    plan: Plan
    folder: RunFolder
    identity: Mapping[str, Any]


def prepare(settings: Settings, registry: Registry) -> Prepared:
    """Make the plan and find its folder; nothing is written.

    A folder named with ``--out`` that holds a run gives the places where its shards were cut.
    """
    cuts: Mapping[str, Sequence[int]] = {}
    if settings.out and (existing := RunFolder(settings.out)).exists():
        cuts = existing.run_file().get("record", {}).get("cuts", {})
    registry.find("executor", settings.executor)
    plan = make_plan(settings, registry, cuts=cuts)
    identity = folder_identity(plan)
    wanted = [[p.name for p in group] for group in (plan.models, plan.explainers, plan.metrics)]
    out = settings.out or str(Path("xaibench-runs") / digest([identity, wanted, settings.repeats])[:12])
    return Prepared(plan, RunFolder(out), identity)


def execute(
    prepared: Prepared,
    registry: Registry,
    *,
    rerun: str = "missing",
    replace: bool = False,
    fail_fast: bool = False,
    output: events.Output = "none",
) -> RunResult:
    """Do what is left of the plan and commit every unit as it finishes.

    Parameters
    ----------
    rerun: ``missing`` (units without a row), ``failed`` (those too) or ``all``.
    replace: move results that the plan contradicts to ``superseded/`` instead of refusing.
    fail_fast: stop at the first failed unit.
    output: what the listeners of the run may print.
    """
    plan, folder = prepared.plan, prepared.folder
    _refuse_empty(plan)
    run = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    with folder.writing():
        setup = Setup(
            run=run, plugins=plan.settings.plugin, without=plan.settings.no_plugin, runtime=plan.runtime,
            batch_size=plan.models[0].members[0].batch_size,  # a task takes its own detector's
            seed=plan.settings.seed, target=plan.settings.target, staging=str(folder.staging),
        )  # fmt: skip
        units = Units(plan, setup, keep_maps(plan))
        _settle(prepared, units, replace)
        folder.add_table("runs", run, run_row(plan, run, sys.argv))
        folder.add_table("components", run, component_rows(plan, run))
        driver = _Driver(prepared, registry, units, Listeners(registry), fail_fast)
        return driver.drive(rerun, output)


def _refuse_empty(plan: Plan) -> None:
    """Refuse a plan of which no metric can run on any map."""
    cells = [c for c in plan.cells if c.metric is not None]
    if cells and all(c.reason for c in cells):
        first = cells[0]
        what = (
            f"no metric can run on any map: {first.explainer}"
            if first.explainer
            else f"no metric can run: {first.metric}"
        )
        raise NothingToEvaluate(f"{what}: {first.reason}", "eval --dry-run shows every reason")


def _settle(prepared: Prepared, units: Units, replace: bool) -> None:
    """Make the folder the plan's: refuse or move what contradicts it, then write ``run.toml``."""
    folder, plan = prepared.folder, prepared.plan
    record: dict[str, Any] = {}
    if folder.exists():
        record = folder.run_file().get("record", {})
        for d in plan.datasets:  # another process may have extended the folder since the plan was made
            cuts = record.get("cuts", {}).get(d.name, ())
            if slices(len(d.survey.samples), plan.settings.shard_size, cuts) != list(d.shards):
                raise StoreError(f"{folder.path} was extended by another run meanwhile", "give the same command again")
        changed = refuse_changes(record, prepared.identity, plan)
        if changed and not replace:
            raise StoreError(
                f"{folder.path} holds another run: {changed}",
                "choose another --out, or --replace to move the old results to superseded/",
            )
        if changed:
            folder.supersede(sorted(folder.done()))
            record = {"cuts": record.get("cuts", {})}  # shards stay cut where this plan found them cut
    folder.write_text("run.toml", run_toml(plan, prepared.identity, record, sorted(units.keys() | units.set_keys)))


def keep_maps(plan: Plan) -> bool:
    """Whether maps are kept: as told, or while they are estimated to take under 2 GiB."""
    if plan.settings.maps != "auto":
        return plan.settings.maps == "keep"
    return map_bytes(plan) < _KEEP_MAPS_BELOW


def map_bytes(plan: Plan) -> int:
    """Estimated size of all maps: two bytes a pixel, one map a sample and draw."""
    total = 0
    for cell in plan.cells:
        if cell.metric is None and not cell.reason:
            explainer = plan.explainer(cell.explainer)
            dataset = next(d for d in plan.datasets if d.name == cell.dataset)
            model = next(m for m in plan.models if m.name == cell.model)
            height, width = model.members[0].facts.input_size
            total += 2 * height * width * explainer.draws * explainer.repeats * len(dataset.survey.samples)
    return total


class _Driver:
    """Hands tasks to the executor and commits what comes back: the one writer of the folder."""

    def __init__(
        self, prepared: Prepared, registry: Registry, units: Units, listeners: Listeners, fail_fast: bool
    ) -> None:
        self.plan, self.folder, self.units = prepared.plan, prepared.folder, units
        self.registry, self.listeners, self.fail_fast = registry, listeners, fail_fast
        self.result = RunResult(units.setup.run, prepared.folder.path)
        self._clean: dict[tuple[str, str, str], Clean] = {}

    def drive(self, rerun: str, output: events.Output) -> RunResult:
        """Carry out what is due. Listeners hear of the end however it comes."""
        began = datetime.now(UTC)
        self.listeners.tell("run_begins", RunBegins(run=self.result.run, out=self.folder.path, output=output))
        complete = False
        try:
            self._carry_out(rerun)
            complete = True
        finally:
            self.result.seconds = (datetime.now(UTC) - began).total_seconds()
            self.listeners.tell("run_ends", self._end(complete, output))
        return self.result

    def _end(self, complete: bool, output: events.Output) -> RunEnds:
        r = self.result
        return RunEnds(run=r.run, out=r.out, done=r.done, reused=r.reused, failed=r.failed, passes=r.passes,
                       seconds=r.seconds, interrupted=not complete, output=output)  # fmt: skip

    def _carry_out(self, rerun: str) -> None:
        done = self._done(rerun)
        planned = self.units.keys() | self.units.set_keys
        self._commit_absent(done)
        self._stage("predict", lambda: self.units.predict_tasks(done))
        self._stage("artefacts", lambda: self.units.artefact_tasks(done))
        self._stage("explain", lambda: self.units.explain_tasks(done, self.clean, self._stored))
        # a set's value over maps that were drawn again is gone by now
        kept = done & self.folder.done()
        self.result.reused = len(planned & kept)
        self._stage("sets", lambda: self.units.set_tasks(kept, self.clean, self._stored))
        self._stage("models", lambda: self.units.model_tasks(kept, self.clean))
        self.result.still_failed = len(planned & self.folder.failed()) - self.result.failed

    def _done(self, rerun: str) -> set[str]:
        if rerun == "all":
            return set()
        done = self.folder.done()
        return done - self.folder.failed() if rerun == "failed" else done

    def clean(self, member: PlannedMember, dataset: PlannedDataset) -> Clean:
        """Class probabilities by sample, from the store; None where the prediction failed."""
        key = (member.ref.model, member.ref.member, dataset.name)
        if key not in self._clean:
            keys = [self.units.predict_key(member, dataset, a, b) for a, b in dataset.shards]
            table = self.folder.table("predictions", columns=["sample", "probabilities"], keys=keys).to_pydict()
            self._clean[key] = {
                s: tuple(p) or None for s, p in zip(table["sample"], table["probabilities"], strict=True)
            }
        return self._clean[key]

    def _stored(self, table: str, key: str) -> Path | None:
        file = self.folder.file(table, key)
        return file if file.exists() else None

    def _commit_absent(self, done: set[str]) -> None:
        """One unit of rows for the cells of an explainer that cannot run."""
        from xaibench.run.failures import absent_result

        same = ("model", "member", "dataset", "explainer", "metric")
        runs = {tuple(getattr(c, n) for n in same) for c in self.plan.cells if not c.reason}
        absent = {key: unit for key, unit in self._units.items() if unit["kind"] == "not-applicable"}
        self._supersede([key for key, unit in absent.items() if tuple(unit[n] for n in same) in runs])
        for key, cells in self.units.absent():
            if key not in done:
                self._commit(absent_result(self.plan, self.units.setup, key, cells))

    # ---- carrying out ----

    def _stage(self, name: str, make: Callable[[], Iterable[Task]]) -> None:
        if self.fail_fast and self.result.failed:
            return  # before make(): it reads predictions that may be missing now
        tasks = list(make())
        if not tasks:
            return
        passes = expected_passes(self.plan, name, tasks)
        self.listeners.tell("stage_begins", StageBegins(stage=name, tasks=len(tasks), passes=passes))
        for _, results in self._run(tasks):
            for result in results:
                self._commit(result)
                if self.fail_fast and result.status == "failed":
                    return

    def _run(self, tasks: list[Task]) -> Iterator[tuple[Task, Iterable[UnitResult]]]:
        settings = self.plan.settings
        values = components.parse_overrides(settings.parameter).get(("executor", settings.executor), {})
        jobs = {"jobs": settings.jobs} if settings.executor == "local" or settings.jobs > 1 else {}
        executor = open_component("executor", settings.executor, {**jobs, **values}, registry=self.registry).instance
        here = getattr(executor, "in_process", False)
        call: Callable[[Any], Any] = self._perform_here() if here else perform
        try:
            for task, outcome in executor.run(tasks, call):
                if isinstance(outcome, Lost):
                    yield task, failed_results(self.plan, task, None, outcome.reason)
                elif here:
                    yield task, cast("Iterable[UnitResult]", outcome)
                else:
                    yield task, self._whole(task, cast("Performed", outcome))
        finally:
            executor.close()

    def _whole(self, task: Task, outcome: Performed) -> list[UnitResult]:
        """A worker's results, and failed ones for the units that an error kept it from."""
        for result in outcome.results:
            self._advance(result.passes.forward)
        if not outcome.error:
            return outcome.results
        finished = {r.key for r in outcome.results}
        lost = failed_results(self.plan, task, None, outcome.error)
        return [*outcome.results, *(replace(r, trace=outcome.trace) for r in lost if r.key not in finished)]

    def _perform_here(self) -> Callable[[Task], Iterator[UnitResult]]:
        workbench = Workbench(self.units.setup, self.registry)
        workbench.keep = max(1, len(self.plan.detectors))
        workbench.on_passes = self._advance
        for ref, detector in self.plan.detectors.items():
            workbench.offer(ref, detector)

        def call(task: Task) -> Iterator[UnitResult]:
            finished: set[str] = set()
            try:
                for result in carry_out(workbench, task):
                    finished.add(result.key)
                    yield result
            except StoreError:
                raise
            except (Exception, SystemExit) as error:
                lost = failed_results(self.plan, task, error, "")
                yield from (r for r in lost if r.key not in finished)

        return call

    # ---- committing ----

    def _commit(self, result: UnitResult) -> None:
        attempts = self.folder.attempts(result.key) + 1
        if result.kind in ("set-score", "not-applicable"):
            self._supersede_older(result)
        elif result.kind == "explain" and attempts > 1:
            self._supersede_sets(result)
        elif result.kind == "predict" and attempts > 1:
            self._supersede_of_model(result)
        self.folder.add_unit(
            result.key, unit_row(self.units.setup.run, result, attempts), dict(result.tables), dict(result.staged)
        )
        self._units[result.key] = {name: getattr(result, name) for name in _UNIT_COLUMNS}
        self.result.done += 1
        self.result.passes += result.passes
        if result.status == "failed":
            self.result.failed += 1
            what = " / ".join(x for x in (result.explainer, result.metric) if x) or result.kind
            self.result.failures.append(f"{what}: {result.error or result.reason}")
        self.listeners.tell("task_committed", _committed(result))

    def _advance(self, forward: int) -> None:
        self.listeners.tell("passes_done", PassesDone(forward=forward))

    def _supersede_older(self, result: UnitResult) -> None:
        """A value of a whole set replaces the one over fewer samples; that there is none now, whatever there was."""
        kinds = {result.kind, "set-score"}
        same = ("model", "member", "dataset", "explainer", "metric")
        old = {key for key, unit in self._units.items()
               if unit["kind"] in kinds and all(unit[c] == getattr(result, c) for c in same)}  # fmt: skip
        # the other repeats' values are this plan's too
        self._supersede(old - {result.key} - self.units.set_keys)

    def _supersede_sets(self, result: UnitResult) -> None:
        """Values over a whole set that may hang on maps which are drawn again; those of another dataset too, since it
        may have been compared with this one."""
        same = ("model", "explainer")
        self._supersede(
            key
            for key, unit in self._units.items()
            if unit["kind"] == "set-score"
            and unit["member"] in ("", result.member)
            and all(unit[c] == getattr(result, c) for c in same)
        )

    def _supersede_of_model(self, result: UnitResult) -> None:
        """Values of a detector itself that hang on predictions which were made again."""
        same = ("model", "member", "dataset")
        self._supersede(
            key
            for key, unit in self._units.items()
            if unit["kind"] == "set-score"
            and not unit["explainer"]
            and all(unit[c] == getattr(result, c) for c in same)
        )

    def _supersede(self, keys: Iterable[str]) -> None:
        chosen = sorted(keys)
        self.folder.supersede(chosen)
        for key in chosen:
            del self._units[key]

    @cached_property
    def _units(self) -> dict[str, dict[str, Any]]:
        """What each unit in the folder is of, kept up to date."""
        rows = self.folder.table("units", columns=["unit", *_UNIT_COLUMNS]).to_pylist()
        return {r["unit"]: r for r in rows}


def _committed(result: UnitResult) -> TaskCommitted:
    return TaskCommitted(
        kind=result.kind, explainer=result.explainer, metric=result.metric, samples=result.stop - result.start,
        status=result.status, reason=reason_of(result) if result.status == "failed" else "",
        seconds=result.seconds, passes=result.passes,
    )  # fmt: skip


def expected_passes(plan: Plan, stage: str, tasks: Sequence[Task]) -> int:
    """Forward passes of a stage, for the progress bar; exact on a fresh run, an upper bound on a resumed one."""
    if stage == "predict":
        return sum(len(t.shard.samples) for t in tasks if isinstance(t, PredictTask))
    if stage == "artefacts":
        return plan.making.forward
    if stage in ("explain", "models"):
        of_maps = stage == "explain"
        return sum(c.passes.forward for c in plan.cells if not c.reason and bool(c.explainer) is of_maps)
    return 0
