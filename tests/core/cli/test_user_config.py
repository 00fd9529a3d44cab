"""The user's config: what it sets, what wins over it, and how it is refused."""

from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path

import pytest

from xaibench.cli.user_config import config_path
from xaibench.plan.settings import make_settings


@pytest.fixture
def config(tmp_path, monkeypatch):
    """Write the user's config."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "config.toml"
    monkeypatch.setenv("XAIBENCH_CONFIG", str(path))

    def write(text: str) -> str:
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


def limit_of(toy_eval, *arguments):
    """How many pictures a run of the toy detector plans."""
    code, out, err = toy_eval(*arguments, "--dry-run", limit=None)
    assert code == 0, err
    return json.loads(out)["passes"]["predictions"]


def test_a_flag_wins_over_a_variable_a_run_file_the_config_and_the_default(toy_eval, config, monkeypatch):
    config("")
    assert limit_of(toy_eval) == 40
    config("[eval]\nlimit = 6\n")
    assert limit_of(toy_eval) == 6
    Path("run-file.toml").write_text("limit = 5\n")
    assert limit_of(toy_eval, "run-file.toml") == 5
    Path("other.toml").write_text("seed = 5\n")
    assert limit_of(toy_eval, "other.toml") == 6
    monkeypatch.setenv("XAIBENCH_EVAL_LIMIT", "4")
    assert limit_of(toy_eval, "run-file.toml") == 4
    assert limit_of(toy_eval, "run-file.toml", "--limit", 3) == 3


def test_what_it_sets_is_recorded_and_the_run_file_of_a_run_is_complete(toy_eval, config):
    config("[eval]\nseed = 7\nrepeats = 2\n[eval.parameter.explainer.rows]\nbands = 2\n")
    assert toy_eval("-o", "run", limit=4)[0] == 0
    recorded = tomllib.loads(Path("run/run.toml").read_text())
    assert (recorded["seed"], recorded["repeats"], recorded["limit"]) == (7, 2, 4)
    assert recorded["explainer"] == ["local/rows:bands=2"]
    config("[eval]\nmethod = ['swap']\nseed = 8\n")
    assert make_settings("run/run.toml", {}, {"method": ("swap",), "seed": 8}).method == ()
    assert make_settings("run/run.toml", {}, {"seed": 8}).seed == 7


def test_parameters_are_merged_key_by_key():
    settings = make_settings(None, {"parameter": {"a.b.c": 1}}, {"parameter": {"a.b.c": 2, "a.b.d": 3}, "seed": 4})
    assert settings.parameter == {"a.b.c": 1, "a.b.d": 3}
    assert settings.seed == 4


def test_every_command_takes_its_section(cli, config):
    config('[list]\nneeds = "mask"\njson = true\n[info]\njson = true\n')
    code, out, _ = cli("list", "metrics")
    assert code == 0 and all("mask" in c["needs"] for c in json.loads(out)["components"])
    code, out, _ = cli("info", "rise")
    assert code == 0 and json.loads(out)["schema"] == "xaibench.info/1"


def test_a_switch_of_the_config_is_turned_off_by_its_variable(cli, config, monkeypatch):
    config("[list]\njson = true\n")
    monkeypatch.setenv("XAIBENCH_LIST_JSON", "0")
    assert cli("list", "recipes")[1].startswith("recipes")


@pytest.mark.parametrize(("text", "arguments", "words"), [
    ("[eval]\nlimt = 3\n", ["eval"], "eval has no flag 'limt'\n  did you mean 'limit'?"),
    ("[eval]\nlimit = 0\n", ["eval"], "limit=0 is wrong"),
    ("[eval]\nlimit = 'many'\n", ["eval"], "limit=many is wrong"),
    ("[eval]\nlimit = [3]\n", ["eval"], "[eval] limit = [3] is wrong"),
    ("[eval]\nno-controls = 'yes'\n", ["eval"], "[eval] no-controls = yes is wrong: it is on or off"),
    ("[eval]\nrun-file = 'x'\n", ["eval"], "eval has no flag 'run-file'"),
    ("[eval]\nhelp = true\n", ["eval"], "eval has no flag 'help'"),
    ("[check]\nlimit = 'many'\n", ["check", "demo"], "[check] limit = many is wrong"),
    ("[rank.detectors]\nalll = true\n", ["rank", "detectors", "x"], "rank.detectors has no flag 'alll'"),
    ("[evel]\n", ["list"], "no command 'evel'\n  did you mean 'eval'?"),
    ("limit = 3\n", ["list"], "'limit' stands in no section"),
    ("[eval\n", ["list"], "is not valid TOML"),
])  # fmt: skip
def test_what_is_wrong_is_refused_with_the_name_of_the_file(cli, config, text, arguments, words):
    path = config(text)
    code, out, err = cli(*arguments)
    assert (code, out) == (2, "")
    assert f"config {path}" in err and words in err and "Traceback" not in err
    assert cli(*arguments[:1], "--help")[0] == 0


def test_a_named_file_that_is_not_there_is_refused_and_an_empty_name_reads_none(cli, config, monkeypatch):
    code, _, err = cli("list")
    assert code == 2 and "config.toml cannot be read: No such file" in err
    config("[")
    monkeypatch.setenv("XAIBENCH_CONFIG", "")
    assert cli("list", "recipes")[0] == 0


def test_doctor_tells_the_file_and_what_it_sets_and_hides_parameters(cli, config):
    path = config('[eval]\nlimit = 6\nmodel = "acme:api_key=k3y"\n[eval.parameter.model.acme]\napi_key = "k3y"\n')
    code, out, _ = cli("doctor")
    assert code == 0 and "k3y" not in out
    told = [line for line in out.splitlines() if line.startswith("config")]
    assert told == [
        f"config: {path}", "config eval.limit = 6", "config eval.model = acme:...",
        "config eval.parameter.model.acme.api_key = ...",
    ]  # fmt: skip
    config("[eval]\nlimt = 6\n")
    code, out, _ = cli("doctor")
    assert f"problem: config {path}: eval has no flag 'limt': did you mean 'limit'?" in out


def test_a_section_of_a_command_whose_plugin_is_broken_costs_nothing(cli, config, monkeypatch):
    config("[acme-board]\nlimit = 3\n")
    assert cli("list", "recipes")[0] == 2
    monkeypatch.setenv("XAIBENCH_DISABLE_PLUGINS", "xaibench:audit")
    assert cli("list", "recipes")[0] == 0


def test_where_the_file_is_looked_for(monkeypatch, tmp_path):
    monkeypatch.delenv("XAIBENCH_CONFIG", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    assert config_path() == tmp_path / "xdg" / "xaibench" / "config.toml"
    for relative in ("", "relative"):
        monkeypatch.setenv("XDG_CONFIG_HOME", relative)
        assert config_path() == tmp_path / ".config" / "xaibench" / "config.toml"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("APPDATA", str(tmp_path / "roaming"))
    assert config_path() == tmp_path / "roaming" / "xaibench" / "config.toml"
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError))
    monkeypatch.setattr(sys, "platform", "linux")
    assert config_path() is None
