"""What a run costs beyond its detector passes: time of cells over time inside the detector, in the same run.

For every explainer and metric of the preset ``quick`` on the demo, in one task that commits nothing. The clock runs
inside the very calls that a cell makes, forward and backward, so that a busy machine slows both sides alike. Padding of
ragged tails is shown apart: ``ratio`` is over all calls, ``useful`` over the share of them that is no padding. Cells
without a detector call show seconds alone.

Two rows follow for a small ONNX graph of 128 x 128 pixels, one with a fixed batch of 1 and one that takes any batch:
seconds of the cells over ``passes`` times the seconds of a pass in the best bare session. The best session is the
fastest of ONNX Runtime alone over numbers of threads and, for the second graph, batches. Both sides take the fastest of
some rounds, in turns. The explainer and the metrics of these rows need no gradient, since ONNX Runtime gives none.

``--clock cpu`` counts the processor time of this process instead, for a machine that other programs use too. It
says the same with one thread alone.
"""

from __future__ import annotations

import argparse
import math
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from onnx import TensorProto, helper, numpy_helper

from xaibench.discovery.registry import Registry, load_registry
from xaibench.plan.due import Due
from xaibench.plan.keys import relation_of
from xaibench.plan.making import make_plan
from xaibench.plan.settings import Settings, make_settings
from xaibench.plan.tasks import CellResult, Setup
from xaibench.run.explain import explain
from xaibench.run.predict import predict
from xaibench.run.workbench import Workbench
from xaibench.store.commits import CommitLog
from xaibench.store.files import open_files


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
        if name not in ("probabilities", "scores", "in_batches", "logits", "features"):
            return found

        def timed(images: torch.Tensor, *more: Any) -> Any:
            self.pictures += len(images)
            return self.timed(found, images, *more)

        return timed

    def timed(self, call: Callable[..., Any], *arguments: Any) -> Any:
        began = Clock.read()
        try:
            return call(*arguments)
        finally:
            self.inside += Clock.read() - began

    def take(self, result: CellResult, seconds: float) -> Cost:
        """What was seen since the last time, as the cost of a cell."""
        cost = Cost(seconds, self.inside, self.pictures, result.cell.passes.forward)
        self.inside, self.pictures = 0.0, 0
        return cost


ONNX_SIDE = 128
ONNX_WIDTHS = (12, 20, 28, 36)
ONNX_BATCHES = (1, 4, 8, 16, 32, 64)
ONNX_CHOICE = {"explainer": ["rise"], "metric": ["deletion", "insertion"]}  # at their defaults, as users run them
ONNX_CARD = 'classes = ["real", "fake"]\nactivation = "logit"\nmean = 0.5\nstd = 0.25\n'
TARGET = 1.3
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


class Clock:
    """The clock of this programme."""

    read: Callable[[], float] = time.perf_counter


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limit", type=int, default=16, help="samples of the demo")
    parser.add_argument("--threads", type=int, default=None, help="threads of a detector call; default: all cores")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of the ONNX rows")
    parser.add_argument("--only-onnx", action="store_true", help="the ONNX rows alone")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="time that is counted")
    arguments = parser.parse_args()
    Clock.read = CLOCKS[arguments.clock]
    registry = load_registry()
    flags = {"limit": arguments.limit, "threads": arguments.threads, "device": "cpu"}
    if not arguments.only_onnx:
        report(run_cells(make_settings(None, flags), registry))
        print()
    with tempfile.TemporaryDirectory() as folder:
        for name, batch in (("batch of 1", 1), ("any batch", None)):
            path = write_graph(Path(folder) / f"{name.replace(' ', '-')}.onnx", batch)
            settings = make_settings(None, {**flags, **ONNX_CHOICE, "model": [str(path)]})
            compare_with_bare(name, path, [batch] if batch else ONNX_BATCHES, settings, registry, arguments.rounds)


def run_cells(settings: Settings, registry: Registry) -> dict[str, Cost]:
    """Run the cells of a plan in this process. Costs by component."""
    plan = make_plan(settings, registry)
    (member,) = plan.models[0].members
    nowhere = Path(tempfile.gettempdir(), "xaibench-overhead")  # tasks are given a folder and write nothing
    setup = Setup(run="bench", plugins=(), without=(), runtime=plan.runtime, batch_size=member.batch_size, seed=0,
                  target=settings.target, location=str(nowhere))  # fmt: skip
    samples = len(plan.datasets[0].survey.samples)
    due = Due(plan, relation_of(plan), CommitLog(open_files(nowhere)), setup=setup, keep=False, rerun="missing",
              since=0, size=lambda stage, member: samples)  # fmt: skip
    workbench = Workbench(setup, registry)
    watched = Watched(plan.detectors[member.ref])
    workbench.add_detector(member.ref, watched)  # type: ignore[arg-type]
    backward = torch.autograd.grad
    torch.autograd.grad = lambda *a, **k: watched.timed(lambda: backward(*a, **k))  # type: ignore[assignment]
    print(f"{samples} samples, compute batch {member.batch_size}, {plan.runtime.threads} threads")
    try:
        return measure(workbench, due, watched)
    finally:
        torch.autograd.grad = backward


def measure(workbench: Workbench, due: Due, watched: Watched) -> dict[str, Cost]:
    """Costs by component, in the order of the run; pictures are decoded by the clean predictions and not counted."""
    clean: dict[str, tuple[float, ...] | None] = {}
    for prediction in due.predict_tasks():
        for result in predict(workbench, prediction):
            rows = result.tables["predictions"].to_pydict()
            clean |= dict(zip(rows["sample"], map(tuple, rows["probabilities"]), strict=True))
            watched.take(result, 0.0)
    costs: dict[str, Cost] = defaultdict(Cost)
    for task in due.explain_tasks(lambda member, dataset: clean):
        began = Clock.read()
        for result in explain(workbench, task):
            cost = watched.take(result, Clock.read() - began)
            address = result.cell.address
            name = (address.metric or address.explainer).removeprefix("xaibench/")
            costs[f"{address.kind} {name}"].add(cost)
            costs["all cells"].add(cost)
            began = Clock.read()
    costs["all cells"] = costs.pop("all cells")  # last
    return costs


def report(costs: dict[str, Cost]) -> None:
    print(f"{'cells':52} {'passes':>8} {'padding':>8} {'seconds':>8} {'inside':>8} {'ratio':>6} {'useful':>6}")
    for name, c in costs.items():
        line = f"{name[:52]:52} {c.passes:8,} {c.pictures - c.passes:8,} {c.seconds:8.2f} {c.inside:8.2f}"
        if c.passes:
            line += f" {c.seconds / c.inside:6.2f} {c.seconds / (c.inside * c.passes / c.pictures):6.2f}"
        print(line)


# ---- ONNX Runtime ---------------------------------------------------------------------------------------------------


def compare_with_bare(
    name: str, path: Path, batches: Sequence[int], settings: Settings, registry: Registry, rounds: int
) -> None:
    """Print the cells' seconds a pass, those of the best bare session, and their ratio."""
    bare: dict[tuple[int, int], float] = {}
    run, inside = math.inf, math.inf
    for _ in range(rounds):
        for setting, seconds in bare_seconds(path, batches, settings.threads).items():
            bare[setting] = min(seconds, bare.get(setting, math.inf))
        cost = run_cells(settings, registry)["all cells"]
        run, inside = min(run, cost.seconds / cost.passes), min(inside, cost.inside / cost.passes)
    (threads, batch), best = min(bare.items(), key=lambda item: item[1])
    print(
        f"ONNX, {name}: {run * 1e3:.3f} ms a pass, {inside * 1e3:.3f} of it in the detector; best bare session "
        f"{best * 1e3:.3f} ({threads} threads, batch {batch}); ratio {run / best:.2f}, target {TARGET}"
    )


def bare_seconds(path: Path, batches: Sequence[int], threads: int | None) -> dict[tuple[int, int], float]:
    """Seconds a picture in ONNX Runtime alone, by number of threads and batch."""
    seconds = {}
    for number in {1, threads or os.cpu_count() or 1}:
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = number, 1
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        for batch in batches:
            images = np.random.default_rng(0).random((batch, 3, ONNX_SIDE, ONNX_SIDE), dtype=np.float32)
            calls = max(256 // batch, 1)
            session.run(None, {"image": images})
            began = Clock.read()
            for _ in range(calls):
                session.run(None, {"image": images})
            seconds[number, batch] = (Clock.read() - began) / calls / batch
    return seconds


def write_graph(path: Path, batch: int | None) -> Path:
    """A small convolutional network with random weights, and its card; ``batch`` None: it takes any batch."""
    rng = np.random.default_rng(0)
    weights: dict[str, Any] = {}
    nodes, tensor, channels = [], "image", 3
    for i, width in enumerate(ONNX_WIDTHS):
        weights[f"w{i}"] = rng.normal(0, (2 / (9 * channels)) ** 0.5, (width, channels, 3, 3))
        weights[f"b{i}"] = np.zeros(width)
        stride = 2 if i else 1
        inputs = [tensor, f"w{i}", f"b{i}"]
        nodes.append(helper.make_node("Conv", inputs, [f"c{i}"], pads=[1] * 4, strides=[stride] * 2))
        nodes.append(helper.make_node("Relu", [f"c{i}"], [f"r{i}"]))
        tensor, channels = f"r{i}", width
    weights["w"], weights["b"] = rng.normal(0, 1, (2, channels)), np.zeros(2)
    nodes.append(helper.make_node("GlobalAveragePool", [tensor], ["pooled"]))
    nodes.append(helper.make_node("Flatten", ["pooled"], ["flat"]))
    nodes.append(helper.make_node("Gemm", ["flat", "w", "b"], ["logits"], transB=1))
    rows = batch or "N"
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [rows, 3, ONNX_SIDE, ONNX_SIDE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [rows, 2])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    path.with_suffix(".toml").write_text(ONNX_CARD)
    return path


if __name__ == "__main__":
    main()
