"""Random changes of training pictures: mirror, shift, contrast, brightness, JPEG. Guides are mirrored and shifted too.

All draws come from one generator in a fixed number a picture, whatever is switched on.
"""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from xaibench.api import TrainingBatch
from xaibench_training.settings import Augmentation

_DRAWS = 7
_BEST_QUALITY = 95


def augment(batch: TrainingBatch, how: Augmentation, generator: torch.Generator) -> TrainingBatch:
    """The batch with every picture changed on its own; the given one is left as it is."""
    draws = torch.rand((len(batch.ids), _DRAWS), generator=generator, dtype=torch.float64)
    images, guides = torch.empty_like(batch.images), torch.empty_like(batch.guides)
    for i, draw in enumerate(draws.tolist()):
        image, guide = _moved(batch.images[i], how, draw), _moved(batch.guides[i], how, draw)
        images[i], guides[i] = _toned(image, how, draw), guide
        if draw[5] < how.jpeg:
            images[i] = compressed(images[i], round(how.quality + draw[6] * (_BEST_QUALITY - how.quality)))
    return replace(batch, images=images, guides=guides)


def shifted(plane: Tensor, down: int, right: int) -> Tensor:
    """``(..., H, W)`` moved by whole pixels; what enters at an edge repeats that edge."""
    height, width = plane.shape[-2:]
    rows = (torch.arange(height) - down).clamp(0, height - 1)
    columns = (torch.arange(width) - right).clamp(0, width - 1)
    return plane[..., rows, :][..., columns]


def compressed(image: Tensor, quality: int) -> Tensor:
    """``(3, H, W)`` in [0, 1] after one JPEG compression of the rounded 8-bit picture."""
    pixels = (image * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    with Image.open(file) as decoded:
        array = np.asarray(decoded.convert("RGB"), np.float32)
    return torch.from_numpy(array / 255).permute(2, 0, 1)


def _moved(plane: Tensor, how: Augmentation, draw: list[float]) -> Tensor:
    turned = plane.flip(-1) if how.mirror and draw[0] < 0.5 else plane
    height, width = plane.shape[-2:]
    down, right = (round((2 * d - 1) * how.shift * side) for d, side in ((draw[1], height), (draw[2], width)))
    return shifted(turned, down, right) if down or right else turned


def _toned(image: Tensor, how: Augmentation, draw: list[float]) -> Tensor:
    """Contrast about the picture's own mean, then brightness, cut to [0, 1]."""
    factor, offset = 1 + (2 * draw[3] - 1) * how.contrast, (2 * draw[4] - 1) * how.brightness
    mean = image.mean()
    return ((image - mean) * factor + mean + offset).clamp(0, 1) if how.contrast or how.brightness else image
