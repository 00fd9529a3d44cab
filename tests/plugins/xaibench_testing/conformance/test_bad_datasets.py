"""Data sets made wrong on purpose fail the check that is there for it, and the planted one passes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from xaibench import hold_component
from xaibench.api import DatasetRecord
from xaibench_testing import PlantedDataset, check_component, planted_samples


def failing(results):
    return {r.name for r in results if r.status == "fail"}


class Changed(PlantedDataset):
    """A planted data set whose samples are changed by ``change``."""

    def samples(self):
        return tuple(self.change(s) for s in super().samples())

    def change(self, sample):
        return sample


class OneId(Changed):
    def change(self, sample):
        return replace(sample, id="same", pair=None)


class NoGroup(Changed):
    def change(self, sample):
        return replace(sample, group="")


class NoMethod(Changed):
    def change(self, sample):
        return replace(sample, method=None)


class LostPair(Changed):
    def change(self, sample):
        return replace(sample, pair="real/999") if sample.pair else sample


class OwnGroups(Changed):
    def change(self, sample):
        return replace(sample, group=sample.id)


class FakePair(Changed):
    def change(self, sample):
        return replace(sample, pair=sample.id) if sample.pair else sample


class HiddenMask(Changed):
    def change(self, sample):
        return replace(sample, has_mask=False)


class Shuffled(Changed):
    turns = 0

    def samples(self):
        Shuffled.turns += 1
        return super().samples()[:: 1 if Shuffled.turns % 2 else -1]


class Noisy(Changed):
    def read(self, sample):
        native = super().read(sample)
        noise = torch.randint(0, 255, native.pixels.shape, dtype=torch.uint8).numpy()
        return replace(native, pixels=native.pixels ^ noise)


class SmallMask(Changed):
    def read(self, sample):
        native = super().read(sample)
        return replace(native, mask=None if native.mask is None else native.mask[:-1])


class FloatPixels(Changed):
    def read(self, sample):
        native = super().read(sample)
        return replace(native, pixels=native.pixels / 255.0)


class Kept(Changed):
    def read(self, sample):
        cache = self.__dict__.setdefault("cache", {})
        return cache.setdefault(sample.id, super().read(sample))


class MixedColumns(Changed):
    def change(self, sample):
        return replace(sample, columns=(("age", 3 if sample.label == "real" else "old"),))


class Clocked(Changed):
    turns = 0

    def fingerprint(self, sample):
        Clocked.turns += 1
        return str(Clocked.turns)


class Numbered(Changed):
    def fingerprint(self, sample):
        return 1


class Empty(Changed):
    def samples(self):
        return ()


BAD_DATASETS = [
    (OneId, "samples"),
    (NoGroup, "samples"),
    (NoMethod, "samples"),
    (Empty, "samples"),
    (MixedColumns, "samples"),
    (LostPair, "pairs"),
    (OwnGroups, "pairs"),
    (FakePair, "pairs"),
    (HiddenMask, "claims"),
    (Shuffled, "listing"),
    (Noisy, "reading"),
    (SmallMask, "reading"),
    (FloatPixels, "reading"),
    (Clocked, "fingerprint"),
    (Numbered, "fingerprint"),
    (Kept, "mutation"),
]


def dataset(instance):
    return hold_component(DatasetRecord(name="toy", target="toys:Toy", summary="a toy"), instance)


@pytest.mark.parametrize(("cls", "check"), BAD_DATASETS, ids=[c.__name__ for c, _ in BAD_DATASETS])
def test_a_bad_dataset_fails(cls, check):
    assert check in failing(check_component(dataset(cls(3))))


def test_the_planted_dataset_is_a_good_dataset():
    assert [r for r in check_component(dataset(planted_samples(3))) if r.status != "pass"] == []
