"""Digests of samples: what is in them and what is not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from xaibench.api import Native, Sample
from xaibench.data.sample_digests import sample_digest, sample_digests
from xaibench.data.survey import survey


class Pictures:
    """Samples and natives given one by one."""

    def __init__(self, natives):
        self.natives = natives

    def samples(self):
        return tuple(self.natives)

    def read(self, sample):
        return self.natives[sample]

    def problems(self):
        return ()


PIXELS = np.full((4, 4, 3), 9, np.uint8)
MASK = np.eye(4, dtype=np.uint8)
SWAP = 90 * MASK[:, :, None]
POINTS = np.array([[0, 1], [2, 3]], np.float32)
REAL = Sample(id="r", label="real", group="a")
FAKE = Sample(id="f", label="fake", group="a", method="swap", pair="r", has_mask=True)
OTHER = Sample(id="o", label="fake", group="b", method="swap", has_mask=True)


def stranger_digest(sample, found):
    return sample_digests(sample, found)[1]


def natives():
    return {REAL: Native(PIXELS), FAKE: Native(PIXELS + SWAP, MASK), OTHER: Native(PIXELS + 2, MASK)}


def digests(natives, function=sample_digest, seed=0):
    found = survey(Pictures(natives), "x", seed=seed, strangers=True)
    return {sample.id: function(sample, found) for sample in found.samples}


def changed(natives, function=sample_digest, seed=0):
    """Ids of the samples whose digest is not that of the pictures above."""
    before, after = digests(globals()["natives"](), function), digests(natives, function, seed)
    return {name for name in before if before[name] != after[name]}


def with_native(sample, native):
    return {**natives(), sample: native}


def with_sample(old, **values):
    return {replace(s, **values) if s == old else s: native for s, native in natives().items()}


def test_a_digest_is_64_hex_digits_and_its_own():
    found = digests(natives())
    assert len(set(found.values())) == 3
    assert all(len(bytes.fromhex(value)) == 32 for value in found.values())


@pytest.mark.parametrize(
    "native",
    [Native(PIXELS + 2 * SWAP, MASK), Native(PIXELS + SWAP, MASK.T[::-1]), Native(PIXELS + SWAP),
     Native(PIXELS + SWAP, MASK, POINTS)],
    ids=["pixels", "mask", "no mask", "landmarks"],
)  # fmt: skip
def test_pixels_mask_and_landmarks_are_in_it(native):
    assert changed(with_native(FAKE, native)) == {"f"}


def test_the_counterpart_is_in_it():
    assert changed(with_native(REAL, Native(PIXELS + 7))) == {"r", "f"}
    assert changed(with_native(REAL, Native(PIXELS, None, POINTS))) == {"r", "f"}
    assert changed(with_sample(FAKE, pair=None)) == {"f"}


def test_what_puts_it_in_doubt_is_in_it():
    assert changed(with_sample(FAKE, doubt="label: a folder that says the other label")) == {"f"}


def test_label_and_method_are_in_it():
    assert changed(with_sample(FAKE, method="blend")) == {"f"}


@pytest.mark.parametrize(
    "values", [{"group": "z"}, {"cross_group": "z"}, {"split": "test"}, {"columns": (("age", 1),)}]
)
def test_groups_split_and_columns_are_not_in_it(values):
    assert changed(with_sample(FAKE, **values)) == set()


def test_order_is_not_in_it():
    assert changed(natives(), seed=7) == set()


def test_a_stranger_is_in_the_digest_for_strangers_alone():
    repainted = with_native(OTHER, Native(PIXELS + 40, MASK))
    assert changed(repainted) == {"o"}
    assert changed(repainted, stranger_digest) == {"o", "f"}


def test_without_a_stranger_both_digests_are_one():
    plain, strange = digests(natives()), digests(natives(), stranger_digest)
    assert digests(natives(), lambda s, found: sample_digests(s, found)[0]) == plain
    assert plain["r"] == strange["r"]
    assert plain["f"] != strange["f"]
