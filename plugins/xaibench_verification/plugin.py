"""Registers the command ``verify`` and the view ``run.verify``. Light: the rest is imported when used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xaibench.api import ViewRecord, hookimpl

if TYPE_CHECKING:
    import typer

XAIBENCH_API = "1"


@hookimpl
def xaibench_run_views() -> list[ViewRecord]:
    """``run.verify()``."""
    return [
        ViewRecord(
            name="verify",
            target="xaibench_verification.verification:verify",
            summary="Random rows of a run computed anew, and whether they are equal to the bit.",
        )
    ]


@hookimpl
def xaibench_add_commands(app: typer.Typer) -> None:
    """``xaibench verify``."""
    from xaibench_verification.command import verify

    app.command()(verify)
