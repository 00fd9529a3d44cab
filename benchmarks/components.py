"""What every explainer and metric costs over the fastest bare engine, measured in one run.

For each network of ``networks.py``, first the bare engines: milliseconds a picture of torch, torch with channels last,
``torch.compile`` and ONNX Runtime, each at the batch that suits it best, freed memory kept. Then a row for every
explainer and every metric of single samples, at a budget of about ``--samples`` passes, on the engine that was fastest,
as ``--engine auto`` of a run chooses it (``--engine torch`` for the default); what differentiates stays on torch:

``ms``       milliseconds a pass, everything included: segments, masks, changed pictures, padding, the fit, the map
``ratio``    over a bare pass of the fastest engine. Passes that are differentiated are held against torch's, forward
             and back, in whichever memory format is faster: the other engines give no gradient
``detector`` time in detector calls for a picture that was shown, over a bare pass: preprocessing and the outputs' card
``padding``  pictures shown over passes: the tails of batches are filled up
``outside``  microseconds a pass that are spent outside of detector calls

so that ``ratio = detector x padding + outside / bare``. Components and bare passes take turns; of both the fastest of
the rounds counts. Components without a pass have no row.

    python benchmarks/components.py [--network NAME] [--only NAME] [--engine fastest|torch] [--clock cpu] [--markdown]
"""

from __future__ import annotations

import argparse
import copy
import io
import math
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import onnxruntime as ort
import torch
from explainers import Inside
from metrics import LEAN, Cost, Kept, Stage, backward_timed, no_value, sampled, scored
from networks import FAKE, NETWORKS, detector_of
from overhead import CLOCKS, Clock
from tables import machine, number, table
from torch import Tensor, nn

from xaibench.api import Passes
from xaibench.detector.batch_size import compute_batch
from xaibench.detector.torch_settings import prepare_torch
from xaibench.discovery.components import Use, open_component
from xaibench.discovery.registry import Registry, load_registry
from xaibench_testing.harness import value

BAR = 1.10
BARE_PASSES = 64
"""Of a bare engine in each turn, at most; a twelfth of a second is enough on a small network."""
FAKES = 64

EXPLAINERS: Mapping[str, str] = {
    "rise": "rise:masks={n}",
    "rise, segments": "rise:masks={n},on=segments",
    "lime": "lime:samples={n},exhaustive=false",
    "kernel-shap": "kernel-shap:samples={n}",
    "partition-shap": "partition-shap:evals={n}",
    "sobol": "sobol:cells=6,designs={designs}",
    "hsic": "hsic:designs={n}",
    "occlusion": "occlusion",
    "scorecam": "scorecam:most={n}",
    "ablationcam": "ablationcam:most={n}",
    "eigencam": "eigencam",
    "attention-rollout": "attention-rollout",
    "saliency": "saliency",
    "input-x-gradient": "input-x-gradient",
    "integrated-gradients": "integrated-gradients",
    "expected-gradients": "expected-gradients:samples=50",
    "smoothgrad": "smoothgrad",
    "vargrad": "vargrad",
    "xrai": "xrai:steps=25",
    "gradcam": "gradcam",
    "gradcam++": "gradcam++",
    "gradcam++-t24": "gradcam++-t24",
    "hirescam": "hirescam",
    "xgradcam": "xgradcam",
    "layercam": "layercam",
    "guided-backprop": "guided-backprop",
    "deeplift": "deeplift",
    "lrp": "lrp",
    "fullgrad": "fullgrad",
    "transformer-attribution": "transformer-attribution",
    "captum:Saliency": "captum:method=Saliency",
}
"""Not here: controls, which ask for no pass; ``maps``; what differs from one above in its fill or reading alone (the
forms ``-adv`` and ``-t24``, of which an attack is shared by all); the oracle."""

METRICS: Mapping[str, Mapping[str, object]] = {
    "pixel-flipping": {"pixels": 1024},
    "irof": {"count": 50},
    "accuracy-under-segment-removal": {"count": 50},
    "top-minus-random": {"steps": 10, "draws": 4},
    "sensitivity-n": {"subsets": 25},
    "monotonicity-correlation": {"blocks": 16, "draws": 8},
    "segment-attack": {"attack": "pgd", "steps": 4, "draws": 4, "segmentations": ["slic-50"], "ceiling": False},
    "counterpart-attack": {"attack": "pgd", "steps": 4, "draws": 4, "ceiling": False},
    "relative-stability": {"least": 0.001, "most": 0.01},
}
"""Smaller than by default, so that a row costs seconds; the others are measured as they are by default."""


# ---- bare engines ---------------------------------------------------------------------------------------------------


@dataclass
class Engine:
    """A way to compute a network; ``best`` is the fewest seconds a picture that were seen."""

    name: str
    batch: int
    call: Callable[[], object]
    best: float = math.inf

    def turn(self) -> float:
        """Seconds a picture of one turn."""
        began = Clock.read()
        shown = 0
        while shown < BARE_PASSES and (not shown or Clock.read() - began < 1.0):
            self.call()
            shown += self.batch
        taken = (Clock.read() - began) / shown
        self.best = min(self.best, taken)
        return taken


def quiet(call: Callable[[Tensor], object], images: Tensor) -> object:
    with torch.inference_mode():
        return call(images)


def bare_engines(module: nn.Module, size: tuple[int, int], threads: int, batches: Sequence[int]) -> Iterator[Engine]:
    """Every engine at every batch that it may be fastest at."""
    last = copy.deepcopy(module).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    compiled = torch.compile(copy.deepcopy(last), options={"compile_threads": 1}, dynamic=False)
    session = onnx_session(module, size, threads)
    for batch in batches:
        images = torch.rand(batch, 3, *size)
        turned = images.contiguous(memory_format=torch.channels_last)
        yield Engine("torch", batch, partial(quiet, module, images))
        yield Engine("torch, channels last", batch, partial(quiet, last, turned))
        if batch == max(batches):
            yield Engine("torch.compile", batch, partial(quiet, compiled, turned))
        yield Engine("ONNX Runtime", batch, partial(session.run, None, {"x": images.numpy()}))


def onnx_session(module: nn.Module, size: tuple[int, int], threads: int) -> ort.InferenceSession:
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the tracer, about constants
        torch.onnx.export(
            module, (torch.rand(2, 3, *size),), file, dynamo=False, opset_version=17, input_names=["x"],
            output_names=["y"], dynamic_axes={"x": {0: "n"}, "y": {0: "n"}},
        )  # fmt: skip
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = threads, 1, 3
    return ort.InferenceSession(file.getvalue(), options, providers=["CPUExecutionProvider"])


def backward_engines(detector: Any, batch: int) -> Iterator[Engine]:
    """A pass forward and back in torch."""

    def once(images: Tensor) -> Tensor:
        leaf = images.detach().requires_grad_(True)
        with torch.enable_grad():
            return torch.autograd.grad(detector.logits(leaf)[:, FAKE].sum(), leaf)[0]

    images = torch.rand(batch, 3, *detector.facts.input_size)
    yield Engine("back", batch, partial(once, images))
    yield Engine("back", batch, partial(once, images.contiguous(memory_format=torch.channels_last)))


def warmed(engines: Iterator[Engine]) -> list[Engine]:
    found = list(engines)
    for engine in found:
        engine.call()
        engine.call()
    return found


def fastest(engines: Sequence[Engine]) -> Engine:
    return min(engines, key=lambda engine: engine.best)


# ---- components -----------------------------------------------------------------------------------------------------


@dataclass
class Row:
    """The rounds of a component, and the bare passes that took turns with it."""

    kind: str
    name: str
    pictures: int
    costs: list[Cost] = field(default_factory=list)
    forward: float = math.inf
    back: float = math.inf

    @property
    def best(self) -> Cost:
        return min(self.costs, key=lambda cost: cost.seconds)

    @property
    def bare(self) -> float:
        """Seconds of a bare pass, of those there and back and the others as this component mixes them."""
        best = self.best
        there_and_back = best.backward * self.back if best.backward else 0.0
        return (max(0, best.forward - best.backward) * self.forward + there_and_back) / best.forward

    @property
    def ratio(self) -> float:
        return self.best.seconds / self.best.forward / self.bare

    @property
    def parts(self) -> tuple[float, float, float] | None:
        """``detector``, ``padding`` and the seconds outside; None where calls of the detector are not seen."""
        best = self.best
        if best.padding < 0 or not best.inside:  # the network itself was called, or others that the metric made
            return None
        shown = best.forward + best.padding
        outside = (best.seconds - best.inside) / best.forward
        return best.inside / shown / self.bare, shown / best.forward, outside

    def cells(self, *, markdown: bool) -> list[str]:
        best, ratio = self.best, f"{self.ratio:.2f}"
        cells = [self.kind, self.name, str(self.pictures), f"{best.forward:,}", f"{best.backward:,}"]
        cells += [number(best.seconds / best.forward * 1e3), number(self.bare * 1e3)]
        cells.append(f"**{ratio}**" if markdown and self.ratio > BAR else ratio)
        if self.parts is None:
            return [*cells, "-", "-", "-"]
        detector, padding, outside = self.parts
        return [*cells, f"{detector:.2f}", f"{padding:.2f}", f"{outside * 1e6:,.0f}"]

    def arithmetic(self) -> str:
        """What the ratio is made of."""
        if self.parts is None:
            return f"{self.name} {self.ratio:.2f}"
        detector, padding, outside = self.parts
        rest = f"{outside * 1e6:,.0f} µs / {self.bare * 1e3:.2f} ms"
        return f"{self.name} {self.ratio:.2f} = {detector:.2f} x {padding:.2f} + {rest}"


HEADER = ("", "", "pictures", "passes", "back", "ms", "bare ms", "ratio", "detector", "padding", "outside µs")


def explainer_cost(stage: Stage, use: Use, pictures: int) -> tuple[Cost, str]:
    """The cost of explaining some pictures side by side, and why there is no map (empty: there is)."""
    watched = Inside(stage.detector)
    bench = stage.bench(watched)
    shown = [bench.picture(s.id) for s in stage.fakes[:pictures]]
    for picture in shown:
        picture.counterpart()
    jobs = [(p.sample.id, partial(bench.explanation, use, p, FAKE, 0)) for p in shown]
    watched.inside, watched.pictures = 0.0, 0
    began = Clock.read()
    with backward_timed(watched):
        done = [done for _, done in bench.engine().run(jobs)]
    taken = Clock.read() - began
    passes = sum((d.passes for d in done), Passes())
    reasons = [f"{value(d).status}: {value(d).reason}" for d in done if value(d).status != "ok"]
    cost = Cost(
        seconds=taken, inside=watched.inside, forward=passes.forward, backward=passes.backward,
        padding=watched.pictures - passes.forward, maps=len(done),
    )  # fmt: skip
    return cost, reasons[0] if reasons else ""


def metric_cost(stage: Stage, metric: Use, pictures: int) -> tuple[Cost, str]:
    cost, done = scored(stage, metric, pictures)
    return cost, no_value(done)


def components_of(samples: int, registry: Registry, only: Sequence[str]) -> Iterator[tuple[str, str, Use, Any]]:
    designs = max(2, 2 ** int(np.log2(samples / 38)))
    for name, pattern in EXPLAINERS.items():
        if not only or name in only:
            spec = pattern.format(n=samples, designs=designs)
            yield "explainer", name, open_component("explainer", spec, registry=registry), explainer_cost
    for component, left_out in sampled(registry):
        name = component.record.name
        if not left_out and (not only or name in only):
            yield "metric", name, opened(component, METRICS.get(name, {})), metric_cost


def opened(component: Any, parameters: Mapping[str, object]) -> Use:
    from xaibench.discovery import components

    return components.make(component, dict(parameters))


def measured(
    stage: Stage, torch_stage: Stage, kind: str, name: str, use: Use, cost_of: Callable[..., tuple[Cost, str]], *,
    forward: Engine, back: Sequence[Engine], samples: int, rounds: int,
) -> Row | str:  # fmt: skip
    """The rounds of one component; in words why it has none. ``torch_stage`` is for those that differentiate."""
    lacking = set(use.registered.record.needs) & {"attention", "activations", "operations", "gradients"}
    if lacking := lacking - stage.detector.facts.gives:
        return f"needs {', '.join(sorted(lacking))}"
    cost, reason = cost_of(stage, use, 1)  # warms up
    if reason or not cost.forward:
        return reason or "asks for no pass"
    if cost.backward and stage is not torch_stage:
        stage = torch_stage
        cost_of(stage, use, 1)
    pictures = min(len(stage.fakes), max(1, round(samples / cost.forward)))
    row = Row(kind, name, pictures)
    for _ in range(rounds):
        row.forward = min(row.forward, forward.turn())
        if cost.backward:
            row.back = min(row.back, *(engine.turn() for engine in back))
        cost, _ = cost_of(stage, use, pictures)
        row.costs.append(cost)
    return row


# ---- the tables -----------------------------------------------------------------------------------------------------


def stage_of(network: str, registry: Registry, engine: str | None, threads: int) -> Stage:
    """A detector on one engine in front of demo fakes that it calls fake."""
    faces = Kept(open_component("dataset", "demo:identities=40,split=all", registry=registry).instance, {})
    detector: Any = detector_of(network, LEAN)
    if engine is not None:
        detector = detector.with_engine(engine, threads)
    batch = compute_batch(detector)
    stage = Stage(detector, faces, (), registry, batch)
    bench = stage.bench(detector)
    fakes = [s for s in faces.samples() if s.label == "fake"][:FAKES]
    called = [s for s in fakes if detector.probabilities(bench.picture(s.id).image[None])[0, FAKE] >= 0.5]
    return replace(stage, fakes=tuple(called))


def compare(network: str, options: argparse.Namespace, registry: Registry, threads: int) -> None:
    plain: Any = detector_of(network, LEAN)
    size, batch = plain.facts.input_size, compute_batch(plain)
    engines = warmed(bare_engines(plain.network.module, size, threads, (4, batch)))
    for _ in range(options.rounds):
        for engine in engines:
            engine.turn()
    best = fastest(engines)
    print(f"\n{network}: {size[0]} x {size[1]}, {threads} threads, {Clock.read.__name__}\n")
    rows = [[e.name, str(e.batch), number(e.best * 1e3), f"{e.best / best.best:.2f}"] for e in engines]
    print(table(("bare engine", "batch", "ms", "over the fastest"), rows, markdown=options.markdown))
    names = {"ONNX Runtime": "onnxruntime", "torch.compile": "compile"}
    chosen = names.get(best.name) if options.engine == "fastest" else None
    torch_stage = stage_of(network, registry, None, threads)
    stage = stage_of(network, registry, chosen, threads) if chosen else torch_stage
    back = warmed(backward_engines(plain, batch))
    print(f"\n{network}, components on {chosen or 'torch'}, batch {stage.batch}, against {best.name}\n", flush=True)
    rows, left, over = [], [], []
    for kind, name, use, cost_of in components_of(options.samples, registry, options.only or ()):
        row = measured(
            stage,
            torch_stage,
            kind,
            name,
            use,
            cost_of,
            forward=best,
            back=back,
            samples=options.samples,
            rounds=options.rounds,
        )
        if isinstance(row, str):
            left.append((name, row))
            continue
        rows.append(row.cells(markdown=options.markdown))
        over += [row.arithmetic()] if row.ratio > BAR else []
        print("  ".join(rows[-1]), file=sys.stderr, flush=True)
    print(table(HEADER, rows, markdown=options.markdown, words=2))
    within = len(rows) - len(over)
    print(f"\nWithin {BAR:.2f}: {within} of {len(rows)}." + (" Above: " + "; ".join(over) + "." if over else ""))
    told = [f"{name} ({reason})" for name, reason in left if reason != "asks for no pass"]
    print("\nLeft out: " + "; ".join(told) + "." if told else "", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=NETWORKS, action="append")
    parser.add_argument("--only", metavar="NAME", action="append", help="these explainers and metrics alone")
    parser.add_argument("--samples", type=int, default=128, help="passes of a row, about")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--engine", choices=("fastest", "torch"), default="fastest", help="that components run on")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="time that is counted")
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # of exporters
    Clock.read = CLOCKS[options.clock]
    prepare_torch(options.threads)
    registry = load_registry()
    print(machine())
    for network in options.network or NETWORKS:
        compare(network, options, registry, options.threads)


if __name__ == "__main__":
    main()
