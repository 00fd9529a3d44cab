"""Localisation against manipulation masks: numbers worked out by hand, other libraries, and where we differ."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score, jaccard_score, precision_score, recall_score, roc_auc_score
from torch import Tensor, nn

from xaibench.api import Passes, PassQuery, Picture, Score, UsageError, build_parameters, parameter_class
from xaibench_metrics.localisation.masks import (
    AttributionLocalisation,
    MaskAuc,
    PointingGame,
    TopK,
    attribution_localisation,
    mask_auc,
    relevance_rank,
    share_of_top,
)
from xaibench_metrics.localisation.overlap import Iou, cut_halfway, iou, iou_matched, precision_recall_f1
from xaibench_metrics.localisation.records import LOCALISATION
from xaibench_testing import planted_samples
from xaibench_testing.harness import drawn_by, score, value
from xaibench_testing.planted import FAKE, PATCH, REAL, SIZE, ConstantDetector
from xaibench_testing.planted_data import pictures_of

NEW = (MaskAuc, Iou, AttributionLocalisation, TopK)
SALIENCY = torch.tensor([[4.0, 1.0, -2.0], [3.0, 2.0, 0.0]])
MASK = torch.tensor([[True, False, True], [False, True, False]])
"""In the mask: 4, 2 and -2. Outside: 3, 1 and 0."""


def make(cls: Any, **values: Any) -> Any:
    return cls(build_parameters(parameter_class(cls), values, "x"))


def random_map(seed: int, size: tuple[int, int] = SIZE) -> Tensor:
    return torch.rand(size, generator=torch.Generator().manual_seed(seed))


def fake(mask: Tensor | None = None) -> Picture:
    """A planted fake, whose mask is an eighth of the picture, or the one given."""
    picture = next(p for p in pictures_of(planted_samples(1), ConstantDetector()) if p.sample.label == "fake")
    return picture if mask is None else replace(picture, mask=mask)


def scores_of(metric: Any, saliency: Tensor, picture: Picture | None = None, target: int = FAKE) -> dict[str, Score]:
    done = score(metric, drawn_by(lambda r: saliency), ConstantDetector(), [picture or fake()], target)[0]
    assert done.passes == Passes() == metric.passes(PassQuery(sample=fake().sample, facts=ConstantDetector().facts))
    return {s.name: s for s in value(done).values}


def values_of(metric: Any, saliency: Tensor, picture: Picture | None = None) -> dict[str, float]:
    found = scores_of(metric, saliency, picture)
    assert all(s.status == "ok" for s in found.values())
    return {name: s.value for name, s in found.items() if s.value is not None}


EVIDENCE = PATCH.mask(SIZE).float()


# ---- by hand --------------------------------------------------------------------------------------------------------


def test_mask_auc_by_hand() -> None:
    # of nine pairs the 4 wins three, the 2 wins two (against 1 and 0), the -2 none
    assert mask_auc(SALIENCY, MASK) == 5 / 9
    assert mask_auc(-SALIENCY, MASK) == 4 / 9
    # 2 = 2 counts half: of the pairs of 2, 1 inside and 2, 0 outside 1/2 + 1 + 0 + 1
    tied = torch.tensor([[2.0, 1.0, 2.0, -0.0]])
    assert mask_auc(tied, torch.tensor([[True, True, False, False]])) == 2.5 / 4
    assert mask_auc(torch.zeros(3, 4), random_map(0, (3, 4)) < 0.5) == 0.5


def test_attribution_localisation_by_hand() -> None:
    assert attribution_localisation(SALIENCY, MASK) == (4 + 2 + 2) / 12  # the -2 counts as much as the 2
    assert attribution_localisation(torch.zeros(2, 3), MASK) is None


def test_share_of_the_top_by_hand() -> None:
    # in falling order: in, out, in, out, out, in
    assert [share_of_top(SALIENCY, MASK, k) for k in range(1, 7)] == [1, 1 / 2, 2 / 3, 1 / 2, 2 / 5, 1 / 2]
    # two places for three pixels of the same value, one of them in the mask
    assert share_of_top(torch.tensor([5.0, 1, 1, 1]), torch.tensor([True, True, False, False]), 3) == (1 + 2 / 3) / 3


@pytest.mark.parametrize(("share", "k"), [(0.002, 3), (0.1, 154), (0.125, 192), (1.0, 1536), (1e-9, 1)])
def test_top_k_takes_its_share_of_the_picture(share: float, k: int) -> None:
    # the mask's 192 pixels come first: the top k lie inside as far as there is room
    found = values_of(make(TopK, share=share), 2 * EVIDENCE + random_map(0))["top-k"]
    assert found == min(1, 192 / k)


def test_iou_by_hand() -> None:
    # the three most salient are 4, 3 and 2, of which 4 and 2 lie inside: 2 of 4 in the union
    assert iou_matched(SALIENCY, MASK) == pytest.approx(2 / 4)
    # halfway between -2 and 4 is 1: 4, 1, 3 and 2 are chosen, 2 of them inside, the union has 5
    chosen = cut_halfway(SALIENCY)
    assert chosen is not None
    assert chosen.tolist() == [[True, True, False], [True, True, False]]
    assert iou(chosen, MASK) == 2 / 5
    assert precision_recall_f1(chosen, MASK) == (2 / 4, 2 / 3, 4 / 7)
    found = values_of(make(Iou), 2 * EVIDENCE - 1)
    assert found == dict.fromkeys(("iou-matched", "iou-half", "precision", "recall", "f1"), 1.0)


def test_iou_of_the_same_place_one_row_lower() -> None:
    # 11 of 12 rows of the patch remain: 176 pixels of 208 in the union
    found = values_of(make(Iou), EVIDENCE.roll(1, dims=0))
    assert found["iou-matched"] == pytest.approx(176 / 208)
    assert found["iou-half"] == pytest.approx(176 / 208)
    assert found["precision"] == found["recall"] == found["f1"] == pytest.approx(176 / 192)


def test_an_empty_union_is_a_perfect_overlap() -> None:
    none = torch.zeros(2, 3, dtype=torch.bool)
    assert iou(none, none) == 1
    assert iou(none, MASK) == iou(MASK, none) == 0
    assert iou(MASK, MASK) == 1


def test_pixels_tied_at_the_threshold_share_the_places() -> None:
    # two places, three pixels of value 1: each belongs by 2/3, so 1 + 2/3 of 2 + 1/3 + ... = h / (6 - h), h = 1 + 2/3
    saliency = torch.tensor([[5.0, 1.0, 1.0], [1.0, 0.0, 0.0]])
    mask = torch.tensor([[True, True, False], [False, True, False]])
    assert iou_matched(saliency, mask) == pytest.approx((5 / 3) / (6 - 5 / 3))
    for seed in range(5):
        m, a = random_map(seed) < 0.2, random_map(seed + 9)
        chosen = a >= a.flatten().topk(int(m.sum())).values[-1]
        assert iou_matched(a, m) == pytest.approx(iou(chosen, m), abs=1e-12)
        assert iou_matched(a, m) == pytest.approx(relevance_rank(a, m) / (2 - relevance_rank(a, m)))


def test_chance_is_the_mask_s_share_of_the_picture() -> None:
    metric = make(PointingGame)
    for saliency, hit in ((EVIDENCE, 1.0), (1 - EVIDENCE, 0.0), (torch.ones(SIZE), 0.125)):
        assert values_of(metric, saliency) == {"pointing-game": hit, "chance": 0.125}
    pointing, chance = metric.scores
    assert (pointing.version, pointing.primary) == (1, True)
    assert (chance.better, chance.primary) == ("none", False)


# ---- invariants -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("measure", [mask_auc, iou_matched, lambda a, m: share_of_top(a, m, 40)])
def test_measures_of_the_order_see_nothing_but_the_order(measure: Callable[[Tensor, Tensor], float]) -> None:
    for seed in range(4):
        saliency, mask = random_map(seed), random_map(seed + 50) < 0.3
        assert measure(saliency, mask) == measure((7 * saliency.double()).exp() - 3, mask)
        order = torch.randperm(saliency.numel(), generator=torch.Generator().manual_seed(seed))
        moved = (t.flatten()[order].view(SIZE) for t in (saliency, mask))
        assert measure(*moved) == measure(saliency, mask)


def test_auc_of_the_map_turned_round_or_of_the_outside_is_the_rest() -> None:
    saliency, mask = (random_map(0) * 5).floor(), random_map(1) < 0.2
    assert mask_auc(-saliency, mask) == pytest.approx(1 - mask_auc(saliency, mask), abs=1e-15)
    assert mask_auc(saliency, ~mask) == pytest.approx(1 - mask_auc(saliency, mask), abs=1e-15)


def test_auc_is_counted_without_overflow() -> None:
    # 512 x 512 pixels: 1.7e10 pairs
    saliency, mask = torch.zeros(512, 512), torch.zeros(512, 512, dtype=torch.bool)
    mask[:256] = True
    saliency[:255] = 1.0
    assert mask_auc(saliency, mask) == (255 + 0.5) / 256


def test_the_cut_does_not_move_with_offset_and_scale() -> None:
    saliency = (random_map(0) * 64).floor()  # exact in float32 after both
    expected = cut_halfway(saliency)
    assert expected is not None
    for changed in (4 * saliency - 100, saliency / 1024, saliency * 2.0**100):
        assert torch.equal(cut_halfway(changed), expected)  # type: ignore[arg-type]
    assert cut_halfway(torch.full(SIZE, 0.3)) is None


def test_attribution_localisation_does_not_see_signs_and_scale() -> None:
    saliency, mask = random_map(0) - 0.5, random_map(1) < 0.3
    expected = attribution_localisation(saliency, mask)
    for changed in (-saliency, saliency.abs(), 8 * saliency):
        assert attribution_localisation(changed, mask) == expected


def test_a_constant_map_localises_like_chance() -> None:
    flat = torch.full(SIZE, 0.7)
    assert values_of(make(MaskAuc), flat) == {"mask-auc": 0.5}
    assert values_of(make(AttributionLocalisation), flat)["attribution-localisation"] == pytest.approx(0.125)
    assert values_of(make(TopK), flat)["top-k"] == pytest.approx(0.125)
    found = scores_of(make(Iou), flat)
    assert found["iou-matched"].value == pytest.approx(0.125 / (2 - 0.125))
    for name in ("iou-half", "precision", "recall", "f1"):
        assert (found[name].status, found[name].reason) == ("undefined", "the map is constant: it cannot be cut")


# ---- undefined ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", NEW)
def test_localisation_says_why_it_is_undefined(cls: Any) -> None:
    picture, saliency = fake(), random_map(0)
    assert picture.mask is not None
    real = replace(picture, sample=replace(picture.sample, label="real"))
    situations = [
        (real, FAKE, "real pictures have no mask"),
        (replace(picture, mask=None), FAKE, "the picture has no mask"),
        (picture, REAL, "the class explained is real: its evidence is not what the mask shows"),
        (fake(torch.zeros(SIZE, dtype=torch.bool)), FAKE, "the mask is empty"),
        (fake(torch.ones(SIZE, dtype=torch.bool)), FAKE, "the mask covers the whole picture: there is no outside"),
    ]
    for shown, target, reason in situations:
        found = scores_of(make(cls), saliency, shown, target)
        assert {(s.status, s.reason, s.value) for s in found.values()} == {("undefined", reason, None)}


def test_a_map_of_zeros_has_no_attribution() -> None:
    found = scores_of(make(AttributionLocalisation), torch.zeros(SIZE))["attribution-localisation"]
    assert (found.status, found.reason) == ("undefined", "the map is zero everywhere")


@pytest.mark.parametrize("share", [0, 1.5])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(UsageError, match="share"):
        make(TopK, share=share)


# ---- evidence -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", NEW)
def test_true_evidence_comes_first_and_its_opposite_last(cls: Any) -> None:
    metric = make(cls)
    best, worst = values_of(metric, EVIDENCE), values_of(metric, 1 - EVIDENCE)
    random = [values_of(metric, random_map(i)) for i in range(20)]
    for spec in metric.scores:
        assert spec.ranks_evidence and spec.better == "higher"
        chance = np.mean([r[spec.name] for r in random])
        assert best[spec.name] == 1 and worst[spec.name] == 0
        assert 0.02 < chance < 0.6


def test_chance_levels_are_as_described() -> None:
    draws = [random_map(i) for i in range(60)]
    mask = PATCH.mask(SIZE)
    assert np.mean([mask_auc(a, mask) for a in draws]) == pytest.approx(0.5, abs=0.01)
    assert np.mean([share_of_top(a, mask, 31) for a in draws]) == pytest.approx(0.125, abs=0.03)
    # independent of a: (A/P) / (2 - A/P) but for the curvature
    assert np.mean([iou_matched(a, mask) for a in draws]) == pytest.approx(0.125 / 1.875, abs=0.01)
    halves = [c for c in map(cut_halfway, draws) if c is not None]
    precision, recall, f1 = np.mean([precision_recall_f1(c, mask) for c in halves], axis=0)
    assert (precision, recall, f1) == pytest.approx((0.125, 0.5, 0.2), abs=0.02)


def test_every_measure_is_registered_with_its_own_direction() -> None:
    records = {r.target.partition(":")[2]: r for r in LOCALISATION}
    for cls in NEW:
        record = records[cls.__name__]
        assert record.needs == {"mask"} and record.better == cls.scores[0].better


# ---- other libraries ------------------------------------------------------------------------------------------------


def test_auc_and_overlap_are_scikit_learn_s() -> None:
    for seed, levels in itertools.product(range(4), (3, 17, None)):
        saliency, mask = random_map(seed) - 0.4, random_map(seed + 50) < 0.2
        saliency = saliency if levels is None else (saliency * levels).round()
        flat, truth = saliency.flatten().numpy(), mask.flatten().numpy()
        assert mask_auc(saliency, mask) == pytest.approx(roc_auc_score(truth, flat), abs=1e-12)
        chosen = cut_halfway(saliency)
        assert chosen is not None
        cut = chosen.flatten().numpy()
        assert iou(chosen, mask) == pytest.approx(jaccard_score(truth, cut), abs=1e-12)
        theirs = [f(truth, cut) for f in (precision_score, recall_score, f1_score)]
        assert precision_recall_f1(chosen, mask) == pytest.approx(theirs, abs=1e-12)


@pytest.fixture
def quantus(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    if not hasattr(np, "trapz"):  # gone from numpy 2.4; Quantus 0.6.0 calls it
        monkeypatch.setattr(np, "trapz", np.trapezoid, raising=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield pytest.importorskip("quantus")


def theirs(metric: Any, maps: Tensor, masks: Tensor) -> list[float]:
    found = metric(
        model=nn.Sequential(nn.Flatten(), nn.Linear(1024, 2)), x_batch=np.zeros((len(maps), 1, 32, 32), np.float32),
        y_batch=np.ones(len(maps), int), a_batch=maps[:, None].numpy(), s_batch=masks[:, None].numpy(), device="cpu",
    )  # fmt: skip
    return [float(v) for v in found]


def squares(n: int = 6) -> Tensor:
    masks = torch.zeros(n, 32, 32, dtype=torch.bool)
    for i in range(n):
        masks[i, 2 * i : 2 * i + 12, 3 * i : 3 * i + 9] = True
    return masks


@pytest.mark.parity
@pytest.mark.parametrize(
    ("name", "options", "ours"),
    [
        ("AttributionLocalisation", {"abs": True}, attribution_localisation),
        ("TopKIntersection", {"k": 100}, lambda a, m: share_of_top(a, m, 100)),
        ("AUC", {}, mask_auc),
    ],
)
def test_localisation_equals_quantus(quantus: Any, name: str, options: dict[str, Any], ours: Any) -> None:
    # signed maps without ties, masks that are neither empty nor whole; we differ on purpose elsewhere
    maps, masks = torch.stack([random_map(i, (32, 32)) - 0.4 for i in range(6)]), squares()
    metric = getattr(quantus, name)(**{"abs": False, **options}, normalise=False, disable_warnings=True)
    for a, m, their in zip(maps, masks, theirs(metric, maps, masks), strict=True):
        assert ours(a, m) == pytest.approx(their, rel=1e-4)


@pytest.mark.parity
def test_ties_where_we_differ_from_quantus_on_purpose(quantus: Any) -> None:
    # of 512 equal pixels it takes the first hundred in whatever order its sort leaves them; the expectation is ours
    saliency, mask = torch.zeros(32, 32), torch.zeros(32, 32, dtype=torch.bool)
    saliency[:16], mask[:8, :16] = 1.0, True
    metric = quantus.TopKIntersection(k=100, abs=False, normalise=False, disable_warnings=True)
    turned = (saliency.flip(1), mask.flip(1))
    found = theirs(metric, torch.stack([saliency, turned[0]]), torch.stack([mask, turned[1]]))
    assert found[0] != found[1]  # the same map and mask in the mirror
    assert share_of_top(saliency, mask, 100) == share_of_top(*turned, 100) == 128 / 512


@pytest.mark.parity
def test_weighting_where_we_differ_from_quantus_on_purpose(quantus: Any) -> None:
    # its weighted form depends on how many pictures are scored at once, so there is none here
    maps, masks = torch.stack([random_map(i, (32, 32)) for i in range(4)]), squares(4)
    metric = quantus.AttributionLocalisation(weighted=True, abs=True, normalise=False, disable_warnings=True)
    assert theirs(metric, maps, masks)[0] != pytest.approx(theirs(metric, maps[:3], masks[:3])[0])
    assert "weighted" not in parameter_class(AttributionLocalisation).model_fields


@pytest.mark.parity
def test_empty_masks_where_we_differ_from_quantus_on_purpose(quantus: Any) -> None:
    masks = torch.stack([torch.zeros(32, 32, dtype=torch.bool), squares(1)[0]])
    maps = torch.stack([random_map(i, (32, 32)) for i in range(2)])
    metric = quantus.AttributionLocalisation(abs=True, normalise=False, disable_warnings=True)
    assert np.isnan(theirs(metric, maps, masks)[0])
    found = scores_of(make(AttributionLocalisation), random_map(0), fake(torch.zeros(SIZE, dtype=torch.bool)))
    assert found["attribution-localisation"].reason == "the mask is empty"
