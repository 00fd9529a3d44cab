"""One run: epochs of stochastic gradient descent on a recipe's loss, each validated and committed."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from xaibench.api import FAKE, Loss, Network, PlanError, PluginError, Streams, TrainingBatch
from xaibench_statistics import roc_auc
from xaibench_training.augment import augment
from xaibench_training.checkpoints import Epoch, History, RunState
from xaibench_training.data import Guides, Pictures
from xaibench_training.faults import asked
from xaibench_training.sampling import epoch_batches
from xaibench_training.settings import TrainingSettings

STEPS = Callable[[int, int, float], None]
"""Told (step of the epoch, steps in it, mean loss so far) after every step."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """Everything that one run is made of. ``recipe`` is an object of its own; ``network`` draws one from a seed."""

    number: int
    seed: int
    settings: TrainingSettings
    recipe: Any
    network: Callable[[int], Network]
    train: Pictures
    validation: Pictures
    guides: Guides
    device: torch.device

    @property
    def streams(self) -> Streams:
        return Streams(("training", str(self.seed)))


@dataclass(frozen=True)
class Trained:
    """A run whose epochs are all done: the prepared network with the last epoch's weights, and its history."""

    network: Network
    history: History


def train(
    run: Run, state: RunState, *, on_step: STEPS = lambda *_: None, on_epoch: Callable[[Epoch, History], None]
) -> Trained:
    """Do the epochs that are left. ``on_epoch`` is called when an epoch is committed.

    Raises :class:`PlanError` where the loss or an output stops being finite.
    """
    streams = run.streams
    fresh = run.network(streams.seed("network"))
    with asked(run.recipe, "prepare"):
        network = run.recipe.prepare(fresh, streams.torch("prepare"))
    module = network.module().to(run.device)
    s = run.settings
    parameters = [p for p in module.parameters() if p.requires_grad]
    optimiser = torch.optim.SGD(parameters, lr=s.lr, momentum=s.momentum, weight_decay=s.weight_decay)
    history = state.restore(module, optimiser, run.recipe) if state.exists() else History()
    for number in range(len(history.epochs) + 1, s.epochs + 1):
        with _drawing_from(streams.child(number).seed("layers"), run.device), _in_memory(run):
            epoch = _epoch(run, network, optimiser, number, on_step)
        history.epochs.append(epoch)
        state.save(module, optimiser, run.recipe, history)
        on_epoch(epoch, history)
    return Trained(network, history)


def evaluate(network: Network, pictures: Pictures, batch_size: int, device: torch.device) -> tuple[float, float]:
    """Validation AUC of the fake logit less the real one, and mean cross-entropy, in evaluation mode."""
    module = network.module().eval()
    logits: list[Tensor] = []
    with torch.no_grad():
        for indices in torch.split(torch.arange(len(pictures)), batch_size):
            images = pictures.images(indices).to(device)
            logits.append(network.classify(network.features(images)).cpu().double())
    module.train()
    found = torch.cat(logits)
    if not bool(torch.isfinite(found).all()):
        raise _diverged("an output on a validation picture")
    score, fake = (found[:, FAKE] - found[:, 1 - FAKE]).numpy(), (pictures.labels == FAKE).numpy()
    return roc_auc(score[fake], score[~fake]), functional.cross_entropy(found, pictures.labels).item()


def make_batch(run: Run, indices: Tensor, generator: torch.Generator) -> TrainingBatch:
    """The pictures of these indices with their guides, augmented on the CPU, on the run's device."""
    guides, guided = run.guides.take(indices)
    plain = TrainingBatch(
        images=run.train.images(indices),
        labels=run.train.labels[indices],
        guides=guides,
        guided=guided,
        ids=tuple(run.train.samples[i].id for i in indices.tolist()),
    )
    changed = augment(plain, run.settings.augmentation, generator)
    moved = {name: getattr(changed, name).to(run.device) for name in ("images", "labels", "guides", "guided")}
    return replace(changed, **moved)


def _epoch(run: Run, network: Network, optimiser: torch.optim.Optimizer, number: int, on_step: STEPS) -> Epoch:
    s, began = run.settings, time.perf_counter()
    streams = run.streams.child(number)
    augmenting, beside = streams.torch("augment"), streams.torch("recipe")
    batches = epoch_batches(run.train.labels, s.batch_size, streams.torch("sampler"))
    for group in optimiser.param_groups:
        group["lr"] = s.rate(number)
    network.module().train()
    means = _Means()
    for i, indices in enumerate(batches, start=1):
        batch = make_batch(run, indices, augmenting)
        with asked(run.recipe, "loss"):
            loss = run.recipe.loss(network, batch)
        _step(loss, optimiser)
        means.add({"": loss.total.item(), **loss.parts}, len(indices))
        if hasattr(run.recipe, "after_step"):
            done = (number - 1) * len(batches) + i
            with asked(run.recipe, "after_step"):
                figures = run.recipe.after_step(network, batch, done, beside) or {}
            means.add(figures, len(indices))
        on_step(i, len(batches), means.of(""))
    auc, loss_there = evaluate(network, run.validation, s.batch_size, run.device)
    return Epoch(
        epoch=number, loss=means.of(""), parts=means.parts(), validation_auc=auc, validation_loss=loss_there,
        learning_rate=s.rate(number), seconds=time.perf_counter() - began, examples=sum(map(len, batches)),
    )  # fmt: skip


def _step(loss: Loss, optimiser: torch.optim.Optimizer) -> None:
    if loss.total.ndim or not loss.total.requires_grad:
        raise PluginError(
            f"the recipe's loss, of shape {tuple(loss.total.shape)}, is not one number that can be differentiated",
            "mend the recipe: xaibench check tries it",
        )
    if not bool(torch.isfinite(loss.total)):
        raise _diverged("the loss")
    optimiser.zero_grad(set_to_none=True)
    loss.total.backward()  # type: ignore[no-untyped-call]
    optimiser.step()


class _Means:
    """Means by name, weighted by pictures, over the steps that gave a figure of that name."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = defaultdict(float)
        self._weights: dict[str, int] = defaultdict(int)

    def add(self, values: Mapping[str, float], weight: int) -> None:
        for name, value in values.items():
            if not math.isfinite(value):
                raise PluginError(f"the recipe's figure '{name}' is {value}", "leave out a figure that cannot be had")
            self._sums[name] += float(value) * weight
            self._weights[name] += weight

    def of(self, name: str) -> float:
        return self._sums[name] / self._weights[name]

    def parts(self) -> dict[str, float]:
        return {name: self.of(name) for name in sorted(self._sums) if name}


@contextmanager
def _drawing_from(seed: int, device: torch.device) -> Iterator[None]:
    """What layers draw from torch's own generators (dropout) follows ``seed``; afterwards these are as before."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


@contextmanager
def _in_memory(run: Run) -> Iterator[None]:
    """A device that is full is no bug: it is said in a line."""
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        raise PlanError(
            f"{run.device} has too little memory for {run.settings.batch_size} pictures of {run.train.size} x "
            f"{run.train.size} in one step",
            "lower --batch-size or --size, with another --out, or use a smaller --network",
        ) from error


def _diverged(what: str) -> PlanError:
    return PlanError(f"{what} is not finite any more: the training diverged", "lower --lr, with another --out")
