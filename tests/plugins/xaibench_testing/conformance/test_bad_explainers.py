"""Explainers made wrong on purpose fail the check that is there for it, and good ones pass."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from toys import GoodExplainer, Plain, failing

from xaibench import hold_component
from xaibench.api import Apply, Backward, ExplainerRecord, Explanation, Forward, Parameters, Passes, Streams
from xaibench_testing import check_component, check_names


def message(results, name):
    return next(r.message for r in results if r.name == name)


class NanMap(GoodExplainer):
    def explanation(self, request, saliency):
        return Explanation(map=saliency * math.nan)


class WrongShape(GoodExplainer):
    def explanation(self, request, saliency):
        return Explanation(map=saliency[:-1])


class DoubleMap(GoodExplainer):
    def explanation(self, request, saliency):
        return Explanation(map=saliency.double())


class OnTheGraph(GoodExplainer):
    def explanation(self, request, saliency):
        return Explanation(map=saliency.clone().requires_grad_(True) * 1)


class NoReason(GoodExplainer):
    def explanation(self, request, saliency):
        return Explanation(map=None, status="undefined")


class MapAndStatus(GoodExplainer):
    def explanation(self, request, saliency):
        if request.picture.sample.label == "fake":
            return Explanation(map=saliency)
        return Explanation(map=saliency, status="undefined", reason="real")


class Negative(GoodExplainer):
    def explanation(self, request, saliency):
        return Explanation(map=saliency - 1)


class SeedIgnored(GoodExplainer):
    def generator(self, request):
        return torch.Generator().manual_seed(0)


class DrawIgnored(GoodExplainer):
    def generator(self, request):
        return Streams((request.streams.key[0], *request.streams.key[2:])).torch()


class GlobalRandom(GoodExplainer):
    def generator(self, request):
        return None


class FirstSeen(Plain):
    """Remembers the first picture it ever saw of a batch of work: depends on its neighbours."""

    def explain(self, request):
        first = vars(request.artefacts._bench).setdefault("first", request.picture.image.mean())
        return Explanation(map=request.picture.image.mean(dim=0) * first)


class Mutating(GoodExplainer):
    def explain(self, request):
        request.picture.image.mul_(0.5)
        return (yield from super().explain(request))


class TooFewPasses(GoodExplainer):
    def passes(self, query):
        return Passes(forward=5, exact=False)


class NotExact(GoodExplainer):
    def passes(self, query):
        return Passes(forward=7)


def of_layer(detector, images, targets, beside):
    return (detector.features(images).activation.detach(),)


class ChannelByChannel(Plain):
    """As many passes as the layer has channels, said to be 16 at most: true of a narrow layer alone."""

    def explain(self, request):
        image = request.picture.image
        (activation,) = yield Apply(of_layer, image[None], request.target, backward=0)
        scores = yield Forward(image.expand(activation.shape[1], -1, -1, -1))
        return Explanation(map=scores[:, request.target].mean() * image.mean(dim=0))

    def passes(self, query):
        return Passes(forward=16, exact=False)


class RowByRow(Plain):
    """As many passes as the picture has rows, said to be 32 at most."""

    def explain(self, request):
        image = request.picture.image
        scores = yield Forward(image.expand(image.shape[1], -1, -1, -1))
        return Explanation(map=scores[:, request.target].mean() * image.mean(dim=0))

    def passes(self, query):
        return Passes(forward=32, exact=False)


class ShareOfEvidence(Plain):
    """Gradient times picture, of the class asked for."""

    def explain(self, request):
        image = request.picture.image
        reply = yield Backward(image[None], self.explained(request.target))
        return Explanation(map=(reply.gradients[0] * image).sum(dim=0).cpu())

    def explained(self, target):
        return target

    def passes(self, query):
        return Passes(1, 1)


class OtherClass(ShareOfEvidence):
    def explained(self, target):
        return 1 - target


class OtherClassMasked(GoodExplainer):
    """Masks weighted by the probability of the other class: its maps have no sign."""

    def explain(self, request):
        return (yield from super().explain(replace(request, target=1 - request.target)))


class AlwaysFake(ShareOfEvidence):
    def explained(self, target):
        return 1


class AlwaysReal(ShareOfEvidence):
    def explained(self, target):
        return 0


class UndeclaredMask(Plain):
    def explain(self, request):
        if request.picture.mask is None:
            return Explanation.none("no mask")
        return Explanation(map=request.picture.mask.float())


class UndeclaredFile(Plain):
    def explain(self, request):
        weights = request.picture.native().mask
        return Explanation.none("no mask") if weights is None else Explanation(map=torch.from_numpy(weights).float())


class UndeclaredGradient(Plain):
    def explain(self, request):
        reply = yield Backward(request.picture.image[None], request.target)
        return Explanation(map=reply.gradients[0].abs().sum(dim=0))

    def passes(self, query):
        return Passes(1, 1)


class CrashesWithoutMask(Plain):
    def explain(self, request):
        return Explanation(map=request.picture.mask.float())


class Stretching(Plain):
    def explain(self, request):
        grey = request.picture.image.mean(dim=0)
        return Explanation(map=(grey - grey.min()) / (grey.max() - grey.min()))


class BlindToDetector(GoodExplainer):
    """A random control drawn from everything but the detector."""

    def explain(self, request):
        generator = Streams(request.streams.key[:5]).torch()
        return Explanation(map=torch.rand(request.picture.image.shape[1:], generator=generator))

    def passes(self, query):
        return Passes()


class RefusesButDraws(Plain):
    def refuses(self, query):
        return "never draws"


class AlwaysBut(Plain):
    always_explains = True

    def explain(self, request):
        real = request.picture.sample.label == "real"
        return Explanation.none("real") if real else super().explain(request)


class Undocumented(Parameters):
    masks: int = 6


class UndocumentedExplainer(GoodExplainer):
    parameters = Undocumented()


def explainer(instance, **record):
    return hold_component(
        ExplainerRecord(**{"name": "toy", "target": "toys:Toy", "summary": "a toy", **record}), instance
    )


RANDOM = {"stochastic": True}
SHARES = {"needs": frozenset({"gradients"}), "signed": True}
BAD_EXPLAINERS = [
    (NanMap, RANDOM, "maps", None),
    (WrongShape, RANDOM, "maps", None),
    (DoubleMap, RANDOM, "maps", {"maps"}),
    (OnTheGraph, RANDOM, "maps", {"maps"}),
    (NoReason, RANDOM, "maps", None),
    (MapAndStatus, RANDOM, "maps", {"maps"}),
    (Negative, RANDOM, "sign", {"sign"}),
    (SeedIgnored, RANDOM, "seed", {"seed"}),
    (DrawIgnored, RANDOM, "seed", {"seed"}),
    (GoodExplainer, {}, "seed", {"seed"}),
    (GlobalRandom, RANDOM, "determinism", {"determinism", "order", "batch-mates"}),
    (FirstSeen, {}, "batch-mates", {"order", "batch-mates"}),
    (Mutating, RANDOM, "mutation", {"mutation"}),
    (TooFewPasses, RANDOM, "passes", {"passes"}),
    (NotExact, RANDOM, "passes", {"passes"}),
    (ChannelByChannel, {"needs": frozenset({"activations"})}, "passes", {"passes"}),
    (RowByRow, {}, "passes", {"passes"}),
    (OtherClass, SHARES, "direction", {"direction"}),
    (OtherClassMasked, RANDOM, "direction", {"direction"}),
    (AlwaysFake, SHARES, "direction", {"direction"}),
    (AlwaysReal, SHARES, "direction", {"direction"}),
    (UndeclaredMask, {}, "maps", {"maps"}),
    (UndeclaredFile, {}, "maps", {"maps"}),
    (UndeclaredGradient, {}, "maps", None),
    (GoodExplainer, {**RANDOM, "needs": frozenset({"mask"})}, "needs", {"needs"}),
    (Plain, {"needs": frozenset({"gradients"})}, "needs", {"needs"}),
    (CrashesWithoutMask, {"needs": frozenset({"mask"})}, "needs", None),
    (GoodExplainer, {**RANDOM, "class_specific": False}, "class", {"class"}),
    (GoodExplainer, {**RANDOM, "control": True}, "control", {"control"}),
    (BlindToDetector, {**RANDOM, "control": True}, "control", {"control"}),
    (Stretching, {}, "awkward", {"awkward"}),
    (RefusesButDraws, {}, "refusals", {"refusals"}),
    (AlwaysBut, {}, "refusals", {"refusals"}),
    (UndocumentedExplainer, RANDOM, "parameters", {"parameters"}),
    (GoodExplainer, {**RANDOM, "summary": "one\ntwo"}, "record", {"record"}),
    (GoodExplainer, {**RANDOM, "summary": " "}, "record", {"record"}),
]


def ids(rows):
    return [f"{cls.__name__}-{check}" for cls, _, check, _ in rows]


@pytest.mark.parametrize(("cls", "record", "check", "exactly"), BAD_EXPLAINERS, ids=ids(BAD_EXPLAINERS))
def test_a_bad_explainer_fails(cls, record, check, exactly):
    results = check_component(explainer(cls(), **record))
    assert check in failing(results)
    assert exactly is None or failing(results) == exactly
    assert "\n" not in message(results, check)


@pytest.mark.parametrize(
    ("cls", "record"), [(GoodExplainer, RANDOM), (Plain, {"class_specific": False}), (ShareOfEvidence, SHARES)]
)
def test_a_good_explainer_passes(cls, record):
    results = check_component(explainer(cls(), **record))
    assert failing(results) == set()
    assert [r.name for r in results] == list(check_names("explainer"))
    assert all(r.message for r in results if r.status == "skip")
