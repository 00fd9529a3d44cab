"""Atomic writes: a process that is killed leaves no partial file under its final name."""

from __future__ import annotations

import io
import os
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from xaibench.api.errors import StoreError

if TYPE_CHECKING:
    import pyarrow as pa


def stage_table(table: pa.Table, staging: str | Path, key: str) -> Path:
    """Write ``table`` as Parquet (zstd) to a new file ``KEY.*`` in the staging folder, fsync it and return its path.

    Raises :class:`StoreError`.
    """
    import pyarrow.parquet as pq

    file = io.BytesIO()
    pq.write_table(table, file, compression="zstd")
    return stage_bytes(file.getbuffer(), staging, key)


def stage_text(text: str, staging: str | Path, key: str) -> Path:
    """Write ``text`` as UTF-8 as :func:`stage_bytes` does."""
    return stage_bytes(text.encode("utf-8"), staging, key)


def stage_bytes(data: bytes | memoryview, staging: str | Path, key: str) -> Path:
    """Write ``data`` to a new file ``KEY.*`` in the staging folder, fsync it and return its path.

    Raises :class:`StoreError`.
    """
    path = Path(staging) / f"{key}.{uuid.uuid4().hex[:8]}"
    try:
        with open(path, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        path.unlink(missing_ok=True)
        raise write_error(path, error) from error
    return path


def commit_file(staged: Path, final: Path) -> None:
    """Rename a staged file to its final name and fsync the folder. Raises :class:`StoreError`."""
    try:
        staged.replace(final)
        sync_folder(final.parent)
    except OSError as error:
        raise write_error(final, error) from error


def sync_folder(folder: Path) -> None:
    """fsync a folder. Nothing happens on platforms that cannot (Windows)."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except (OSError, AttributeError):  # Windows cannot open folders
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_error(path: Path | str, error: OSError) -> StoreError:
    """The :class:`StoreError` for a write that failed."""
    return StoreError(
        f"cannot write {path}: {error.strerror or error}",
        "free some space or choose another --out; finished results are kept and the same command goes on from there",
    )
