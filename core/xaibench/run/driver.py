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
from xaibench.discovery.components import parse_overrides
from xaibench.discovery.registry import Registry
from xaibench.plan.choice import choose_executor
from xaibench.plan.making import make_plan
from xaibench.plan.parts import Plan, PlannedDataset, PlannedMember
from xaibench.plan.settings import Settings
from xaibench.plan.tasks import PredictTask, Setup, Task, UnitResult
from xaibench.plan.units import Clean, Units
from xaibench.run.failures import failed_results, not_applicable_result, reason_of
from xaibench.run.listeners import Listeners
from xaibench.run.record import component_rows, contradiction, folder_identity, run_row, run_toml, unit_row
from xaibench.run.workbench import Workbench
from xaibench.run.worker import TaskOutcome, run_in_worker, run_task
from xaibench.store.folder import RunFolder

_KEEP_MAPS_BELOW = 2 * 2**30  # bytes
_ADDRESS = ("model", "member", "dataset", "explainer", "metric")


@dataclass(slots=True)
class RunResult:
    """The result of a run.

    ``done``, ``reused`` and ``failed`` count units; ``reused`` ones were in the folder before. ``failures`` has a line
    for each failed unit. ``still_failed`` counts units that failed before and were reused.
    """

    run: str
    out: Path
    done: int = 0
    reused: int = 0
    failed: int = 0
    passes: Passes = Passes()
    seconds: float = 0.0
    failures: list[str] = field(default_factory=list)
    still_failed: int = 0

    @property
    def exit_code(self) -> int:
        return 1 if self.failed or self.still_failed else 0


@dataclass(frozen=True, slots=True)
class PreparedRun:
    """A plan and the folder that it fills. ``identity`` is what the results in the folder depend on."""

    plan: Plan
    folder: RunFolder
    identity: Mapping[str, Any]


def prepare(settings: Settings, registry: Registry) -> PreparedRun:
    """Make the plan and find its folder. Nothing is written.

    Shards are cut where those of a run in the folder of ``--out`` were cut. Raises :class:`XaibenchError` for a plan
    that cannot run as a whole.
    """
    cuts: Mapping[str, Sequence[int]] = {}
    if settings.out and (existing := RunFolder(settings.out)).exists():
        cuts = existing.run_file().get("record", {}).get("cuts", {})
    plan = make_plan(settings, registry, cuts=cuts)
    identity = folder_identity(plan)
    names = [[p.name for p in group] for group in (plan.models, plan.explainers, plan.metrics)]
    out = settings.out or str(Path("xaibench-runs") / digest([identity, names, settings.repeats])[:12])
    return PreparedRun(plan, RunFolder(out), identity)


def execute(
    prepared: PreparedRun,
    registry: Registry,
    *,
    rerun: str = "missing",
    replace: bool = False,
    fail_fast: bool = False,
    output: events.Output = "none",
) -> RunResult:
    """Run what is left of the plan and commit every unit as it finishes.

    Parameters
    ----------
    rerun: ``missing`` (units without a row), ``failed`` (those that failed, too) or ``all``.
    replace: move results that the plan contradicts to ``superseded/`` instead of refusing to run.
    fail_fast: stop at the first failed unit.
    output: what listeners may print.

    Raises :class:`NothingToEvaluate` where no metric can run, and :class:`StoreError` where the folder cannot be used.
    """
    plan, folder = prepared.plan, prepared.folder
    _refuse_empty(plan)
    run = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    with folder.writing():
        setup = Setup(
            run=run,
            plugins=plan.settings.plugin,
            without=plan.settings.no_plugin,
            runtime=plan.runtime,
            batch_size=plan.models[0].members[0].batch_size,  # each task has that of its own detector instead
            seed=plan.settings.seed,
            target=plan.settings.target,
            staging=str(folder.staging),
        )
        units = Units(plan, setup, keep_maps(plan))
        _update_folder(prepared, units, replace)
        folder.add_table("runs", run, run_row(plan, run, sys.argv))
        folder.add_table("components", run, component_rows(plan, run))
        driver = _Driver(prepared, registry, units, Listeners(registry), fail_fast)
        return driver.drive(rerun, output)


def _refuse_empty(plan: Plan) -> None:
    """Refuse a plan of which no metric can run on any map."""
    cells = [c for c in plan.cells if c.metric is not None]
    if cells and all(c.reason for c in cells):
        first = cells[0]
        where = f" on any map: {first.explainer}" if first.explainer else f": {first.metric}"
        raise NothingToEvaluate(f"no metric can run{where}: {first.reason}", "eval --dry-run shows every reason")


def _update_folder(prepared: PreparedRun, units: Units, replace: bool) -> None:
    """Refuse or move results that the plan contradicts, then write ``run.toml``."""
    folder, plan = prepared.folder, prepared.plan
    record: dict[str, Any] = {}
    if folder.exists():
        record = folder.run_file().get("record", {})
        for d in plan.datasets:  # another process may have extended the folder meanwhile
            cuts = record.get("cuts", {}).get(d.name, ())
            if slices(len(d.survey.samples), plan.settings.shard_size, cuts) != list(d.shards):
                raise StoreError(f"{folder.path} was extended by another run meanwhile", "give the same command again")
        change = contradiction(record, prepared.identity, plan)
        if change and not replace:
            raise StoreError(
                f"{folder.path} holds another run: {change}",
                "choose another --out, or --replace to move the old results to superseded/",
            )
        if change:
            folder.supersede(sorted(folder.done()))
            record = {"cuts": record.get("cuts", {})}  # the shards of this plan are cut there
    folder.write_text("run.toml", run_toml(plan, prepared.identity, record, sorted(units.keys() | units.set_keys)))


def keep_maps(plan: Plan) -> bool:
    """Whether maps are kept: as the settings say, or where they take less than 2 GiB by estimate."""
    if plan.settings.maps != "auto":
        return plan.settings.maps == "keep"
    return map_bytes(plan) < _KEEP_MAPS_BELOW


def map_bytes(plan: Plan) -> int:
    """Estimated size of all maps in bytes: two bytes a pixel, one map for each sample, draw and repeat."""
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
    """Gives tasks to the executor and commits their results. It is the only writer of the folder."""

    def __init__(
        self, prepared: PreparedRun, registry: Registry, units: Units, listeners: Listeners, fail_fast: bool
    ) -> None:
        self.plan, self.folder, self.units = prepared.plan, prepared.folder, units
        self.registry, self.listeners, self.fail_fast = registry, listeners, fail_fast
        self.result = RunResult(units.setup.run, prepared.folder.path)
        self._clean: dict[tuple[str, str, str], Clean] = {}

    def drive(self, rerun: str, output: events.Output) -> RunResult:
        """Run what is due. Listeners receive the end of the run, also where it is an exception."""
        start = datetime.now(UTC)
        self.listeners.send("run_begins", RunBegins(run=self.result.run, out=self.folder.path, output=output))
        complete = False
        try:
            self._run_stages(rerun)
            complete = True
        finally:
            self.result.seconds = (datetime.now(UTC) - start).total_seconds()
            self.listeners.send("run_ends", self._end(complete, output))
        return self.result

    def _end(self, complete: bool, output: events.Output) -> RunEnds:
        r = self.result
        return RunEnds(
            run=r.run,
            out=r.out,
            done=r.done,
            reused=r.reused,
            failed=r.failed,
            passes=r.passes,
            seconds=r.seconds,
            interrupted=not complete,
            output=output,
        )

    def _run_stages(self, rerun: str) -> None:
        done = self._done(rerun)
        planned = self.units.keys() | self.units.set_keys
        self._commit_not_applicable(done)
        self._stage("predict", lambda: self.units.predict_tasks(done))
        self._stage("artefacts", lambda: self.units.artefact_tasks(done))
        self._stage("explain", lambda: self.units.explain_tasks(done, self.clean, self._file))
        # Values of sets over maps that were drawn again have been superseded by the commits above.
        done &= self.folder.done()
        self.result.reused = len(planned & done)
        self._stage("sets", lambda: self.units.set_tasks(done, self.clean, self._file))
        self._stage("models", lambda: self.units.model_tasks(done, self.clean))
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

    def _file(self, table: str, key: str) -> Path | None:
        file = self.folder.file(table, key)
        return file if file.exists() else None

    def _commit_not_applicable(self, done: set[str]) -> None:
        """Commit the cells that cannot run, and supersede those of earlier plans that can run now."""
        applicable = {tuple(getattr(c, n) for n in _ADDRESS) for c in self.plan.cells if not c.reason}
        units = [(key, unit) for key, unit in self._units.items() if unit["kind"] == "not-applicable"]
        self._supersede([key for key, unit in units if tuple(unit[n] for n in _ADDRESS) in applicable])
        for key, cell in self.units.not_applicable():
            if key not in done:
                self._commit(not_applicable_result(self.plan, self.units.setup, key, cell))

    # ---- running tasks ----

    def _stage(self, name: str, make_tasks: Callable[[], Iterable[Task]]) -> None:
        # The tasks are not made after a failure with fail_fast: they would read predictions that are missing.
        if self.fail_fast and self.result.failed:
            return
        tasks = list(make_tasks())
        if not tasks:
            return
        passes = expected_passes(self.plan, name, tasks)
        self.listeners.send("stage_begins", StageBegins(stage=name, tasks=len(tasks), passes=passes))
        for _, results in self._run(tasks):
            for result in results:
                self._commit(result)
                if self.fail_fast and result.status == "failed":
                    return

    def _run(self, tasks: list[Task]) -> Iterator[tuple[Task, Iterable[UnitResult]]]:
        settings = self.plan.settings
        executor = choose_executor(self.registry, settings, parse_overrides(settings.parameter)).instance
        in_process = getattr(executor, "in_process", False)
        call: Callable[[Any], Any] = self._call_in_process() if in_process else run_in_worker
        try:
            for task, outcome in executor.run(tasks, call):
                if isinstance(outcome, Lost):
                    yield task, failed_results(self.plan, task, None, outcome.reason)
                elif in_process:
                    yield task, cast("Iterable[UnitResult]", outcome)
                else:
                    yield task, self._worker_results(task, cast("TaskOutcome", outcome))
        finally:
            executor.close()

    def _worker_results(self, task: Task, outcome: TaskOutcome) -> list[UnitResult]:
        """A worker's results, and failed ones for the units that did not run because of an error."""
        for result in outcome.results:
            self._report_passes(result.passes.forward)
        if not outcome.error:
            return outcome.results
        keys = {r.key for r in outcome.results}
        failures = failed_results(self.plan, task, None, outcome.error)
        return [*outcome.results, *(replace(r, trace=outcome.trace) for r in failures if r.key not in keys)]

    def _call_in_process(self) -> Callable[[Task], Iterator[UnitResult]]:
        workbench = Workbench(self.units.setup, self.registry)
        workbench.keep = max(1, len(self.plan.detectors))
        workbench.on_passes = self._report_passes
        for ref, detector in self.plan.detectors.items():
            workbench.add_detector(ref, detector)

        def call(task: Task) -> Iterator[UnitResult]:
            keys: set[str] = set()
            try:
                for result in run_task(workbench, task):
                    keys.add(result.key)
                    yield result
            except StoreError:
                raise
            except (Exception, SystemExit) as error:
                failures = failed_results(self.plan, task, error, "")
                yield from (r for r in failures if r.key not in keys)

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
        self.folder.add_unit(result.key, unit_row(result, attempts), dict(result.tables), dict(result.staged))
        self._units[result.key] = {"kind": result.kind, **result.address.columns(result.key)}
        self.result.done += 1
        self.result.passes += result.passes
        if result.status == "failed":
            self.result.failed += 1
            names = (result.address.explainer, result.address.metric)
            name = " / ".join(filter(None, names)) or result.kind
            self.result.failures.append(f"{name}: {result.error or result.reason}")
        self.listeners.send("task_committed", _commit_event(result))

    def _report_passes(self, forward: int) -> None:
        self.listeners.send("passes_done", PassesDone(forward=forward))

    def _supersede_older(self, result: UnitResult) -> None:
        """Supersede the value of a set over fewer samples, or any earlier rows of a cell that cannot run now."""
        old = {key for kind in ("set-score", result.kind) for key in self._matching_units(kind, result, _ADDRESS)}
        # The values of other repeats belong to this plan.
        self._supersede(old - {result.key} - self.units.set_keys)

    def _supersede_sets(self, result: UnitResult) -> None:
        """Supersede values of sets that may depend on maps that were drawn again.

        Those of other datasets are included, since they may have been compared with this one.
        """
        keys = self._matching_units("set-score", result, ("model", "explainer"))
        self._supersede([key for key in keys if self._units[key]["member"] in ("", result.address.member)])

    def _supersede_of_model(self, result: UnitResult) -> None:
        """Supersede values of a detector itself that depend on predictions that were computed again."""
        keys = self._matching_units("set-score", result, ("model", "member", "dataset"))
        self._supersede([key for key in keys if not self._units[key]["explainer"]])

    def _matching_units(self, kind: str, result: UnitResult, columns: Sequence[str]) -> Iterator[str]:
        """Keys of the units of a kind in the folder that have the same values as a result in some columns."""
        for key, unit in self._units.items():
            if unit["kind"] == kind and all(unit[c] == getattr(result.address, c) for c in columns):
                yield key

    def _supersede(self, keys: Iterable[str]) -> None:
        sorted_keys = sorted(keys)
        self.folder.supersede(sorted_keys)
        for key in sorted_keys:
            del self._units[key]

    @cached_property
    def _units(self) -> dict[str, dict[str, Any]]:
        """Kind and address of each unit in the folder, by key."""
        rows = self.folder.table("units", columns=["unit", "kind", *_ADDRESS]).to_pylist()
        return {r["unit"]: r for r in rows}


def _commit_event(result: UnitResult) -> TaskCommitted:
    return TaskCommitted(
        kind=result.kind,
        explainer=result.address.explainer,
        metric=result.address.metric,
        samples=result.address.stop - result.address.start,
        status=result.status,
        reason=reason_of(result) if result.status == "failed" else "",
        seconds=result.seconds,
        passes=result.passes,
    )


def expected_passes(plan: Plan, stage: str, tasks: Sequence[Task]) -> int:
    """Forward passes of a stage: exact on a fresh run, an upper bound on a resumed one, 0 where they are not known."""
    if stage == "predict":
        return sum(len(t.shard.samples) for t in tasks if isinstance(t, PredictTask))
    if stage == "artefacts":
        return plan.artefact_passes.forward
    if stage in ("explain", "models"):
        has_maps = stage == "explain"
        return sum(c.passes.forward for c in plan.cells if not c.reason and bool(c.explainer) is has_maps)
    return 0
