"""What a run holds: for every cell and sample the commit whose row is current, with its key, digest and status."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from xaibench.store.relation import WHOLE, Address, Relation, RelationCell


@dataclass(slots=True)
class _Held:
    """Arrays over the samples of a dataset. ``commit`` 0: no row. ``key``, ``status``: numbers in lists."""

    commit: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    key: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    digest: NDArray[np.uint64] = field(default_factory=lambda: np.zeros(0, np.uint64))
    status: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    kept: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))
    attempts: int = 0

    def fit(self, count: int) -> None:
        more = count - len(self.commit)
        if more > 0:
            for name in ("commit", "key", "digest", "status", "kept"):
                setattr(self, name, np.pad(getattr(self, name), (0, more)))


class _Codes:
    """Numbers for strings, in the order in which they come."""

    def __init__(self, *first: str) -> None:
        self.names = list(first)
        self._codes = {name: i for i, name in enumerate(first)}

    def of(self, name: str) -> int:
        if name not in self._codes:
            self._codes[name] = len(self.names)
            self.names.append(name)
        return self._codes[name]

    def get(self, name: str) -> int:
        """The number of a string; -1 where it has none."""
        return self._codes.get(name, -1)

    def __len__(self) -> int:
        return len(self.names)


class Ledger:
    """The current row of every cell and sample, from commits added in the order of their numbers."""

    def __init__(self) -> None:
        self._samples: dict[str, _Codes] = {}
        self._keys = _Codes()
        self._statuses = _Codes()
        self._cells: dict[Address, _Held] = {}

    def add(
        self,
        commit: int,
        address: Address,
        key: str,
        samples: Sequence[str],
        digests: Sequence[int],
        statuses: Sequence[str],
        kept: bool,
        attempts: int,
    ) -> None:
        """Take the rows of a commit: they are current, and what stood at their addresses is superseded.

        A row for the whole cell supersedes those of its samples, and the other way round.
        """
        codes = self._samples.setdefault(address.dataset, _Codes(WHOLE))
        index = np.fromiter((codes.of(s) for s in samples), np.int64, len(samples))
        held = self._cells.setdefault(address, _Held())
        held.fit(len(codes))
        if len(index) and index[0] == 0:
            held.commit[1:] = 0
        else:
            held.commit[:1] = 0
        held.commit[index] = commit
        held.key[index] = self._keys.of(key)
        held.digest[index] = np.array(digests, np.uint64)
        held.status[index] = np.fromiter((self._statuses.of(s) for s in statuses), np.int32, len(statuses))
        held.kept[index] = kept
        held.attempts = max(held.attempts, attempts)

    def move(self, address: Address, samples: Sequence[str], commit: int) -> None:
        """Say that the rows of these samples lie in another commit now."""
        codes = self._samples[address.dataset]
        self._cells[address].commit[[codes.of(s) for s in samples]] = commit

    def retain(self, keys: set[str], contradicted: Callable[[Address], bool]) -> None:
        """Supersede every row at a contradicted address whose cell has none of these keys."""
        wanted = np.array([name in keys for name in self._keys.names] or [False])
        for address, held in self._cells.items():
            if contradicted(address):
                held.commit[~wanted[held.key]] = 0

    # ---- what is done ----

    def valid(self, cell: RelationCell, relation: Relation, since: int = 0) -> NDArray[np.bool_]:
        """Which of a cell's planned samples have a row of the planned validity, in a commit after ``since``.

        One value for a cell that has one row for the whole.
        """
        held = self._cells.get(cell.address)
        if cell.whole:
            key = self.key_of(cell, relation)
            same = held is not None and len(held.commit) and held.commit[0] > since
            return np.array([bool(same and held is not None and held.key[0] == self._keys.get(key or ""))])
        ids = relation.samples[cell.address.dataset].ids
        if held is None:
            return np.zeros(len(ids), np.bool_)
        index = self._index(cell.address.dataset, ids, held)
        valid: NDArray[np.bool_] = (
            (held.commit[index] > since)
            & (held.key[index] == self._keys.get(cell.key))
            & (held.digest[index] == np.array(relation.digests(cell), np.uint64))
        )
        return valid

    def key_of(self, cell: RelationCell, relation: Relation) -> str | None:
        """The full key of a cell: of a measure of a set it covers digest and status of every input in order.

        None while an input is missing.
        """
        if not cell.inputs:
            return cell.key
        total = hashlib.sha256(cell.key.encode())
        if cell.grouped:
            total.update(relation.samples[cell.address.dataset].groups.encode())
        for address in cell.inputs:
            source, samples = relation.by_address[address], relation.samples[address.dataset]
            if not self.valid(source, relation).all():
                return None
            digests = samples.with_strangers if cell.strangers else relation.digests(source)
            total.update(source.key.encode() + np.array(digests, "<u8").tobytes())
            total.update("\0".join(self.statuses(address, samples.ids)).encode())
        return total.hexdigest()[:32]

    def statuses(self, address: Address, samples: Sequence[str]) -> list[str]:
        """Status of each sample's row in a cell; ``""`` where there is none."""
        held = self._cells.get(address)
        if held is None:
            return [""] * len(samples)
        index = self._index(address.dataset, samples, held)
        found = zip(held.commit[index] > 0, held.status[index], strict=True)
        return [self._statuses.names[s] if there else "" for there, s in found]

    def failed(self, address: Address, samples: Sequence[str]) -> NDArray[np.bool_]:
        """Which samples' rows in a cell failed, at least in part."""
        return np.array(["failed" in s for s in self.statuses(address, samples)], np.bool_)

    def kept(self, address: Address, samples: Sequence[str]) -> NDArray[np.bool_]:
        """Which samples' maps are in the store."""
        held = self._cells.get(address)
        if held is None:
            return np.zeros(len(samples), np.bool_)
        index = self._index(address.dataset, samples, held)
        found: NDArray[np.bool_] = (held.commit[index] > 0) & held.kept[index]
        return found

    def commits(self, address: Address, samples: Sequence[str]) -> NDArray[np.int32]:
        """The commit that holds each sample's row in a cell; 0 where there is none."""
        held = self._cells.get(address)
        if held is None:
            return np.zeros(len(samples), np.int32)
        index = self._index(address.dataset, samples, held)  # first: it may lengthen the arrays
        return held.commit[index]

    def attempts(self, address: Address) -> int:
        """The largest number of times that a row of the cell was tried."""
        held = self._cells.get(address)
        return held.attempts if held else 0

    def keys(self, address: Address) -> set[str]:
        """The keys of a cell's current rows."""
        held = self._cells.get(address)
        return set() if held is None else {self._keys.names[k] for k in np.unique(held.key[held.commit > 0])}

    # ---- rows in files ----

    def addresses(self) -> Iterator[Address]:
        """Every cell that has a row."""
        yield from (address for address, held in self._cells.items() if held.commit.any())

    def rows(self, address: Address) -> dict[int, list[tuple[str, str]]]:
        """By commit the (sample, key) of each current row of a cell."""
        held, names = self._cells[address], self._samples[address.dataset].names
        found: dict[int, list[tuple[str, str]]] = {}
        for i in np.flatnonzero(held.commit):
            found.setdefault(int(held.commit[i]), []).append((names[i], self._keys.names[held.key[i]]))
        return found

    def counts(self) -> dict[int, int]:
        """The number of current rows in each commit."""
        total: dict[int, int] = {}
        for held in self._cells.values():
            numbers, counts = np.unique(held.commit[held.commit > 0], return_counts=True)
            for number, count in zip(numbers.tolist(), counts.tolist(), strict=True):
                total[number] = total.get(number, 0) + count
        return total

    def _index(self, dataset: str, samples: Sequence[str], held: _Held) -> NDArray[np.int64]:
        codes = self._samples.setdefault(dataset, _Codes(WHOLE))
        index = np.fromiter((codes.of(s) for s in samples), np.int64, len(samples))
        held.fit(len(codes))
        return index
