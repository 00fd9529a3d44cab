"""What a pass costs by each way to compute it, and by how much the scores change.

Two ONNX graphs that take one picture a call, a small one of 128 x 128 pixels and a ResNet-18 of 224 x 224: as they are,
with their batch axis freed (``batched``) and called from several threads at once (``parallel``). Two PyTorch detectors,
the demo and the ResNet-18: in float32 and in bfloat16.

Calls are those of a run: groups of the compute batch. ``wall`` and ``cpu`` are milliseconds a picture by the clock and
by the processor time of this process, the least of some rounds in turns. On a machine that other programs use, the
processor time is the better one; divided by the threads it is the least that the clock can show. ``change`` is the
largest change of a probability on pictures of the demo against the first row, ``scores`` that of a logit, over the
largest logit; ``bits`` says whether all scores are equal to the last bit.

    python benchmarks/engines.py [--threads N] [--rounds N] [--pictures N] [--only NAME]
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from explainers import picture_of
from networks import resnet18
from overhead import ONNX_CARD, write_graph
from torch import Tensor

from xaibench.api import Detector, Forward, ModelError, Runtime
from xaibench.detector.batch_size import calls_in_a_row, compute_batch
from xaibench.detector.calls import call_detector
from xaibench.detector.torch_settings import prepare_torch
from xaibench.detector.torch_threads import threads_beside, torch_with_threads
from xaibench.discovery.components import open_component
from xaibench.discovery.registry import load_registry
from xaibench_models.torch_card import TorchKeys
from xaibench_models.torch_loading import Loaded
from xaibench_models.torch_model import build

SIDE = 224


@dataclass
class Row:
    """A way to compute a detector. ``wall`` and ``cpu``: seconds a picture."""

    detector: Detector
    threads: int
    wall: float = math.inf
    cpu: float = math.inf


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2, help="threads of a detector call")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--pictures", type=int, default=16, help="pictures of the demo on which scores are compared")
    parser.add_argument("--only", choices=("small", "resnet", "demo-bf16", "resnet-bf16"), action="append")
    arguments = parser.parse_args()
    prepare_torch(1)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter
        networks: dict[str, Callable[[], dict[str, Row]]] = {
            "small": lambda: onnx_rows(write_graph(Path(folder) / "small.onnx", 1), arguments.threads),
            "resnet": lambda: onnx_rows(export(Path(folder) / "resnet.onnx"), arguments.threads),
            "demo-bf16": lambda: torch_rows(demo),
            "resnet-bf16": lambda: torch_rows(resnet),
        }
        for name in arguments.only or networks:
            rows = networks[name]()
            measure(rows, arguments.rounds)
            report(name, rows, arguments.pictures)


def onnx_rows(path: Path, threads: int) -> dict[str, Row]:
    model = open_component("model", f"onnx:path={path}", registry=load_registry()).instance
    rows = {}
    for number in dict.fromkeys((1, threads)):
        own = model.open(path.stem, Runtime(threads=number))
        rows[f"as it is, {number} threads"] = Row(own, number)
        for engine in own.other_engines(number):
            try:
                rows[f"{engine}, {number} threads"] = Row(own.with_engine(engine, number), number)
            except ModelError as error:
                print(f"{path.stem}: {engine}: {error.what}")
    return rows


def export(path: Path) -> Path:
    torch.onnx.export(
        resnet18(), (torch.zeros(1, 3, SIDE, SIDE),), path, dynamo=False, opset_version=17, input_names=["image"],
        output_names=["logits"],
    )  # fmt: skip
    path.with_suffix(".toml").write_text(ONNX_CARD)
    return path


def torch_rows(opened: Callable[[Runtime], Detector]) -> dict[str, Row]:
    return {f"{name}, 1 threads": Row(opened(Runtime(precision=name)), 1) for name in ("fp32", "bf16")}


def demo(runtime: Runtime) -> Detector:
    model = open_component("model", "demo", registry=load_registry()).instance
    return cast("Detector", model.open(model.members()[0], runtime))


def resnet(runtime: Runtime) -> Detector:
    module = resnet18().requires_grad_(False)
    loaded = Loaded(module=module, digest="resnet", form="module", hooks=True, copy=lambda m: m)
    return build(loaded, TorchKeys(size=SIDE, activation="logit"), runtime, "resnet-18")


def measure(rows: Mapping[str, Row], rounds: int) -> None:
    for _ in range(rounds + 1):  # the first call prepares an engine; a minimum leaves it out
        for row in rows.values():
            facts, batch = row.detector.facts, compute_batch(row.detector)
            n = batch * calls_in_a_row(facts, batch)
            images = torch.rand((n, 3, *facts.input_size), generator=torch.Generator().manual_seed(0))
            with torch_with_threads(threads_beside(facts.engine, "cpu", row.threads)):
                wall, cpu = time.perf_counter(), time.process_time()
                call_detector(row.detector, [(Forward(images), 0, n)], batch)
                wall, cpu = (time.perf_counter() - wall) / n, (time.process_time() - cpu) / n
            row.wall, row.cpu = min(row.wall, wall), min(row.cpu, cpu)


def report(name: str, rows: Mapping[str, Row], pictures: int) -> None:
    first = next(iter(rows.values()))
    images = torch.stack([picture_of(first.detector, seed).image for seed in range(pictures)])
    print(f"{name:32} {'batch':>5} {'wall':>8} {'cpu':>8} {'change':>8} {'scores':>8} bits")
    wanted = [scores(first.detector, images, output) for output in ("probability", "logit")]
    for way, row in rows.items():
        p, z = (scores(row.detector, images, output) for output in ("probability", "logit"))
        change = float((p - wanted[0]).abs().max())
        relative = float((z - wanted[1]).abs().max() / wanted[1].abs().max())
        print(
            f"  {way:30} {compute_batch(row.detector):5} {row.wall * 1e3:8.3f} {row.cpu * 1e3:8.3f} {change:8.1g} "
            f"{relative:8.1g} {'equal' if torch.equal(z, wanted[1]) else 'differ'}"
        )


def scores(detector: Detector, images: Tensor, output: Any) -> Tensor:
    """Scores in calls of the compute batch."""
    batch = compute_batch(detector)
    parts: Iterator[Any] = (
        call_detector(detector, [(Forward(part, output), 0, len(part))], batch) for part in images.split(batch)
    )
    return torch.cat(list(parts))


if __name__ == "__main__":
    main()
