"""Verification of a run: random rows computed anew from what the run records, and compared to the bit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from xaibench.api import DatasetError, ModelError, NothingToEvaluate, PlanError, UsageError, XaibenchError
from xaibench_verification.drawn_rows import Row, draw_rows, shown_samples
from xaibench_verification.record_changes import RecordChanges
from xaibench_verification.row_comparison import TableRows, ValueChange, compare_rows

if TYPE_CHECKING:
    from xaibench import Address, Recomputation, Run

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
        (:class:`xaibench.Address`). ``sample`` is empty for a row of a whole set or detector.
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
    run: Run,
    rows: int = 20,
    *,
    seed: int = 0,
    model: str | Path | Sequence[str | Path] = (),
    dataset: str | Path | Sequence[str | Path] = (),
    device: str | None = None,
    progress: bool = False,
) -> Verification:
    """Compute random rows of a run anew from detector, pictures and parameters, and compare them to the bit.

    Nothing is written in the run's folder, and nothing of its maps or predictions enters: what a row needs is computed
    anew, too. Every metric, explainer and kind is drawn once before one is drawn twice. Rows that need all samples of a
    data set come last.

    Parameters
    ----------
    rows: the number of rows (address and sample) that are drawn.
    seed: seed of the draw.
    model, dataset: the new places of detectors and data sets that were moved, in the order of the run file. Those of
        plugin files are named to :func:`xaibench.open_run`.
    device: where to compute. None: the class of device of the run.
    progress: show progress on stderr.

    A run of live objects is verified from the run that made it alone. Raises :class:`PlanError` where the run cannot be
    computed again as a whole, :class:`StoreError` for a file that is not the one that was committed, and
    :class:`NothingToEvaluate` where the run shows no row.
    """
    with prepared_verification(
        run, rows, seed=seed, model=_places(model), dataset=_places(dataset), device=device
    ) as verification:
        return verification.compute(progress=progress)


def _places(places: str | Path | Sequence[str | Path]) -> Sequence[str | Path]:
    return (places,) if isinstance(places, str | Path) else places


@contextmanager
def prepared_verification(
    run: Run,
    rows: int,
    *,
    seed: int = 0,
    model: Sequence[str | Path] = (),
    dataset: Sequence[str | Path] = (),
    device: str | None = None,
    name: str = "",
) -> Iterator[PreparedVerification]:
    """Draw rows of a run and plan what they need. Arguments and exceptions are those of :func:`verify`.

    ``name`` is how messages call the run; by default as its path does. What is computed is deleted when the block ends.
    """
    from xaibench import recompute

    if rows < 1:
        raise UsageError(f"{rows} rows are none", "give 1 or more")
    name = name or str(run.path)
    with recompute(run, model=model, dataset=dataset, device=device) as again:
        drawn = draw_rows(again, rows, seed)
        if not drawn:
            raise NothingToEvaluate(f"{name} shows no row that could be computed again", "xaibench status RUN")
        try:
            again.planned  # noqa: B018
        except XaibenchError as error:
            mend = [error.mend] if error.mend else []
            if isinstance(error, ModelError | DatasetError):
                mend.append("where it was moved, --model and --dataset say where it lies now")
            raise PlanError(f"{name} cannot be computed again: {error.what}", "; ".join(mend)) from error
        yield PreparedVerification(name, again, RecordChanges(run, again), tuple(drawn), seed)


@dataclass(frozen=True)
class PreparedVerification:
    """Drawn rows, and what computes them.

    Parameters
    ----------
    run: what the run is called.
    again: the run and its plan made anew.
    record: what is not as the run records it.
    rows: the drawn rows.
    seed: seed of the draw.
    """

    run: str
    again: Recomputation = field(repr=False)
    record: RecordChanges = field(repr=False)
    rows: tuple[Row, ...]
    seed: int

    @cached_property
    def unavailable(self) -> dict[Row, str]:
        """Why drawn rows cannot be computed again: detector, pictures or plan are not those of the run."""
        reasons = ((row, self.record.why_not(*row)) for row in self.rows)
        return {row: reason for row, reason in reasons if reason}

    @cached_property
    def only(self) -> dict[Address, set[str]]:
        """What is computed: the drawn rows that can be, and all that they need."""
        rows = defaultdict[Any, set[str]](set)
        for address, sample in self.rows:
            if (address, sample) not in self.unavailable:
                rows[address].add(sample)
        return self.again.with_inputs(rows)

    @property
    def of_whole_sets(self) -> int:
        """The number of drawn rows that need every sample of a data set."""
        return sum(self._need_set)

    @property
    def rows_before_sets(self) -> int:
        """The number of rows that are drawn before the first one that needs every sample of a data set."""
        return self._need_set.index(True) if True in self._need_set else len(self.rows)

    @property
    def _need_set(self) -> list[bool]:
        return [bool(self.again.recorded.by_address[address].inputs) for address, _ in self.rows]

    @property
    def tolerance(self) -> float:
        """The largest distance of values that are called close."""
        return TOLERANCE if self.again.identities[1]["precision"] == "fp32" else REDUCED_TOLERANCE

    def compute(self, *, progress: bool = False) -> Verification:
        """Compute and compare. ``progress``: show it on stderr."""
        if self.only:
            self.again.compute(self.only, progress=progress)
        of_rows, values = dict[Row, CheckedRow](), 0
        for part in self._comparable() if self.only else ():
            stored = _by_row(part, self.again.recorded_rows(part))
            recomputed = _by_row(part, self.again.computed_rows(part))
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

    def _comparable(self) -> Iterator[dict[Address, set[str]]]:
        """The computed rows that the run shows, too: the maps of one explainer at a time, since they are large."""
        small: dict[Address, set[str]] = {}
        for address, samples in self.only.items():
            shown = set(shown_samples(self.again, address)) if address in self.again.recorded.by_address else set()
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


def _by_row(part: dict[Address, set[str]], tables: dict[Address, dict[str, Any]]) -> dict[Row, dict[str, list[Any]]]:
    """The rows of Arrow tables by address and sample, then by table."""
    rows: dict[Row, dict[str, list[Any]]] = {(a, s): {} for a, samples in part.items() for s in samples}
    for address, of_address in tables.items():
        for name, table in of_address.items():
            for row in table.to_pylist():
                rows[address, row["sample"]].setdefault(name, []).append(row)
    return rows


def _checked(row: Row, **values: Any) -> CheckedRow:
    address, sample = row
    return CheckedRow(**address._asdict(), sample=sample, **values)
