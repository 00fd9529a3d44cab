"""Writing a file that the user names: whole or not at all, and never among the tables of the run."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from xaibench.api import StoreError, UsageError

if TYPE_CHECKING:
    from xaibench import Run


def write_file(run: Run, out: Path, write: Callable[[Path], object]) -> None:
    """Have ``write`` write a file aside, and rename it to ``out``.

    Raises :class:`UsageError` for a place among the run's own tables, :class:`StoreError` where it cannot be written.
    """
    if isinstance(run.path, Path) and any(out.resolve().is_relative_to((run.path / t).resolve()) for t in run.tables):
        raise UsageError(f"{out} lies among the run's own tables", "choose another --out")
    try:
        write_whole(out, write)
    except OSError as error:
        raise StoreError(f"cannot write {out}: {error.strerror or error}", "choose another --out") from None


def write_whole(out: Path, write: Callable[[Path], object]) -> None:
    """Have ``write`` write a file aside, and rename it to ``out``; nothing is left where that raises."""
    aside = out.with_name(f".{out.name}.part")
    try:
        write(aside)
        aside.replace(out)
    finally:
        with suppress(OSError):
            aside.unlink(missing_ok=True)
