"""One compute batch: requests of one kind put to a detector in one call, padded, and the reply taken apart again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias, cast

from xaibench.api import (
    Apply,
    Ask,
    Backward,
    Detector,
    DifferentiableDetector,
    Forward,
    Gradients,
    LayerBackward,
    LayerGradients,
    Reply,
)

if TYPE_CHECKING:
    from torch import Tensor

Part: TypeAlias = "tuple[Ask, int, int]"
"""Rows ``start`` to ``stop`` of a request."""


def call(detector: Detector, parts: Sequence[Part], batch: int) -> Reply:
    """The rows of all ``parts``, which are of one kind, in one call of ``batch`` pictures; the reply lacks the padding.

    The padding repeats the last row.
    """
    import torch

    first, total = parts[0][0], sum(stop - start for _, start, stop in parts)
    images = _filled([ask.images[a:b] for ask, a, b in parts], total, detector, batch)
    if isinstance(first, Forward):
        out = detector.probabilities(images) if first.output == "probability" else detector.scores(images)
        return _first(out, total, images)
    asked = cast("Sequence[tuple[Backward | LayerBackward | Apply, int, int]]", parts)
    targets = _filled([_targets(*part) for part in asked], total, detector, batch)
    if not isinstance(first, Apply):
        return rows(_differentiate(cast("DifferentiableDetector", detector), images, targets, first), 0, total)
    besides = zip(*([t[a:b] for t in cast("Apply", ask).beside] for ask, a, b in parts), strict=True)
    beside = tuple(_filled(column, total, detector, batch) for column in besides)
    with torch.enable_grad():
        leaf = images.detach().requires_grad_(True)
        found = first.compute(detector, leaf, targets, beside)
    return tuple(_first(part, total, images).detach() for part in found)


def _first(found: Tensor, total: int, images: Tensor) -> Tensor:
    """The rows that were asked for. Raises ValueError where there is not one a picture: rows would go to others."""
    if found.shape[0] != images.shape[0]:
        raise ValueError(f"{len(found)} rows came back for {len(images)} pictures")
    return found[:total]


def empty_reply(request: Ask, detector: Detector) -> Reply:
    """What a request without a picture gets. Raises ValueError for one whose reply has no known shape then."""
    images = request.images
    if isinstance(request, Forward):
        return images.new_zeros((0, len((request.detector or detector).facts.classes)))
    if isinstance(request, Backward):
        return Gradients(images.new_zeros(0), images)
    raise ValueError(f"{type(request).__name__} needs at least one picture")


def _filled(parts: Sequence[Tensor], total: int, detector: Detector, batch: int) -> Tensor:
    """``total`` rows in ``parts`` and the last one again up to ``batch``, in memory of their own.

    Programmes keep what they ask with: a detector that changes its input changes a copy.
    """
    import torch

    found = [part.to(detector.device) for part in parts]
    if total < batch:
        found.append(found[-1][-1:].expand(batch - total, *found[-1].shape[1:]))
    return torch.cat(found).contiguous()


def cost(request: Ask) -> tuple[int, int]:
    """Forward and backward passes that one picture of a request counts as."""
    if isinstance(request, Apply):
        return request.forward, request.backward
    return 1, 0 if isinstance(request, Forward) else 1


def _targets(request: Backward | LayerBackward | Apply, start: int, stop: int) -> Tensor:
    import torch

    if isinstance(request.targets, int):
        return torch.full((stop - start,), request.targets, dtype=torch.int64)
    return request.targets[start:stop].to("cpu", torch.int64)


def _differentiate(
    detector: DifferentiableDetector, images: Tensor, targets: Tensor, request: Backward | LayerBackward
) -> Gradients | LayerGradients:
    import torch

    layered = isinstance(request, LayerBackward)
    with torch.enable_grad():
        leaf = images.detach().requires_grad_(True)
        if isinstance(request, LayerBackward):
            features = detector.features(leaf, request.layer)
            logits, at = features.logits, features.activation
        else:
            logits, at = detector.logits(leaf), leaf
        outputs = logits if request.output == "logit" else logits.softmax(dim=1)
        values = outputs.gather(1, targets[:, None])[:, 0]
        (gradient,) = torch.autograd.grad(values.sum(), at)
    if layered:
        return LayerGradients(
            values.detach(), features.to_grid(at.detach()).float(), features.to_grid(gradient).float()
        )
    return Gradients(values.detach(), gradient)


def rows(reply: Reply, start: int, stop: int) -> Reply:
    """Part of a reply."""
    if isinstance(reply, tuple):
        return tuple(part[start:stop] for part in reply)
    if isinstance(reply, Gradients):
        return Gradients(reply.values[start:stop], reply.gradients[start:stop])
    if isinstance(reply, LayerGradients):
        return LayerGradients(reply.values[start:stop], reply.activations[start:stop], reply.gradients[start:stop])
    return reply[start:stop]


def joined(parts: list[Reply]) -> Reply:
    """One reply of the parts of several calls."""
    import torch

    if len(parts) == 1:
        return parts[0]
    if isinstance(parts[0], tuple):
        return tuple(torch.cat(column) for column in zip(*parts, strict=True))
    if isinstance(parts[0], Gradients):
        return Gradients(torch.cat([p.values for p in parts]), torch.cat([p.gradients for p in parts]))
    if isinstance(parts[0], LayerGradients):
        return LayerGradients(
            torch.cat([p.values for p in parts]),
            torch.cat([p.activations for p in parts]),
            torch.cat([p.gradients for p in parts]),
        )
    return torch.cat(parts)
