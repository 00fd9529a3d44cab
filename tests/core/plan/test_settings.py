"""The settings of a run as a run file gives them."""

from __future__ import annotations

import pytest
import tomli_w

from xaibench.api import PlanError, UsageError, describe_parameters
from xaibench.plan.settings import Settings, make_settings

VALUES = {
    "model": ["a"], "dataset": ["b", "c"], "explainer": ["d:e=1"], "metric": ["f"], "preset": "full", "target": "fake",
    "out": "g", "seed": 1, "repeats": 2, "limit": 3, "split": "test", "method": ["h"], "batch_size": 4, "task_samples": 5, "part": "2/3",
    "executor": "i", "jobs": 6, "threads": 7, "device": "cpu", "precision": "bf16", "maps": "drop", "members": "all",
    "controls": False, "plugin": ["j.py"], "no_plugin": ["k"], "requires": ["l>=1"], "parameter": {"metric.f.m": 8},
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
