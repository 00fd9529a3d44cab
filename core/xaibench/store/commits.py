"""The commits of a run: what was done, in which files, and whether the files are there.

A commit is the result of a task: one Parquet file a table, written first, and the file of ``commits``, written last.
What is done is read from the files of ``commits`` alone. The name of such a file holds its number and the digest of its
contents; its metadata name the data files with their digests.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from xaibench.api import Passes, StoreError
from xaibench.store.files import Files
from xaibench.store.ledger import Ledger
from xaibench.store.relation import Address
from xaibench.store.table_paths import shorten, shorten_column

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

DATA_TABLES: Final = ("predictions", "scores", "curves", "maps", "artefacts", "detectors")
PLAN_TABLES: Final = ("samples", "runs", "components")
TABLES_OF: Final[Mapping[str, tuple[str, ...]]] = {
    "predict": ("predictions",), "artefact": ("artefacts",), "explain": ("maps",),
    "score": ("scores", "curves"), "set": ("scores", "curves"), "model": ("scores", "curves"),
    "structure": ("detectors",), "accuracy": ("detectors",), "card": ("detectors",),
}  # fmt: skip
"""The tables that hold the rows of each kind of cell."""

_LARGEST = 128 * 2**20  # bytes of a data file; the last rows may go beyond it, which keeps it under 256 MB
_ROW_GROUP = 4096
_READ_GROUPS = 8
_SLICE = 32 * 2**20  # bytes of rows that are written at once
_COMMIT = re.compile(r"([0-9]{8})-([0-9a-f]{16})\.parquet")
_METADATA = b"xaibench.commit"
MOST_COMMITS: Final = 10**6
"""A larger number is no commit's: it would be that of a run of years, a commit a minute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CellRows:
    """What a commit holds of one cell: which samples, with which status, and what they cost.

    ``samples`` is ``("",)`` for a value of the whole cell. ``digests`` are the 64-bit digests of the samples.
    ``statuses`` holds the status of each sample; where a sample has several rows of different status, all of them with
    a space between. ``kept`` is False for maps that are not in the store. ``error`` and ``trace`` are those of the
    first exception, ``reason`` says how much failed and why.
    """

    address: Address
    key: str
    samples: tuple[str, ...]
    statuses: tuple[str, ...]
    digests: tuple[int, ...] = ()
    kept: bool = True
    attempts: int = 1
    seconds: float = 0.0
    passes: Passes = Passes()
    device: str = "cpu"
    peak_memory: int = 0
    reason: str = ""
    error: str = ""
    trace: str = ""

    @property
    def failed(self) -> int:
        """The number of samples that failed, at least in part."""
        return sum("failed" in s for s in self.statuses)

    def at(self, samples: Container[str]) -> CellRows:
        """What it holds of some of its samples, with the cost of all."""
        places = [i for i, sample in enumerate(self.samples) if sample in samples]
        if len(places) == len(self.samples):
            return self
        return replace(
            self,
            samples=tuple(self.samples[i] for i in places),
            statuses=tuple(self.statuses[i] for i in places),
            digests=tuple(self.digests[i] for i in places),
        )

    def to_row(self, commit: int) -> dict[str, Any]:
        return {
            "commit": commit,
            "cell": self.key,
            **self.address._asdict(),
            "samples": self.samples,
            "digests": self.digests,
            "statuses": self.statuses,
            "done": len(self.samples),
            "failed": self.failed,
            "kept": self.kept,
            "attempts": self.attempts,
            "seconds": self.seconds,
            "forward": self.passes.forward,
            "backward": self.passes.backward,
            "device": self.device,
            "peak_memory": self.peak_memory,
            "reason": shorten(self.reason) or None,
            "error": shorten(self.error) or None,
            "trace": shorten(self.trace) or None,
        }

    @staticmethod
    def from_row(row: Mapping[str, Any]) -> CellRows:
        return CellRows(
            address=Address(*(row[name] for name in Address._fields)),
            key=row["cell"],
            samples=tuple(row["samples"]),
            digests=tuple(row["digests"]),
            statuses=tuple(row["statuses"]),
            kept=row["kept"],
            attempts=row["attempts"],
            seconds=row["seconds"],
            passes=Passes(row["forward"], row["backward"]),
            device=row["device"],
            peak_memory=row["peak_memory"],
            reason=row["reason"] or "",
            error=row["error"] or "",
            trace=row["trace"] or "",
        )


@dataclass(frozen=True, slots=True)
class DataFile:
    """A file of a table: its name in the folder, size in bytes, number of rows and sha256."""

    table: str
    name: str
    size: int
    rows: int
    digest: str


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit. ``level`` counts how often its rows were rewritten; ``replaces`` are the commits that it took over.

    ``total`` is the number of its rows of cells and samples.
    """

    number: int
    name: str
    level: int
    replaces: tuple[int, ...]
    files: tuple[DataFile, ...]
    total: int

    def of(self, table: str) -> tuple[DataFile, ...]:
        return tuple(f for f in self.files if f.table == table)


@dataclass(slots=True)
class CommitLog:
    """The commits of a folder. ``damage`` says which files are missing or damaged, and in what way."""

    files: Files
    commits: dict[int, Commit] = field(default_factory=dict)
    ledger: Ledger = field(default_factory=Ledger)
    damage: dict[str, str] = field(default_factory=dict)
    lost: tuple[int, ...] = ()
    """Numbers of commits whose file is missing or damaged."""

    @staticmethod
    def read(files: Files, *, verify: bool = False, last: int = 0) -> CommitLog:
        """Read the commits of a folder and look whether their files are there, in full length.

        ``verify`` compares their digests, too. ``last`` is the number of a commit that is known to have been written.
        """
        log = CommitLog(files)
        tables = dict(log._read_commits())
        # After the commits: what they name was there when they were read, unless a writer has merged it since.
        sizes = {t: files.sizes(t) for t in (*DATA_TABLES, *PLAN_TABLES)}
        replaced = {n for c in log.commits.values() for n in c.replaces}
        # What is replaced is as good as gone, also where it is damaged.
        log.damage = {n: what for n, what in log.damage.items() if int(n[8:16]) not in replaced}
        for number in sorted(log.commits):
            if number in replaced:
                del log.commits[number]
                continue
            commit, bad = log.commits[number], set[str]()
            for file in commit.files:
                if what := log._wrong(file, sizes[file.table], verify):
                    log.damage[f"{file.table}/{file.name}"] = what
                    bad.add(file.table)
            log._enter(commit.number, tables[number], bad)
        known = set(log.commits) | replaced
        log.lost = tuple(n for n in range(1, max({last, *known}) + 1) if n not in known)
        log._name_lost()
        return log

    def _name_lost(self) -> None:
        """Name the lost commits. Of successive numbers the last is named: it may have replaced those before it."""
        lost, named = set(self.lost), {name[:16] for name in self.damage}
        for number in reversed(self.lost):
            if number + 1 not in lost and f"commits/{number:08d}" not in named:
                self.damage[f"commits/{number:08d}-*.parquet"] = "missing"

    def _read_commits(self) -> Iterator[tuple[int, pa.Table]]:
        for name in sorted(self.files.sizes("commits")):
            matched = _COMMIT.fullmatch(name)
            if not matched:
                continue
            data = self.files.read(f"commits/{name}")
            if hashlib.sha256(data).hexdigest()[:16] != matched[2]:
                self.damage[f"commits/{name}"] = "damaged"
                continue
            try:
                commit, table = _commit(f"{self.files.location}/commits/{name}", name, int(matched[1]), data)
            except _NotACommit:
                self.damage[f"commits/{name}"] = "damaged"
                continue
            self.commits[commit.number] = commit
            yield commit.number, table

    def _wrong(self, file: DataFile, sizes: Mapping[str, int], verify: bool) -> str:
        if file.name not in sizes:
            return "missing"
        if sizes[file.name] != file.size:
            return f"{sizes[file.name]} of {file.size} bytes"
        if verify and self.files.digest(f"{file.table}/{file.name}") != file.digest:
            return "damaged"
        return ""

    def _enter(self, number: int, rows: pa.Table, bad: set[str]) -> None:
        """Enter the cells of a commit in the ledger, without those whose table is missing or damaged."""
        for row in rows.to_pylist():
            cell = CellRows.from_row(row)
            if not bad.isdisjoint(TABLES_OF[cell.address.kind]):
                continue
            self._enter_cell(number, cell)

    def _enter_cell(self, number: int, cell: CellRows) -> None:
        self.ledger.add(
            number, cell.address, cell.key, cell.samples, cell.digests, cell.statuses, cell.kept, cell.attempts
        )

    # ---- writing ----

    @property
    def next_number(self) -> int:
        return max((*self.commits, *self.lost), default=0) + 1  # what a commit replaces has smaller numbers

    def add(
        self,
        tables: Mapping[str, Iterable[pa.Table]],
        cells: Sequence[CellRows],
        *,
        level: int = 0,
        replaces: Sequence[int] = (),
        adopted: Sequence[DataFile] = (),
        supersede: bool = True,
    ) -> Commit:
        """Write a commit: its data files first, the file of ``commits`` last.

        ``tables`` are the rows by table, piece by piece. ``adopted`` are files of the replaced commits that stay as
        they are. ``supersede`` is False where the cells are in the ledger already. Raises :class:`StoreError`.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        from xaibench.store.schema import COMMITS

        number = self.next_number
        # What was replaced before stays replaced: a number that nobody names is that of a lost commit.
        before = [n for r in replaces if r in self.commits for n in self.commits[r].replaces]
        replaces = sorted({*replaces, *before})
        files = [*adopted, *(f for t, pieces in tables.items() for f in self._write(t, number, pieces))]
        header = {"level": level, "replaces": list(replaces), "files": [asdict(f) for f in files]}
        schema = COMMITS.with_metadata({**(COMMITS.metadata or {}), _METADATA: json.dumps(header).encode()})
        rows = pa.Table.from_pylist([c.to_row(number) for c in cells], schema=schema)
        sink = io.BytesIO()
        pq.write_table(rows, sink, compression="zstd")
        data = sink.getvalue()
        name = f"{number:08d}-{hashlib.sha256(data).hexdigest()[:16]}.parquet"
        self.files.write(f"commits/{name}", data)
        total = sum(len(c.samples) for c in cells)
        commit = Commit(number, name, level, tuple(replaces), tuple(files), total)
        self.commits[number] = commit
        for cell in cells:
            if supersede:
                self._enter_cell(number, cell)
            else:
                self.ledger.move(cell.address, cell.samples, number)
        self._drop(replaces, {(f.table, f.name) for f in adopted})
        return commit

    def _drop(self, numbers: Sequence[int], adopted: set[tuple[str, str]]) -> None:
        for number in numbers:
            commit = self.commits.pop(number, None)
            if commit is None:
                continue
            self.files.remove(f"commits/{commit.name}")
            for file in commit.files:
                if (file.table, file.name) not in adopted:
                    self.files.remove(f"{file.table}/{file.name}")
        self.lost = tuple(n for n in self.lost if n not in numbers)

    def _write(self, table: str, number: int, pieces: Iterable[pa.Table]) -> Iterator[DataFile]:
        """Write the rows of a table into as few files as their size allows. ``unit`` becomes the name of the file."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        sink, writer, rows, part = io.BytesIO(), None, 0, 0

        def stem() -> str:
            return f"{number:08d}" if part == 0 else f"{number:08d}-{part}"

        for piece in _slices(pieces):
            if "unit" in piece.schema.names:
                at = piece.schema.get_field_index("unit")
                units = pa.array([stem()] * len(piece), pa.string())
                piece = piece.set_column(at, piece.schema.field(at), units)
            if "reason" in piece.schema.names:
                at = piece.schema.get_field_index("reason")
                piece = piece.set_column(at, piece.schema.field(at), shorten_column(piece.column(at)))
            if writer is None:
                writer = pq.ParquetWriter(sink, piece.schema, compression="zstd")
            writer.write_table(piece, row_group_size=_ROW_GROUP)
            rows += len(piece)
            if sink.tell() >= _LARGEST:
                writer.close()
                yield self._finish(table, stem(), sink, rows)
                sink, writer, rows, part = io.BytesIO(), None, 0, part + 1
        if writer is not None:
            writer.close()
            yield self._finish(table, stem(), sink, rows)

    def _finish(self, table: str, stem: str, sink: io.BytesIO, rows: int) -> DataFile:
        data = sink.getvalue()
        name = f"{stem}.parquet"
        self.files.write(f"{table}/{name}", data)
        return DataFile(table, name, len(data), rows, hashlib.sha256(data).hexdigest())

    def remove_orphans(self) -> None:
        """Remove files that no commit names: what a process wrote that was killed, and commits that are replaced."""
        used = {(f.table, f.name) for c in self.commits.values() for f in c.files}
        used |= {("commits", c.name) for c in self.commits.values()}
        for table in (*DATA_TABLES, *PLAN_TABLES, "commits"):
            for name in self.files.sizes(table):
                if (table, name) not in used and is_ours(name):
                    self.files.remove(f"{table}/{name}")

    # ---- reading ----

    def rows_of(self, commit: Commit) -> list[CellRows]:
        """The cells of a commit, from its file."""
        name = f"commits/{commit.name}"
        _, table = _commit(f"{self.files.location}/{name}", commit.name, commit.number, self.files.read(name))
        return [CellRows.from_row(row) for row in table.to_pylist()]

    def read_file(
        self, file: DataFile, columns: Sequence[str] | None = None, where: Mapping[str, Sequence[str]] | None = None
    ) -> pa.Table:
        """The rows of a data file. Raises :class:`StoreError` for a damaged one, ``FileNotFoundError`` for none.

        ``where``: texts of columns that are wanted; row groups without any of them are not decoded, others are whole.
        """
        import pyarrow as pa

        from xaibench.store.schema import TABLES

        data, schema = self._verified(file), TABLES[file.table]
        try:
            rows = _parse(data, columns, where)
        except (pa.ArrowException, OSError):
            rows = pa.table({})
        present = {f.name: f.type for f in rows.schema}
        # Only who writes both files anew gets here: the digest of this one is the commit's.
        if any(
            present.get(name) != schema.field(name).type for name in columns or schema.names if name in schema.names
        ):
            raise damaged(self.files.location, {f"{file.table}/{file.name}": "damaged"})
        return rows

    def pieces_of(self, file: DataFile) -> Iterator[pa.Table]:
        """The rows of a data file, as many at a time as take little memory. Raises as :meth:`read_file` does."""
        # A file of curves takes about five times its size in memory.
        parquet = _open(self._verified(file))
        for start in range(0, parquet.num_row_groups, _READ_GROUPS):
            groups = range(start, min(start + _READ_GROUPS, parquet.num_row_groups))
            yield parquet.read_row_groups(groups, use_threads=False)

    def _verified(self, file: DataFile) -> bytes:
        data = self.files.read(f"{file.table}/{file.name}")
        if hashlib.sha256(data).hexdigest() != file.digest:
            raise damaged(self.files.location, {f"{file.table}/{file.name}": "damaged"})
        return data


def _open(data: bytes) -> pq.ParquetFile:
    import pyarrow as pa
    import pyarrow.parquet as pq

    # No threads of Arrow: a process that ended with an error just after a read was aborted by them at its exit.
    return pq.ParquetFile(pa.BufferReader(data), pre_buffer=False)


def _parse(
    data: bytes, columns: Sequence[str] | None = None, where: Mapping[str, Sequence[str]] | None = None
) -> pa.Table:
    """The rows of a Parquet file, or of its row groups that hold a row that is wanted."""
    # Not pq.read_table: it imports pyarrow.dataset, and that imports pandas.
    parquet, names = _open(data), None if columns is None else list(columns)
    if not where or not set(where) <= set(parquet.schema_arrow.names):
        return parquet.read(columns=names, use_threads=False)
    groups = [g for g in range(parquet.num_row_groups) if _holds(parquet, g, where)]
    return parquet.read_row_groups(groups, columns=names, use_threads=False)


def _holds(parquet: pq.ParquetFile, group: int, where: Mapping[str, Sequence[str]]) -> bool:
    """Whether a row group has each column's texts somewhere among its rows."""
    import pyarrow as pa
    import pyarrow.compute as pc

    rows = parquet.read_row_group(group, columns=list(where), use_threads=False)
    return all(
        pc.any(pc.is_in(rows[name], pa.array(list(values), pa.string()))).as_py() for name, values in where.items()
    )


class _NotACommit(Exception):
    """A file that is called like one of ``commits`` and holds something else."""


def _commit(file: str, name: str, number: int, data: bytes) -> tuple[Commit, pa.Table]:
    """A commit and the rows of its cells. Raises :class:`_NotACommit`, and :class:`StoreError` for a newer version."""
    import pyarrow as pa

    from xaibench.store.schema import COMMITS

    try:
        table = _parse(data)
        metadata = table.schema.metadata or {}
        _check_version(file, metadata.get(b"xaibench.schema", b"").decode())
        commit = _header(json.loads(metadata[_METADATA]), name, number, table)
        # The cast refuses other types, and nulls where there can be none.
        rows = table.select(COMMITS.names).cast(COMMITS.remove_metadata())
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise _NotACommit from error
    for kind, commits, *lists in zip(*(rows[n].to_pylist() for n in _CHECKED), strict=True):
        if kind not in TABLES_OF or commits != number or len({len(x) for x in lists}) > 1:
            raise _NotACommit
    return commit, rows


_CHECKED = ("kind", "commit", "samples", "digests", "statuses")


def _header(header: Mapping[str, Any], name: str, number: int, table: pa.Table) -> Commit:
    """A commit from the metadata of its file. Raises what wrong ones lead to, or :class:`_NotACommit`."""
    level, replaces = header["level"], tuple(header["replaces"])
    files = tuple(DataFile(**f) for f in header["files"])
    sound = isinstance(level, int) and 0 < number <= MOST_COMMITS
    sound = sound and all(isinstance(n, int) and 0 < n < number for n in replaces)
    for f in files:
        sound = sound and f.table in (*DATA_TABLES, *PLAN_TABLES) and is_ours(f.name) and isinstance(f.digest, str)
        sound = sound and all(isinstance(n, int) and 0 <= n < 2**63 for n in (f.size, f.rows))
    if not sound:
        raise _NotACommit
    return Commit(number, name, level, replaces, files, sum(table["done"].to_pylist()))


def _check_version(file: str, schema: str) -> None:
    from xaibench.store.schema import SCHEMA_VERSION

    version = int(schema.partition("/")[2] or 0)
    if version > SCHEMA_VERSION:
        raise StoreError(
            f"{file} was written by a newer xaibench (schema {version}, this one reads {SCHEMA_VERSION})",
            "update xaibench",
        )


def _slices(pieces: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The pieces in slices of at most 4096 rows and about 32 MB, so that a file ends soon after it is large."""
    for piece in pieces:
        rows = min(_ROW_GROUP, max(1, _SLICE * len(piece) // max(piece.nbytes, 1)))
        for start in range(0, len(piece), rows):
            yield piece.slice(start, rows)


def is_ours(name: str) -> bool:
    """Whether a file may be one that a run wrote, by its name."""
    return bool(re.fullmatch(r"[0-9]{8}(-[0-9a-f]+)?\.parquet", name))


def damaged(location: object, damage: Mapping[str, str]) -> StoreError:
    """The error for files that are missing or damaged."""
    first, what = next(iter(damage.items()))
    more = f" and {len(damage) - 1} more" if len(damage) > 1 else ""
    return StoreError(
        f"{location}/{first} is {what if what in ('missing', 'damaged') else f'cut short: {what}'}{more}",
        f"give the same command again, or 'xaibench eval {location}/run.toml': its work is done again",
    )
