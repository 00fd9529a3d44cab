"""What a training is asked to do, beside its recipe."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field

from xaibench.api import Parameters, UsageError, build_parameters, parse_spec


class Augmentation(Parameters):
    """How pictures are changed before each step; guides move with them. ``none`` on the command line: not at all."""

    mirror: bool = Field(True, description="mirror every other picture, left for right")
    shift: float = Field(0.05, ge=0, le=0.5, description="largest shift along either axis, as a share of the side")
    brightness: float = Field(0.1, ge=0, le=1, description="largest value added to or taken from all pixels")
    contrast: float = Field(0.1, ge=0, lt=1, description="largest relative change of the distance to the mean")
    jpeg: float = Field(0.0, ge=0, le=1, description="share of the pictures that are compressed")
    quality: int = Field(60, ge=10, le=95, description="lowest JPEG quality; the highest is 95")


_OFF: dict[str, object] = {"mirror": False, "shift": 0, "brightness": 0, "contrast": 0, "jpeg": 0}
DEFAULT = build_parameters(Augmentation, {}, "augmentation")


class TrainingSettings(Parameters):
    """Everything that ``xaibench train`` can be told about how a family is trained, whatever the recipe."""

    network: str = Field("small", description="network to train")
    weights: str | None = Field(None, description="file with the weights to start from; default: drawn from the seed")
    size: int | None = Field(None, ge=1, description="side of the pictures, in pixels; default: the network's own")
    epochs: int = Field(20, ge=1, description="passes over the training pictures")
    batch_size: int = Field(32, ge=2, description="pictures in one step")
    lr: float = Field(0.02, gt=0, description="learning rate of the first epoch")
    momentum: float = Field(0.9, ge=0, lt=1, description="momentum of stochastic gradient descent")
    weight_decay: float = Field(1e-4, ge=0, description="weight decay, on every parameter")
    schedule: Literal["cosine", "step"] = Field("cosine", description="how the learning rate falls from epoch to epoch")
    step_epochs: int = Field(12, ge=1, description="epochs after which the step schedule divides the rate by ten")
    augmentation: Augmentation = Field(DEFAULT, description="changes of the training pictures")
    seed: int = Field(0, ge=0, description="seed of everything that is drawn at random")

    def rate(self, epoch: int) -> float:
        """The learning rate of an epoch, counted from 1.

        ``cosine``: ``lr (1 + cos(pi (e - 1) / epochs)) / 2``, which would reach 0 one epoch after the last; ``step``:
        ``lr 0.1^floor((e - 1) / step_epochs)``.
        """
        if self.schedule == "cosine":
            return self.lr * (1 + math.cos(math.pi * (epoch - 1) / self.epochs)) / 2
        return float(self.lr * 0.1 ** ((epoch - 1) // self.step_epochs))


def read_augmentation(text: str | None) -> Augmentation:
    """``mirror=false,jpeg=0.5`` over the defaults; ``none`` for no change at all. Raises :class:`UsageError`."""
    if text is None:
        return DEFAULT
    if text == "none":
        return build_parameters(Augmentation, _OFF, "--augment")
    if "=" not in text:
        raise UsageError(f"--augment '{text}' is not known", "write --augment none, or KEY=VALUE,KEY=VALUE")
    return build_parameters(Augmentation, parse_spec(f"augment:{text}")[1], "--augment")
