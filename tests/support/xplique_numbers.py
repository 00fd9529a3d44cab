"""The inputs of ``test_parity_xplique.py``, and the script that wrote ``data/xplique_numbers.json`` from them.

The numbers are those of xplique 2.0.2 on tensorflow-cpu 2.20.0 (tf_keras 2.20.0, tensorflow-probability 0.25.0, numpy
2.4.6, scipy 1.17.1). TensorFlow is no dependency of the tests, and this script does not run in CI; by hand, in an
environment of its own::

    pip install tensorflow-cpu==2.20.0 tf_keras==2.20.0 tensorflow-probability==0.25.0
    pip install --no-deps xplique==2.0.2
    pip install scipy scikit-image scikit-learn matplotlib opencv-python-headless deprecated einops
    TF_USE_LEGACY_KERAS=1 python tests/xplique_numbers.py

Everything is drawn by numpy's ``RandomState``, whose streams never change.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

NUMBERS = Path(__file__).parent / "data" / "xplique_numbers.json"
HEIGHT, WIDTH = 8, 12
TARGETS = (1, 0, 0)
CELLS, SUBSETS = 4, 60
RADIUS, COPIES = 0.1, 6
FILLS = ("black", "white", "mean")
EQUAL, UNEQUAL = 12, 10
"""Steps that divide the 96 pixels and steps that do not."""


def pictures() -> Array:
    """``(3, 3, H, W)``: three pictures, away from black and white by more than the noise of ``AverageStability``."""
    return (0.05 + 0.8 * np.random.RandomState(0).rand(3, 3, HEIGHT, WIDTH)).astype("f")


def maps() -> Array:
    """``(3, H, W)``: signed, no two values of one size, at most 1 and exact in float16, as maps are stored."""
    draw, pixels = np.random.RandomState(1), HEIGHT * WIDTH
    sizes = [(128 - draw.permutation(pixels)) / 128 * draw.choice([-1, 1], pixels) for _ in range(3)]
    return np.stack(sizes).reshape(3, HEIGHT, WIDTH).astype("f")


def weights() -> tuple[Array, Array, Array]:
    """Of the network ``V tanh(W x + b)``: W ``(8, 3 * H * W)``, b ``(8,)``, V ``(2, 8)``."""
    draw = np.random.RandomState(2)
    return (
        (0.15 * draw.randn(8, 3 * HEIGHT * WIDTH)).astype("f"),
        (0.1 * draw.randn(8)).astype("f"),
        draw.randn(2, 8).astype("f"),
    )


def gradients(images: Array, targets: NDArray[np.int64]) -> Array:
    """``(n, H, W)``: gradients of the targets' logits, summed over the channels, of ``(n, 3, H, W)`` pictures."""
    first, bias, second = weights()
    hidden = np.tanh(images.reshape(len(images), -1) @ first.T + bias)
    found = (second[targets] * (1 - hidden**2)) @ first
    return found.reshape(-1, 3, HEIGHT, WIDTH).sum(axis=1).astype("f")


def draws() -> Array:
    """``(SUBSETS, CELLS ** 2)`` uniform numbers: a cell is off where its number is below the share.

    Of this seed no two sets are the same at 0.2, so that no two outputs are equal but for rounding.
    """
    return np.random.RandomState(15).rand(SUBSETS, CELLS**2).astype("f")


def noise() -> Array:
    """``(COPIES, 3, H, W)`` in [0, RADIUS)."""
    return (RADIUS * np.random.RandomState(4).rand(COPIES, 3, HEIGHT, WIDTH)).astype("f")


def _last(images: Array) -> Array:
    """Channels last, as xplique has them."""
    return np.ascontiguousarray(np.moveaxis(images, -3, -1))


def _short(value: float) -> float:
    """The digits that tell float32 numbers apart."""
    return float(f"{float(value):.9g}")


def _baselines(fill: str) -> Any:
    def mean(images: Array) -> Array:
        return np.broadcast_to(images.mean(axis=(1, 2), keepdims=True), images.shape).copy()

    return {"black": 0.0, "white": 1.0, "mean": mean}[fill]


def _numbers() -> dict[str, Any]:
    import tensorflow as tf
    from xplique import metrics

    first, bias, second = weights()

    class Net(tf.Module):
        def __call__(self, images: Any) -> Any:
            flat = tf.reshape(tf.transpose(images, (0, 3, 1, 2)), (-1, first.shape[1]))
            return tf.tanh(flat @ first.T + bias) @ second.T

    images, saliency, onehot = _last(pictures()), maps(), np.eye(2, dtype="f")[list(TARGETS)]
    each = [(images[i : i + 1], onehot[i : i + 1], saliency[i : i + 1]) for i in range(3)]

    def one_by_one(make: Any, scale: float = 1.0, **more: Any) -> list[float]:
        return [_short(make(Net(), x, y, **more)(scale * a)) for x, y, a in each]

    def curves(make: Any) -> list[list[float]]:
        return [list(map(_short, make(Net(), x, y).detailed_evaluate(a).values())) for x, y, a in each]

    def explainer(inputs: Any, targets: Any) -> Array:
        return gradients(np.moveaxis(np.asarray(inputs), -1, -3), np.asarray(targets).argmax(axis=1))

    def stability() -> list[float]:
        found = []
        for x, y, _ in each:
            metric = metrics.AverageStability(Net(), x, y, radius=RADIUS, nb_samples=COPIES)
            metric.noisy_masks = tf.constant(_last(noise()))
            found.append(_short(metric(explainer)))
        return found

    def mufidelity() -> dict[str, Any]:
        own, tf.random.uniform = tf.random.uniform, lambda *_, **__: tf.constant(draws())
        make = partial(metrics.MuFidelity, grid_size=CELLS, nb_samples=SUBSETS, subset_percent=0.2, batch_size=None)
        try:
            return {
                "mufidelity": one_by_one(make),
                "mufidelity of the softmax": one_by_one(make, activation="softmax"),
                "mufidelity of maps of zeros": one_by_one(make, scale=0.0),
            }
        finally:
            tf.random.uniform = own

    found: dict[str, Any] = {}
    for name, kind in (("deletion", metrics.Deletion), ("insertion", metrics.Insertion)):
        for fill in FILLS:
            for steps in (EQUAL, UNEQUAL):
                make = partial(kind, steps=steps, baseline_mode=_baselines(fill), activation="softmax")
                found[f"{name} {fill} {steps}"] = one_by_one(make)
                found[f"{name} {fill} {steps} curves"] = curves(make)
    half = partial(metrics.Deletion, steps=EQUAL // 2, max_percentage_perturbed=0.5, activation="softmax")
    found["deletion of half"] = one_by_one(half)
    together = metrics.Deletion(Net(), images, onehot, steps=EQUAL, activation="softmax")
    found["deletion of all pictures"] = _short(together(saliency))
    found |= mufidelity()
    for name in ("Drop", "Increase", "Gain"):
        kind = getattr(metrics, f"Average{name}Metric")
        found[f"average {name.lower()}"] = one_by_one(kind, activation="softmax")
        found[f"average {name.lower()} of tiny maps"] = one_by_one(kind, scale=1e-8, activation="softmax")
    found["average stability"] = stability()
    for kind in (metrics.Sparseness, metrics.Complexity):
        found[kind.__name__.lower()] = [_short(kind()(a[None])) for a in gradients(pictures(), np.array(TARGETS))]
    return found


def main() -> None:
    entries = [f"{json.dumps(name)}: {json.dumps(numbers)}" for name, numbers in _numbers().items()]
    NUMBERS.parent.mkdir(exist_ok=True)
    NUMBERS.write_text("{\n" + ",\n".join(entries) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
