"""Registers ``check`` and ``new-plugin``. Light: the kit is imported when the command is given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xaibench.api import hookimpl

if TYPE_CHECKING:
    import typer

XAIBENCH_API = "1"


@hookimpl
def xaibench_add_commands(app: typer.Typer) -> None:
    """``xaibench check`` and ``xaibench new-plugin``."""
    from xaibench_testing.check_command import check
    from xaibench_testing.new_plugin import write_plugin

    app.command()(check)
    app.command("new-plugin")(write_plugin)
