"""What perturbation explainers cost beyond their detector passes, and beside other libraries, measured in one run.

Networks are those of ``networks.py``, by default the demo detector (64 px, a fraction of a millisecond a picture) and a
ResNet-18 at 224 px. For every
explainer ``ratio`` is its time for some pictures over the time of as many bare passes at the same batch size, in
whichever memory format is faster. ``outside`` is what a pass costs outside of the detector calls, in microseconds; the
padding of ragged batches counts as outside, segmentation too. The clock runs inside the very calls, so that a busy
machine, whose speed changes by more than the difference of two long times, falsifies it less.

Below each stand the libraries that make the same map of the same number of samples: ``time`` is the whole of a picture,
``overhead`` what is outside, both theirs over ours. Ours, bare passes and theirs take turns; the median of the rounds
counts. Last stand explainers that wrap another library's, as ``captum:Saliency``: their processor time over that of
ours for the same passes, the fastest of the rounds. ``--memory`` runs 4,000 masks at 224 px in a process of its own and
prints its peak.

    python benchmarks/explainers.py [--network NAME] [--samples N] [--only NAME] [--pictures N] [--rounds N]
    python benchmarks/explainers.py --memory
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from networks import FAKE, NETWORKS, detector_of
from overhead import Clock, Watched
from torch import Tensor
from torch.nn import functional as F

from xaibench.api import Detector, Native, Picture, Sample
from xaibench.detector.batch_size import compute_batch
from xaibench.detector.torch_settings import prepare_torch
from xaibench.discovery.components import open_component
from xaibench.discovery.registry import load_registry
from xaibench_testing.harness import make_bench, value

SPECS = {
    "rise": "rise:masks={n}",
    "rise (segments)": "rise:masks={n},on=segments",
    "lime": "lime:samples={n},exhaustive=false",
    "kernel-shap": "kernel-shap:samples={n}",
    "partition-shap": "partition-shap:evals={n}",
    "sobol": "sobol:cells=6,designs={sobol}",
    "hsic": "hsic:designs={n}",
    "occlusion": "occlusion",
    "scorecam": "scorecam",
    "ablationcam": "ablationcam",
}

WRAPPED = {"captum:Saliency": "saliency"}
"""What another library computes from the same passes as ours."""
WRAPPED_PICTURES = 16
TARGET = 1.2

FEW_BATCHES = 16
SIDE_BY_SIDE = 8
"""What fills fewer compute batches is timed on this many times the pictures, as they lie side by side in a task."""


# ---- pictures and timing --------------------------------------------------------------------------------------------


def picture_of(detector: Detector, seed: int = 0) -> Picture:
    """A fake of the demo faces at the detector's size."""
    faces = open_component("dataset", "demo:identities=40,split=all", registry=load_registry()).instance
    fake = [s for s in faces.samples() if s.label == "fake"][seed]
    pixels = torch.from_numpy(faces.read(fake).pixels).permute(2, 0, 1)[None].float() / 255
    image = F.interpolate(pixels, detector.facts.input_size, mode="bicubic")
    return Picture(
        sample=Sample(id=f"p{seed}", label="fake", group="p"), image=image[0].clamp(0, 1), mask=None, landmarks=None,
        digest=f"p{seed}", native=lambda: Native(np.zeros((1, 1, 3), np.uint8)), counterpart=lambda: None,
    )  # fmt: skip


def seconds(call: Callable[[], object]) -> float:
    began = Clock.read()
    call()
    return Clock.read() - began


def bare(detector: Detector, passes: int, batch: int) -> float:
    """Seconds of this many bare passes, in the faster memory format."""
    height, width = detector.facts.input_size
    calls = -(-passes // batch)

    def run(images: Tensor) -> float:
        return seconds(lambda: [detector.probabilities(images) for _ in range(calls)]) * passes / calls / batch

    images = torch.rand(batch, 3, height, width)
    return min(run(images), run(images.contiguous(memory_format=torch.channels_last)))


class Inside(Watched):
    """A detector whose calls are timed; ``inside`` and ``pictures`` start anew with every ``clocked``."""

    def full_precision(self) -> Inside:
        return self

    def clocked(self, call: Callable[[], object]) -> Cost:
        self.inside, self.pictures = 0.0, 0
        began = time.process_time()
        wall = seconds(call)
        return Cost(seconds=wall, cpu=time.process_time() - began, inside=self.inside, shown=self.pictures)


@dataclass(frozen=True, kw_only=True)
class Cost:
    """``inside``: of ``seconds``, those in detector calls, to which ``shown`` pictures went, padding included; ``cpu``:
    processor seconds of this process."""

    seconds: float
    cpu: float
    inside: float
    shown: int

    def outside(self, passes: int) -> float:
        """Seconds beyond the calls' for this many passes: the rest of what was shown is padding."""
        return self.seconds - self.inside * passes / self.shown


def explain(detector: Detector, pictures: int, spec: str, batch: int, threads: int) -> tuple[Cost, int]:
    """Cost and forward passes of explaining some pictures, the segmentation and everything else included."""
    use = open_component("explainer", spec, registry=load_registry())
    assert use.instance
    watched = Inside(detector)
    bench = make_bench(watched, batch_size=batch)
    torch.set_num_threads(threads)
    shown = [picture_of(detector, seed) for seed in range(pictures)]
    programmes = [(p.sample.id, partial(bench.explanation, use, p, FAKE, 0)) for p in shown]
    found: list[Any] = []
    cost = watched.clocked(lambda: found.extend(bench.engine().run(programmes)))
    for _, done in found:
        if value(done).status != "ok":
            raise RuntimeError(f"{spec}: {value(done).reason}")
    return cost, sum(done.passes.forward for _, done in found)


# ---- other libraries ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Theirs:
    """A library's way to the same map: ``run()`` makes it; ``ours`` names the explainer that it stands beside."""

    name: str
    ours: str
    run: Callable[[], object]


def theirs(detector: Any, picture: Picture, samples: int, batch: int) -> Iterator[Theirs]:
    """The segments of those that need some are made anew in each run, as ours are."""
    from xaibench_perturbation import slic_segments

    image = picture.image
    labels = partial(slic_segments, image, 50)

    def in_batches(images: Tensor) -> Tensor:
        return torch.cat([detector.probabilities(part) for part in images.split(batch)])

    for name, enlarged in (("loop RISE", by_skimage), ("loop RISE (torch)", by_torch)):
        run = partial(loop_rise, in_batches, image, enlarged=enlarged, samples=samples, batch=batch)
        yield Theirs(name, "rise", run)
    yield Theirs("lime", "lime", lambda: lime(in_batches, image, labels(), samples, batch))
    for name, ours in (("Lime", "lime"), ("KernelShap", "kernel-shap")):
        run = partial(captum, name, in_batches, image, samples=samples, batch=batch)
        yield Theirs(f"captum {name}", ours, lambda run=run: run(labels()))
    for name, masked in (("shap Kernel", as_documented), ("shap Kernel (our masks)", as_ours)):
        run = partial(shap_kernel, in_batches, image, masked=masked, samples=samples)
        yield Theirs(name, "kernel-shap", lambda run=run: run(labels()))
    yield Theirs("shap Partition", "partition-shap", lambda: shap_partition(in_batches, image, samples, batch))


def by_skimage(grid: np.ndarray, size: tuple[int, int]) -> Tensor:
    """As the paper's code enlarges a grid."""
    from skimage.transform import resize

    return torch.from_numpy(resize(grid, size, order=1, mode="reflect", anti_aliasing=False))


def by_torch(grid: np.ndarray, size: tuple[int, int]) -> Tensor:
    large = F.interpolate(torch.from_numpy(grid)[None, None], size=size, mode="bilinear", align_corners=False)
    return large[0, 0]


def loop_rise(
    score: Callable[[Tensor], Tensor], image: Tensor, *,
    enlarged: Callable[[np.ndarray, tuple[int, int]], Tensor], samples: int, batch: int,
) -> Tensor:  # fmt: skip
    """RISE as its paper's code does it: every mask enlarged and cropped by itself, all kept."""
    rng = np.random.default_rng(0)
    height, width = image.shape[1:]
    step = (-(-height // 7), -(-width // 7))
    masks = torch.empty(samples, height, width)
    for i in range(samples):
        large = enlarged((rng.random((7, 7)) < 0.5).astype(np.float32), (8 * step[0], 8 * step[1]))
        y, x = rng.integers(0, step[0]), rng.integers(0, step[1])
        masks[i] = large[y : y + height, x : x + width]
    scores = torch.cat([score(image * part[:, None])[:, FAKE] for part in masks.split(batch)])
    return torch.tensordot(scores, masks, dims=1) / samples / 0.5


def lime(score: Callable[[Tensor], Tensor], image: Tensor, labels: Tensor, samples: int, batch: int) -> object:
    from lime.lime_image import LimeImageExplainer

    def classify(pixels: np.ndarray) -> np.ndarray:
        return score(torch.from_numpy(pixels).float().permute(0, 3, 1, 2).contiguous()).numpy()

    return LimeImageExplainer(random_state=0).explain_instance(
        image.permute(1, 2, 0).double().numpy(), classify, labels=(FAKE,), top_labels=None, num_samples=samples,
        batch_size=batch, segmentation_fn=lambda pixels: labels.numpy(),
    )  # fmt: skip


def captum(
    name: str, score: Callable[[Tensor], Tensor], image: Tensor, labels: Tensor, samples: int, batch: int
) -> object:
    import captum.attr

    method = getattr(captum.attr, name)(score)
    return method.attribute(
        image[None], target=FAKE, feature_mask=labels[None, None], n_samples=samples, perturbations_per_eval=batch
    )


def as_documented(image: Tensor, labels: Tensor, members: np.ndarray) -> Tensor:
    """Pictures with segments switched off, as the documentation of shap's KernelExplainer does it on pictures."""
    pixels, segments = image.permute(1, 2, 0).numpy(), labels.numpy()
    background = pixels.mean(axis=(0, 1))
    out = np.empty((len(members), *pixels.shape), np.float32)
    for i, on in enumerate(members):
        out[i] = pixels
        for j in np.flatnonzero(on == 0):
            out[i][segments == j] = background
    return torch.from_numpy(out).permute(0, 3, 1, 2).contiguous()


def as_ours(image: Tensor, labels: Tensor, members: np.ndarray) -> Tensor:
    """The same by tensors: what is left is shap's own."""
    return image * torch.from_numpy(members).float()[:, labels][:, None]


def shap_kernel(
    score: Callable[[Tensor], Tensor], image: Tensor, labels: Tensor, *,
    masked: Callable[[Tensor, Tensor, np.ndarray], Tensor], samples: int,
) -> object:  # fmt: skip
    import shap

    def classify(members: np.ndarray) -> np.ndarray:
        parts = [members[i : i + 64] for i in range(0, len(members), 64)]
        return torch.cat([score(masked(image, labels, part)) for part in parts])[:, FAKE].numpy()

    count = int(labels.max()) + 1
    explainer = shap.KernelExplainer(classify, np.zeros((1, count)))
    return explainer.shap_values(np.ones((1, count)), nsamples=samples, l1_reg=False, silent=True)


def shap_partition(score: Callable[[Tensor], Tensor], image: Tensor, samples: int, batch: int) -> object:
    import shap

    pixels = image.permute(1, 2, 0).numpy()

    def classify(shown: np.ndarray) -> np.ndarray:
        return score(torch.from_numpy(np.asarray(shown)).float().permute(0, 3, 1, 2).contiguous()).numpy()

    masker = shap.maskers.Image(np.full(pixels.shape, 0.5, np.float32), pixels.shape)
    explainer = shap.Explainer(classify, masker)
    return explainer(pixels[None], max_evals=samples, batch_size=batch, outputs=[FAKE], silent=True)


# ---- the table ------------------------------------------------------------------------------------------------------


def compare(
    network: str, *, samples: int, pictures: int, rounds: int, batch: int | None, threads: int, only: list[str]
) -> None:
    detector = detector_of(network)
    batch = compute_batch(detector, batch)
    watched, picture = Inside(detector), picture_of(detector)
    sobol = max(1, 2 ** int(np.log2(samples / 38)))
    print(f"\n{network}: {detector.facts.input_size}, {samples} samples, batch {batch}, {threads} threads")
    print(
        f"{'explainer':26}{'passes':>8}{'seconds':>9}{'bare':>9}{'ratio':>7}{'outside':>9}{'time':>7}{'overhead':>10}"
    )
    for name, pattern in SPECS.items():
        if only and name not in only:
            continue
        spec = pattern.format(n=samples, sobol=sobol)
        others = [o for o in theirs(watched, picture, samples, batch) if o.ours == name]
        found, beside = [], pictures
        for number in range(rounds + 1):  # the first, with a single picture, warms up
            cost, passes = explain(detector, beside if number else 1, spec, batch, threads)
            if not number:
                beside = pictures * (SIDE_BY_SIDE if passes * pictures < FEW_BATCHES * batch else 1)
            plain = bare(detector, passes, batch) if number else 0.0
            found.append((cost, plain, [watched.clocked(other.run) for other in others]))
        show(name, passes, beside, found[1:], others)
    compare_wrapped(detector, rounds=rounds, batch=batch, threads=threads, only=only)


def compare_wrapped(detector: Detector, *, rounds: int, batch: int, threads: int, only: list[str]) -> None:
    """A line for each wrapped explainer: milliseconds of processor time a picture, and the ratio to ours."""
    pictures = max(WRAPPED_PICTURES, batch)
    for name, ours in WRAPPED.items():
        if only and name not in only:
            continue
        fastest = dict.fromkeys((name, ours), float("inf"))
        for number in range(rounds + 1):  # the first warms up
            for spec in fastest:
                cost, _ = explain(detector, pictures, spec, batch, threads)
                fastest[spec] = min(fastest[spec], cost.cpu) if number else fastest[spec]
        per_picture = {spec: 1e3 * cpu / pictures for spec, cpu in fastest.items()}
        print(
            f"{name:26}{per_picture[name]:8.3f} ms of CPU a picture, {ours} {per_picture[ours]:.3f}: "
            f"ratio {per_picture[name] / per_picture[ours]:.2f}, target {TARGET}",
            flush=True,
        )


def show(
    name: str, passes: int, pictures: int, rounds: list[tuple[Cost, float, list[Cost]]], others: list[Theirs]
) -> None:
    """A line of ours and one of each library's."""
    median = statistics.median
    print(f"{name:26}{passes:8,}{median(c.seconds for c, _, _ in rounds):9.3f}", end="")
    print(f"{median(plain for _, plain, _ in rounds):9.3f}", end="")
    print(f"{median(c.seconds / plain for c, plain, _ in rounds):7.2f}", end="")
    print(f"{median(c.outside(passes) for c, _, _ in rounds) / passes * 1e6:9.1f}", flush=True)
    for i, other in enumerate(others):
        found = [(c, more[i]) for c, _, more in rounds]
        shown = found[0][1].shown
        outside = median(them.outside(shown) / shown for _, them in found)
        times = median(them.seconds / (us.seconds / pictures) for us, them in found)
        overhead = median(them.outside(shown) / shown / (us.outside(passes) / passes) for us, them in found)
        print(f"  {other.name:24}{shown:8,}{median(them.seconds for _, them in found):9.3f}", end="")
        print(f"{outside * 1e6:25.1f}{times:7.2f}{overhead:10.1f}", flush=True)


def peak(spec: str) -> None:
    """Peak resident memory of this process after one explanation at 224 px, in MiB, and before it."""
    detector = detector_of("resnet")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    explain(detector, 1, spec, compute_batch(detector), torch.get_num_threads())
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{spec:36}{before:10,.0f}{after:10,.0f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=NETWORKS, action="append")
    parser.add_argument("--samples", type=int, help="default: 2000 on the demo detector, 256 on the others")
    parser.add_argument("--pictures", type=int, default=4, help="side by side, as in a task of a run")
    parser.add_argument("--only", choices=[*SPECS, *WRAPPED], action="append", help="these explainers alone")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, help="default: that of a run")
    parser.add_argument("--memory", action="store_true", help="print peak memory at 4,000 masks instead")
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    args = parser.parse_args()
    warnings.simplefilter("ignore")  # other libraries' deprecations
    prepare_torch(torch.get_num_threads())
    if args.peak:
        peak(args.peak)
    elif args.memory:
        print(f"{'MiB at 224 px, 4,000 masks':36}{'before':>10}{'peak':>10}")
        for name in ("rise", "lime", "kernel-shap", "partition-shap", "sobol", "hsic"):
            spec = SPECS[name].format(n=4000, sobol=64)
            subprocess.run([sys.executable, __file__, "--peak", spec], check=True)
    else:
        for network in args.network or ("demo", "resnet"):
            samples = args.samples or (2000 if network == "demo" else 256)
            compare(
                network, samples=samples, pictures=args.pictures, rounds=args.rounds, batch=args.batch,
                threads=torch.get_num_threads(), only=args.only or [],
            )  # fmt: skip


if __name__ == "__main__":
    main()
