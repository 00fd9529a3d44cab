"""Rows of a run drawn at random, what they are made from, and how they are read from its files.

A row is an address and a sample (:mod:`xaibench.store.relation`): the prediction, map or artefact there, or all values
and curves of one metric.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, TypeAlias

import numpy as np

from xaibench.plan.parts import Plan
from xaibench.store.commits import TABLES_OF
from xaibench.store.merging import keep_rows
from xaibench.store.relation import WHOLE, Address, Relation, RelationCell
from xaibench.store.snapshot import Snapshot

Row: TypeAlias = tuple[Address, str]
"""An address and a sample; ``""`` where the row belongs to a whole cell."""

_Kind: TypeAlias = tuple[str, str]


@dataclass(frozen=True, slots=True)
class _Stratum:
    """The rows of one metric, explainer or artefact, by cell. ``whole``: each needs every sample of its data set."""

    whole: bool
    cells: list[tuple[Address, list[str]]]

    def shuffled(self, random: np.random.Generator) -> list[Row]:
        rows = [(address, sample) for address, samples in self.cells for sample in samples]
        return [rows[i] for i in random.permutation(len(rows))]


def draw_rows(snapshot: Snapshot, count: int, seed: int) -> list[Row]:
    """``count`` random rows that the last plan shows, or all where there are fewer.

    Every metric, explainer, artefact and kind is met before one is met twice. Those that need every sample come after
    the others, and a second time only when these are exhausted. A smaller ``count`` gives the first rows of the same
    sequence.
    """
    random = np.random.default_rng(seed)
    strata = _strata(snapshot)
    queues: dict[bool, list[list[Row]]] = {False: [], True: []}
    for place in random.permutation(len(strata)):
        queues[strata[place].whole].append(strata[place].shuffled(random))
    rounds = {whole: _rounds(lists) for whole, lists in queues.items()}
    first = {whole: len(lists) for whole, lists in queues.items()}
    order = [
        *rounds[False][: first[False]], *rounds[True][: first[True]],
        *rounds[False][first[False] :], *rounds[True][first[True] :],
    ]  # fmt: skip
    return order[:count]


def _rounds(queues: Sequence[Sequence[Row]]) -> list[Row]:
    """One row of each queue in turn."""
    return [row for turn in zip_longest(*queues) for row in turn if row is not None]


def _strata(snapshot: Snapshot) -> list[_Stratum]:
    """The rows that can be compared, by what made them. Cells that cannot run are a stratum of their own."""
    strata: dict[_Kind, _Stratum] = {}
    for cell in snapshot.relation.cells:
        samples = shown_samples(snapshot, cell)
        if not samples:
            continue
        a = cell.address
        kind = ("reason", "") if cell.reason else (a.kind, a.metric or a.explainer or a.artefact)
        strata.setdefault(kind, _Stratum(bool(cell.inputs), [])).cells.append((a, samples))
    return [strata[kind] for kind in sorted(strata)]


def shown_samples(snapshot: Snapshot, cell: RelationCell) -> list[str]:
    """The samples of a cell whose rows the run shows and that can be compared.

    The structure of a detector is left out: it was looked at on the pictures that the run had first, and a run that was
    extended or joined does not know which these were. Maps that were not kept are left out, too.
    """
    if cell.address.kind == "structure":
        return []
    ids = (WHOLE,) if cell.whole else snapshot.relation.samples[cell.address.dataset].ids
    shown = snapshot.log.ledger.valid(cell, snapshot.relation)
    if cell.address.kind == "explain" and not cell.reason:
        shown = shown & snapshot.log.ledger.kept(cell.address, ids)
    return [ids[i] for i in np.flatnonzero(shown)]


# ---- what rows are made from ----


def with_inputs(rows: Iterable[Row], relation: Relation, plan: Plan) -> dict[Address, set[str]]:
    """The rows and all rows that they are made from, by address: predictions, artefacts, maps."""
    only: dict[Address, set[str]] = defaultdict(set)
    waiting = list(rows)
    while waiting:
        address, sample = waiting.pop()
        if address not in relation.by_address or sample in only[address]:
            continue
        only[address].add(sample)
        waiting += _inputs(relation.by_address[address], sample, relation, plan)
    return dict(only)


def _inputs(cell: RelationCell, sample: str, relation: Relation, plan: Plan) -> Iterator[Row]:
    address = cell.address
    if cell.reason:
        return
    for source in cell.inputs:
        yield from ((source, i) for i in relation.samples[source.dataset].ids)
    clean = Address("predict", address.model, address.member, address.dataset)
    if address.kind == "card":
        look = next(c for c in plan.detector_cells if c.check == "card" and c.model == address.model
                    and c.member == address.member and c.dataset == address.dataset)  # fmt: skip
        yield from ((clean, i) for i in look.samples)
    elif address.kind == "score":
        yield address._replace(kind="explain", metric=""), sample
    elif address.kind == "explain":
        yield clean, sample
        for artefact in plan.explainer(address.explainer).artefacts:
            yield clean._replace(kind="artefact", artefact=artefact.name), sample


# ---- reading ----


def read_rows(
    snapshot: Snapshot, wanted: Mapping[Address, Iterable[str]]
) -> dict[Row, dict[str, list[dict[str, Any]]]]:
    """The rows of the tables at some addresses and samples, by table. One file is in memory at a time."""
    relation, ledger = snapshot.relation, snapshot.log.ledger
    allowed: dict[int, dict[str, frozenset[str]]] = defaultdict(dict)
    addresses: dict[str, Address] = {}
    for address, samples in wanted.items():
        key = ledger.key_of(relation.by_address[address], relation) or ""
        addresses[key] = address
        ids = list(samples)
        for sample, number in zip(ids, ledger.commits(address, ids).tolist(), strict=True):
            allowed[number][key] = allowed[number].get(key, frozenset()) | {sample}
    rows: dict[Row, dict[str, list[dict[str, Any]]]] = {(a, s): {} for a, samples in wanted.items() for s in samples}
    tables = dict.fromkeys(t for a in wanted for t in TABLES_OF[a.kind])
    for number in sorted(set(allowed) & set(snapshot.log.commits)):
        for file in (f for table in tables for f in snapshot.log.commits[number].of(table)):
            for row in keep_rows(snapshot.log.read_file(file), allowed[number]).to_pylist():
                rows[addresses[row["cell"]], row["sample"]].setdefault(file.table, []).append(row)
    return rows
