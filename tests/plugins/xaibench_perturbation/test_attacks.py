"""Attacks against closed forms and hand-made detectors, and regions attacked once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from statistics import NormalDist
from typing import Any

import pytest
import torch
from torch import Tensor

from xaibench.api import Done, Facts, Passes, Picture, Streams
from xaibench.detector.engine import ProbeEngine
from xaibench.run.workbench import BenchArtefacts
from xaibench_perturbation import AttackSettings, GradientSettings, RegionAttack
from xaibench_perturbation.attacks import (
    ALREADY_REAL,
    Attacked,
    estimate,
    fgsm,
    in_full_precision,
    nes_attack,
    pgd_attack,
)
from xaibench_perturbation.attacks.course import fake_margins
from xaibench_perturbation.attacks.nes import draw_noise
from xaibench_perturbation.attacks.pursuit import ball, jpeg, rounded
from xaibench_perturbation.attacks.result import BLIND
from xaibench_testing.harness import make_bench, value
from xaibench_testing.planted import PATCH, ConstantDetector, DifferentiablePatchDetector, LinearDetector, PatchDetector
from xaibench_testing.planted_data import pictures_of, planted_samples

SIZE = (8, 10)
STEP, BOUND = 1 / 255, 16 / 255
SCALE = (0.229, 0.224, 0.225)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def middling(size: tuple[int, int] = SIZE, seed: int = 0) -> Tensor:
    """A picture so far from black and white that nothing is clipped."""
    return 0.3 + 0.4 * torch.rand((3, *size), generator=generator(seed))


def weights(size: tuple[int, int] = SIZE, seed: int = 1) -> Tensor:
    return torch.randn((3, *size), generator=generator(seed), dtype=torch.float64)


def linear(w: Tensor, image: Tensor, margin: float, **facts: Any) -> LinearDetector:
    """A linear detector with this margin for this picture."""
    detector = LinearDetector(w, margin - float((w.double() * image.double()).sum()))
    detector._facts = replace(detector.facts, **facts)
    return detector


def half(size: tuple[int, int] = SIZE) -> Tensor:
    region = torch.zeros(size, dtype=torch.bool)
    region[:, : size[1] // 2] = True
    return region


def run(detector: Any, programme: Callable[[], Any], batch: int = 8) -> Done[Attacked]:
    done = ProbeEngine(detector, batch).run_one(programme)
    if done.error:
        raise done.error
    return done


def nes(detector: Any, image: Tensor, region: Tensor | None = None, seed: int = 0, **settings: Any) -> Done[Attacked]:
    attack = partial(nes_attack, image, region, detector.facts, AttackSettings(**settings), generator(seed))
    return run(detector, attack)


def pgd(detector: Any, image: Tensor, region: Tensor | None = None, **settings: Any) -> Done[Attacked]:
    return run(detector, partial(pgd_attack, image, region, detector.facts, GradientSettings(**settings)))


class OneOutput:
    """P(fake) = sigmoid(z) of a linear z, all in float32; the other probability and the logits are made from it."""

    device = torch.device("cpu")

    def __init__(self, inner: LinearDetector) -> None:
        self.inner = inner
        self.facts = replace(inner.facts, logit_source="log-odds", gives=frozenset())

    def probabilities(self, images: Tensor) -> Tensor:
        z = self.inner.scores(images)[:, 1] * 2
        return torch.stack((1 - z.sigmoid(), z.sigmoid()), dim=1)

    def scores(self, images: Tensor) -> Tensor:
        return self.probabilities(images).clamp(1e-7, 1 - 1e-7).log()


# ---- the estimate of the gradient -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("elements", "share"), [(300, 0.642), (1200, 0.572), (3600, 0.542)])
def test_signs_of_the_estimate_are_right_as_often_as_the_closed_form_says(elements: int, share: float) -> None:
    assert NormalDist().cdf((40 / (elements + 1)) ** 0.5) == pytest.approx(share, abs=5e-4)
    sigma, right, w = 0.001, 0, torch.randint(0, 2, (3, elements // 3), generator=generator(5)) * 2.0 - 1
    draws = generator(0)
    for _ in range(300):
        noise = draw_noise(40, 3, elements // 3, draws)
        differences = 2 * sigma * torch.tensordot(noise, w, dims=2)
        right += int((estimate(differences, noise, sigma).sign() == w.sign()).sum())
    assert right / (300 * elements) == pytest.approx(share, abs=0.005)


def test_the_estimate_by_hand() -> None:
    noise = torch.tensor([[[1.0, 2.0]], [[0.0, -1.0]]])
    found = estimate(torch.tensor([0.4, 0.2]), noise, 0.1)  # (0.4 u_1 + 0.2 u_2) / (2 * 2 * 0.1)
    torch.testing.assert_close(found, torch.tensor([[1.0, 1.5]]))


def test_a_step_is_the_sign_of_the_estimate() -> None:
    image, w, region = middling(), weights(), half()
    detector = linear(w, image, 50.0)
    found = nes(detector, image, region, steps=1, seed=3, pairs=16).value
    noise = draw_noise(16, 3, int(region.sum()), generator(3))
    differences = -2 * 0.001 * torch.tensordot(noise.double(), w[:, region], dims=2)
    moved = (found.image - image)[:, region]
    assert torch.equal(moved.sign(), estimate(differences, noise, 0.001).sign())
    torch.testing.assert_close(moved.abs(), torch.full_like(moved, STEP), atol=1e-7, rtol=0)


def test_one_pixel_goes_straight_towards_real() -> None:
    image, w = middling(), weights().sign()
    region = torch.zeros(SIZE, dtype=torch.bool)
    region[2, 3] = True
    detector = linear(w, image, 5.0)
    found = nes(detector, image, region, steps=4, stop=False).value
    expected = (-4 * STEP * w[:, 2, 3]).float()  # every sign is right with probability Phi(sqrt(40 / 4)) = 0.9992
    torch.testing.assert_close(found.image[:, 2, 3] - image[:, 2, 3], expected, atol=1e-6, rtol=0)
    assert found.before.margin - found.after.margin == pytest.approx(4 * STEP * 3, rel=1e-4)
    assert len(found.trace) == 5


# ---- bounds ---------------------------------------------------------------------------------------------------------


def test_strict_keeps_the_bound_the_range_and_everything_outside() -> None:
    image, region = torch.rand((3, *SIZE), generator=generator(8)), half()
    image[0, :2] = 0
    image[1, :2] = 1
    before = image.clone()
    found = nes(linear(weights(), image, 100.0), image, region, steps=40, stop=False).value
    assert torch.equal(image, before)
    assert torch.equal(found.image[:, ~region], image[:, ~region])
    change = (found.image.double() - image.double()).abs()
    assert float(change.max()) <= BOUND
    assert found.largest_change == float(change.max())
    assert found.largest_change > BOUND - 1e-6
    assert float(found.image.min()) >= 0
    assert float(found.image.max()) <= 1


def test_the_ball_is_rounded_inwards() -> None:
    image = torch.rand((3, 200, 200), generator=generator())
    low, high = ball(image, BOUND, clamp=False)
    assert float((image.double() - low.double()).max()) <= BOUND
    assert float((high.double() - image.double()).max()) <= BOUND
    assert float((high.double() - image.double()).min()) > BOUND - 1.3e-7


def test_published_code_passes_its_bound_but_not_its_steps() -> None:
    image = torch.rand((3, *SIZE), generator=generator(8))
    w = weights((1, 1))[:1].sign().expand(3, *SIZE) * torch.ones(3, *SIZE)
    detector = linear(w, image, 5.0, scale=SCALE)
    found = nes(detector, image, half(), mode="t24-code", steps=50, stop=False).value
    change = (found.image.double() - image.double()) / torch.tensor(SCALE, dtype=torch.float64)[:, None, None]
    assert found.steps == 50
    assert BOUND < float(change.abs().max()) <= 50 / 255 + 1e-6
    assert not change[:, ~half()].any()
    assert torch.equal(found.image[:, ~half()], image[:, ~half()])
    # one map of noise for the three channels: they move together
    torch.testing.assert_close(change[0], change[1], atol=1e-5, rtol=0)
    torch.testing.assert_close(change[0], change[2], atol=1e-5, rtol=0)


def test_strict_moves_channels_apart() -> None:
    image = middling()
    found = nes(linear(weights(), image, 50.0), image, None, steps=1).value
    change = (found.image - image).sign()
    assert not torch.equal(change[0], change[1])


# ---- queries, stops and verdicts ------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["strict", "t24-code"])
def test_queries_of_a_success_and_of_a_failure(mode: Any) -> None:
    image, w = middling(), weights()
    done = nes(linear(w, image, 2.0), image, mode=mode)
    found = done.value
    assert found.flipped
    assert 1 <= found.steps < 50
    assert found.queries == 81 * found.steps + 1
    assert done.passes == Passes(forward=found.queries + 2)  # and the two saved pictures
    assert len(found.trace) == found.steps + 1
    assert found.trace[-1] < 0 <= min(found.trace[:-1])
    # success in the very last step
    last = nes(linear(w, image, 2.0), image, mode=mode, steps=found.steps).value
    assert (last.flipped, last.queries, last.steps) == (True, found.queries, found.steps)
    assert torch.equal(last.image, found.image)
    failed = nes(linear(w, image, 99.0 if mode == "t24-code" else 20.0), image, mode=mode)
    assert failed.value.status == "ok"
    assert (failed.value.flipped, failed.value.steps, failed.value.queries) == (False, 50, 4050)
    assert failed.passes == Passes(forward=4051)  # and the reading that finds out
    assert AttackSettings().most_passes() >= 4053


@pytest.mark.parametrize("mode", ["strict", "t24-code"])
def test_a_picture_called_real_is_left_alone(mode: Any) -> None:
    image = middling()
    for stop in (True, False):
        done = nes(linear(weights(), image, -0.5), image, mode=mode, stop=stop)
        found = done.value
        assert (found.status, found.reason) == ("undefined", ALREADY_REAL)
        assert (found.flipped, found.steps, found.queries, found.largest_change) == (False, 0, 1, 0)
        assert found.before == found.after
        assert torch.equal(found.image, image)
        assert done.passes == Passes(forward=1)


def test_a_fixed_number_of_steps_goes_on_after_the_flip() -> None:
    image = middling()
    found = nes(linear(weights(), image, 1.0), image, steps=12, stop=False).value
    assert (found.steps, len(found.trace), found.queries) == (12, 13, 81 * 12 + 1)
    assert found.flipped
    stopped = nes(linear(weights(), image, 1.0), image, steps=12)
    assert stopped.value.steps < 12
    assert stopped.value.trace == found.trace[: stopped.value.steps + 1]


def test_strict_takes_the_verdict_at_the_cards_threshold_and_the_code_the_likeliest_class() -> None:
    image, w = middling(), weights()
    strict = nes(linear(w, image, 1.0, threshold=0.2), image).value
    assert strict.after.margin < torch.tensor(0.2).logit() <= strict.trace[-2]
    published = nes(linear(w, image, 1.0, threshold=0.2), image, mode="t24-code").value
    assert published.after.margin < 0 <= published.trace[-2]
    careful = linear(w, image, 1.0, threshold=0.9)  # P(fake) = 0.73 is real there
    assert nes(careful, image).value.reason == ALREADY_REAL


def test_what_makes_no_sense_is_refused() -> None:
    image = middling()
    detector, nowhere = linear(weights(), image, 1.0), torch.zeros(SIZE, dtype=torch.bool)
    with pytest.raises(ValueError, match="region to attack is empty"):
        nes(detector, image, nowhere)
    with pytest.raises(ValueError, match="region to attack is empty"):
        pgd(detector, image, nowhere)
    with pytest.raises(ValueError, match="must be positive"):
        AttackSettings(sigma=0)
    with pytest.raises(ValueError, match="must be positive"):
        GradientSettings(steps=0)


# ---- regions and silence --------------------------------------------------------------------------------------------


def planted(detector: PatchDetector) -> Picture:
    data = planted_samples(1)
    return pictures_of(data, detector)[1]


def nudged(**more: Any) -> tuple[Any, Tensor]:
    """A patch detector that a bounded attack on the patch can turn, and a fake."""
    detector = DifferentiablePatchDetector(threshold=0.07, **more)
    return detector, planted(detector).image


def test_the_patch_flips_and_the_rest_gives_no_drop() -> None:
    detector, image = nudged()
    patch = PATCH.mask(detector.facts.input_size)
    inside = nes(detector, image, patch).value
    assert inside.flipped
    outside = nes(detector, image, ~patch)
    found = outside.value
    assert (found.status, found.reason, found.flipped) == ("ok", BLIND, False)
    assert found.after.margin == found.before.margin
    assert torch.equal(found.image, image)
    assert (found.steps, found.queries, outside.passes.forward) == (0, 161, 161)  # 80 more, on the whole picture
    assert pgd(detector, image, patch).value.flipped
    by_gradient = pgd(detector, image, ~patch).value
    assert (by_gradient.status, by_gradient.reason, by_gradient.queries) == ("ok", BLIND, 1)


def test_a_detector_in_steps_has_no_signal() -> None:
    detector = DifferentiablePatchDetector(response="step")
    image = planted(detector).image
    found = nes(detector, image).value
    assert (found.status, found.steps, found.queries) == ("undefined", 0, 81)
    assert found.reason == "no signal: all 40 probe differences of step 1 are 0 (P(real) 0.0025)"
    assert nes(detector, image, half(detector.facts.input_size)).value.queries == 161


def test_saturated_probabilities_have_no_signal_and_logits_do() -> None:
    image, w = middling(), weights()
    sure = linear(w, image, 17.0)
    for mode in ("strict", "t24-code"):
        found = nes(OneOutput(sure), image, mode=mode).value
        assert (found.status, found.flipped) == ("undefined", False)
        assert found.reason == "no signal: all 40 probe differences of step 1 are 0 (P(real) 0.0000)"
    found = nes(sure, image, steps=3).value
    assert found.status == "ok"
    assert found.after.margin < found.before.margin


def test_noise_below_the_quantum_has_no_signal() -> None:
    image, w = middling(), weights()
    detector = linear(w, image, 1.0, quantum=1 / 255)
    found = nes(detector, image)
    assert found.value.status == "undefined"
    assert found.value.reason == (
        "no signal: the noise (0.001) lies below the step to which the input is rounded (0.0039)"
    )
    assert found.passes == Passes(forward=1)
    fine = linear(w, image, 1.0, quantum=2**-11)
    assert nes(fine, image).value.flipped
    # the published sigma is one of normalised units: 0.00023 grey levels of [0, 1]
    normalised = linear(w, image, 1.0, quantum=2**-11, scale=SCALE)
    assert nes(normalised, image, mode="t24-code").value.status == "undefined"


def test_silence_after_the_flip_takes_nothing_from_it() -> None:
    image = middling()

    class Cliff(LinearDetector):
        def _z(self, images: Tensor) -> Tensor:
            z = super()._z(images)
            return torch.where(z > 0.2, z, -3.0)

    w = weights()
    detector = Cliff(w, 1.0 - float((w * image.double()).sum()))
    found = nes(detector, image, stop=False).value
    assert (found.status, found.reason, found.flipped) == ("ok", "", True)
    assert found.steps < 50
    assert found.after.margin == -3


def test_scores_that_are_no_numbers_end_the_attack_aloud() -> None:
    image = middling()

    class Broken(LinearDetector):
        def _z(self, images: Tensor) -> Tensor:
            return super()._z(images) * float("nan")

    with pytest.raises(ValueError, match=r"gives \[.*nan.*\] for a picture of the attack"):
        nes(Broken(weights()), image)

    class Overflowing(LinearDetector):
        def _z(self, images: Tensor) -> Tensor:
            z = super()._z(images)
            return torch.where((images != image).flatten(1).any(dim=1), float("inf"), z)

    with pytest.raises(ValueError, match=r"gives \[.*inf.*\] for a picture of the attack"):
        pgd(Overflowing(weights()), image)

    class Torn(LinearDetector):
        def _z(self, images: Tensor) -> Tensor:
            return torch.where(torch.arange(len(images)) == 0, 1.0, float("inf")).double()

    found = nes(Torn(weights()), image).value
    assert found.reason == "no signal: the detector's scores of step 1 are not finite"


class HalfPrecision(LinearDetector):
    """Computes in float16, and gives the float32 detector that attacks are to ask."""

    def __init__(self, full: LinearDetector) -> None:
        super().__init__(full.weights, full.bias)
        self.full = full
        self._facts = replace(self.facts, quantum=1 / 255)

    def full_precision(self) -> LinearDetector:
        return self.full


def test_attacks_ask_the_float32_detector() -> None:
    image = middling()
    full = linear(weights(), image, 1.0)
    coarse = HalfPrecision(full)
    assert in_full_precision(full) is full
    assert in_full_precision(coarse) is full
    picture = replace(planted(PatchDetector()), image=image)
    for settings in (AttackSettings(steps=2), GradientSettings(steps=2)):
        bench = make_bench(coarse)
        attack = RegionAttack(half(), settings)
        product = value(bench.engine().run_one(partial(BenchArtefacts(bench, coarse).get, attack, picture)))
        assert product.status == "ok"
    assert coarse.calls == 0
    assert full.calls > 0


# ---- saving ---------------------------------------------------------------------------------------------------------


def test_a_flip_may_not_survive_rounding() -> None:
    # real below 127.8 grey levels: a step of a tenth of a level from 127.85 flips it, and 127.75 is saved as 128
    image = torch.full((3, 16, 16), 127.85 / 255)
    w = torch.full((3, 16, 16), 255 / 768, dtype=torch.float64)
    detector = LinearDetector(w, -127.8)
    found = pgd(detector, image, steps=5, step=0.1 / 255).value
    assert (found.flipped, found.steps, found.survives_8bit, found.survives_jpeg) == (True, 1, False, False)
    # from 127.45 with the border at 127.4: 127.35 is saved as 127
    image = torch.full((3, 16, 16), 127.45 / 255)
    found = pgd(LinearDetector(w, -127.4), image, steps=5, step=0.1 / 255).value
    assert (found.flipped, found.survives_8bit, found.survives_jpeg) == (True, True, True)


def test_a_fine_pattern_survives_rounding_and_not_jpeg() -> None:
    image = torch.full((3, 16, 16), 128 / 255)
    found = pgd(linear(weights((16, 16)), image, 1.0), image).value
    assert found.largest_change < 2 / 255  # JPEG wipes so faint a noise out
    assert (found.flipped, found.survives_8bit, found.survives_jpeg) == (True, True, False)


def test_saved_pictures() -> None:
    image = torch.tensor([-0.1, 0.5, 0.9999, 1.2]).expand(3, 1, 4)
    assert (rounded(image)[0, 0] * 255).tolist() == [0, 128, 255, 255]
    flat = torch.tensor([10.0, 130, 200])[:, None, None].expand(3, 16, 16) / 255
    assert float((jpeg(flat) - flat).abs().max() * 255) < 2.5
    assert jpeg(middling()).shape == (3, *SIZE)


# ---- gradients ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [1, 7, 16, 30])
@pytest.mark.parametrize("region", [None, half()])
def test_masked_pgd_on_a_linear_margin_is_the_closed_form(steps: int, region: Tensor | None) -> None:
    image, w = middling(), weights()
    detector = linear(w, image, 40.0)
    done = pgd(detector, image, region, steps=steps, clamp=False, stop=False)
    size = float((w if region is None else w[:, region]).abs().sum())
    assert done.value.after.margin - done.value.before.margin == pytest.approx(
        -min(steps * STEP, BOUND) * size, rel=1e-4
    )
    assert done.passes == Passes(forward=steps + 1, backward=steps) if not done.value.flipped else True
    if region is not None:
        assert torch.equal(done.value.image[:, ~region], image[:, ~region])
    assert done.value.largest_change <= BOUND


def test_fgsm_is_one_step_of_the_bound() -> None:
    image, w = middling(), weights()
    detector = linear(w, image, 5.0)
    done = run(detector, partial(pgd_attack, image, None, detector.facts, fgsm(8 / 255)))
    found = done.value
    assert found.steps == 1
    torch.testing.assert_close(found.image, (image - 8 / 255 * w.sign()).float(), atol=1e-6, rtol=0)


def test_pgd_stays_in_the_range_unless_told() -> None:
    image = torch.zeros((3, *SIZE))
    detector = linear(torch.ones(3, *SIZE), image, 3.0)
    assert torch.equal(pgd(detector, image, steps=3).value.image, image)
    free = pgd(detector, image, steps=3, clamp=False, stop=False).value
    torch.testing.assert_close(free.image, torch.full_like(image, -3 * STEP))


def test_pgd_counts_a_pass_each_way_a_step() -> None:
    image, w = middling(), weights()
    done = pgd(linear(w, image, 1.0), image)
    steps = done.value.steps
    assert 1 <= steps < 16
    assert done.value.queries == steps + 1
    assert done.passes == Passes(forward=steps + 3, backward=steps + 1)
    failed = pgd(linear(w, image, 99.0), image, steps=20)
    assert failed.value.queries == 20
    assert failed.passes == Passes(forward=21, backward=20)
    real = pgd(linear(w, image, -1.0), image)
    assert (real.value.reason, real.value.queries) == (ALREADY_REAL, 1)


def test_pgd_without_a_gradient_has_no_signal() -> None:
    found = pgd(ConstantDetector(0.75, SIZE), middling()).value
    assert found.status == "undefined"
    assert found.reason == "no signal: the gradient of step 1 is 0 all over the picture (P(real) 0.2500)"


class FourClasses:
    """Real and three fakes, linear logits."""

    device = torch.device("cpu")

    def __init__(self, image: Tensor) -> None:
        self.w = torch.stack([weights(seed=s) for s in range(4)]).float()
        self.b = torch.tensor([2.0, 0.0, 3.0, 2.5]) - (self.w * image).sum(dim=(1, 2, 3))
        self.facts = Facts(
            name="four",
            classes=("a", "real", "b", "c"),
            real_class=1,
            input_size=SIZE,
            digest="four",
            gives=frozenset({"gradients"}),
        )

    def logits(self, images: Tensor) -> Tensor:
        return torch.einsum("nchw,kchw->nk", images, self.w) + self.b

    @torch.no_grad()
    def scores(self, images: Tensor) -> Tensor:
        return self.logits(images)

    @torch.no_grad()
    def probabilities(self, images: Tensor) -> Tensor:
        return self.logits(images).softmax(dim=1)


def test_several_fake_classes_are_fought_together() -> None:
    image = middling()
    detector = FourClasses(image)
    p = torch.tensor([2.0, 0.0, 3.0, 2.5]).softmax(dim=0)
    found = pgd(detector, image, steps=1).value
    assert found.before.p_real == pytest.approx(float(p[1]), rel=1e-4)
    assert found.before.margin == pytest.approx(float(((1 - p[1]) / p[1]).log()), rel=1e-4)
    others = p.clone()
    others[1] = 0
    gradient = torch.einsum("k,kchw->chw", others / others.sum(), detector.w) - detector.w[1]
    torch.testing.assert_close((found.image - image), -STEP * gradient.sign(), atol=1e-6, rtol=0)
    assert pgd(detector, image).value.flipped
    assert nes(detector, image).value.before.margin == pytest.approx(found.before.margin, rel=1e-6)


def test_margins_do_not_saturate() -> None:
    logits = torch.tensor([[-40.0, 40.0], [-40.0, 40.001]], dtype=torch.float64)
    assert fake_margins(logits, 0).tolist() == pytest.approx([80, 80.001], abs=1e-12)


# ---- independence, and regions attacked once ------------------------------------------------------------------------


def everything_of(found: Attacked) -> tuple[object, ...]:
    return (found.image.numpy().tobytes(), found.trace, found.queries, found.status, found.flipped)


@pytest.mark.parametrize("mode", ["strict", "t24-code"])
def test_attacks_do_not_depend_on_batch_mates_order_or_time(mode: Any) -> None:
    detector = LinearDetector(weights(), 3.0)
    jobs = []
    for i in range(5):
        image = middling(seed=i)
        settings = AttackSettings(mode=mode, steps=3 + i, pairs=5 + 3 * i)
        jobs.append((i, partial(_attack, image, detector, settings, i)))

    def all_of(chosen: list[Any]) -> dict[int, tuple[object, ...]]:
        return {key: everything_of(value(done)) for key, done in ProbeEngine(detector, 16).run(chosen)}

    together = all_of(jobs)
    assert all_of(jobs[::-1]) == together
    assert all_of(jobs) == together
    for job in jobs:
        assert all_of([job])[job[0]] == together[job[0]]
    assert (
        nes(detector, middling(), seed=1, steps=2).value.trace != nes(detector, middling(), seed=2, steps=2).value.trace
    )


def _attack(image: Tensor, detector: Any, settings: AttackSettings, seed: int) -> Any:
    return nes_attack(image, half(), detector.facts, settings, Streams.of(seed, 0, "a", "s").torch("noise"))


@pytest.mark.parametrize("settings", [AttackSettings(steps=4), GradientSettings(steps=4)])
def test_a_region_is_attacked_once_whoever_asks(settings: Any) -> None:
    detector = DifferentiablePatchDetector()
    picture = planted(detector)
    bench = make_bench(detector)
    region = ~half(detector.facts.input_size)
    other = region.clone()
    other[0, -1] = False

    def ask(shape: Tensor) -> Any:
        return lambda: BenchArtefacts(bench, detector).get(RegionAttack(shape.clone(), settings), picture)

    jobs = [("one", ask(region)), ("two", ask(region)), ("other", ask(other))]
    done = dict(bench.engine().run(jobs))
    assert done["one"].value is done["two"].value
    assert sorted([done["one"].passes.forward, done["two"].passes.forward])[0] == 0
    assert done["other"].value is not done["one"].value
    fresh = make_bench(detector)
    again = value(
        fresh.engine().run_one(lambda: BenchArtefacts(fresh, detector).get(RegionAttack(region, settings), picture))
    )
    for name, tensor in done["one"].value.tensors.items():
        assert torch.equal(tensor, again.tensors[name])
    assert again.numbers == done["one"].value.numbers


def test_the_product_of_a_region_puts_the_picture_back() -> None:
    detector = DifferentiablePatchDetector()
    picture = planted(detector)
    region = ~half(detector.facts.input_size)
    attack = RegionAttack(region, AttackSettings(steps=2, stop=False))
    bench = make_bench(detector)
    done = bench.engine().run_one(lambda: BenchArtefacts(bench, detector).get(attack, picture))
    product = value(done)
    attacked = attack.picture(picture.image, product)
    assert torch.equal(attacked[:, ~region], picture.image[:, ~region])
    change = float((attacked.double() - picture.image.double()).abs().max())
    assert change == product.numbers["largest_change"] > 0
    assert product.tensors["trace"][-1] == product.numbers["margin_after"]
    query: Any = None
    assert done.passes.forward <= attack.passes(query).forward
    assert attack.parameters() != RegionAttack(~region, attack.settings).parameters()
    assert attack.parameters() == RegionAttack(region.clone(), attack.settings).parameters()
