"""Runs that are read in another folder than they were made in, and runs that are not there."""

import json
import shutil

import pytest

from conftest import TOY
from xaibench import open_run
from xaibench.api import UsageError


@pytest.fixture
def elsewhere(cli, tmp_path, monkeypatch):
    """The current folder is empty; beside it lie a run, made by a plugin file with a relative path, and that file."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    shutil.copy(TOY, "toy.py")
    code, _, err = cli(
        "eval", "--plugin", "toy.py", "--model", "toy", "--dataset", "demo:identities=8", "-e", "rows", "-x", "range",
        "--no-controls", "--limit", 3, "--threads", 1, "--no-isolation", "-o", "run", "-q",
    )  # fmt: skip
    assert code == 0, err
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")


MEND = "--plugin FILE, or plugin= of open_run, says where a file of the run lies now"


def test_verify_is_told_where_a_plugin_file_lies(elsewhere, cli):
    code, out, err = cli("verify", "../run", "--rows", 4)
    assert (code, out) == (3, "")
    assert err == f"xaibench: ../run cannot be computed again: plugin file 'toy.py' does not exist\n  {MEND}\n"
    code, out, _ = cli("verify", "../run", "--rows", 4, "--plugin", "../toy.py")
    assert code == 0 and out.startswith("4 of 4 rows equal to the bit\n")
    assert open_run("../run", plugin=["../toy.py"]).verify(2).exit_code == 0


def test_report_says_once_that_a_plugin_file_is_gone_and_how_to_mend_it(elsewhere, cli):
    code, _, err = cli("report", "../run")
    assert code == 0
    what = "the pictures and the sections of the run's own plugins are left out: plugin file 'toy.py' does not exist"
    assert err == f"{what}\n  {MEND}\n"
    assert cli("report", "../run", "--plugin", "../toy.py")[2] == ""


def test_a_file_of_another_name_is_refused(elsewhere, cli):
    code, _, err = cli("report", "../run", "--plugin", "../other.py")
    assert code == 2
    assert err == "xaibench: the run has no plugin file called 'other.py'\n  its plugin files: toy.py\n"
    with pytest.raises(UsageError, match=r"no plugin file called 'other.py'"):
        open_run("../run", plugin=["other.py"])


def test_status_says_that_all_files_are_as_recorded(elsewhere, cli, tmp_path):
    files = len(list((tmp_path / "run").glob("*/*.parquet")))
    assert "all as recorded" not in cli("status", "../run")[1]
    assert f"files: {files}, all as recorded\n" in cli("status", "../run", "--verify")[1]
    found = json.loads(cli("status", "../run", "--verify", "--json")[1])
    assert (found["files"], found["damage"]) == (files, {})
    next((tmp_path / "run" / "scores").iterdir()).write_bytes(b"")
    code, out, _ = cli("status", "../run", "--verify")
    assert code == 3 and "all as recorded" not in out and "damaged: scores/" in out


@pytest.mark.parametrize(
    "command",
    [["status"], ["report"], ["verify"], ["table"], ["export"], ["rank", "detectors"], ["merge", "-o", "joined"]],
    ids=lambda command: command[0],
)
def test_a_folder_that_is_not_there_is_named_as_it_was_written(cli, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    assert cli(*command, "./nope") == (3, "", "xaibench: nope does not exist\n  give the folder of a run\n")
    (tmp_path / "bare").mkdir()
    assert "bare is no run: it holds no commits" in cli(*command, "bare")[2]


def test_a_run_is_not_compared_with_itself(elsewhere, cli, tmp_path):
    (tmp_path / "empty" / tmp_path.name).symlink_to(tmp_path)
    code, out, err = cli("compare", "../run", f"{tmp_path.name}/run")
    assert (code, out) == (2, "")
    assert err == "xaibench: both are the same run, ../run\n  give the folders of two runs\n"
