"""Samples in doubt: what the survey finds in masks, pairs and labels, what it withdraws, and what it keeps."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from xaibench.api import Facts, Native, Sample
from xaibench.data.arrays import PictureArrays
from xaibench.data.doubts import doubt_lines, split_doubt
from xaibench.data.pictures import show_picture
from xaibench.data.survey import survey

SIDE = 96
MASK = np.zeros((SIDE, SIDE), np.uint8)
MASK[30:60, 20:50] = 255


def photo(seed):
    """A picture with structure on all scales, as photographs have."""
    rng, total = np.random.default_rng(seed), np.zeros((SIDE, SIDE, 3))
    for cells in (3, 6, 12, 24, 48):
        grey = rng.integers(0, 256, (cells, cells, 1)) * 0.8 + rng.integers(0, 256, (cells, cells, 3)) * 0.2
        grid = Image.fromarray(grey.astype(np.uint8))
        total += np.asarray(grid.resize((SIDE, SIDE), Image.Resampling.BICUBIC)).astype(float) / cells
    total -= total.min()
    return (total / total.max() * 255).astype(np.uint8)


def pasted(real, seed=99, mask=MASK):
    return np.where(mask[:, :, None] > 0, photo(seed), real)


def jpeg(pixels, quality):
    data = BytesIO()
    Image.fromarray(pixels).save(data, "JPEG", quality=quality)
    return np.asarray(Image.open(data))


def moved(pixels, share):
    n = int(SIDE * share)
    return np.asarray(Image.fromarray(pixels[n:, n:]).resize((SIDE, SIDE)))


class Pairs:
    """``r0`` and its fake ``f0`` as given, and a sound pair ``r1``, ``f1``."""

    def __init__(self, real, fake, mask=MASK, real_mask=None, **sample):
        self.natives = {
            "r0": Native(real, real_mask), "f0": Native(fake, mask),
            "r1": Native(photo(1)), "f1": Native(pasted(photo(1)), MASK),
        }  # fmt: skip
        self.listing = [
            Sample(id="r0", label="real", group="0", has_mask=real_mask is not None, split="test"),
            replace(
                Sample(
                    id="f0", label="fake", group="0", method="m", pair="r0", has_mask=mask is not None, split="test"
                ),
                **sample,
            ),
            Sample(id="r1", label="real", group="1", split="test"),
            Sample(id="f1", label="fake", group="1", method="m", pair="r1", has_mask=True, split="test"),
        ]
        self.decoded = []

    def samples(self):
        return tuple(self.listing)

    def read(self, sample):
        self.decoded.append(sample.id)
        return self.natives[sample.id]

    def problems(self):
        return ()

    def fingerprint(self, sample):
        return sample.id


def look(dataset, **more):
    return survey(dataset, "x", seed=0, **more)


FACTS = Facts(name="d", classes=("real", "fake"), real_class=0, input_size=(8, 8), digest="d")
REAL, FAKE = photo(0), pasted(photo(0))


@pytest.mark.parametrize(
    ("real", "fake", "what"),
    [
        (REAL, REAL, "identical to the fake"),
        (REAL, jpeg(REAL, 75), "nearly identical to the fake where the mask marks it"),
        (photo(5), FAKE, "different outside the mask"),
        (moved(REAL, 0.08), FAKE, "different outside the mask"),
        (FAKE, FAKE, "identical to the fake"),
    ],
    ids=["equal", "saved again", "another picture", "another crop", "paired with itself"],
)
def test_a_counterpart_in_doubt_is_withdrawn_with_the_mask(real, fake, what):
    found = look(Pairs(real, fake))
    sample = found.by_id()["f0"]
    assert sample.doubt.startswith(f"counterpart: r0 is {what}")
    assert (sample.pair, sample.has_mask) == (None, False)
    assert sample.pair_doubt == sample.mask_doubt == sample.doubt
    assert found.doubts == {"f0": sample.doubt}
    assert found.pairs["f0"] == "r0"


@pytest.mark.parametrize(
    ("real", "fake", "mask"),
    [
        (REAL, FAKE, MASK),
        (jpeg(REAL, 50), jpeg(FAKE, 30), MASK),
        (REAL, (REAL * 0.75 + FAKE * 0.25).astype(np.uint8), MASK),
        (REAL, pasted(REAL, mask=MASK // 255 * 64), MASK // 4),
        (REAL, pasted(REAL, mask=np.pad(np.ones((4, 6)), ((40, 52), (30, 60)))),
         np.pad(np.ones((4, 6), np.uint8), ((40, 52), (30, 60)))),
        (REAL, photo(7), None),
    ],
    ids=["swap", "saved again", "faint blend", "faint mask", "eyes", "no mask"],
)  # fmt: skip
def test_pairs_that_differ_where_the_mask_says_are_not_in_doubt(real, fake, mask):
    found = look(Pairs(real, fake, mask))
    assert found.doubts == {}
    assert found.by_id()["f0"].pair == "r0"


def test_without_a_mask_only_equal_pictures_are_in_doubt():
    assert "nearly identical" in look(Pairs(REAL, np.where(REAL > 250, 250, REAL + 1), None)).doubts["f0"]


def test_a_mask_in_doubt_leaves_the_counterpart():
    sample = look(Pairs(REAL, FAKE, MASK // 80)).by_id()["f0"]
    assert sample.doubt == "mask: empty (its largest weight is 3 of 255)"
    assert (sample.has_mask, sample.mask_doubt, sample.pair, sample.pair_doubt) == (False, sample.doubt, "r0", "")


def test_a_real_picture_has_no_mask_that_marks_something():
    found = look(Pairs(REAL, FAKE, real_mask=MASK))
    assert list(found.doubts) == ["r0"]
    assert found.doubts["r0"].startswith("mask: on a real picture (it marks 9.8% of it)")
    assert look(Pairs(REAL, FAKE, real_mask=MASK * 0 + 255)).doubts.keys() == {"r0"}
    for empty in (MASK * 0, MASK // 80, MASK * 0 + 16):
        assert look(Pairs(REAL, FAKE, real_mask=empty)).doubts == {}
    dataset = Pairs(REAL, FAKE, real_mask=MASK)
    assert show_picture(dataset, dataset.listing[0], FACTS).mask is None


def test_equal_pictures_under_two_labels_are_in_doubt():
    dataset = Pairs(REAL, FAKE)
    dataset.natives["r1"] = Native(FAKE)
    found = look(dataset).doubts
    assert found["f0"].startswith("label: the same picture under two labels (it is r1 too, labelled real)")
    assert "label: the same picture under two labels (it is f0 too, labelled fake)" in found["r1"]
    assert look(dataset).by_id()["f0"].pair is None


def test_equal_pictures_in_two_splits_are_in_doubt():
    dataset = Pairs(REAL, FAKE, split="train")
    dataset.natives |= {"f1": Native(FAKE, MASK // 2), "r1": Native(REAL)}
    dataset.listing[0] = replace(dataset.listing[0], split="train")
    found = look(dataset)
    assert found.doubts.keys() == {"r0", "f0", "r1", "f1"}
    assert found.doubts["f1"] == "split: the same picture in two splits (it is f0 too, of split train)"
    assert (found.by_id()["f1"].has_mask, found.by_id()["f1"].pair) == (False, "r1")
    assert look(dataset, split="test").doubts == {}


def test_equal_pictures_of_one_label_and_split_are_none():
    dataset = Pairs(REAL, FAKE)
    dataset.natives |= {"f1": Native(FAKE, MASK), "r1": Native(REAL)}
    assert look(dataset).doubts == {}


def test_what_a_dataset_says_of_a_sample_stands_with_what_is_found():
    sample = look(Pairs(REAL, FAKE, MASK * 0, doubt="label: odd")).by_id()["f0"]
    assert sample.doubt == "label: odd; mask: empty (all weights are 0)"
    assert (sample.pair, sample.pair_doubt) == (None, "label: odd")
    assert split_doubt(sample.doubt) == {"label": "odd", "mask": "empty (all weights are 0)"}


@pytest.mark.parametrize("fake", [FAKE, REAL, jpeg(REAL, 75), photo(3)])
def test_a_second_survey_finds_the_same_and_decodes_nothing(fake):
    dataset = Pairs(REAL, fake, real_mask=MASK)
    first = look(dataset, strangers=True)
    assert sorted(dataset.decoded) == ["f0", "f1", "r0", "r1"]
    dataset.decoded.clear()
    assert look(dataset, strangers=True, known=first.known()) == first
    assert dataset.decoded == []


def test_a_mask_in_doubt_is_nobodys_stranger():
    assert look(Pairs(REAL, FAKE, MASK * 0), strangers=True).strangers == {}
    assert look(Pairs(REAL, FAKE), strangers=True).strangers == {"f0": "f1", "f1": "f0"}


def test_pictures_that_no_survey_saw_are_judged_when_they_are_shown():
    arrays = PictureArrays([FAKE], ["fake"], masks=[MASK // 80])
    picture = show_picture(arrays, arrays.samples()[0], FACTS)
    assert picture.mask is None
    assert picture.sample.mask_doubt == "mask: empty (its largest weight is 3 of 255)"


def test_ten_are_named_and_all_are_counted():
    doubts = {f"s{i}": "mask: empty (0 of 255)" for i in range(12)} | {
        "t": "counterpart: a is b is identical to the fake"
    }
    lines = doubt_lines("data", doubts, 40)
    assert lines[0] == (
        "data: 13 of 40 samples are in doubt and take no part in localisation: 12 x mask: empty, "
        "1 x counterpart: identical to the fake"
    )
    assert lines[1] == "  s0: mask: empty (0 of 255)"
    assert lines[-1] == "  ... and 3 more (column doubt of the table samples)"
    assert len(lines) == 12
    assert doubt_lines("data", {}, 40) == []
