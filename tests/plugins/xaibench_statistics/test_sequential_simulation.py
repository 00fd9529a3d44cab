"""``benchmarks/sequential.py`` tests as a run does; its table stands in docs/explanation/statistics.md."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

from xaibench_statistics import OrderSoFar, Values, next_checkpoint


@pytest.fixture(scope="module")
def sequential():
    sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))
    yield importlib.import_module("sequential")
    del sys.path[0], sys.modules["sequential"], sys.modules["verdicts"]


@pytest.mark.parametrize("shape", ["normal", "piled"])
def test_a_trial_tells_what_a_run_tells(sequential, shape):
    world = sequential.World(explainers=4, gaps=(0.0, 1.0, 2.0), groups=17, sizes=(2, 2), shape=shape)
    (trial,) = sequential.run_trials([0], world, 10)
    groups, ids = [f"g{g:02d}" for g in trial.group], [f"s{i:02d}" for i in range(len(trial.group))]
    order = OrderSoFar()
    for n in trial.places:
        shown = {f"e{e}": Values.of(ids[:n], x[:n], groups[:n]) for e, x in enumerate(trial.scores.T)}
        order = next_checkpoint(order, shown, "higher")
    assert trial.places == (10, 15, 23, 34)
    assert {(f"e{i}", f"e{j}") for i, j in np.argwhere(trial.apart)} == order.apart
    assert order.apart
    assert not trial.settled and not trial.wrong and trial.samples == 34


def test_bounded_scores_have_the_means_of_their_world(sequential):
    piled = sequential.World(explainers=3, gaps=(0.0, 2.0), spreads=(1.0, 3.0), shape="piled")
    hits = sequential.World(explainers=3, gaps=(1.0,), shape="hits")
    assert piled.means() == pytest.approx([0.9, 0.9, 0.7])
    assert hits.means() == pytest.approx([0.9, 0.6, 0.3])
    latent = np.tile(np.random.default_rng(0).normal(size=(200_000, 1)), 3)
    for world in (piled, hits):
        scores = world.scores(latent)
        assert 0 <= scores.min() <= scores.max() == 1
        assert scores.mean(axis=0) == pytest.approx(world.means(), abs=0.003)


def test_half_of_a_normal_around_the_middle_is_cut_on_either_side(sequential):
    assert sequential.cut_mean(0.5, 0.4) == pytest.approx(0.5)
    assert sequential.piled_centre(0.5, 3.0) == pytest.approx(0.5)


def test_a_pair_told_without_a_difference_or_the_other_way_is_wrong(sequential):
    trial = sequential.Trial(0, sequential.World(explainers=3, gaps=(0.0, 1.0), **sequential.FEW), 20)
    told = []
    for pair in ((0, 1), (0, 2), (2, 1)):
        trial.apart[:] = False
        trial.apart[pair] = True
        told.append(trial.wrong)
    assert told == [True, False, True]
