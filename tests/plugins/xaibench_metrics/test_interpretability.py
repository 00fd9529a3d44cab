"""Measures of an inner layer against numbers worked out by hand, on layers whose channels are known."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from xaibench import hold_component
from xaibench.api import Facts, Features, MetricRecord, Passes, PassQuery, Score, Scores, ScoreSpec
from xaibench.discovery import components
from xaibench.discovery.registry import Origin, Registered
from xaibench_metrics.interpretability import concentration, decorrelation, patches, purity
from xaibench_metrics.interpretability.layer import chunks, random_axes
from xaibench_metrics.interpretability.records import INTERPRETABILITY
from xaibench_perturbation import hull_mask
from xaibench_statistics.auc import roc_auc
from xaibench_testing import (
    ContractViolation,
    NotApplicable,
    Subject,
    pictures_of,
    planted_samples,
    score_model,
    value,
)
from xaibench_testing.checks.model_metrics import CHECKS
from xaibench_testing.checks.subject import scores_bytes

RECORDS = {r.name: r for r in INTERPRETABILITY}
SIZE = (12, 12)


class Toy:
    """A detector whose layer is ``grids(images)``, and whose fake logit is the weighted mean of its channels."""

    device = torch.device("cpu")

    def __init__(self, grids, size=SIZE, weights=None, **facts):
        self.grids, self.weights = grids, weights
        given = {"target_layer": "toy", "gives": frozenset(("activations", "gradients"))} | facts
        self.facts = Facts(name="toy", classes=("real", "fake"), real_class=0, input_size=size, digest="toy", **given)

    def features(self, images, layer=None, edit=None):
        grids = self.grids(images)
        channels = grids.mean(dim=(2, 3))
        z = channels @ (torch.ones(grids.shape[1]) if self.weights is None else self.weights)
        return Features(grids, torch.stack((-z / 2, z / 2), dim=1), lambda grid: grid)

    def logits(self, images):
        return self.features(images).logits

    def scores(self, images):
        return self.logits(images).detach()

    def probabilities(self, images):
        return self.scores(images).softmax(dim=1)


def shown(images, labels=None, masks=None, landmarks=None):
    """Pictures of those images, named by their number."""
    base = pictures_of(planted_samples(1), Toy(lambda x: x))[0]
    n = len(images)
    return [
        replace(
            base,
            sample=replace(
                base.sample, id=f"{i:03d}", label=(labels or ["real"] * n)[i], has_mask=masks is not None,
                has_landmarks=landmarks is not None,
            ),
            image=image, mask=None if masks is None else masks[i],
            landmarks=None if landmarks is None else landmarks[i],
        )
        for i, image in enumerate(images)
    ]  # fmt: skip


def use(name, **parameters):
    return components.make(Registered(RECORDS[name], Origin("xaibench", "0", "")), parameters)


def measured(name, detector, pictures, *, batch_size=8, seed=0, **parameters):
    """Values by name, a reason in place of one that is undefined."""
    scores = value(score_model(use(name, **parameters), detector, pictures, seed=seed, batch_size=batch_size))
    return {s.name: s.value if s.status == "ok" else s.reason for s in scores.values}


def flat(*colours, size=SIZE):
    return [torch.full((3, *size), float(c)) for c in colours]


def layer_of(rows):
    """A layer that says ``rows[i]`` ``(K, h, w)`` of the i-th of pictures whose first pixel is i / 100."""
    known = torch.as_tensor(np.asarray(rows), dtype=torch.float32)
    return Toy(lambda images: known[(images[:, 0, 0, 0] * 100).round().long()] + 0 * images.sum())


def numbered(n):
    return shown(flat(*(i / 100 for i in range(n))))


# ---- contracts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("check", CHECKS, ids=lambda c: c.name)
@pytest.mark.parametrize("name", RECORDS)
def test_contract(name, check):
    try:
        check.run(Subject(use(name)))
    except NotApplicable as reason:
        pytest.skip(str(reason))


class Plain:
    """A metric of scope ``model`` that keeps its contract: the mean of all pictures."""

    scores = (ScoreSpec(name="mean", better="none", low=0, high=1, why_not="no map", description="mean colour"),)

    def score(self, case):
        if not case.pictures:
            return Scores.undefined(self.scores, "no picture")
        return Scores((Score(name="mean", value=self.number(case)),))

    def number(self, case):
        return math.fsum(float(p.image.mean()) for p in case.pictures) / len(case.pictures)

    def passes(self, query):
        return Passes()


class FirstPicture(Plain):
    def number(self, case):
        return float(case.pictures[0].image.mean())


class Blackens(Plain):
    def number(self, case):
        case.pictures[0].image.zero_()
        return 0.0


class Unseeded(Plain):
    def number(self, case):
        return float(torch.rand(()))


class Free(Plain):
    def passes(self, query):
        return Passes(1, 0)


class TooHigh(Plain):
    def number(self, case):
        return 2.0


def check_all(subject):
    for check in CHECKS:
        with suppress(NotApplicable):
            check.run(subject)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (Plain, None), (FirstPicture, "order of the pictures"), (Blackens, "in place"), (Unseeded, "the same seed"),
        (Free, "were taken"), (TooHigh, "outside|not in|range"),
    ],
)  # fmt: skip
def test_the_checks_find_what_is_wrong(bad, said):
    record = MetricRecord(name="bad", target="held:Bad", summary="bad", family="interpretability", scope="model")
    subject = Subject(hold_component(record, bad()))
    if said is None:
        check_all(subject)
    else:
        with pytest.raises(ContractViolation, match=said):
            check_all(subject)


@pytest.mark.parametrize("name", RECORDS)
def test_a_detector_without_activations_or_a_layer_has_a_reason(name):
    pictures = shown(flat(0.1, 0.2))
    dark = Toy(lambda x: x, gives=frozenset(), limits={"activations": "a black box"})
    assert set(measured(name, dark, pictures).values()) == {"the detector gives no activations: a black box"}
    nameless = Toy(lambda x: x, target_layer=None)
    assert set(measured(name, nameless, pictures).values()) == {
        "the detector names no target layer: give one with layer="
    }


@pytest.mark.parametrize("name", ["channel-decorrelation", "axis-purity"])
def test_activations_that_are_not_finite_have_a_reason(name):
    detector = Toy(lambda x: functional.adaptive_avg_pool2d(x[:, :1], 2).expand(-1, 4, -1, -1) / 0)
    found = measured(name, detector, shown(flat(0.1, 0.2)), **({"patches": 2, "splits": 1} if "axis" in name else {}))
    assert set(found.values()) == {"an activation of the layer is not finite"}


# ---- channel-decorrelation -------------------------------------------------------------------------------------------

HADAMARD = [[[1, 1], [-1, -1]], [[1, -1], [1, -1]], [[1, -1], [-1, 1]]]


def test_a_white_layer():
    found = measured("channel-decorrelation", layer_of([HADAMARD, HADAMARD]), numbered(2))
    assert found.pop("odc-random") == pytest.approx(0, abs=1e-15)
    assert found == {
        "odc": 0, "whitening-residual": 0, "variance-mean": 1, "variance-sd": 0, "picture-odc": 0,
        "picture-left-out": 0, "constant-channels": 0,
    }  # fmt: skip


def test_two_perfectly_correlated_channels():
    found = measured("channel-decorrelation", layer_of([[[[1, -1]], [[-2, 2]]]]), numbered(1))
    # Sigma = [[1, -2], [-2, 4]]; of a rotation of rank one, too, every two channels are perfectly correlated
    assert found["odc"] == pytest.approx(1, abs=1e-15)
    assert found["odc-random"] == pytest.approx(1, abs=1e-12)
    assert found["whitening-residual"] == pytest.approx(math.sqrt(17 / 2), abs=1e-15)
    assert (found["variance-mean"], found["variance-sd"]) == (2.5, 1.5)


def test_constant_channels_are_left_out_of_the_correlation_and_count_as_not_white():
    # a third of 0.1 everywhere: its mean is not exact in binary
    channels = [*HADAMARD[:2], [[0.1, 0.1], [0.1, 0.1]]]
    found = measured("channel-decorrelation", layer_of([channels] * 3), numbered(3))
    assert (found["odc"], found["picture-odc"]) == (0, 0)
    assert found["constant-channels"] == pytest.approx(1 / 3, abs=1e-15)
    assert found["whitening-residual"] == pytest.approx(math.sqrt(1 / 3), abs=1e-15)


def test_one_varying_channel_has_no_correlation_and_a_constant_layer_nothing():
    one = measured("channel-decorrelation", layer_of([[HADAMARD[0], [[7, 7], [7, 7]]]]), numbered(1))
    assert one["odc"] == "fewer than two channels vary"
    assert one["whitening-residual"] == pytest.approx(math.sqrt(1 / 2), abs=1e-15)
    constant = measured("channel-decorrelation", layer_of([[[[7.0]], [[0.1]]]] * 2), numbered(2))
    assert set(constant.values()) == {"no channel of the layer varies"}


def test_channels_that_vary_between_pictures_alone():
    found = measured("channel-decorrelation", layer_of([[[[1]], [[1]]], [[[-1]], [[-1]]]]), numbered(2))
    assert found["odc"] == pytest.approx(1, abs=1e-15)
    assert found["picture-odc"] == "in no picture do two channels vary"
    assert found["picture-left-out"] == 1


def test_moments_are_numpys_whatever_the_mean():
    grids = np.random.default_rng(0).normal(1000, [[[1]], [[2]], [[3]]], (40, 3, 2, 2)).astype(np.float32)
    grids[:, 1] += grids[:, 0]
    found = measured("channel-decorrelation", layer_of(grids), numbered(40))
    values = np.moveaxis(grids.astype(float), 1, 0).reshape(3, -1)
    off = ~np.eye(3, dtype=bool)
    sigma = np.cov(values, bias=True)
    assert found["odc"] == pytest.approx(np.abs(np.corrcoef(values)[off]).mean(), abs=1e-12)
    assert found["whitening-residual"] == pytest.approx(np.linalg.norm(sigma - np.eye(3)) / math.sqrt(3), abs=1e-9)
    own = [np.abs(np.corrcoef(g.reshape(3, -1).astype(float))[off]).mean() for g in grids]
    assert found["picture-odc"] == pytest.approx(np.mean(own), abs=1e-12)


def test_the_random_rotations_odc_is_that_of_the_rotated_channels():
    grid = torch.randn((4, 5, 6), generator=torch.Generator().manual_seed(1))
    axes = random_axes(3, 4, 4)
    turned = (axes @ grid.double().flatten(1)).numpy()
    expected = np.abs(np.corrcoef(turned)[~np.eye(4, dtype=bool)]).mean()
    assert decorrelation.rotated_odc(decorrelation.moments_of(grid).covariance, axes) == pytest.approx(expected)


@pytest.mark.parametrize(("axes", "channels"), [(1, 1), (3, 7), (9, 9)])
def test_random_axes_are_orthonormal(axes, channels):
    found = random_axes(5, axes, channels)
    torch.testing.assert_close(found @ found.T, torch.eye(axes, dtype=torch.float64), atol=1e-14, rtol=0)
    with pytest.raises(ValueError, match="have no"):
        random_axes(5, channels + 1, channels)


def test_random_axes_favour_no_direction():
    first = torch.stack([random_axes(seed, 2, 3) for seed in range(2000)])
    torch.testing.assert_close(first.mean(dim=0), torch.zeros(2, 3, dtype=torch.float64), atol=0.05, rtol=0)
    torch.testing.assert_close(first.square().mean(dim=0), torch.full((2, 3), 1 / 3).double(), atol=0.03, rtol=0)


# ---- patches ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "grid"), [((12, 12), 3), ((10, 7), 4), ((256, 256), 10)])
def test_patches_part_the_picture_at_whole_pixels(size, grid):
    masks = patches.patch_masks(grid, "columns", size)
    assert (masks.sum(dim=0) == 1).all()
    for p in range(grid**2):
        j, i = divmod(p, grid)  # down the columns
        rows, columns = (slice(int(k * n / grid), int((k + 1) * n / grid)) for k, n in ((i, size[0]), (j, size[1])))
        assert masks[p, rows, columns].all()
    across = patches.patch_masks(grid, "rows", size)
    assert torch.equal(across[1], masks[grid])


def test_a_picture_with_fewer_pixels_than_patches_is_refused():
    with pytest.raises(ValueError, match="no 5 x 5 patches"):
        patches.patch_masks(5, "rows", (4, 9))


def test_variants_show_or_hide_one_patch():
    image = torch.rand((1, 3, 4, 4), generator=torch.Generator().manual_seed(0))
    kind, patch = patches.variants(4)
    assert kind.tolist() == [0, 1, 1, 1, 1, 2, 2, 2, 2]
    assert patch.tolist() == [0, 0, 1, 2, 3, 0, 1, 2, 3]
    masks = patches.patch_masks(2, "columns", (4, 4))
    colour = torch.tensor([[0.1, 0.2, 0.3]]).expand(9, 3)
    found = patches.show_variant(image.expand(9, -1, -1, -1), kind, patch, colour, masks)
    assert torch.equal(found[0], image[0])
    assert torch.equal(found[2][:, 2:, :2], image[0][:, 2:, :2])  # patch 1 is below patch 0
    assert torch.equal(found[2][:, :2], colour[0][:, None, None].expand(3, 2, 4))
    assert torch.equal(found[6][:, 2:, :2], colour[0][:, None, None].expand(3, 2, 2))
    assert torch.equal(found[6][:, :2], image[0][:, :2])


def test_ground_colours():
    images = flat(0.2, 0.6)
    for fill, expected in {"mean": (0.4, 0.4), "picture": (0.2, 0.6)}.items():
        found = patches.ground_colours(images, fill, None)
        torch.testing.assert_close(found, torch.tensor(expected)[:, None].expand(2, 3).float())
    assert torch.equal(patches.ground_colours(images, "mean", (0.25, 0, 1)), torch.tensor([[0.25, 0, 1]] * 2))


def test_an_axis_activation_as_one_number():
    grid = torch.tensor([[[[-1.0, 2, 0, -9], [4, 0, 0, -9], [0, 0, 0, -9]], [[-1.0] * 4] * 3]])
    expected = {"mean": (5 - 27) / 12, "max": 4, "pos-mean": 3, "pool-max": 4}
    for kind, first in expected.items():
        found = patches.pooled(grid, kind)
        torch.testing.assert_close(found, torch.tensor([[first, 0.0 if kind == "pos-mean" else -1.0]]))
    assert patches.pooled(grid[:, :, :2, :2], "pool-max").tolist() == [[4, -1]]


# ---- the mathematics of axis-purity ------------------------------------------------------------------------------------


def test_patch_aucs_are_those_of_each_pair_of_channel_and_patch():
    responses = np.random.default_rng(0).integers(0, 6, (7, 4, 5)).astype(np.float32)  # with ties
    found = purity.patch_aucs(responses)
    for p in range(4):
        rest = np.delete(responses, p, axis=1)
        for k in range(5):
            expected = roc_auc(responses[:, p, k].astype(float), rest[:, :, k].ravel().astype(float))
            assert found[p, k] == pytest.approx(expected, abs=1e-12)


def test_folds_part_the_pictures_evenly():
    parts = purity.folds(11, 5, np.random.default_rng(0))
    assert sorted(map(len, parts)) == [2, 2, 2, 2, 3]
    assert sorted(np.concatenate(parts).tolist()) == list(range(11))


def test_diagonal_share_counts_ties_by_their_share():
    matrix = np.array([[3.0, 1, 0], [1, 1, 0], [0, 0, 0]])
    assert purity.diagonal_share(matrix) == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)


def test_margin_in_standard_deviations():
    matrix = np.array([[3.0, 1, 0], [1, 4, 5], [2, 2, 2]])
    assert purity.mean_margin(matrix, np.array([2.0, 0.5, 0.0])) == pytest.approx((1 - 2 + 0) / 3)


def test_ranks_and_hits_with_ties():
    responses = np.array([[[5.0, 1, 1], [9, 2, 2], [0, 0, 0]]])  # (1, 3, 3)
    above, tied = purity.ranks_of_own(responses)
    assert (above.tolist(), tied.tolist()) == ([[0, 1, 0]], [[0, 1, 2]])
    assert purity.hit_rate(above, tied, 1) == pytest.approx((1 + 0 + 1 / 3) / 3)
    assert purity.hit_rate(above, tied, 2) == pytest.approx((1 + 1 / 2 + 2 / 3) / 3)


def test_energy_ratio_is_a_quotient_of_means():
    assert purity.energy_ratio(np.array([[[3.0, -4], [0, 5]], [[0, 0], [12, 5]]])) == pytest.approx(13 / 23)
    assert purity.energy_ratio(np.zeros((2, 3, 3))) is None


def test_gap_and_concentration():
    weights = np.array([[1.0, 0.25], [0, 0.5]])
    assert purity.patch_gap(weights) == pytest.approx((0.75 + 0.5) / 2)
    even = 1 + (0.8 * math.log(0.8) + 0.2 * math.log(0.2)) / math.log(2)
    assert purity.concentration(weights) == pytest.approx((even * 1.25 + 1 * 0.5) / 1.75)
    assert purity.concentration(np.eye(3)) == 1
    assert purity.concentration(np.ones((3, 3))) == pytest.approx(0, abs=1e-15)
    assert purity.concentration(np.zeros((3, 3))) is None
    assert purity.importance(np.array([0.2, 0.5, 0.75])).tolist() == [0, 0, 0.5]


# ---- axis-purity -----------------------------------------------------------------------------------------------------

GRID = 3
P = GRID**2


def patch_means(images, shift=0, extra=0):
    """``(N, P + extra, 1, 1)``: channel j is the mean of patch j + shift, numbered down the columns; then zeros."""
    cells = functional.avg_pool2d(images.mean(dim=1), SIZE[0] // GRID).transpose(1, 2).flatten(1)
    return functional.pad(cells.roll(-shift, dims=1), (0, extra))[:, :, None, None]


def purity_of(grids, pictures=None, **parameters):
    given = {"patches": GRID, "colour": [0, 0, 0], "activation": "mean"} | parameters
    return measured("axis-purity", Toy(grids), shown(flat(*[0.5] * 10)) if pictures is None else pictures, **given)


def test_a_layer_whose_channels_are_the_patches():
    found = purity_of(lambda x: patch_means(x, extra=3))
    expected = dict.fromkeys(
        ("axis-auc", "diagonal-share", "mean-rank", "hit-1", "hit-3", "hit-5", "energy-ratio", "gap", "disentanglement",
         "completeness", "occlusion-diagonal-share", "best-channel-auc"), 1.0,
    )  # fmt: skip
    expected |= {"margin": 1 / math.sqrt(1 / P * (1 - 1 / P)), "axis-auc-sd": 0}
    assert {k: v for k, v in found.items() if not k.endswith("-random")} == pytest.approx(expected, abs=1e-12)


def test_a_layer_whose_channels_are_other_patches():
    found = purity_of(lambda x: patch_means(x, shift=1))
    # on patch p axis p - 1 answers; axis p ties with the others at 0
    assert found["axis-auc"] == pytest.approx((P - 2) / (P - 1) / 2)
    assert found["diagonal-share"] == found["occlusion-diagonal-share"] == found["hit-1"] == found["energy-ratio"] == 0
    assert found["hit-3"] == pytest.approx(2 / (P - 1))
    assert found["mean-rank"] == pytest.approx(2 + (P - 2) / 2)
    assert found["best-channel-auc"] == found["completeness"] == found["gap"] == 1


def test_patches_numbered_along_rows_are_others():
    found = purity_of(patch_means, order="rows")
    assert found["diagonal-share"] == found["hit-1"] == pytest.approx(GRID / P)  # those on the diagonal


@pytest.mark.parametrize("extra", [0, 7])
def test_random_rotations_score_what_chance_does(extra):
    found = purity_of(lambda x: patch_means(x, extra=extra), draws=300)
    assert found["axis-auc-random"] == pytest.approx(0.5, abs=0.02)
    assert found["diagonal-share-random"] == pytest.approx(1 / P, abs=0.02)
    assert found["occlusion-diagonal-share-random"] == pytest.approx(1 / P, abs=0.02)
    assert found["mean-rank-random"] == pytest.approx((P + 1) / 2, abs=0.15)
    for k in (1, 3, 5):
        assert found[f"hit-{k}-random"] == pytest.approx(k / P, abs=0.03)
    if not extra:  # |first entry| of a unit vector in P dimensions; about sqrt(1 / P)
        mean = math.gamma(P / 2) / math.sqrt(math.pi) / math.gamma((P + 1) / 2)
        assert found["energy-ratio-random"] == pytest.approx(mean, abs=0.01)


def test_pooling_by_the_largest_sees_what_the_mean_cancels():
    def cancelling(images):
        cells = patch_means(images)
        return torch.cat([cells, -cells], dim=3)

    mean, largest = (purity_of(cancelling, activation=how) for how in ("mean", "max"))
    assert set(mean.values()) == {"the layer says the same of every patch picture"}
    assert largest["axis-auc"] == largest["diagonal-share"] == 1
    assert largest["axis-auc-random"] == pytest.approx(0.5, abs=0.25)


def test_the_rotation_comes_before_the_pooling():
    images = torch.rand((2, 3, *SIZE), generator=torch.Generator().manual_seed(2))
    detector = Toy(lambda x: functional.avg_pool2d(x, 4).repeat(1, 2, 1, 1) * torch.arange(1, 7)[:, None, None])
    kind, patch = torch.zeros(2, dtype=torch.int64), torch.zeros(2, dtype=torch.int64)
    axes = torch.cat([random_axes(seed, 4, 6) for seed in (1, 2)])
    grids = detector.grids(images).double()
    for how in ("mean", "max", "pool-max", "pos-mean"):
        compute = patches.PatchResponses(None, 2, "columns", how, (1, 2))
        channels, turned = compute(detector, images, kind, (kind, patch, torch.zeros(2, 3)))
        expected = patches.pooled(torch.einsum("ak,bkhw->bahw", axes, grids), how)
        torch.testing.assert_close(turned, expected.float(), atol=1e-6, rtol=0)
        torch.testing.assert_close(channels, patches.pooled(grids, how).float())


def test_a_constant_layer_few_channels_and_few_pictures_have_reasons():
    def said(grids, **parameters):
        return set(purity_of(grids, **parameters).values())

    assert said(lambda x: patch_means(x) * 0 + 0.1) == {"the layer says the same of every patch picture"}
    assert said(lambda x: patch_means(x)[:, :8]) == {"the layer has 8 channels, fewer than the 9 cells: lower patches"}
    assert said(patch_means, splits=11) == {"10 picture(s) cannot be parted in 11: lower splits"}
    assert said(patch_means, patches=13) == {"a picture of 12 x 12 pixels has no 13 x 13 patches"}
    assert not any("has no 12 x 12 patches" in str(value) for value in said(patch_means, patches=12))
    assert said(patch_means, layer=None, pictures=[]) == {"there is no picture that the detector could be shown"}


def test_dead_axes_score_what_chance_does_and_few_axes_have_no_hits():
    found = purity_of(lambda x: torch.cat([patch_means(x) * 0, patch_means(x)], dim=1))
    assert found["axis-auc"] == 0.5
    assert (found["diagonal-share"], found["hit-1"]) == pytest.approx((1 / P, 1 / P))
    assert (found["margin"], found["mean-rank"]) == (0, (P + 1) / 2)
    assert found["energy-ratio"] == "the axes are 0 on every patch"
    assert found["disentanglement"] == "no axis tells any patch from the others"
    assert found["best-channel-auc"] == 1
    few = purity_of(lambda x: functional.adaptive_avg_pool2d(x.mean(1), 2).flatten(1)[:, :, None, None], patches=2)
    assert few["hit-5"] == few["hit-5-random"] == "there are only 4 axes: 5 of them are all"


def noisy(n, size=SIZE):
    return shown(torch.rand((n, 3, *size), generator=torch.Generator().manual_seed(4)).unbind())


@pytest.mark.parametrize("name", RECORDS)
def test_neither_the_order_nor_the_batch_matters(name):
    masks = [torch.ones(SIZE, dtype=torch.bool).tril()] * 20
    points = [torch.tensor([[2.0, 2], [9, 2], [4, 8]])] * 20
    given = {"patches": GRID, "pictures": 12} if name == "axis-purity" else {}
    pictures = shown([p.image for p in noisy(20)], None, masks, points)
    detector = Toy(lambda x: functional.avg_pool2d(x, 4).repeat(1, 4, 1, 1) * torch.arange(12)[:, None, None])

    def scored(shown, batch_size):
        return scores_bytes(value(score_model(use(name, **given), detector, shown, batch_size=batch_size)))

    first = scored(pictures, 8)
    assert scored([pictures[i] for i in np.random.default_rng(0).permutation(20)], 8) == first
    assert scored(pictures, 3) == first
    assert scored(pictures, 64) == first


def test_pictures_are_drawn_up_to_the_limit_and_cost_what_is_said():
    metric, detector, pictures = use("axis-purity", patches=GRID, pictures=6), Toy(patch_means), noisy(9)
    done = score_model(metric, detector, pictures)
    assert done.passes == Passes(6 * (1 + 2 * P))
    said = metric.instance.passes(PassQuery(sample=pictures[0].sample, facts=detector.facts))
    assert said == Passes(1 + 2 * P, 0, exact=False)
    assert scores_bytes(value(score_model(metric, detector, pictures, seed=1))) != scores_bytes(value(done))


def test_curves_show_each_axis():
    curves = value(
        score_model(use("axis-purity", patches=GRID, colour=(0, 0, 0)), Toy(patch_means), shown(flat(*[0.5] * 5)))
    ).curves
    assert {(c.name, c.item): list(c.y) for c in curves} == {
        ("axis-auc", ""): [1] * P, ("patch-response", "own"): [0.5] * P, ("patch-response", "other"): [0] * P,
    }  # fmt: skip


# ---- region-share ----------------------------------------------------------------------------------------------------


def three_channels(images):
    """Left half, everywhere (negative), nowhere: ``(N, 3, 2, 2)``."""
    left = torch.tensor([[1.0, 0], [1, 0]])
    return torch.stack([left, -torch.ones(2, 2), torch.zeros(2, 2)]).expand(len(images), -1, -1, -1) + 0 * images.sum()


def test_region_share():
    mask = torch.zeros(SIZE, dtype=torch.bool)
    mask[:, :3] = True  # half of the left cells
    found = measured("region-share", Toy(three_channels), shown(flat(0.1, 0.2), None, [mask, torch.zeros_like(mask)]))
    # left half: 1/2 of its energy; everywhere: 1/4; nowhere: left out. The empty mask is none.
    assert found["mask-share"] == pytest.approx(3 / 8)
    assert (found["mask-area"], found["mask-lift"]) == (1 / 4, pytest.approx(3 / 2))
    assert found["hull-share"] == found["hull-lift"] == "no picture has landmarks"


def test_region_share_of_the_first_axes_and_of_a_dark_layer():
    mask = torch.zeros(SIZE, dtype=torch.bool)
    mask[:, :6] = True
    pictures = shown(flat(0.1), None, [mask])
    assert measured("region-share", Toy(three_channels), pictures, axes=1)["mask-lift"] == 2
    dark = measured("region-share", Toy(lambda x: three_channels(x) * 0), pictures)
    assert dark["mask-share"] == "the channels are 0 on every picture with the region"
    assert dark["mask-area"] == 0.5


def test_hull_of_landmarks():
    found = hull_mask(torch.tensor([[1.0, 1], [3, 1], [1, 3]]), (5, 5))
    expected = torch.zeros(5, 5, dtype=torch.bool)
    expected[1, 1:4] = expected[2, 1:3] = expected[3, 1] = True
    assert torch.equal(found, expected)
    assert hull_mask(torch.tensor([[0.0, 0], [1, 1], [2, 2]]), (5, 5)) is None
    assert hull_mask(torch.tensor([[0.0, 0], [1, 1]]), (5, 5)) is None
    assert hull_mask(None, (5, 5)) is None


# ---- cam-concentration -----------------------------------------------------------------------------------------------


def test_class_activation_map_of_pooling_and_a_linear_layer():
    activations = torch.tensor([[[[1.0, 2], [3, 4]], [[1, 0], [0, 1]]]])
    weights = torch.tensor([2.0, -3])  # d(w . mean a) / da = w / 4 everywhere
    gradients = (weights / 4)[None, :, None, None].expand_as(activations)
    expected = torch.tensor([[[0.0, 4], [6, 5]]]).double() / 4
    torch.testing.assert_close(concentration.class_activation_map(activations, gradients), expected)


def test_shares_of_the_mean_class_activation_map():
    maps = torch.tensor([[[0.0, 4], [2.2, 1]], [[3, 7], [5.2, 4]], [[1, 1], [1, 1]]]).double()
    even = concentration.stretched(maps, 2)  # of its own size: nothing to enlarge
    torch.testing.assert_close(even[1], torch.tensor([[0, 1], [0.55, 0.25]]).double())
    assert len(even) == 2
    found = concentration.figures_of(even.sum(dim=0), 2, 3)
    spread = float(np.std([0, 1, 0.55, 0.25]))
    assert found == pytest.approx({"above-50": 1 / 2, "above-60": 1 / 4, "spread": spread, "left-out": 1 / 3})


def test_concentration_is_of_the_likeliest_class_of_real_pictures():
    bump = torch.tensor([[0.0, 4], [2.2, 1]])

    def grids(images):
        return torch.stack([bump, 4 - bump]).expand(len(images), -1, -1, -1) * images[:, :1, :1, :1]

    # z = mean(a_0) - mean(a_1) is negative: real, whose map is relu(-a_0 + a_1) = relu(4 - 2 bump)
    detector = Toy(grids, weights=torch.tensor([1.0, -1]))
    pictures = shown(flat(0.5, 0.9, 0.0), ["real", "fake", "real"])
    found = measured("cam-concentration", detector, pictures, side=2)
    mean = np.array([4, 0, 0, 2]) / 4
    assert found == pytest.approx(
        {"above-50": 1 / 4, "above-60": 1 / 4, "spread": float(mean.std()), "left-out": 1 / 2}, abs=1e-6
    )
    nobody = measured("cam-concentration", detector, pictures[:1], side=2, label="fake")
    assert set(nobody.values()) == {"there is no fake picture"}
    blank = measured("cam-concentration", detector, pictures[2:], side=2)
    assert blank["left-out"] == 1
    assert blank["spread"] == "the class activation map of every picture is constant"


def test_sixteen_pictures_are_held_at_once():
    assert [list(c) for c in chunks(range(33))] == [[*range(16)], [*range(16, 32)], [32]]
