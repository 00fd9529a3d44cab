"""Lines that break between words only."""

import io
from functools import partial

import pytest
from rich.console import Console
from rich.table import Table

from xaibench.api import StoreError, break_lines, closest_first, guarded, longest_piece
from xaibench.api.rich_console import BrokenName


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("integrated-gradients:steps=16", 22, ["integrated-gradients:", "steps=16"]),
        ("inverse:of=integrated-gradients:steps=16", 22, ["inverse:of=integrated-", "gradients:steps=16"]),
        ("not told apart from own inverse", 20, ["not told apart from", "own inverse"]),
        ("unbreakable_name", 5, ["unbreakable_name"]),
        ("two\nlines here", 6, ["two", "lines", "here"]),
        ("", 5, [""]),
    ],
)
def test_lines_break_between_words_and_after_hyphens_alone(text, width, lines):
    assert break_lines(text, width).split("\n") == lines


def test_the_longest_piece_is_what_a_column_needs():
    assert longest_piece("integrated-gradients:steps=16") == len("integrated-")
    assert longest_piece("") == 0


def test_names_that_are_wrong_are_offered_the_nearest_first():
    assert closest_first("metod", ["k", "explainer", "method"]) == "method, explainer, k"
    assert closest_first("x", ["b", "a"]) == "a, b"  # alike: by name
    assert closest_first("a1", [f"a{i}" for i in range(22)]).count(",") == 21


def refuse(path):
    raise StoreError(f"{path} does not exist", "give the folder of a run")


def test_an_error_breaks_at_spaces_at_the_width_of_the_terminal(cli, monkeypatch):
    path = "/a-very-long/path-of-a/folder-that/is-not-there"
    monkeypatch.setenv("COLUMNS", "40")
    assert cli("status", path)[2] == f"xaibench: {path} does not exist\n  give the folder of a run\n"  # no terminal
    stderr = io.StringIO()
    stderr.isatty = lambda: True
    monkeypatch.setattr("sys.stderr", stderr)
    guarded(partial(refuse, path), debug=False)
    assert stderr.getvalue() == f"xaibench:\n  {path}\n  does not exist\n  give the folder of a run\n"


def test_a_name_in_a_table_breaks_between_words_alone():
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(min_width=longest_piece("local/squares"))
    table.add_row(BrokenName("local/squares"), "x" * 12)
    file = io.StringIO()
    Console(file=file, width=20).print(table)
    assert [line.split()[0] for line in file.getvalue().splitlines()] == ["local/", "squares"]
