"""What a training is asked to do, beside its recipe."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, field_validator

from xaibench.api import SHARED_FLAGS, Parameters, UsageError, build_parameters, parse_spec, setting


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

    network: str = setting("small", "network to train")
    weights: str | None = setting(None, "file with the weights to start from; default: drawn from the seed", path=True)
    size: int | None = setting(None, "side of the pictures, in pixels; default: the network's own", ge=1, le=8192)
    epochs: int = setting(20, "passes over the training pictures", ge=1, le=100_000)
    batch_size: int = setting(32, "pictures in one step", ge=2, le=65_536)
    lr: float = setting(0.02, "learning rate of the first epoch", gt=0, allow_inf_nan=False)
    momentum: float = setting(0.9, "momentum of stochastic gradient descent", ge=0, lt=1)
    weight_decay: float = setting(1e-4, "weight decay, on every parameter", ge=0, allow_inf_nan=False)
    schedule: Literal["cosine", "step"] = setting("cosine", "how the learning rate falls from epoch to epoch")
    step_epochs: int = setting(12, "epochs after which the step schedule divides the rate by ten", ge=1, le=100_000)
    augmentation: Augmentation = setting(
        DEFAULT,
        "changes of the training pictures: none, or what differs from the defaults, as mirror=false,jpeg=0.5",
        flag="augment",
    )
    seed: int = setting(0, SHARED_FLAGS["seed"], ge=0, lt=2**63)

    @field_validator("augmentation", mode="before")
    @classmethod
    def _read_augmentation(cls, value: object) -> object:
        return read_augmentation(value) if isinstance(value, str) else value

    def rate(self, epoch: int) -> float:
        """The learning rate of an epoch, counted from 1.

        ``cosine``: ``lr (1 + cos(pi (e - 1) / epochs)) / 2``, which would reach 0 one epoch after the last; ``step``:
        ``lr 0.1^floor((e - 1) / step_epochs)``.
        """
        if self.schedule == "cosine":
            return self.lr * (1 + math.cos(math.pi * (epoch - 1) / self.epochs)) / 2
        return float(self.lr * 0.1 ** ((epoch - 1) // self.step_epochs))


class DataChoice(Parameters):
    """Which pictures train and which validate."""

    dataset: str = setting(..., SHARED_FLAGS["dataset"])
    split: str | None = setting(None, "split to train on; default: train, if there is one")
    validation: str | None = setting(None, "split to validate on; default: val, else a fifth of the groups")
    method: tuple[str, ...] = setting((), "only fakes of this method, on both sides")
    limit: int | None = setting(None, "at most N pictures on either side", ge=1, le=10**9)


class Invocation(Parameters):
    """What one call of ``xaibench train`` is told beside what a run is."""

    runs: int = setting(1, "independent training runs", ge=1, le=10_000)
    threads: int | None = setting(None, SHARED_FLAGS["threads"], ge=1, le=1024)
    device: str = setting("auto", SHARED_FLAGS["device"])
    dry_run: bool = setting(False, "check and print the plan; train nothing")
    export: bool = setting(True, "write onnx/run-N.onnx")
    quiet: bool = setting(False, SHARED_FLAGS["quiet"])
    verbose: bool = setting(False, SHARED_FLAGS["verbose"])


def read_augmentation(text: str) -> Augmentation:
    """``mirror=false,jpeg=0.5`` over the defaults; ``none`` for no change at all. Raises :class:`UsageError`."""
    if text == "none":
        return build_parameters(Augmentation, _OFF, "--augment")
    if "=" not in text:
        raise UsageError(f"--augment '{text}' is not known", "write --augment none, or KEY=VALUE,KEY=VALUE")
    return build_parameters(Augmentation, parse_spec(f"augment:{text}")[1], "--augment")
