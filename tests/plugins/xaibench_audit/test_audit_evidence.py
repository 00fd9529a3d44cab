"""The planted evidence of the audit: what each place contributed adds up, and is where it was planted."""

from __future__ import annotations

from itertools import combinations
from math import factorial, sqrt

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate1d

from xaibench.api import PlanError, UsageError
from xaibench_audit.detectors import EvidenceDetector, Part
from xaibench_audit.evidence import CENTRE, NAMES, PARTS, check_verdicts, evidence, plant
from xaibench_audit.maps import TRUTH, candidates, correlation, mixture, noise
from xaibench_audit.mechanism import filled, mechanism
from xaibench_audit.pictures import SIZE, AuditPictures, Manipulation, changed
from xaibench_audit.responses import Contrast, MissingTexture, Weights, along, steps
from xaibench_testing import Patch

PAIRS = 10


@pytest.fixture(scope="module")
def planted():
    return {name: plant(evidence(name), PAIRS, 0) for name in NAMES}


def pair_of(p, i=0):
    return p.fakes[i].image.double(), p.reals[i].image.double()


@pytest.mark.parametrize("name", NAMES)
def test_evidence_sums_to_the_difference_of_the_margins(planted, name):
    p = planted[name]
    for i in range(PAIRS):
        fake, real = pair_of(p, i)
        z = p.detector.margin(torch.stack((fake, real)))
        assert float(p.truth[p.fakes[i].sample.id].sum()) == pytest.approx(float(z[0] - z[1]), abs=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_fakes_are_called_fake_and_reals_real(planted, name):
    p = planted[name]
    for pictures, fake in ((p.fakes, True), (p.reals, False)):
        found = p.detector.probabilities(torch.stack([x.image for x in pictures]))[:, 1] >= 0.5
        assert found.tolist() == [fake] * PAIRS


def test_evidence_of_a_contrast_is_the_pixels_own_share(planted):
    """The closed form: the margin's difference times y_i s_i's change over the whole change, 0 outside the patch."""
    p = planted["patch"]
    fake, real = pair_of(p)
    signs = 1.0 - 2.0 * ((torch.arange(SIZE[0])[:, None] + torch.arange(SIZE[1])) % 2)
    change = (fake - real).mean(dim=0) * signs * CENTRE.mask(SIZE)
    z = p.detector.margin(torch.stack((fake, real)))
    found = p.truth[p.fakes[0].sample.id]
    assert torch.allclose(found, (z[0] - z[1]) * change / change.sum(), atol=1e-6)
    assert not found[~CENTRE.mask(SIZE)].any()


def test_each_of_several_parts_contributes_what_pasting_it_changes(planted):
    """The parts add up, so each one's Shapley value is the fall of the margin when it alone is taken away."""
    p = planted["parts"]
    fake, real = pair_of(p)
    found = p.truth[p.fakes[0].sample.id]
    for part in PARTS:
        inside = part.mask(SIZE)
        z = p.detector.margin(torch.stack((fake, torch.where(inside, real, fake))))
        assert float(found[inside].sum()) == pytest.approx(float(z[0] - z[1]), abs=1e-5)


def test_evidence_of_a_mixture_is_the_mixture_of_the_evidence(planted):
    p = planted["missing-texture@0.25"]
    fake, real = pair_of(p)
    alone = [EvidenceDetector("one", [Part(x.response, 1.0, x.middle, x.half)], SIZE) for x in p.detector.parts]
    expected = 0.25 * alone[0].evidence(fake, real) + 0.75 * alone[1].evidence(fake, real)
    assert torch.allclose(p.detector.evidence(fake, real), expected, atol=1e-12)
    assert [x.weight for x in p.detector.parts] == [0.25, 0.75]


def shapley(value, n):
    """Exact Shapley values of a game on n players."""
    found = np.zeros(n)
    for i in range(n):
        others = [j for j in range(n) if j != i]
        for k in range(n):
            weight = factorial(k) * factorial(n - k - 1) / factorial(n)
            found[i] += sum(weight * (value({*c, i}) - value(set(c))) for c in combinations(others, k))
    return found


def test_evidence_of_missing_texture_agrees_with_exact_shapley_values_of_cells(planted):
    """Cells of the place and one beside it, pasted from the fake into the real one: same sums, same order."""
    p = planted["missing-texture"]
    fake, real = pair_of(p)
    place = AuditPictures(PAIRS, tuple(m for _, _, m in p.evidence.planted)).places(0)[0]
    half = place.width // 2
    cells = [
        Patch(place.row, place.column, place.height, half).mask(SIZE),
        Patch(place.row, place.column + half, place.height, place.width - half).mask(SIZE),
    ]
    cells.append(~(cells[0] | cells[1]))

    def margin(pasted):
        mask = sum((cells[i] for i in pasted), torch.zeros(SIZE, dtype=torch.bool))
        return float(p.detector.margin(torch.where(mask, fake, real)[None])[0])

    exact = shapley(margin, 3)
    truth = p.truth[p.fakes[0].sample.id]
    found = np.array([float(truth[c].sum()) for c in cells])
    assert exact.sum() == pytest.approx(found.sum(), abs=1e-5)
    assert exact[2] == 0.0  # fake and real are equal there
    assert np.abs(found - exact).max() < 0.1 * exact.sum()


@pytest.mark.parametrize("kind", ["black", "blur"])
def test_a_fill_is_evidence_only_where_it_was_planted_so(planted, kind):
    place = Patch(2, 40, 14, 18)
    for name, sensitive in (("off-centre", False), ("missing-texture", True)):
        p = planted[name]
        real = p.reals[0].image
        away = place if sensitive else Patch(30, 2, 14, 18)
        before, after = (p.detector.margin(x) for x in (real[None], filled(real, [away], kind)))
        assert (float(after) > float(before)) if sensitive else (float(after) == pytest.approx(float(before), abs=1e-6))


def test_mechanism_counts_what_a_fill_does(planted):
    flat = {m.fill: (m.rises.value, m.turned.value) for m in mechanism(planted["missing-texture"], 0)}
    assert flat["blur"] == (1.0, 1.0)  # every place that is blurred is smooth, as fakes are
    none = {m.fill: m.turned.value for m in mechanism(planted["patch"], 0)}
    assert none == {"black": 0.0, "grey": 0.0, "mean": 0.0, "blur": 0.0}


# ---- pictures -------------------------------------------------------------------------------------------------------


def test_pictures_are_the_same_for_a_seed_and_differ_only_in_the_mask():
    one = AuditPictures(2, (Manipulation("seam", clear=CENTRE), Manipulation("contrast", CENTRE)), seed=3)
    again, other = AuditPictures(2, one.manipulations, seed=3), AuditPictures(2, one.manipulations, seed=4)
    real, fake = (one.read(s) for s in one.samples()[:2])
    assert np.array_equal(fake.pixels, again.read(again.samples()[1]).pixels)
    assert not np.array_equal(fake.pixels, other.read(other.samples()[1]).pixels)
    moved = (real.pixels != fake.pixels).any(axis=2)
    assert not (moved & ~(fake.mask > 0)).any()
    assert (fake.mask > 0).sum() == 12 * 16 + 14 * 18


def test_changes_have_the_size_they_say():
    flat = np.full((*SIZE, 3), 0.5)
    patch = Patch(10, 10, 8, 8)
    assert np.ptp(changed(flat, "contrast", patch)) == pytest.approx(0.16)
    assert changed(flat, "seam", patch, -1).min() == pytest.approx(0.3)
    assert np.allclose(changed(flat, "smooth", patch), flat, rtol=0, atol=1e-12)


def test_an_unknown_evidence_is_refused_with_those_that_there_are():
    with pytest.raises(UsageError, match="seams") as error:
        evidence("seams")
    assert "did you mean seam" in error.value.mend


def test_a_detector_that_calls_a_picture_wrongly_is_refused(planted):
    p = planted["patch"]
    blind = EvidenceDetector("blind", [Part(Contrast(Patch(0, 0, 4, 4)), 1.0, 0.0, 0.05)], SIZE)
    with pytest.raises(PlanError, match="blind calls"):
        check_verdicts(blind, p.fakes)


# ---- detectors ------------------------------------------------------------------------------------------------------


def test_features_give_the_same_logits_and_the_gradient_stays_in_the_patch(planted):
    detector = planted["off-centre"].detector
    images = torch.rand(3, 3, *SIZE).requires_grad_(True)
    logits = detector.logits(images)
    assert torch.allclose(detector.features(images).logits, logits, atol=1e-5)
    (gradient,) = torch.autograd.grad(logits[:, 1].sum(), images)
    outside = ~detector.parts[0].response.patch.mask(SIZE)
    assert not gradient[..., outside].any() and gradient.abs().sum() > 0


def test_randomised_is_another_detector_of_the_same_draw():
    detector = EvidenceDetector("d", [Part(Contrast(CENTRE), 1.0, 0.0, 0.04)], SIZE)
    a, b = (detector.randomised(["responses"], torch.Generator().manual_seed(1)) for _ in range(2))
    assert a.facts.digest == b.facts.digest != detector.facts.digest
    assert isinstance(a.parts[0].response, Weights) and a.parts[0].response == b.parts[0].response


@pytest.mark.parity
@pytest.mark.parametrize("axis", [1, 2])
def test_along_is_scipys_correlation(axis):
    grey = torch.rand(2, 9, 12, dtype=torch.float64)
    taps = [0.1, -0.4, 0.0, 0.7, 0.2]
    expected = correlate1d(grey.numpy(), taps, axis=axis, mode="nearest")
    assert np.allclose(along(grey, taps, axis).numpy(), expected, atol=1e-12)


def test_a_step_of_one_is_measured_as_one_across_it():
    grey = torch.zeros(1, 20, 20, dtype=torch.float64)
    grey[:, :, 10:] = 1.0
    across, down = steps(grey)
    assert across[0, 5, 9] == pytest.approx(1.0) and across[0, 5, 3] == 0.0
    assert float(down.abs().max()) < 1e-12


def test_a_flat_picture_has_no_texture_anywhere():
    flat = torch.full((1, *SIZE), 0.3, dtype=torch.float64)
    assert float(MissingTexture()(flat).sum()) == pytest.approx(1.0)


# ---- maps -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.75, 0.25, 0.0])
def test_a_mixture_has_exactly_the_correlation_asked_for(share):
    truth = CENTRE.mask(SIZE).double() * torch.rand(SIZE, generator=torch.Generator().manual_seed(0))
    drawn = mixture(truth, share, torch.Generator().manual_seed(1))
    assert correlation(drawn, truth) == pytest.approx(share, abs=1e-12)
    assert float(drawn.min()) == 0.0 and float(drawn.max()) == 1.0


def test_correlation_by_hand():
    a, b = torch.tensor([[0.0, 1.0, 2.0]]), torch.tensor([[0.0, 2.0, 1.0]])
    assert correlation(a, b) == pytest.approx(0.5)
    assert correlation(a, torch.ones(1, 3)) == 0.0


def test_candidates_are_of_the_picture_and_random_ones_differ(planted):
    from xaibench.discovery.registry import Registry

    p = planted["seam"]
    found = {c.name: c for c in candidates(p, 0, 2, (), Registry())}
    assert next(iter(found)) == TRUTH and {"random-0", "random-1", "rung-75", "inverted"} <= found.keys()
    noises = [noise(SIZE, torch.Generator().manual_seed(i)) for i in range(2)]
    assert abs(correlation(*noises)) < 4 / sqrt(48)
