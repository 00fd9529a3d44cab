"""The duration of a plan, estimated from timed batches of each detector."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias, cast

from xaibench.api import Detector, DifferentiableDetector, Passes
from xaibench.plan.parts import ArtefactCell, Cell, Plan, PlannedModel

PassCell: TypeAlias = Cell | ArtefactCell

_BATCHES = 10
_TIMING = 1.0  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """Seconds of one pass of a detector: ``forward`` alone, and ``backward`` with the forward pass before it."""

    forward: float
    backward: float = 0.0

    def seconds(self, passes: Passes) -> float:
        """Seconds of these passes. A picture whose gradient is taken costs ``backward`` alone."""
        return self.forward * (passes.forward - passes.backward) + self.backward * passes.backward


@dataclass(frozen=True, slots=True)
class Cost:
    """Passes and the seconds that they take."""

    passes: Passes = Passes()
    seconds: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.passes + other.passes, self.seconds + other.seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Passes and seconds of detector work, in one process with the threads of the run.

    ``cells`` holds those of every cell and artefact that runs, ``predictions`` those of the clean predictions and
    ``looks`` those of the looks at the detectors. What components compute beside the detector is not part of it.
    """

    cells: Mapping[PassCell, Cost]
    predictions: Cost
    looks: Cost = Cost()

    @property
    def total(self) -> Cost:
        """The cost of everything."""
        return sum(self.cells.values(), self.predictions + self.looks)

    def metrics(self) -> dict[str, Cost]:
        """The cost of each metric over all explainers, the dearest first. ``(maps)`` are the maps themselves."""
        return self._by(lambda cell: cell.metric or "(maps)")

    def explainers(self) -> dict[str, Cost]:
        """The cost of each explainer with all that measures it, the dearest first."""
        return self._by(lambda cell: cell.explainer)

    def _by(self, name: Callable[[Cell], str]) -> dict[str, Cost]:
        """The cost of the cells of each name. An artefact stands under its own."""
        costs = defaultdict[str, Cost](Cost)
        for cell, cost in self.cells.items():
            costs[name(cell) if isinstance(cell, Cell) else cell.artefact] += cost
        named = [(key, cost) for key, cost in costs.items() if key and cost.passes.forward]
        return dict(sorted(named, key=lambda item: (-item[1].seconds, item[0])))


def estimate(
    plan: Plan, left: Mapping[PassCell, float] | None = None, *, predictions: float = 1.0, looks: Passes | None = None
) -> Estimate:
    """The cost of a plan at the speed of timed batches of the first member of every model.

    Parameters
    ----------
    left: the share in [0, 1] of a cell or artefact that is left to do. One that is not named is left as a whole.
    predictions: the share of the clean predictions that is left.
    looks: the passes of the looks at the detectors that are left; None: all.

    The timed batches are not counted as passes. Nothing is timed where nothing is left.
    """
    left = left or {}
    running: list[PassCell] = [*(c for c in plan.cells if not c.reason), *plan.artefact_cells]
    passes = {c: _part(c.passes, left.get(c, 1.0)) for c in running}
    clean = _part(plan.predictions, predictions)
    looks = plan.detector_passes if looks is None else looks
    speeds = {}
    for model in plan.models:
        of_model = sum((p for c, p in passes.items() if c.model == model.name), Passes())
        speeds[model.name] = _speed(plan, model, of_model + clean + looks)
    mean = Speed(forward=sum(s.forward for s in speeds.values()) / max(len(speeds), 1))
    cells = {c: Cost(p, speeds[c.model].seconds(p)) for c, p in passes.items()}
    return Estimate(cells=cells, predictions=Cost(clean, mean.seconds(clean)), looks=Cost(looks, mean.seconds(looks)))


def _part(passes: Passes, share: float) -> Passes:
    return Passes(round(passes.forward * share), round(passes.backward * share), passes.exact)


def _speed(plan: Plan, model: PlannedModel, passes: Passes) -> Speed:
    """The speed of the first member. What the passes do not hold is not timed."""
    member = model.members[0]
    detector, batch = plan.detectors[member.ref], member.batch_size
    return Speed(
        forward=_seconds_a_picture(detector, batch, backward=False) if passes.forward else 0.0,
        backward=_seconds_a_picture(detector, batch, backward=True) if passes.backward else 0.0,
    )


def _seconds_a_picture(detector: Detector, batch: int, backward: bool) -> float:
    """Seconds for each picture of the fastest batch: a first one warms up, and a busy machine slows some of them."""
    import torch

    height, width = detector.facts.input_size
    images = torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(0)).to(detector.device)
    durations: list[float] = []
    while len(durations) < 2 or (len(durations) < _BATCHES and sum(durations) < _TIMING):
        start = time.perf_counter()
        if backward:
            leaf = images.clone().requires_grad_(True)
            torch.autograd.grad(cast("DifferentiableDetector", detector).logits(leaf).sum(), leaf)
        else:
            detector.probabilities(images)
        if detector.device.type == "cuda":
            torch.cuda.synchronize(detector.device)
        durations.append(time.perf_counter() - start)
    return min(durations[1:]) / batch
