"""A sample and its files."""

from __future__ import annotations

import os
from dataclasses import dataclass

from xaibench.api import (
    Location,
    Native,
    Sample,
    check_native,
    decoder_versions,
    file_state,
    read_landmarks,
    read_mask,
    read_picture,
)


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
