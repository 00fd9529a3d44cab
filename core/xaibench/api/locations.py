"""Files and folders that are local, or lie in a file system of fsspec (``s3://bucket/faces``, ``memory://faces``).

A local one is a :class:`pathlib.Path`; another one is a :class:`RemotePath`, which has those methods of a path that
reading data needs. ``file://`` is local. Importing this module loads no fsspec.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import total_ordering
from os import PathLike
from pathlib import Path
from typing import IO, Any, TypeAlias

from xaibench.api.atomic_files import commit_file, stage_bytes, write_error
from xaibench.api.errors import PlanError
from xaibench.api.store_answers import mend_of_answer, store_answers, text_of_answer

_URL = re.compile(r"(?:[A-Za-z][\w+.-]*::)*[A-Za-z][\w+.-]*://")
_PARAMETERS = re.compile(r":(?=[A-Za-z_]\w*=)")
_OBJECT_STORES = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oss", "oci", "obs", "tos"}
_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs", "abfs": "azure", "abfss": "azure", "az": "azure"}
_TIMES_AND_DIGESTS = (
    "mtime", "created", "last_modified", "LastModified", "Last-Modified", "updated", "ETag", "etag", "VersionId",
    "md5Hash", "Content-MD5", "Digest", "content_settings", "generation", "CRC",
)  # fmt: skip


@total_ordering
@dataclass(frozen=True, slots=True, eq=False)
class RemotePath:
    """A file or folder ``path`` of the fsspec file system ``fs``. ``/`` leads down.

    A method that asks the file system raises ``OSError`` or :class:`PlanError`, which names the place, where that does
    not answer.
    """

    fs: Any
    path: str

    def __str__(self) -> str:
        return str(self.fs.unstrip_protocol(self.path))

    def __truediv__(self, name: str) -> RemotePath:
        return RemotePath(self.fs, "/".join(part for part in (self.path.rstrip("/"), name) if part))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemotePath) and (self.fs, self.path) == (other.fs, other.path)

    def __lt__(self, other: RemotePath) -> bool:
        return self.path < other.path

    def __hash__(self) -> int:
        return hash(self.path)

    @property
    def name(self) -> str:
        return self.path.rstrip("/").rpartition("/")[2]

    @property
    def suffix(self) -> str:
        return Path(self.name).suffix

    @property
    def stem(self) -> str:
        return Path(self.name).stem

    @property
    def parent(self) -> RemotePath:
        return RemotePath(self.fs, self.path.rstrip("/").rpartition("/")[0])

    @property
    def in_object_store(self) -> bool:
        """Whether its file system is an object store: it has no folders, and puts an object as a whole."""
        protocols = {self.fs.protocol} if isinstance(self.fs.protocol, str) else {*self.fs.protocol}
        return bool(protocols & _OBJECT_STORES)

    def resolve(self) -> RemotePath:
        return self

    def expanduser(self) -> RemotePath:
        return self

    def exists(self) -> bool:
        return self.info() is not None

    def is_file(self) -> bool:
        return (self.info() or {}).get("type") == "file"

    def is_dir(self) -> bool:
        return (self.info() or {}).get("type") == "directory"

    def info(self) -> dict[str, Any] | None:
        """What the file system tells of it; None where it does not exist."""
        try:
            return dict(self.fs.info(self.path))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except Exception as error:  # file systems raise what their clients raise
            raise _unanswered(self, error) from error

    def state(self) -> str | None:
        """Size, time and digests of the file, as far as its file system tells them; None where it tells no time and no
        digest. Raises ``OSError`` where the file does not exist."""
        info = self.info()
        if info is None:
            raise FileNotFoundError(str(self))
        times = self.times_in(info)
        return f"{info.get('size')} {times}" if times else None

    @staticmethod
    def times_in(info: Mapping[str, Any]) -> str:
        """The times and digests among what a file system tells of a file, as text; empty where there are none."""
        return " ".join(f"{key}={info[key]}" for key in _TIMES_AND_DIGESTS if info.get(key) is not None)

    def read_bytes(self) -> bytes:
        return self.content()

    def content(self, start: int | None = None, end: int | None = None) -> bytes:
        """The bytes of the file from ``start`` on, before ``end``."""
        try:
            return bytes(self.fs.cat_file(self.path, start=start, end=end))
        except OSError:
            raise
        except Exception as error:
            raise _unanswered(self, error) from error

    def read_text(self, encoding: str = "utf-8") -> str:
        return self.read_bytes().decode(encoding)

    def open(self, mode: str = "r", encoding: str | None = None, newline: str | None = None) -> IO[Any]:
        """A stream over the whole content, ``"r"`` or ``"rb"``."""
        stream = io.BytesIO(self.read_bytes())
        return stream if mode == "rb" else io.TextIOWrapper(stream, encoding=encoding, newline=newline)


Location: TypeAlias = Path | RemotePath


def is_url(text: str) -> bool:
    """Whether a text is an address with a protocol, such as ``s3://bucket/faces`` or ``zip://faces::s3://b/f.zip``."""
    return _URL.match(text) is not None


def location(place: str | PathLike[str] | RemotePath) -> Location:
    """The file or folder that a path or an address means. It need not exist. ``~`` is not expanded.

    What fsspec remembers of the listings of that file system is forgotten. Raises :class:`PlanError` for a protocol
    that is not known, and for one whose package is not installed.
    """
    if isinstance(place, RemotePath):
        return place
    text = os.fspath(place)
    if not isinstance(place, str) or not is_url(text):
        return Path(text)
    import fsspec

    protocol = text.partition(":")[0]
    try:
        fs, path = fsspec.core.url_to_fs(text)
        if isinstance(fs, fsspec.get_filesystem_class("file")):
            return Path(path)
        fs.invalidate_cache()
    except ImportError as error:
        raise PlanError(f"{text}: the package for {protocol}:// is not installed", _install(protocol, error)) from None
    except Exception as error:  # file systems raise what their clients raise
        raise PlanError(f"{text} cannot be opened: {text_of_answer(error)}", "check the address") from None
    return RemotePath(fs, path)


def split_parameters(text: str) -> tuple[str, str]:
    """A path or an address, and the parameters after it: ``DIR:pairs=false`` -> ``DIR``, ``pairs=false``.

    >>> split_parameters("s3://bucket/faces:pairs=false,group_pattern=:"), split_parameters("http://host:80/faces")
    (('s3://bucket/faces', 'pairs=false,group_pattern=:'), ('http://host:80/faces', ''))
    """
    start = _URL.match(text)
    if start is None:
        head, _, rest = text.partition(":")
        return head, rest
    colon = _PARAMETERS.search(text, start.end())
    return (text[: colon.start()], text[colon.end() :]) if colon else (text, "")


def list_folder(folder: Location) -> list[tuple[str, bool]]:
    """Names in a folder, and whether each is a folder; in no order. Raises ``OSError`` or :class:`PlanError`."""
    if isinstance(folder, Path):
        with os.scandir(folder) as entries:
            return [(entry.name, entry.is_dir()) for entry in entries]
    try:
        listed = folder.fs.ls(folder.path, detail=True)
    except OSError:
        raise
    except Exception as error:  # file systems raise what their clients raise
        raise _unanswered(folder, error) from error
    own = folder.path.strip("/")
    paths = [(entry["name"].strip("/"), entry["type"] == "directory") for entry in listed]
    return [(path.rpartition("/")[2], is_folder) for path, is_folder in paths if path != own]


def files_below(folder: Location) -> Iterator[Location]:
    """Files anywhere below a folder, in no order. Raises ``OSError`` or :class:`PlanError`."""
    if isinstance(folder, Path):
        yield from (file for file in folder.rglob("*") if file.is_file())
        return
    try:
        paths = list(folder.fs.find(folder.path))
    except OSError:
        raise
    except Exception as error:  # file systems raise what their clients raise
        raise _unanswered(folder, error) from error
    yield from (RemotePath(folder.fs, path) for path in paths)


class FileNames:
    """Which files lie below ``root``. A remote folder is listed once: a request for each name would take hours."""

    def __init__(self, root: Location) -> None:
        self.root = root
        self._listed: dict[str, frozenset[str]] = {}

    def is_file(self, relative: str) -> bool:
        """Whether ``relative``, with forward slashes, is a file. Raises what asking the file system raises."""
        if isinstance(self.root, RemotePath):
            folder, _, name = relative.rpartition("/")
            if folder not in self._listed:
                self._listed[folder] = _file_names(self.root / folder)
            if self._listed[folder]:  # a web server lists nothing
                return name in self._listed[folder]
        return (self.root / relative).is_file()


def _file_names(folder: Location) -> frozenset[str]:
    try:
        return frozenset(name for name, is_folder in list_folder(folder) if not is_folder)
    except OSError:
        return frozenset()


def write_whole(place: Location, data: bytes) -> None:
    """Write a file, which is there as a whole under its name or not at all. Raises :class:`StoreError`."""
    if isinstance(place, RemotePath):
        with store_answers(place, "written"):
            if not place.in_object_store:
                place.fs.makedirs(place.parent.path, exist_ok=True)
            place.fs.pipe_file(place.path, data)
        return
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(place, error) from error
    staged = stage_bytes(data, place.parent, f".{place.name}")
    try:
        commit_file(staged, place)
    finally:
        staged.unlink(missing_ok=True)


def relative_name(path: Location, root: Location) -> str:
    """The path below ``root``, with forward slashes. Raises ``ValueError`` where it does not lie there."""
    if isinstance(path, Path) and isinstance(root, Path):
        return path.relative_to(root).as_posix()
    if isinstance(path, RemotePath) and isinstance(root, RemotePath):
        return Path(f"/{path.path.strip('/')}").relative_to(f"/{root.path.strip('/')}").as_posix()
    raise ValueError(f"{path} does not lie below {root}")


def file_state(path: Location) -> str | None:
    """Size and time of a file, and the digests that its file system tells; None where it tells neither of them.

    Raises ``OSError`` where the file does not exist.
    """
    if isinstance(path, Path):
        state = path.stat()
        return f"{state.st_size} {state.st_mtime_ns}"
    return path.state()


def _install(protocol: str, error: ImportError) -> str:
    """How to install what a protocol needs."""
    if protocol in _EXTRAS:
        return f"pip install 'xaibench[{_EXTRAS[protocol]}]'"
    named = re.search(r"[Ii]nstall (\w+)", str(error))
    return f"pip install {named[1]}" if named else str(error)


def _unanswered(path: RemotePath, error: BaseException) -> PlanError:
    return PlanError(f"{path} cannot be read: {text_of_answer(error)}", mend_of_answer(error))
