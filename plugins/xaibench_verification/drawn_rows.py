"""Rows of a run drawn at random.

A row is an address and a sample: the prediction, map or artefact there, or all values and curves of one metric.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from xaibench import Address, Recomputation

Row: TypeAlias = "tuple[Address, str]"
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


def draw_rows(again: Recomputation, count: int, seed: int) -> list[Row]:
    """``count`` random rows that the last plan shows, or all where there are fewer.

    Every metric, explainer, artefact and kind is met before one is met twice. Those that need every sample come after
    the others, and a second time only when these are exhausted. A smaller ``count`` gives the first rows of the same
    sequence.
    """
    random = np.random.default_rng(seed)
    strata = _strata(again)
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


def _strata(again: Recomputation) -> list[_Stratum]:
    """The rows that can be compared, by what made them. Cells that cannot run are a stratum of their own."""
    strata: dict[_Kind, _Stratum] = {}
    for cell in again.recorded.cells:
        samples = shown_samples(again, cell.address)
        if not samples:
            continue
        a = cell.address
        kind = ("reason", "") if cell.reason else (a.kind, a.metric or a.explainer or a.artefact)
        strata.setdefault(kind, _Stratum(bool(cell.inputs), [])).cells.append((a, samples))
    return [strata[kind] for kind in sorted(strata)]


def shown_samples(again: Recomputation, address: Address) -> list[str]:
    """The samples of a cell whose rows the run shows and that can be compared.

    The structure of a detector is left out: it was looked at on the pictures that the run had first, and a run that was
    extended or joined does not know which these were. Maps that were not kept are left out, too.
    """
    return [] if address.kind == "structure" else again.shown(address)
