"""Registers the command ``audit``. Light: what it runs is imported when the command is given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xaibench.api import hookimpl

if TYPE_CHECKING:
    import typer

XAIBENCH_API = "1"


@hookimpl
def xaibench_add_commands(app: typer.Typer) -> None:
    """``xaibench audit``."""
    from xaibench_audit.command import audit

    app.command("audit")(audit)
