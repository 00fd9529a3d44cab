"""Each setting once: flag, short flag, help, variable and run-file key follow from the field."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import typer
from typer.testing import CliRunner

from xaibench.api import (
    SHARED_FLAGS,
    Flag,
    Parameters,
    UsageError,
    build_parameters,
    describe_parameters,
    guarded,
    setting,
    with_flags,
)
from xaibench.cli.evaluate import Invocation
from xaibench.cli.program import program
from xaibench.plan.settings import Settings, make_settings, read_run_file


class Extended(Settings):
    """What a new flag of ``eval`` takes: one field."""

    grid_size: int = setting(7, "cells along a side", short="-g", ge=1)


class Every(Parameters):
    """One field of each kind that a flag can have."""

    folder: str = setting(..., "where", path=True)
    words: tuple[str, ...] = setting((), "words", short="-w")
    files: list[str] = setting([], "files", path=True)
    table: dict[str, Any] = setting({}, "values", short="-p")
    number: float | None = setting(None, "a number")
    mode: Literal["a", "b"] | None = setting(None, "how")
    level: Literal["low", "mid", "high"] = setting("mid", "how much")
    on: bool = setting(True, "switch it on")
    off: bool = setting(False, "switch it off")
    renamed: str = setting("", "other name", flag="alias")
    shared: str = setting("auto", SHARED_FLAGS["device"])


def app_of(model: type[Parameters], seen: list[Parameters]) -> typer.Typer:
    """A program with one command ``go`` that takes the settings of ``model``."""
    app = typer.Typer(context_settings={"auto_envvar_prefix": "ACME"})
    app.callback()(lambda: None)

    def go(settings: Any, more: Annotated[int, typer.Option()] = 1) -> None:
        """Do it."""
        seen.append(settings)

    go.__annotations__["settings"] = model
    app.command("go")(with_flags(go))
    return app


def call(model: type[Parameters], *arguments: object, **variables: str) -> Any:
    """The settings that the command receives; an error passes through."""
    seen: list[Parameters] = []
    result = CliRunner().invoke(app_of(model, seen), ["go", *map(str, arguments)], env=variables)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return seen[0]


def help_of(model: type[Parameters]) -> str:
    result = CliRunner().invoke(app_of(model, []), ["go", "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
    return " ".join(result.output.replace("│", " ").split())


# ---- a new flag is one declaration ----------------------------------------------------------------------------------


def test_one_field_makes_a_flag_of_eval_its_help_its_variable_and_its_run_file_key(tmp_path):
    text = help_of(Extended)
    assert "--grid-size -g <int> Cells along a side (default 7). [env var: ACME_GO_GRID_SIZE]" in text
    assert call(Extended, "--grid-size", 3).grid_size == 3
    assert call(Extended, "-g", 4).grid_size == 4
    assert call(Extended, ACME_GO_GRID_SIZE="5").grid_size == 5
    assert call(Extended).grid_size == 7
    (tmp_path / "run.toml").write_text("grid-size = 6\n")
    assert build_parameters(Extended, read_run_file(tmp_path / "run.toml"), "run file").grid_size == 6
    (row,) = (r for r in describe_parameters(Extended) if r["name"] == "grid_size")
    assert row == {"name": "grid_size", "type": "int >= 1", "default": 7, "description": "cells along a side"}


def test_every_setting_of_a_run_has_a_flag_a_variable_and_a_description_and_no_flag_is_undeclared():
    options = {p.name: p for p in typer.main.get_command(program("eval")).commands["eval"].params}
    declared = {**Settings.model_fields, **Invocation.model_fields}
    negative = {"no_controls": "controls", "no_isolation": "isolation"}
    assert {negative.get(name, name) for name in options} == {*declared, "run_file", "json"}
    for name, field in declared.items():
        option = options[f"no_{name}" if name in ("controls", "isolation") else name]
        assert option.opts[0] == f"--{option.name.replace('_', '-')}"
        assert option.show_envvar
        assert field.description and field.description[1:].rstrip(".") in option.help


def test_a_shared_flag_reads_the_same_in_every_command():
    commands = typer.main.get_command(program()).commands
    words = {
        (name, p.opts[0]): (p.opts, p.help.partition(" (default")[0].rstrip("."))
        for name in ("eval", "explain", "check", "train", "list", "info", "audit")
        for p in commands[name].params
        if p.name in ("device", "plugin", "threads") or (p.name == "parameter" and name != "train")
    }
    for (_, flag), text in words.items():
        assert text == words["eval", flag]
    assert {("check", "--device"), ("train", "--threads"), ("audit", "--plugin"), ("explain", "--parameter")} <= set(
        words
    )


# ---- what is given --------------------------------------------------------------------------------------------------


def test_every_kind_of_field_is_read(tmp_path):
    got = call(
        Every, "--folder", "./here", "-w", "a", "--words", "b", "--files", "./x.py", "-p", "a.b=3", "-p", "c=d",
        "--number", "1.5", "--mode", "b", "--no-on", "--off", "--alias", "z", "--device", "cpu",
    )  # fmt: skip
    assert got.model_dump() == {
        "folder": "here", "words": ("a", "b"), "files": ["x.py"], "table": {"a.b": 3, "c": "d"}, "number": 1.5,
        "mode": "b", "level": "mid", "on": False, "off": True, "renamed": "z", "shared": "cpu",
    }  # fmt: skip
    assert got.model_fields_set == set(Every.model_fields) - {"level"}


def test_a_flag_that_is_not_given_leaves_the_field_unset():
    assert call(Settings).model_fields_set == set()
    assert call(Settings, "--seed", 0).model_fields_set == {"seed"}
    assert call(Every, "--folder", "x").model_fields_set == {"folder"}


def test_variables_are_split_as_lists_and_paths_are():
    got = call(
        Every, ACME_GO_FOLDER="./here", ACME_GO_WORDS="a b", ACME_GO_FILES=f"x.py{os.pathsep}y.py", ACME_GO_NO_ON="1"
    )
    assert (got.folder, got.words, got.on) == ("here", ("a", "b"), False)
    assert got.files == ["x.py", "y.py"]
    assert call(Every, "--folder", "x", ACME_GO_NO_ON="0").on


def test_a_flag_wins_over_its_variable_that_over_the_run_file_and_that_over_the_default(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text("task-samples = 4\nlimit = 4\nseed = 4\nmodel = 'of-file'\n[parameter.a.b]\nc = 4\nd = 4\n")
    flags = call(Settings, "--seed", 2, "-p", "a.b.c=2", ACME_GO_SEED="3", ACME_GO_LIMIT="3", ACME_GO_MODEL="x y")
    settings = make_settings(file, {key: getattr(flags, key) for key in flags.model_fields_set})
    assert (settings.seed, settings.limit, settings.task_samples, settings.repeats) == (2, 3, 4, 1)
    assert settings.model == ("x", "y")
    assert settings.parameter == {"a.b.c": 2, "a.b.d": 4}


# ---- help and errors ------------------------------------------------------------------------------------------------


def test_the_help_says_choices_and_defaults():
    text = help_of(Every)
    for words in (
        "--level <str> How much: low, mid (default) or high.", "--mode <str> How: a or b.", "--number <float> A number.",
        "--no-on <bool> Do not switch it on.", "--off <bool> Switch it off.", "--folder <path> Where.",
        "--files <path>... Files.", "--alias <str> Other name.",
        "--device <str> Device: cpu, cuda, cuda:N or auto (default auto).",
    ):  # fmt: skip
        assert words in text


@pytest.mark.parametrize(
    ("arguments", "variables", "what", "mend"),
    [
        (
            ["--task-samples", "0"],
            {},
            "go: --task-samples=0 is wrong: Input should be greater",
            "task_samples: int >= 1",
        ),
        (["--limit", "many"], {}, "go: --limit=many is wrong: Input should be a valid integer", "limit: int >= 1"),
        ([], {"ACME_GO_LIMIT": "many"}, "go: ACME_GO_LIMIT=many is wrong", "limit: int >= 1"),
        (["--limit", "0"], {"ACME_GO_LIMIT": "1"}, "go: --limit=0 is wrong", "limit: int >= 1"),
        (["--maps", "some"], {}, "go: --maps=some is wrong", "maps: auto | keep | drop"),
        (["-p", "a.b.c"], {}, "'a.b.c' has no value", "write -p KIND.NAME.KEY=VALUE"),
    ],
)
def test_a_wrong_value_is_an_error_of_usage_that_names_where_it_came_from(arguments, variables, what, mend):
    with pytest.raises(UsageError) as refusal:
        call(Settings, *arguments, **variables)
    assert refusal.value.what.startswith(what)
    assert refusal.value.mend.startswith(mend)
    assert guarded(lambda: call(Settings, *arguments, **variables), debug=False) == 2


def test_two_fields_of_one_name_in_a_command_are_refused():
    def both(first: Every, second: Every) -> None: ...

    with pytest.raises(ValueError, match="duplicate parameter name"):
        with_flags(both)


def test_the_help_of_eval_is_not_cut_in_80_columns():
    result = CliRunner().invoke(program("eval"), ["eval", "--help"], env={"COLUMNS": "80", "TERM": "dumb"})
    assert result.exit_code == 0
    assert "…" not in result.output
    for name in Settings.model_fields:
        flag = f"--no-{name}" if name in ("controls", "isolation") else f"--{name.replace('_', '-')}"
        assert f"│ {flag} " in result.output


def test_a_flag_of_ones_own_is_declared_like_the_shared_ones():
    app = typer.Typer()

    @app.command()
    def go(where: Annotated[Path, Flag("where", "folder to use", "-w", path=True).option()] = Path("x")) -> None:
        print(where)

    assert CliRunner().invoke(app, ["-w", "y"]).output == "y\n"
