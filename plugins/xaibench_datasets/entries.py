"""A sample and its files, and fetching the files of the next samples ahead."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, replace
from itertools import count
from threading import Thread

from xaibench.api import (
    Location,
    Native,
    RemotePath,
    Sample,
    check_native,
    decoder_versions,
    file_state,
    read_landmarks,
    read_mask,
    read_picture,
)
from xaibench_datasets.file_ranges import FetchedFile

AHEAD = 16
"""Samples whose files are fetched before they are asked for."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A sample and the files that it is read from."""

    sample: Sample
    picture: Location
    mask: Location | None = None
    landmarks: Location | None = None

    def read(self) -> Native:
        """Decode the files. Raises :class:`xaibench.api.UnreadablePicture`."""
        native = Native(
            read_picture(self.picture),
            read_mask(self.mask) if self.mask else None,
            read_landmarks(self.landmarks) if self.landmarks else None,
        )
        check_native(native, self.sample)
        return native

    def fingerprint(self, root: Location) -> str | None:
        """Paths relative to ``root``, sizes and times of the files, and the versions of their decoders; None where a
        file is not there, and where its file system tells no time."""
        files = [file for file in (self.picture, self.mask, self.landmarks) if file]
        try:
            states = [file_state(file) for file in files]
        except OSError:
            return None
        if None in states:
            return None
        base = str(root)
        named = [f"{_below(str(file), base)} {state}" for file, state in zip(files, states, strict=True)]
        return "; ".join([*named, decoder_versions()])


def _below(file: str, root: str) -> str:
    return file.removeprefix(root).lstrip("/" + os.sep)


class FilesAhead:
    """Fetches the files of samples in the order in which they will be read, :data:`AHEAD` at most.

    Only bytes are fetched by threads: decoders change the state of the process. A sample out of order is fetched when
    it is asked for. What cannot be fetched is tried again by whoever reads it, and refused there.
    """

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._coming: Iterator[Entry] = iter(entries)
        self._fetched: dict[str, tuple[int, Future[Entry]]] = {}  # by sample, with its place in the order
        self._places = count()

    def take(self, entry: Entry) -> Entry:
        """The entry with the contents of its files where they were fetched; the next ones are asked for."""
        if not self._fetched:
            self._fill()
        if entry.sample.id not in self._fetched:
            return entry
        place, future = self._fetched.pop(entry.sample.id)
        # Samples that are passed over would fill the queue: the counterparts of fakes that cannot be read.
        self._fetched = {name: (at, f) for name, (at, f) in self._fetched.items() if at >= place - AHEAD // 2}
        self._fill()
        try:
            return future.result()
        except Exception:  # the reader meets it again, and says it as an error of the file
            return entry

    def _fill(self) -> None:
        while len(self._fetched) < AHEAD and (entry := next(self._coming, None)) is not None:
            future = Future[Entry]()
            self._fetched[entry.sample.id] = next(self._places), future
            # of no pool: its threads would outlive the last picture, and hold up the end of the process
            Thread(target=_fetch, args=(entry, future), name="xaibench fetch", daemon=True).start()

    def close(self) -> None:
        """Forget what was fetched; what is under way ends by itself."""
        self._coming = iter(())
        self._fetched.clear()


def _fetch(entry: Entry, future: Future[Entry]) -> None:
    try:
        future.set_result(_fetched(entry))
    except BaseException as error:
        future.set_exception(error)


def _fetched(entry: Entry) -> Entry:
    """The entry with the contents of its files."""
    return replace(
        entry,
        picture=_content(entry.picture),
        mask=_content(entry.mask) if entry.mask else None,
        landmarks=_content(entry.landmarks) if entry.landmarks else None,
    )


def _content(file: Location) -> Location:
    return FetchedFile.of(file) if isinstance(file, RemotePath) else file
