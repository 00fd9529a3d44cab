"""Kernel SHAP and partition SHAP against closed forms, enumeration and the shap package."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from coalition_toys import (
    GameDetector,
    additive,
    explained,
    grid_world,
    image_of,
    make,
    map_of,
    picture_of,
    reason_of,
    record_values,
    run,
    weights_of,
)
from torch import Tensor

from xaibench.api import Passes, PassQuery, UsageError
from xaibench.detector.engine import ProbeEngine
from xaibench_explainers.perturbation.kernel_shap import STRONG_BLUR, KernelShap
from xaibench_explainers.perturbation.lime import Lime
from xaibench_explainers.perturbation.partition import all_evaluations, evaluations, halves, owen_values, rendered
from xaibench_explainers.perturbation.partition_shap import PartitionShap, box_blur
from xaibench_explainers.perturbation.regions import every_coalition
from xaibench_explainers.perturbation.shapley import (
    KernelDesign,
    constrained_shapley,
    exact_shapley,
    kernel_design,
)
from xaibench_perturbation import Switch, Twin, gaussian_blur

WEIGHTS = torch.tensor([0.30, -0.10, 0.05, 0.20, 0.0, 0.12])


def tangled(members: Tensor) -> Tensor:
    """A game with interactions of every order and no symmetry."""
    order = torch.arange(members.shape[1], dtype=torch.float64)
    return torch.tanh(members @ torch.sin(order + 1)) + 0.3 * torch.cos(members @ (order / 3) ** 1.5)


def by_orders(game: Any, count: int) -> np.ndarray:
    """Shapley values by their definition: each segment's mean gain over all orders of arrival."""
    gains = np.zeros(count)
    for order in itertools.permutations(range(count)):
        member = torch.zeros(1, count, dtype=torch.float64)
        before = float(game(member))
        for j in order:
            member[0, j] = 1
            after = float(game(member))
            gains[j] += after - before
            before = after
    return gains / math.factorial(count)


# ---- Shapley values -------------------------------------------------------------------------------------------------


def test_glove_game_by_hand() -> None:
    # one left glove (0), two right ones: a pair is worth 1; the left one gets 2/3
    members = every_coalition(3)
    values = members[:, 0] * members[:, 1:].amax(dim=1)
    assert exact_shapley(values, 3).tolist() == pytest.approx([2 / 3, 1 / 6, 1 / 6])


def test_exact_values_are_the_mean_over_all_orders() -> None:
    values = tangled(every_coalition(5).double())
    np.testing.assert_allclose(exact_shapley(values, 5).numpy(), by_orders(tangled, 5), atol=1e-12)


def test_regression_on_all_coalitions_gives_the_exact_values() -> None:
    # theorem 2 of Lundberg and Lee, with the kernel (M - 1) / (C(M, k) k (M - k))
    members = every_coalition(7)[1:-1]
    k = members.sum(dim=1).int().tolist()
    kernel = torch.tensor([6 / (math.comb(7, n) * n * (7 - n)) for n in k], dtype=torch.float64)
    values = tangled(every_coalition(7).double())
    change = float(values[-1] - values[0])
    found = constrained_shapley(KernelDesign(members, kernel), values[1:-1] - values[0], change)
    assert found is not None
    np.testing.assert_allclose(found.numpy(), exact_shapley(values, 7).numpy(), atol=1e-12)


def test_too_few_coalitions_leave_the_values_open() -> None:
    design = KernelDesign(torch.tensor([[1.0, 0, 0, 0], [0, 1, 1, 1]]), torch.ones(2).double())
    assert constrained_shapley(design, torch.tensor([0.1, 0.2]), 1.0) is None


def test_design_of_four_segments_by_hand() -> None:
    # kernel weights: sizes 1 and 3 together 2 * 3/3 = 2, size 2 3/4. 12 pictures: 12 * 2 / 2.75 >= 8 lists sizes 1 and
    # 3; the four left are fewer than the six of size 2, so two pairs are drawn and share 3/4
    design = kernel_design(12, 4, torch.Generator().manual_seed(0))
    assert design.members[:4].tolist() == torch.eye(4).tolist()
    assert design.members[4:8].tolist() == (1 - torch.eye(4)).tolist()
    assert design.members[8:].sum(dim=1).tolist() == [2] * 4
    torch.testing.assert_close(design.members[8:10], 1 - design.members[10:])
    assert design.weights.tolist() == pytest.approx([1 / 4] * 8 + [3 / 16] * 4)


def test_drawn_sizes_follow_the_kernel() -> None:
    # 20 pictures do not pay for the 60 of sizes 1 and 29: every size is drawn, with (M - 1) / (k (M - k))
    sizes = torch.cat([
        kernel_design(20, 30, torch.Generator().manual_seed(i)).members[:10].sum(dim=1) for i in range(400)
    ])  # fmt: skip
    chances = np.array([29 / (k * (30 - k)) * (1 if k == 15 else 2) for k in range(1, 16)])
    chances /= chances.sum()
    counts = torch.bincount(sizes.long(), minlength=16)[1:].numpy()
    errors = np.sqrt(4000 * chances * (1 - chances))
    assert len(counts) == 15
    assert (np.abs(counts - 4000 * chances) < 4 * errors).all()


# ---- kernel-shap ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("output", ["logit", "probability"])
def test_few_segments_get_their_exact_weights(output: str) -> None:
    detector = grid_world(additive(WEIGHTS, 0.2), 6)
    done = run(make(KernelShap, segments="grid", count=6, output=output), detector, detector.image)
    torch.testing.assert_close(weights_of(done), WEIGHTS, atol=1e-6, rtol=0)
    torch.testing.assert_close(map_of(done), WEIGHTS[detector.labels], atol=2e-4, rtol=1e-3)
    assert explained(done).details["change"] == pytest.approx(float(WEIGHTS.sum()), abs=1e-6)
    assert done.passes == Passes(forward=64)


@pytest.mark.parametrize("count", [2, 4, 9])
def test_few_segments_are_enumerated(count: int) -> None:
    detector = grid_world(tangled, count)
    done = run(make(KernelShap, segments="grid", count=count, fill="mean"), detector, detector.image)
    expected = exact_shapley(tangled(every_coalition(count).double()), count)
    torch.testing.assert_close(weights_of(done).double(), expected, atol=1e-6, rtol=0)
    assert done.passes == Passes(forward=2**count)


def test_sampled_values_of_an_additive_score_are_the_weights() -> None:
    weights = torch.linspace(-1, 2, 36)
    detector = grid_world(additive(weights), 36)
    done = run(make(KernelShap, segments="grid", count=36, samples=151), detector, detector.image)
    torch.testing.assert_close(weights_of(done), weights, atol=1e-5, rtol=0)
    assert done.passes == Passes(forward=150)


def test_sampled_values_are_within_four_standard_errors_and_add_up() -> None:
    values = tangled(every_coalition(12).double())
    exact, change = exact_shapley(values, 12), float(values[-1] - values[0])
    found = []
    for seed in range(60):
        design = kernel_design(200, 12, torch.Generator().manual_seed(seed))
        one = constrained_shapley(design, tangled(design.members.double()) - values[0], change)
        assert one is not None
        assert float(one.sum()) == pytest.approx(change, abs=1e-12)
        found.append(one)
    drawn = torch.stack(found)
    error = drawn.std(dim=0) / 60**0.5
    assert float(((drawn.mean(dim=0) - exact).abs() / error).max()) < 4
    assert float(error.max()) < 0.02


def test_the_component_draws_what_the_design_says() -> None:
    detector = grid_world(tangled, 12)
    done = run(make(KernelShap, segments="grid", count=12, samples=200), detector, detector.image)
    seen = torch.from_numpy(detector.design(200))
    assert seen[:2].sum(dim=1).tolist() == [0, 12]
    design = kernel_design(198, 12, torch.Generator())  # its weights do not depend on the draw
    gains = tangled(seen) - tangled(seen[:1])
    expected = constrained_shapley(KernelDesign(seen[2:].float(), design.weights), gains[2:], float(gains[1]))
    assert expected is not None
    torch.testing.assert_close(weights_of(done).double(), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("game", "samples", "why"), [
    (lambda members: members[:, 0] * 0 + 0.3, 40, "the same whatever"),
    (lambda members: members[:, 0] / 0.0, 40, "not finite"),
    (lambda members: members[:, 0] * 0 + 0.3, 4000, "the same whatever"),
    (lambda members: members[:, 0], 8, "too few to tell 9 segments apart"),
])  # fmt: skip
def test_kernel_shap_says_why_there_is_no_explanation(game: Any, samples: int, why: str) -> None:
    detector = grid_world(game, 9)
    component = make(KernelShap, segments="grid", count=9, samples=samples)
    assert why in reason_of(run(component, detector, detector.image))


def test_kernel_shap_knows_its_passes_where_the_segments_are_known() -> None:
    query = PassQuery(sample=picture_of(image_of()).sample, facts=grid_world(tangled, 4).facts)
    assert make(KernelShap, segments="grid", count=9).passes(query) == Passes(forward=512)
    assert make(KernelShap, segments="grid", count=36, samples=301).passes(query) == Passes(forward=300)
    assert make(KernelShap).passes(query) == Passes(forward=2048, exact=False)


@pytest.mark.parity
@pytest.mark.parametrize(("count", "samples"), [(8, 1000), (13, 300), (20, 500)])
def test_kernel_shap_is_shaps_on_its_own_coalitions(count: int, samples: int) -> None:
    shap = pytest.importorskip("shap")
    explainer = shap.KernelExplainer(lambda m: tangled(torch.from_numpy(m)).numpy(), np.zeros((1, count)))
    np.random.seed(count)
    theirs = explainer.shap_values(np.ones((1, count)), nsamples=samples, l1_reg=False, silent=True)[0]
    rows = explainer.nsamplesAdded
    members = torch.from_numpy(explainer.maskMatrix[:rows])
    design = KernelDesign(members, torch.from_numpy(explainer.kernelWeights[:rows]))
    ends = tangled(torch.stack([torch.zeros(count), torch.ones(count)]).double())
    found = constrained_shapley(design, tangled(members) - ends[0], float(ends[1] - ends[0]))
    assert found is not None
    np.testing.assert_allclose(found.numpy(), theirs, atol=1e-9)
    if count == 8:
        exact = exact_shapley(tangled(every_coalition(8).double()), 8)
        np.testing.assert_allclose(exact.numpy(), theirs, atol=1e-9)
    else:
        ours = kernel_design(samples, count, torch.Generator().manual_seed(0))
        listed = int((ours.weights != ours.weights[-1]).sum())
        np.testing.assert_allclose(ours.weights[:listed] / ours.weights.sum(), design.weights[:listed], atol=1e-12)
        assert sorted(map(tuple, ours.members[:listed].tolist())) == sorted(map(tuple, members[:listed].tolist()))


# ---- partition-shap -------------------------------------------------------------------------------------------------


def pixel_world(game: Any, size: tuple[int, int]) -> GameDetector:
    """A detector whose segments are single pixels, numbered row by row."""
    return GameDetector(image_of(1, size), torch.arange(size[0] * size[1]).view(size), game)


def owen(detector: GameDetector, evals: int, batch: int = 50) -> tuple[Tensor, Passes]:
    switch = Switch(detector.image, torch.zeros_like(detector.image))
    programme = lambda: owen_values(switch, 1, evals=evals, batch=batch, output="logit")  # noqa: E731
    done = ProbeEngine(detector, 16).run_one(programme)
    if done.error:
        raise done.error
    return done.value[0], done.passes


def test_two_pixels_by_hand() -> None:
    # f: none 0, left 1, right 3, both 10; left gets ((1 - 0) + (10 - 3)) / 2 = 4, right ((3 - 0) + (10 - 1)) / 2 = 6
    worth = torch.tensor([0.0, 1.0, 3.0, 10.0], dtype=torch.float64)
    values, passes = owen(pixel_world(lambda m: worth[(m[:, 0] + 2 * m[:, 1]).long()], (1, 2)), 2000)
    assert values.tolist() == [[4, 6]]
    assert passes == Passes(forward=4)


def test_what_the_budget_leaves_whole_shares_equally() -> None:
    # four pictures: the rows of a 4 x 2 picture are halved once, each half of four pixels gets its sum
    weights = torch.tensor([1.0, 2, 3, 4, 10, 20, 30, 40])
    values, passes = owen(pixel_world(additive(weights), (4, 2)), 5)
    assert values.tolist() == [[2.5, 2.5], [2.5, 2.5], [25, 25], [25, 25]]
    assert passes == Passes(forward=4)


def test_the_largest_share_is_halved_next() -> None:
    weights = torch.tensor([1.0, 2, 3, 4, 10, 20, 30, 40])
    # both contexts of the lower half hold the largest share (50), so two more parts of two pictures each halve it
    values, _ = owen(pixel_world(additive(weights), (4, 2)), 8, batch=2)
    assert values.tolist() == [[2.5, 2.5], [2.5, 2.5], [15, 15], [35, 35]]


def test_halves_go_down_to_pixels_rows_first() -> None:
    assert halves((0, 4, 0, 4)) == ((0, 2, 0, 4), (2, 4, 0, 4))
    assert halves((2, 4, 0, 5)) == ((2, 4, 0, 3), (2, 4, 3, 5))
    assert halves((3, 4, 1, 2)) is None


@pytest.mark.parametrize("size", [(1, 1), (1, 3), (4, 4), (3, 5), (6, 2)])
def test_evaluations_of_tiny_pictures_are_counted(size: tuple[int, int]) -> None:
    values, passes = owen(pixel_world(tangled, size), 10**6)
    assert passes == Passes(forward=evaluations(size, 10**6))
    ends = tangled(torch.stack([torch.zeros(values.numel()), torch.ones(values.numel())]).double())
    assert float(values.sum()) == pytest.approx(float(ends[1] - ends[0]), abs=1e-5)


def test_a_whole_tree_of_equal_halves_takes_the_geometric_sum() -> None:
    # level by level 4^d parts and contexts, two pictures each: 2 (4^4 - 1) / 3
    assert all_evaluations(4, 4) == 170
    assert evaluations((224, 224), 2001) == 2000


def test_additive_pixels_get_their_weights() -> None:
    weights = torch.linspace(-1, 2, 20)
    values, _ = owen(pixel_world(additive(weights), (4, 5)), 10**6)
    torch.testing.assert_close(values.flatten(), weights.double(), atol=1e-6, rtol=0)


def test_rendered_masks_are_the_rectangles() -> None:
    image = torch.zeros(3, 6, 7)
    entries = [(), ((0, 2, 0, 3), (4, 6, 1, 7)), ((1, 2, 3, 4),)]
    expected = torch.zeros(3, 6, 7)
    for i, entry in enumerate(entries):
        for top, bottom, left, right in entry:
            expected[i, top:bottom, left:right] = 1
    torch.testing.assert_close(rendered(entries, image), expected)


@pytest.mark.parametrize("output", ["logit", "probability"])
def test_published_budget_is_exactly_2000_pictures_and_shares_add_up(output: str) -> None:
    detector = grid_world(lambda m: torch.sigmoid(2 * tangled(m)), 16, (32, 40))
    component = make(PartitionShap, **{**record_values("shap-t24"), "output": output})
    done = run(component, detector, detector.image)
    assert done.passes == Passes(forward=2000)
    query = PassQuery(sample=picture_of(detector.image).sample, facts=detector.facts)
    assert component.passes(query) == done.passes
    ends = torch.sigmoid(2 * tangled(torch.stack([torch.zeros(16), torch.ones(16)]).double()))
    assert explained(done).details["change"] == pytest.approx(float(ends[1] - ends[0]), abs=1e-6)
    assert float(map_of(done).double().sum()) == pytest.approx(float(ends[1] - ends[0]), abs=1e-4)


@pytest.mark.parametrize("corner", [(4, 24), (20, 3), (13, 30)])
def test_partition_shap_finds_the_patch(corner: tuple[int, int]) -> None:
    patch = torch.zeros(32, 40, dtype=torch.float64)
    patch[corner[0] : corner[0] + 6, corner[1] : corner[1] + 6] = 1
    detector = pixel_world(lambda m: torch.tanh(m @ patch.flatten() / 12), (32, 40))
    peak = int(map_of(run(make(PartitionShap, evals=400), detector, detector.image)).argmax())
    assert patch[peak // 40, peak % 40] == 1


def test_partition_shap_without_an_effect_has_no_explanation() -> None:
    still = grid_world(lambda m: m[:, 0] * 0 + 0.3, 4)
    assert "the same whatever" in reason_of(run(make(PartitionShap, evals=20), still, still.image))
    broken = grid_world(lambda m: 1 / m[:, 0], 4)
    assert "not finite" in reason_of(run(make(PartitionShap, evals=20), broken, broken.image))


def test_partition_shap_has_no_segments_to_take_the_mean_of() -> None:
    with pytest.raises(UsageError, match="the fill needs segments"):
        make(PartitionShap, fill="segment-mean")


def test_default_blur_is_as_wide_as_the_published_box() -> None:
    dot = torch.zeros(1, 224, 224)
    dot[0, 112, 112] = 1
    at = torch.arange(224.0) - 112
    for blurred in (gaussian_blur(dot, STRONG_BLUR * 224), box_blur(dot, 128)):
        profile = blurred[0].sum(dim=1) / blurred.sum()
        spread = ((profile * at**2).sum() - (profile * at).sum() ** 2).sqrt()
        assert float(spread) == pytest.approx(128 / 12**0.5, rel=0.02)


@pytest.mark.parity
@pytest.mark.parametrize(("size", "side"), [((20, 30), 4), ((20, 30), 5), ((8, 9), 128), ((1, 5), 3)])
def test_box_blur_is_opencvs(size: tuple[int, int], side: int) -> None:
    cv2 = pytest.importorskip("cv2")
    image = image_of(7, size)
    expected = cv2.blur(image.permute(1, 2, 0).numpy().copy(), (side, side)).reshape(*size, 3)
    np.testing.assert_allclose(box_blur(image, side).permute(1, 2, 0).numpy(), expected, atol=1e-5)


def shap_partition(detector: GameDetector, channels: int, evals: int, batch: int) -> tuple[np.ndarray, int]:
    """shap's values summed over channels and its pictures, on the same function of the same picture."""
    shap = pytest.importorskip("shap")
    asked = 0

    def score(images: np.ndarray) -> np.ndarray:
        nonlocal asked
        asked += len(images)
        shown = torch.from_numpy(images).permute(0, 3, 1, 2).expand(-1, 3, -1, -1)
        return detector.scores(shown)[:, 1].double().numpy()

    height, width = detector.labels.shape
    masker = shap.maskers.Image(np.zeros((height, width, channels), dtype=np.float32))
    picture = detector.image[:channels].permute(1, 2, 0).numpy()
    explainer = shap.explainers.Partition(score, masker)
    np.random.seed(0)
    found = explainer(picture[None], max_evals=evals, batch_size=batch, fixed_context=None, silent=True)
    return found.values[0].sum(axis=-1), asked


@pytest.mark.parity
@pytest.mark.parametrize(
    ("size", "evals", "batch"), [((3, 4), 10**6, 10), ((12, 10), 60, 2), ((12, 10), 200, 10), ((9, 16), 400, 50)]
)
def test_partition_shap_is_shaps(size: tuple[int, int], evals: int, batch: int) -> None:
    detector = pixel_world(tangled, size)  # no two parts have the same share, so no tie is broken at random
    detector.image = detector.image[:1].expand(3, -1, -1).contiguous()
    theirs, asked = shap_partition(detector, 1, evals, batch)
    ours, passes = owen(detector, evals, batch)
    np.testing.assert_allclose(ours.numpy(), theirs, atol=1e-6)
    assert passes == Passes(forward=asked)


@pytest.mark.parity
def test_shap_splits_colours_to_the_same_sum() -> None:
    detector = pixel_world(tangled, (2, 3))
    ours, _ = owen(detector, 10**6)
    detector.members = lambda images: _whole_pixels(images, detector.image)  # type: ignore[method-assign]
    theirs, _ = shap_partition(detector, 3, 10**6, 10)
    np.testing.assert_allclose(ours.numpy(), theirs, atol=1e-6)


def _whole_pixels(images: Tensor, image: Tensor) -> Tensor:
    return (images == image).all(dim=1).flatten(1).double()


@pytest.mark.parametrize("name", ["shap-adv", "shap-t24", "shap-adv-t24", "lime-adv", "lime-t24", "lime-adv-t24"])
def test_ready_made_records_ask_for_the_twin_that_they_claim(name: str) -> None:
    component = make(Lime if "lime" in name else PartitionShap, **record_values(name))
    published = name.endswith("-t24")
    expected = [Twin(mode="t24-code" if published else "strict", steps=80)] if "adv" in name else []
    assert list(component.artefacts) == expected
    assert component.parameters.output == {
        ("lime", True): "double-softmax", ("lime", False): "probability",
        ("shap", True): "probability", ("shap", False): "logit",
    }[name[:4], published]  # fmt: skip
