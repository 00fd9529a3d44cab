"""The files of the next samples, fetched while earlier ones are worked on."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from threading import Thread
from typing import Final

from xaibench.api import Location, RemotePath
from xaibench_datasets.entries import Entry
from xaibench_datasets.file_ranges import FetchedFile, FileRange

WINDOW: Final = 32 * 2**20
"""Bytes of files that are fetched as one window; two windows are held."""

UNTOLD: Final = 4 * 2**20
"""What a file counts for whose size is not known without a request."""

GAP: Final = 64 * 2**10
"""Bytes between two members of an archive that are fetched and dropped, since a request more would take longer."""

BLOCK: Final = 8 * 2**20
"""Bytes of one request at most, but for a single longer file."""

THREADS: Final = 8
"""Requests of a window that are under way at once."""


class FilesAhead:
    """Fetches the files of samples in about the order in which they will be read, a window after the other.

    Members of an archive that lie close to each other are one request, also if many samples lie between them in the
    order: so of a dataset of small pictures each archive is read in few requests. Only bytes are fetched by threads:
    decoders change the state of the process. A sample out of order is fetched when it is asked for. What cannot be
    fetched is tried again by whoever reads it, and refused there.
    """

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._coming: Iterator[Entry] = iter(entries)
        self._windows: deque[_Window] = deque()

    def take(self, entry: Entry) -> Entry:
        """The entry with the contents of its files where they were fetched; the next ones are asked for."""
        if not self._windows:
            self._fill()
        place = next((i for i, window in enumerate(self._windows) if entry.sample.id in window.samples), None)
        if place is None:
            return entry
        for _ in range(place):  # what is left there was passed over: the counterparts of fakes that cannot be read
            self._windows.popleft().close()
        self._fill()
        try:
            return self._windows[0].fetched(entry)
        except Exception:  # the reader meets it again, and says it as an error of the file
            return entry

    def _fill(self) -> None:
        while len(self._windows) < 2 and (entries := list(self._next_window())):
            self._windows.append(_Window(entries))

    def _next_window(self) -> Iterator[Entry]:
        left = WINDOW
        while left > 0 and (entry := next(self._coming, None)) is not None:
            left -= sum(file.size if isinstance(file, FileRange) else UNTOLD for file in _remote_files(entry))
            yield entry

    def close(self) -> None:
        """Forget what was fetched; what is under way ends by itself."""
        self._coming = iter(())
        for window in self._windows:
            window.close()
        self._windows.clear()


class _Window:
    """The files of some samples on their way."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        entries = list(entries)
        self.samples = frozenset(entry.sample.id for entry in entries)
        files = dict.fromkeys(file for entry in entries for file in _remote_files(entry))
        self._block_of = {file: block for block in _blocks(files) for file in block.files}
        self._waiting = deque(dict.fromkeys(self._block_of[file] for file in files))  # as they are needed
        for _ in range(min(THREADS, len(self._waiting))):
            # of no pool: its threads would outlive the last picture, and hold up the end of the process
            Thread(target=self._work, name="xaibench fetch", daemon=True).start()

    def fetched(self, entry: Entry) -> Entry:
        """The entry with the contents of its files. Raises what fetching them raised."""
        return replace(
            entry,
            picture=self._content(entry.picture),
            mask=self._content(entry.mask) if entry.mask else None,
            landmarks=self._content(entry.landmarks) if entry.landmarks else None,
        )

    def _content(self, file: Location) -> Location:
        if not isinstance(file, RemotePath):
            return file
        return FetchedFile(file.fs, file.path, self._block_of[file].contents.result()[file], str(file))

    def _work(self) -> None:
        while True:
            try:
                block = self._waiting.popleft()
            except IndexError:
                return
            block.fetch()

    def close(self) -> None:
        self._waiting.clear()


@dataclass(eq=False)
class _Block:
    """Files that one request brings: a file, or members of an archive with what lies between them."""

    files: list[RemotePath]
    start: int = 0
    end: int = 0
    contents: Future[dict[RemotePath, bytes]] = field(default_factory=Future)

    def takes(self, file: FileRange) -> bool:
        """Whether a member that begins no earlier than the last one can come along."""
        end = file.start + file.size
        first = self.files[0]
        same = file.path == first.path and file.fs is first.fs  # two stores may have a path in common
        return same and file.start - self.end <= GAP and end - self.start <= BLOCK

    def add(self, file: FileRange) -> None:
        self.files.append(file)
        self.end = max(self.end, file.start + file.size)

    def fetch(self) -> None:
        try:
            self.contents.set_result(dict(self._fetched()))
        except BaseException as error:
            self.contents.set_exception(error)

    def _fetched(self) -> Iterator[tuple[RemotePath, bytes]]:
        if len(self.files) == 1:
            yield self.files[0], self.files[0].read_bytes()
            return
        content = self.files[0].content(self.start, self.end)
        if len(content) != self.end - self.start:
            raise OSError(f"{self.files[0]}: its archive ends early")
        for file in self.files:  # copies, so that what lies between them is let go
            assert isinstance(file, FileRange)
            yield file, content[file.start - self.start : file.start + file.size - self.start]


def _blocks(files: Iterable[RemotePath]) -> Iterator[_Block]:
    members = []
    for file in files:
        if isinstance(file, FileRange):
            members.append(file)
        else:
            yield _Block([file])
    block: _Block | None = None
    for member in sorted(members, key=lambda m: (m.path, m.start)):
        if block is not None and block.takes(member):
            block.add(member)
            continue
        if block is not None:
            yield block
        block = _Block([member], member.start, member.start + member.size)
    if block is not None:
        yield block


def _remote_files(entry: Entry) -> Iterator[RemotePath]:
    return (file for file in (entry.picture, entry.mask, entry.landmarks) if isinstance(file, RemotePath))
