"""What a plan says of its sample size."""

import json
from math import inf

import pytest

from conftest import TOY
from xaibench.discovery.registry import load_registry
from xaibench.plan.making import make_plan
from xaibench.plan.sample_size import sample_sizes
from xaibench.plan.settings import make_settings
from xaibench_statistics import detectable_difference, groups_needed

DRY = ("eval", "--plugin", TOY, "-m", "toy", "-e", "rows", "-e", "gradcam", "-x", "deletion", "--dry-run")


def sizes_of(**flags):
    given = {"plugin": [str(TOY)], "model": ["toy"], "dataset": ["demo:identities=8"], "explainer": ["rows", "gradcam"]}
    return list(sample_sizes(make_plan(make_settings(None, given | flags), load_registry([TOY]))))


def test_tests_are_ranked_explainers_times_scores_of_the_largest_board():
    (found,) = sizes_of(metric=["deletion", "insertion", "mask-auc", "range"])
    assert (found.groups, found.tests) == (4, 4)  # two explainers, deletion and insertion; controls are not ranked
    assert found.difference == inf
    assert found.needed == {effect: groups_needed(effect, 1.0, tests=4) for effect in (0.2, 0.5, 1.0)}


def test_an_explainer_that_cannot_run_is_not_counted():
    (found,) = sizes_of(model=["blind"], metric=["deletion"])  # no gradients
    assert found.tests == 1


def test_what_ranks_nothing_says_nothing():
    assert sizes_of(explainer=["random"], metric=["deletion"]) == []


def test_a_dry_run_says_what_few_groups_tell(cli):
    code, out, _ = cli(*DRY, "-D", "demo:identities=8")
    assert code == 0
    assert (
        "4 groups on xaibench/demo:identities=8: with power .8 no difference is told from every control, corrected for "
        "2 tests on its largest board\n"
        "groups that would tell: 0.2 SD 477, 0.5 SD 82, 1 SD 25 (SD: standard deviation of the paired difference)\n"
    ) in out


def test_a_dry_run_says_what_more_groups_tell(cli):
    code, out, _ = cli(*DRY, "-D", "demo", "--json")
    assert code == 0
    (found,) = json.loads(out)["sample_sizes"]
    assert (found["dataset"], found["groups"], found["tests"]) == ("xaibench/demo", 24, 2)
    assert found["difference"] == pytest.approx(detectable_difference(24, tests=2))
    assert found["needed"] == {"0.2": 477, "0.5": 82, "1": 25}
