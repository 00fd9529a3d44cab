"""Verification of a run: random rows computed anew from what the run records, and compared to the bit."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from xaibench.api import (
    DatasetError,
    ModelError,
    NothingToEvaluate,
    PlanError,
    StoreError,
    UsageError,
    XaibenchError,
    parse_spec,
)
from xaibench.api.events import Display, Output
from xaibench.detector.torch_settings import prepare_torch
from xaibench.discovery.components import HELD
from xaibench.discovery.registry import Registry
from xaibench.plan.difference import Difference, SampleSelection
from xaibench.plan.keys import relation_of
from xaibench.plan.settings import Settings, make_settings
from xaibench.run.drawn_rows import Row, draw_rows, read_rows, shown_samples, with_inputs
from xaibench.run.driver import PreparedRun, execute, left_of, prepare
from xaibench.run.record_changes import RecordChanges
from xaibench.run.row_comparison import TableRows, ValueChange, compare_rows
from xaibench.store.folder import RunFolder
from xaibench.store.open_run import Run, moved_files
from xaibench.store.relation import Address, Relation
from xaibench.store.snapshot import Snapshot

State = Literal["equal", "close", "different", "unavailable"]

TOLERANCE = 1e-3
"""Largest distance of two values of different machines or versions that are called close."""
REDUCED_TOLERANCE = 1e-2
"""The same of detectors in half precision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedRow:
    """One row of a run and what came of computing it anew.

    Parameters
    ----------
    kind, model, member, dataset, explainer, metric, artefact, repeat, sample: its address
        (:class:`xaibench.store.relation.Address`). ``sample`` is empty for a row of a whole set or detector.
    drawn: whether it was drawn, or computed since a drawn one needs it.
    state: ``equal`` to the bit; ``close``: within the tolerance, where machine, versions or code are not those of the
        record; ``different``; ``unavailable``: not computed.
    reason: why it is unavailable; of a close or different one what is not as it was.
    changes: every value that is not the same.
    """

    kind: str
    model: str
    member: str
    dataset: str
    explainer: str
    metric: str
    artefact: str
    repeat: int
    sample: str
    drawn: bool
    state: State
    reason: str = ""
    changes: tuple[ValueChange, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Verification:
    """The answer of :func:`verify`.

    Parameters
    ----------
    run: the folder of the run.
    rows: the drawn rows, then those that they need.
    values: the number of values, curve points, maps and artefacts that were compared.
    seed: seed of the draw.
    changes: what of machine, versions, settings and code is not as the run records it, one line each.
    tolerance: the largest distance of values that are called close.
    """

    run: str
    rows: tuple[CheckedRow, ...]
    values: int
    seed: int
    changes: tuple[str, ...]
    tolerance: float

    @property
    def drawn(self) -> tuple[CheckedRow, ...]:
        """The rows that were drawn."""
        return tuple(row for row in self.rows if row.drawn)

    def in_state(self, state: State) -> tuple[CheckedRow, ...]:
        """All rows in a state, those that drawn ones need included."""
        return tuple(row for row in self.rows if row.state == state)

    @property
    def exit_code(self) -> int:
        """1 where a row is different, else 3 where one is unavailable, else 0."""
        return 1 if self.in_state("different") else 3 if self.in_state("unavailable") else 0


def verify(
    run: Run | str | Path,
    rows: int = 20,
    *,
    seed: int = 0,
    model: str | Path | Sequence[str | Path] = (),
    dataset: str | Path | Sequence[str | Path] = (),
    plugin: str | Path | Sequence[str | Path] = (),
    device: str | None = None,
    progress: bool = False,
) -> Verification:
    """Compute random rows of a run anew from detector, pictures and parameters, and compare them to the bit.

    Nothing is written in the run's folder, and nothing of its maps or predictions enters: what a row needs is computed
    anew, too. Every metric, explainer and kind is drawn once before one is drawn twice. Rows that need all samples of a
    data set come last.

    Parameters
    ----------
    run: the folder, its URL, or an opened run. One of live objects is verified from the run that made it alone.
    rows: the number of rows (address and sample) that are drawn.
    seed: seed of the draw.
    model, dataset: the new places of detectors and data sets that were moved, in the order of the run file.
    plugin: the new places of plugin files that were moved, each with the name of the recorded one.
    device: where to compute. None: the class of device of the run.
    progress: show progress on stderr.

    Raises :class:`PlanError` where the run cannot be computed again as a whole, :class:`StoreError` for a file that is
    not the one that was committed, and :class:`NothingToEvaluate` where the run shows no row.
    """
    places = {"model": _texts(model), "dataset": _texts(dataset), "plugin": _texts(plugin)}
    with prepared_verification(run, rows, seed=seed, device=device, **places) as verification:
        return verification.compute("json" if progress else "none")


def _texts(places: str | Path | Sequence[str | Path]) -> tuple[str, ...]:
    return (str(places),) if isinstance(places, str | Path) else tuple(map(str, places))


@contextmanager
def prepared_verification(
    run: Run | str | Path,
    rows: int,
    *,
    seed: int = 0,
    model: Sequence[str] = (),
    dataset: Sequence[str] = (),
    plugin: Sequence[str] = (),
    device: str | None = None,
) -> Iterator[PreparedVerification]:
    """Draw rows of a run and plan what they need. Arguments and exceptions are those of :func:`verify`.

    What is computed lies in a temporary folder, which is deleted when the block ends.
    """
    if rows < 1:
        raise UsageError(f"{rows} rows are none", "give 1 or more")
    opened = run if isinstance(run, Run) else Run(run, plugin=plugin)
    files = moved_files(opened.settings.get("plugin", ()), plugin)
    _refuse_places(opened, model=model, dataset=dataset)
    folder = RunFolder(opened.path, str(opened.path if isinstance(run, Run) else run))
    before = folder.snapshot(verify=True)
    _refuse_damage(before)
    drawn = draw_rows(before, rows, seed)
    if not drawn:
        raise NothingToEvaluate(f"{folder.name} shows no row that could be computed again", "xaibench status RUN")
    with tempfile.TemporaryDirectory(prefix="xaibench-verify-") as temporary:
        try:
            settings = _settings(folder, before, f"{temporary}/run", model, dataset, files, device)
            registry = opened.registry
            _refuse_live(settings, registry)
            prepared = prepare(settings, registry)
        except XaibenchError as error:
            mend = [error.mend] if error.mend else []
            if isinstance(error, ModelError | DatasetError):
                mend.append("where it was moved, --model and --dataset say where it lies now")
            raise PlanError(f"{folder.name} cannot be computed again: {error.what}", "; ".join(mend)) from error
        prepare_torch(prepared.plan.runtime.threads, prepared.plan.runtime.device)
        yield PreparedVerification(folder.name, before, prepared, registry, tuple(drawn), seed)


def _refuse_places(run: Run, **places: Sequence[str]) -> None:
    for kind, given in places.items():
        recorded = run.settings[kind]
        if given and len(given) != len(recorded):
            raise UsageError(
                f"the run has {len(recorded)} {kind}{'s' * (len(recorded) > 1)}, and --{kind} gives {len(given)}",
                f"give a place for each, in the order of {', '.join(recorded)}",
            )


def _refuse_live(settings: Settings, registry: Registry) -> None:
    """Refuse a run of objects that were in the memory of another process."""
    names = (*settings.model, *settings.dataset, *settings.explainer, *settings.metric)
    known = {c.name for c in registry.components}
    gone = [name for name in (parse_spec(n)[0] for n in names) if name.startswith(f"{HELD}/") and name not in known]
    if gone:
        raise PlanError(
            f"{gone[0]} was in the memory of the process that made the run",
            "xaibench.verify(run) in that process computes it again, or evaluate files",
        )


def _refuse_damage(snapshot: Snapshot) -> None:
    if snapshot.log.damage:
        first, what = next(iter(snapshot.log.damage.items()))
        raise StoreError(
            f"{snapshot.log.files.location}/{first} is not the file that the run committed: {what}",
            "take the run from where it was made; a number in it may have been changed",
        )


def _settings(
    folder: RunFolder,
    before: Snapshot,
    out: str,
    model: Sequence[str],
    dataset: Sequence[str],
    plugin: Sequence[str],
    device: str | None,
) -> Settings:
    """The settings of the run in another folder and one process, with threads, batch and device as they were."""
    values = {key.replace("-", "_"): value for key, value in folder.run_file().items() if key != "record"}
    identity = before.plan["identity"]
    batches = {str(v).partition(" batch ")[2].partition(" ")[0] for k, v in identity.items() if k.startswith("model ")}
    changes = {
        "out": out, "executor": "local", "jobs": 1, "task_samples": None, "threads": identity["threads"],
        "device": device or identity["device"], "maps": "drop" if values.get("maps") == "drop" else "keep",
        "model": model or values["model"], "dataset": dataset or values["dataset"], "plugin": plugin,
        "parameter": _without_executor(values.get("parameter", {})),
    }  # fmt: skip
    if len(batches) == 1 and not values.get("batch_size"):
        changes["batch_size"] = int(batches.pop())
    return make_settings(None, values | changes)


def _without_executor(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in parameters.items() if k.partition(".")[0] != "executor"}


@dataclass(frozen=True)
class PreparedVerification:
    """Drawn rows, and a plan that computes them in another folder.

    Parameters
    ----------
    run: the folder of the run.
    before: the run as it is.
    prepared: its plan made anew.
    registry: the components of both.
    rows: the drawn rows.
    seed: seed of the draw.
    """

    run: str
    before: Snapshot = field(repr=False)
    prepared: PreparedRun = field(repr=False)
    registry: Registry = field(repr=False)
    rows: tuple[Row, ...]
    seed: int

    @cached_property
    def record(self) -> RecordChanges:
        """What is not as the run records it."""
        return RecordChanges(self.before, self.prepared.plan, self.relation)

    @cached_property
    def relation(self) -> Relation:
        """The cells and samples of the plan made anew."""
        return relation_of(self.prepared.plan)

    @cached_property
    def unavailable(self) -> dict[Row, str]:
        """Why drawn rows cannot be computed again: detector, pictures or plan are not those of the run."""
        reasons = ((row, self.record.why_not(*row)) for row in self.rows)
        return {row: reason for row, reason in reasons if reason}

    @cached_property
    def only(self) -> SampleSelection:
        """What is computed: the drawn rows that can be, and all that they need."""
        rows = [row for row in self.rows if row not in self.unavailable]
        return with_inputs(rows, self.relation, self.prepared.plan)

    @property
    def left(self) -> Difference:
        """What is computed, as a part of the plan."""
        return left_of(self.prepared, only=self.only)

    @property
    def of_whole_sets(self) -> int:
        """The number of drawn rows that need every sample of a data set."""
        return sum(bool(self.before.relation.by_address[address].inputs) for address, _ in self.rows)

    @property
    def rows_before_sets(self) -> int:
        """The number of rows that are drawn before the first one that needs every sample of a data set."""
        whole = (bool(self.before.relation.by_address[address].inputs) for address, _ in self.rows)
        return next((place for place, of_set in enumerate(whole) if of_set), len(self.rows))

    @property
    def tolerance(self) -> float:
        return TOLERANCE if self.prepared.plan.settings.precision == "fp32" else REDUCED_TOLERANCE

    def compute(self, output: Output = "none") -> Verification:
        """Compute and compare. ``output`` is what listeners may print."""
        if self.only:
            display = Display(output=output)
            execute(self.prepared, self.registry, only=self.only, display=display, foreign_listeners=False)
        of_rows, values = dict[Row, CheckedRow](), 0
        for part in self._comparable() if self.only else ():
            stored, recomputed = read_rows(self.before, part), read_rows(self._after, part)
            for row in stored:
                count, changes = compare_rows(stored[row], recomputed[row])
                values += count
                of_rows[row] = self._judged(row, stored[row], changes)
        of_rows |= {
            row: _checked(row, drawn=True, state="unavailable", reason=reason)
            for row, reason in self.unavailable.items()
        }
        rows = [*(of_rows.pop(row) for row in self.rows), *of_rows.values()]
        return Verification(
            run=self.run, rows=tuple(rows), values=values, seed=self.seed, changes=tuple(self.record.lines),
            tolerance=self.tolerance,
        )  # fmt: skip

    @cached_property
    def _after(self) -> Snapshot:
        return self.prepared.folder.snapshot()

    def _comparable(self) -> Iterator[dict[Address, set[str]]]:
        """The computed rows that the run shows, too: the maps of one explainer at a time, since they are large."""
        small: dict[Address, set[str]] = {}
        for address, samples in self.only.items():
            cell = self.before.relation.by_address.get(address)
            shown = set(shown_samples(self.before, cell)) if cell is not None else set()
            here = {s for s in samples if s in shown and not self.record.why_not(address, s)}
            if here and address.kind == "explain":
                yield {address: here}
            elif here:
                small[address] = here
        yield small

    @cached_property
    def _drawn(self) -> frozenset[Row]:
        return frozenset(self.rows)

    def _judged(self, row: Row, stored: TableRows, changes: Sequence[ValueChange]) -> CheckedRow:
        drawn = row in self._drawn
        if not changes:
            return _checked(row, drawn=drawn, state="equal")
        runs = {str(r["run"]) for rows in stored.values() for r in rows}
        elsewhere = self.record.of_runs(runs)
        near = all(c.distance is not None and c.distance <= self.tolerance for c in changes)
        state: State = "close" if elsewhere and near else "different"
        return _checked(row, drawn=drawn, state=state, reason="; ".join(elsewhere), changes=tuple(changes))


def _checked(row: Row, **values: Any) -> CheckedRow:
    address, sample = row
    return CheckedRow(**address._asdict(), sample=sample, **values)
