"""What takes long is named while it lasts."""

from __future__ import annotations

import time

import pytest

from xaibench.api import delays, name_delay, silent_delays


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setattr(delays, "FIRST", 0.05)


def lines(capsys):
    time.sleep(0.2)
    return capsys.readouterr().err.splitlines()


def test_a_long_block_is_named_once_on_stderr(capsys):
    with name_delay("reading model.onnx"):
        assert lines(capsys) == ["still reading model.onnx (0 s)..."]
        assert lines(capsys) == []


def test_the_present_step_is_named(capsys):
    with name_delay("listing faces") as delay:
        delay.text = "reading faces, after 12 pictures at a.png"
        assert lines(capsys) == ["still reading faces, after 12 pictures at a.png (0 s)..."]


def test_nothing_is_said_of_a_short_block_and_of_a_failed_one(capsys):
    with name_delay("reading a"):
        pass
    with pytest.raises(KeyError), name_delay("reading b"):
        raise KeyError
    assert lines(capsys) == []


def test_quiet_commands_say_nothing(capsys):
    with silent_delays(), silent_delays(False), name_delay("reading a"):
        assert lines(capsys) == []
    with silent_delays(False), name_delay("reading b"):
        assert len(lines(capsys)) == 1
