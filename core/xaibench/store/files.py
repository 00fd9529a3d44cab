"""The files below one folder, which is a local path or an fsspec URL. A file is whole under its name or not there."""

from __future__ import annotations

import hashlib
import io
import os
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from xaibench.api import RemotePath, StoreError, location, sync_folder, write_error
from xaibench.api.store_answers import store_answers
from xaibench.store.lease import Lease

Location = Path | str
"""A local path, or an fsspec URL such as ``s3://bucket/run``."""


def location_of(path: str | Path) -> Location:
    """The location that a path or URL names; ``file://`` URLs are local paths. Raises :class:`PlanError` for a protocol
    that is not known, and for one whose package is not installed."""
    text = str(path)
    place = location(text)
    return place.expanduser() if isinstance(place, Path) else text.rstrip("/")


def open_files(location: Location) -> Files:
    """The files below a location."""
    return LocalFiles(location) if isinstance(location, Path) else RemoteFiles(location)


class Files(ABC):
    """The files below a folder. A name is relative to it, with forward slashes."""

    location: Location

    @abstractmethod
    def read(self, name: str) -> bytes:
        """The contents of a file. Raises ``FileNotFoundError``."""

    @abstractmethod
    def write(self, name: str, data: bytes) -> None:
        """Write a file at once: a process that is killed leaves the old file or the new one. Raises StoreError."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""

    @abstractmethod
    def sizes(self, folder: str) -> dict[str, int]:
        """Size in bytes of every file in a folder by name; empty where there is no such folder.

        Raises :class:`StoreError` where the folder cannot be read.
        """

    @abstractmethod
    def entries(self) -> list[str]:
        """Names of what lies in the folder itself, sorted; empty where it does not exist."""

    @abstractmethod
    def open(self, name: str) -> Any:
        """A seekable binary file for reading. Raises ``FileNotFoundError``."""

    @abstractmethod
    def lock(self) -> Any:
        """A context in which no other process writes here. Raises :class:`StoreError` with the name of another."""

    def digest(self, name: str) -> str:
        """sha256 (hex) of a file. Raises ``FileNotFoundError``."""
        with self.open(name) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


class LocalFiles(Files):
    """Files on this machine: written aside, fsynced and renamed."""

    def __init__(self, path: Path) -> None:
        self.location: Path = path
        self._staging = path / ".staging"

    def read(self, name: str) -> bytes:
        with self.open(name) as file:
            data: bytes = file.read()
        return data

    def write(self, name: str, data: bytes) -> None:
        final, aside = self.location / name, self._staging / uuid.uuid4().hex
        try:
            self._staging.mkdir(parents=True, exist_ok=True)
            final.parent.mkdir(exist_ok=True)
            with aside.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(final)
            sync_folder(final.parent)
        except OSError as error:
            with suppress(OSError):
                aside.unlink(missing_ok=True)
            raise write_error(final, error) from error

    def remove(self, name: str) -> None:
        (self.location / name).unlink(missing_ok=True)

    def sizes(self, folder: str) -> dict[str, int]:
        found = {}
        try:
            with os.scandir(self.location / folder) as entries:
                for entry in entries:
                    with suppress(FileNotFoundError):  # merged away since it was listed
                        if entry.is_file():
                            found[entry.name] = entry.stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except OSError as error:  # no answer is not the answer that nothing is there
            raise _unreadable(self.location / folder, error) from error
        return found

    def entries(self) -> list[str]:
        return sorted(p.name for p in self.location.iterdir()) if self.location.is_dir() else []

    def open(self, name: str) -> Any:
        try:
            return (self.location / name).open("rb")
        except PermissionError as error:
            raise _unreadable(self.location / name, error) from error

    @contextmanager
    def lock(self) -> Iterator[None]:
        try:
            self.location.mkdir(parents=True, exist_ok=True)
            file = (self.location / ".lock").open("a+", encoding="utf-8")
        except OSError as error:
            raise StoreError(
                f"cannot write to {self.location}: {error.strerror}", "choose another folder with --out"
            ) from error
        with file:
            try:
                _lock(file)
            except OSError:
                file.seek(0)
                raise _is_written(self.location, file.read().strip()) from None
            try:
                file.truncate(0)
                file.write(f"process {os.getpid()}")
                file.flush()
                self._staging.mkdir(exist_ok=True)
                for leftover in self._staging.iterdir():
                    leftover.unlink()
            except OSError as error:
                raise write_error(self.location, error) from error
            try:
                yield
            finally:
                with suppress(OSError):
                    file.truncate(0)


class RemoteFiles(Files):
    """Files behind an fsspec URL, whose file system puts a file at once. The lock is a :class:`Lease`."""

    def __init__(self, url: str) -> None:
        self.location: str = url
        place = location(url)
        assert isinstance(place, RemotePath)
        self._fs, self._root = place.fs, place.path.rstrip("/")
        self._has_folders = not place.in_object_store
        self._lease: Lease | None = None

    def read(self, name: str) -> bytes:
        with store_answers(f"{self.location}/{name}"):
            return bytes(self._fs.cat_file(self._path(name)))

    def write(self, name: str, data: bytes) -> None:
        if self._lease is not None and name.startswith("commits/"):
            self._lease.check()
        with store_answers(f"{self.location}/{name}", "written"):
            if self._has_folders:  # a store without any would make a bucket
                self._fs.makedirs(self._path(name).rpartition("/")[0], exist_ok=True)
            self._fs.pipe_file(self._path(name), data)

    def remove(self, name: str) -> None:
        with suppress(FileNotFoundError), store_answers(f"{self.location}/{name}"):
            self._fs.rm_file(self._path(name))

    def sizes(self, folder: str) -> dict[str, int]:
        return {str(e["name"]).rpartition("/")[2]: int(e["size"]) for e in self._list(folder) if e["type"] == "file"}

    def entries(self) -> list[str]:
        return sorted(str(e["name"]).rstrip("/").rpartition("/")[2] for e in self._list(""))

    def open(self, name: str) -> Any:
        if self.location.startswith("memory://"):  # all who open a file there share one position
            return io.BytesIO(self.read(name))
        with store_answers(f"{self.location}/{name}"):
            return self._fs.open(self._path(name), "rb")

    def digest(self, name: str) -> str:
        with store_answers(f"{self.location}/{name}"):  # the store is asked while the stream is read, too
            return super().digest(name)

    @contextmanager
    def lock(self) -> Iterator[None]:
        lease = Lease(self._fs, self._root, self.location)
        if self._has_folders:
            with store_answers(self.location, "written"):
                self._fs.makedirs(self._path(".lock"), exist_ok=True)
        try:
            lease.acquire()
            self._lease = lease
            yield
        finally:
            self._lease = None
            lease.release()

    def _list(self, folder: str) -> list[dict[str, Any]]:
        path = self._path(folder)
        self._fs.invalidate_cache(path)  # and nothing else: the listing of a data set may be remembered there
        with store_answers(f"{self.location}/{folder}".rstrip("/")):
            try:
                found: list[dict[str, Any]] = self._fs.ls(path, detail=True)
            except (FileNotFoundError, NotADirectoryError):
                return []
        return found

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root


def _unreadable(path: Path, error: OSError) -> StoreError:
    return StoreError(f"cannot read {path}: {error.strerror}", "make it readable, then give the same command again")


def _is_written(location: Location, holder: str) -> StoreError:
    return StoreError(
        f"{location} is being written by {holder or 'another process'}",
        "wait for it, or give this run another --out",
    )


def _lock(file: Any) -> None:
    """Acquire an exclusive lock, which the system releases when the process ends, also where it is killed."""
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        return
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
