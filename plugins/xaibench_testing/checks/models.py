"""What every detector must hold to. Checks take an opened detector (``check_members`` a model) and raise
:class:`ContractViolation`. They call it with noise and flat pictures, a few at a time. No two passes are compared of a
detector that says that it is stochastic.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from xaibench.api import DETECTOR_NEEDS, Detector, DifferentiableDetector, Facts, Model, Runtime
from xaibench_testing.checks.subject import bytes_of, largest_difference, seeded
from xaibench_testing.violations import NotApplicable, require

TOLERANCES = {"fp32": 1e-4, "fp16": 1e-2, "bf16": 5e-2}
"""How far two ways of computing one output may differ, by precision."""
_STEPS = (0.3, 0.1, 0.03, 0.01)
_CHANCE = "its outputs may differ from call to call, as its card says"


@dataclass(frozen=True, slots=True)
class DetectorCheck:
    """A named check of an opened detector."""

    name: str
    run: Callable[[Detector], None]


def check_members(model: Model) -> None:
    """Member names are there, different, and the same when asked again."""
    names = list(model.members())
    require(len(names) > 0, "the model has no members")
    require(len(set(names)) == len(names), f"two members have one name: {', '.join(names)}")
    require(list(model.members()) == names, "members() gives other names when asked again")


def open_members(model: Model, runtime: Runtime | None = None) -> dict[str, Detector]:
    """Every member's detector by name."""
    return {name: model.open(name, runtime or Runtime()) for name in model.members()}


def pictures(detector: Detector, seed: int = 0) -> Tensor:
    """Noise of the detector's size, as many pictures as it takes in one call, but at most four unless it must."""
    batch = detector.facts.batch
    count = batch.fixed or min(4, batch.maximum or 4)
    return seeded(count, 3, *detector.facts.input_size, seed=seed).to(detector.device)


# ---- facts ----------------------------------------------------------------------------------------------------------


def check_facts(detector: Detector) -> None:
    """Classes, the real one, size, threshold, batch, digest and capabilities make sense."""
    facts = detector.facts
    require(len(facts.classes) >= 2, f"{len(facts.classes)} classes; there must be real and fake")
    require(len(set(facts.classes)) == len(facts.classes), f"two classes have one name: {', '.join(facts.classes)}")
    require(0 <= facts.real_class < len(facts.classes), f"real_class {facts.real_class} is no index of the classes")
    require(min(facts.input_size) >= 1, f"the input size is {facts.input_size}")
    require(0 <= facts.threshold <= 1, f"the threshold {facts.threshold} is no probability")
    require(bool(facts.name) and bool(facts.digest), "the name or the digest is empty")
    require(detector.facts == facts, "facts differ when asked again")
    _check_batch(facts)
    _check_capabilities(facts)


def _check_batch(facts: Facts) -> None:
    fixed, maximum = facts.batch.fixed, facts.batch.maximum
    require(all(n is None or n >= 1 for n in (fixed, maximum)), f"the batch limit is {facts.batch}")


def _check_capabilities(facts: Facts) -> None:
    unknown = facts.gives - DETECTOR_NEEDS
    require(not unknown, f"gives {', '.join(sorted(unknown))}, which is none of {', '.join(sorted(DETECTOR_NEEDS))}")
    for missing in sorted({"gradients", "activations"} - facts.gives):
        require(bool(facts.limits.get(missing)), f"gives no {missing} and facts.limits does not say why")


# ---- outputs --------------------------------------------------------------------------------------------------------


def check_probabilities(detector: Detector) -> None:
    """``(N, C)`` float32 in [0, 1], rows summing to 1, without gradient."""
    images = pictures(detector)
    out = detector.probabilities(images)
    _check_rows(detector, out, images, "probabilities")
    require(bool(((out >= 0) & (out <= 1)).all()), f"probabilities lie in [{out.min():.4g}, {out.max():.4g}]")
    off = float((out.double().sum(dim=1) - 1).abs().max())
    require(off <= 1e-5, f"rows of probabilities sum to 1 only within {off:.2g}")


def check_scores(detector: Detector) -> None:
    """``(N, C)`` float32 logits whose softmax is the probabilities."""
    images = pictures(detector)
    out = detector.scores(images)
    _check_rows(detector, out, images, "scores")
    if detector.facts.stochastic:
        return
    off = largest_difference(out.double().softmax(dim=1), detector.probabilities(images))
    require(off <= TOLERANCES[detector.facts.precision], f"softmax of scores differs from probabilities by {off:.2g}")


def _check_rows(detector: Detector, out: Tensor, images: Tensor, what: str) -> None:
    shape = (len(images), len(detector.facts.classes))
    require(tuple(out.shape) == shape, f"{what} have the shape {tuple(out.shape)}, not {shape}")
    require(out.dtype == torch.float32, f"{what} are {out.dtype}, not float32")
    require(bool(out.isfinite().all()), f"{what} are not finite")
    require(not out.requires_grad, f"{what} carry a gradient")


def check_determinism(detector: Detector) -> None:
    """The same pictures give the same bytes."""
    if detector.facts.stochastic:
        raise NotApplicable(_CHANCE)
    images = pictures(detector)
    one, two = detector.probabilities(images), detector.probabilities(images)
    require(bytes_of(one) == bytes_of(two), f"asked twice, probabilities differ by {largest_difference(one, two):.2g}")


def check_rows(detector: Detector) -> None:
    """At one batch size a row depends neither on its place nor on its batch mates, to the bit."""
    images, others = pictures(detector), pictures(detector, seed=1)
    if len(images) < 2:
        raise NotApplicable("takes one picture at a time")
    if detector.facts.stochastic:
        raise NotApplicable(_CHANCE)
    base = detector.probabilities(images)
    moved = detector.probabilities(images.roll(1, dims=0)).roll(-1, dims=0)
    off = largest_difference(base, moved)
    require(off == 0, f"a row depends on its place in the batch (by {off:.2g})")
    others[0] = images[0]
    off = largest_difference(base[:1], detector.probabilities(others)[:1])
    require(off == 0, f"a row depends on its batch mates (by {off:.2g})")


def check_mutation(detector: Detector) -> None:
    """Pictures are left as they were."""
    images = pictures(detector)
    before = images.clone()
    detector.probabilities(images)
    detector.scores(images)
    if "gradients" in detector.facts.gives:
        cast("DifferentiableDetector", detector).logits(images)
    require(bytes_of(images) == bytes_of(before), "the detector changed its pictures in place")


def check_extremes(detector: Detector) -> None:
    """Black, white and grey pictures and hard noise have finite outputs."""
    images = pictures(detector)
    shades = {"black": 0 * images, "white": 0 * images + 1, "grey": 0 * images + 0.5, "hard noise": images.round()}
    for name, shown in shades.items():
        for out in (detector.probabilities(shown), detector.scores(shown)):
            require(bool(out.isfinite().all()), f"{name} pictures: the output is not finite")


# ---- differentiable detectors ---------------------------------------------------------------------------------------


def _differentiable(detector: Detector, capability: str) -> DifferentiableDetector:
    if capability not in detector.facts.gives:
        raise NotApplicable(f"gives no {capability}: {detector.facts.limits.get(capability, '')}")
    return cast("DifferentiableDetector", detector)


def check_gradients(detector: Detector) -> None:
    """Logits are the scores, and the gradient of one is what a small step along it gains (within 5 %).

    What a small step gains is lost where a detector computes in half precision. The steps are taken by its form in
    float32 then, and the gradient may be off by 20 %.
    """
    inner = _differentiable(detector, "gradients")
    images = 0.3 + 0.4 * pictures(detector)
    leaf = images.clone().requires_grad_(True)
    with torch.enable_grad():
        logits = inner.logits(leaf)
        (gradient,) = torch.autograd.grad(logits[:, -1].sum(), leaf)
    require(gradient.shape == images.shape, f"the gradient has the shape {tuple(gradient.shape)}")
    require(bool(gradient.isfinite().all()), "the gradient is not finite")
    if detector.facts.stochastic:
        return
    off = largest_difference(logits.detach(), detector.scores(images))
    scale = max(1.0, float(logits.detach().abs().max()))
    require(off <= TOLERANCES[detector.facts.precision] * scale, f"logits differ from scores by {off:.2g}")
    exact, allowed = inner, 0.05
    if detector.facts.precision != "fp32":
        exact, allowed = _in_float32(inner), 0.2
    told = [_slopes(exact, images, i, gradient[i].double()) for i in range(len(images))]
    close = any(abs(s - length) <= allowed * max(length, 1e-3) for length, slopes in told for s in slopes)
    length, slopes = told[0]
    gains = ", ".join(f"{s:.4g}" for s in slopes)
    require(close, f"the gradient's norm is {length:.4g}, but steps along it gain {gains} a unit")


def _in_float32(detector: DifferentiableDetector) -> DifferentiableDetector:
    make = getattr(detector, "full_precision", None)
    full = cast("DifferentiableDetector", make()) if make is not None else detector
    if full.facts.precision != "fp32":
        raise NotApplicable(f"computes in {full.facts.precision} alone, where small steps gain nothing")
    return full


def _slopes(
    detector: DifferentiableDetector, images: Tensor, index: int, gradient: Tensor
) -> tuple[float, tuple[float, ...]]:
    """The gradient's norm, and the slopes along it at several step lengths: centred, forwards and backwards.

    Centred slopes are right where the function curves, one-sided ones where it has a kink to the other side (networks
    of rectifiers and maxima). One slope of one of the pictures must agree, not all.
    """
    length = float(gradient.norm())
    direction = gradient / length if length > 0 else torch.ones_like(gradient) / gradient.numel() ** 0.5

    def at(step: float) -> float:
        moved = images.clone()
        moved[index] = (images[index].double() + step * direction).float()
        with torch.no_grad():
            return float(detector.logits(moved)[index, -1])

    here = at(0.0)
    ends = [(h, at(-h), at(h)) for h in _STEPS]
    return length, tuple(s for h, a, b in ends for s in ((b - a) / (2 * h), (b - here) / h, (here - a) / h))


def check_features(detector: Detector) -> None:
    """The target layer's activation comes with the same logits, hangs on autograd and goes onto a grid."""
    inner = _differentiable(detector, "activations")
    images = pictures(detector)
    with torch.enable_grad():
        found = inner.features(images.clone().requires_grad_(True))
        (gradient,) = torch.autograd.grad(found.logits[:, -1].sum(), found.activation)
    off = largest_difference(found.logits.detach(), detector.scores(images))
    scale = max(1.0, float(found.logits.detach().abs().max()))
    require(
        detector.facts.stochastic or off <= TOLERANCES[detector.facts.precision] * scale,
        f"the logits that come with features differ from scores by {off:.2g}",
    )
    require(gradient.shape == found.activation.shape, "the gradient has not the shape of the activation")
    for name, tensor in (("activation", found.activation.detach()), ("gradient", gradient)):
        grid = found.to_grid(tensor)
        fits = grid.ndim == 4 and len(grid) == len(images)
        require(fits, f"to_grid turns the {name} into {tuple(grid.shape)}, not (N, K, h, w)")
        require(bool(grid.isfinite().all()), f"the {name} on the grid is not finite")


def check_randomised(detector: Detector) -> None:
    """A randomised copy has its own digest, follows the generator, and leaves the detector as it was."""
    inner = _differentiable(detector, "gradients")
    if inner.facts.target_layer is None:
        raise NotApplicable("has no target layer to draw anew")
    images = pictures(detector)
    before = detector.probabilities(images)
    one, two = (inner.randomised([inner.facts.target_layer], torch.Generator().manual_seed(7)) for _ in range(2))
    require(one.facts.digest != inner.facts.digest, "a randomised copy has the digest of the original")
    require(one.facts.digest == two.facts.digest, "two copies drawn with one seed have different digests")
    if detector.facts.stochastic:
        return
    same = bytes_of(one.probabilities(images)) == bytes_of(two.probabilities(images))
    require(same, "two copies drawn with one seed differ: draw from the generator")
    require(bytes_of(detector.probabilities(images)) == bytes_of(before), "randomised() changed the detector itself")


CHECKS = tuple(
    DetectorCheck(f.__name__.removeprefix("check_"), f)
    for f in (
        check_facts,
        check_probabilities,
        check_scores,
        check_determinism,
        check_rows,
        check_mutation,
        check_extremes,
        check_gradients,
        check_features,
        check_randomised,
    )
)
