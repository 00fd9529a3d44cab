"""What every training recipe must hold to, on a small network and planted pictures. Checks take what makes a recipe of
its own, and raise :class:`ContractViolation`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from xaibench.api import Loss, Recipe, TrainingBatch, XaibenchError
from xaibench_testing.planted import ConstantDetector
from xaibench_testing.planted_data import pictures_of, planted_samples
from xaibench_testing.violations import NotApplicable, require

Make = Callable[[], Any]
"""A new recipe, always with the same parameters."""

PAIRS = 4
CHANNELS = 32


@dataclass(frozen=True, slots=True)
class RecipeCheck:
    """A named check of a recipe."""

    name: str
    run: Callable[[Make], None]


class KitNetwork(nn.Module):
    """The smallest network that recipes can be tried on: two normalised convolutions to ``(N, 32, H/4, W/4)``, pooled.
    See :class:`xaibench.api.Network`."""

    layers: tuple[str, ...] = ("first_norm", "last_norm")
    last_convolution = "last"
    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.full((3, 1, 1), 0.5))
        self.first, self.first_norm = nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8)
        self.last, self.last_norm = nn.Conv2d(8, CHANNELS, 3, 2, 1, bias=False), nn.BatchNorm2d(CHANNELS)
        self.head = nn.Linear(CHANNELS, 2)

    def features(self, pictures: Tensor) -> Tensor:
        first = self.first_norm(self.first(pictures - self.mean)).relu()
        activation: Tensor = self.last_norm(self.last(first)).relu()
        return activation

    def classify(self, features: Tensor) -> Tensor:
        logits: Tensor = self.head(features.mean((2, 3)))
        return logits

    def module(self) -> nn.Module:
        return self


def kit_network(seed: int = 0) -> KitNetwork:
    """The network with weights drawn from ``seed``; the global random state is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return KitNetwork()


def kit_batch() -> TrainingBatch:
    """Four pairs; the fakes are guided by their mask."""
    pictures = pictures_of(planted_samples(PAIRS), ConstantDetector())
    masks = [p.mask for p in pictures]
    return TrainingBatch(
        images=torch.stack([p.image for p in pictures]),
        labels=torch.tensor([int(p.sample.label == "fake") for p in pictures]),
        guides=torch.stack([torch.zeros(p.image.shape[1:]) if p.mask is None else p.mask.float() for p in pictures]),
        guided=torch.tensor([m is not None for m in masks]),
        ids=tuple(p.sample.id for p in pictures),
    )


def check_loss(make: Make) -> None:
    """The loss is one finite number that can be differentiated by the network's weights; its parts are finite."""
    recipe, network = _prepared(make)
    loss = recipe.loss(network, kit_batch())
    require(isinstance(loss, Loss), f"loss() returned {type(loss).__name__}, not Loss")
    require(loss.total.ndim == 0, f"the loss is {tuple(loss.total.shape)}, not one number")
    require(bool(torch.isfinite(loss.total)), "the loss is not finite")
    require(loss.total.requires_grad, "the loss cannot be differentiated")
    _finite(loss.parts, "loss")
    loss.total.backward()
    moved = [p for p in network.module().parameters() if p.grad is not None and bool(p.grad.any())]
    require(bool(moved), "the loss does not depend on any weight of the network")


def check_batch(make: Make) -> None:
    """Neither the loss nor what follows a step changes the batch that it is given."""
    recipe, network = _prepared(make)
    batch, fresh = kit_batch(), kit_batch()
    recipe.loss(network, batch)
    _after(recipe, network, batch, 1)
    for name in ("images", "labels", "guides", "guided"):
        require(torch.equal(getattr(batch, name), getattr(fresh, name)), f"the batch's {name} were changed in place")


def check_repeats(make: Make) -> None:
    """From the same generators the same network, loss and figures come again, whatever the global random state."""
    found = []
    for seed in (1, 2):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            recipe, network = _prepared(make)
            loss = recipe.loss(network, kit_batch())
            figures = dict(_after(recipe, network, kit_batch(), 1))
            found.append((loss.total.item(), dict(loss.parts), figures, network.module().state_dict()))
    require(found[0][:3] == found[1][:3], "prepared and stepped again, the loss or a figure differs")
    same = all(torch.equal(a, b) for a, b in zip(found[0][3].values(), found[1][3].values(), strict=True))
    require(same, "prepared and stepped again, the network differs: draw from the generator that is given")


def check_after_step(make: Make) -> None:
    """What follows a step gives finite figures by name."""
    recipe, network = _prepared(make)
    if not hasattr(recipe, "after_step"):
        raise NotApplicable("does nothing after a step")
    for step in (1, 2, 3):
        recipe.loss(network, kit_batch())
        _finite(_after(recipe, network, kit_batch(), step), "after_step")


def check_state(make: Make) -> None:
    """``state`` and ``restore`` come together; a new recipe restored from a state gives that state again."""
    recipe, network = _prepared(make)
    both = [hasattr(recipe, name) for name in ("state", "restore")]
    if not any(both):
        raise NotApplicable("keeps nothing beside the network")
    require(all(both), "has one of state() and restore() without the other")
    recipe.loss(network, kit_batch())
    _after(recipe, network, kit_batch(), 1)
    kept = {name: tensor.clone() for name, tensor in recipe.state().items()}
    other, _ = _prepared(make)
    other.restore(kept)
    again = other.state()
    same = kept.keys() == again.keys() and all(torch.equal(kept[k], again[k]) for k in kept)
    require(same, "restored from its state, a new recipe gives another one")


def check_guides(make: Make) -> None:
    """Guides are ``(H, W)`` in [0, 1] and nowhere zero all over; None where nobody says. The pictures stay."""
    recipe = make()
    if not hasattr(recipe, "guides"):
        raise NotApplicable("does not guide")
    pictures = pictures_of(planted_samples(PAIRS), ConstantDetector())
    before = [p.image.clone() for p in pictures]
    try:
        found = recipe.guides(pictures, torch.Generator().manual_seed(0))
    except XaibenchError as error:
        raise NotApplicable(f"gives no guide for planted pictures: {error.what}") from None
    require(len(found) == len(pictures), f"{len(found)} guides for {len(pictures)} pictures")
    for picture, guide in zip(pictures, found, strict=True):
        if guide is None:
            continue
        wants = tuple(picture.image.shape[1:])
        require(tuple(guide.shape) == wants, f"a guide is {tuple(guide.shape)}, the picture {wants}")
        require(bool(((guide >= 0) & (guide <= 1)).all()), "a guide leaves [0, 1]")
        require(bool((guide > 0).any()), "a guide is zero all over; 'nobody says' is None")
    same = all(torch.equal(p.image, b) for p, b in zip(pictures, before, strict=True))
    require(same, "guides() changed a picture in place")


CHECKS = tuple(
    RecipeCheck(check.__name__.removeprefix("check_").replace("_", "-"), check)
    for check in (check_loss, check_batch, check_repeats, check_after_step, check_state, check_guides)
)


def _prepared(make: Make) -> tuple[Any, Any]:
    recipe: Recipe = make()
    network = recipe.prepare(kit_network(), torch.Generator().manual_seed(0))
    network.module().train()
    return recipe, network


def _after(recipe: Any, network: Any, batch: TrainingBatch, step: int) -> Mapping[str, float]:
    if not hasattr(recipe, "after_step"):
        return {}
    figures: Mapping[str, float] = recipe.after_step(network, batch, step, torch.Generator().manual_seed(step))
    return figures


def _finite(values: Mapping[str, float], of: str) -> None:
    wrong = [name for name, value in values.items() if not math.isfinite(value)]
    require(not wrong, f"{of}() gives '{wrong[0] if wrong else ''}', which is not finite")
