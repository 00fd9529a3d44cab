"""The run: plan -> executor -> store, resuming from whatever the folder holds."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import chain
from typing import Any

import pyarrow as pa

from xaibench.api import (
    PROJECT,
    Lost,
    NothingToEvaluate,
    Passes,
    PassesDone,
    PluginError,
    RunBegins,
    RunEnds,
    RunWarning,
    StageBegins,
    StoreError,
    TaskCommitted,
    describe_error,
    digest,
)
from xaibench.api.events import SILENT, Display
from xaibench.discovery.components import parse_overrides
from xaibench.discovery.registry import Registry
from xaibench.plan.announcement import cell_lines, plan_lines
from xaibench.plan.choice import choose_executor, names_foreign
from xaibench.plan.difference import Difference, Rerun, SampleSelection
from xaibench.plan.due import Due, Predictions
from xaibench.plan.identity import contradicts
from xaibench.plan.keys import detector_address, relation_of
from xaibench.plan.known_samples import same_rows, sample_rows
from xaibench.plan.making import make_plan
from xaibench.plan.parts import Plan, PlannedDataset, PlannedMember
from xaibench.plan.settings import Settings
from xaibench.plan.tasks import CellResult, ExplainTask, LookTask, ModelTask, SetTask, Setup, Task
from xaibench.run.checked_executor import CheckedExecutor
from xaibench.run.detector_marks import first_fault, refusal, warnings
from xaibench.run.failures import failed_results, reason_of, result_that_cannot_run
from xaibench.run.listeners import Listeners
from xaibench.run.local_executor import end_early, start_early
from xaibench.run.lost_tasks import cut, without
from xaibench.run.record import component_rows, contradictions, paths_of, plan_text, run_file_of
from xaibench.run.remote_call import RemoteCall, remote_call
from xaibench.run.task_size import TaskSize
from xaibench.run.tasks_here import TaskOutcome, get_ready, run_in_worker, run_task
from xaibench.run.workbench import Workbench
from xaibench.store.commits import CellRows, CommitLog
from xaibench.store.files import Location
from xaibench.store.folder import RUN_FILE, RunFolder
from xaibench.store.merging import drop_superseded, merge_all, merge_some
from xaibench.store.planning import add_plan, is_whole, run_id, run_table, run_toml
from xaibench.store.relation import Relation, short_digest
from xaibench.store.sample_columns import sample_table
from xaibench.store.snapshot import Snapshot

_KEEP_MAPS_BELOW = 2 * 2**30  # bytes
_STRIKES = 10


@dataclass(slots=True)
class RunResult:
    """The result of a run.

    ``done``, ``reused`` and ``failed`` count results: one of each cell at each of its samples. ``reused`` ones were in
    the folder before. ``failures`` has a line for each cell of which a task failed. ``still_failed`` counts results
    that failed before and were reused.
    """

    run: str
    out: Location
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
    """A plan and the folder that it fills."""

    plan: Plan
    folder: RunFolder


def prepare(settings: Settings, registry: Registry, *, will_run: bool = True) -> PreparedRun:
    """Make the plan and find its folder. Nothing is written. ``will_run``: it is to be executed.

    Raises :class:`XaibenchError` for a plan that cannot run as a whole.
    """
    if will_run and _is_local(settings) and names_foreign(settings, registry):
        start_early(get_ready, (settings.plugin, settings.no_plugin, (*settings.explainer, *settings.metric)))
    try:
        plan = make_plan(settings, registry)
    except BaseException:
        end_early()
        raise
    if not plan.isolated:
        end_early()
    return PreparedRun(plan, RunFolder(plan.out))


def execute(
    prepared: PreparedRun,
    registry: Registry,
    *,
    rerun: Rerun = "missing",
    replace: bool = False,
    fail_fast: bool = False,
    display: Display = SILENT,
    only: SampleSelection | None = None,
    foreign_listeners: bool = True,
) -> RunResult:
    """Run what is left of the plan and commit every task as it finishes.

    Parameters
    ----------
    rerun: ``missing`` (results that are not there), ``failed`` (those that failed, too) or ``all``.
    replace: supersede results that the plan contradicts instead of refusing to run.
    fail_fast: stop at the first task with a failure.
    display: what listeners may print.
    only: the rows of the plan that are made, those that they read included; None: all.
    foreign_listeners: whether listeners of third parties are told.

    Raises :class:`NothingToEvaluate` where no metric can run, once the rows that say why are written, and
    :class:`StoreError` where the folder cannot be used.
    """
    plan, folder = prepared.plan, prepared.folder
    _refuse_memory(plan, folder, registry)
    run = run_id()
    setup = Setup(
        run=run,
        plugins=plan.settings.plugin,
        without=plan.settings.no_plugin,
        runtime=plan.runtime,
        batch_size=plan.models[0].members[0].batch_size,  # each task has that of its own detector instead
        seed=plan.settings.seed,
        target=plan.settings.target,
        location=str(folder.path),
        time_limit=plan.settings.time_limit,
    )
    damage: list[str] = []
    with folder.writing(lambda log: damage.extend(_say_damage(log))) as log:
        relation = relation_of(plan)
        _begin(prepared, relation, log, run, replace)
        size = TaskSize(plan)
        due = Due(plan, relation, log, keep_maps(plan), rerun, max(log.commits), setup, size, only=only)
        listeners = Listeners(registry, built_in=not foreign_listeners)
        result = _Driver(prepared, registry, due, size, listeners, fail_fast).drive(display, damage)
        _write_run_file(prepared, log, run)
        return result


def left_of(prepared: PreparedRun, rerun: Rerun = "missing", only: SampleSelection | None = None) -> Difference:
    """What a run would do, from the present state of its folder. ``rerun`` and ``only`` as for :func:`execute`."""
    plan, folder = prepared.plan, prepared.folder
    log = folder.snapshot().log if folder.exists() else CommitLog(folder.files)
    return Difference(plan, relation_of(plan), log, keep_maps(plan), rerun, max(log.commits, default=0), only=only)


def _refuse_empty(plan: Plan) -> None:
    """End a run of whose plan no metric can run on any map."""
    cells = [c for c in plan.cells if c.metric is not None]
    if cells and all(c.reason for c in cells):
        first = cells[0]
        where = f" on any map: {first.explainer}" if first.explainer else f": {first.metric}"
        raise NothingToEvaluate(f"no metric can run{where}: {first.reason}", "eval --dry-run shows every reason")


def _refuse_memory(plan: Plan, folder: RunFolder, registry: Registry) -> None:
    """Refuse a folder in the memory of this process where tasks run in others: they read maps from it."""
    if str(folder.path).startswith("memory://") and not runs_in_process(plan, registry):
        raise StoreError(f"{folder.path} lies in this process, and workers cannot read it", "leave --jobs at 1")


def runs_in_process(plan: Plan, registry: Registry) -> bool:
    """Whether all tasks of a plan run in this process."""
    return _executor(plan, registry).in_process


def _is_local(settings: Settings) -> bool:
    return settings.executor.partition(":")[0] in ("local", f"{PROJECT}/local")


def _executor(plan: Plan, registry: Registry) -> CheckedExecutor:
    """The executor of a plan."""
    overrides = dict(parse_overrides(plan.settings.parameter))
    if plan.isolated and _is_local(plan.settings):
        overrides["executor", "local"] = {**overrides.get(("executor", "local"), {}), "isolated": True}
    return CheckedExecutor(choose_executor(registry, plan.settings, overrides))


def _say_damage(log: CommitLog) -> list[str]:
    """Say which files are damaged; the lines that are printed."""
    lines = [f"{log.files.location}/{name}: {what}; its work is done again" for name, what in log.damage.items()]
    for line in lines:
        print(line, file=sys.stderr)
    return lines


def _begin(prepared: PreparedRun, relation: Relation, log: CommitLog, run: str, replace: bool) -> None:
    """Refuse a plan that contradicts the run in the folder; commit it where it is another one; write ``run.toml``."""
    plan, before, found = prepared.plan, list[dict[str, Any]](), Snapshot(log)
    earlier = found if found.readable else None
    if earlier is not None:
        changes = contradictions(plan, earlier)
        if changes and not replace:
            raise StoreError(
                f"{prepared.folder.path} holds another run: {next(iter(changes.values()))}",
                "choose another --out, or --replace to supersede the old results",
            )
        if changes:
            planned = {k for c in relation.cells for k in (c.key, log.ledger.key_of(c, relation)) if k}
            log.ledger.retain(planned, lambda address: contradicts(changes, address))
            drop_superseded(log)
        before = earlier.samples.to_pylist()
    samples = sample_rows(plan.datasets, before)
    text = plan_text(plan, relation)
    same = earlier is not None and earlier.plan_digest == digest(text) and same_rows(samples, before)
    if not (same and is_whole(log)):
        row = run_table(text, run, plan.settings.seed, sys.argv)
        add_plan(log, sample_table(samples), [row], [component_rows(plan, run)])
    _write_run_file(prepared, log, run)


def _write_run_file(prepared: PreparedRun, log: CommitLog, run: str) -> None:
    text = run_toml(run_file_of(prepared.plan), run, max(log.commits), paths_of(prepared.plan))
    prepared.folder.files.write(RUN_FILE, text.encode())


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
            height, width = plan.member(cell.model, cell.member).facts.input_size
            samples = len(plan.dataset(cell.dataset).survey.samples)
            total += 2 * height * width * explainer.draws * explainer.repeats * samples
    return total


class _Driver:
    """Gives tasks to the executor and commits their results. It is the only writer of the folder."""

    def __init__(
        self,
        prepared: PreparedRun,
        registry: Registry,
        due: Due,
        size: TaskSize,
        listeners: Listeners,
        fail_fast: bool,
    ) -> None:
        self.plan, self.folder, self.due, self.size = prepared.plan, prepared.folder, due, size
        self.registry, self.listeners, self.fail_fast = registry, listeners, fail_fast
        self.log = due.log
        self.result = RunResult(due.setup.run, prepared.folder.path)
        self._workbench: Workbench | None = None
        self._running: tuple[Task, TaskOutcome] | None = None
        self._stage_began = 0
        self._executor: CheckedExecutor | None = None
        self._remote_call: RemoteCall | None = None
        self._strikes: Counter[str] = Counter()  # samples at which a component died, since it last did its work
        self._suspected: dict[int, Task] = {}  # by id: what ran there as a process ended is tried once more

    def drive(self, display: Display, damage: Sequence[str] = ()) -> RunResult:
        """Run what is due. Listeners receive the end of the run, also where it is an exception."""
        start = datetime.now(UTC)
        plan = (*plan_lines(self.plan), *(cell_lines(self.plan) if display.verbose else ()))
        begins = RunBegins(
            run=self.result.run, out=self.folder.path, output=display.output, plan=plan, verbose=display.verbose
        )
        self.listeners.send("run_begins", begins)
        for line in damage:
            self.listeners.send("run_warned", RunWarning(text=line))
        complete, error = False, ""
        try:
            self._run_stages()
            complete = True
        except BaseException as raised:
            error = describe_error(raised)
            raise
        finally:
            self._close_executor()
            self._commit_interrupted()
            self.result.seconds = (datetime.now(UTC) - start).total_seconds()
            self.listeners.send("run_ends", self._end(complete, display, error))
        return self.result

    def _end(self, complete: bool, display: Display, error: str) -> RunEnds:
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
            output=display.output,
            detail=display.detail,
            by=display.by,
            error=error,
        )

    def _run_stages(self) -> None:
        due = self.due
        planned, missing = due.count()
        self.result.reused = planned - missing
        reasons = [result_that_cannot_run(self.plan, due.setup, c) for c in due.cells_that_cannot_run()]
        if reasons:
            self._commit(reasons)
        _refuse_empty(self.plan)
        looks = {detector_address(c) for c in due.due_looks()}
        self._stage("structure", due.structure_tasks)
        self._refuse_faults(due)
        self._stage("predict", due.predict_tasks)
        self._stage("detectors", lambda: due.detector_tasks(self.predictions))
        for line in warnings(self._looks() if looks else (), looks):
            print(line, file=sys.stderr)
            self.listeners.send("run_warned", RunWarning(text=line))
        self._stage("artefacts", due.artefact_tasks)
        self._stage("explain", lambda: due.explain_tasks(self.predictions))
        self._stage("sets", lambda: due.set_tasks(self.predictions))
        self._stage("models", lambda: due.model_tasks(self.predictions))
        merge_all(self.log)
        planned, missing = due.count()
        self.result.reused = max(0, planned - missing - self.result.done)
        ledger, samples = self.log.ledger, due.relation.samples
        failed = sum(
            int(ledger.failed(c.address, ("",) if c.whole else samples[c.address.dataset].ids).sum())
            for c in due.relation.cells
        )
        self.result.still_failed = max(0, failed - self.result.failed)

    def _refuse_faults(self, due: Due) -> None:
        """Stop where the structure of a detector is at fault. Raises :class:`ModelError`."""
        fault = None if self.plan.settings.accept_detector else first_fault(self._looks())
        if fault is None:
            return
        if fault["name"] == "distinct":  # its card may be to blame, and labelled pictures tell which key
            self._stage("detectors", due.card_tasks_without_predictions)
        raise refusal(fault, self._looks())

    def _looks(self) -> list[dict[str, Any]]:
        """The rows of the table ``detectors``."""
        rows: list[dict[str, Any]] = Snapshot(self.log).table("detectors").to_pylist()
        return rows

    def predictions(self, member: PlannedMember, dataset: PlannedDataset) -> Predictions:
        """Class probabilities by sample, from the store; None where the prediction failed."""
        table = Snapshot(self.log).predictions(self.due.relation, member.ref.model, member.ref.member, dataset.name)
        return {s: tuple(p) or None for s, p in table}

    # ---- running tasks ----

    def _stage(self, name: str, make_tasks: Callable[[], Iterator[Task]]) -> None:
        # The tasks are not made after a failure with fail_fast: they would read predictions that are missing.
        if self.fail_fast and self.result.failed:
            return
        tasks = make_tasks()
        first = next(tasks, None)
        if first is None:
            return
        self.listeners.send("stage_begins", StageBegins(stage=name, passes=expected_passes(self.due, name)))
        if self._run_all(name, chain([first], tasks)):
            self._run_all(name, make_tasks())  # the scores of maps whose tasks were lost

    def _run_all(self, stage: str, tasks: Iterable[Task]) -> bool:
        """Run tasks and commit what they give. A task that is lost is cut until one component at one sample is left,
        which has failed then. Returns whether one was lost."""
        waiting, any_lost = tasks, False
        # What is committed from here on may be merged meanwhile, since no task of this stage reads it.
        self._stage_began = max(self.log.commits, default=0)
        while True:
            again: list[Task] = []
            for task, outcome in self._run(self._admitted(stage, waiting)):
                lost = outcome if isinstance(outcome, Lost) else outcome.spoilt
                if isinstance(outcome, TaskOutcome) and lost is None:
                    self._commit_outcome(stage, task, outcome)
                    self._strikes = Counter(self._strikes - _done_by(outcome, self._strikes))
                elif lost is not None:
                    any_lost = True
                    again += self._after_loss(stage, task, lost)
                if self.fail_fast and self.result.failed:
                    return False
            if not again:
                return any_lost
            waiting = again

    def _after_loss(self, stage: str, task: Task, lost: Lost) -> list[Task]:
        """The parts of a lost task that are tried again. Where there are none it has failed, and so has what hung.

        A component that ran when its process ended has failed once that happens twice at the same place: who ends a
        process, such as the kernel where memory is short, does not ask what runs in it.
        """
        blamed, others = cut(task, lost)
        if not blamed and not others and lost.component and id(task) not in self._suspected:
            blamed = [task]
        if blamed and not lost.hung:
            self._suspected |= {id(part): part for part in blamed}
            return [*blamed, *others]
        failed = blamed or ([] if others else [task])
        for part in failed:
            self._commit_outcome(stage, part, TaskOutcome(error=lost.reason))
        if failed and lost.component:
            self._strikes[lost.component] = max(self._strikes[lost.component], 0) + 1
        return others

    def _admitted(self, stage: str, tasks: Iterable[Task]) -> Iterator[Task]:
        """The tasks without what is given up: a component that died or hung at ten samples one after another would
        cost a process, or the time that it may take, at every further one."""
        for task in tasks:
            left: Task | None = task
            for component in [c for c, strikes in self._strikes.items() if strikes >= _STRIKES]:
                dropped, left = without(left, component) if left is not None else (None, None)
                if dropped is not None:
                    reason = f"{component} died or hung at {_STRIKES} samples one after another and was not tried here"
                    self._commit_outcome(stage, dropped, TaskOutcome(error=reason))
            if left is not None:
                yield left

    def _run(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, TaskOutcome | Lost]]:
        if self._executor is None:
            self._executor = _executor(self.plan, self.registry)
            if not self._executor.in_process:
                self.plan.detectors.clear()  # workers open them: two of each would take twice the memory
            if not (self._executor.in_process or self._executor.supervises):
                self._remote_call = remote_call(self.plan, self.registry)
        call: Callable[[Task], Any] = self._call_in_process if self._executor.in_process else run_in_worker
        yield from self._executor.run(tasks, self._remote_call or call)

    def _close_executor(self) -> None:
        """End the executor's workers. One that fails at that is told of, and loses nothing that is done."""
        if self._executor is not None:
            try:
                self._executor.close()
            except PluginError as error:
                print(error.what, file=sys.stderr)

    def _call_in_process(self, task: Task) -> TaskOutcome:
        if self._workbench is None:
            self._workbench = Workbench(self.due.setup, self.registry)
            self._workbench.keep = max(1, len(self.plan.detectors))
            self._workbench.on_passes = self._report_passes
            for ref, detector in self.plan.detectors.items():
                self._workbench.add_detector(ref, detector)
        outcome = TaskOutcome()
        self._running = (task, outcome)
        run_task(self._workbench, task, outcome)
        self._running = None
        if outcome.spoilt is not None:
            what = " ".join(outcome.spoilt.reason.split())
            raise PluginError(what, "leave --no-isolation out: a process of its own can be ended")
        return outcome

    def _report_passes(self, forward: int) -> None:
        self.listeners.send("passes_done", PassesDone(forward=forward))

    # ---- committing ----

    def _commit_outcome(self, stage: str, task: Task, outcome: TaskOutcome) -> None:
        """Commit what a task gave, and failed results for its cells that did not run because of an error."""
        results = list(outcome.results)
        if outcome.error:
            there = {r.cell.address for r in results}
            failed = failed_results(self.plan, task, outcome.error, outcome.trace)
            results += [r for r in failed if r.cell.address not in there]
        if self._workbench is None:  # in this process each call of a detector is reported as it happens
            self._report_passes(sum(r.cell.passes.forward for r in results))
        if not isinstance(task, SetTask | ModelTask | LookTask):
            seconds = sum(r.cell.seconds for r in results)
            self.size.measured(
                stage, task.detector.model, task.detector.member, len(task.chunk.samples), seconds,
                task.share if isinstance(task, ExplainTask) else 1.0,
            )  # fmt: skip
        self._commit(results)
        merge_some(self.log, self._stage_began)

    def _commit_interrupted(self) -> None:
        """Commit the cells of a task that finished before it was interrupted."""
        if self._running is not None and self._running[1].results:
            self._commit(self._running[1].results)

    def _commit(self, results: Sequence[CellResult]) -> None:
        cells = [self._completed(r.cell) for r in results]
        tables: dict[str, list[pa.Table]] = {}
        for result in results:
            for name, rows in result.tables.items():
                tables.setdefault(name, []).append(rows)
        self.log.add(tables, cells)
        for cell in cells:
            self._count(cell)
            self.listeners.send("task_committed", _commit_event(cell))

    def _completed(self, cell: CellRows) -> CellRows:
        """The record of a cell with the digests of its samples and the number of attempts."""
        digests: tuple[int, ...] = (0,)
        planned = self.due.relation.by_address[cell.address]
        if not planned.whole:
            of_sample = self.plan.dataset(cell.address.dataset).sample_digests
            digests = tuple(short_digest(of_sample[s][planned.strangers]) for s in cell.samples)
        again = self.log.ledger.commits(cell.address, cell.samples).any()
        return replace(cell, digests=digests, attempts=self.log.ledger.attempts(cell.address) + 1 if again else 1)

    def _count(self, cell: CellRows) -> None:
        self.result.done += len(cell.samples)
        self.result.passes += cell.passes
        self.result.failed += cell.failed
        if cell.failed:
            names = (cell.address.explainer, cell.address.metric)
            name = " / ".join(filter(None, names)) or cell.address.artefact or cell.address.kind
            self.result.failures.append(f"{name}: {cell.error or cell.reason}")


def _done_by(outcome: TaskOutcome, strikes: Counter[str]) -> Counter[str]:
    """The strikes of the components that did their work in a task."""
    names = {n for r in outcome.results if not r.cell.failed for n in (r.cell.address.explainer, r.cell.address.metric)}
    return Counter({name: strikes[name] for name in names})


def _commit_event(cell: CellRows) -> TaskCommitted:
    return TaskCommitted(
        kind=cell.address.kind,
        explainer=cell.address.explainer,
        metric=cell.address.metric,
        samples=len(cell.samples),
        status="failed" if cell.failed else "ok",
        reason=reason_of(cell) if cell.failed else "",
        seconds=cell.seconds,
        passes=cell.passes,
        model=cell.address.model,
        dataset=cell.address.dataset,
        trace=cell.trace if cell.failed else "",
    )


def expected_passes(due: Due, stage: str) -> int:
    """Forward passes of a stage: exact on a fresh run, else by the share of samples that is due; 0 for sets."""
    plan = due.plan
    if stage in ("structure", "detectors"):
        of_stage = [c for c in due.due_looks() if (c.check == "structure") is (stage == "structure")]
        return sum(c.passes.forward for c in of_stage)
    if stage == "predict":
        return sum(int(due.missing(c).sum()) for c in due.relation.cells if c.address.kind == "predict")
    if stage == "artefacts":
        return plan.artefact_passes.forward
    if stage in ("explain", "models"):
        has_maps = stage == "explain"
        shares = due.shares()
        cells = [c for c in plan.cells if bool(c.explainer) is has_maps]
        return round(sum(shares.get(c, 0.0) * c.passes.forward for c in cells))
    return 0
