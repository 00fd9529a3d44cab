"""Splits, pictures, sampling, augmentation and the settings of a training."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from xaibench.api import (
    DatasetError,
    PluginError,
    Sample,
    TrainingBatch,
    UnreadablePicture,
    UsageError,
    build_parameters,
)
from xaibench_testing import planted_samples
from xaibench_training.augment import augment, compressed, shifted
from xaibench_training.data import load, no_guides, pack_guides
from xaibench_training.sampling import epoch_batches
from xaibench_training.settings import Augmentation, TrainingSettings, read_augmentation
from xaibench_training.splits import choose, groups_of

OFF = read_augmentation("none")


def sample(name, label="real", group="a", cross=None, split=None, method=None):
    method = method or ("swap" if label == "fake" else None)
    return Sample(id=name, label=label, group=group, cross_group=cross, split=split, method=method)


def people(count, split=None):
    """A real and a fake picture of each."""
    pairs = ((sample(f"r{i}", "real", f"p{i}", split=split), sample(f"f{i}", "fake", f"p{i}", split=split))
             for i in range(count))  # fmt: skip
    return [s for pair in pairs for s in pair]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


# ---- splits ---------------------------------------------------------------------------------------------------------


def test_without_splits_a_fifth_of_the_groups_validates():
    found = choose(people(10), None, None, (), 0)
    assert (len(found.train), len(found.validation)) == (16, 4)
    sides = [frozenset().union(*map(groups_of, side)) for side in (found.train, found.validation)]
    assert not sides[0] & sides[1]
    assert found.notes == ("the data have no splits and were divided: 2 of 10 groups, drawn from seed 0, validate",)


def test_the_division_follows_the_seed():
    drawn = {frozenset(s.group for s in choose(people(10), None, None, (), seed).validation) for seed in range(8)}
    assert len(drawn) > 1
    assert choose(people(10), None, None, (), 3) == choose(people(10), None, None, (), 3)


def test_samples_whose_two_groups_fall_on_both_sides_are_left_out():
    crossed = [sample(f"x{i}", "fake", f"p{i}", cross=f"p{(i + 1) % 10}") for i in range(10)]
    found = choose(people(10) + crossed, None, None, (), 0)
    validates = frozenset().union(*map(groups_of, found.validation))
    across = [s for s in crossed if len(groups_of(s) & validates) == 1]
    assert across
    assert not {s.id for s in across} & {s.id for s in (*found.train, *found.validation)}
    assert f"{len(across)} samples across both are left out" in found.notes[0]


def test_splits_of_the_data_are_taken_as_they_are():
    inner = [replace(s, split="train") for s in people(3)]
    outer = [replace(s, id=f"v{s.id}", group=f"v{s.group}", split="val") for s in people(2)]
    found = choose(inner + outer, None, None, (), 0)
    assert ({s.split for s in found.train}, {s.split for s in found.validation}) == ({"train"}, {"val"})
    assert (len(found.train), len(found.validation), found.notes) == (6, 4, ())


def test_no_validation_split_divides_the_training_split_and_says_so():
    data = people(10, "train") + [replace(s, id=f"t{s.id}", group="t", split="test") for s in people(2)]
    found = choose(data, None, None, (), 0)
    assert {s.split for s in (*found.train, *found.validation)} == {"train"}
    assert found.notes[0].startswith("split 'train' was divided: 2 of 10 groups")


@pytest.mark.parametrize("shared", [{"group": "p0"}, {"group": "v", "cross_group": "p1"}])
def test_people_in_both_splits_are_refused(shared):
    outer = [replace(s, id=f"v{s.id}", split="val", **shared) for s in people(1)]
    with pytest.raises(DatasetError, match=f"group '{shared.get('cross_group', 'p0')}' is in both"):
        choose(people(3, "train") + outer, None, None, (), 0)


def test_samples_without_a_group_are_one_group():
    """Else each would be in no group of either side, and so in both sides."""
    nobody = [replace(s, group="") for s in people(4)]
    with pytest.raises(DatasetError, match="no sample is left for training"):
        choose(nobody, None, None, (), 0)


def test_one_class_and_empty_sides_are_refused():
    with pytest.raises(DatasetError, match="the training pictures are all fake"):
        choose([s for s in people(10) if s.label == "fake"], None, None, (), 0)
    with pytest.raises(DatasetError, match="no sample is left for training"):
        choose(people(1), None, None, (), 0)
    with pytest.raises(UsageError, match="no split 'train'"):
        choose(people(3, "test"), None, None, (), 0)
    with pytest.raises(UsageError, match="no manipulation method 'warp'"):
        choose(people(3), None, None, ("warp",), 0)


def test_only_the_methods_named_are_kept():
    data = [*people(10), *(sample(f"w{i}", "fake", f"p{i}", method="warp") for i in range(10))]
    found = choose(data, None, None, ("warp",), 0)
    assert {s.method for s in (*found.train, *found.validation)} == {None, "warp"}


def test_a_prefix_holds_as_many_real_as_fake():
    found = choose(
        [*people(10), *(sample(f"w{i}", "fake", f"p{i}", method="warp") for i in range(10))], None, None, (), 0
    )
    assert [s.label for s in found.train[:6]] == ["real", "fake"] * 3
    assert len({s.group for s in found.train[:6]}) >= 3


# ---- pictures -------------------------------------------------------------------------------------------------------


def test_kept_and_decoded_pictures_are_the_same():
    data = planted_samples(3, size=(48, 48))
    kept, _ = load(data, data.samples(), 16)
    again, _ = load(data, data.samples(), 16, memory=0)
    assert kept.kept is not None
    assert again.kept is None
    which = torch.tensor([4, 0, 4])
    assert torch.equal(kept.images(which), again.images(which))
    assert kept.digest == again.digest
    assert kept.labels.tolist() == [0, 1] * 3
    assert (kept[1].image - kept.images(torch.tensor([1]))[0]).abs().max() <= 0.5 / 255 + 1e-6


def test_broken_files_are_left_out_and_the_limit_counts_readable_ones():
    data = planted_samples(4, size=(48, 48))

    class Broken:
        def read(self, s):
            if s.id == "fake/000":
                raise UnreadablePicture("fake/000 is cut off")
            return data.read(s)

    found, problems = load(Broken(), data.samples(), 16, limit=4)
    assert [s.id for s in found.samples] == ["real/000", "real/001", "fake/001", "real/002"]
    assert [(p.file, p.reason) for p in problems] == [("fake/000", "fake/000 is cut off")]


def test_pictures_are_a_sequence_that_can_be_sliced():
    data = planted_samples(2, size=(48, 48))
    pictures, _ = load(data, data.samples(), 16)
    assert [p.digest for p in pictures[1:3]] == [pictures[1].digest, pictures[2].digest]


def test_guides_are_packed_and_taken():
    data = planted_samples(2, size=(48, 48))
    pictures, _ = load(data, data.samples(), 16)
    guide = torch.zeros(16, 16)
    guide[2:5, 3:9] = 1
    packed = pack_guides([None, guide, None, guide * 0.2], pictures, "toy")
    assert packed.count == 2
    taken, guided = packed.take(torch.tensor([3, 0, 1]))
    assert guided.tolist() == [True, False, True]
    assert torch.equal(taken, torch.stack([guide * (51 / 255), torch.zeros(16, 16), guide]))
    assert no_guides(pictures).take(torch.tensor([0, 1]))[1].tolist() == [False, False]


@pytest.mark.parametrize(
    ("guide", "says"),
    [(torch.zeros(16, 16), "zero all over"), (torch.ones(8, 8), "not the picture's size"),
     (torch.full((16, 16), 1 / 1024), "zero all over in 255ths"), (torch.full((16, 16), 1.5), "leaves"), (torch.full((16, 16), float("nan")), "leaves")],
)  # fmt: skip
def test_guides_that_are_none_are_refused(guide, says):
    data = planted_samples(1, size=(48, 48))
    pictures, _ = load(data, data.samples(), 16)
    with pytest.raises(PluginError, match=says):
        pack_guides([None, guide], pictures, "toy")
    with pytest.raises(PluginError, match="1 guides for 2"):
        pack_guides([None], pictures, "toy")


# ---- sampling -------------------------------------------------------------------------------------------------------


def test_batches_hold_as_many_real_as_fake_and_the_rarer_class_repeats():
    labels = torch.tensor([0] * 3 + [1] * 9)
    batches = epoch_batches(labels, 4, generator())
    assert [len(b) for b in batches] == [4, 4, 4]
    assert all(labels[b].sum() == 2 for b in batches)
    shown = torch.cat(batches)
    counts = torch.bincount(shown, minlength=12)
    assert counts[:3].tolist() == [2, 2, 2]
    assert sorted(counts[3:].tolist()) == [0, 0, 0, 1, 1, 1, 1, 1, 1]


def test_a_last_batch_of_one_is_left_out():
    labels = torch.tensor([0, 0, 1, 1])
    assert [len(b) for b in epoch_batches(labels, 3, generator())] == [3]


def test_the_order_follows_the_generator():
    labels = torch.tensor([0] * 8 + [1] * 8)
    first, again, other = (torch.cat(epoch_batches(labels, 4, generator(s))) for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


# ---- augmentation ---------------------------------------------------------------------------------------------------


def batch(count=4, side=8):
    images = torch.rand((count, 3, side, side), generator=generator(5))
    guides = images.mean(dim=1)
    return TrainingBatch(images=images, labels=torch.zeros(count, dtype=torch.int64), guides=guides,
                         guided=torch.ones(count, dtype=torch.bool), ids=tuple("abcdefgh"[:count]))  # fmt: skip


def test_nothing_is_changed_when_nothing_is_switched_on():
    before = batch()
    after = augment(before, OFF, generator())
    assert torch.equal(after.images, before.images)
    assert torch.equal(after.guides, before.guides)


def test_guides_move_with_their_pictures():
    moving = OFF.model_copy(update={"mirror": True, "shift": 0.4})
    before = batch(8)
    copy = before.images.clone()
    after = augment(before, moving, generator())
    assert torch.equal(before.images, copy)
    assert not torch.equal(after.images, before.images)
    assert torch.equal(after.images.mean(dim=1), after.guides)
    again = augment(before, moving, generator())
    assert torch.equal(after.images, again.images)


def test_half_of_the_pictures_are_mirrored():
    before = batch(1)
    many = replace(before, images=before.images.expand(200, 3, 8, 8), guides=before.guides.expand(200, 8, 8),
                   ids=("a",) * 200)  # fmt: skip
    after = augment(many, OFF.model_copy(update={"mirror": True}), generator())
    turned = [torch.equal(image, before.images[0].flip(-1)) for image in after.images]
    plain = [torch.equal(image, before.images[0]) for image in after.images]
    assert sum(turned) + sum(plain) == 200
    assert 75 <= sum(turned) <= 125


def test_a_shift_repeats_the_edge_that_enters():
    plane = torch.arange(9.0).reshape(3, 3)
    assert shifted(plane, 1, 0).tolist() == [[0, 1, 2], [0, 1, 2], [3, 4, 5]]
    assert shifted(plane, 0, -1).tolist() == [[1, 2, 2], [4, 5, 5], [7, 8, 8]]


def test_tones_change_pictures_but_not_guides():
    toned = OFF.model_copy(update={"brightness": 0.2, "contrast": 0.3})
    before = batch()
    after = augment(before, toned, generator())
    assert torch.equal(after.guides, before.guides)
    assert float(after.images.min()) >= 0
    assert float(after.images.max()) <= 1
    change = (after.images.mean((1, 2, 3)) - before.images.mean((1, 2, 3))).abs()
    assert bool(((change > 0) & (change <= 0.2)).all())


def test_jpeg_is_a_compression_of_the_picture():
    flat = torch.full((3, 16, 16), 100 / 255)
    assert torch.equal(compressed(flat, 95), flat)
    before = batch(2, 16)
    after = augment(before, OFF.model_copy(update={"jpeg": 1.0, "quality": 95}), generator())
    assert torch.equal(after.images[0], compressed(before.images[0], 95))


# ---- settings -------------------------------------------------------------------------------------------------------


def test_learning_rates_fall_as_the_schedule_says():
    cosine = build_parameters(TrainingSettings, {"lr": 0.2, "epochs": 4}, "train")
    assert cosine.rate(1) == 0.2
    assert math.isclose(cosine.rate(3), 0.1)
    step = build_parameters(TrainingSettings, {"lr": 0.2, "schedule": "step", "step_epochs": 2}, "train")
    assert [round(step.rate(e), 6) for e in (1, 2, 3, 4, 5)] == [0.2, 0.2, 0.02, 0.02, 0.002]


def test_augmentation_is_read_from_one_flag():
    assert build_parameters(TrainingSettings, {}, "train").augmentation == Augmentation()
    assert build_parameters(TrainingSettings, {"augmentation": "none"}, "train").augmentation == OFF
    assert read_augmentation("mirror=false,jpeg=0.5") == Augmentation(mirror=False, jpeg=0.5)
    assert Augmentation(mirror=False, shift=0, brightness=0, contrast=0) == OFF
    with pytest.raises(UsageError, match="no parameter 'flip'"):
        read_augmentation("flip=true")
    with pytest.raises(UsageError, match="'all' is not known"):
        read_augmentation("all")
