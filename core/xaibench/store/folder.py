"""The folder of a run: what it holds, who may write to it, and reading of tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xaibench.api import StoreError, name_delay, parse_toml
from xaibench.store.commits import DATA_TABLES, MOST_COMMITS, PLAN_TABLES, CommitLog, is_ours
from xaibench.store.files import location_of, open_files
from xaibench.store.merging import repair
from xaibench.store.snapshot import Snapshot
from xaibench.store.table_paths import restore_values

if TYPE_CHECKING:
    import pyarrow as pa

RUN_FILE = "run.toml"
RECORD = "record"  # the table that a run adds to its run file, the last one in it
LOG_FILE = "log.txt"
_TABLES = ("commits", *DATA_TABLES, *PLAN_TABLES)
_LOOKS = 5


class RunFolder:
    """The folder of a run, a local path or an fsspec URL. Reading needs no lock; writing happens in :meth:`writing`."""

    def __init__(self, path: str | Path, name: str = "") -> None:
        """``name`` is how messages call the folder; by default as the path does."""
        self.path = location_of(path)
        self.name = name or str(self.path)
        self.files = open_files(self.path)
        self._snapshot: tuple[dict[str, int], Snapshot] | None = None

    def exists(self) -> bool:
        """Whether the folder is a run: it holds a commit. A run of an older layout is refused."""
        if self.files.sizes("commits"):
            return True
        if "units" in self.files.entries():
            raise StoreError(
                f"{self.name} is a run of an older layout, which this xaibench does not read",
                "evaluate again with another --out, or read it with the version that wrote it",
            )
        return False

    # ---- writing ----

    @contextmanager
    def writing(self, say_damage: Callable[[CommitLog], None] = lambda log: None) -> Iterator[CommitLog]:
        """Hold the lock of the folder and give its commits.

        Another writer is refused with the name of its process. Every file is compared with its digest. What a killed
        process left is removed, and of a commit with a damaged file what is left of it is kept. ``say_damage`` is
        called before, since nothing tells of the damage afterwards.
        """
        self._refuse_foreign()
        with self.files.lock():
            self.exists()
            with name_delay(f"comparing the files of {self.path} with their digests"):
                log = CommitLog.read(self.files, verify=True, last=self._last_commit())
            say_damage(log)
            log.remove_orphans()
            repair(log)
            yield log

    def _refuse_foreign(self) -> None:
        """Refuse a folder with other contents than a run."""
        if self.exists():
            return
        entries = self.files.entries()
        # A process that was killed before its first commit leaves tables of ours, and so does a run whose commits are
        # all lost.
        tables = {e: self.files.sizes(e) for e in entries if e in _TABLES}
        ours = {t for t, files in tables.items() if all(map(is_ours, files))} | {".lock", ".staging"}
        ours |= {RUN_FILE, LOG_FILE} if any(tables.values()) else set()
        foreign = [e for e in entries if e not in ours]
        if foreign:
            raise StoreError(f"{self.path} is no run and holds {foreign[0]}", "give a new or empty folder with --out")

    # ---- reading ----

    def snapshot(self, *, verify: bool = False) -> Snapshot:
        """The present state of the run. Raises :class:`StoreError` where the folder is no run."""
        if not self.exists():
            # the folder of a path alone: an object store has none, only what lies below it
            gone = isinstance(self.path, Path) and not self.path.exists()
            what = "does not exist" if gone else "is no run: it holds no commits"
            raise StoreError(f"{self.name} {what}", "give the folder of a run")
        now = self.files.sizes("commits")
        if self._snapshot is None or verify or self._snapshot[0] != now:
            with name_delay(f"reading {self.name}"):
                self._snapshot = self._look(verify)
        return self._snapshot[1]

    def _look(self, verify: bool) -> tuple[dict[str, int], Snapshot]:
        """The commits that are there and the state of the run. Looks again where a writer merges files meanwhile."""
        for left in reversed(range(_LOOKS)):
            now = self.files.sizes("commits")
            try:
                log = CommitLog.read(self.files, verify=verify, last=self._last_commit())
            except FileNotFoundError:
                if not left:
                    raise self._changes() from None
                continue
            if not log.damage or not left or self.files.sizes("commits") == now:
                break
        return now, Snapshot(log)

    def _last_commit(self) -> int:
        """The number of the last commit as ``run.toml`` knows it; 0 where the file is lost.

        Without it nothing would tell that the last commit, which no other names, is lost.
        """
        try:
            number = parse_toml(self.files.read(RUN_FILE).decode("utf-8"))["record"]["commit"]
        except (OSError, ValueError, KeyError, TypeError):
            return 0
        return number if isinstance(number, int) and 0 < number <= MOST_COMMITS else 0

    def _changes(self) -> StoreError:
        return StoreError(f"{self.name} is gone or changes", "give the same command again")

    def table(
        self, name: str, columns: Sequence[str] | None = None, where: Mapping[str, Sequence[str]] | None = None
    ) -> pa.Table:
        """The rows of a table that the last plan asks for, in the order of the commits; ``where`` as for
        :meth:`Snapshot.table <xaibench.store.snapshot.Snapshot.table>`.

        Raises :class:`StoreError` where a file of any table is missing, cut short or damaged.
        """
        for again in (False, True):
            try:
                snapshot = self.snapshot()
                if again or not snapshot.log.damage:  # a file may vanish while a writer merges: look once more
                    snapshot.refuse_damage()
                    with name_delay(f"reading {name} of {self.name}"):
                        return snapshot.table(name, columns, where)
            except FileNotFoundError:
                if again:
                    raise self._changes() from None
            self._snapshot = None
        raise AssertionError("unreachable")

    def run_file(self) -> dict[str, Any]:
        """The settings of the last plan with the keys of a run file, from ``run.toml`` or, where it is lost, the table
        ``runs``. Raises :class:`StoreError` where the folder is no run."""
        snapshot = self.snapshot()
        try:
            contents = parse_toml(self.files.read(RUN_FILE).decode("utf-8"))
            if RECORD not in contents:  # it comes last: the file was cut where its beginning is valid
                raise ValueError(f"no table {RECORD}")
            return contents
        except (OSError, ValueError):
            rebuilt: dict[str, Any] = restore_values(snapshot.plan["run_file"], {})
            return rebuilt
