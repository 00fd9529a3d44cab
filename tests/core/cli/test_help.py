"""The help: commands and flags in groups, examples that work, and no name cut inside a word."""

from __future__ import annotations

import re
import shlex
from typing import get_args

import pytest
import typer

from xaibench.api.command_help import CommandGroup, help_page, show_help_pages
from xaibench.cli.evaluate import Invocation
from xaibench.cli.program import program
from xaibench.discovery.registry import Registry
from xaibench.plan.settings import HOW, OUTPUT, WHAT, WHERE, Settings


def commands():
    """Every command by the words that call it."""
    found = {}
    for name, command in typer.main.get_command(program()).commands.items():
        inner = getattr(command, "commands", None)
        found |= {f"{name} {n}": c for n, c in inner.items()} if inner else {name: command}
    return found


COMMANDS = commands()


@pytest.fixture
def narrow(cli, monkeypatch):
    """The help at 80 columns."""
    monkeypatch.setenv("TERMINAL_WIDTH", "80")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")

    def show(*words: str) -> str:
        code, out, _ = cli(*words, "--help")
        assert code == 0 and max(map(len, out.splitlines())) <= 80
        return out

    return show


def test_the_commands_stand_in_groups(narrow):
    found = re.findall(r"─ ([A-Z][^─]*?) ─", narrow())
    assert found[0] == "Options" and [g for g in found[1:] if g in get_args(CommandGroup)] == list(
        get_args(CommandGroup)
    )


def test_the_flags_of_eval_stand_in_groups(narrow):
    panels = re.findall(r"─ ([A-Z][^─]*?) ─", narrow("eval"))
    assert panels == ["Arguments", "Options", WHAT, WHERE, HOW, OUTPUT]
    declared = [*Settings.model_fields.values(), *Invocation.model_fields.values()]
    assert all(f.json_schema_extra["panel"] in panels for f in declared)


@pytest.mark.parametrize("words", COMMANDS)
def test_no_flag_and_no_variable_is_cut_inside_a_word(narrow, words):
    shown = set(narrow(*words.split()).replace("]", " ").split())
    prefix = f"XAIBENCH_{words}".upper().replace("-", "_").replace(" ", "_")
    for option in COMMANDS[words].params:
        if option.param_type_name == "option" and option.name != "help":
            assert option.opts[0] in shown
            assert f"{prefix}_{option.name}".upper() in shown


@pytest.mark.parametrize("words", COMMANDS)
def test_every_command_ends_with_examples_that_parse(words):
    command = COMMANDS[words]
    title, *lines = command.epilog.splitlines()
    assert title == "Examples:" and 2 <= len(lines) <= 3
    for line in lines:
        assert len(line) <= 78, "an example fits the line"
        given = shlex.split(line, comments=True)
        assert given[: 1 + len(words.split())] == ["xaibench", *words.split()]
        command.make_context(words, given[1 + len(words.split()) :])


def test_the_example_of_a_dry_run_runs(cli):
    (line,) = (line for line in COMMANDS["eval"].epilog.splitlines() if "--dry-run" in line)
    code, out, err = cli(*line.split()[1:], "--limit", 2, "--no-controls", "--threads", 1)
    assert code == 0, err
    assert "rise:masks=400" in out


def test_commands_of_another_plugin_have_a_group_of_their_own():
    @help_page("Evaluate", "xaibench theirs [file]")
    def theirs() -> None:
        """Theirs."""

    class Hook:
        plugin_name = "xaibench-acme:commands"

        def get_hookimpls(self):
            return [self]

        def function(self, app):
            app.command()(theirs)

    class Manager:
        hook = type("Hooks", (), {"xaibench_add_commands": Hook()})

    app = typer.Typer()
    app.callback()(lambda: None)
    assert Registry(manager=Manager()).add_commands(app) == {"theirs"}
    show_help_pages(app)
    (info,) = app.registered_commands
    assert info.rich_help_panel == "Commands of xaibench-acme"
    assert info.epilog == "Examples:\nxaibench theirs \\[file]"
