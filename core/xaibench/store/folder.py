"""The folder of a run: its lock, its units, commits of results, and reading of tables."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from xaibench.api import StoreError, commit_file, stage_table, stage_text, write_error

if TYPE_CHECKING:
    import pyarrow as pa

DATA_TABLES = ("predictions", "scores", "curves", "maps", "artefacts")
FOLDERS = (*DATA_TABLES, "units", "runs", "components")
_KEY = re.compile("[0-9a-f]{32}")


class RunFolder:
    """The folder of a run. Reading needs no lock; writing happens inside :meth:`writing`."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser()
        self.staging = self.path / ".staging"

    def exists(self) -> bool:
        """Whether the folder is a run: its ``run.toml`` has a record, which a run file of the user does not have."""
        try:
            return "record" in tomllib.loads((self.path / "run.toml").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False

    def _refuse_foreign(self) -> None:
        """Refuse a folder with other contents than a run, or than the remains of a run without a unit."""
        if self.exists() or not self.path.is_dir():
            return
        own_entries = {".lock", ".staging"}
        for entry in sorted(self.path.iterdir()):
            empty = entry.name in FOLDERS and entry.is_dir() and not any(entry.iterdir())
            if entry.name not in own_entries and not empty:
                raise StoreError(
                    f"{self.path} is no run and holds {entry.name}", "give a new or empty folder with --out"
                )

    # ---- writing ----

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the lock of the folder. Another writer is refused with the name of this process.

        The folders are made, the staging folder is emptied, and files of units that were not committed are removed.
        """
        try:
            self._refuse_foreign()
            self.staging.mkdir(parents=True, exist_ok=True)
            lock = open(self.path / ".lock", "a+", encoding="utf-8")  # noqa: SIM115
        except OSError as error:
            raise StoreError(
                f"cannot write to {self.path}: {error.strerror}", "choose another folder with --out"
            ) from error
        with lock:
            self._acquire(lock)
            try:
                self._prepare()
                yield
            finally:
                with suppress(OSError):
                    lock.truncate(0)

    def _acquire(self, lock: IO[str]) -> None:
        try:
            _lock(lock)
        except OSError:
            lock.seek(0)
            holder = lock.read().strip() or "another process"
            raise StoreError(
                f"{self.path} is being written by {holder}", "wait for it, or give this run another --out"
            ) from None
        try:
            lock.truncate(0)
            lock.write(f"process {os.getpid()}")
            lock.flush()
        except OSError as error:
            raise write_error(self.path, error) from error

    def _prepare(self) -> None:
        try:
            for name in FOLDERS:
                (self.path / name).mkdir(exist_ok=True)
            for leftover in self.staging.iterdir():
                leftover.unlink()
        except OSError as error:
            raise write_error(self.path, error) from error
        finished = self.done()
        for table in DATA_TABLES:
            for file in (self.path / table).glob("*.parquet"):
                if file.stem not in finished and _KEY.fullmatch(file.stem):
                    file.unlink()

    def add_unit(self, key: str, unit: pa.Table, tables: dict[str, pa.Table], staged: dict[str, str]) -> None:
        """Commit a unit: its tables first, its row in ``units`` last. Where there is a row, all tables are complete.

        ``tables`` are written here; ``staged`` are paths of files that were written to the staging folder.
        """
        files = [(stage_table(table, self.staging, key), self.file(name, key)) for name, table in tables.items()]
        files += [(Path(path), self.file(name, key)) for name, path in staged.items()]
        files.append((stage_table(unit, self.staging, key), self.file("units", key)))
        # The files of an earlier attempt are removed first, its row before its tables: a process that is killed leaves
        # no row without its tables, and no tables of two attempts.
        for name in ("units", *DATA_TABLES):
            self.file(name, key).unlink(missing_ok=True)
        for source, final in files:
            commit_file(source, final)

    def add_table(self, table: str, name: str, rows: pa.Table) -> None:
        """Commit a file ``NAME`` of a table that belongs to no unit (``runs``, ``components``)."""
        commit_file(stage_table(rows, self.staging, name), self.file(table, name))

    def write_text(self, name: str, text: str) -> None:
        """Write a text file in the folder, atomically."""
        commit_file(stage_text(text, self.staging, name), self.path / name)

    def supersede(self, keys: Iterable[str]) -> None:
        """Move the files of these units to ``superseded/``, the row in ``units`` first: a row implies its tables."""
        for key in keys:
            for table in ("units", *DATA_TABLES):
                file = self.file(table, key)
                if file.exists():
                    target = self.path / "superseded" / table
                    target.mkdir(parents=True, exist_ok=True)
                    commit_file(file, target / file.name)

    # ---- reading ----

    def file(self, table: str, key: str) -> Path:
        """The path of a unit's file of a table, whether it exists or not."""
        return self.path / table / f"{key}.parquet"

    def done(self) -> set[str]:
        """Keys of the units that have a row, of any status."""
        folder = self.path / "units"
        return {f.stem for f in folder.glob("*.parquet")} if folder.is_dir() else set()

    def failed(self) -> set[str]:
        """Keys of the units whose last attempt failed."""
        units = self.table("units", columns=["unit", "status"])
        return {u for u, s in zip(*units.to_pydict().values(), strict=True) if s == "failed"}

    def attempts(self, key: str) -> int:
        """The number of attempts at a unit."""
        import pyarrow.parquet as pq

        file = self.file("units", key)
        return int(pq.read_table(file, columns=["attempts"])["attempts"][0].as_py()) if file.exists() else 0

    def table(self, name: str, columns: list[str] | None = None, keys: Iterable[str] | None = None) -> pa.Table:
        """All rows of a table, or those of some units, in the order of the file names."""
        import pyarrow as pa

        from xaibench.store.schema import TABLES

        schema = TABLES[name]
        folder = self.path / name
        files = sorted(folder.glob("*.parquet")) if folder.is_dir() else []
        if keys is not None:
            key_set = set(keys)
            files = [f for f in files if f.stem in key_set]
        self._check_version(files[:1])
        parts = [_read(f, columns, None if columns else schema) for f in files]
        if not parts:
            return schema.empty_table() if columns is None else schema.empty_table().select(columns)
        return pa.concat_tables([p.replace_schema_metadata(None) for p in parts])

    def _check_version(self, files: list[Path]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        from xaibench.store.schema import SCHEMA_VERSION

        for file in files:
            try:
                text = (pq.read_schema(file).metadata or {}).get(b"xaibench.schema", b"").decode()
            except (OSError, pa.ArrowInvalid) as error:
                raise broken(file, error) from error
            version = int(text.partition("/")[2] or 0)
            if version > SCHEMA_VERSION:
                raise StoreError(
                    f"{file} was written by a newer xaibench (schema {version}, this one reads {SCHEMA_VERSION})",
                    "update xaibench",
                )

    def run_file(self) -> dict[str, Any]:
        """The contents of ``run.toml``. Raises :class:`StoreError` where the folder is no run."""
        try:
            return tomllib.loads((self.path / "run.toml").read_text(encoding="utf-8"))
        except OSError:
            raise StoreError(f"{self.path} is no run: it holds no run.toml", "give the folder of a run") from None
        except ValueError as error:  # no TOML, or no text at all
            raise StoreError(
                f"{self.path / 'run.toml'} is broken: {error}", "restore it, or use another --out"
            ) from None


def _read(file: Path, columns: list[str] | None, schema: pa.Schema | None) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(file, columns=columns, schema=schema)
    except (OSError, pa.ArrowInvalid) as error:
        raise broken(file, error) from error


def broken(file: Path, error: Exception) -> StoreError:
    """The error for a file of the store that cannot be read."""
    return StoreError(
        f"{file} cannot be read: {' '.join(str(error).split())[:120]}",
        f"delete units/{file.name} in that folder and give the same command again: the unit is made anew",
    )


def _lock(file: IO[str]) -> None:
    """Acquire an exclusive lock, which the system releases when the process ends, also where it is killed."""
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        return
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
