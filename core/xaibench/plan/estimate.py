"""The duration of a plan, estimated from one timed batch of each detector."""

from __future__ import annotations

import time
from typing import cast

from xaibench.api import Detector, DifferentiableDetector, Passes
from xaibench.plan.parts import Plan


def seconds(plan: Plan) -> float:
    """Estimated seconds of detector work: the plan's passes at the speed of one timed batch a model.

    The timing batch, and one before it to warm up, are not counted as passes.
    """
    total = 0.0
    for model in plan.models:
        member = model.members[0]
        detector = plan.detectors[member.ref]
        passes = sum((c.passes for c in plan.cells if c.model == model.name and not c.reason), Passes())
        passes += sum((c.passes for c in plan.artefact_cells if c.model == model.name), Passes())
        clean = plan.predictions.forward / max(len(plan.models), 1)
        forward = _seconds_a_picture(detector, member.batch_size, backward=False)
        backward = _seconds_a_picture(detector, member.batch_size, backward=True) if passes.backward else 0.0
        total += forward * (passes.forward - passes.backward + clean) + backward * passes.backward
    return total


def _seconds_a_picture(detector: Detector, batch: int, backward: bool) -> float:
    """Seconds for each picture of one batch, after a batch to warm up."""
    import torch

    height, width = detector.facts.input_size
    images = torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(0)).to(detector.device)
    for _ in range(2):
        start = time.perf_counter()
        if backward:
            leaf = images.clone().requires_grad_(True)
            torch.autograd.grad(cast("DifferentiableDetector", detector).logits(leaf).sum(), leaf)
        else:
            detector.probabilities(images)
        if detector.device.type == "cuda":
            torch.cuda.synchronize(detector.device)
        duration = time.perf_counter() - start
    return duration / batch
