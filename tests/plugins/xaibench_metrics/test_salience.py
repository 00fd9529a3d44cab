"""The salience measures against numbers worked out by hand, the golden numbers of Explain To Me and other libraries."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy.ndimage import gaussian_filter
from skimage.metrics import structural_similarity
from torch import Tensor

from xaibench.api import (
    Done,
    Explanation,
    Facts,
    MapCase,
    Native,
    Passes,
    PassQuery,
    Picture,
    Sample,
    Score,
    Scores,
    SetCase,
    Streams,
    View,
)
from xaibench.detector.engine import ProbeEngine
from xaibench.discovery import components
from xaibench.discovery.components import Use
from xaibench.discovery.registry import load_registry
from xaibench_metrics.salience.blur import (
    MODES,
    byte_levels,
    degrade,
    degraded_area,
    gaussian_of_bytes,
    rank_levels,
    rearranged,
    shifted,
    sigmas,
    smooth_random,
)
from xaibench_metrics.salience.compare import compare, corrected, enlarged, mean_of, shown_map
from xaibench_metrics.salience.degradation import GuidedDegradation
from xaibench_metrics.salience.entropy import quantise
from xaibench_metrics.salience.geometry import (
    FLIPS,
    IDENTITY,
    TURNS,
    GeometricParameters,
    Transform,
    following,
    shifts,
    transform_view,
    transforms,
)
from xaibench_metrics.salience.noise import NoiseParameters, NoiseResponse, salt_and_pepper, truncated, whole_curve
from xaibench_metrics.salience.stability import StabilityParameters, jackknife
from xaibench_testing.harness import Member, drawn_by, score, score_set, value
from xaibench_testing.planted import FAKE, Patch, planted_family
from xaibench_testing.planted_data import pictures_of, planted_samples

REGISTRY = load_registry()
SQUARE, PATCH = (40, 40), Patch(6, 8, 12, 14)
SIMILARITIES = ("ssim", "pearson", "spearman", "soft-iou", "cosine")


def metric(name: str, **values: object) -> Use:
    return components.make(REGISTRY.find("metric", name), values)


def explainer(name: str, **values: object) -> Use:
    return components.make(REGISTRY.find("explainer", name), values)


def vector() -> Tensor:
    """The unit-test map of the salience specification, section 1.8: 14 levels on 7x7."""
    i, j = torch.meshgrid(torch.arange(7.0), torch.arange(7.0), indexing="ij")
    return (255 * torch.exp(-((i - 2) ** 2 + (j - 4) ** 2) / 4)).floor().double()


def noise(seed: int, *size: int) -> Tensor:
    return torch.rand(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def world(size: tuple[int, int] = SQUARE) -> tuple[Any, list[Picture]]:
    detector = next(iter(planted_family(1, size, PATCH).values()))
    return detector, pictures_of(planted_samples(1, size, PATCH), detector)


def rows(scores: Scores, name: str) -> dict[str, Score]:
    return {s.item: s for s in scores.values if s.name == name}


def values(scores: Scores, name: str) -> dict[str, float]:
    found = {}
    for item, s in rows(scores, name).items():
        assert s.status == "ok" and s.value is not None, f"{name} {item}: {s.reason}"
        found[item] = s.value
    return found


def scored(measure: Use, maps: Use, size: tuple[int, int] = SQUARE, seed: int = 0) -> list[Scores]:
    detector, pictures = world(size)
    return [value(d) for d in score(measure, maps, detector, pictures, FAKE, seed=seed)]


def grey(picture: Picture) -> Tensor:
    """A map that goes wherever the picture goes: its mean over colours."""
    return picture.image.mean(dim=0)


GREY = drawn_by(lambda r: grey(r.picture), "grey")
STILL = drawn_by(lambda r: noise(5, *r.picture.image.shape[1:]).float(), "still")
CONSTANT = drawn_by(lambda r: torch.ones(r.picture.image.shape[1:]), "constant")


# ---- similarity -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("moved", [lambda m: m.flip(1), lambda m: m.flip(0), torch.rot90, lambda m: torch.rot90(m, -1)])
def test_golden_ssim_of_the_moved_vector(moved: Callable[[Tensor], Tensor]) -> None:
    assert compare(vector(), moved(vector()), "ssim", True) == pytest.approx(0.297017, abs=1e-6)


def test_golden_ssim_of_the_inverted_vector_and_pearson_of_the_flipped() -> None:
    assert compare(vector(), 255 - vector(), "ssim", True) == pytest.approx(-0.557075, abs=1e-6)
    assert compare(vector(), vector().flip(1), "pearson", False) == pytest.approx(0.292617, abs=1e-6)
    assert structural_similarity(vector().numpy(), np.zeros((7, 7)), data_range=255) == pytest.approx(2.2e-5, abs=1e-6)
    assert compare(vector(), torch.zeros(7, 7), "ssim", True) == "the map is constant"  # flagged where it is compared


def test_ssim_of_a_7x7_map_is_the_global_formula() -> None:
    a, b = (quantise(noise(s, 7, 7)).double() for s in (0, 1))
    cov = torch.cov(torch.stack([a.flatten(), b.flatten()]))
    (ma, mb), (va, vb), vab = (a.mean(), b.mean()), (cov[0, 0], cov[1, 1]), cov[0, 1]
    by_hand = (2 * ma * mb + 6.5025) * (2 * vab + 58.5225) / ((ma**2 + mb**2 + 6.5025) * (va + vb + 58.5225))
    assert compare(a, b, "ssim", True) == pytest.approx(float(by_hand), abs=1e-12)


@pytest.mark.parametrize(
    ("similarity", "expected"),
    [
        # a = (0, .5, 0, 1) and b = (1, .5, 0, 0) once stretched; both mean .375, deviations
        # (-.375, .125, -.375, .625) and (.625, .125, -.375, -.375): products sum to -.3125, squares to .6875 each
        ("pearson", -0.3125 / 0.6875),
        # ranks 1.5, 3, 1.5, 4 and 4, 3, 1.5, 1.5, less 2.5: -1.5 + .25 + 1 - 1.5 = -1.75, squares 4.5
        ("spearman", -1.75 / 4.5),
        ("soft-iou", 0.5 / 2.5),  # least 0, .5, 0, 0; most 1, .5, 0, 1
        ("cosine", 0.25 / 1.25),
    ],
)
def test_similarities_by_hand(similarity: Any, expected: float) -> None:
    a, b = torch.tensor([[1.0, 2], [1, 3]]).double(), torch.tensor([[9.0, 7], [5, 5]]).double()
    assert compare(a, b, similarity, False) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize("quantised", [True, False])
def test_a_map_is_like_itself_and_likeness_is_symmetric(similarity: Any, quantised: bool) -> None:
    a, b = (quantise(noise(s, 9, 8)).double() for s in (0, 1))
    assert compare(a, a, similarity, quantised) == pytest.approx(1, abs=1e-12)
    one, two = compare(a, b, similarity, quantised), compare(b, a, similarity, quantised)
    assert one == pytest.approx(two, abs=1e-12) and isinstance(one, float) and one < 0.9


def test_what_cannot_be_compared_has_a_reason() -> None:
    assert "different sizes" in str(compare(noise(0, 7, 7), noise(0, 8, 8), "pearson", False))
    assert "SSIM needs maps of 7x7" in str(compare(noise(0, 6, 9), noise(1, 6, 9), "ssim", False))
    assert isinstance(compare(noise(0, 6, 9), noise(1, 6, 9), "pearson", False), float)
    assert compare(torch.ones(7, 7).double(), noise(0, 7, 7), "cosine", False) == "the map is constant"
    assert mean_of([0.5, "why", 1.0]) == "why"


def test_null_correction() -> None:
    assert corrected(0.6, 0.2) == pytest.approx(0.5)
    assert corrected(0.2, 0.2) == 0 and corrected(1.0, 0.2) == 1
    assert corrected("why", 0.0) == "why" and corrected(0.5, "why") == "no null: why"
    assert "the null is 1" in str(corrected(1.0, 1.0))
    assert "the null is 0.97" in str(corrected(0.5, 0.97)) and corrected(0.5, 0.9) == pytest.approx(-4)


def test_published_upscaled_maps_are_enlarged_bytes() -> None:
    explanation = Explanation(map=noise(0, 28, 28).float(), native_map=vector().float() / 3)
    levels = shown_map(explanation, "native", True)
    assert torch.equal(levels, vector())
    upscaled = shown_map(explanation, "upscaled", True)
    assert torch.equal(upscaled, enlarged(vector().to(torch.uint8), (28, 28)).double())
    assert torch.equal(upscaled, upscaled.round()) and upscaled.shape == (28, 28)
    assert torch.equal(shown_map(explanation, "upscaled", False), noise(0, 28, 28).float().double())
    finer = Explanation(map=noise(0, 4, 4).float(), native_map=noise(1, 28, 28).float())
    assert shown_map(finer, "upscaled", True).shape == (4, 4)


# ---- geometry -------------------------------------------------------------------------------------------------------


def test_landmarks_of_a_wide_picture_move_with_its_width() -> None:
    flip = transform_view(Transform("flip-lr", flip=-1))
    _, _, points = flip.apply(torch.zeros(3, 4, 10), None, torch.tensor([[1.0, 2.0]]))
    assert points is not None and points.tolist() == [[8.0, 2.0]]


def test_transforms_are_the_published_ones_in_their_order() -> None:
    found = transforms((224, 224), 16, scaled=True)
    assert [t.name for t in found] == [
        "flip-lr", "flip-tb", "shift-16-16", "shift-16+0", "shift-16+16", "shift+0-16", "shift+0+16", "shift+16-16",
        "shift+16+0", "shift+16+16", "turn-cw", "turn-ccw",
    ]  # fmt: skip
    assert len(transforms((224, 256), 16, scaled=True)) == 10, "no quarter turns of pictures that are not square"
    assert [t.shift for t in transforms((32, 48), 16, scaled=True)[2:]] == [t.shift for t in shifts(2)]
    assert transforms((16, 16), 16, scaled=False) == (*FLIPS, *TURNS), "nothing is left of a shift by a whole side"
    for scaled in (True, False):
        assert transforms((16, 16), 0, scaled=scaled) == (*FLIPS, *TURNS), "no shift is no transform"


def test_transforms_are_flips_turns_and_crops_of_a_padded_picture() -> None:
    image = noise(0, 3, 6, 6)
    a = image.numpy()
    assert np.array_equal(FLIPS[0].moved(image).numpy(), a[:, :, ::-1])
    assert np.array_equal(FLIPS[1].moved(image).numpy(), a[:, ::-1])
    assert np.array_equal(TURNS[0].moved(image).numpy(), np.rot90(a, -1, (1, 2)))
    padded = np.pad(a, ((0, 0), (2, 2), (2, 2)), mode="edge")
    for t in shifts(2):
        left, top = 2 - t.shift[0], 2 - t.shift[1]  # content moves left (up) where the crop starts further right (down)
        assert np.array_equal(t.moved(image).numpy(), padded[:, top : top + 6, left : left + 6])


@pytest.mark.parity
def test_parity_of_flips_and_turns_with_opencv() -> None:
    cv2 = pytest.importorskip("cv2")
    image = noise(0, 6, 6)
    for t, other in zip((*FLIPS, *TURNS), (
        cv2.flip(image.numpy(), 1), cv2.flip(image.numpy(), 0), cv2.rotate(image.numpy(), cv2.ROTATE_90_CLOCKWISE),
        cv2.rotate(image.numpy(), cv2.ROTATE_90_COUNTERCLOCKWISE),
    ), strict=True):  # fmt: skip
        assert np.array_equal(t.moved(image).numpy(), other)


@pytest.mark.parametrize("transform", [IDENTITY, *FLIPS, *TURNS, *shifts(3)], ids=lambda t: t.name)
def test_what_is_moved_comes_back(transform: Transform) -> None:
    grid = noise(0, 9, 9)
    back = transform.undone(transform.moved(grid))
    assert torch.equal(transform.valid(back, 0), transform.valid(grid, 0))
    for similarity in SIMILARITIES:
        p = GeometricParameters(similarity=similarity, margin=0)  # type: ignore[arg-type]
        whole = noise(1, 16, 16)
        assert following(whole, transform.moved(whole), transform, p) == pytest.approx(1, abs=1e-12)
    if transform in FLIPS:
        assert torch.equal(transform.moved(transform.moved(grid)), grid)


@pytest.mark.parametrize("transform", [*FLIPS, *TURNS, *shifts(2)], ids=lambda t: t.name)
def test_views_take_mask_and_landmarks_along(transform: Transform) -> None:
    image = torch.zeros(3, 8, 8)
    image[:, 2, 3] = 1
    mask, points = image[0] > 0, torch.tensor([[3.0, 2.0]])
    moved, moved_mask, moved_points = transform_view(transform).apply(image, mask, points)
    assert moved_mask is not None and moved_points is not None
    assert torch.equal(moved[0] > 0, moved_mask)
    (row, column), (x, y) = moved_mask.nonzero()[0].tolist(), moved_points[0].tolist()
    assert (row, column) == (y, x) and image.sum() == 3


def test_the_centre_prior_follows_flips_and_turns_and_the_edges_follow_all() -> None:
    for name in ("geometric-following", "geometric-following-explain2me"):
        for scores in scored(metric(name), explainer("center-prior")):
            found = values(scores, "geometric-following")
            for item in ("flip-lr", "flip-tb", "turn-cw", "turn-ccw"):
                assert found[item] == pytest.approx(1, abs=1e-6)
            assert found["shift-3+0" if name == "geometric-following" else "shift-16+0"] < 0.999
    for similarity in SIMILARITIES:
        for scores in scored(metric("geometric-following", similarity=similarity), explainer("edges")):
            found = values(scores, "geometric-following")
            assert len(found) == 12
            tolerance = 1e-4 if similarity == "soft-iou" else 1e-6  # linear in the float16 rounding, not quadratic
            assert all(v == pytest.approx(1, abs=tolerance) for v in found.values())


def test_without_the_margin_the_lost_neighbours_of_a_shift_are_seen() -> None:
    scores = scored(metric("geometric-following", margin=0), explainer("edges"))[0]
    found = values(scores, "geometric-following")
    assert found["flip-lr"] == pytest.approx(1, abs=1e-6) and found["shift-3+0"] < 1 - 1e-5


def test_a_map_of_the_picture_follows_and_one_that_stays_does_not() -> None:
    for scores in scored(metric("geometric-following"), GREY):
        assert all(v == pytest.approx(1, abs=1e-5) for v in values(scores, "geometric-following").values())
        assert all(v == pytest.approx(1, abs=1e-4) for v in values(scores, "corrected").values())
        assert all(v < 0.99 for v in values(scores, "null").values())
    for scores in scored(metric("geometric-following"), STILL):
        assert all(abs(v) < 0.2 for v in values(scores, "geometric-following").values())
        assert all(v == 1 for v in values(scores, "null").values())
        assert all("the null is 1" in s.reason for s in rows(scores, "corrected").values())


def test_the_detectors_own_response_stands_beside() -> None:
    detector, pictures = world()
    scores = value(score(metric("geometric-following"), GREY, detector, pictures[1:], FAKE)[0])
    clean = detector.probabilities(pictures[1].image[None])[0]
    flipped = detector.probabilities(pictures[1].image.flip(-1)[None])[0]
    assert clean[FAKE] > 0.5 > flipped[FAKE]
    assert values(scores, "change")["flip-lr"] == pytest.approx(float(clean[FAKE] - flipped[FAKE]), abs=1e-6)
    assert values(scores, "flip")["flip-lr"] == 1


# ---- noise ----------------------------------------------------------------------------------------------------------


def test_noise_turns_the_share_that_it_says_and_leaves_the_rest() -> None:
    image = torch.full((3, 100, 100), 0.4)
    sets = []
    for amount in (0.05, 0.25, 1.0):
        out = salt_and_pepper(image, amount, np.random.default_rng(0))
        turned = out != image
        assert float(turned.double().mean()) == pytest.approx(amount, abs=0.01)
        assert float((out[turned] == 1).double().mean()) == pytest.approx(0.5, abs=0.02)
        assert set(out[turned].tolist()) == {0.0, 1.0}
        sets.append(turned)
    assert not (sets[0] & ~sets[1]).any(), "levels are nested"
    assert not torch.equal(sets[0][0], sets[0][1]), "colours turn independently"
    assert torch.equal(salt_and_pepper(image, 0.0, np.random.default_rng(0)), image)


@pytest.mark.parity
@pytest.mark.parametrize("amount", [0.01, 0.05, 0.5])
def test_parity_of_the_noise_with_scikit_image(amount: float) -> None:
    from skimage.util import random_noise

    image = noise(0, 3, 20, 30)
    theirs = random_noise(image.permute(1, 2, 0).numpy(), mode="s&p", amount=amount, rng=np.random.default_rng(3))
    ours = salt_and_pepper(image, amount, np.random.default_rng(3))
    assert np.array_equal(ours.permute(1, 2, 0).numpy(), theirs)


def test_truncation_lowers_24_of_256_grey_values() -> None:
    greys = (torch.arange(256).float() / 255).expand(3, 1, 256)
    levels = (truncated(greys) * 255).round()
    assert int((levels[0] < torch.arange(256)).sum()) == 24
    assert bool(((levels[0] - torch.arange(256)).abs() <= 1).all())


def test_noise_level_0_is_the_picture_itself_but_not_in_the_published_form() -> None:
    robust = scored(metric("noise-response", levels=(0.0, 0.5)), GREY)[1]
    assert values(robust, "noise-response")["0"] == pytest.approx(1, abs=1e-12)
    assert values(robust, "change")["0"] == 0 and values(robust, "flip")["0"] == 0
    assert values(robust, "noise-response")["0.5"] < 0.5
    published = scored(metric("noise-response-explain2me"), GREY)[1]
    assert [list(c.x) for c in published.curves] == [[0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0]]
    assert 0.9 < values(published, "noise-response")["0"] < 1


def test_a_map_that_ignores_the_picture_has_no_corrected_response() -> None:
    scores = scored(metric("noise-response"), explainer("center-prior"))[0]
    assert all(v == pytest.approx(1, abs=1e-12) for v in values(scores, "noise-response").values())
    assert values(scores, "null") == pytest.approx(dict.fromkeys(values(scores, "null"), 1.0))
    assert {s.reason for s in rows(scores, "corrected").values()} == {
        "the null is 1: such maps are alike whatever happens"
    }


def test_noise_depends_on_the_seed_alone() -> None:
    one, same, other = (scored(metric("noise-response"), GREY, seed=s)[0] for s in (0, 0, 1))
    assert one == same and one != other
    with pytest.raises(ValidationError, match="levels"):
        NoiseParameters(levels=(0.5, 1.5))
    with pytest.raises(ValidationError, match="levels"):
        NoiseParameters(levels=(0.5, 0.5))


# ---- cases by hand --------------------------------------------------------------------------------------------------


class White:
    """P(fake) 0.9 while the patch, rows 4 to 7 and columns 5 to 9, is all white; else 0.1."""

    device = torch.device("cpu")
    facts = Facts(name="white", classes=("real", "fake"), real_class=0, input_size=(16, 20), digest="white")
    rows, columns = slice(4, 8), slice(5, 10)

    def probabilities(self, images: Tensor) -> Tensor:
        whole = images[:, :, self.rows, self.columns].amin(dim=(1, 2, 3)) > 0.999
        fake = torch.where(whole, 0.9, 0.1)
        return torch.stack([1 - fake, fake], dim=1)


def patch_map() -> Tensor:
    """Without ties, the patch on top."""
    saliency = noise(0, 16, 20).float()
    saliency[White.rows, White.columns] += 1
    return saliency


def case_of(draw: Callable[[Picture, int], Explanation], *, sample: str = "s", target: int = 1, **more: Any) -> MapCase:
    """A map a picture as a function of the picture shown and the class; the class stays unless it is named."""
    detector = White()
    image = torch.zeros(3, 16, 20)
    image[:, White.rows, White.columns] = 1
    picture = Picture(
        sample=Sample(id=sample, label="fake", group=more.get("group", sample)), image=image, mask=None, landmarks=None,
        digest=sample, native=lambda: Native(np.zeros((1, 1, 3), np.uint8)), counterpart=lambda: None,
    )  # fmt: skip

    def explain(view: View | None = None, target: int | None = None, detector: Any = None) -> Iterator[Any]:
        shown = picture if view is None else replace(picture, image=view.apply(image, None, None)[0], view=view.name)
        return draw(shown, fixed if target is None else target)
        yield

    fixed = target
    return MapCase(
        detector=detector, picture=picture, explainer="e", explanation=draw(picture, target), target=target,
        clean=more.get("clean", detector.probabilities(image[None])[0]), streams=Streams.of(0, 0, "m", sample),
        artefacts=None, explain=explain,  # type: ignore[arg-type]
    )  # fmt: skip


def run(measure: Use, case: Any) -> Done[Scores]:
    done: Done[Scores] = ProbeEngine(White(), 8).run_one(lambda: measure.instance.score(case))
    if done.error:
        raise done.error
    return done


def test_a_missing_map_is_flagged_and_not_averaged() -> None:
    def draw(picture: Picture, target: int) -> Explanation:
        lost = "noise-0.05" in picture.view or "flip-tb" in picture.view
        return Explanation.none("lost") if lost else Explanation(map=patch_map())

    noisy = value(run(metric("noise-response"), case_of(draw)))
    found = rows(noisy, "noise-response")
    assert (found["0.05"].status, found["0.05"].reason) == ("undefined", "the noisy picture has no map: lost")
    assert found["0.1"].value == pytest.approx(1)
    moved = rows(value(run(metric("geometric-following"), case_of(draw))), "geometric-following")
    assert [i for i, s in moved.items() if s.status != "ok"] == ["flip-tb"]


@pytest.mark.parametrize("name", ["noise-response", "geometric-following", "guided-degradation"])
def test_constant_maps_are_undefined_and_cost_nothing(name: str) -> None:
    for preset in ("", "-explain2me"):
        for scores in scored(metric(name + preset), CONSTANT):
            assert {(s.status, s.reason) for s in scores.values} == {("undefined", "the map is constant")}


def test_the_published_class_rule_explains_each_pictures_own_class() -> None:
    asked = []

    def draw(picture: Picture, target: int) -> Explanation:
        asked.append((picture.view.partition("salience-")[2][:7], target))
        return Explanation(map=patch_map())

    measure = metric("noise-response", levels=(0.0, 1.0), nulls=1)
    done = run(measure, case_of(draw))
    assert {t for _, t in asked} == {1}, "the class is fixed on the clean picture"
    said = measure.instance.passes(PassQuery(sample=case_of(draw).picture.sample, facts=White.facts, map=Passes(7, 2)))
    assert done.passes == Passes(3) and said == Passes(24, 6)
    asked.clear()
    published = metric("noise-response-explain2me", levels=(0.0, 1.0), nulls=1)
    run(published, case_of(draw, target=0))
    assert asked[0] == ("", 0) and asked[1] == ("", 1), "the run explained 0, the clean picture's own class is 1"
    assert [t for _, t in asked[2:]] == [1, 0, 0], "noise turns the verdict, and the map speaks for the new one"
    said = published.instance.passes(
        PassQuery(sample=case_of(draw).picture.sample, facts=White.facts, map=Passes(7, 2))
    )
    assert said == Passes(3 + 4 * 7, 4 * 2, exact=False)


# ---- degradation ----------------------------------------------------------------------------------------------------


def test_published_blur_at_every_level() -> None:
    expected = {0: 10, 1: 6.561, 2: 4.096, 3: 2.401, 4: 1.296, 5: 0.625, 6: 0.256, 8: 0.016, 10: 0}
    found = sigmas(np.array(list(expected), float), 10)
    assert found.tolist() == pytest.approx(list(expected.values()), abs=1e-12)


def test_object_and_background_swap_with_the_inverted_map() -> None:
    levels = quantise(noise(0, 20, 24)).double()
    for mode, other in (MODES, MODES[::-1]):
        assert np.array_equal(byte_levels(levels, mode, 1.0), byte_levels(255 - levels, other, 1.0))
    saliency, ties = noise(1, 20, 24), noise(2, 20, 24)
    for mode, other in (MODES, MODES[::-1]):
        one, two = rank_levels(saliency, mode, 1.0, ties), rank_levels(1 - saliency, other, 1.0, ties)
        assert np.allclose(one, two, atol=1e-9)


def test_published_levels_by_hand() -> None:
    levels = torch.tensor([[0.0, 51.0], [127.0, 255.0]])
    background = byte_levels(levels, "background", 0.0)
    assert background is not None
    assert background.tolist() == [[0.0, 2.0], [5.0, 10.0]]
    assert byte_levels(levels, "object", 0.0).tolist() == [[10.0, 8.0], [5.0, 0.0]]  # type: ignore[union-attr]
    assert byte_levels(torch.zeros(3, 3), "background", 0.0) is None


def test_areas_match_by_default_and_do_not_as_published() -> None:
    sparse = torch.zeros(40, 40).double()
    sparse[10:14, 20:25] = 1
    ties = smooth_random((40, 40), torch.Generator().manual_seed(0))
    ranked = {m: degraded_area(rank_levels(sparse, m, 1.0, ties)) for m in MODES}
    assert ranked["object"] == pytest.approx(0.2, abs=2e-3)  # the mean of u^4 over [0, 1]
    assert ranked["background"] == pytest.approx(ranked["object"], abs=2e-3)
    shipped = {m: byte_levels(sparse * 255, m, 1.0) for m in MODES}
    areas = {m: degraded_area(v) for m, v in shipped.items() if v is not None}
    assert areas["background"] > 0.9 and areas["object"] < 0.05
    levels = rank_levels(sparse, "object", 1.0, ties)
    for control in (rearranged(levels, ties), shifted(levels)):
        assert np.array_equal(np.sort(control, axis=None), np.sort(levels, axis=None))
        assert not np.array_equal(control, levels)


def test_blur_is_taken_pixel_by_pixel() -> None:
    image = noise(0, 3, 12, 15).float()
    levels = np.full((12, 15), 10.0)
    levels[:, :5], levels[:, 5:9] = 0.0, 3.0
    sigma = {0.0: 2.0, 3.0: 2.0 * 0.7**4}
    mirrored, out = degrade(image, [levels[:, ::-1], levels], 2.0, in_bytes=False)
    assert torch.equal(mirrored.flip(2), degrade(image.flip(2), [levels], 2.0, in_bytes=False)[0])
    assert torch.equal(out[:, :, 9:], image[:, :, 9:])
    for channel in range(3):
        blurred = {level: gaussian_filter(image[channel].double().numpy(), s) for level, s in sigma.items()}
        assert np.allclose(out[channel, :, :5].numpy(), blurred[0.0][:, :5], atol=1e-6)
        assert np.allclose(out[channel, :, 5:9].numpy(), blurred[3.0][:, 5:9], atol=1e-6)
    flat = degrade(torch.full((3, 9, 9), 77 / 255), [np.zeros((9, 9))], 3.0, in_bytes=True)[0]
    assert torch.equal(flat, torch.full((3, 9, 9), 77 / 255))


@pytest.mark.parametrize("sigma", [0.3, 0.7, 1.0, 2.0, 3.3, 5.0, 9.1])
def test_a_blur_of_bytes_leaves_level_areas_whole(sigma: float) -> None:
    """On any processor: scipy's own makes 254 of 255 where the last digit of an exponential lets it."""
    for level in (1, 77, 128, 255):
        flat = np.full((24, 31), level, np.uint8)
        assert np.array_equal(gaussian_of_bytes(flat, (sigma, sigma)), flat)
    rough = np.random.default_rng(0).integers(0, 256, (24, 31), dtype=np.uint8)
    theirs = gaussian_filter(rough, sigma).astype(int)
    assert np.abs(gaussian_of_bytes(rough, (sigma, sigma)).astype(int) - theirs).max() <= 1
    assert (gaussian_of_bytes(rough, (sigma, sigma)) == theirs).mean() > 0.95


def test_a_blur_of_bytes_is_cut_to_whole_numbers_after_each_axis() -> None:
    square = np.zeros((3, 5), np.uint8)
    square[1, 2] = 200
    # one tap a side, exp(-1 / (2 0.37^2)) = 0.02593: 200 / 1.05186 = 190.14 and 200 0.02593 / 1.05186 = 4.93
    assert gaussian_of_bytes(square, (0, 0.37)).tolist() == [[0] * 5, [0, 4, 190, 4, 0], [0] * 5]
    # down the columns first, which leaves 4, 190, 4; then 4 0.95070 = 3.80, 190 0.02465 = 4.68, 190 0.95070 = 180.6
    assert gaussian_of_bytes(square, (0.37, 0.37)).tolist() == [[0, 0, 3, 0, 0], [0, 4, 180, 4, 0], [0, 0, 3, 0, 0]]


@pytest.mark.parametrize("sign", [1, -1])
def test_blurring_the_evidence_is_the_whole_contrast(sign: int) -> None:
    measure = metric("guided-degradation", smooth=0.0, blur=60.0)  # 60 px of 224 are 4.3 of 16
    scores = value(run(measure, case_of(lambda *_: Explanation(map=sign * patch_map()))))
    # the patch holds the 20 highest of 320 ranks: blurred as object, untouched as background
    assert values(scores, "guided-degradation")[""] == pytest.approx(0.8 * sign, abs=1e-6)
    assert values(scores, "drop") == pytest.approx({"object": 0.8 * (sign > 0), "background": 0.8 * (sign < 0)})
    assert values(scores, "flip") == {"object": float(sign > 0), "background": float(sign < 0)}
    areas = values(scores, "area")
    assert values(scores, "per-area")[""] == pytest.approx(
        sign * 0.8 / areas["object" if sign > 0 else "background"], abs=1e-5
    )
    random = [v for item, v in values(scores, "null").items() if item != "shifted"]
    assert len(random) == 4 and set(values(scores, "null")) - {"shifted"} == {f"random-{i}" for i in range(4)}
    assert values(scores, "lift")[""] == pytest.approx(0.8 * sign - sum(random) / 4, abs=1e-6)
    assert values(scores, "similarity") == pytest.approx({"object": 1, "background": 1})
    assert all("the null is 1" in s.reason for s in rows(scores, "similarity-corrected").values())


def test_degradation_costs_what_it_says() -> None:
    measure = metric("guided-degradation", controls=2)
    case = case_of(lambda *_: Explanation(map=patch_map()))
    said = measure.instance.passes(PassQuery(sample=case.picture.sample, facts=White.facts, map=Passes(5)))
    assert run(measure, case).passes == Passes(8) and said == Passes(8 + 4 * 5)
    assert isinstance(measure.instance, GuidedDegradation)


# ---- degraded sets --------------------------------------------------------------------------------------------------


def degraded(*maps: tuple[Tensor | None, str]) -> SetCase:
    """Cases of maps with the labels of their pictures: fakes have the white patch, real pictures are black."""
    cases = []
    for i, (saliency, label) in enumerate(maps):
        if saliency is None:
            continue
        drawn = Explanation(map=saliency)
        one = case_of(lambda *_, drawn=drawn: drawn, sample=f"p{i}")
        if label == "real":
            black = torch.zeros_like(one.picture.image)
            sample = replace(one.picture.sample, label="real")
            clean = one.detector.probabilities(black[None])[0]
            one = replace(one, picture=replace(one.picture, image=black, sample=sample), clean=clean, target=0)
        cases.append(one)
    return SetCase(members={"m": cases}, asked={"m": len(maps)}, explainer="e", streams=Streams.of(0, 0, "m", ""))


def test_accuracy_and_auc_of_degraded_sets_by_hand() -> None:
    measure = metric("degraded-accuracy", smooth=0.0, blur=60.0)
    at, off = patch_map(), -patch_map()
    # blurred where the map is high the patch is lost, so that a fake is read as the real pictures are
    scores = value(run(measure, degraded((at, "fake"), (at, "fake"), (off, "fake"), (at, "real"))))
    found = values(scores, "accuracy")
    assert found["untouched"] == 1 and found["object"] == 2 / 4 and found["background"] == 3 / 4
    areas = values(scores, "auc")
    # fakes above the one real picture: none lost 1; two of three tied with it 2/3; one of three tied 5/6
    assert areas["untouched"] == 1 and areas["object"] == pytest.approx(2 / 3)
    assert areas["background"] == pytest.approx(5 / 6)
    assert values(scores, "accuracy-contrast")[""] == 1 / 4
    assert values(scores, "auc-contrast")[""] == pytest.approx(1 / 6)
    assert set(found) == set(areas) == {"untouched", "object", "background", "random-object", "random-background"}
    assert values(scores, "left-out")[""] == 0


def test_degraded_sets_leave_out_and_count_pictures_without_a_map() -> None:
    flat = torch.ones(16, 20)
    measure = metric("degraded-accuracy", smooth=0.0, blur=60.0)
    done = run(measure, degraded((patch_map(), "fake"), (None, "fake"), (flat, "real"), (patch_map(), "fake")))
    assert done.passes == Passes(8), "four pictures of each of the two"
    scores = value(done)
    assert values(scores, "left-out")[""] == 1 / 2 and values(scores, "accuracy")["object"] == 0
    assert {s.reason for s in rows(scores, "auc").values()} == {"AUC needs both real and fake pictures"}
    assert rows(scores, "auc-contrast")[""].status == "undefined"
    nothing = value(run(measure, degraded((flat, "real"))))
    assert {s.reason for s in rows(nothing, "accuracy").values()} == {"no picture was degraded"}


def test_degraded_sets_are_blurred_as_each_picture_is() -> None:
    for preset in ("", "-explain2me"):
        more = {"controls": 1, "smooth": 1.0, "blur": 60.0}
        one = degraded((patch_map(), "fake")).members["m"]
        alone = value(run(metric(f"guided-degradation{preset}", **more), next(iter(one))))
        whole = value(run(metric(f"degraded-accuracy{preset}", smooth=1.0, blur=60.0), degraded((patch_map(), "fake"))))
        flips = values(alone, "flip")
        assert {mode: values(whole, "accuracy")[mode] for mode in MODES} == {m: 1 - flips[m] for m in MODES}
        assert flips["object"] == 1


# ---- stability ------------------------------------------------------------------------------------------------------

A, B, C = ([0.0, 1, 0, 0], [0.0, 0, 1, 0], [0.0, 1, 1, 0])
"""Pearson: A and B -1/3; A and C, B and C 1/sqrt(3) = .57735."""
R = 1 / math.sqrt(3)


def runs_of(maps: Mapping[str, Sequence[Any]], targets: Mapping[str, int] | None = None) -> SetCase:
    """Members' maps of pictures p0, p1, ... (None: missing), each picture a group of its own."""
    chosen = targets or {}

    def case(name: str, i: int, m: Any) -> MapCase:
        grid = torch.tensor(m).view(2, 2) if isinstance(m, list) else m
        return case_of(lambda *_: Explanation(map=grid), sample=f"p{i}", target=chosen.get(name, 1))

    return SetCase(
        members={n: [case(n, i, m) for i, m in enumerate(ms) if m is not None] for n, ms in maps.items()},
        asked={n: len(ms) for n, ms in maps.items()},
        explainer="e",
        streams=Streams.of(0, 0, "m", ""),
    )


def stability_of(case: SetCase, **parameters: object) -> Scores:
    return metric("run-stability", **parameters).instance.score(case)  # type: ignore[no-any-return]


def test_stability_by_hand() -> None:
    scores = stability_of(runs_of({"r1": [A, C], "r2": [A, A], "r3": [B, C]}))
    # r1 r2: (1 + R)/2; r1 r3: (-1/3 + 1)/2; r2 r3: (-1/3 + R)/2
    pairs = {"r1 | r2": (1 + R) / 2, "r1 | r3": 1 / 3, "r2 | r3": (R - 1 / 3) / 2}
    assert values(scores, "pair") == pytest.approx(pairs, abs=1e-6)
    mean = sum(pairs.values()) / 3
    assert values(scores, "run-stability")[""] == pytest.approx(mean, abs=1e-6)
    # chance: other picture and other run. r1 r2: (A, A), (C, A); r1 r3: (A, C), (C, B); r2 r3: (A, C), (A, B)
    null = ((1 + R) / 2 + R + (R - 1 / 3) / 2) / 3
    assert values(scores, "null")[""] == pytest.approx(null, abs=1e-6)
    assert values(scores, "corrected")[""] == pytest.approx((mean - null) / (1 - null), abs=1e-6)
    without = [pairs["r2 | r3"], pairs["r1 | r3"], pairs["r1 | r2"]]
    low, high = jackknife(without, mean)
    assert isinstance(low, float) and isinstance(high, float)
    assert values(scores, "low")[""] == pytest.approx(max(-1, low)) and values(scores, "high")[""] == min(1, high)
    assert values(scores, "left-out")[""] == 0 and values(scores, "flip")[""] == 0
    assert not rows(scores, "each")


def test_each_picture_and_pair_of_runs_has_its_value() -> None:
    flat = [1.0, 1, 1, 1]
    scores = stability_of(runs_of({"r1": [A, C, A], "r2": [A, A, flat], "r3": [B, None, A]}), each=True)
    found = rows(scores, "each")
    assert {item: s.value for item, s in found.items() if s.status == "ok"} == pytest.approx(
        {"r1 | r2: p0": 1, "r1 | r3: p0": -1 / 3, "r2 | r3: p0": -1 / 3, "r1 | r2: p1": R, "r1 | r3: p2": 1}, abs=1e-6
    )
    assert {item: s.reason for item, s in found.items() if s.status != "ok"} == {
        "r1 | r3: p1": "the picture has no map of both runs",
        "r2 | r3: p1": "the picture has no map of both runs",
        "r1 | r2: p2": "the map is constant",
        "r2 | r3: p2": "the map is constant",
    }
    # the means of a row and of a column are the measure's own
    assert values(scores, "pair")["r1 | r2"] == pytest.approx((1 + R) / 2, abs=1e-6)
    assert values(scores, "picture")["p0"] == pytest.approx(1 / 9, abs=1e-6)


def test_stability_is_crossed_with_people_where_there_are_ten() -> None:
    maps = {"r1": [A, C] * 6, "r2": [A, A] * 6, "r3": [B, C] * 6}
    scores = stability_of(runs_of(maps))
    pictures = values(scores, "picture")
    assert pictures == pytest.approx({f"p{i}": (1 - 1 / 3 - 1 / 3) / 3 if i % 2 == 0 else (R + 1 + R) / 3
                                      for i in range(12)}, abs=1e-6)  # fmt: skip
    pairs = values(scores, "pair")
    without = [pairs["r2 | r3"], pairs["r1 | r3"], pairs["r1 | r2"]]
    alone = jackknife(without, values(scores, "run-stability")[""])
    apart = (pictures["p1"] - pictures["p0"]) / 2
    crossed = jackknife(without, values(scores, "run-stability")[""], (apart**2 / 11, 11))
    assert isinstance(alone[0], float) and isinstance(crossed[0], float)
    assert values(scores, "low")[""] == pytest.approx(max(-1, crossed[0]), rel=0.02)
    assert crossed[0] != pytest.approx(alone[0], rel=0.02)


def test_jackknife_by_hand() -> None:
    # centre .4, squares .08: t(.975, 2) sqrt(2/3 * .08) = 4.302653 * .2309401
    assert jackknife([0.2, 0.4, 0.6], 0.4) == pytest.approx((0.4 - 0.993655, 0.4 + 0.993655), abs=1e-6)
    assert jackknife([0.4, 0.4, 0.4], 0.4) == pytest.approx((0.4, 0.4))
    # .0533 over runs with 2 degrees of freedom, .02 over people with 9: 3.667 together, t = 2.879
    crossed = jackknife([0.2, 0.4, 0.6], 0.4, (0.02, 9))
    assert crossed == pytest.approx((0.4 - 0.779604, 0.4 + 0.779604), abs=1e-6)
    assert "three" in str(jackknife([0.5, 0.5], 0.5)[0]) and jackknife([0.1, 0.2, 0.3], "why") == ("why", "why")


def test_stability_is_symmetric_in_runs_and_leaves_out_pairs_of_a_run_with_itself() -> None:
    maps = {"r1": [A, C, B], "r2": [A, A, C], "r3": [B, C, C]}
    one = stability_of(runs_of(maps))
    assert one == stability_of(runs_of(dict(reversed(maps.items()))))
    renamed = stability_of(runs_of(dict(zip(("r1", "r2", "r3"), reversed(maps.values()), strict=True))))
    assert values(one, "run-stability")[""] == pytest.approx(values(renamed, "run-stability")[""])
    assert len(values(one, "pair")) == 3
    twelve = {f"r{i:02d}": [A, C] for i in range(10)}
    same = stability_of(runs_of(twelve))
    assert len(values(same, "pair")) == 45
    assert values(same, "run-stability")[""] == pytest.approx(1) and values(same, "low")[""] == pytest.approx(1)


def test_missing_and_constant_maps_are_counted_and_not_averaged() -> None:
    flat = [1.0, 1, 1, 1]
    scores = stability_of(runs_of({"r1": [A, C, A, A], "r2": [A, None, flat, A], "r3": [A, C, A, A]}))
    assert values(scores, "run-stability")[""] == pytest.approx(1)
    # r1 r2 and r2 r3 lack two pictures of four each: 4 of 12
    assert values(scores, "left-out")[""] == pytest.approx(4 / 12)
    gone = stability_of(runs_of({"r1": [A, C], "r2": [flat, flat], "r3": [A, C]}))
    assert rows(gone, "run-stability")[""].reason == "the map is constant"
    assert rows(gone, "pair")["r1 | r3"].value == pytest.approx(1)


def test_every_draw_of_an_explainer_that_draws_several_counts() -> None:
    case = runs_of({"r1": [A, C], "r2": [B, C]})
    one, other = case.members["r1"], case.members["r2"]
    # draws of p0: A and C against B and B: (-1/3 + R)/2 on the mean
    first = [one[0], replace(one[0], explanation=one[1].explanation)]
    scores = stability_of(replace(case, members={"r1": first, "r2": [other[0], other[0]]}))
    assert values(scores, "run-stability")[""] == pytest.approx((R - 1 / 3) / 2, abs=1e-6)
    assert values(scores, "left-out")[""] == 0


def test_other_classes_are_left_out_but_not_as_published() -> None:
    case = runs_of({"r1": [A, C], "r2": [A, C], "r3": [A, C]}, {"r3": 0})
    scores = stability_of(case, same_class=False)
    assert values(scores, "class-change")[""] == pytest.approx(2 / 3) and values(scores, "left-out")[""] == 0
    scores = stability_of(case)
    assert rows(scores, "run-stability")[""].reason == "the runs explain different classes"
    assert rows(scores, "pair")["r1 | r2"].value == pytest.approx(1)


def test_the_null_takes_other_groups_alone() -> None:
    case = runs_of({"r1": [A, C], "r2": [A, C]})
    joined = {
        n: [replace(c, picture=replace(c.picture, sample=replace(c.picture.sample, group="g"))) for c in cs]
        for n, cs in case.members.items()
    }
    scores = stability_of(replace(case, members=joined))
    assert rows(scores, "null")[""].reason == "no two pictures of different groups and one class"
    assert rows(scores, "corrected")[""].status == "undefined"
    assert values(scores, "run-stability")[""] == pytest.approx(1)
    assert "three" in rows(scores, "low")[""].reason
    assert StabilityParameters().nulls == 50


def test_published_stability_is_one_ssim_of_the_small_bytes() -> None:
    a, b = vector().float() / 200, vector().flip(1).float() * 5

    def case(name: str, native: Tensor) -> MapCase:
        return case_of(lambda *_: Explanation(map=torch.rand(16, 20), native_map=native), sample="p")

    found = SetCase(
        members={"r1": [case("r1", a)], "r2": [case("r2", b)]}, asked={"r1": 1, "r2": 1}, explainer="e",
        streams=Streams.of(0, 0, "m", ""),
    )  # fmt: skip
    scores = metric("run-stability-explain2me").instance.score(found)
    assert values(scores, "run-stability")[""] == pytest.approx(0.297017, abs=1e-6)
    assert values(scores, "each") == pytest.approx({"r1 | r2: p": 0.297017}, abs=1e-6)


def test_identical_runs_are_stable_and_independent_ones_are_not() -> None:
    family = planted_family(3, SQUARE, PATCH)
    members = {n: Member(d, pictures_of(planted_samples(3, SQUARE, PATCH), d), FAKE) for n, d in family.items()}
    random = value(score_set(metric("run-stability"), explainer("random"), members))
    assert abs(values(random, "run-stability")[""]) < 0.2, "a random map is drawn anew for every detector"
    alike = value(score_set(metric("run-stability"), GREY, members))
    assert values(alike, "run-stability")[""] == pytest.approx(1)
    assert values(alike, "corrected")[""] == pytest.approx(1)
    prior = value(score_set(metric("run-stability"), explainer("center-prior"), members))
    assert values(prior, "run-stability")[""] == pytest.approx(1)
    assert "the null is 1" in rows(prior, "corrected")[""].reason


@pytest.mark.parametrize(
    ("native", "changed", "refused"),
    [
        ((6, 9), {}, True), ((7, 7), {}, False), (None, {}, False), ((6, 9), {"size": "upscaled"}, False),
        ((6, 9), {"similarity": "pearson"}, False),
    ],
)  # fmt: skip
def test_maps_smaller_than_the_window_are_refused_before_the_run(native: Any, changed: Any, refused: bool) -> None:
    published = metric("noise-response-explain2me").parameters.model_copy(update=changed)
    query = PassQuery(sample=Sample(id="a", label="fake", group="g"), facts=None, native_size=native)  # type: ignore[arg-type]
    reason = NoiseResponse(published).refuses(query)  # type: ignore[arg-type]
    assert reason.startswith("SSIM needs maps of 7x7, this one is 6x9") == refused == bool(reason)


def test_a_curve_over_noise_has_every_level_or_there_is_none() -> None:
    (curve,) = whole_curve((0.1, 0.5), [0.75, 0.25])
    assert (list(curve.x), list(curve.y)) == ([0.1, 0.5], [0.75, 0.25])
    assert whole_curve((0.1, 0.5), [0.75, "the map is constant"]) == ()


def test_the_noise_measure_is_what_is_registered() -> None:
    assert isinstance(metric("noise-response-explain2me").instance, NoiseResponse)
    shipped = metric("noise-response-explain2me").parameters.model_dump()
    assert (shipped["similarity"], shipped["quantised"], shipped["class_rule"], shipped["truncated"]) == (
        "ssim", True, "argmax", True,
    )  # fmt: skip
