"""The help of a command: the group in which ``xaibench --help`` lists it, and examples at its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeVar, get_args

C = TypeVar("C", bound=Callable[..., Any])

CommandGroup = Literal["Evaluate", "Read a run", "Components", "Check and extend", "This machine"]
"""Groups of the built-in commands, in the order of the help. Those of other plugins have a group a distribution."""


def help_page(group: CommandGroup, *examples: str) -> Callable[[C], C]:
    """Mark a command with its group and with examples, each a line such as ``xaibench status RUN``.

    ``#`` begins a remark. The function itself is returned, so that it may stand above or below :func:`with_flags`.
    """

    def mark(command: C) -> C:
        command.help_page = group, examples  # type: ignore[attr-defined]
        return command

    return mark


def show_help_pages(app: Any) -> None:
    """Give the commands of a ``typer.Typer``, those of its groups included, the heading and the examples they name.

    Commands are put in the order of the headings, those of other plugins last.
    """
    for info in app.registered_commands:
        group, examples = getattr(info.callback, "help_page", ("", ()))
        if examples:
            info.epilog = "\n".join(("Examples:", *examples)).replace("[", r"\[")
        info.rich_help_panel = _panel(info, group)
    headings = get_args(CommandGroup)
    app.registered_commands.sort(
        key=lambda c: headings.index(c.rich_help_panel) if c.rich_help_panel in headings else len(headings)
    )
    for inner in app.registered_groups:
        commands = inner.typer_instance.registered_commands
        show_help_pages(inner.typer_instance)
        first = commands[0].rich_help_panel if commands else ""
        inner.rich_help_panel = _panel(inner, first)
        for info in commands:  # alone in the help of their group
            info.rich_help_panel = None


def _panel(info: Any, group: str) -> str | None:
    """The heading that a command was registered with, else that of its group."""
    return info.rich_help_panel if isinstance(info.rich_help_panel, str) else group or None
