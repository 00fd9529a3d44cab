"""The settings of a run as a run file gives them."""

from __future__ import annotations

import pytest
import tomli_w

from xaibench.api import PlanError, UsageError, describe_parameters
from xaibench.plan.settings import Settings, make_settings

VALUES = {
    "model": ["a"], "dataset": ["b", "c"], "explainer": ["d:e=1"], "metric": ["f"], "preset": "full", "target": "fake",
    "out": "g", "seed": 1, "repeats": 2, "limit": 3, "until_settled": ["f"], "split": "test", "method": ["h"], "batch_size": 4, "task_samples": 5, "part": "2/3",
    "executor": "i", "jobs": 6, "threads": 7, "device": "cpu", "precision": "bf16", "engine": "auto", "maps": "drop", "members": "all",
    "controls": False, "time_limit": 9.5, "isolation": False, "accept_detector": True, "plugin": ["j.py"], "no_plugin": ["k"], "requires": ["l>=1"], "parameter": {"metric.f.m": 8},
}  # fmt: skip


def test_every_setting_is_a_key_of_the_run_file_with_a_dash_or_an_underscore(tmp_path):
    assert set(VALUES) == set(Settings.model_fields)
    for spelling in ("-", "_"):
        file = tmp_path / "run.toml"
        file.write_text(tomli_w.dumps({key.replace("_", spelling): value for key, value in VALUES.items()}))
        assert make_settings(file, {}).model_dump(mode="json") == VALUES


def test_a_wrong_value_names_the_run_file_or_the_flags(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text("limit = 0\n")
    with pytest.raises(PlanError, match=r"run file .*run\.toml: limit=0 is wrong") as refusal:
        make_settings(file, {})
    assert refusal.value.mend.startswith("limit: int >= 1 <= 1000000000, only the first N samples")
    with pytest.raises(UsageError, match="eval: limit=0 is wrong"):
        make_settings(None, {"limit": 0})


def test_a_key_that_is_given_with_a_dash_and_an_underscore_is_refused(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text("batch-size = 2\nbatch_size = 3\n")
    with pytest.raises(PlanError, match="gives 'batch_size' twice"):
        make_settings(file, {})


def test_every_setting_says_what_it_means_and_what_it_is():
    for row in describe_parameters(Settings):
        assert row["type"] != "any"
        assert row["description"][:1] != " "
        assert not row["description"].endswith(".")


@pytest.mark.parametrize(
    ("name", "value"),
    [("seed", 2**63), ("repeats", 10**9), ("limit", 10**30), ("batch-size", 10**12), ("task-samples", 10**30),
     ("jobs", 10**6), ("threads", 10**9), ("part", f"1/{'9' * 30}"), ("part", "٣/٤"), ("part", "²/³")],
)  # fmt: skip
def test_huge_numbers_are_refused_by_name(cli, name, value):
    code, out, err = cli("eval", f"--{name}", value, "--dry-run")
    what, mend = err.splitlines()
    assert (code, out) == (2, "") and f"--{name}=" in what and mend.startswith(f"  {name.replace('-', '_')}:")


@pytest.mark.parametrize("hours", ["nan", "inf", "-inf", "1e999"])
def test_hours_are_a_number(cli, hours):
    code, _, err = cli("eval", "--max-hours", hours, "--dry-run")
    assert code == 2 and "--max-hours" in err


@pytest.mark.parametrize(
    ("text", "what"),
    [("limit = " + "1" + "0" * 400, "bits"), ("limit = 0x" + "f" * 6000, "bits"), ("model = " + "[" * 5000, "nested"),
     ("[" + ".".join("a" * 90) + "]", "nested"), ("limit = " + "9" * 5000, "not valid TOML")],
)  # fmt: skip
def test_run_files_of_huge_numbers_and_nesting_are_refused(cli, tmp_path, text, what):
    (tmp_path / "r.toml").write_text(text)
    code, _, err = cli("eval", tmp_path / "r.toml")
    assert code == 3 and what in err and len(err.splitlines()) == 2 and len(err) < 1000


def test_a_parameter_that_is_a_table_stays_one(tmp_path):
    (tmp_path / "run.toml").write_text(
        '[parameter.executor.futures]\nfactory = "loky:ProcessPoolExecutor"\n[parameter.executor.futures.arguments]\ntimeout = 30\n'
    )
    settings = make_settings(tmp_path / "run.toml", {"parameter": {"executor.futures.jobs": 2}})
    assert settings.parameter == {
        "executor.futures.factory": "loky:ProcessPoolExecutor",
        "executor.futures.arguments": {"timeout": 30},
        "executor.futures.jobs": 2,
    }
