"""The relation of a plan: its cells with their keys, and the digests of its samples."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple

Kind = Literal["predict", "artefact", "explain", "score", "set", "model", "structure", "accuracy", "card"]
WHOLE_KINDS = frozenset(("set", "model", "structure", "accuracy", "card"))

WHOLE = ""
"""The sample of a value that belongs to a whole cell."""


class Address(NamedTuple):
    """Where a row belongs, together with its sample.

    ``member`` is empty for a family, ``explainer`` for predictions, artefacts and measures of a detector itself,
    ``metric`` for whatever is no score, ``dataset`` for the structure of a detector.
    """

    kind: Kind
    model: str
    member: str
    dataset: str
    explainer: str = ""
    metric: str = ""
    artefact: str = ""
    repeat: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RelationCell:
    """One cell of a plan.

    Parameters
    ----------
    address: where its rows belong.
    key: digest of everything that can change its numbers, except the samples.
    reason: why it cannot run, empty where it can. Such a cell has one row for the whole of it.
    strangers: whether the strangers of its samples are part of what it depends on.
    broken: whether the reason is a fault of a component: the cell has failed.
    inputs: the cells whose rows a measure of a set reads; empty for cells with a row a sample.
    grouped: whether the groups of its samples are part of what it depends on.
    """

    address: Address
    key: str
    reason: str = ""
    strangers: bool = False
    inputs: tuple[Address, ...] = ()
    broken: bool = False
    grouped: bool = False

    @property
    def whole(self) -> bool:
        """Whether its one row belongs to no sample."""
        return bool(self.reason) or self.address.kind in WHOLE_KINDS

    def to_json(self) -> list[Any]:
        inputs = [list(i) for i in self.inputs]
        return [list(self.address), self.key, self.reason, self.strangers, inputs, self.broken, self.grouped]

    @staticmethod
    def from_json(values: list[Any]) -> RelationCell:
        address, key, reason, strangers, inputs, broken, grouped = values
        return RelationCell(
            address=Address(*address), key=key, reason=reason, strangers=strangers,
            inputs=tuple(Address(*i) for i in inputs), broken=broken, grouped=grouped,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class RelationSamples:
    """The samples of one dataset in evaluation order. ``digests`` are 64-bit, ``with_strangers`` those that cover the
    stranger of each sample, too. ``groups`` is a digest of the statistical groups of all of them."""

    ids: tuple[str, ...]
    digests: tuple[int, ...]
    with_strangers: tuple[int, ...]
    groups: str = ""


@dataclass(frozen=True)
class Relation:
    """Cells x samples: the rows that a plan asks for."""

    cells: tuple[RelationCell, ...]
    samples: Mapping[str, RelationSamples] = field(repr=False)

    @cached_property
    def by_address(self) -> Mapping[Address, RelationCell]:
        return {c.address: c for c in self.cells}

    def digests(self, cell: RelationCell) -> tuple[int, ...]:
        """Digests of the planned samples of a cell, in order."""
        samples = self.samples[cell.address.dataset]
        return samples.with_strangers if cell.strangers else samples.digests


def groups_digest(groups: Iterable[tuple[str, str | None]]) -> str:
    """The digest of the groups and crossed groups of some samples, in their order."""
    total = hashlib.sha256()
    for group, cross in groups:
        total.update(f"{group}\0{cross or ''}\0".encode())
    return total.hexdigest()[:16]


def short_digest(hexadecimal: str) -> int:
    """The first 64 bits of a digest in hexadecimal, as commits hold them."""
    return int(hexadecimal[:16], 16)
