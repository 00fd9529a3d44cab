"""Text from outside on its way to a terminal: control characters, secrets, and the streams of the program."""

from __future__ import annotations

import io
import json

import pytest

from xaibench.api import (
    Explanation,
    Problem,
    Score,
    ViewRecord,
    XaibenchError,
    describe_error,
    make_console,
    printable,
    redact,
)
from xaibench.api.output_streams import CleanStream
from xaibench.api.records import ExplainerRecord
from xaibench.api.safe_text import secret_variable

HOSTILE = "a\x1b[2Jb\x07c\x9bd\u202ee\u2066f\ud800g\x7f\x00h\r"
WRITTEN_OUT = "a\\x1b[2Jb\\x07c\\x9bd\\u202ee\\u2066f\\ud800g\\x7f\\x00h"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _no_colours(monkeypatch):
    for name in ("FORCE_COLOR", "PY_COLORS", "GITHUB_ACTIONS"):
        monkeypatch.delenv(name, raising=False)


def test_every_control_character_is_written_out_but_newline_and_tab():
    kept = [chr(c) for c in range(0x3000) if printable(chr(c)) == chr(c)]
    assert "\n" in kept and "\t" in kept
    assert not [c for c in kept if c not in "\n\t" and (ord(c) < 32 or 0x7F <= ord(c) < 0xA0)]
    assert printable(HOSTILE) == WRITTEN_OUT + "\\x0d"
    assert printable(printable(HOSTILE)) == printable(HOSTILE)


def test_errors_problems_and_records_hold_printable_text():
    error = XaibenchError(f"no file {HOSTILE}", "give\nanother")
    assert error.what == f"no file {WRITTEN_OUT}"
    assert error.mend == "give another"
    assert describe_error(ValueError(HOSTILE)).startswith(f"ValueError: {WRITTEN_OUT}"[:20])
    assert Problem(HOSTILE, HOSTILE).reason == WRITTEN_OUT
    assert ExplainerRecord(name="x", target="a:B", summary=HOSTILE).summary == printable(HOSTILE)


def test_an_error_whose_text_cannot_be_read_is_described_all_the_same():
    class Broken(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert describe_error(Broken()) == "Broken: its text cannot be read: RuntimeError"


@pytest.mark.parametrize("wrong", [{"name": "x\x1b"}, {"suffix": "../x"}, {"suffix": "p\x1bng"}])
def test_a_record_whose_name_or_suffix_is_unfit_for_a_file_is_refused(wrong):
    with pytest.raises(ValueError):
        ViewRecord(**{"name": "x", "target": "a:B", "summary": "s", **wrong})


def test_a_stream_lets_colours_pass_on_a_terminal_alone():
    terminal, file = Terminal(), io.StringIO()
    for inner in (terminal, file):
        print("\x1b[1;31mred\x1b[0m \x1b[8mhidden\x1b[2J", file=CleanStream(inner))
    assert terminal.getvalue() == "\x1b[1;31mred\x1b[0m \\x1b[8mhidden\\x1b[2J\n"
    assert file.getvalue() == "\\x1b[1;31mred\\x1b[0m \\x1b[8mhidden\\x1b[2J\n"


def test_a_carriage_return_becomes_a_newline():
    file = io.StringIO()
    CleanStream(file).write("10 %\r20 %\r\n")
    assert file.getvalue() == "10 %\n20 %\n"


def test_a_console_colours_and_writes_out_what_its_text_holds(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", CleanStream(terminal))
    monkeypatch.setenv("TERM", "xterm")
    console = make_console(width=60, color_system="standard")
    console.print("text \x1b[2J", style="red", markup=False, highlight=False)
    assert "\\x1b[2J" in terminal.getvalue()
    assert terminal.getvalue().startswith("\x1b[31m")
    assert "\x1b[2J" not in terminal.getvalue()


@pytest.mark.parametrize("form", ["k3y/0f mine", repr("k3y/0f mine"), json.dumps("k3y/0f mine"), "k3y%2F0f%20mine"])
def test_a_secret_is_masked_in_each_form_and_after_its_variable_is_gone(monkeypatch, form):
    monkeypatch.setattr("xaibench.api.safe_text._secrets", set())
    monkeypatch.setenv(secret_variable("acme", "key"), "k3y/0f mine")
    assert "0f" not in redact(f"refused: {form}")
    monkeypatch.delenv(secret_variable("acme", "key"))
    assert "0f" not in str(XaibenchError(f"refused: {form}"))


def test_a_short_secret_is_masked_as_a_word(monkeypatch):
    monkeypatch.setattr("xaibench.api.safe_text._secrets", set())
    monkeypatch.setenv(secret_variable("acme", "key"), "row")
    assert redact("rows of row=row") == "rows of **********=**********"


def test_reasons_of_components_are_printable():
    assert Explanation.none(HOSTILE).reason == WRITTEN_OUT
    assert Score(name="x", status="undefined", reason=HOSTILE).reason == WRITTEN_OUT
