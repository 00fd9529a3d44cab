"""The program: its commands, the core's and those of plugins."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from contextlib import nullcontext
from typing import Annotated, Any

import typer

from xaibench import __version__
from xaibench.api import guarded
from xaibench.api.command_help import show_help_pages
from xaibench.api.output_streams import foreign_command, program_streams

COMMANDS = {
    "eval": "evaluate:evaluate",
    "explain": "explain_command:explain",
    "merge": "merge:merge",
    "status": "status:show_status",
    "list": "listing:list_components",
    "info": "listing:show_component",
    "doctor": "doctor:diagnose",
}
"""The core's own commands: module and function in this folder, imported when the command is given or listed."""


def program(command: str = "") -> typer.Typer:
    """The program with ``command`` alone where that is the core's own, else with every one, those of plugins too."""
    return commands_of(command)[0]


def commands_of(command: str) -> tuple[typer.Typer, set[str]]:
    """:func:`program`, and the names of the commands of third-party plugins in it."""
    foreign: set[str] = set()
    app = typer.Typer(
        name="xaibench",
        help="Which explanation of a deepfake detector can be trusted?",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"auto_envvar_prefix": "XAIBENCH", "help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    for name in [command] if command in COMMANDS else COMMANDS:
        module, _, function = COMMANDS[name].partition(":")
        app.command(name)(getattr(importlib.import_module(f"xaibench.cli.{module}"), function))
    if command not in COMMANDS:
        from xaibench.discovery.registry import load_registry

        foreign = load_registry().add_commands(app)
    show_help_pages(app)
    return app, foreign


def run_program(argv: list[str], debug: bool, interrupted: Callable[[], bool]) -> int:
    """Run the command that ``argv`` names and return the exit code of the design: see :mod:`xaibench.api.errors`.

    Where ``interrupted`` says so, any exception is raised as a ``KeyboardInterrupt``: it is no fault to tell of.
    """

    def call() -> int:
        try:
            return _run(argv)
        except Exception as raised:
            if interrupted():
                raise KeyboardInterrupt from raised
            raise

    return guarded(call, debug)


def _run(argv: list[str]) -> int:
    command = next((a for a in argv if not a.startswith("-")), "")
    with program_streams():
        app, foreign = commands_of(command)
        defaults = {} if command == "doctor" or {"-h", "--help", "--version"} & set(argv) else _user_defaults(app)
        with foreign_command() if command in foreign else nullcontext():
            # --debug is accepted anywhere on the line
            arguments = [a for a in argv if a != "--debug"]
            result = app(args=arguments, standalone_mode=True, prog_name="xaibench", **defaults)
    return int(result or 0)


def _user_defaults(app: typer.Typer) -> dict[str, Any]:
    """The user's config as typer takes it, with its path for messages."""
    from xaibench.cli.user_config import defaults_of, read_config

    config = read_config()
    if config is None:
        return {}
    group: Any = typer.main.get_command(app)
    return {"default_map": defaults_of(config, group.commands, command_names), "obj": f"config {config.path}"}


def command_names() -> list[str]:
    """The names of all commands; none where a plugin is broken or left out, whose commands nobody knows then."""
    from xaibench.discovery.registry import load_registry

    registry, app = load_registry(), typer.Typer()
    registry.add_commands(app)
    if registry.failures or os.environ.get("XAIBENCH_DISABLE_PLUGINS"):
        return []
    group: Any = typer.main.get_command(app)
    return [*COMMANDS, *group.commands]


def _version(value: bool) -> None:
    if value:
        print(f"xaibench {__version__}")
        raise typer.Exit


def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, allow_from_autoenv=False, help="Print it."),
    ] = False,
) -> None:
    """Flags before a command. ``main`` itself reads ``--debug``, which may stand anywhere on the line."""
