"""Detectors made wrong on purpose fail the check that is there for it, and planted ones pass."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from xaibench import hold_component
from xaibench.api import ModelRecord
from xaibench_testing import (
    ConstantDetector,
    DifferentiablePatchDetector,
    LinearDetector,
    Patch,
    PatchDetector,
    check_component,
    check_detector,
    limited,
)


def failing(results):
    return {r.name for r in results if r.status == "fail"}


def message(results, name):
    return next(r.message for r in results if r.name == name)


class NotOne(PatchDetector):
    def probabilities(self, images):
        return super().probabilities(images) * 0.9


class Mates(PatchDetector):
    def _z(self, images):
        return super()._z(images) + images.mean()


class Place(PatchDetector):
    def _z(self, images):
        return super()._z(images) + torch.arange(len(images))


class Drifts(PatchDetector):
    def _z(self, images):
        return super()._z(images) + self.calls / 100


class ChangesPictures(PatchDetector):
    def probabilities(self, images):
        result = super().probabilities(images)
        images.mul_(0.5)
        return result


class DividesByBrightness(PatchDetector):
    def _z(self, images):
        return super()._z(images / images.amax(dim=(1, 2, 3), keepdim=True))


class TwiceTheScores(PatchDetector):
    def scores(self, images):
        return 2 * super().scores(images)


class SaysNotWhy(PatchDetector):
    @property
    def facts(self):
        return replace(super().facts, limits={})


class NoRealClass(PatchDetector):
    @property
    def facts(self):
        return replace(super().facts, real_class=2)


class HalfGradient(DifferentiablePatchDetector):
    def logits(self, images):
        return super().logits(images.detach() * 0.5 + images * 0.5)


class DetachedFeatures(DifferentiablePatchDetector):
    def features(self, images, layer=None):
        found = super().features(images, layer)
        return replace(found, activation=found.activation.detach().requires_grad_(True))


class FlatGrid(DifferentiablePatchDetector):
    def features(self, images, layer=None):
        return replace(super().features(images, layer), to_grid=lambda grid: grid.flatten(2))


class RandomisesItself(DifferentiablePatchDetector):
    def randomised(self, layers, generator):
        child = super().randomised(layers, generator)
        self.weights = child.weights
        return child


class SameDigest(DifferentiablePatchDetector):
    def randomised(self, layers, generator):
        child = super().randomised(layers, generator)
        child._facts = self.facts
        return child


BAD_DETECTORS = [
    (NotOne, {"probabilities", "scores"}),
    (Mates, {"rows"}),
    (Place, {"rows"}),
    (Drifts, {"determinism", "rows"}),
    (ChangesPictures, None),
    (DividesByBrightness, {"extremes"}),
    (TwiceTheScores, {"scores"}),
    (SaysNotWhy, {"facts"}),
    (NoRealClass, {"facts"}),
    (HalfGradient, {"gradients"}),
    (DetachedFeatures, {"features"}),
    (FlatGrid, {"features"}),
    (RandomisesItself, {"randomised"}),
    (SameDigest, {"randomised"}),
]


@pytest.mark.parametrize(("cls", "exactly"), BAD_DETECTORS, ids=[c.__name__ for c, _ in BAD_DETECTORS])
def test_a_bad_detector_fails(cls, exactly):
    found = failing(check_detector(cls()))
    assert found == exactly if exactly else "mutation" in found


@pytest.mark.parametrize(
    "detector",
    [
        PatchDetector(),
        PatchDetector(response="step"),
        PatchDetector(pattern="brightness", size=(24, 40), patch=Patch(1, 3, 5, 7)),
        DifferentiablePatchDetector(),
        DifferentiablePatchDetector(Patch(2, 3, 3, 2), (9, 7)),
        LinearDetector(torch.randn((3, 16, 24), generator=torch.Generator().manual_seed(0)) / 10, 0.3),
        ConstantDetector(0.8),
        limited(DifferentiablePatchDetector(), frozenset({"gradients"})),
    ],
    ids=lambda d: d.facts.name,
)
def test_planted_detectors_are_good_detectors(detector):
    assert [r for r in check_detector(detector) if r.status == "fail"] == []


class Chance(DifferentiablePatchDetector):
    """Draws anew in each call, and says so on request."""

    says_so = False

    def _z(self, images):
        return super()._z(images) + torch.randn(len(images))

    @property
    def facts(self):
        return replace(super().facts, stochastic=self.says_so)


def test_no_two_passes_are_compared_of_a_detector_that_says_that_it_is_stochastic():
    assert failing(check_detector(Chance())) == {
        "scores", "determinism", "rows", "gradients", "features", "randomised",
    }  # fmt: skip
    detector = Chance()
    detector.says_so = True
    results = check_detector(detector)
    assert failing(results) == set()
    skipped = {r.name for r in results if r.status == "skip" and "as its card says" in r.message}
    assert skipped == {"determinism", "rows"}
    assert {r.name for r in results if r.status == "pass"} >= {"scores", "gradients", "features", "randomised"}


class Family:
    """A model of two members, one of which cannot be opened."""

    def members(self):
        return ["one", "two"]

    def open(self, member, runtime):
        if member == "two":
            raise OSError("the file of 'two' is gone")
        return PatchDetector()


def test_a_model_that_cannot_be_opened_is_a_failure_and_the_other_members_are_checked():
    results = check_component(hold_component(ModelRecord(name="toy", target="toys:Toy", summary="a toy"), Family()))
    assert failing(results) == {"opens[two]"}
    assert message(results, "rows[two]") == "cannot be opened: OSError"
    assert "the file of 'two' is gone" in message(results, "opens[two]")
    assert "probabilities[one]" in {r.name for r in results if r.status == "pass"}
