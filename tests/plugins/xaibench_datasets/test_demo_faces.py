"""The procedural demo faces: same bytes every time, exact masks, no prior that finds the manipulations."""

import subprocess
import sys

import numpy as np
import pytest
from scipy.stats import rankdata

from xaibench_datasets.demo_faces import (
    METHODS,
    PARTS,
    SIZE,
    TEST_IDENTITIES_FROM,
    DemoPicture,
    donor_of,
    render_fake,
    render_real,
)

IDENTITIES = range(TEST_IDENTITIES_FROM, TEST_IDENTITIES_FROM + 40)


@pytest.fixture(scope="module")
def reals() -> dict[int, DemoPicture]:
    return {identity: render_real(0, identity) for identity in IDENTITIES}


@pytest.fixture(scope="module")
def fakes() -> list[DemoPicture]:
    return [render_fake(0, identity, method) for identity in IDENTITIES for method in METHODS]


def region(fake: DemoPicture) -> np.ndarray:
    return fake.mask >= fake.mask.max() / 2


def test_pictures_are_8_bit_rgb_in_the_unit_range(reals, fakes):
    for picture in [*reals.values(), *fakes]:
        assert picture.image.shape == (3, SIZE, SIZE)
        assert picture.image.dtype == np.float32
        levels = np.rint(picture.image * 255)
        assert levels.min() >= 0
        assert levels.max() <= 255
        assert np.array_equal(levels.astype(np.float32) / np.float32(255), picture.image)


def test_bytes_do_not_depend_on_what_was_rendered_before(fakes):
    again = [render_fake(0, fake.identity, fake.method) for fake in reversed(fakes[:8])]
    for first, second in zip(reversed(fakes[:8]), again, strict=True):
        assert first.image.tobytes() == second.image.tobytes()
        assert first.mask.tobytes() == second.mask.tobytes()


def test_bytes_are_the_same_in_another_process(reals):
    identity = IDENTITIES[0]
    code = (
        "import sys; from xaibench_datasets.demo_faces import render_real;"
        f"sys.stdout.buffer.write(render_real(0, {identity}).image.tobytes())"
    )
    there = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, env={"PYTHONPATH": ":".join(sys.path)}
    ).stdout
    assert there == reals[identity].image.tobytes()


def test_global_random_state_plays_no_part():
    np.random.seed(1)
    first = render_fake(0, 5, "swap").image
    np.random.seed(2)
    assert np.array_equal(first, render_fake(0, 5, "swap").image)


def test_identities_populations_and_methods_differ():
    pictures = [render_real(0, 1), render_real(0, 2), render_real(1, 1), *(render_fake(0, 1, m) for m in METHODS)]
    assert len({picture.image.tobytes() for picture in pictures}) == len(pictures)


def test_a_fake_equals_its_real_counterpart_wherever_the_mask_is_zero(reals, fakes):
    for fake in fakes:
        untouched = fake.mask == 0
        assert np.array_equal(fake.image[:, untouched], reals[fake.identity].image[:, untouched])


@pytest.mark.parametrize("method", METHODS)
def test_every_method_changes_one_visible_part(method, reals, fakes):
    ours = [fake for fake in fakes if fake.method == method]
    changes = []
    for fake in ours:
        inside = region(fake)
        assert 40 <= inside.sum() <= 300
        assert fake.part in PARTS
        changes.append(np.abs(fake.image - reals[fake.identity].image)[:, inside].mean())
    assert min(changes) > 2 / 255
    assert np.mean(changes) > 8 / 255


def test_the_part_named_is_the_part_masked(fakes):
    y, x = np.mgrid[:SIZE, :SIZE]
    for fake in fakes:
        centre = np.array([x[region(fake)].mean(), y[region(fake)].mean()])
        assert np.hypot(*(fake.landmarks[PARTS.index(fake.part)] - centre)) < 4


def test_the_distance_to_the_centre_does_not_find_the_manipulation(fakes):
    y, x = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    ranks = rankdata(-np.hypot(x, y).ravel())
    areas = []
    for fake in fakes:
        inside = region(fake).ravel()
        n, rest = inside.sum(), (~inside).sum()
        areas.append((ranks[inside].sum() - n * (n + 1) / 2) / (n * rest))
    assert 0.45 <= np.mean(areas) <= 0.60


def test_a_real_picture_has_an_empty_mask_and_no_manipulation(reals):
    for real in reals.values():
        assert not real.mask.any()
        assert (real.method, real.part, real.donor) == (None, None, None)


def test_donors_are_fixed_partners(fakes):
    for fake in fakes:
        assert fake.donor == (donor_of(fake.identity) if fake.method == "swap" else None)
        assert donor_of(donor_of(fake.identity)) == fake.identity
        assert donor_of(fake.identity) // 2 == fake.identity // 2


def test_an_unknown_method_is_named_with_the_known_ones():
    with pytest.raises(ValueError, match=r"no manipulation called 'paint'.*swap, blend, retexture, warp"):
        render_fake(0, 0, "paint")
