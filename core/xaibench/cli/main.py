"""The program: its commands, the core's and those of plugins, and its exit codes."""

from __future__ import annotations

import atexit
import importlib
import os
import sys
import threading
from contextlib import nullcontext
from typing import Annotated, Any, NoReturn

import typer

from xaibench import __version__
from xaibench.api import guarded
from xaibench.api.command_help import show_help_pages
from xaibench.api.output_streams import foreign_command, program_streams
from xaibench.cli.shell_completion import complete, is_completing

COMMANDS = {
    "eval": "evaluate:evaluate",
    "explain": "explain_command:explain",
    "merge": "merge:merge",
    "verify": "verify:verify",
    "status": "status:show_status",
    "list": "listing:list_components",
    "info": "listing:show_component",
    "new-plugin": "new_plugin:write_plugin",
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


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the program and exit with the code of the design: see :mod:`xaibench.api.errors`."""
    argv = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in argv or os.environ.get("XAIBENCH_DEBUG", "").lower() not in ("", "0", "false", "no", "off")
    _open_closed_streams()
    if is_completing():
        sys.exit(complete(program))
    # Read when NumPy is loaded, by workers too: threads of its BLAS would wait for cores that torch's threads hold.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        code = guarded(lambda: _run(argv), debug)
    except SystemExit as stop:  # of typer
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    if arguments is None:
        _end_threads(code)
    # CPython ends as if killed by SIGINT where an interrupt came up within an exec() of text, as in the making of a
    # dataclass at import, though it was caught; the next exec() forgets it.
    exec("")
    sys.exit(code)


def _end_threads(code: int) -> None:
    """End the process where threads of plugins would keep it alive for ever."""
    threads = [t for t in threading.enumerate() if t is not threading.main_thread() and not t.daemon]
    if not threads:
        return
    for thread in threads:
        thread.join(1.0)
    if not any(thread.is_alive() for thread in threads):
        return
    print(f"xaibench: {len(threads)} threads of components do not end, and are left behind", file=sys.stderr)
    atexit._run_exitfuncs()  # what the interpreter would call next, were it not for the threads
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


def _open_closed_streams() -> None:
    """Give /dev/null to streams that the caller closed (``2>&-``).

    ``print`` writes to stdout where stderr is None, and the first file that is opened would get the free descriptor.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            while (descriptor := os.open(os.devnull, os.O_RDWR)) < number:
                continue
            setattr(sys, name, os.fdopen(descriptor, "r" if name == "stdin" else "w", encoding="utf-8"))


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
