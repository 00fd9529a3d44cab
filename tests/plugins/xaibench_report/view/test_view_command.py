"""``xaibench view`` from the shell."""

import signal
import socket
import subprocess
import sys
import urllib.request

import pytest

from conftest import TOY


@pytest.fixture
def run(cli, tmp_path):
    folder = tmp_path / "run"
    code, _, err = cli(
        "eval", "--plugin", TOY, "--model", "toy", "--dataset", "demo:identities=8", "-e", "rows", "-x", "range",
        "--no-controls", "--no-isolation", "--threads", 1, "--limit", 2, "-q", "-o", folder,
    )  # fmt: skip
    assert code == 0, err
    return folder


def test_it_prints_its_address_and_ctrl_c_is_the_usual_end(run):
    command = [sys.executable, "-m", "xaibench", "view", str(run), "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            address = process.stdout.readline().strip()
            assert address.startswith("http://127.0.0.1:")
            with urllib.request.urlopen(address, timeout=120) as reply:
                assert b"Pictures and maps" in reply.read()
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=120)
        finally:
            process.kill()
    assert process.returncode == 0, err
    assert out == ""
    assert "Traceback" not in err


def test_a_port_that_is_taken_and_a_folder_that_is_no_run_are_one_line(cli, run, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, _, err = cli("view", run, "--port", port, "--no-browser")
    assert code == 2
    assert f"port {port} cannot be had" in err
    code, _, err = cli("view", tmp_path, "--no-browser")
    assert code == 3
    assert "Traceback" not in err


def test_without_its_extra_it_says_what_to_install(cli, run, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    code, _, err = cli("view", run, "--no-browser")
    assert code == 2
    assert "pip install 'xaibench[view]'" in err
