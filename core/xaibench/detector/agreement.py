"""Whether a detector gives the same numbers by another engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from xaibench.api import Detector, Forward
from xaibench.detector.calls import call_detector
from xaibench.detector.structure import extreme_pictures

if TYPE_CHECKING:
    from torch import Tensor


def disagreement(own: Detector, other: Detector, images: Tensor, batch: int, most: float) -> str:
    """Why ``other`` may not compute the passes of ``own``, in words that follow its name; empty where it may.

    Parameters
    ----------
    images: ``(n, 3, H, W)`` pictures of the data.
    batch: the compute batch of ``other``; its calls have as many pictures.
    most: the largest difference of a probability.

    Where ``own`` takes one picture a call and ``other`` more, the scores of a picture have to be the same, to the last
    bit, in any company: alone (the rest of the batch is padding), beside the other pictures and beside extreme ones,
    at any place.
    """
    import torch

    expected = own.probabilities(images)
    rows = torch.arange(-(-len(images) // batch) * batch) % len(images)
    values = cast("Tensor", call_detector(other, [(Forward(images[rows]), 0, len(rows))], batch))
    difference = float((values - expected[rows]).abs().max())
    if not difference <= most:
        return f"differs from {own.facts.engine} by {difference:.2g} of a probability on the data's pictures"
    if own.facts.batch.fixed == 1 and other.facts.batch.fixed is None and batch > 1:
        difference = _of_company(other, images, batch)
        if difference != 0.0:
            return f"judges a picture by its company: beside others in its batch a score differs by {difference:.2g}"
    return ""


def _of_company(detector: Detector, images: Tensor, batch: int) -> float:
    """The largest difference between the scores of a picture in different companies."""
    import torch

    n = len(images)
    alone = [detector.scores(image.expand(batch, *image.shape).contiguous()) for image in images]
    scores = torch.stack([rows[0] for rows in alone])
    largest = max(float((rows - rows[0]).abs().max()) for rows in alone)
    mixed = torch.stack([images, extreme_pictures(images).to(images.device)], dim=1).flatten(0, 1)
    for pictures, step in ((images, 1), (mixed, 2)):
        for shift in range(len(pictures)):
            rows = (torch.arange(batch) + shift) % len(pictures)
            seen = detector.scores(pictures[rows])
            known = rows % step == 0
            if known.any():
                largest = max(largest, float((seen[known] - scores[rows[known] // step % n]).abs().max()))
    return largest
