"""What a run costs beyond its detector passes: time of units over time inside the detector, in the same run.

For every explainer and metric of the preset ``quick`` on the demo. The clock runs inside the very calls that a unit
makes, forward and backward, so that a busy machine slows both sides alike. Padding of ragged tails is shown apart:
``ratio`` is over all calls, ``useful`` over the share of them that is no padding. Units without a detector call show
seconds alone.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from xaibench.discovery.registry import load_registry
from xaibench.plan.making import make_plan
from xaibench.plan.settings import make_settings
from xaibench.plan.tasks import Setup, UnitResult
from xaibench.plan.units import Units
from xaibench.run.workbench import Workbench
from xaibench.run.worker import run_task


@dataclass
class Cost:
    """``inside``: seconds in detector calls; ``pictures``: shown in them, padding included; ``passes``: real ones."""

    seconds: float = 0.0
    inside: float = 0.0
    pictures: int = 0
    passes: int = 0

    def add(self, other: Cost) -> None:
        self.seconds += other.seconds
        self.inside += other.inside
        self.pictures += other.pictures
        self.passes += other.passes


class Watched:
    """A detector whose calls are timed."""

    def __init__(self, detector: Any) -> None:
        self._detector = detector
        self.inside, self.pictures = 0.0, 0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._detector, name)
        if name not in ("probabilities", "scores", "logits", "features"):
            return found

        def timed(images: torch.Tensor, *more: Any) -> Any:
            self.pictures += len(images)
            return self.timed(found, images, *more)

        return timed

    def timed(self, call: Callable[..., Any], *arguments: Any) -> Any:
        began = time.perf_counter()
        try:
            return call(*arguments)
        finally:
            self.inside += time.perf_counter() - began

    def take(self, result: UnitResult, seconds: float) -> Cost:
        """What was seen since the last time, as the cost of a unit."""
        cost = Cost(seconds, self.inside, self.pictures, result.passes.forward)
        self.inside, self.pictures = 0.0, 0
        return cost


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limit", type=int, default=16, help="samples of the demo")
    parser.add_argument("--threads", type=int, default=None, help="threads of a detector call; default: all cores")
    arguments = parser.parse_args()
    registry = load_registry()
    settings = make_settings(None, {"limit": arguments.limit, "threads": arguments.threads, "device": "cpu"})
    plan = make_plan(settings, registry)
    (member,) = plan.models[0].members
    setup = Setup(run="bench", plugins=(), without=(), runtime=plan.runtime, batch_size=member.batch_size, seed=0,
                  target=settings.target, staging=tempfile.gettempdir())  # fmt: skip
    workbench = Workbench(setup, registry)
    watched = Watched(plan.detectors[member.ref])
    workbench.add_detector(member.ref, watched)  # type: ignore[arg-type]
    backward = torch.autograd.grad
    torch.autograd.grad = lambda *a, **k: watched.timed(lambda: backward(*a, **k))  # type: ignore[assignment]
    print(f"{arguments.limit} samples, compute batch {member.batch_size}, {plan.runtime.threads} threads")
    report(measure(workbench, Units(plan, setup, keep=False), watched))


def measure(workbench: Workbench, units: Units, watched: Watched) -> dict[str, Cost]:
    """Costs by component, in the order of the run; pictures are decoded by the clean predictions and not counted."""
    clean = {}
    for task in units.predict_tasks(set()):
        for result in run_task(workbench, task):
            rows = result.tables["predictions"].to_pydict()
            clean |= dict(zip(rows["sample"], map(tuple, rows["probabilities"]), strict=True))
            watched.take(result, 0.0)
    costs: dict[str, Cost] = defaultdict(Cost)
    for task in units.explain_tasks(set(), lambda *_: clean, lambda *_: None):
        began = time.perf_counter()
        for result in run_task(workbench, task):
            cost = watched.take(result, time.perf_counter() - began)
            name = (result.address.metric or result.address.explainer or "").removeprefix("xaibench/")
            costs[f"{result.kind} {name}"].add(cost)
            costs["all units"].add(cost)
            began = time.perf_counter()
    costs["all units"] = costs.pop("all units")  # last
    return costs


def report(costs: dict[str, Cost]) -> None:
    print(f"{'unit':52} {'passes':>8} {'padding':>8} {'seconds':>8} {'inside':>8} {'ratio':>6} {'useful':>6}")
    for name, c in costs.items():
        line = f"{name[:52]:52} {c.passes:8,} {c.pictures - c.passes:8,} {c.seconds:8.2f} {c.inside:8.2f}"
        if c.passes:
            line += f" {c.seconds / c.inside:6.2f} {c.seconds / (c.inside * c.passes / c.pictures):6.2f}"
        print(line)


if __name__ == "__main__":
    main()
