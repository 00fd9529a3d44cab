"""Recipes made wrong on purpose fail the check that is there for them, and a right one passes."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from xaibench.api import Loss
from xaibench_testing import NotApplicable
from xaibench_testing.checks import recipes


class Good:
    """Cross-entropy, guided by the mask, with a drawn prototype that it keeps."""

    def __init__(self):
        self.kept = torch.zeros(2)

    def prepare(self, network, generator):
        with torch.no_grad():
            network.head.bias.copy_(torch.rand(2, generator=generator))
        return network

    def guides(self, pictures, generator):
        return [None if p.mask is None else p.mask.float() for p in pictures]

    def loss(self, network, batch):
        total = functional.cross_entropy(network.classify(network.features(batch.images)), batch.labels)
        return Loss(total, {"cross-entropy": total.item()})

    def after_step(self, network, batch, step, generator):
        self.kept = self.kept + torch.rand(2, generator=generator)
        return {"kept": float(self.kept.sum())}

    def state(self):
        return {"kept": self.kept}

    def restore(self, state):
        self.kept = state["kept"].clone()


class Diverging(Good):
    def loss(self, network, batch):
        return Loss(super().loss(network, batch).total * float("inf"))


class Detached(Good):
    def loss(self, network, batch):
        return Loss(super().loss(network, batch).total.detach())


class Rowwise(Good):
    def loss(self, network, batch):
        return Loss(network.classify(network.features(batch.images)).sum(dim=1))


class NanPart(Good):
    def loss(self, network, batch):
        return Loss(super().loss(network, batch).total, {"guide": float("nan")})


class Meddling(Good):
    def loss(self, network, batch):
        batch.images.mul_(0.5)
        return super().loss(network, batch)


class Global(Good):
    def prepare(self, network, generator):
        with torch.no_grad():
            network.head.bias.copy_(torch.rand(2))
        return network


class Forgetful(Good):
    def restore(self, state):
        pass


class NanFigure(Good):
    def after_step(self, network, batch, step, generator):
        return {"kept": float("nan")}


class Silencing(Good):
    def guides(self, pictures, generator):
        return [torch.zeros(p.image.shape[1:]) for p in pictures]


class Small(Good):
    def guides(self, pictures, generator):
        return [torch.ones(4, 4) for _ in pictures]


def failing(make):
    found = set()
    for check in recipes.CHECKS:
        try:
            check.run(make)
        except NotApplicable:
            continue
        except Exception:  # as the kit takes it: whatever a recipe raises fails the check
            found.add(check.name)
    return found


def test_a_good_recipe_passes_everything():
    for check in recipes.CHECKS:
        check.run(Good)


@pytest.mark.parametrize(
    ("make", "check"),
    [(Diverging, "loss"), (Detached, "loss"), (Rowwise, "loss"), (NanPart, "loss"), (Meddling, "batch"),
     (Global, "repeats"), (Forgetful, "state"), (NanFigure, "after-step"), (Silencing, "guides"), (Small, "guides")],
)  # fmt: skip
def test_a_bad_recipe_fails_the_check_that_is_there_for_it(make, check):
    assert check in failing(make)


def test_what_a_recipe_does_not_do_is_not_checked():
    class Plain:
        prepare, loss = Good.prepare, Good.loss

    for check in (recipes.check_state, recipes.check_guides, recipes.check_after_step):
        with pytest.raises(NotApplicable):
            check(Plain)
