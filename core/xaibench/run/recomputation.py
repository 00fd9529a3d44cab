"""Rows of a run computed anew from what it records: settings, seeds, detectors and data sets."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from xaibench.api import Passes, PlanError, StoreError, UsageError, parse_spec
from xaibench.api.events import Display
from xaibench.detector.torch_settings import prepare_torch
from xaibench.discovery.components import HELD
from xaibench.plan.difference import SampleSelection
from xaibench.plan.estimate import Cost, estimate
from xaibench.plan.keys import relation_of
from xaibench.plan.settings import Settings, make_settings
from xaibench.run.driver import PreparedRun, execute, left_of, prepare
from xaibench.store.commits import TABLES_OF
from xaibench.store.folder import RunFolder
from xaibench.store.merging import keep_rows
from xaibench.store.open_run import Run
from xaibench.store.relation import WHOLE, Address, Relation
from xaibench.store.snapshot import Snapshot

if TYPE_CHECKING:
    import pyarrow as pa

RowTables: TypeAlias = "dict[Address, dict[str, pa.Table]]"
"""By address the rows of each table that holds any, with all columns of that table; an unplanned cell has no entry."""


@contextmanager
def recompute(
    run: Run | str | Path, *, model: Sequence[str | Path] = (), dataset: Sequence[str | Path] = (),
    device: str | None = None,
) -> Iterator[Recomputation]:  # fmt: skip
    """Compute rows of a run anew, and read them beside the recorded ones.

    Nothing is written in the run's folder, and no map or prediction of it enters. What is computed lies in a temporary
    folder, which is deleted when the block ends.

    Parameters
    ----------
    run: an opened run, its folder or URL. Plugin files that were moved are named to :func:`open_run`.
    model, dataset: the new places of detectors and data sets that were moved, in the order of the run file.
    device: where to compute. None: the class of device of the run.

    Raises :class:`UsageError` for another number of places, and :class:`StoreError` for a folder that is no run, or
    where a file is not the one that was committed.
    """
    opened = run if isinstance(run, Run) else Run(run)
    places = {"model": [str(place) for place in model], "dataset": [str(place) for place in dataset]}
    for kind, given in places.items():
        recorded = opened.settings[kind]
        if given and len(given) != len(recorded):
            raise UsageError(
                f"the run has {len(recorded)} {kind}{'s' * (len(recorded) > 1)}, and --{kind} gives {len(given)}",
                f"give a place for each, in the order of {', '.join(recorded)}",
            )
    snapshot = RunFolder(opened.path).snapshot(verify=True)
    if snapshot.log.damage:
        first, what = next(iter(snapshot.log.damage.items()))
        raise StoreError(
            f"{snapshot.log.files.location}/{first} is not the file that the run committed: {what}",
            "take the run from where it was made; a number in it may have been changed",
        )
    with tempfile.TemporaryDirectory(prefix="xaibench-recompute-") as temporary:
        changes = {"out": f"{temporary}/run", "device": device, **{kind: p for kind, p in places.items() if p}}
        yield Recomputation(opened, snapshot, changes)


class Recomputation:
    """The plan of a run made anew, for any of its rows: what :func:`recompute` gives.

    A selection of rows is a mapping from the address of a cell to ids of its samples, ``("",)`` for the one row of a
    whole cell. The detectors are opened when something of the plan made anew is first asked for, which raises
    :class:`XaibenchError` where the run cannot be planned again as a whole.
    """

    def __init__(self, run: Run, snapshot: Snapshot, changes: Mapping[str, Any]) -> None:
        self._run, self._snapshot, self._changes = run, snapshot, changes

    # ---- what is recorded, and what the same settings plan here ----

    @property
    def recorded(self) -> Relation:
        """The cells and samples of the run, with their digests."""
        return self._snapshot.relation

    @cached_property
    def planned(self) -> Relation:
        """The cells and samples of the plan made anew. A sample with another digest is another picture."""
        return relation_of(self._prepared.plan)

    @property
    def identities(self) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """What results depend on besides pictures, recorded and here: seed, target, device, precision, threads,
        versions, and digests of detectors and of the code of components. Machine and further versions are
        ``provenance`` of the table ``runs``, here :func:`provenance`."""
        return self._snapshot.plan["identity"], self._prepared.plan.identity

    def shown(self, address: Address) -> list[str]:
        """The samples of a recorded cell whose rows the run holds; of maps those that were kept."""
        cell, relation, ledger = self.recorded.by_address[address], self.recorded, self._snapshot.log.ledger
        ids = (WHOLE,) if cell.whole else relation.samples[address.dataset].ids
        held = ledger.valid(cell, relation)
        if address.kind == "explain" and not cell.reason:
            held = held & ledger.kept(address, ids)
        return [ids[i] for i in np.flatnonzero(held)]

    # ---- computing ----

    def with_inputs(self, rows: SampleSelection) -> dict[Address, set[str]]:
        """The rows and all that they are made from: predictions, artefacts, maps. Unplanned cells are left out."""
        chosen: dict[Address, set[str]] = defaultdict(set)
        waiting = [(address, sample) for address, samples in rows.items() for sample in samples]
        while waiting:
            address, sample = waiting.pop()
            if address in self.planned.by_address and sample not in chosen[address]:
                chosen[address].add(sample)
                waiting += self._inputs(address, sample)
        return {address: samples for address, samples in chosen.items() if samples}

    def _inputs(self, address: Address, sample: str) -> Iterator[tuple[Address, str]]:
        cell, plan = self.planned.by_address[address], self._prepared.plan
        if cell.reason:
            return
        for source in cell.inputs:
            yield from ((source, i) for i in self.planned.samples[source.dataset].ids)
        clean = Address("predict", address.model, address.member, address.dataset)
        if address.kind == "card":
            name = ("card", address.model, address.member, address.dataset)
            look = next(c for c in plan.detector_cells if (c.check, c.model, c.member, c.dataset) == name)
            yield from ((clean, i) for i in look.samples)
        elif address.kind == "score":
            yield address._replace(kind="explain", metric=""), sample
        elif address.kind == "explain":
            yield clean, sample
            for artefact in plan.explainer(address.explainer).artefacts:
                yield clean._replace(kind="artefact", artefact=artefact.name), sample

    def estimate(self, rows: SampleSelection) -> Cost:
        """Passes, and seconds of detector work by timed batches, of these rows with their inputs."""
        left = left_of(self._prepared, only=self.with_inputs(rows))
        looks = sum((look.passes for look in left.due_looks()), Passes())
        return estimate(self._prepared.plan, left.shares(), predictions=left.predictions(), looks=looks).total

    def compute(self, rows: SampleSelection, *, progress: bool = False) -> None:
        """Compute rows and their inputs. What was computed in this block is not computed again. ``progress``: show it
        on stderr. A failure of a component is a row with the status ``failed``."""
        execute(
            self._prepared, self._run.registry, only=self.with_inputs(rows),
            display=Display(output="json" if progress else "none"), foreign_listeners=False,
        )  # fmt: skip

    def recorded_rows(self, rows: SampleSelection) -> RowTables:
        """These rows as the run holds them."""
        return _read(self._snapshot, rows)

    def computed_rows(self, rows: SampleSelection) -> RowTables:
        """The same rows as :meth:`compute` made them."""
        return _read(self._prepared.folder.snapshot(), rows)

    # ---- the plan ----

    @cached_property
    def _prepared(self) -> PreparedRun:
        settings = self._settings()
        names = (*settings.model, *settings.dataset, *settings.explainer, *settings.metric)
        known = {c.name for c in self._run.registry.components}
        held = [name for name in (parse_spec(n)[0] for n in names) if name.startswith(f"{HELD}/")]
        if gone := [name for name in held if name not in known]:
            raise PlanError(
                f"{gone[0]} was in the memory of the process that made the run",
                "compute it again in that process, or evaluate files",
            )
        prepared = prepare(settings, self._run.registry)
        prepare_torch(prepared.plan.runtime.threads, prepared.plan.runtime.device)
        return prepared

    def _settings(self) -> Settings:
        """The settings of the run in another folder and one process, with threads, batch and device as they were."""
        values = {key.replace("-", "_"): value for key, value in self._run.settings.items()}
        identity = self._snapshot.plan["identity"]
        models = [str(value) for key, value in identity.items() if key.startswith("model ")]
        batches = {value.partition(" batch ")[2].partition(" ")[0] for value in models}
        parameters = values.get("parameter", {}).items()
        changes = {
            **self._changes, "device": self._changes["device"] or identity["device"], "threads": identity["threads"],
            "executor": "local", "jobs": 1, "task_samples": None,
            "maps": "drop" if values.get("maps") == "drop" else "keep",
            "parameter": {k: v for k, v in parameters if k.partition(".")[0] != "executor"},
        }  # fmt: skip
        if len(batches) == 1 and not values.get("batch_size"):
            changes["batch_size"] = int(batches.pop())
        return make_settings(None, values | changes)


def _read(snapshot: Snapshot, rows: SampleSelection) -> RowTables:
    """The rows of a snapshot. One file is in memory at a time."""
    import pyarrow as pa
    import pyarrow.compute as pc

    relation, ledger, commits = snapshot.relation, snapshot.log.ledger, snapshot.log.commits
    allowed: dict[int, dict[str, frozenset[str]]] = defaultdict(dict)
    cells = {address: relation.by_address[address] for address in rows if address in relation.by_address}
    keys = {address: ledger.key_of(cell, relation) or "" for address, cell in cells.items()}
    for address, key in keys.items():
        samples = list(rows[address])
        for sample, number in zip(samples, ledger.commits(address, samples).tolist(), strict=True):
            allowed[number][key] = allowed[number].get(key, frozenset()) | {sample}
    parts: dict[str, list[pa.Table]] = defaultdict(list)
    for number in sorted(set(allowed) & set(commits)):
        for table in dict.fromkeys(t for address in cells for t in TABLES_OF[address.kind]):
            parts[table] += [keep_rows(snapshot.log.read_file(f), allowed[number]) for f in commits[number].of(table)]
    wholes = {table: pa.concat_tables(pieces) for table, pieces in parts.items() if pieces}
    return {
        address: {table: of for table, whole in wholes.items() if len(of := whole.filter(pc.equal(whole["cell"], key)))}
        for address, key in keys.items()
    }
