"""What every metric of scope ``model`` must hold to: it is given a detector and its pictures, and no map.

The planted detector has a layer of 32 channels, so that measures of channels have something to measure.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from xaibench.api import DETECTOR_NEEDS, SAMPLE_NEEDS, Done, Features, Passes, PassQuery, Scores
from xaibench_testing.checks.metrics import check_declarations
from xaibench_testing.checks.subject import (
    BATCH,
    Subject,
    bytes_of,
    finished,
    name_of,
    named,
    require_passes,
    scores_bytes,
    seeded,
)
from xaibench_testing.harness import score_model
from xaibench_testing.planted import ConstantDetector, DifferentiablePatchDetector
from xaibench_testing.planted_data import clone_of, pictures_of, planted_samples
from xaibench_testing.violations import NotApplicable, require
from xaibench_testing.worlds import World, awkward_worlds, bare, limited

CHANNELS = 32
PAIRS = 3


class ManyChannelsDetector(DifferentiablePatchDetector):
    """A planted detector whose layer has, behind its two channels, brightness weighed by fixed random weights."""

    def features(
        self, images: Tensor, layer: str | None = None, edit: Callable[[Tensor, int], Tensor] | None = None
    ) -> Features:
        """Activation ``(N, 32, h, w)``: the verdict hangs on channel 0 alone."""
        two = super().features(images, layer).activation
        weights = seeded(CHANNELS - 2, *self.facts.input_size)
        size = (two.shape[2], two.shape[3])
        more = functional.adaptive_avg_pool2d(images.mean(dim=1, keepdim=True) * weights, size)
        activation = torch.cat([two, more], dim=1)
        passed_on = edit(activation, 1) if edit else activation
        pixels = images.shape[2] * images.shape[3]
        z = self._from_evidence(passed_on[:, 0].double().mean(dim=(1, 2)) * pixels)
        return Features(activation, torch.stack((-z / 2, z / 2), dim=1).float(), lambda grid: grid)


def model_world(needs: frozenset[str]) -> World:
    """Pairs of pictures with everything that ``needs`` names, and the detector of many channels."""
    detector = ManyChannelsDetector()
    pictures = pictures_of(planted_samples(PAIRS), detector)
    return World(limited(detector, needs), tuple(bare(p, needs) for p in pictures), {})


def check_values(subject: Subject) -> None:
    """Every declared score comes back with a value in its range, once an item; curves are finite."""
    scores = _scores(subject, model_world(_everything(subject)))
    keys = [(s.name, s.item) for s in scores.values]
    require(len(set(keys)) == len(keys), "two values of one score and item")
    ok = {s.name for s in scores.values if s.status == "ok"}
    never = sorted({s.name for s in subject.instance.scores} - ok)
    require(not never, f"'{never[0] if never else ''}' has no value on planted pictures that have everything")
    for curve in scores.curves:
        require(all(map(math.isfinite, (*curve.x, *curve.y))), f"curve '{curve.name}' is not finite")


def check_determinism(subject: Subject) -> None:
    """The same seed gives the same bytes."""
    one, two = (_scores(subject, model_world(_everything(subject))) for _ in range(2))
    require(scores_bytes(one) == scores_bytes(two), "the same seed gives other scores")


def check_order(subject: Subject) -> None:
    """The order of the pictures changes nothing."""
    world = model_world(_everything(subject))
    turned = replace(world, pictures=world.pictures[::-1])
    same = scores_bytes(_scores(subject, world)) == scores_bytes(_scores(subject, turned))
    require(same, "the scores depend on the order of the pictures")


def check_mutation(subject: Subject) -> None:
    """Pictures, masks and landmarks are left as they were."""
    world = model_world(_everything(subject))
    before = [clone_of(p) for p in world.pictures]
    _scores(subject, world)
    for picture, old in zip(world.pictures, before, strict=True):
        same = all(bytes_of(a) == bytes_of(b) for a, b in zip(clone_of(picture), old, strict=True))
        require(same, f"{name_of(picture)}: the metric changed its picture, mask or landmarks in place")


def check_needs(subject: Subject) -> None:
    """Without something it declares to need, a metric does not score: an exception, or a status with a reason."""
    needs = subject.needs() & (DETECTOR_NEEDS | SAMPLE_NEEDS)
    if not needs:
        raise NotApplicable("needs nothing; that it does without is seen by the other checks")
    for need in sorted(needs):
        done = _run(subject, model_world(_everything(subject) - {need}))
        scores = done.value
        scored = scores is not None and all(s.status == "ok" for s in scores.values)
        require(not scored, f"declares that it needs {need}, but scores without")


def check_passes(subject: Subject) -> None:
    """``passes``, summed over the samples, is what scoring costs: equal where exact, never less than was taken. So is
    what ``passes_of_set`` says, where there is one."""
    world = model_world(_everything(subject))
    queries = [PassQuery(sample=p.sample, facts=world.detector.facts) for p in world.pictures]
    said = [sum((subject.instance.passes(q) for q in queries), Passes())]
    if hasattr(subject.instance, "passes_of_set"):
        said.append(subject.instance.passes_of_set(queries))
    done = _run(subject, world)
    finished(done, "the detector")
    for passes in said:
        require_passes("the detector", passes, done.passes, exact=passes.exact)


def check_awkward(subject: Subject) -> None:
    """Flat pictures, odd masks, a detector that always says the same, tiny pictures: values in range or a reason."""
    for situation, world in awkward_worlds(_everything(subject)).items():
        finished(_run(subject, world), situation)
    constant = limited(ConstantDetector(0.7), _everything(subject))
    finished(_run(subject, replace(model_world(_everything(subject)), detector=constant)), "a constant layer")


def check_few(subject: Subject) -> None:
    """No picture, and one, give values in range or a status with a reason."""
    world = model_world(_everything(subject))
    for n in (0, 1):
        finished(_run(subject, replace(world, pictures=world.pictures[:n])), f"{n} picture(s)")


def _everything(subject: Subject) -> frozenset[str]:
    """What the metric needs of a detector, and all that a sample can have: it may use what it does not need."""
    return (subject.needs() & DETECTOR_NEEDS) | SAMPLE_NEEDS


def _run(subject: Subject, world: World) -> Done[Scores]:
    return score_model(subject.use, world.detector, world.pictures, batch_size=BATCH)


def _scores(subject: Subject, world: World) -> Scores:
    return finished(_run(subject, world), "the detector")


CHECKS = named(
    check_declarations,
    check_values,
    check_determinism,
    check_order,
    check_mutation,
    check_needs,
    check_passes,
    check_awkward,
    check_few,
)
