"""Train the five members of the demo detector on the procedural demo faces, check them and write their weights.

    python tools/train_demo_detector.py                      # trains, checks, writes weights and card
    python tools/train_demo_detector.py --check-only         # measures the weights that are there

Needs torch, onnx, onnxruntime and safetensors, and about a quarter of an hour of two processor cores. The same
arguments on the same machine and torch version give the same weights. Training sees identities from 0 on, the checks
see only identities from 10000 on. Exits 1 if a check fails.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from scipy.ndimage import binary_dilation
from scipy.stats import rankdata
from torch import Tensor, nn

PLUGINS = Path(__file__).resolve().parents[1] / "plugins"
sys.path.insert(0, str(PLUGINS))

from xaibench_datasets.demo_faces import METHODS, TEST_IDENTITIES_FROM, render_fake, render_real  # noqa: E402
from xaibench_models.demo.network import DemoNet  # noqa: E402

WEIGHTS = PLUGINS / "xaibench_models" / "demo" / "weights"
POPULATION = 0
RING = 10
PAIRS_A_STEP = 48


@dataclass(frozen=True)
class Pictures:
    """Pictures of P identities and M methods, as bytes: `real` (P, 3, 64, 64), `fake` (P, M, 3, 64, 64) and `mask`
    (P, M, 64, 64), the blending weight."""

    real: NDArray[np.uint8]
    fake: NDArray[np.uint8]
    mask: NDArray[np.uint8]

    def regions(self) -> NDArray[np.bool_]:
        """Return the masks binarised at half of their own maximum, (P, M, 64, 64)."""
        return self.mask >= np.maximum(self.mask.max((2, 3), keepdims=True), 1) / 2


def render(first: int, count: int, jobs: int) -> Pictures:
    """Render the identities `first`, ..., `first + count - 1` of the demo population."""
    with ProcessPoolExecutor(jobs) as pool:
        rows = list(pool.map(_render_one, range(first, first + count), chunksize=50))
    return Pictures(*(np.stack(column) for column in zip(*rows, strict=True)))


def _render_one(identity: int) -> tuple[NDArray[np.uint8], ...]:
    fakes = [render_fake(POPULATION, identity, method) for method in METHODS]
    pictures = (
        render_real(POPULATION, identity).image,
        np.stack([f.image for f in fakes]),
        np.stack([f.mask for f in fakes]),
    )
    return tuple(np.rint(255 * values).astype(np.uint8) for values in pictures)


# --- training ---------------------------------------------------------------------------------------------------------


def train_all(data: Pictures, arguments: argparse.Namespace) -> None:
    """Train and save the members, each in a process of its own with one thread, `arguments.jobs` at a time."""
    with ProcessPoolExecutor(arguments.jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        list(pool.map(partial(_train_one, data, arguments), arguments.members))


def _train_one(data: Pictures, arguments: argparse.Namespace, member: int) -> None:
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    save(train(data, seed=member, pairs=arguments.pairs, rate=arguments.rate), arguments.out / f"demo-{member}")


def train(data: Pictures, *, seed: int, pairs: int, rate: float) -> DemoNet:
    """Train one member on `pairs` pairs of a real picture and a fake of it, in one learning-rate cycle.

    The loss is the cross entropy of the verdict plus that of each cell's evidence, so that the evidence for a fake lies
    where it was manipulated. Real pictures weigh more, since a false alarm also spoils every repair of that face.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, 2])
    net = _with_residual_filters(DemoNet()).to(memory_format=torch.channels_last)
    steps = pairs // PAIRS_A_STEP
    optimiser = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps, pct_start=0.15)
    labels = torch.arange(2).repeat_interleave(PAIRS_A_STEP)
    weights = torch.tensor([1.4, 1.0])
    running = 1.4
    for step, (images, cells) in zip(range(steps), _batches(data, rng), strict=False):
        evidence = net.evidence_map(images)
        loss = nn.functional.cross_entropy(net.verdict(evidence), labels, weights) + _cell_loss(evidence, cells)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        running += 0.02 * (loss.item() - running)
        if step % 100 == 99:
            print(f"member {seed}: step {step + 1}/{steps}, loss {running:.3f}", flush=True)
    return net.eval()


def _with_residual_filters(net: DemoNet) -> DemoNet:
    """Let half of the first filters start as high-pass filters of one colour each, of either sign.

    Fine texture tells fakes from reals, and from random filters its discovery takes most of the training.
    """
    high_pass = -torch.ones(3, 3) / 9
    high_pass[1, 1] += 1
    with torch.no_grad():
        for index in range(6):
            net.features[0].weight[index] = 0
            net.features[0].weight[index, index // 2] = high_pass if index % 2 else -high_pass
    return net


def _cell_loss(evidence: Tensor, cells: Tensor) -> Tensor:
    """Return the cross entropy of evidence `(N, 1, 8, 8)` and cells (1 manipulated, 0 not, -1 unclear), balanced."""
    losses = nn.functional.binary_cross_entropy_with_logits(evidence, cells.clamp(min=0), reduction="none")
    return (losses[cells == 1].mean() + losses[cells == 0].mean()) / 2


def _cells(regions: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Say of every 8x8 cell of regions `(..., 64, 64)` whether its middle is manipulated (1), nothing of it (0), or
    neither (-1); the most covered cell of a picture always counts as manipulated. Returns `(..., 8, 8)`."""
    covered = regions.reshape(*regions.shape[:-2], 8, 8, 8, 8).swapaxes(-3, -2)
    share, middle = covered.mean((-2, -1)), covered[..., 3:5, 3:5].all((-2, -1))
    most = share == share.max((-2, -1), keepdims=True)
    return np.where(middle | most, 1, np.where(share > 0, -1, 0)).astype(np.float32)


def _batches(data: Pictures, rng: np.random.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield batches of 48 real pictures followed by a fake of each, disturbed alike, and cells `(96, 1, 8, 8)`."""
    regions = data.regions()
    while True:
        order = rng.permutation(len(data.real))
        for start in range(0, len(order) - PAIRS_A_STEP + 1, PAIRS_A_STEP):
            who = order[start : start + PAIRS_A_STEP]
            how = rng.integers(len(METHODS), size=PAIRS_A_STEP)
            real, fake = data.real[who] / np.float32(255), data.fake[who, how] / np.float32(255)
            mask = regions[who, how]
            real = _with_seams(real, fake, mask, rng)
            for disturb in (_cover, _tone, _add_noise):
                real, fake = disturb(real, fake, mask, rng)
            both = np.concatenate([real, fake])
            cells = np.concatenate([np.zeros((PAIRS_A_STEP, 8, 8), np.float32), _cells(mask)])[:, None]
            flip = np.tile(rng.random(PAIRS_A_STEP) < 0.5, 2)
            both[flip], cells[flip] = both[flip][..., ::-1], cells[flip][..., ::-1]
            images = torch.from_numpy(both.astype(np.float32)).contiguous(memory_format=torch.channels_last)
            yield images, torch.from_numpy(cells)


Floats = NDArray[np.floating]
Pair = tuple[Floats, Floats]


def _with_seams(real: Floats, fake: Floats, mask: NDArray[np.bool_], rng: np.random.Generator) -> Floats:
    """Leave the faint outer seam of the fake on a fifth of the real pictures, so that it is no evidence."""
    chosen = (rng.random(len(real)) < 0.2)[:, None, None, None]
    return np.where(chosen & ~mask[:, None], fake, real)


def _cover(real: Floats, fake: Floats, mask: NDArray[np.bool_], rng: np.random.Generator) -> Pair:
    """Cover rectangles off the manipulated part with a plain colour: explainers do so, and it is no manipulation."""
    real, fake = real.copy(), fake.copy()
    for index in np.flatnonzero(rng.random(len(real)) < 0.35):
        height, width = rng.integers(6, 33, 2)
        top, left = rng.integers(0, 64 - height + 1), rng.integers(0, 64 - width + 1)
        here = (slice(None), slice(top, top + height), slice(left, left + width))
        if not mask[index][here[1:]].any():
            colour = real[index].mean((1, 2)) if rng.random() < 0.5 else np.broadcast_to(rng.choice([0, 0.5, 1]), 3)
            real[index][here] = fake[index][here] = colour[:, None, None]
    return real, fake


def _tone(real: Floats, fake: Floats, mask: NDArray[np.bool_], rng: np.random.Generator) -> Pair:
    gain = rng.uniform(0.85, 1.15, (len(real), 1, 1, 1)).astype(np.float32)
    shift = rng.uniform(-0.06, 0.06, (len(real), 1, 1, 1)).astype(np.float32)
    return np.clip(real * gain + shift, 0, 1), np.clip(fake * gain + shift, 0, 1)


def _add_noise(real: Floats, fake: Floats, mask: NDArray[np.bool_], rng: np.random.Generator) -> Pair:
    level = rng.uniform(0, 0.02, (len(real), 1, 1, 1)) * (rng.random((len(real), 1, 1, 1)) < 0.5)
    noise = level.astype(np.float32) * rng.standard_normal(real.shape, np.float32)
    return np.clip(real + noise, 0, 1), np.clip(fake + noise, 0, 1)


# --- weights ----------------------------------------------------------------------------------------------------------


def save(net: DemoNet, stem: Path) -> None:
    """Write `stem`.safetensors and `stem`.onnx (batch normalisation folded, free batch size)."""
    weights = stem.with_suffix(".safetensors")
    save_file({name: values.contiguous() for name, values in net.state_dict().items()}, weights)
    weights.chmod(0o644)  # safetensors makes it private
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    torch.onnx.export(
        net.eval(), (torch.rand(2, 3, 64, 64),), str(stem.with_suffix(".onnx")),
        input_names=["image"], output_names=["logits"],
        dynamic_axes={"image": {0: "N"}, "logits": {0: "N"}}, opset_version=17, dynamo=False,
    )  # fmt: skip
    onnx.checker.check_model(str(stem.with_suffix(".onnx")))


def load(stem: Path) -> DemoNet:
    net = DemoNet()
    net.load_state_dict(load_file(stem.with_suffix(".safetensors")))
    return net.eval()


# --- checks -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Report:
    """What was measured for one member on unseen identities; every `p_…` is [lower quartile, median, upper]."""

    member: int
    auc: float
    auc_by_method: dict[str, float]
    p_fake_of_fakes: list[float]
    p_fake_of_reals: list[float]
    detected: float
    false_alarms: float
    repaired_below_threshold: float
    ring_auc: float
    center_prior_pixel_auc: float
    gradcam_pointing: float
    auc_under: dict[str, float]
    torch_onnx_difference: float

    def failures(self) -> list[str]:
        away = min(self.p_fake_of_fakes[1] - 0.5, 0.5 - self.p_fake_of_reals[1])
        held = {
            "AUC >= .95": self.auc >= 0.95,
            "median |p - .5| > .4": away > 0.4,
            "repair >= 95 %": self.repaired_below_threshold >= 0.95,
            "ring AUC .50 +- .05": abs(self.ring_auc - 0.5) <= 0.05,
            "centre prior in [.45, .60]": 0.45 <= self.center_prior_pixel_auc <= 0.60,
            "Grad-CAM points at the mask >= .6": self.gradcam_pointing >= 0.6,
            "torch = ONNX to 1e-5": self.torch_onnx_difference <= 1e-5,
        }
        return [name for name, holds in held.items() if not holds]


def check(member: int, data: Pictures, stem: Path) -> Report:
    """Measure the saved member `stem` on `data`."""
    net = load(stem)
    real, fake = data.real / np.float32(255), data.fake / np.float32(255)
    regions = data.regions()[:, :, None]
    rings = np.stack(
        [binary_dilation(r, _square(1), iterations=RING) & ~r for r in regions[:, :, 0].reshape(-1, 64, 64)]
    )
    p_real, p_fake = _p_fake(net, real), _p_fake(net, fake)
    p_repaired = _p_fake(net, np.where(regions, real[:, None], fake))
    p_ring = _p_fake(net, np.where(rings.reshape(regions.shape), fake, real[:, None]))
    detected = p_fake >= 0.5
    return Report(
        member=member,
        auc=_auc(p_real, p_fake),
        auc_by_method={method: _auc(p_real, p_fake[:, m]) for m, method in enumerate(METHODS)},
        p_fake_of_fakes=_quartiles(p_fake),
        p_fake_of_reals=_quartiles(p_real),
        detected=float(detected.mean()),
        false_alarms=float((p_real >= 0.5).mean()),
        repaired_below_threshold=float((p_repaired[detected] < 0.5).mean()),
        ring_auc=_auc(p_real, p_ring),
        center_prior_pixel_auc=_center_prior(regions.reshape(-1, 64 * 64)),
        gradcam_pointing=_pointing(net, fake[detected], regions[detected][:, 0]),
        auc_under={name: _auc(_p_fake(net, f(real)), _p_fake(net, f(fake))) for name, f in _disturbances().items()},
        torch_onnx_difference=_onnx_difference(net, stem.with_suffix(".onnx"), fake[:16].reshape(-1, 3, 64, 64)),
    )


def _square(radius: int) -> NDArray[np.bool_]:
    return np.ones((2 * radius + 1, 2 * radius + 1), bool)


def _p_fake(net: DemoNet, images: Floats) -> Floats:
    """Return the probability of fake of pictures `(..., 3, 64, 64)`, `(...)`."""
    flat = torch.from_numpy(np.ascontiguousarray(images.reshape(-1, 3, 64, 64), np.float32))
    with torch.inference_mode():
        p = torch.cat([net(block).softmax(1)[:, 1] for block in flat.split(128)])
    return np.asarray(p.numpy().reshape(images.shape[:-3]))


def _auc(negative: Floats, positive: Floats) -> float:
    """Return the probability that a positive scores higher than a negative (ties half)."""
    n, p = negative.size, positive.size
    ranks = rankdata(np.concatenate([negative.ravel(), positive.ravel()]))
    return float((ranks[n:].sum() - p * (p + 1) / 2) / (n * p))


def _quartiles(values: Floats) -> list[float]:
    return [float(q) for q in np.quantile(values, (0.25, 0.5, 0.75))]


def _center_prior(regions: NDArray[np.bool_]) -> float:
    y, x = np.mgrid[:64, :64] - 31.5
    prior = -np.hypot(y, x).ravel()
    return float(np.mean([_auc(prior[~region], prior[region]) for region in regions]))


def _pointing(net: DemoNet, images: Floats, regions: NDArray[np.bool_]) -> float:
    """Return how often the maximum of Grad-CAM (last feature map, class fake, bilinear) lies in the region."""
    hits = 0
    for block, region in zip(torch.from_numpy(images).split(128), torch.from_numpy(regions).split(128), strict=True):
        features = net.features((block - 0.5) * 4).detach().requires_grad_()
        logit = net.verdict(net.evidence(features))[:, 1].sum()
        (gradient,) = torch.autograd.grad(logit, features)
        cam = (gradient.mean((2, 3), keepdim=True) * features.detach()).sum(1, keepdim=True).relu()
        best = nn.functional.interpolate(cam, (64, 64), mode="bilinear").flatten(1).argmax(1, keepdim=True)
        hits += int(region.flatten(1).gather(1, best).sum())
    return hits / len(images)


def _disturbances() -> dict[str, partial[Floats]]:
    return {
        "noise .01": partial(_noisy, level=0.01),
        "noise .02": partial(_noisy, level=0.02),
        "brighter by .1": partial(np.add, 0.1, dtype=np.float32),
        "contrast .8": partial(np.multiply, 0.8, dtype=np.float32),
    }


def _noisy(images: Floats, level: float) -> Floats:
    noise = np.random.default_rng(0).standard_normal(images.shape, np.float32)
    return np.clip(images + np.float32(level) * noise, 0, 1)


def _onnx_difference(net: DemoNet, path: Path, images: Floats) -> float:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    with torch.inference_mode():
        ours = net(torch.from_numpy(images)).numpy()
    return float(np.abs(session.run(["logits"], {"image": images})[0] - ours).max())


# --- the card ---------------------------------------------------------------------------------------------------------


def write_card(reports: list[Report], arguments: argparse.Namespace, folder: Path) -> None:
    """Write what was trained and measured to CARD.json."""
    card = {
        "classes": ["real", "fake"],
        "threshold": 0.5,
        "parameters": sum(p.numel() for p in DemoNet().parameters()),
        "training": {
            "population": POPULATION,
            "identities": f"0 to {arguments.identities - 1}",
            "pairs": arguments.pairs,
            "rate": arguments.rate,
        },
        "test": {
            "population": POPULATION,
            "first_identity": TEST_IDENTITIES_FROM,
            "reals": arguments.test_identities,
            "fakes": arguments.test_identities * len(METHODS),
        },
        "torch": torch.__version__,
        "members": [_rounded(asdict(report)) for report in reports],
    }
    (folder / "CARD.json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")


def _rounded(value: object) -> object:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--members", type=int, nargs="*", default=list(range(5)), help="seeds to train and check")
    parser.add_argument("--identities", type=int, default=2500, help="identities to train on")
    parser.add_argument(
        "--pairs", type=int, default=28_800, help="pairs of a real and a fake picture to show each member"
    )
    parser.add_argument("--rate", type=float, default=6e-3, help="highest learning rate")
    parser.add_argument(
        "--test-identities", type=int, default=400, help="unseen identities to check on, four fakes each"
    )
    parser.add_argument("--jobs", type=int, default=2, help="processes; no result depends on their number")
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="folder for weights and card")
    parser.add_argument("--check-only", action="store_true", help="measure the weights in the folder, train nothing")
    return parser.parse_args()


def main() -> int:
    arguments = parse_arguments()
    arguments.out.mkdir(parents=True, exist_ok=True)
    if not arguments.check_only:
        data = render(0, arguments.identities, arguments.jobs)
        print(f"rendered {data.real.shape[0]} identities", flush=True)
        train_all(data, arguments)
    unseen = render(TEST_IDENTITIES_FROM, arguments.test_identities, arguments.jobs)
    reports = []
    for member in arguments.members:
        reports.append(check(member, unseen, arguments.out / f"demo-{member}"))
        print(json.dumps(_rounded(asdict(reports[-1])), indent=1), flush=True)
    write_card(reports, arguments, arguments.out)
    failures = [f"member {report.member}: {failure}" for report in reports for failure in report.failures()]
    size = sum(path.stat().st_size for path in arguments.out.glob("demo-*"))
    if size > 1_000_000:
        failures.append(f"the weights have {size} bytes, more than 1000000")
    print(f"{size} bytes of weights;", "; ".join(failures) if failures else "every check holds")
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
