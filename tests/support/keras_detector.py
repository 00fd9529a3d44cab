"""A Keras network on torch (``KERAS_BACKEND=torch``) of the pictures in :mod:`sound_detectors`."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import torch
from keras import layers
from sound_detectors import SIZE, TWO, train, write_card
from torch import nn


def network() -> keras.Model:
    return keras.Sequential(
        [
            layers.Input((SIZE, SIZE, 3)),
            layers.Conv2D(12, 3, strides=2, padding="same", name="one"),
            layers.BatchNormalization(name="norm"),
            layers.ReLU(name="first"),
            layers.SeparableConv2D(24, 3, strides=2, padding="same", name="two"),
            layers.ReLU(name="second"),
            layers.GlobalAveragePooling2D(name="pool"),
            layers.Dense(2, name="verdict"),
        ]
    )


def build(weights: str) -> keras.Model:
    """The factory: loads its weights itself."""
    built = network()
    built.load_weights(weights)
    return built


class _ChannelsFirst(nn.Module):
    """For :func:`sound_detectors.train`, whose pictures are ``(N, 3, H, W)``."""

    def __init__(self, model: keras.Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model(x.permute(0, 2, 3, 1), training=self.training)


def write(folder: Path) -> Path:
    """Train it; the path of its card."""
    keras.utils.set_random_seed(0)
    model = network()
    train(_ChannelsFirst(model))
    model.save_weights(folder / "m.weights.h5")
    card = {
        **TWO, "layout": "NHWC", "factory": "keras_detector:build", "weights": "factory",
        "kwargs": {"weights": str(folder / "m.weights.h5")}, "pythonpath": [str(Path(__file__).parent)],
    }  # fmt: skip
    return write_card(folder / "m.toml", card)
