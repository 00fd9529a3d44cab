"""Ctrl-C at any moment of a command: one line and 130."""

import os
import signal
import subprocess
import sys
import time

import pytest
from toy_runs import LONG

from xaibench.api import UsageError
from xaibench.cli import program
from xaibench.cli.interrupts import Interrupts
from xaibench.cli.main import main

COMMANDS = (("report", "RUN"), ("verify", "RUN"), ("table", "RUN"), ("list",), ("eval", "--dry-run", "--limit", "4"))


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.01)  # so that the handler is called


@pytest.fixture
def run_with(monkeypatch, capsys):
    """What the program answers where its command is ``call``: exit code and stderr."""

    def run(call, *arguments):
        monkeypatch.setattr(program, "_run", lambda argv: call())
        with pytest.raises(SystemExit) as stop:
            main([*arguments])
        return stop.value.code, capsys.readouterr().err

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may hand down an ignored one
    yield run
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)


def turned_into(error):
    """A call in which an interrupt comes up as another exception."""

    def call():
        try:
            interrupt()
        except KeyboardInterrupt:
            raise error from None

    return call


@pytest.mark.parametrize("error", [ImportError("initialization failed"), UsageError("a wrong flag", "mend it"),
                                   OSError("no"), MemoryError("no"), BrokenPipeError()])  # fmt: skip
def test_whatever_an_interrupt_turns_into_is_told_as_one(run_with, error):
    assert run_with(turned_into(error)) == (130, "xaibench: interrupted\n")


def test_an_interrupt_is_one_line_and_its_traceback_with_debug(run_with):
    assert run_with(interrupt) == (130, "xaibench: interrupted\n")
    code, err = run_with(interrupt, "--debug")
    assert code == 130 and "Traceback" in err and err.endswith("KeyboardInterrupt\nxaibench: interrupted\n")


def test_an_exception_without_an_interrupt_keeps_its_own_words(run_with):
    def call():
        raise UsageError("a wrong flag", "mend it")

    assert run_with(call) == (2, "xaibench: a wrong flag\n  mend it\n")


@pytest.mark.parametrize(("told", "line"), [(True, "xaibench: nothing was run\n"), (False, "xaibench: interrupted\n")])
def test_a_command_that_tells_of_it_is_not_told_of_again(run_with, told, line):
    import typer

    app = typer.Typer()

    @app.command()
    def command():
        try:
            interrupt()
        except KeyboardInterrupt:
            if not told:
                raise
            print("xaibench: nothing was run", file=sys.stderr)
            raise typer.Exit(130) from None

    assert run_with(lambda: app(args=[], standalone_mode=True)) == (130, line)


def test_an_ignored_interrupt_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        Interrupts().listen()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_one_press_that_arrives_twice_is_one_and_a_second_press_another():
    interrupts = Interrupts()
    with pytest.raises(KeyboardInterrupt):
        interrupts(signal.SIGINT, None)
    interrupts(signal.SIGINT, None)
    time.sleep(0.25)
    with pytest.raises(KeyboardInterrupt):
        interrupts(signal.SIGINT, None)


START = "from xaibench.cli.main import main; import sys; print('up', flush=True); sys.stdin.readline(); main()"


def check(delay, command, folder):
    """Interrupt a command. It may have come to its end before; but no traceback ever, and no word of a bug."""
    process = subprocess.Popen(
        [sys.executable, "-c", START, *command], cwd=folder, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )  # fmt: skip
    process.stdout.readline()
    process.stdin.write("\n")
    process.stdin.flush()
    time.sleep(delay)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    code, lines = process.returncode, err.splitlines()
    ended = code in (0, 3) and "interrupted" not in err
    assert ended or (code == 130 and lines[-1].startswith("xaibench: interrupted")), (command, delay, code, err)
    assert "Traceback" not in err and "bug" not in err and "Aborted" not in err, (command, delay, code, err)


@pytest.mark.parametrize(("command", "delay"), [(("list",), 0.05), (("report", "nope"), 0.3), (("verify", "r"), 0.5)])
def test_an_interrupt_between_imports(tmp_path, command, delay):
    check(delay, command, tmp_path)


@LONG
@pytest.mark.timeout(600)
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_an_interrupt_at_any_moment(toy_eval, tmp_path, command):
    if "RUN" in command:
        toy_eval("-o", tmp_path / "RUN")
    for step in range(1, 31):  # at 0 the handler may not be there yet
        check(step * 0.05, command, tmp_path)
