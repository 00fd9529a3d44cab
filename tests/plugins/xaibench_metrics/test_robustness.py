"""Robustness metrics against closed forms of toy explainers, numbers by hand and other libraries."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from robustness_toys import SIZE, Bright, case_of, make, rand, reason_of, run, scores_of, values_of
from torch import Tensor, nn
from toys import stored

from xaibench.api import (
    Explanation,
    MapCase,
    Passes,
    PassQuery,
    UsageError,
)
from xaibench_metrics.robustness.compression import (
    CompressionResponse,
    chance_change,
    compressions,
    halved,
    jpeg,
)
from xaibench_metrics.robustness.continuity import Continuity, continuity, shift_offsets, shift_view, shifted
from xaibench_metrics.robustness.sensitivity import (
    LocalLipschitz,
    MaxSensitivity,
    lipschitz_ratio,
    relative_change,
    uniform,
)
from xaibench_metrics.robustness.similarity import ranks
from xaibench_metrics.robustness.stability import (
    RelativeStability,
    StabilityParameters,
    graded_noise,
    relative_difference,
    relative_stability,
)


def middling(seed: int = 0) -> Tensor:
    """A picture that small noise keeps within [0, 1]."""
    return 0.3 + 0.4 * rand(3, *SIZE, seed=seed)


def mean_map(image: Tensor, *_: Any) -> Tensor:
    return image.mean(dim=0)


def curved_map(image: Tensor, *_: Any) -> Tensor:
    return image.square().sum(dim=0) - image[0]


def norm(values: Tensor) -> float:
    return math.sqrt(float((values.double() ** 2).sum()))


def noises(case: MapCase, kind: str, count: int, draw: Callable[..., Tensor]) -> list[Tensor]:
    """The noise that a metric adds, drawn once more."""
    return [draw(tuple(case.picture.image.shape), case.streams.torch(f"{kind} {i}")) for i in range(count)]


# ---- sensitivity ----------------------------------------------------------------------------------------------------


def test_changes_by_hand() -> None:
    a, b = torch.tensor([[3.0, 4.0]]), torch.tensor([[3.0, 9.0]])
    assert relative_change(a, b) == 1  # 5 of 5
    assert relative_change(b, a) == pytest.approx(5 / math.sqrt(90))
    x, y = torch.zeros(3, 1, 2), torch.full((3, 1, 2), 0.5)
    assert lipschitz_ratio(a, b, x, y) == pytest.approx(5 / math.sqrt(6 * 0.25))


def test_sensitivity_of_the_channel_mean_is_that_of_the_noise() -> None:
    case = case_of(mean_map, middling())
    draws = noises(case, "uniform 0.02", 10, lambda s, g: uniform(s, 0.02, g))
    assert all(d.abs().max() <= 0.02 and d.min() < -0.019 and d.max() > 0.019 for d in draws)
    expected = [norm(d.mean(dim=0)) / norm(mean_map(case.picture.image)) for d in draws]
    largest, mean = values_of(make(MaxSensitivity), case)
    assert largest == pytest.approx(max(expected), rel=1e-5)
    assert mean == pytest.approx(sum(expected) / 10, rel=1e-5)
    assert len({v.name for v in case.explain.views}) == 10  # type: ignore[attr-defined]


def test_sensitivity_has_no_unit_and_grows_with_the_noise() -> None:
    one, thousand = (case_of(lambda x, *_, k=k: k * curved_map(x), middling()) for k in (1.0, -1000.0))
    metric = make(MaxSensitivity)
    assert values_of(metric, one) == pytest.approx(values_of(metric, thousand), rel=1e-6)
    assert values_of(make(MaxSensitivity, radius=0.2), one)[0] > 5 * values_of(metric, one)[0]


def test_noise_is_clipped_where_pictures_end() -> None:
    case = case_of(mean_map, torch.ones(3, *SIZE))
    (drawn,) = noises(case, "uniform 0.5", 1, lambda s, g: uniform(s, 0.5, g))
    expected = norm(drawn.clamp(max=0).mean(dim=0)) / norm(torch.ones(SIZE))
    assert values_of(make(MaxSensitivity, radius=0.5, samples=1), case)[0] == pytest.approx(expected, rel=1e-5)


def test_lipschitz_of_a_linear_map() -> None:
    case = case_of(lambda x, *_: 7 * x[0], middling())
    draws = noises(case, "normal 0.05", 3, lambda s, g: 0.05 * torch.randn(s, generator=g))
    assert not any(((case.picture.image + d).clamp(0, 1) != case.picture.image + d).any() for d in draws)
    expected = max(norm(d[0]) / norm(d) for d in draws) / float(case.picture.image[0].max())
    assert values_of(make(LocalLipschitz, sigma=0.05, samples=3), case) == pytest.approx([expected], rel=1e-4)


@pytest.mark.parametrize("cls", [MaxSensitivity, LocalLipschitz, RelativeStability, Continuity])
def test_maps_that_stay_score_0_and_maps_of_zeros_nothing(cls: Any) -> None:
    still = case_of(lambda *_: rand(*SIZE, seed=3), middling(), detector=Bright(centre=0))
    assert set(values_of(make(cls), still)) == {0.0}
    zero = case_of(lambda *_: torch.zeros(SIZE), middling())
    assert "zero everywhere" in reason_of(make(cls), zero)
    assert run(make(cls), zero).passes.backward == 0 and not zero.explain.views  # type: ignore[attr-defined]


@pytest.mark.parametrize("cls", [MaxSensitivity, LocalLipschitz, RelativeStability, Continuity])
def test_a_missing_map_leaves_no_number(cls: Any) -> None:
    image = middling()

    def draw(shown: Tensor, *_: Any) -> Any:
        return mean_map(shown) if torch.equal(shown, image) else Explanation.none("flat here")

    assert "flat here" in reason_of(make(cls), case_of(draw, image, detector=Bright(centre=0)))


def test_float16_storage_alone_moves_a_map_by_what_is_said() -> None:
    saliency = rand(100, 100)
    assert relative_change(saliency, stored(saliency)) == pytest.approx(0.0002, abs=0.0001)


# ---- relative stability ---------------------------------------------------------------------------------------------


def test_relative_stability_by_hand() -> None:
    a, b = torch.tensor([2.0, 0.0, -4.0]), torch.tensor([1.0, 1e-6, -4.0])
    assert relative_difference(a, b, 1e-6) == pytest.approx(math.sqrt(0.25 + 1))
    assert relative_stability(a, b, 0.5, 1e-6) == pytest.approx(2 * math.sqrt(1.25))
    assert relative_stability(a, b, 0.0, 0.25) == pytest.approx(4 * relative_difference(a, b, 0.25))


@pytest.mark.parametrize(("signs", "darker"), [("both", True), ("positive", False)])
def test_graded_noise(signs: Any, darker: bool) -> None:
    noise = graded_noise((3, 40, 40), StabilityParameters(signs=signs), torch.Generator().manual_seed(0))
    assert noise.abs().min() >= 0.02 and noise.abs().max() <= 0.2
    assert (noise < 0).float().mean() == pytest.approx(0.5 if darker else 0, abs=0.05)


def test_relative_stability_again_in_numpy() -> None:
    case = case_of(curved_map, middling(), detector=Bright(slope=4, centre=0))
    p = StabilityParameters(samples=4, least=0.01, most=0.1)
    draws = noises(case, "graded 0.01 to 0.1 both", 4, lambda s, g: graded_noise(s, p, g))
    x, inputs, outputs = case.picture.image, [], []
    for drawn in draws:
        y = x + drawn
        a, b = curved_map(x).double().numpy(), curved_map(y).double().numpy()
        change = np.linalg.norm((a - b) / a)
        f, g = (case.detector.scores(t[None])[0].double().numpy() for t in (x, y))
        inputs.append(change / np.linalg.norm(((x - y) / x).double().numpy()))
        outputs.append(change / np.linalg.norm(f - g))
    found = values_of(RelativeStability(p), case)
    assert found == pytest.approx([max(inputs), max(outputs)], rel=1e-4)


def test_relative_stability_looks_only_at_copies_of_the_same_verdict() -> None:
    image = middling()
    sharp = Bright(slope=1e4, centre=float(image.mean()))
    case = case_of(mean_map, image, detector=sharp)
    metric = make(RelativeStability, samples=12)
    before = sharp.probabilities(image[None])[0, 1] >= 0.5
    noise = noises(case, "graded 0.02 to 0.2 both", 12, lambda s, g: graded_noise(s, metric.parameters, g))
    same = [
        i for i, d in enumerate(noise) if (sharp.probabilities((image + d)[None].clamp(0, 1))[0, 1] >= 0.5) == before
    ]
    assert 0 < len(same) < 12
    assert run(metric, case).passes == Passes(forward=13)
    asked = [v.name for v in case.explain.views]  # type: ignore[attr-defined]
    assert [int(name.split(" both ")[1].split()[0]) for name in asked] == same
    brighter = case_of(mean_map, image, detector=Bright(slope=1e4, centre=float(image.mean()) + 0.01))
    assert "verdict" in reason_of(make(RelativeStability, signs="positive"), brighter)


def test_relative_stability_bounds_are_in_order() -> None:
    with pytest.raises(UsageError, match="more than most"):
        make(RelativeStability, least=0.3, most=0.2)


# ---- continuity -----------------------------------------------------------------------------------------------------


def test_shift_offsets() -> None:
    assert shift_offsets(32, 28, 1.0) == tuple(o for o in range(-30, 26, 2) if o)  # Quantus's but for 0
    assert shift_offsets(8, 3, 1.0) == (-3, 2, 7)
    assert shift_offsets(8, 8, 0.25) == (-1, 1, 2)
    assert shift_offsets(2, 50, 0.25) == (1,)
    for width in range(1, 40):
        for steps in (2, 5, 8, 28):
            for reach in (0.01, 0.25, 1.0):
                offsets = shift_offsets(width, steps, reach)
                assert 1 <= len(offsets) <= steps and len(set(offsets)) == len(offsets)
                assert all(0 < abs(o) <= max(1, round(reach * width)) for o in offsets)


def test_shifted_by_hand() -> None:
    image = torch.tensor([[0.5, 0.6, 0.7], [0.2, 0.9, 0.4]])
    assert torch.equal(shifted(image, 1), torch.tensor([[0.2, 0.5, 0.6], [0.2, 0.2, 0.9]]))
    assert torch.equal(shifted(image, -2), torch.tensor([[0.7, 0.2, 0.2], [0.4, 0.2, 0.2]]))
    assert torch.equal(shifted(image, 3), torch.full((2, 3), 0.2))
    mask = torch.tensor([[True, True, True]])
    picture, moved, points = shift_view(-1).apply(image[None], mask, torch.tensor([[2.0, 1.0]]))
    assert picture.shape == (1, 2, 3) and moved is not None and points is not None
    assert moved.tolist() == [[True, True, False]] and points.tolist() == [[1.0, 1.0]]


def test_continuity_by_hand() -> None:
    a, b = torch.tensor([[-2.0, 1.0]]), torch.tensor([[3.0, 3.0]])  # 1 and 0.5 against 1 and 1
    assert continuity(a, b, torch.zeros(1, 1, 2), torch.tensor([[[0.0, 0.25]]])) == pytest.approx(0.5 / 0.25)


def test_continuity_of_an_explainer_that_follows_the_picture() -> None:
    image = middling()
    found = []
    for offset in shift_offsets(10, 8, 0.25):
        moved = shifted(image, offset)
        a, b = (m / m.max() for m in (mean_map(image), mean_map(moved)))
        found.append(float((a - b).abs().sum()) / norm(image - moved))
    case = case_of(mean_map, image)
    assert values_of(make(Continuity), case) == pytest.approx([max(found)], rel=1e-5)
    assert len(case.explain.views) == len(found)  # type: ignore[attr-defined]


def test_continuity_needs_a_picture_that_a_shift_changes() -> None:
    case = case_of(lambda *_: rand(*SIZE), torch.full((3, *SIZE), 0.4))
    assert reason_of(make(Continuity), case) == "no shift changes the picture"
    assert not case.explain.views  # type: ignore[attr-defined]


# ---- compression ----------------------------------------------------------------------------------------------------


def checks() -> Tensor:
    return ((torch.arange(8)[:, None] + torch.arange(10)) % 2).float().expand(3, 8, 10).contiguous()


def test_halving_undoes_a_checkerboard() -> None:
    assert torch.equal(halved(checks()), torch.full((3, 8, 10), 0.5))
    assert halved(rand(3, 7, 9)).shape == (3, 7, 9) and halved(rand(3, 1, 1)).shape == (3, 1, 1)


def test_jpeg_is_pillows_and_worse_at_lower_quality(tmp_path: Any) -> None:
    image = rand(3, 16, 16)
    Image.fromarray((image * 255).round().byte().permute(1, 2, 0).numpy()).save(tmp_path / "x.jpg", quality=70)
    with Image.open(tmp_path / "x.jpg") as read:
        expected = torch.from_numpy(np.array(read)).permute(2, 0, 1) / 255
    assert torch.equal(jpeg(image, 70), expected)
    assert norm(jpeg(image, 95) - image) < norm(jpeg(image, 70) - image) < norm(jpeg(image, 10) - image)
    grey = torch.full((3, 8, 8), 128 / 255)
    assert torch.equal(jpeg(grey, 50), grey)


class Contrast(Bright):
    """P(fake) is 0.2, and 0.6 more per unit of contrast."""

    def probabilities(self, images: Tensor) -> Tensor:
        fake = 0.2 + 0.6 * (images.amax(dim=(1, 2, 3)) - images.amin(dim=(1, 2, 3)))
        return torch.stack((1 - fake, fake), dim=1)


def test_compression_tells_the_verdicts_change_from_the_maps() -> None:
    fixed = rand(*SIZE, seed=5)
    case = case_of(lambda *_: fixed, checks(), detector=Contrast())
    found = scores_of(make(CompressionResponse), case)
    assert found["verdict-change", "half-size"].value == pytest.approx(0.6)
    assert found["verdict-flip", "half-size"].value == 1
    assert {item for _, item in found} == {"jpeg-90", "jpeg-70", "jpeg-50", "half-size"}
    for item in ("jpeg-90", "jpeg-70", "jpeg-50", "half-size"):
        assert found["map-change", item].value == pytest.approx(0, abs=1e-12)
        assert found["null", item].value == pytest.approx(1, abs=0.15)
    for quality in (90, 70, 50):
        p = 0.2 + 0.6 * float(jpeg(checks(), quality).max() - jpeg(checks(), quality).min())
        assert found["verdict-change", f"jpeg-{quality}"].value == pytest.approx(0.8 - p, abs=1e-6)
        assert found["verdict-flip", f"jpeg-{quality}"].value == 0
    assert run(make(CompressionResponse), case).passes == Passes(forward=4)


def test_compression_of_what_the_map_hangs_on() -> None:
    found = scores_of(make(CompressionResponse, qualities=[95]), case_of(mean_map, checks()))
    assert found["verdict-change", "half-size"].value == pytest.approx(0, abs=1e-6)
    for name in ("map-change", "null"):
        assert found[name, "half-size"].status == "undefined"
        assert "constant" in found[name, "half-size"].reason
        assert found[name, "jpeg-95"].status == "ok"


def test_compression_measures_the_rank_correlation() -> None:
    image = rand(3, *SIZE)

    def draw(shown: Tensor, *_: Any) -> Tensor:
        return torch.arange(80.0).view(SIZE) * (1 if torch.equal(shown, image) else -1)

    found = scores_of(make(CompressionResponse), case_of(draw, image))
    assert found["map-change", "jpeg-50"].value == pytest.approx(2)


def test_the_null_is_the_mean_over_places() -> None:
    # rolled by a column 2 1 4 3 (rho 0.6), by a row 3 4 1 2 (-0.6), by both 4 3 2 1 (-1)
    saliency = ranks(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    assert saliency.tolist() == [[-1.5, -0.5], [0.5, 1.5]]
    single = [chance_change(saliency, saliency, 1, torch.Generator().manual_seed(i)) for i in range(40)]
    assert {round(v, 9) for v in single} == {0.4, 1.6, 2.0}
    many = chance_change(saliency, saliency, 3000, torch.Generator().manual_seed(0))
    assert many == pytest.approx((0.4 + 1.6 + 2.0) / 3, abs=0.04)


def test_compression_refuses_a_quality_twice() -> None:
    with pytest.raises(UsageError, match="twice"):
        make(CompressionResponse, qualities=[90, 90])
    assert len({v.name for v in compressions((90, 70)).values()}) == 3


# ---- all of them ----------------------------------------------------------------------------------------------------

METRICS = [
    partial(make, MaxSensitivity, samples=3),
    partial(make, LocalLipschitz, samples=3),
    partial(make, RelativeStability, samples=3),
    partial(make, Continuity, steps=4),
    partial(make, CompressionResponse),
]


@pytest.mark.parametrize("metric", METRICS)
def test_the_cost_of_maps_is_stated(metric: Callable[[], Any]) -> None:
    case = case_of(mean_map, middling(), detector=Bright(centre=0))
    query = PassQuery(sample=case.picture.sample, facts=case.detector.facts, map=Passes(5, 7))
    said, done = metric().passes(query), run(metric(), case)
    maps = len(case.explain.views)  # type: ignore[attr-defined]
    assert maps > 0
    assert (said.forward, said.backward) == (done.passes.forward + 5 * maps, 7 * maps)


@pytest.mark.parametrize("metric", METRICS)
def test_draws_hang_on_the_sample_alone(metric: Callable[[], Any]) -> None:
    names: dict[str, list[str]] = {}
    for id in ("a", "b", "a again"):
        case = case_of(curved_map, middling(), id=id.split()[0], detector=Bright(centre=0))
        values_of(metric(), case)
        names[id] = [v.name for v in case.explain.views]  # type: ignore[attr-defined]
    assert names["a"] == names["a again"]
    if any("noise" in n for n in names["a"]):
        assert not set(names["a"]) & set(names["b"])


# ---- other libraries ------------------------------------------------------------------------------------------------


@pytest.mark.parity
def test_max_sensitivity_is_captums() -> None:
    captum = pytest.importorskip("captum.metrics")
    case = case_of(curved_map, middling())
    draws = iter([torch.stack(noises(case, "uniform 0.02", 10, lambda s, g: uniform(s, 0.02, g)))])

    def explain(inputs: Any) -> tuple[Tensor]:
        pictures = inputs[0] if isinstance(inputs, tuple) else inputs
        return (torch.stack([curved_map(x) for x in pictures]),)

    theirs = captum.sensitivity_max(
        explain,
        case.picture.image[None],
        perturb_func=lambda x: x + next(draws),
        n_perturb_samples=10,
    )
    assert values_of(make(MaxSensitivity), case)[0] == pytest.approx(float(theirs[0]), rel=1e-5)


def flat_net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 2)).eval()


def their_map(model: Any = None, inputs: Any = None, targets: Any = None, **_: Any) -> np.ndarray:
    x = np.asarray(inputs, dtype=np.float32)
    return x**2 + 0.3 * x[..., ::-1]


def quantus_score(metric: Any, x: np.ndarray) -> list[float]:
    net = flat_net()
    y = net(torch.from_numpy(x)).argmax(dim=1).numpy()
    found = metric(model=net, x_batch=x, y_batch=y, a_batch=their_map(inputs=x), explain_func=their_map, device="cpu")
    return [float(v) for v in found]


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "name",
    ["MaxSensitivity", "AvgSensitivity", "LocalLipschitzEstimate", "RelativeInputStability", "RelativeOutputStability"],
)
def test_formulas_are_quantuss(quantus: Any, name: str) -> None:
    x = (0.3 + 0.4 * rand(3, 1, 8, 8)).numpy()
    noise = [0.02 * (2 * rand(3, 64, seed=i).numpy() - 1) for i in range(4)]
    left = iter(noise)
    kind = {} if name.startswith("Rel") else {"normalise": False, "abs": False}
    metric = getattr(quantus, name)(nr_samples=4, perturb_func=lambda arr, indices, **_: arr + next(left), **kind)
    theirs = quantus_score(metric, x)
    net, found = flat_net(), []
    for i in range(3):
        pairs = [(x[i], (x[i].ravel() + n[i]).reshape(x[i].shape)) for n in noise]
        found.append(ours(name, [tuple(torch.from_numpy(t) for t in pair) for pair in pairs], net))
    assert found == pytest.approx(theirs, rel=1e-4)


def ours(name: str, pairs: list[Any], net: nn.Module) -> float:
    def one(x: Tensor, y: Tensor) -> float:
        a, b = (torch.from_numpy(their_map(inputs=t)) for t in (x, y))
        if name == "LocalLipschitzEstimate":
            return lipschitz_ratio(a, b, x, y)
        if name == "RelativeInputStability":
            return relative_stability(a, b, relative_difference(x, y, 1e-6), 1e-6)
        if name == "RelativeOutputStability":
            with torch.no_grad():
                return relative_stability(a, b, norm(net(x[None]) - net(y[None].float())), 1e-6)
        return relative_change(a, b)

    found = [one(*pair) for pair in pairs]
    return sum(found) / len(found) if name == "AvgSensitivity" else max(found)


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore")
def test_continuity_is_quantuss(quantus: Any) -> None:
    x = (0.3 + 0.4 * rand(1, 1, 8, 8)).numpy()
    theirs = quantus_score(quantus.Continuity(nr_steps=3, abs=True, normalise=True), x)
    image = torch.from_numpy(x[0])
    found = []
    for offset in shift_offsets(8, 3, 1.0):
        moved = shifted(image, offset)
        a, b = (torch.from_numpy(their_map(inputs=t)) for t in (image, moved))
        found.append(continuity(a, b, image, moved))
    assert max(found) == pytest.approx(theirs[0], rel=1e-5)


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore")
def test_a_copy_of_another_verdict_does_not_void_the_rest_as_in_quantus(quantus: Any) -> None:
    """Quantus: NaN as soon as one copy's label flips, and noise that only brightens."""
    x = (0.3 + 0.4 * rand(1, 1, 8, 8)).numpy()
    weights = flat_net()[1].weight.detach().numpy()  # type: ignore[index]
    across = (weights[0] - weights[1])[None]
    steps: Iterator[np.ndarray] = iter([0.001 * across, 100 * across, -100 * across])
    metric = quantus.RelativeInputStability(nr_samples=3, perturb_func=lambda arr, indices, **_: arr + next(steps))
    assert math.isnan(quantus_score(metric, x)[0])
    image = middling()
    case = case_of(mean_map, image, detector=Bright(slope=1e4, centre=float(image.mean())))
    assert len(values_of(make(RelativeStability, samples=12), case)) == 2
