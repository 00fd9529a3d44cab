"""What metrics cost beyond their detector passes, and beside Quantus, measured in one run.

The networks are those of ``networks.py``; pictures are demo fakes with their masks and counterparts. Maps are random
and smooth, drawn at no detector pass; for a metric that asks for further maps, whose passes are its own, they are
gradients, one pass there and back each. Per metric: the ``maps`` that it asked for; its ``passes`` (``back``: those
that were differentiated too; ``padding``: pictures that only filled the tails of batches); its ``seconds``, with
segments and backgrounds made anew in every round, pictures and first maps beforehand; those of as many ``bare`` passes
at the same batch in whichever memory format is faster; the ``ratio`` of the two; and ``inside``, its seconds over those
that it spent inside detector calls, padding included, which a busy machine slows alike (neither is known of detectors
that the metric makes itself). Bare passes and the metric take turns; the median of the rounds counts. Metrics without a
pass of their own show seconds alone.

Quantus: pixel flipping and region perturbation of 32 pictures on the demo detector, of three channels, at the same
number of steps and fill. ``time`` is theirs over ours, ``overhead`` the same beyond the bare passes, ``apart`` the
largest difference between the means of the two libraries' curves.

    python benchmarks/metrics.py [--network NAME] [--only NAME] [--rounds N] [--pictures N] [--batch N]
"""

from __future__ import annotations

import argparse
import statistics
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from explainers import FEW_BATCHES, SIDE_BY_SIDE, Inside, bare, seconds
from networks import FAKE, NETWORKS, detector_of
from overhead import Clock, Watched
from torch import Tensor, nn
from torch.nn import functional

from xaibench import hold_component
from xaibench.api import (
    Dataset,
    Detector,
    Done,
    ExplainerRecord,
    ExplainRequest,
    Explanation,
    Native,
    Passes,
    PassQuery,
    Picture,
    Problem,
    Programme,
    Sample,
    Scores,
)
from xaibench.detector.batch_size import compute_batch
from xaibench.detector.torch_settings import prepare_torch
from xaibench.discovery import components
from xaibench.discovery.components import Use, open_component
from xaibench.discovery.registry import Registered, Registry, load_registry
from xaibench.run.workbench import Bench
from xaibench_testing.harness import drawn_by, value

SMALLER: Mapping[str, Mapping[str, object]] = {
    "segment-attack": {
        "attack": "pgd", "steps": 10, "draws": 20, "segmentations": ["slic-50"], "ceiling": False,
    },
    "counterpart-attack": {"attack": "pgd", "steps": 10, "draws": 20, "ceiling": False},
    "relative-stability": {"least": 0.001, "most": 0.01},
}  # fmt: skip
"""Judging attacks by default ask for up to a million pictures, and noise of the default strength turns the demo's
verdict, which leaves nothing to compare; all others are timed as they are by default."""

LEAN = 1.0
"""Networks of random weights lean to *fake*: attacks need a verdict that can fall."""

QUANTUS_PICTURES = 32

MOST_PADDING = 0.1
"""Of the passes: a metric that fills more of its batches with nothing gets ``SIDE_BY_SIDE`` times the pictures."""


# ---- what is measured on --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kept:
    """A dataset whose pictures are rendered once: what a file takes to decode is no cost of a metric."""

    inner: Dataset
    known: dict[str, Native]

    def samples(self) -> Sequence[Sample]:
        return self.inner.samples()

    def problems(self) -> Sequence[Problem]:
        return self.inner.problems()

    def read(self, sample: Sample) -> Native:
        if sample.id not in self.known:
            self.known[sample.id] = self.inner.read(sample)
        return self.known[sample.id]


class Maps:
    """Smooth random maps, and how many of them were asked for."""

    def __init__(self) -> None:
        self.drawn = 0
        self.use = drawn_by(self._draw, "random", stochastic=True)

    def _draw(self, request: ExplainRequest) -> Tensor:
        self.drawn += 1
        grid = torch.rand((1, 1, 7, 7), generator=request.streams.torch("map"))
        return functional.interpolate(grid, size=tuple(request.picture.image.shape[1:]), mode="bilinear")[0, 0]


class GradientMaps:
    """The cheapest maps that cost a pass, and how many of them were asked for."""

    def __init__(self, registry: Registry) -> None:
        self.drawn = 0
        self._inner = open_component("explainer", "saliency", registry=registry).instance
        self.use = hold_component(
            ExplainerRecord(name="gradient", target="metrics:GradientMaps", summary="gradients", signed=False), self
        )

    def explain(self, request: ExplainRequest) -> Programme[Explanation]:
        self.drawn += 1
        found: Programme[Explanation] = self._inner.explain(request)
        return found

    def passes(self, _: PassQuery) -> Passes:
        return Passes(forward=1, backward=1)


def asks_for_maps(metric: Use, detector: Detector) -> bool:
    """Whether a further map costs the metric passes."""
    sample = Sample(id="a", label="fake", group="a", pair="b")
    costs = [
        metric.instance.passes(PassQuery(sample=sample, facts=detector.facts, map=m)) for m in (Passes(), Passes(1, 1))
    ]
    return bool(costs[1].backward > costs[0].backward)


@dataclass(frozen=True)
class Stage:
    """A detector in front of demo fakes that it calls fake."""

    detector: Detector
    faces: Kept
    fakes: tuple[Sample, ...]
    registry: Registry
    batch: int

    def bench(self, detector: Detector) -> Bench:
        """A fresh one, on which neither maps nor artefacts are known."""
        samples = self.faces.samples()
        return Bench(detector, self.faces, samples, self.registry, seed=0, batch_size=self.batch)


def set_stage(network: str, registry: Registry, wanted: int, batch: int | None) -> Stage:
    faces = Kept(open_component("dataset", "demo:identities=40,split=all", registry=registry).instance, {})
    detector = detector_of(network, LEAN)
    batch = compute_batch(detector, batch)
    every = tuple(s for s in faces.samples() if s.label == "fake")
    bench = Bench(detector, faces, faces.samples(), registry, seed=0, batch_size=batch)
    called = (s for s in every if detector.probabilities(bench.picture(s.id).image[None])[0, FAKE] >= 0.5)
    fakes = tuple(s for s, _ in zip(called, range(wanted), strict=False))
    if len(fakes) < wanted:
        raise RuntimeError(f"{network} calls {len(fakes)} of the demo fakes fake, fewer than the {wanted} asked for")
    return Stage(detector, faces, fakes, registry, batch)


# ---- timing ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Of scoring some maps: ``inside`` are the seconds in detector calls, ``padding`` the pictures that only filled
    them, ``plain`` the seconds of as many bare passes as ``forward`` and ``backward``."""

    seconds: float
    inside: float
    forward: int
    backward: int
    padding: int
    maps: int
    plain: float = 0.0


def explained(
    bench: Bench, maps: Maps | GradientMaps, fakes: Sequence[Sample]
) -> tuple[list[Picture], list[Explanation]]:
    """The pictures, their counterparts decoded with them, and a map of each."""
    shown = [bench.picture(s.id) for s in fakes]
    for picture in shown:
        picture.counterpart()
    drawn = dict(bench.engine().run((p.sample.id, partial(bench.explanation, maps.use, p, FAKE, 0)) for p in shown))
    return shown, [value(drawn[p.sample.id]) for p in shown]


def scored(stage: Stage, metric: Use, pictures: int) -> tuple[Cost, list[Done[Scores]]]:
    """Score one map of each picture, side by side, as in a task of a run; in the order of the pictures."""
    watched = Inside(stage.detector)
    maps = GradientMaps(stage.registry) if asks_for_maps(metric, stage.detector) else Maps()
    bench = stage.bench(watched)
    shown, explanations = explained(bench, maps, stage.fakes[:pictures])
    clean = stage.detector.probabilities(torch.stack([p.image for p in shown]))
    cases = [bench.case(metric, maps.use, e, p, FAKE, 0, c) for e, p, c in zip(explanations, shown, clean, strict=True)]
    watched.inside, watched.pictures, maps.drawn = 0.0, 0, 0
    began = Clock.read()
    with backward_timed(watched):
        found = dict(bench.engine().run((i, partial(metric.instance.score, c)) for i, c in enumerate(cases)))
    took = Clock.read() - began
    done = [found[i] for i in range(len(cases))]
    passes = sum((d.passes for d in done), Passes())
    cost = Cost(
        seconds=took, inside=watched.inside, forward=passes.forward, backward=passes.backward,
        padding=watched.pictures - passes.forward, maps=maps.drawn,
    )  # fmt: skip
    return cost, done


@contextmanager
def backward_timed(watched: Watched) -> Iterator[None]:
    """While it lasts, the time of ``torch.autograd.grad`` counts as time inside the detector."""
    grad = torch.autograd.grad
    torch.autograd.grad = lambda *a, **k: watched.timed(partial(grad, **k), *a)
    try:
        yield
    finally:
        torch.autograd.grad = grad


def bare_backward(detector: Any, passes: int, batch: int) -> float:
    """Seconds of this many passes there and back, in the faster memory format."""
    height, width = detector.facts.input_size
    calls = -(-passes // batch)

    def once(images: Tensor) -> Tensor:
        leaf = images.detach().requires_grad_(True)
        with torch.enable_grad():
            return torch.autograd.grad(detector.logits(leaf)[:, FAKE].sum(), leaf)[0]

    def run(images: Tensor) -> float:
        return seconds(lambda: [once(images) for _ in range(calls)]) * passes / calls / batch

    images = torch.rand(batch, 3, height, width)
    return min(run(images), run(images.contiguous(memory_format=torch.channels_last)))


def plain_seconds(detector: Detector, cost: Cost, batch: int) -> float:
    """Of as many bare passes as a metric took: those there and back, and the rest forwards only."""
    only_forward = max(0, cost.forward - cost.backward)
    found = bare(detector, only_forward, batch) if only_forward else 0.0
    return found + (bare_backward(detector, cost.backward, batch) if cost.backward else 0.0)


def no_value(done: Sequence[Done[Scores]]) -> str:
    """Why there is nothing to time; empty where a picture has a value."""
    values = [score for one in done for score in value(one).values]
    if any(score.status == "ok" for score in values):
        return ""
    return next((score.reason for score in values if score.reason), "no score")


def costs(stage: Stage, metric: Use, pictures: int, rounds: int) -> tuple[int, list[Cost]] | str:
    """How many pictures were scored, and what each round cost; in words why not where there is no value."""
    cost, done = scored(stage, metric, 1)  # warms up
    if reason := no_value(done):
        return reason
    if cost.forward * pictures < FEW_BATCHES * stage.batch:
        pictures = min(pictures * SIDE_BY_SIDE, len(stage.fakes))
    cost, _ = scored(stage, metric, pictures)
    while cost.padding > MOST_PADDING * cost.forward and 2 * pictures <= len(stage.fakes):
        pictures *= 2
        cost, _ = scored(stage, metric, pictures)
    found: list[Cost] = []
    for _ in range(rounds):
        if found:
            cost, _ = scored(stage, metric, pictures)
        found.append(replace(cost, plain=plain_seconds(stage.detector, cost, stage.batch)))
    return pictures, found


# ---- metrics --------------------------------------------------------------------------------------------------------


def sampled(registry: Registry) -> Iterator[tuple[Registered, str]]:
    """Every metric that is built in, and why it is left out (empty: it is not)."""
    for component in registry.of_kind("metric"):
        if component.origin.built_in:
            scope = getattr(component.record, "scope", "sample")
            yield component, "" if scope == "sample" else f"scores all samples of a {scope} at once"


def show_metrics(stage: Stage, *, pictures: int, rounds: int, only: Sequence[str]) -> None:
    print(f"{'metric':31}{'pictures':>8}{'maps':>6}{'passes':>8}{'back':>7}{'padding':>8}", end="")
    print(f"{'seconds':>10}{'bare':>9}{'ratio':>7}{'inside':>8}")
    for component, left_out in sampled(stage.registry):
        name = component.record.name
        if only and name not in only:
            continue
        metric = components.make(component, SMALLER.get(name, {}))
        found = left_out or costs(stage, metric, pictures, rounds)
        if isinstance(found, str):
            print(f"{name:31}left out: {found}", flush=True)
        else:
            print(line(name, *found), flush=True)


def line(name: str, pictures: int, rounds: Sequence[Cost]) -> str:
    cost, median = rounds[0], statistics.median
    watched = cost.padding >= 0  # else passes went to detectors that the metric made
    padding = f"{cost.padding:,}" if watched else ""
    shown = f"{name:31}{pictures:8,}{cost.maps:6,}{cost.forward:8,}{cost.backward:7,}{padding:>8}"
    shown += f"{median(c.seconds for c in rounds):10.4f}"
    if not cost.forward:
        return shown
    shown += f"{median(c.plain for c in rounds):9.4f}{median(c.seconds / c.plain for c in rounds):7.2f}"
    return shown + (f"{median(c.seconds / c.inside for c in rounds):8.2f}" if watched else "")


# ---- Quantus --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Beside:
    """A measure that both libraries compute: ``spec`` is ours, ``name`` and ``options`` are Quantus's.

    ``drops``: Quantus's curve is ``p_0 - p_k``, not ``p_k``.
    """

    spec: str
    name: str
    options: Mapping[str, object]
    drops: bool = False


# Of three channels Quantus flips every value by itself, 256 or 128 of 12288 at a time, which must divide the 4096
# pixels: 48 and 96 steps of 85.3 and 42.7 pixels, a third of a pixel less than ours.
BESIDE = (
    Beside("pixel-flipping:pixels=86", "PixelFlipping", {"features_in_step": 256}),
    Beside("pixel-flipping:pixels=43", "PixelFlipping", {"features_in_step": 128}),
    Beside(
        "region-perturbation:fill=minimum", "RegionPerturbation", {"patch_size": 8, "regions_evaluation": 100},
        drops=True,
    ),
)  # fmt: skip


class Logits(nn.Module):
    """A detector as Quantus takes it."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, images: Tensor) -> Tensor:
        return self.detector.scores(images)


def quantus_curves(stage: Stage, beside: Beside) -> tuple[np.ndarray, float]:
    """``(pictures, steps)``: what Quantus makes of the maps that ours is given, and the seconds that it takes."""
    import quantus

    shown, found = explained(stage.bench(stage.detector), Maps(), stage.fakes[:QUANTUS_PICTURES])
    images = torch.stack([p.image for p in shown]).numpy()
    maps = torch.stack([e.map for e in found if e.map is not None])[:, None].numpy()
    model, labels = Logits(stage.detector).eval(), np.full(len(shown), FAKE)
    options = {"perturb_baseline": "black", "abs": False, "normalise": False, "disable_warnings": True}
    metric = getattr(quantus, beside.name)(**options, **beside.options)
    began = Clock.read()
    curves = metric(
        model=model, x_batch=images, y_batch=labels, a_batch=maps, device="cpu", softmax=True, batch_size=stage.batch
    )
    return np.asarray(curves), Clock.read() - began


def our_curves(done: Sequence[Done[Scores]], *, drops: bool) -> np.ndarray:
    """The same in our form: the untouched picture comes first, and the score itself is kept."""
    y = np.asarray([value(d).curves[0].y for d in done])
    return y[:, :1] - y[:, 1:] if drops else y[:, 1:]


def difference(theirs: np.ndarray, ours: np.ndarray) -> float:
    """Largest difference of the curves' means; point by point, a third of a pixel tells where a curve is steep."""
    if theirs.shape != ours.shape:
        raise RuntimeError(f"{ours.shape} points are ours, {theirs.shape} Quantus's: that is not the same work")
    return float(np.abs(theirs.mean(axis=1) - ours.mean(axis=1)).max())


def show_quantus(stage: Stage, *, rounds: int, only: Sequence[str]) -> None:
    if not hasattr(np, "trapz"):
        np.trapz = np.trapezoid  # type: ignore[attr-defined]  # quantus 0.6.0 on numpy 2.4
    print(f"{'beside Quantus':34}{'pictures':>8}{'passes':>8}{'ours':>9}{'theirs':>9}", end="")
    print(f"{'bare':>9}{'time':>7}{'overhead':>10}{'apart':>10}")
    for beside in BESIDE:
        metric = open_component("metric", beside.spec, registry=stage.registry)
        if only and metric.registered.record.name not in only:
            continue
        rows = []
        for _ in range(rounds + 1):  # the first round warms up
            cost, done = scored(stage, metric, QUANTUS_PICTURES)
            theirs, took = quantus_curves(stage, beside)
            rows.append((cost.seconds, took, bare(stage.detector, cost.forward, stage.batch)))
        ours, other, plain = (statistics.median(column) for column in zip(*rows[1:], strict=True))
        times = statistics.median(b / a for a, b, _ in rows[1:])
        overhead = max(other - plain, 0.0) / max(ours - plain, 1e-9)
        more = f"{overhead:10.1f}" if overhead < 1000 else "    > 1000"  # ours was not measurable
        apart = difference(theirs, our_curves(done, drops=beside.drops))
        print(f"{beside.spec:34}{QUANTUS_PICTURES:8}{cost.forward:8,}{ours:9.4f}{other:9.4f}", end="")
        print(f"{plain:9.4f}{times:7.1f}{more}{apart:10.1e}", flush=True)


# ---- the table ------------------------------------------------------------------------------------------------------


def main() -> None:
    registry = load_registry()
    names = [c.record.name for c, _ in sampled(registry)]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=NETWORKS, action="append")
    parser.add_argument("--only", choices=names, metavar="NAME", action="append", help="these metrics alone")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pictures", type=int, default=4, help="side by side, as in a task of a run")
    parser.add_argument("--batch", type=int, help="default: that of a run")
    args = parser.parse_args()
    warnings.simplefilter("ignore")  # the other library's deprecations
    threads = torch.get_num_threads()
    prepare_torch(threads)
    for network in args.network or ("demo", "resnet"):
        stage = set_stage(network, registry, max(args.pictures * SIDE_BY_SIDE, QUANTUS_PICTURES), args.batch)
        print(f"\n{network}: {stage.detector.facts.input_size}, batch {stage.batch}, {threads} threads")
        show_metrics(stage, pictures=args.pictures, rounds=args.rounds, only=args.only or ())
        if network == "demo":
            print()
            show_quantus(stage, rounds=args.rounds, only=args.only or ())


if __name__ == "__main__":
    main()
