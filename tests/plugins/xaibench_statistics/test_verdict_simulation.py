"""Three quick cells of ``benchmarks/verdicts.py``; its tables stand in docs/explanation/statistics.md."""

import importlib.util
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def verdicts():
    path = Path(__file__).parents[3] / "benchmarks" / "verdicts.py"
    spec = importlib.util.spec_from_file_location("verdicts", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["verdicts"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["verdicts"]


def test_a_board_of_skewed_differences_claims_nothing_false(verdicts):
    setting = verdicts.Setting(groups=17, shape="lognormal", sizes=(1, 10), icc=0.5)
    wrong, wrong_holm = verdicts.board_error(setting, "partial", trials=30)
    assert wrong <= 0.1
    assert wrong_holm > 0.5  # a t table would


def test_one_standard_deviation_is_told_at_50_groups(verdicts):
    better, worse = verdicts.board_power(verdicts.Setting(groups=50, controls=6), 1.0, trials=25)
    assert better >= 0.8
    assert worse >= 0.8


def test_a_column_of_equal_explainers_is_not_ranked(verdicts):
    assert verdicts.rank_error(verdicts.Setting(groups=17, shape="lognormal"), "null", trials=40) <= 0.15
