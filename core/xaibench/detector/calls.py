"""Detector calls: rows of requests of one kind are joined to padded batches, and the reply is taken apart again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias, cast

from xaibench.api import (
    Apply,
    Backward,
    Detector,
    DifferentiableDetector,
    Forward,
    Gradients,
    LayerBackward,
    LayerGradients,
    Probe,
    Reply,
    to_device,
)

if TYPE_CHECKING:
    from torch import Tensor

TargetedProbe: TypeAlias = Backward | LayerBackward | Apply
RequestSlice: TypeAlias = "tuple[Probe, int, int]"
"""Rows ``start`` to ``stop`` of a request."""


def call_detector(detector: Detector, slices: Sequence[RequestSlice], batch: int) -> Reply:
    """Call the detector with the rows of all ``slices``, whose requests are of one kind.

    Every call has ``batch`` pictures: the last row is repeated as padding. The reply lacks the padding. ``slices`` hold
    at most ``batch`` rows, or a multiple of it where they are forwarded alone. Raises ``ValueError`` where the detector
    or an ``Apply`` does not return one row for each picture.
    """
    import torch

    first, n = slices[0][0], sum(stop - start for _, start, stop in slices)
    in_batches = getattr(detector, "in_batches", None) if isinstance(first, Forward) else None
    if in_batches is not None and len(slices) == 1 and n % batch == 0:
        images = first.images[slices[0][1] : slices[0][2]].to(detector.device)
        return _without_padding(in_batches(images, batch, cast("Forward", first).output), n, images)
    images = _padded([request.images[a:b] for request, a, b in slices], n, detector, batch)
    if isinstance(first, Forward):
        call = detector.probabilities if first.output == "probability" else detector.scores
        if n <= batch:
            return _without_padding(call(images), n, images)
        return torch.cat([_without_padding(call(part), batch, part) for part in torch.split(images, batch)])
    targets = _padded([_targets(cast("TargetedProbe", r), a, b, detector) for r, a, b in slices], n, detector, batch)
    detector = _in_full_precision(detector) if passes_per_picture(first)[1] else detector
    if not isinstance(first, Apply):
        differentiable = cast("DifferentiableDetector", detector)
        return slice_reply(_differentiate(differentiable, images, targets, cast("Backward", first)), 0, n)
    columns = zip(*([t[a:b] for t in cast("Apply", request).extras] for request, a, b in slices), strict=True)
    extras = tuple(_padded(column, n, detector, batch) for column in columns)
    with torch.enable_grad():
        leaf = images.detach().requires_grad_(True)
        outputs = first.compute(detector, leaf, targets, extras)
    return tuple(_without_padding(output, n, images).detach() for output in outputs)


def _in_full_precision(detector: Detector) -> Detector:
    """The detector that is differentiated: small gradients are 0 in half precision, since nothing scales them."""
    make = getattr(detector, "full_precision", None)
    return cast("Detector", make()) if make else detector


def _without_padding(output: Tensor, n: int, images: Tensor) -> Tensor:
    """The first ``n`` rows. Raises ``ValueError`` unless each picture has a row: rows would reach other requests."""
    if output.shape[0] != images.shape[0]:
        raise ValueError(f"{len(output)} rows came back for {len(images)} pictures")
    return output if n == images.shape[0] else output[:n]


def empty_reply(request: Probe, detector: Detector) -> Reply:
    """The reply to a request without a picture. Raises ``ValueError`` where the shape of that reply is not known."""
    images = request.images
    if isinstance(request, Forward):
        return images.new_zeros((0, len((request.detector or detector).facts.classes)))
    if isinstance(request, Backward):
        return Gradients(images.new_zeros(0), images)
    raise ValueError(f"{type(request).__name__} needs at least one picture")


def _padded(parts: Sequence[Tensor], n: int, detector: Detector, batch: int) -> Tensor:
    """The ``n`` rows of ``parts``, with the last row repeated up to ``batch`` rows, on the detector's device."""
    import torch

    tensors = [to_device(part, detector.device) for part in parts]
    if n < batch:
        tensors.append(tensors[-1][-1:].expand(batch - n, *tensors[-1].shape[1:]))
    # cat always copies: a detector that changes its input must not change the tensors of a programme.
    return torch.cat(tensors).contiguous()


def passes_per_picture(request: Probe) -> tuple[int, int]:
    """Forward and backward passes that one picture of a request counts as."""
    if isinstance(request, Apply):
        return request.forward, request.backward
    return 1, 0 if isinstance(request, Forward) else 1


def _targets(request: TargetedProbe, start: int, stop: int, detector: Detector) -> Tensor:
    """``(stop - start,)`` int64 class indices; one index for all is written on the detector's device."""
    import torch

    if isinstance(request.targets, int):
        return torch.full((stop - start,), request.targets, dtype=torch.int64, device=detector.device)
    return request.targets[start:stop].to(torch.int64)


def _differentiate(
    detector: DifferentiableDetector, images: Tensor, targets: Tensor, request: Backward | LayerBackward
) -> Gradients | LayerGradients:
    """Target outputs and their gradients at the pictures, or at a layer."""
    import torch

    with torch.enable_grad():
        leaf = images.detach().requires_grad_(True)
        if isinstance(request, LayerBackward):
            features = detector.features(leaf, request.layer)
            logits, point = features.logits, features.activation
        else:
            features = None
            logits, point = detector.logits(leaf), leaf
        outputs = logits if request.output == "logit" else logits.softmax(dim=1)
        values = outputs.gather(1, targets[:, None])[:, 0]
        (gradient,) = torch.autograd.grad(values.sum(), point)
    if features is None:
        return Gradients(values.detach(), gradient)
    to_grid = features.to_grid
    return LayerGradients(values.detach(), to_grid(point.detach()).float(), to_grid(gradient).float())


def slice_reply(reply: Reply, start: int, stop: int) -> Reply:
    """Rows ``start`` to ``stop`` of a reply."""
    if isinstance(reply, tuple):
        return tuple(part[start:stop] for part in reply)
    if isinstance(reply, Gradients):
        return Gradients(reply.values[start:stop], reply.gradients[start:stop])
    if isinstance(reply, LayerGradients):
        return LayerGradients(reply.values[start:stop], reply.activations[start:stop], reply.gradients[start:stop])
    return reply[start:stop]


def concatenate_replies(parts: list[Reply]) -> Reply:
    """One reply from the parts that several calls gave."""
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
