"""The orders of maps that are remembered."""

import numpy as np
import pytest

from xaibench_perturbation import ordering


def maps(count, pixels=64):
    return [np.random.default_rng(i).normal(size=pixels).astype(np.float32) for i in range(count)]


@pytest.fixture
def sorted_maps(monkeypatch):
    """What is sorted."""
    calls, sort = [], ordering._sorted_levels
    monkeypatch.setattr(ordering, "_sorted_levels", lambda values: calls.append(len(values)) or sort(values))
    return calls


def test_a_map_is_sorted_once_whoever_holds_it(sorted_maps):
    remembered = ordering._RememberedLevels(2**20)
    (values,) = maps(1)
    first = remembered.of(values)
    assert remembered.of(values.copy()) is first
    assert sorted_maps == [64]


def test_another_type_or_value_is_another_map(sorted_maps):
    remembered = ordering._RememberedLevels(2**20)
    (values,) = maps(1)
    changed = values.copy()
    changed[3] += 1
    bits = values.view(np.float64)
    assert len({id(remembered.of(v)) for v in (values, changed, values[:32], bits)}) == 4
    assert len(sorted_maps) == 4


def test_the_least_recently_used_maps_are_forgotten_beyond_the_bytes(sorted_maps):
    first, second, third = maps(3)
    size = ordering._sorted_levels(first).nbytes
    sorted_maps.clear()
    remembered = ordering._RememberedLevels(2 * size)
    for values in (first, second, first, third, first):
        remembered.of(values)
    assert len(sorted_maps) == 3
    remembered.of(second)
    assert len(sorted_maps) == 4


def test_a_map_beyond_all_bytes_is_sorted_and_not_kept(sorted_maps):
    remembered = ordering._RememberedLevels(10)
    (values,) = maps(1)
    assert (remembered.of(values).greater == remembered.of(values).greater).all()
    assert len(sorted_maps) == 2
