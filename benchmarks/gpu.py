"""What a GPU gives: explainers and attacks against bare passes, and their maps against those of the CPU.

For a network of EfficientNet-B0's size at 224 px, as torch's module and as an ONNX file under the CUDA and the TensorRT
provider, with IO binding.

``bare``   a pass in calls of the compute batch alone: forward, or forward and back for methods that differentiate
``graph``  the same forward pass replayed as a CUDA graph, which is the least that launches can cost
``ratio``  the time of an explainer or attack for some pictures, over its passes times a bare one
``off``    the largest difference of map or scores from those of the CPU, over the greatest value, at a small budget

The batch is tuned before: the one of 16 to 256 whose bare pass is fastest. Where torch sees no GPU, one line says so.

    python benchmarks/gpu.py [--pictures N] [--rounds N] [--out FILE.json]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from explainers import FAKE, picture_of
from torch import Tensor, nn

from xaibench.api import Detector, Picture, Runtime
from xaibench.detector.torch_settings import prepare_torch
from xaibench.discovery.components import open_component
from xaibench.discovery.registry import load_registry
from xaibench_models.live_model import LiveModel
from xaibench_testing.harness import explain, score, value
from xaibench_training.networks.building import build

SIDE = 224
BATCHES = (16, 32, 64, 128, 256)
BAR, MOST_OFF = 1.10, 1e-3
CARD = {"size": [SIDE, SIDE], "classes": ["real", "fake"], "activation": "logit"}
TIMED = {
    "rise": "rise:masks=4000",
    "sobol": "sobol:cells=8,designs=32",
    "lime": "lime:samples=1000",
    "smoothgrad": "smoothgrad:samples=50",
    "segment-attack nes": "segment-attack:attack=nes,steps=50,draws=2,ceiling=false",
    "segment-attack pgd": "segment-attack:attack=pgd,steps=50,draws=2,ceiling=false",
    "road": "road",
    "guided-degradation": "guided-degradation",
}
"""Explainers and metrics with the budgets that are timed; metrics score the maps of the explainer ``edges``."""
COMPARED = {
    "rise": "rise:masks=256",
    "sobol": "sobol:cells=4,designs=4",
    "lime": "lime:samples=256",
    "smoothgrad": "smoothgrad:samples=8",
    "segment-attack nes": "segment-attack:attack=nes,steps=3,pairs=8,draws=0,ceiling=false",
    "segment-attack pgd": "segment-attack:attack=pgd,steps=3,draws=0,ceiling=false",
    "road": "road:percentages=[10,50,90]",
    "guided-degradation": "guided-degradation:controls=1",
}
METRICS = ("segment-attack", "road", "guided-degradation")


@dataclass(frozen=True, slots=True)
class Row:
    """Milliseconds of a bare pass, time over bare passes, and the difference from the CPU (None: not measured)."""

    engine: str
    name: str
    batch: int
    bare_ms: float
    ratio: float | None
    off: float | None

    def line(self) -> str:
        ratio, off = ("-" if v is None else f"{v:.3g}" for v in (self.ratio, self.off))
        verdict = "" if (self.ratio or 0) <= BAR and (self.off or 0) <= MOST_OFF else "  over the bar"
        return f"{self.engine:10} {self.name:20} {self.batch:5} {self.bare_ms:9.3f} {ratio:>7} {off:>9}{verdict}"


# ---- detectors ------------------------------------------------------------------------------------------------------


def network() -> nn.Module:
    """Random weights, and a verdict of *fake* for every picture, by little: otherwise nothing would be attacked."""
    module: Any = build("efficientnetv2-b0").eval()
    with torch.no_grad():
        module.head.weight.mul_(0.1)
        module.head.bias.copy_(torch.tensor([0.0, 0.5]))
    return module


def engines(folder: Path, device: str) -> Iterator[tuple[str, Detector]]:
    """The network under each engine, on a device: torch, and ONNX Runtime's providers where they are installed."""
    module, runtime = network(), Runtime(device=device, precision="fp32", threads=torch.get_num_threads())
    yield "torch", LiveModel(module, "efficientnet", CARD, "1").open("efficientnet", runtime)
    providers = ("cuda", "tensorrt") if device != "cpu" else ()
    file = folder / "efficientnet.onnx"
    if providers:
        torch.onnx.export(module, (torch.rand(2, 3, SIDE, SIDE),), file, dynamo=True, external_data=False,
                          dynamic_shapes=({0: torch.export.Dim("batch")},))  # fmt: skip
    for provider in providers:
        spec = f"onnx:path={file},provider={provider},classes=[real,fake],activation=logit"
        try:
            model = open_component("model", spec, registry=load_registry()).instance
            yield provider, model.open(model.members()[0], runtime)
        except Exception as error:  # the provider is not there; what it says is shown
            print(f"{provider:10} cannot be measured: {str(error).splitlines()[0]}")


# ---- times ----------------------------------------------------------------------------------------------------------


def seconds(call: Callable[[], object], rounds: int) -> float:
    """The median of some rounds, the device waited for before and after; one round goes before."""
    times = []
    for _ in range(rounds + 1):
        torch.cuda.synchronize()
        began = time.perf_counter()
        call()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return statistics.median(times[1:])


def bare_pass(detector: Detector, batch: int, rounds: int) -> float:
    """Seconds of one picture in bare calls."""
    images = torch.rand(batch, 3, SIDE, SIDE, device=detector.device)
    return seconds(lambda: [detector.probabilities(images) for _ in range(8)], rounds) / 8 / batch


def gradient_pass(detector: Any, batch: int, rounds: int) -> float:
    """Seconds of one picture forward and back in bare calls."""
    images = torch.rand(batch, 3, SIDE, SIDE, device=detector.device, requires_grad=True)
    return seconds(lambda: torch.autograd.grad(detector.logits(images)[:, FAKE].sum(), images), rounds) / batch


def graph_pass(module: nn.Module, batch: int, rounds: int) -> float:
    """Seconds of one picture where the forward pass is replayed as a CUDA graph."""
    images, graph = torch.rand(batch, 3, SIDE, SIDE, device="cuda"), torch.cuda.CUDAGraph()
    side = torch.cuda.Stream()
    with torch.inference_mode():
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                module(images)
        torch.cuda.current_stream().wait_stream(side)
        with torch.cuda.graph(graph):
            module(images)
    return seconds(lambda: [graph.replay() for _ in range(8)], rounds) / 8 / batch


def component(spec: str) -> Any:
    kind = "metric" if spec.partition(":")[0] in METRICS else "explainer"
    return kind, open_component(kind, spec, registry=load_registry())


def done_of(spec: str, detector: Detector, pictures: list[Picture], batch: int) -> list[Any]:
    kind, use = component(spec)
    if kind == "explainer":
        return explain(use, detector, pictures, FAKE, batch_size=batch)
    edges = open_component("explainer", "edges", registry=load_registry())
    return score(use, edges, detector, pictures, FAKE, batch_size=batch)


def numbers(done: Any) -> Tensor:
    """A map, or the scores that have a value."""
    result = value(done)
    if getattr(result, "map", None) is not None:
        return result.map.double().flatten()
    return torch.tensor([s.value for s in result.values if s.value is not None], dtype=torch.float64)


def difference(here: Tensor, there: Tensor) -> float:
    """The largest, over the greatest value; infinite where other scores have a value."""
    if here.shape != there.shape:
        return float("inf")
    return float((here - there).abs().amax() / here.abs().amax().clamp(min=1e-12)) if len(here) else 0.0


def rows(engine: str, detector: Detector, cpu: Detector, pictures: list[Picture], rounds: int) -> Iterator[Row]:
    bares = {batch: bare_pass(detector, batch, rounds) for batch in BATCHES}
    batch = min(bares, key=lambda b: bares[b])
    yield Row(engine, "bare", batch, bares[batch] * 1e3, None, None)
    for name, spec in TIMED.items():
        differentiates = "pgd" in name or name == "smoothgrad"
        if differentiates and engine != "torch":
            continue
        done = done_of(spec, detector, pictures, batch)
        passes = sum(d.passes.forward for d in done)
        single = gradient_pass(detector, batch, rounds) if differentiates else bares[batch]
        taken = seconds(lambda s=spec: done_of(s, detector, pictures, batch), rounds)
        one, two = (numbers(done_of(COMPARED[name], d, pictures[:1], batch)[0]) for d in (cpu, detector))
        yield Row(engine, name, batch, single * 1e3, taken / (passes * single), difference(one, two))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--pictures", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="a file of the figures, as JSON")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("gpu.py: torch sees no GPU on this machine, so that nothing is measured")
        return 0
    prepare_torch(torch.get_num_threads(), "cuda")
    found: list[Row] = []
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}")
    print(f"{'engine':10} {'':20} {'batch':>5} {'bare ms':>9} {'ratio':>7} {'off':>9}")
    with tempfile.TemporaryDirectory() as folder:
        cpu = next(engines(Path(folder), "cpu"))[1]
        pictures = [picture_of(cpu, seed) for seed in range(options.pictures)]
        for engine, detector in engines(Path(folder), "cuda"):
            for row in rows(engine, detector, cpu, pictures, options.rounds):
                print(row.line(), flush=True)
                found.append(row)
        batch = found[0].batch
        graph = Row("graph", "bare", batch, graph_pass(network().cuda(), batch, options.rounds) * 1e3, None, None)
        print(graph.line())
    if options.out:
        options.out.write_text(json.dumps([asdict(row) for row in [*found, graph]], indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
