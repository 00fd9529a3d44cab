"""The difference of what a plan asks for and what a run holds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from xaibench.plan.keys import detector_address
from xaibench.plan.parts import ArtefactCell, Cell, DetectorCell, Plan
from xaibench.store.commits import CommitLog
from xaibench.store.relation import WHOLE, Address, Relation, RelationCell

Rerun = Literal["missing", "failed", "all"]
SampleSelection = Mapping[Address, Collection[str]]
"""Some rows of a relation: the samples of each cell, ``("",)`` for the one row of a whole cell."""


@dataclass(frozen=True)
class Difference:
    """Which rows are due.

    Parameters
    ----------
    plan, relation: what is asked for.
    log: what is there.
    keep: whether maps are kept.
    rerun: which rows are made again: none, those that failed, or all that lie in commits up to ``since``.
    since: number of the last commit before the run.
    only: the rows that are due at all; None: all of the relation.
    """

    plan: Plan
    relation: Relation
    log: CommitLog
    keep: bool
    rerun: Rerun
    since: int
    only: SampleSelection | None = field(default=None, kw_only=True)

    def missing(self, cell: RelationCell) -> NDArray[np.bool_]:
        """Which of a cell's samples have no row that counts; one value for the whole of a cell that has one row."""
        ledger = self.log.ledger
        since = self.since if self.rerun == "all" else 0
        valid = ledger.valid(cell, self.relation, since)
        ids = (WHOLE,) if cell.whole else self.relation.samples[cell.address.dataset].ids
        if self.rerun == "failed":
            old = ledger.commits(cell.address, ids) <= self.since
            valid &= ~(ledger.failed(cell.address, ids) & old)
        if cell.address.kind == "explain" and self.keep and self.plan.settings.maps == "keep":
            valid &= ledger.kept(cell.address, ids)
        return ~valid if self.only is None else ~valid & _among(ids, self.only.get(cell.address, ()))

    def count(self) -> tuple[int, int]:
        """The number of rows (cell and sample) that are planned, and of those that are due."""
        missing = [self.missing(cell) for cell in self.relation.cells]
        return sum(len(m) for m in missing), sum(int(m.sum()) for m in missing)

    def shares(self) -> Mapping[Cell | ArtefactCell, float]:
        """The share of the samples that is due of each cell and artefact of the plan that can run."""
        found: dict[tuple[str, ...], list[NDArray[np.bool_]]] = defaultdict(list)
        for cell in self.relation.cells:
            a = cell.address
            if not cell.reason:
                found[a.model, a.member, a.dataset, a.explainer, a.metric, a.artefact].append(self.missing(cell))
        keys: dict[Cell | ArtefactCell, tuple[str, ...]] = {
            **{c: (c.model, c.member, c.dataset, c.explainer, c.metric or "", "") for c in self.plan.cells},
            **{c: (c.model, c.member, c.dataset, "", "", c.artefact) for c in self.plan.artefact_cells},
        }
        return {c: float(np.mean(np.concatenate(found[key]))) for c, key in keys.items() if key in found}

    def due_looks(self) -> Iterator[DetectorCell]:
        """The looks at detectors that are due."""
        for look in self.plan.detector_cells:
            if not look.reason and self.missing(self.relation.by_address[detector_address(look)])[0]:
                yield look

    def predictions(self) -> float:
        """The share of the clean predictions that is due."""
        masks = [self.missing(c) for c in self.relation.cells if c.address.kind == "predict"]
        return float(np.mean(np.concatenate(masks))) if masks else 0.0


def _among(ids: Sequence[str], chosen: Collection[str]) -> NDArray[np.bool_]:
    """Which of the ids are among the chosen ones."""
    return np.fromiter((i in chosen for i in ids), np.bool_, len(ids)) if chosen else np.zeros(len(ids), np.bool_)
