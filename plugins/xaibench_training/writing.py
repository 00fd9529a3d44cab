"""Putting a file at its name: whole and durable, or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from xaibench.api import sync_folder, write_error


def staged_name(final: Path) -> Path:
    """Where ``final`` is while it is being written; a kill leaves it there, and the next writing replaces it."""
    return final.with_name(f".{final.name}.part")


def write_bytes(final: Path, content: bytes) -> None:
    """Put ``content`` at ``final``, whose folders are made, so that a reader finds the old file or the whole new one.

    Raises :class:`xaibench.api.StoreError` where it cannot be written; what was there stays, and no part is left to
    fill a full disk.
    """
    staged = staged_name(final)
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        with open(staged, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        staged.replace(final)
        sync_folder(final.parent)
    except OSError as error:
        _drop(staged)
        raise write_error(final, error) from error


def _drop(staged: Path) -> None:
    """As far as it can be: the error that matters is the one of writing."""
    try:
        staged.unlink(missing_ok=True)
    except OSError:
        return
