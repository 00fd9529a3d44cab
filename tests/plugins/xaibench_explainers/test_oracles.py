"""The controls face-hull and the counterfactual oracle, against numbers worked out by hand."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from xaibench.api import (
    Done,
    Explanation,
    Facts,
    Native,
    Passes,
    PassQuery,
    Picture,
    Sample,
    UsageError,
    build_parameters,
    parameter_class,
)
from xaibench.store.folder import RunFolder
from xaibench_explainers.controls import FaceHull
from xaibench_explainers.counterfactual import CounterfactualOracle, changed_regions, merged
from xaibench_perturbation import grid_segments, hull_mask
from xaibench_testing import planted_samples
from xaibench_testing.harness import explain, value
from xaibench_testing.planted import FAKE, PATCH, REAL, ConstantDetector, DifferentiablePatchDetector, LinearDetector
from xaibench_testing.planted_data import pictures_of

SIZE = (12, 12)


def make(cls: Any, **values: Any) -> Any:
    return cls(build_parameters(parameter_class(cls), values, "x"))


def noise(seed: int, size: tuple[int, int] = SIZE) -> Tensor:
    return torch.rand(3, *size, generator=torch.Generator().manual_seed(seed))


def picture_of(
    image: Tensor, *, real: Tensor | None = None, landmarks: Tensor | None = None, label: Any = "fake"
) -> Picture:
    sample = Sample(
        id=f"{label}/0", label=label, group="g", pair=None if real is None else "real/0",
        has_landmarks=landmarks is not None,
    )  # fmt: skip
    return Picture(
        sample=sample, image=image, mask=None, landmarks=landmarks, digest=str(float(image.sum())),
        native=lambda: Native(np.zeros((1, 1, 3), np.uint8)),
        counterpart=lambda: None if real is None else picture_of(real, label="real"),
    )  # fmt: skip


def reason_of(done: Done[Explanation]) -> str:
    found = value(done)
    assert found.status == "undefined"
    assert done.passes == Passes()
    return found.reason


# ---- face hull ------------------------------------------------------------------------------------------------------


def test_hull_by_hand() -> None:
    # a triangle with its right angle at x = 1, y = 1: pixels with x + y <= 5, borders included
    corners = torch.tensor([[1.0, 1.0], [4.0, 1.0], [1.0, 4.0]])
    expected = [
        [0, 0, 0, 0, 0, 0],
        [0, 1, 1, 1, 1, 0],
        [0, 1, 1, 1, 0, 0],
        [0, 1, 1, 0, 0, 0],
        [0, 1, 0, 0, 0, 0],
    ]
    hull = hull_mask(corners, (5, 6))
    assert hull is not None
    assert hull.int().tolist() == expected
    within = torch.cat([corners, torch.tensor([[2.0, 2.0], [1.5, 1.2]])])  # points inside change nothing
    for order in itertools.permutations(range(5)):
        assert torch.equal(hull_mask(within[list(order)], (5, 6)), hull)  # type: ignore[arg-type]


def test_hull_is_where_every_direction_says_so() -> None:
    # a point lies in the hull if in no direction it lies beyond all landmarks
    landmarks = torch.rand((9, 2), generator=torch.Generator().manual_seed(3)) * torch.tensor([30.0, 20.0])
    angles = torch.linspace(0, 2 * math.pi, 7200, dtype=torch.float64)
    directions = torch.stack([angles.cos(), angles.sin()])
    furthest = (landmarks.double() @ directions).amax(dim=0)
    y, x = torch.meshgrid(torch.arange(20.0), torch.arange(30.0), indexing="ij")
    inside = (torch.stack([x, y], dim=-1).double() @ directions <= furthest + 1e-4).all(dim=-1)
    assert torch.equal(hull_mask(landmarks, (20, 30)), inside)  # type: ignore[arg-type]


def test_a_hull_that_reaches_out_of_the_picture_is_cut() -> None:
    hull = hull_mask(torch.tensor([[-5.0, 2.0], [20.0, 2.0], [20.0, 30.0], [-5.0, 30.0]]), (4, 3))
    assert hull is not None
    assert hull.int().tolist() == [[0, 0, 0], [0, 0, 0], [1, 1, 1], [1, 1, 1]]


@pytest.mark.parametrize(
    ("landmarks", "reason"),
    [
        (None, "the picture has no landmarks"),
        ([], "span no area"),
        ([[1, 1], [5, 5]], "span no area"),
        ([[3, 3]] * 5, "span no area"),
        ([[1, 1], [2, 2], [7, 7], [4, 4]], "span no area"),
        ([[-9, -9], [-5, -9], [-5, -3]], "no pixel"),
        ([[1.2, 1.2], [1.8, 1.2], [1.5, 1.8]], "no pixel"),
        ([[-1, -1], [40, -1], [40, 40], [-1, 40]], "whole picture"),
    ],
)
def test_face_hull_says_why_it_has_no_map(landmarks: list[list[float]] | None, reason: str) -> None:
    points = None if landmarks is None else torch.tensor(landmarks, dtype=torch.float32).reshape(-1, 2)
    picture = picture_of(noise(0), landmarks=points)
    component, detector = make(FaceHull), ConstantDetector(size=SIZE)
    assert reason in reason_of(explain(component, detector, [picture], FAKE)[0])
    refused = component.refuses(PassQuery(sample=picture.sample, facts=detector.facts))
    assert refused == ("the picture has no landmarks" if landmarks is None else "")


def test_face_hull_draws_fakes_and_reals_alike() -> None:
    detector = DifferentiablePatchDetector()
    pictures = pictures_of(planted_samples(1), detector)
    maps = [value(d).map for t in (FAKE, REAL) for d in explain(make(FaceHull), detector, pictures, t)]
    # the planted landmarks: corners at .3 and .7 across, .35 down and .35 and .65 across, .75 down
    expected = hull_mask(pictures[0].landmarks, (32, 48))  # type: ignore[arg-type]
    assert expected is not None
    assert bool(expected[16, 24]) and not bool(expected[5, 24]) and not bool(expected[23, 12])
    for found in maps:
        assert torch.equal(found, expected.float())  # type: ignore[arg-type]


# ---- counterfactual oracle: regions ---------------------------------------------------------------------------------


def test_merging_by_hand() -> None:
    labels = torch.tensor([[0, 0, 1, 1], [0, 0, 2, 1], [3, 3, 3, 1]])
    # 2 is the smallest; it shares one side with 0, one with 3 and two with 1
    assert merged(labels, 3).tolist() == [[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 2, 1]]
    # then 2, of three pixels, which has two sides on 0 and two on 1: the first counts
    assert merged(labels, 2).tolist() == [[0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 0, 1]]
    assert torch.equal(merged(labels, 4), labels)
    assert labels.tolist() == [[0, 0, 1, 1], [0, 0, 2, 1], [3, 3, 3, 1]]


def test_merged_regions_are_dense_whole_and_few_enough() -> None:
    labels = grid_segments(20, 30, 24)
    for most in (2, 7, 10):
        found = merged(labels, most)
        assert found.unique().tolist() == list(range(most))
        assert all(len(found[labels == i].unique()) == 1 for i in range(24))  # no segment is cut


def test_only_regions_that_differ_are_players() -> None:
    labels, image = grid_segments(*SIZE, 9), noise(0)
    other = image.clone()
    other[1, 0, 5] += 1e-6
    other[:, 9:, 9:] = 0
    assert changed_regions(image, other, labels).tolist() == [1, 8]
    assert changed_regions(image, image, labels).tolist() == []


# ---- counterfactual oracle: values ----------------------------------------------------------------------------------


class Game:
    """Log odds of *fake* as a function of which cells of a 2 x 2 grid are as in the fake."""

    device = torch.device("cpu")
    facts = Facts(name="game", classes=("real", "fake"), real_class=0, input_size=SIZE, digest="game")

    def __init__(self, fake: Tensor, margin: Callable[[Tensor], Tensor], offset: float = 0.0) -> None:
        self.fake, self.margin, self.offset = fake, margin, offset

    def scores(self, images: Tensor) -> Tensor:
        same = (images == self.fake).all(dim=1).double()
        cells = same.view(-1, 2, 6, 2, 6).amin(dim=(2, 4)).flatten(1)
        z = self.margin(cells)
        return torch.stack([torch.full_like(z, self.offset), z + self.offset], dim=1).float()

    def probabilities(self, images: Tensor) -> Tensor:
        return self.scores(images).softmax(dim=1)


def oracle(count: int = 4) -> Any:
    return make(CounterfactualOracle, segments="grid", count=count)


def explained(detector: Any, picture: Picture, *, component: Any = None, target: int = FAKE) -> Explanation:
    found = value(explain(component or oracle(), detector, [picture], target, batch_size=4)[0])
    assert found.status == "ok", found.reason
    return found


def weights_of(found: Explanation) -> list[float]:
    assert found.segment_weights is not None
    return found.segment_weights.tolist()


FAKE_IMAGE, REAL_IMAGE = noise(1), noise(2)
PAIR = picture_of(FAKE_IMAGE, real=REAL_IMAGE)


def test_values_by_hand() -> None:
    # 3 for cell 0; 2 where cells 1 and 2 come together, 1 each; cell 3 changes nothing; -1 for the real picture
    detector = Game(FAKE_IMAGE, lambda m: -1 + 3 * m[:, 0] + 2 * m[:, 1] * m[:, 2], offset=5.0)
    found = explained(detector, PAIR)
    assert weights_of(found) == pytest.approx([3, 1, 1, 0], abs=1e-6)
    assert found.details == {"change": 5.0, "players": 4.0}
    assert found.map is not None
    assert [round(float(found.map[i, j]), 3) for i in (0, 11) for j in (0, 11)] == [3, 1, 1, 0]
    assert len(found.map.unique()) == 3


def test_values_are_the_mean_over_all_orders() -> None:
    def margin(members: Tensor) -> Tensor:
        return torch.sin(3 * members @ torch.tensor([1.0, 2.0, 3.0, 5.0], dtype=torch.float64)) * 4 + members[:, 0]

    gains = np.zeros(4)
    for order in itertools.permutations(range(4)):
        members = torch.zeros(1, 4, dtype=torch.float64)
        before = float(margin(members))
        for j in order:
            members[0, j] = 1
            gains[j] += float(margin(members)) - before
            before = float(margin(members))
    assert weights_of(explained(Game(FAKE_IMAGE, margin), PAIR)) == pytest.approx(gains / 24, abs=1e-5)


def test_regions_as_in_the_real_picture_get_exactly_nothing_and_cost_nothing() -> None:
    real = REAL_IMAGE.clone()
    real[:, :6, :6] = FAKE_IMAGE[:, :6, :6]
    real[:, 6:, 6:] = FAKE_IMAGE[:, 6:, 6:]
    detector = LinearDetector(noise(4) * 2 - 1)
    component = oracle()
    done = explain(component, detector, [picture_of(FAKE_IMAGE, real=real)], FAKE, batch_size=4)[0]
    weights = weights_of(value(done))
    assert weights[0] == 0 and weights[3] == 0
    assert value(done).map[:6, :6].unique().tolist() == [0]  # type: ignore[index]
    assert done.passes == Passes(forward=4)
    said = component.passes(PassQuery(sample=PAIR.sample, facts=detector.facts))
    assert (said.forward, said.exact) == (16, False)
    # on a linear margin a region is worth its own difference
    own = ((FAKE_IMAGE - real).double() * detector.weights).sum(dim=0)
    expected = [float(own[:6, 6:].sum()), float(own[6:, :6].sum())]
    assert weights[1:3] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("segments", ["slic", "grid"])
def test_values_sum_to_the_difference_of_the_margins(segments: str) -> None:
    detector = DifferentiablePatchDetector()
    component = make(CounterfactualOracle, segments=segments, count=6)
    for picture in pictures_of(planted_samples(2), detector):
        if picture.sample.label == "real":
            continue
        other = picture.counterpart()
        assert other is not None
        logits = detector.scores(torch.stack([other.image, picture.image])).double()
        change = float((logits[:, FAKE] - logits[:, REAL]).diff())
        found, against = (explained(detector, picture, component=component, target=t) for t in (FAKE, REAL))
        assert math.fsum(weights_of(found)) == pytest.approx(change, abs=1e-5)
        assert found.details["change"] == pytest.approx(change, abs=1e-5)
        assert weights_of(against) == [-w for w in weights_of(found)]
        assert len(weights_of(found)) <= 6
        # the planted fake differs from its counterpart in the patch alone
        assert found.map is not None
        inside = PATCH.mask((32, 48))
        assert float(found.map[inside].min()) > 0
        assert found.details["players"] == len(set(found.map[inside].tolist()))


def test_several_fake_classes_are_one_side() -> None:
    class Three(Game):
        facts = replace(Game.facts, classes=("swap", "real", "edit"), real_class=1)

        def scores(self, images: Tensor) -> Tensor:
            real, fake = super().scores(images).unbind(dim=1)
            return torch.stack([fake - math.log(4), real, fake + math.log(0.75)], dim=1)

    detector = Three(FAKE_IMAGE, lambda m: 2 * m[:, 0] - m[:, 3])
    for target, sign in ((0, 1), (2, 1), (1, -1)):
        assert weights_of(explained(detector, PAIR, target=target)) == pytest.approx([2 * sign, 0, 0, -sign], abs=1e-5)


def test_the_oracle_says_why_it_has_no_map() -> None:
    component, detector = oracle(), ConstantDetector(size=SIZE)
    real, lonely = picture_of(REAL_IMAGE, real=FAKE_IMAGE, label="real"), picture_of(FAKE_IMAGE)
    for picture, reason in ((real, "real pictures have no real counterpart"), (lonely, "has no real counterpart")):
        assert reason in reason_of(explain(component, detector, [picture], FAKE)[0])
        assert reason in component.refuses(PassQuery(sample=picture.sample, facts=detector.facts))
    assert component.refuses(PassQuery(sample=PAIR.sample, facts=detector.facts)) == ""
    same = picture_of(FAKE_IMAGE, real=FAKE_IMAGE.clone())
    assert "is the picture itself" in reason_of(explain(component, detector, [same], FAKE)[0])
    flat = picture_of(torch.full((3, *SIZE), 0.5), real=REAL_IMAGE)
    assert "single segment" in reason_of(explain(make(CounterfactualOracle, count=2), detector, [flat], FAKE)[0])
    blind = explain(component, detector, [PAIR], FAKE)[0]
    assert value(blind).reason.startswith("no signal")
    with pytest.raises(UsageError, match="count"):
        oracle(11)


# ---- in a run -------------------------------------------------------------------------------------------------------


def test_both_in_a_run(cli: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    code, out, _ = cli(
        "eval", "--model", "demo", "--dataset", "demo:identities=8", "--limit", 6, "-e",
        "counterfactual-oracle:count=4", "-x", "mask-auc", "-x", "iou", "--threads", 1, "--json", "-o", tmp_path,
    )  # fmt: skip
    assert code == 0 and json.loads(out)["failed"] == 0
    rows = RunFolder(tmp_path).table("scores").to_pylist()
    auc = {e: [r for r in rows if r["metric"] == "xaibench/mask-auc" and r["explainer"] == f"xaibench/{e}"]
           for e in ("face-hull", "counterfactual-oracle:count=4", "mask-oracle")}  # fmt: skip
    for name, found in auc.items():
        ok = [r for r in found if r["status"] == "ok"]
        assert ok and all(r["label"] == "fake" for r in ok), name
        assert all(r["reason"] for r in found if r["status"] != "ok")
    assert {r["value"] for r in auc["mask-oracle"] if r["status"] == "ok"} == {1.0}
    means = {e: np.mean([r["value"] for r in found if r["status"] == "ok"]) for e, found in auc.items()}
    # the demo's detector was trained to look where the masks are, and the masks are parts of faces
    assert means["counterfactual-oracle:count=4"] > means["face-hull"] > 0.6
