"""How the cost of a run grows: with workers, samples, explainers, picture size and masks; and ten million frames.

``workers``     the demo with ``--jobs`` 1 and 2, one thread each: seconds from start to end, and of CPU
``samples``     tiny pictures of ``scale.py`` with a detector that costs nothing: what a run itself takes of time and
                memory, two explainers and two metrics without a pass
``explainers``  the demo with 1, 2, 4 and 8 explainers of 256 masks
``size``        microseconds a pass outside of a detector that costs nothing, by the side of the picture
``memory``      peak resident memory at 224 pixels, by the number of masks
``frames``      ten million frames: passes of a frame at defaults, times measured seconds a pass

Runs are ``python -m xaibench eval`` in processes of their own. Of some rounds the fastest counts.

    python benchmarks/growth.py [--part NAME] [--network NAME] [--rounds N] [--markdown]
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from components import EXPLAINERS, explainer_cost, metric_cost, stage_of
from explainers import explain
from networks import LARGE, NETWORKS
from overhead import CLOCKS, Clock
from scale import TinyFaces, children, memory, tiny_detector
from tables import machine, number, table

from xaibench.api import Passes, PassQuery, Sample, location
from xaibench.detector.torch_settings import prepare_torch
from xaibench.discovery.components import open_component
from xaibench.discovery.registry import load_registry
from xaibench_datasets.packing import pack

FRAMES = 10_000_000
SAMPLES = (100, 1_000, 10_000)
SIDES = (32, 64, 128, 256, 512)
MASKS = (256, 1_000, 4_000)
TOOL = (sys.executable, "-m", "xaibench", "eval", "--no-controls", "-q", "-y", "--threads", "1")


@dataclass(frozen=True)
class Taken:
    """Seconds from start to end and of CPU, and most resident memory in MiB of driver and all workers."""

    wall: float
    cpu: float
    driver: float
    workers: float


def run(arguments: Sequence[str], folder: Path, jobs: int = 1) -> Taken:
    """``eval`` with one thread a worker."""
    environment = {**os.environ, "XAIBENCH_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    with tempfile.TemporaryDirectory(dir=folder) as out:
        command = [*TOOL, *arguments, "--jobs", str(jobs), "-o", f"{out}/run"]
        most = [0.0, 0.0]
        with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as driver:
            while driver.poll() is None:
                time.sleep(0.2)
                most[0] = max(most[0], memory(driver.pid))
                most[1] = max(most[1], sum(map(memory, children(driver.pid))))
            if driver.returncode:
                assert driver.stderr
                raise SystemExit(f"{' '.join(command)}: {driver.stderr.read().decode()}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Taken(time.monotonic() - begin, cpu, *most)


def fastest(rounds: int, call: Callable[[], Taken]) -> Taken:
    return min((call() for _ in range(rounds)), key=lambda taken: taken.cpu)


# ---- workers, samples, explainers -----------------------------------------------------------------------------------


def workers(options: argparse.Namespace, folder: Path) -> Iterator[tuple[list[str], list[list[str]]]]:
    chosen = ["--limit", "24", "-e", "rise:masks=1000", "-x", "deletion", "-x", "insertion"]
    found: dict[int, list[Taken]] = {1: [], 2: []}
    for _ in range(options.rounds):
        for jobs, taken in found.items():
            taken.append(run(chosen, folder, jobs))
    one = min(t.wall for t in found[1])
    rows = []
    for jobs, taken in found.items():
        best = min(taken, key=lambda t: t.wall)
        rows.append([str(jobs), number(best.wall), number(best.cpu), f"{one / best.wall:.2f}",
                     f"{best.driver:,.0f}", f"{best.workers:,.0f}"])  # fmt: skip
    yield ["workers", "wall s", "CPU s", "times as fast", "driver MiB", "workers MiB"], rows


def tiny_run(count: int, folder: Path, rounds: int) -> Taken:
    """Tiny pictures, two explainers and two metrics without a pass."""
    place = folder / f"tiny-{count}"
    if not place.exists():
        faces = TinyFaces(count)
        pack(faces, faces.samples(), location(str(place / "data")), 4 * 2**20)
        (place / "tiny.onnx").write_bytes(tiny_detector())
        (place / "tiny.toml").write_text('high = "fake"\n', encoding="utf-8")
    arguments = [
        "-m", str(place / "tiny.onnx"), "-D", str(place / "data"), "--limit", str(count),
        "-e", "edges", "-e", "center-prior", "-x", "entropy-spatial", "-x", "relevance-mass",
    ]  # fmt: skip
    return fastest(rounds, lambda: run(arguments, folder))


def samples(options: argparse.Namespace, folder: Path) -> Iterator[tuple[list[str], list[list[str]]]]:
    rows, before = [], None
    for count in SAMPLES:
        taken = tiny_run(count, folder, options.rounds if count < max(SAMPLES) else 1)
        further = "-"
        if before:
            further = number((taken.cpu - before[1].cpu) / (count - before[0]) * 1e3)
        rows.append([f"{count:,}", number(taken.wall), number(taken.cpu), further,
                     f"{taken.driver:,.0f}", f"{taken.workers:,.0f}"])  # fmt: skip
        before = count, taken
    yield ["samples", "wall s", "CPU s", "CPU ms a further sample", "driver MiB", "workers MiB"], rows


def explainers(options: argparse.Namespace, folder: Path) -> Iterator[tuple[list[str], list[list[str]]]]:
    rows, before = [], None
    for count in (1, 2, 4, 8):
        chosen = [f"rise:masks=256,keep={0.3 + 0.05 * i:.2f}" for i in range(count)]
        flags = [flag for spec in chosen for flag in ("-e", spec)]
        arguments = ["--limit", "16", *flags, "-x", "deletion", "-x", "insertion"]
        taken = fastest(options.rounds, lambda arguments=arguments: run(arguments, folder))  # type: ignore[misc]
        further = "-" if before is None else number((taken.cpu - before[1].cpu) / (count - before[0]))
        rows.append([str(count), number(taken.wall), number(taken.cpu), further, f"{taken.driver:,.0f}"])
        before = count, taken
    yield ["explainers", "wall s", "CPU s", "CPU s a further one", "MiB"], rows


# ---- picture size and memory ----------------------------------------------------------------------------------------


def empty_detector(side: int, folder: Path) -> Any:
    """A detector whose pass is a mean over pixels."""
    file = folder / f"tiny-{side}.onnx"
    file.write_bytes(tiny_detector(side))
    model = open_component("model", f"onnx:path={file},high=fake", registry=load_registry()).instance
    from xaibench.api import Runtime

    return model.open(model.members()[0], Runtime(device="cpu", precision="fp32", threads=1))


SIZED: Mapping[str, str] = {"rise": "rise:masks=512", "lime": "lime:samples=512", "sobol": "sobol:cells=6,designs=16"}


def sizes(options: argparse.Namespace, folder: Path) -> Iterator[tuple[list[str], list[list[str]]]]:
    rows = []
    for side in SIDES:
        detector = empty_detector(side, folder)
        row = [str(side)]
        for spec in SIZED.values():
            explain(detector, 1, spec, 16, 1)
            outside = []
            for _ in range(options.rounds):
                cost, passes = explain(detector, 1, spec, 16, 1)
                outside.append(cost.outside(passes) / passes)
            row.append(f"{min(outside) * 1e6:,.0f}")
        row.append(f"{min(outside) / side**2 * 1e9:.2f}")
        rows.append(row)
    yield ["side", *(f"{name} µs" for name in SIZED), "sobol ns a pixel"], rows


def peak(spec: str, folder: Path) -> None:
    """Resident memory of this process before one explanation at 224 pixels and at most during it, in MiB."""
    detector = empty_detector(224, folder)
    explain(detector, 1, "rise:masks=16", 16, 1)  # what is imported and allocated once
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forgets the most so far
    before = memory(os.getpid())
    explain(detector, 1, spec, 16, 1)
    print(before, memory(os.getpid(), "VmHWM"))


def memories(options: argparse.Namespace, folder: Path) -> Iterator[tuple[list[str], list[list[str]]]]:
    rows = []
    for name in ("rise", "lime", "kernel-shap", "partition-shap", "hsic"):
        row = [name]
        for n in MASKS:
            command = [sys.executable, __file__, "--peak", EXPLAINERS[name].format(n=n, designs=64)]
            told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            before, after = map(float, told.split())
            row.append(f"{after - before:,.0f}")
        rows.append(row)
    yield ["explainer", *(f"{n:,} masks, MiB" for n in MASKS)], rows


# ---- ten million frames ---------------------------------------------------------------------------------------------

FRAME_EXPLAINERS = ("edges", "center-prior", "saliency", "rise", "lime")
FRAME_METRICS = ("deletion", "insertion")


def frames(options: argparse.Namespace, folder: Path) -> Iterator[tuple[list[str], list[list[str]]]]:
    few, many = (tiny_run(count, folder, options.rounds) for count in SAMPLES[:2])
    fixed = (many.cpu - few.cpu) / (SAMPLES[1] - SAMPLES[0])
    for network in options.network or LARGE:
        yield frame_table(network, fixed, options.rounds, "onnxruntime" if options.engine == "fastest" else None)


def frame_table(network: str, fixed: float, rounds: int, engine: str | None) -> tuple[list[str], list[list[str]]]:
    """``fixed``: seconds of a frame that no pass accounts for, with two explainers and two metrics."""
    registry = load_registry()
    stage = stage_of(network, registry, engine, 1)
    query = PassQuery(
        sample=Sample(id="a", label="fake", group="a"), facts=stage.detector.facts, map=Passes(), few_ties=True
    )

    def seconds(use: Any, cost_of: Callable[..., Any]) -> float:
        pictures = 1 if cost_of(stage, use, 1)[0].forward > 32 else 16
        costs = [cost_of(stage, use, pictures)[0] for _ in range(rounds)]
        return min(cost.seconds / cost.forward for cost in costs)

    uses = [open_component("metric", name, registry=registry) for name in FRAME_METRICS]
    measures = [(use.instance.passes(query).forward, seconds(use, metric_cost)) for use in uses]
    rows = []
    for name in FRAME_EXPLAINERS:
        use = open_component("explainer", name, registry=registry)
        own = use.instance.passes(query).forward
        few = open_component("explainer", EXPLAINERS.get(name, name).format(n=256), registry=registry)
        pass_s = seconds(few, explainer_cost) if own else 0.0
        total = own * pass_s + sum(passes * s for passes, s in measures) + fixed
        passes = own + sum(passes for passes, _ in measures)
        sums = " + ".join(f"{n} x {s * 1e3:.2f}" for n, s in ((own, pass_s), *measures) if n)
        rows.append([f"{network}, {name}", f"{passes:,}", f"{sums} + {fixed * 1e3:.2f}", number(total),
                     f"{total * FRAMES / 86_400:,.0f}"])  # fmt: skip
    return ["network, explainer", "passes a frame", "ms a frame", "s a frame", "core-days for ten million"], rows


PARTS: Mapping[str, Callable[[argparse.Namespace, Path], Iterator[tuple[list[str], list[list[str]]]]]] = {
    "workers": workers, "samples": samples, "explainers": explainers, "size": sizes, "memory": memories,
    "frames": frames,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=PARTS, action="append")
    parser.add_argument("--network", choices=NETWORKS, action="append", help="of frames")
    parser.add_argument("--engine", choices=("fastest", "torch"), default="fastest", help="of frames")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # of exporters
    Clock.read = CLOCKS["cpu"]
    prepare_torch(1)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.peak:
            peak(options.peak, folder)
            return
        print(machine())
        for part in options.part or PARTS:
            for header, rows in PARTS[part](options, folder):
                print(f"\n{part}\n")
                print(table(header, rows, markdown=options.markdown), flush=True)


if __name__ == "__main__":
    main()
