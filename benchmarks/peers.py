"""Ours beside captum, lime, shap and Quantus on the same work, each in a process of its own.

Every contender is a child process that imports its library alone, sees the same torch module and the same pictures, and
runs once as a warm-up. Then the children of one work take turns, so that a machine whose speed changes is no
advantage; of each the round of the least CPU time counts. A child tells wall and CPU seconds and the pictures that the
module was shown, padding included. xplique needs TensorFlow and is left out.

``defaults`` are the library's own, as its tutorials call it; what has no default (a window, segments, how many features
are flipped in a step) is as in the equal rows. ``equal`` rows have the same samples, regions, segments and batch.
``÷ ours`` is a contender's CPU time over that of our first row of the same work: for a picture, which is the same work
in equal rows alone, and for a pass.

``--memory as-is`` starts the children as users start them: glibc gives freed memory back, which costs large networks
up to half of their time, and xaibench changes that for its own process. ``--memory kept`` sets glibc's variables for
all alike (``MALLOC_MMAP_THRESHOLD_``, ``MALLOC_TRIM_THRESHOLD_``).

    python benchmarks/peers.py [--network demo|resnet] [--work NAME] [--threads 1] [--memory as-is|kept] [--markdown]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tables import machine, number, table

FAKE = 1
KEPT = {"MALLOC_MMAP_THRESHOLD_": str(1 << 30), "MALLOC_TRIM_THRESHOLD_": str((1 << 31) - 1)}
SEGMENTS = 50
EQUAL, DEFAULTS = "equal", "defaults"
NETWORKS = ("demo", "resnet", "efficientnet", "vit")


@dataclass(frozen=True)
class Work:
    """What all contenders of a table do: some samples, or steps, for each of some pictures."""

    network: str
    pictures: int
    samples: int
    batch: int
    threads: int

    @property
    def size(self) -> int:
        return 64 if self.network == "demo" else 224


@dataclass(frozen=True)
class Contender:
    """``prepare(subject)`` gives what is timed."""

    package: str
    settings: str
    prepare: Callable[[Any], Callable[[], object]]


# ---- what a child sees ----------------------------------------------------------------------------------------------


class Subject:
    """A module that counts what it is shown, pictures, a map of each, and segments made anew in every run."""

    def __init__(self, work: Work) -> None:
        import numpy as np
        import torch
        from networks import module_of
        from torch import nn

        class Counted(nn.Module):
            """One count for all copies of it."""

            shown = 0

            def __init__(self, network: nn.Module) -> None:
                super().__init__()
                self.network = network

            def forward(self, images: Any) -> Any:
                Counted.shown += len(images)
                return self.network(images)

        self.work, self.counted = work, Counted
        torch.set_num_threads(work.threads)
        self.net = Counted(module_of(work.network)).eval()
        rng = np.random.default_rng(0)
        size = (work.size, work.size)
        grids = torch.from_numpy(rng.random((work.pictures, 3, 9, 9), np.float32))
        smooth = torch.nn.functional.interpolate(grids, size=size, mode="bicubic").clamp(0, 1)
        self.images = (smooth + 0.03 * torch.from_numpy(rng.random((work.pictures, 3, *size), np.float32))).clamp(0, 1)
        grids = torch.from_numpy(rng.random((work.pictures, 1, 7, 7), np.float32))
        self.maps = torch.nn.functional.interpolate(grids, size=size, mode="bilinear")

    def probabilities(self, images: Any) -> Any:
        import torch

        with torch.no_grad():
            return torch.cat([self.net(part).softmax(1) for part in images.split(self.work.batch)])

    def segments(self, image: Any) -> Any:
        """``(H, W)`` numbers of superpixels, as an array."""
        from skimage.segmentation import slic

        return slic(image.permute(1, 2, 0).numpy(), n_segments=SEGMENTS, compactness=10, start_label=0)


# ---- ours -----------------------------------------------------------------------------------------------------------


def card(work: Work) -> dict[str, object]:
    return {"size": work.size, "activation": "logit", "classes": ["real", "fake"]}


def ours(spec: str, subject: Subject) -> Callable[[], object]:
    """A map, or the scores of a map, by the engine of a run; the detector is opened beforehand, as in a run."""
    import numpy as np

    from xaibench import load_registry, open_component, prepare_torch
    from xaibench.api import Native, Picture, Runtime, Sample
    from xaibench_models.live_model import LiveModel
    from xaibench_testing.harness import drawn_by, explain, make_bench, score, value

    work, registry = subject.work, load_registry()
    runtime = Runtime(device="cpu", precision="fp32", threads=work.threads)
    prepare_torch(work.threads)
    detector = LiveModel(subject.net, "network", card(work), "1").open("network", runtime)
    pictures = [
        Picture(
            sample=Sample(id=f"p{i}", label="fake", group="p"), image=image, mask=None, landmarks=None, digest=f"p{i}",
            native=lambda: Native(np.zeros((1, 1, 3), np.uint8)), counterpart=lambda: None,
        )
        for i, image in enumerate(subject.images)
    ]  # fmt: skip
    maps = {f"p{i}": grid[0] for i, grid in enumerate(subject.maps)}
    kind = "metric" if spec.startswith(("pixel-flipping", "region-perturbation")) else "explainer"
    use = open_component(kind, spec, registry=registry)

    def run() -> object:
        import torch

        bench = make_bench(detector, batch_size=work.batch, registry=registry)
        torch.set_num_threads(work.threads)
        if kind == "explainer":
            done: Any = explain(use, detector, pictures, FAKE, bench=bench)
        else:
            given = drawn_by(lambda request: maps[request.picture.sample.id], "given")
            done = score(use, given, detector, pictures, FAKE, bench=bench)
        results = [value(one) for one in done]
        statuses = {v.status for r in results for v in getattr(r, "values", [r])}
        if "ok" not in statuses:
            raise RuntimeError(f"{spec}: {results[0]}")
        return results

    return run


def door(spec: str, subject: Subject) -> Callable[[], object]:
    """``xaibench.explain`` as a notebook calls it: the detector is opened and looked at in every call."""
    import xaibench

    images, net = subject.images, subject.net
    return lambda: xaibench.explain(net, images, spec, "fake", card=card(subject.work), device="cpu")


# ---- captum ---------------------------------------------------------------------------------------------------------


def captum_gradient(name: str, options: Mapping[str, object], subject: Subject) -> Callable[[], object]:
    import captum.attr

    return lambda: getattr(captum.attr, name)(subject.net).attribute(subject.images, target=FAKE, **options)


def captum_segments(name: str, options: Mapping[str, object], subject: Subject) -> Callable[[], object]:
    import captum.attr
    import torch

    def run() -> object:
        method = getattr(captum.attr, name)(subject.net)
        found = []
        for image in subject.images:
            mask = torch.from_numpy(subject.segments(image))[None, None]
            with torch.no_grad():
                found.append(method.attribute(image[None], target=FAKE, feature_mask=mask, **options))
        return found

    return run


def captum_occlusion(options: Mapping[str, object], subject: Subject) -> Callable[[], object]:
    import captum.attr
    import torch

    window = round(subject.work.size / 7)
    stride = round(window / 2)  # as ours rounds it: another one is another number of windows
    shapes = {"sliding_window_shapes": (3, window, window), "strides": (3, stride, stride)}

    def run() -> object:
        with torch.no_grad():
            return [
                captum.attr.Occlusion(subject.net).attribute(image[None], target=FAKE, **shapes, **options)
                for image in subject.images
            ]

    return run


# ---- lime and shap --------------------------------------------------------------------------------------------------


def classifier(subject: Subject) -> Callable[[Any], Any]:
    """Pictures as arrays ``(N, H, W, 3)`` to probabilities, as lime and shap take a network."""
    import numpy as np
    import torch

    def classify(pixels: Any) -> Any:
        images = torch.from_numpy(np.asarray(pixels)).float().permute(0, 3, 1, 2).contiguous()
        return subject.probabilities(images).numpy()

    return classify


def lime_image(settings: str, subject: Subject) -> Callable[[], object]:
    from lime.lime_image import LimeImageExplainer

    classify, work = classifier(subject), subject.work
    options: dict[str, Any] = {"top_labels": 5, "hide_color": 0, "num_samples": 1000}  # as its tutorial has it
    if settings == EQUAL:
        options = {"labels": (FAKE,), "top_labels": None, "num_samples": work.samples, "batch_size": work.batch}

    def run() -> object:
        found = []
        for image in subject.images:
            if settings == EQUAL:
                labels = subject.segments(image)
                options["segmentation_fn"] = lambda pixels, labels=labels: labels
            pixels = image.permute(1, 2, 0).double().numpy()
            explainer = LimeImageExplainer(random_state=0)
            found.append(explainer.explain_instance(pixels, classify, **options))
        return found

    return run


def shap_partition(settings: str, subject: Subject) -> Callable[[], object]:
    import shap

    classify, work = classifier(subject), subject.work
    options: dict[str, Any] = {"max_evals": work.samples, "batch_size": work.batch, "outputs": [FAKE]}
    if settings == DEFAULTS:  # of its tutorial of image classification
        options = {"max_evals": 100, "batch_size": 50, "outputs": shap.Explanation.argsort.flip[:4]}
    shape = (work.size, work.size, 3)
    pictures = subject.images.permute(0, 2, 3, 1).numpy()

    def run() -> object:
        explainer = shap.Explainer(classify, shap.maskers.Image("blur(128,128)", shape))
        return explainer(pictures, silent=True, **options)

    return run


def shap_kernel(settings: str, subject: Subject) -> Callable[[], object]:
    """As its documentation explains a picture by superpixels."""
    import numpy as np
    import shap

    classify, work = classifier(subject), subject.work
    options: dict[str, Any] = {"nsamples": work.samples, "l1_reg": False}
    if settings == DEFAULTS:
        options = {"nsamples": 1000}

    def masked(pixels: Any, labels: Any, members: Any) -> Any:
        out = np.empty((len(members), *pixels.shape), np.float32)
        background = pixels.mean((0, 1))
        for i, on in enumerate(members):
            out[i] = pixels
            for j in np.flatnonzero(on == 0):
                out[i][labels == j] = background
        return out

    def run() -> object:
        found = []
        for image in subject.images:
            pixels, labels = image.permute(1, 2, 0).numpy(), subject.segments(image)
            count = int(labels.max()) + 1

            def f(members: Any, pixels: Any = pixels, labels: Any = labels) -> Any:
                parts = [members[i : i + 64] for i in range(0, len(members), 64)]
                return np.concatenate([classify(masked(pixels, labels, part)) for part in parts])[:, FAKE]

            explainer = shap.KernelExplainer(f, np.zeros((1, count)))
            found.append(explainer.shap_values(np.ones((1, count)), silent=True, **options))
        return found

    return run


# ---- Quantus --------------------------------------------------------------------------------------------------------


def quantus_metric(name: str, options: Mapping[str, object], call: Mapping[str, object], subject: Subject) -> Any:
    import numpy as np

    if not hasattr(np, "trapz"):
        np.trapz = np.trapezoid  # type: ignore[attr-defined]  # quantus 0.6.0 on numpy 2.4
    import quantus

    metric = getattr(quantus, name)(disable_warnings=True, **options)
    images, maps = subject.images.numpy(), subject.maps.numpy()
    labels = np.full(len(images), FAKE)
    return lambda: metric(model=subject.net, x_batch=images, y_batch=labels, a_batch=maps, device="cpu", **call)


# ---- works ----------------------------------------------------------------------------------------------------------

PICTURES: Mapping[str, tuple[int, int]] = {
    "saliency": (64, 16),
    "integrated gradients": (8, 2),
    "lime": (2, 1),
    "Kernel SHAP": (2, 1),
    "partition SHAP": (2, 1),
    "occlusion": (4, 1),
    "pixel flipping": (32, 4),
    "region perturbation": (32, 4),
}
"""How many on the demo detector, and on a large network."""


def contenders(name: str, work: Work) -> Iterator[Contender]:
    """Ours first: the others are held against it."""
    n, batch = work.samples, work.batch
    size = work.size
    at_once = {"n_samples": n, "perturbations_per_eval": batch}
    if name == "saliency":
        yield Contender("xaibench", EQUAL, partial(ours, "saliency"))
        yield Contender("xaibench captum:Saliency", EQUAL, partial(ours, "captum:method=Saliency"))
        yield Contender("captum", DEFAULTS, partial(captum_gradient, "Saliency", {}))
        yield Contender("xaibench.explain, opening included", DEFAULTS, partial(door, "saliency"))
    elif name == "integrated gradients":
        yield Contender("xaibench", EQUAL, partial(ours, "integrated-gradients:steps=50"))
        yield Contender(
            "captum", EQUAL, partial(captum_gradient, "IntegratedGradients", {"internal_batch_size": batch})
        )
        yield Contender("captum", DEFAULTS, partial(captum_gradient, "IntegratedGradients", {}))
    elif name == "lime":
        yield Contender("xaibench", EQUAL, partial(ours, f"lime:samples={n},exhaustive=false"))
        yield Contender("lime", EQUAL, partial(lime_image, EQUAL))
        yield Contender("captum", EQUAL, partial(captum_segments, "Lime", at_once))
        yield Contender("lime", DEFAULTS, partial(lime_image, DEFAULTS))
        yield Contender("captum", DEFAULTS, partial(captum_segments, "Lime", {}))
    elif name == "Kernel SHAP":
        yield Contender("xaibench", EQUAL, partial(ours, f"kernel-shap:samples={n}"))
        yield Contender("shap", EQUAL, partial(shap_kernel, EQUAL))
        yield Contender("captum", EQUAL, partial(captum_segments, "KernelShap", at_once))
        yield Contender("shap", DEFAULTS, partial(shap_kernel, DEFAULTS))
        yield Contender("captum", DEFAULTS, partial(captum_segments, "KernelShap", {}))
    elif name == "partition SHAP":
        yield Contender("xaibench", EQUAL, partial(ours, f"partition-shap:evals={n}"))
        yield Contender("shap", EQUAL, partial(shap_partition, EQUAL))
        yield Contender("shap", DEFAULTS, partial(shap_partition, DEFAULTS))
    elif name == "occlusion":
        yield Contender("xaibench", EQUAL, partial(ours, "occlusion"))
        yield Contender("captum", EQUAL, partial(captum_occlusion, {"perturbations_per_eval": batch}))
        yield Contender("captum", DEFAULTS, partial(captum_occlusion, {}))
    else:
        flipping = name == "pixel flipping"
        # values of three channels that Quantus flips in a step, in as many steps as ours: 48 and 56
        values = 256 if work.network == "demo" else 2688
        options: dict[str, object] = {"features_in_step": values} if flipping else {}
        spec = f"pixel-flipping:fill=black,pixels={-(-values // 3)}" if flipping else "region-perturbation:fill=black"
        cls = "PixelFlipping" if flipping else "RegionPerturbation"
        plain = {**options, "normalise": False}
        yield Contender("xaibench", EQUAL, partial(ours, spec))
        yield Contender("Quantus", EQUAL, partial(quantus_metric, cls, plain, {"batch_size": batch}))
        yield Contender("Quantus", DEFAULTS, partial(quantus_metric, cls, options, {}))
        if flipping:
            row = {"features_in_step": size}
            yield Contender("Quantus, a row a step", DEFAULTS, partial(quantus_metric, cls, row, {}))


# ---- children -------------------------------------------------------------------------------------------------------


def child(name: str, number_of_contender: int, work: Work) -> None:
    """Prepare, run once, and then once for every line on standard input."""
    told = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    warnings.simplefilter("ignore")
    subject = Subject(work)
    run = list(contenders(name, work))[number_of_contender].prepare(subject)
    run()
    print("ready", file=told, flush=True)
    for _ in sys.stdin:
        subject.counted.shown = 0
        wall, cpu = time.perf_counter(), time.process_time()
        run()
        cost = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu, "shown": subject.counted.shown}
        print(json.dumps(cost), file=told, flush=True)


def start(name: str, index: int, work: Work, memory: str) -> subprocess.Popen[str]:
    threads = str(work.threads)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")}
    environment |= {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    environment |= KEPT if memory == "kept" else {}
    command = [sys.executable, __file__, "--child", json.dumps([name, index, vars(work)])]
    with errors_of(name, index).open("w") as errors:
        return subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
        )


def errors_of(name: str, index: int) -> Path:
    """Where a child's own messages go."""
    return Path(tempfile.gettempdir(), f"xaibench-peers-{os.getpid()}-{name.replace(' ', '-')}-{index}.txt")


def answer(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline()


def take_turns(name: str, work: Work, memory: str, rounds: int) -> list[tuple[Contender, list[dict[str, float]]]]:
    """The rounds of every contender that runs here."""
    running = []
    for index, contender in enumerate(contenders(name, work)):
        process = start(name, index, work, memory)
        running.append((contender, process, list[dict[str, float]]()))
        if answer(process).strip() != "ready":  # one after the other: a warm-up next to another would be none
            process.wait()
            why = errors_of(name, index).read_text(encoding="utf-8").strip().rpartition("\n")[2]
            print(f"{name}: {contender.package} ({contender.settings}) does not run here: {why}", file=sys.stderr)
            running.pop()
    for _ in range(rounds):
        for _, process, found in running:
            assert process.stdin
            process.stdin.write("\n")
            process.stdin.flush()
            found.append(json.loads(answer(process)))
    for _, process, _ in running:
        process.communicate()
    return [(contender, found) for contender, _, found in running]


# ---- the table ------------------------------------------------------------------------------------------------------

HEADER = (
    "work", "contender", "settings", "shown a picture", "wall s a picture", "CPU s a picture", "CPU ms a pass",
    "a picture ÷ ours", "a pass ÷ ours",
)  # fmt: skip


@dataclass(frozen=True)
class Line:
    """A contender's best round: seconds for all pictures, and the pictures shown; ``over`` is that of ours."""

    name: str
    contender: Contender
    work: Work
    wall: float
    cpu: float
    shown: float
    over: tuple[float, float]

    @property
    def times(self) -> float:
        """CPU time of a picture over ours."""
        return self.cpu / self.over[0]

    def cells(self) -> list[str]:
        pictures = self.work.pictures
        per_pass = self.cpu / self.shown
        return [
            self.name, self.contender.package, self.contender.settings, f"{self.shown / pictures:,.0f}",
            number(self.wall / pictures), number(self.cpu / pictures), number(per_pass * 1e3),
            number(self.times), number(per_pass / (self.over[0] / self.over[1])),
        ]  # fmt: skip


def lines(name: str, work: Work, memory: str, rounds: int) -> Iterator[Line]:
    over: tuple[float, float] | None = None
    for contender, found in take_turns(name, work, memory, rounds):
        best = min(found, key=lambda cost: cost["cpu"])
        over = over or (best["cpu"], best["shown"])
        wall = min(cost["wall"] for cost in found)
        yield Line(name, contender, work, wall, best["cpu"], best["shown"], over)


def verdicts(found: list[Line]) -> str:
    """Where a peer is faster at equal settings, and how many times Quantus takes."""
    peers = [line for line in found if line.contender.settings == EQUAL and "xaibench" not in line.contender.package]
    faster = [f"{line.name} ({line.contender.package}: {line.times:.2f})" for line in peers if line.times < 1]
    quantus = [f"{line.name} {line.times:.1f}" for line in peers if line.contender.package == "Quantus"]
    told = [f"Slower than a peer at equal settings: {', '.join(faster) or 'nothing'}."]
    told += [f"Quantus takes so many times ours (the bar is 5): {', '.join(quantus)}."] if quantus else []
    return " ".join(told)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=NETWORKS, action="append")
    parser.add_argument("--work", choices=PICTURES, action="append")
    parser.add_argument("--samples", type=int, default=128, help="of lime and SHAP at equal settings")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", choices=("as-is", "kept"), default="as-is")
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        name, index, work = json.loads(options.child)
        child(name, index, Work(**work))
        return
    print(machine())
    for network in options.network or ("demo", "resnet"):
        found = []
        for name in options.work or PICTURES:
            small, large = PICTURES[name]
            pictures, batch = small if network == "demo" else large, 16
            work = Work(network, pictures, options.samples, batch, options.threads)
            for line in lines(name, work, options.memory, options.rounds):
                found.append(line)
                print("  ".join(line.cells()), file=sys.stderr, flush=True)
        print(f"\n{network}, {options.threads} threads, memory {options.memory}\n")
        print(table(HEADER, [line.cells() for line in found], markdown=options.markdown, words=3))
        print(f"\n{verdicts(found)}", flush=True)


if __name__ == "__main__":
    main()
