"""Explainers against closed forms, hand-computed nets and other libraries."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Generator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import torch
from explainer_toys import SIZE, Toy, explain, image_of, make, map_of, picture_of, reason_of, request_of, run, small_net
from PIL import Image
from skimage import filters
from torch import Tensor, nn

from xaibench.api import (
    Done,
    Explanation,
    Passes,
    PassQuery,
    Picture,
    UsageError,
)
from xaibench.detector.engine import ProbeEngine
from xaibench_explainers.controls import CenterPrior, Edges, Inverse, MaskOracle, RandomMap, center_prior, edges
from xaibench_explainers.gradient.gradcam import GradCam, gradcam
from xaibench_explainers.gradient.integrated_gradients import (
    IntegratedGradients,
    completeness_gap,
    integrated_gradients,
)
from xaibench_explainers.maps import Maps, resize_map
from xaibench_explainers.perturbation.rise import Rise, rise
from xaibench_explainers.plugin import xaibench_explainers
from xaibench_perturbation import MaskDesign, every_mask, rise_masks


def two_classes(fake_probability: Callable[[Tensor], Tensor]) -> Toy:
    """A detector with this P(fake)."""

    def head(images: Tensor) -> Tensor:
        p = fake_probability(images)
        return torch.stack([torch.log1p(-p), p.log()], dim=1)

    return Toy(lambda images: images, head)


# ---- RISE -----------------------------------------------------------------------------------------------------------

WEIGHTS = torch.arange(1.0, 10.0).view(3, 3) / 50  # of the nine cells; they sum to 0.9


def additive(pixel_weights: Tensor) -> Toy:
    """P(fake) = sum over pixels of weight * brightness, so additive in what a mask shows of a white picture."""
    return two_classes(lambda images: (images.mean(dim=1) * pixel_weights).sum(dim=(1, 2)))


def cells_to_pixels(cells: Tensor) -> Tensor:
    return cells.repeat_interleave(4, dim=0).repeat_interleave(4, dim=1)


WHITE, BLACK = torch.ones(3, *SIZE), torch.zeros(3, *SIZE)


def test_rise_over_every_mask_is_the_closed_form() -> None:
    # E[m_j sum_k w_k m_k] / p = w_j + p sum_{k != j} w_k = (1 - p) w_j + p sum(w), with p = 1/2 for all 512 masks alike
    detector = additive(cells_to_pixels(WEIGHTS) / 16)
    found = run(detector, lambda: rise(WHITE, BLACK, every_mask(3, SIZE), 1, 0.5)).value
    expected = cells_to_pixels(0.5 * WEIGHTS + 0.5 * WEIGHTS.sum())
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


def test_rise_over_every_mask_by_coverage() -> None:
    # every pixel is on in half of the masks, so both normalisers agree
    detector = additive(cells_to_pixels(WEIGHTS) / 16)
    expected = run(detector, lambda: rise(WHITE, BLACK, every_mask(3, SIZE), 1, 0.5)).value
    found = run(detector, lambda: rise(WHITE, BLACK, every_mask(3, SIZE), 1, None)).value
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


def within_standard_errors(design: MaskDesign, weights: Tensor, keep: float, expected: Tensor, errors: float) -> None:
    found = run(additive(weights), lambda: rise(WHITE, BLACK, design, 1, keep), 64).value
    masks = design.render(0, len(design)).double()
    terms = (masks * weights).sum(dim=(1, 2))[:, None, None] * masks / keep
    standard_error = terms.std(dim=0) / len(design) ** 0.5
    assert float(((found - expected).abs() / standard_error).max()) < errors


@pytest.mark.parametrize("keep", [0.3, 0.5, 0.7])
def test_sampled_rise_in_whole_cells_is_within_four_standard_errors(keep: float) -> None:
    listed = every_mask(3, SIZE)
    grids = (torch.rand(4000, 3, 3, generator=torch.Generator().manual_seed(1)) < keep).float()
    none = torch.zeros(4000, dtype=torch.int64)
    design = replace(listed, grids=grids, row_shift=none, column_shift=none)
    expected = cells_to_pixels((1 - keep) * WEIGHTS + keep * WEIGHTS.sum())
    within_standard_errors(design, cells_to_pixels(WEIGHTS) / 16, keep, expected, 4)


@pytest.mark.parametrize("keep", [0.3, 0.5])
def test_sampled_rise_with_its_own_masks_is_within_four_standard_errors(keep: float) -> None:
    # A mask is m_i = sum_g a_gi b_g with b Bernoulli(p) and sum_g a_gi = 1, so
    # E[m_i m_k] = p^2 + p (1 - p) sum_g a_gi a_gk, and
    # E[S_k] = p sum(v) + (1 - p) mean_shift sum_g a_gk sum_i a_gi v_i.
    design = rise_masks(4000, cells=3, keep=keep, size=SIZE, generator=torch.Generator().manual_seed(1))
    weights = cells_to_pixels(WEIGHTS) / 16
    second = torch.zeros(SIZE)
    for rows in design.row_weights:
        for columns in design.column_weights:
            second += rows.T @ (rows @ weights @ columns.T) @ columns / 16
    expected = keep * weights.sum() + (1 - keep) * second
    within_standard_errors(design, weights, keep, expected, 4)


def test_rise_component_finds_the_bright_cell_and_counts_its_passes() -> None:
    weights = torch.zeros(SIZE)
    weights[8:, 4:8] = 0.9 / 16
    component = make(Rise, masks=300, cells=3)
    done = explain(component, additive(weights), WHITE)
    peak = int(map_of(done).argmax())
    assert 8 <= peak // 12 < 12
    assert 4 <= peak % 12 < 8
    assert done.passes == Passes(forward=300)


def test_rise_speaks_for_the_target() -> None:
    weights = torch.zeros(SIZE)
    weights[:4, :4] = 0.9 / 16
    fake = map_of(explain(make(Rise, masks=200, cells=3), additive(weights), WHITE, target=1))
    real = map_of(explain(make(Rise, masks=200, cells=3, normaliser="coverage"), additive(weights), WHITE, target=0))
    assert fake[1, 1] > fake[10, 10]
    assert real[1, 1] < real[10, 10]


def test_rise_on_a_fill_equal_to_the_picture_gives_no_map() -> None:
    done = explain(make(Rise, masks=64, cells=3, fill="white", normaliser="coverage"), small_net(), WHITE)
    assert "no signal" in reason_of(done)


# ---- Grad-CAM -------------------------------------------------------------------------------------------------------


def colours(weights: tuple[float, float, float]) -> Toy:
    """The layer is the picture itself; the fake logit is the weighted sum of the mean colours."""
    w = torch.tensor(weights)

    def head(activation: Tensor) -> Tensor:
        fake = (activation.mean(dim=(2, 3)) * w).sum(dim=1)
        return torch.stack([-fake, fake], dim=1)

    return Toy(lambda images: images * 1.0, head)


def test_gradcam_by_hand() -> None:
    # d logit / d A_k = w_k / 144 everywhere, so the map is relu(2 R - G) / 144
    image = image_of()
    done = explain(make(GradCam), colours((2, -1, 0)), image)
    expected = (2 * image[0] - image[1]).relu() / 144
    torch.testing.assert_close(map_of(done), expected)
    assert done.passes == Passes(forward=1, backward=1)


def test_gradcam_without_evidence_is_undefined() -> None:
    assert "zero everywhere" in reason_of(explain(make(GradCam), colours((-1, -1, -1)), image_of()))


def test_gradcam_with_infinite_activations_is_undefined() -> None:
    assert "not finite" in reason_of(explain(make(GradCam), colours((float("inf"), 1, 1)), image_of()))


def test_gradcam_upsamples_its_native_map() -> None:
    done = explain(make(GradCam), small_net(), image_of(3))
    assert done.value is not None
    assert done.value.native_map is not None
    assert done.value.native_map.shape == (4, 4)
    # between two cell centres of 3 px the middle pixel of a cell is the cell itself
    torch.testing.assert_close(map_of(done)[1::3, 1::3], done.value.native_map)


@pytest.mark.parity
@pytest.mark.parametrize("target", [0, 1])
def test_gradcam_is_captums_weighted_sum(target: int) -> None:
    attr = pytest.importorskip("captum.attr")
    net = small_net(smooth=False)
    model = nn.Sequential(net.body, net.head)  # type: ignore[call-overload]
    image = image_of(5)
    expected = attr.LayerGradCam(model, model[0]).attribute(image[None], target, relu_attributions=True)[0, 0]
    done = explain(make(GradCam), net, image, target=target)
    found = done.value.native_map if done.value and done.value.native_map is not None else torch.zeros(4, 4)
    torch.testing.assert_close(found, expected.detach(), atol=1e-7, rtol=1e-5)


@pytest.mark.parity
def test_gradcam_is_torchcams_weighted_sum() -> None:
    torchcam = pytest.importorskip("torchcam.methods")
    net = small_net(smooth=False)
    model = nn.Sequential(net.body, net.head)  # type: ignore[call-overload]
    image = image_of(5)
    with torchcam.GradCAM(model, target_layer=model[0], input_shape=(3, *SIZE)) as extractor:
        scores = model(image[None])
        raw = [extractor(target, scores, normalized=False, retain_graph=True)[0][0] for target in (0, 1)]
    for target in (0, 1):
        done = explain(make(GradCam), net, image, target=target)
        found = done.value.native_map if done.value and done.value.native_map is not None else torch.zeros(4, 4)
        torch.testing.assert_close(found, raw[target].relu(), atol=1e-7, rtol=1e-5)


def test_gradcam_function_is_batched() -> None:
    activations, gradients = torch.rand(3, 4, 2, 2), torch.randn(3, 4, 2, 2)
    whole = gradcam(activations, gradients)
    for i in range(3):
        torch.testing.assert_close(gradcam(activations[i : i + 1], gradients[i : i + 1])[0], whole[i])


# ---- integrated gradients -------------------------------------------------------------------------------------------


def test_integrated_gradients_of_a_square_by_hand() -> None:
    # f = (sum x)^2: the gradient at a x is 2 a sum(x), its mean sum(x), so IG_i = x_i sum(x); two points are exact
    detector = Toy(lambda x: x, lambda x: torch.stack([0 * x.sum(dim=(1, 2, 3)), x.sum(dim=(1, 2, 3)) ** 2], dim=1))
    image = image_of()
    for rule in ("gauss-legendre", "midpoint"):
        done = explain(make(IntegratedGradients, steps=2, rule=rule), detector, image)
        torch.testing.assert_close(map_of(done), image.sum(dim=0) * image.sum(), rtol=1e-5, atol=1e-3)
        assert done.passes == Passes(forward=4, backward=2)  # picture and baseline are forwarded for the gap


@pytest.mark.parametrize("rule", ["gauss-legendre", "midpoint"])
@pytest.mark.parametrize("target", [0, 1])
def test_integrated_gradients_are_complete(rule: Any, target: int) -> None:
    net, image, baseline = small_net(), image_of(2), torch.zeros(3, *SIZE)
    done = run(net, lambda: integrated_gradients(image, baseline, target, steps=50, rule=rule))
    ends = net.scores(torch.stack([image, baseline]))[:, target].tolist()
    assert done.value is not None
    assert completeness_gap(done.value, *ends) <= 1e-3


def test_completeness_gap() -> None:
    assert completeness_gap(torch.tensor([1.0, 2.0]), 5.0, 1.0) == pytest.approx(0.25)
    assert completeness_gap(torch.zeros(2), 1.0, 1.0) == 0
    assert completeness_gap(torch.ones(2), 1.0, 1.0) == float("inf")


@pytest.mark.parity
@pytest.mark.parametrize(("rule", "theirs"), [("gauss-legendre", "gausslegendre"), ("midpoint", "riemann_middle")])
def test_integrated_gradients_are_captums(rule: str, theirs: str) -> None:
    attr = pytest.importorskip("captum.attr")
    net, image = small_net(), image_of(4)
    expected = attr.IntegratedGradients(net.logits).attribute(image[None], target=1, n_steps=37, method=theirs)
    done = explain(make(IntegratedGradients, steps=37, rule=rule), net, image)
    torch.testing.assert_close(map_of(done), expected[0].sum(dim=0).float().detach(), atol=1e-6, rtol=1e-4)


def test_integrated_gradients_from_the_picture_itself_are_undefined() -> None:
    flat = torch.full((3, *SIZE), 0.5)
    done = explain(make(IntegratedGradients, steps=4, baseline="mean"), small_net(), flat)
    assert "the picture itself" in reason_of(done)


def test_integrated_gradients_that_are_not_finite_are_undefined() -> None:
    detector = Toy(lambda x: x, lambda x: torch.stack([x.sum(dim=(1, 2, 3)), (x - 9).sum(dim=(1, 2, 3)).sqrt()], dim=1))
    assert "not finite" in reason_of(explain(make(IntegratedGradients, steps=3), detector, image_of()))


# ---- maps from files ------------------------------------------------------------------------------------------------


def save(folder: Path, name: str, values: Any) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix == ".npy":
        np.save(file, values)
    elif file.suffix == ".npz":
        np.savez(file, **values)
    elif isinstance(values, bytes):
        file.write_bytes(values)
    else:
        Image.fromarray(values).save(file)
    return file


def shown(folder: Path, id: str = "fake/swap/a", view: str = "") -> Done[Explanation]:
    component = make(Maps, path=str(folder))
    return explain(
        component,
        Toy(lambda x: x, lambda x: x.mean(dim=(2, 3))[:, :2]),
        WHITE,
        picture=picture_of(WHITE, id=id, view=view),
        batch=1,
    )


RAMP = np.arange(144, dtype=np.float64).reshape(12, 12)
GREY = np.arange(144, dtype=np.uint8).reshape(12, 12)


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("a.npy", RAMP, RAMP),
        ("a.npz", {"map": RAMP - 50, "other": RAMP}, RAMP - 50),
        ("a.png", GREY, GREY / 255),
        ("a.png", np.stack([GREY] * 3, axis=2), GREY / 255),
        ("a.png", GREY.astype(np.uint16) * 256, GREY * 256.0),
        ("a.bmp", GREY, GREY / 255),
        ("a.npy", RAMP > 70, RAMP > 70),
    ],
)
def test_maps_of_every_kind_are_read(tmp_path: Path, name: str, values: Any, expected: Any) -> None:
    save(tmp_path, f"fake/swap/{name}", values)
    done = shown(tmp_path)
    torch.testing.assert_close(map_of(done), torch.tensor(np.array(expected, dtype=np.float32)))
    assert done.value is not None
    assert done.value.native_map is None


def test_maps_are_resized_and_kept_as_they_were(tmp_path: Path) -> None:
    small = np.array([[0.0, 1.0], [2.0, 3.0]])
    save(tmp_path, "a.npy", small)
    done = shown(tmp_path, "a")
    assert done.value is not None
    assert done.value.native_map is not None
    assert done.value.native_map.tolist() == small.tolist()
    found = map_of(done)
    assert found.shape == SIZE
    # centres of the two cells lie at pixels 2.5 and 8.5: 5 is 2.5/6 of the way
    assert float(found[0, 5]) == pytest.approx(2.5 / 6)
    assert float(found[0, 0]) == 0
    assert float(found[11, 11]) == 3


def test_shrunk_maps_are_averaged() -> None:
    checks = (torch.arange(48)[:, None] + torch.arange(48)) % 2
    assert resize_map(checks.float(), SIZE).sub(0.5).abs().max() < 0.05


def test_ids_that_are_file_names_match_with_and_without_their_ending(tmp_path: Path) -> None:
    save(tmp_path, "fake/a.npy", RAMP)
    save(tmp_path, "fake/b.png", GREY)
    save(tmp_path, "fake/c.png.npy", RAMP)
    for id in ("fake/a.png", "fake/b.png", "fake/c.png", "fake/a"):
        map_of(shown(tmp_path, id))


@pytest.mark.parametrize(
    ("name", "values", "reason"),
    [
        ("b.npy", RAMP, "no file"),
        ("a.npy", np.where(RAMP == 3, np.nan, RAMP), "not finite"),
        ("a.npy", np.where(RAMP == 3, 1e300, RAMP), "not finite"),
        ("a.npy", RAMP[None], "shape (1, 12, 12)"),
        ("a.npy", RAMP[:0], "shape (0, 12)"),
        ("a.npy", RAMP.astype(complex), "not numbers"),
        ("a.npz", {"saliency": RAMP}, "no array 'map', only saliency"),
        ("a.png", b"no picture", "cannot be read"),
        ("a.npz", b"no zip", ""),
    ],
)
def test_maps_that_cannot_be_used_are_undefined(tmp_path: Path, name: str, values: Any, reason: str) -> None:
    if isinstance(values, bytes):
        (tmp_path / name).write_bytes(values)
    else:
        save(tmp_path, name, values)
    assert reason in reason_of(shown(tmp_path, "a"))


def test_pickled_maps_are_not_run(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([[print]], dtype=object), allow_pickle=True)
    assert "cannot be read" in reason_of(shown(tmp_path, "a"))


def test_truncated_picture_is_undefined(tmp_path: Path) -> None:
    file = save(tmp_path, "a.png", np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8))
    file.write_bytes(file.read_bytes()[:2000])
    assert "cannot be read" in reason_of(shown(tmp_path, "a"))


def test_two_maps_of_one_sample_are_refused(tmp_path: Path) -> None:
    save(tmp_path, "a.npy", RAMP)
    save(tmp_path, "a.png", GREY)
    assert "several files for one sample: a.npy, a.png" in reason_of(shown(tmp_path, "a"))


@pytest.mark.parametrize("id", ["../a", "x/../../a"])
def test_ids_cannot_lead_out_of_the_folder(tmp_path: Path, id: str) -> None:
    save(tmp_path, "a.npy", RAMP)
    save(tmp_path, "in/x/b.npy", RAMP)
    assert "leads out" in reason_of(shown(tmp_path / "in", id))


def test_maps_belong_to_the_untouched_picture(tmp_path: Path) -> None:
    save(tmp_path, "a.npy", RAMP)
    assert "untouched" in reason_of(shown(tmp_path, "a", view="flip"))


def test_a_folder_that_is_missing_or_empty_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no folder"):
        make(Maps, path=str(tmp_path / "none"))
    (tmp_path / "readme.txt").write_text("no map")
    with pytest.raises(UsageError, match="no map in"):
        make(Maps, path=str(tmp_path))
    with pytest.raises(UsageError, match="path"):
        make(Maps)


def test_maps_say_beforehand_what_is_missing_and_notice_changes(tmp_path: Path) -> None:
    save(tmp_path, "a.npy", RAMP)
    component = make(Maps, path=str(tmp_path))
    facts = small_net().facts
    assert component.refuses(PassQuery(sample=picture_of(WHITE, id="a").sample, facts=facts)) == ""
    assert "no file" in component.refuses(PassQuery(sample=picture_of(WHITE, id="b").sample, facts=facts))
    before = component.content_digest()
    assert component.content_digest() == before
    save(tmp_path, "a.npy", RAMP + 1)
    assert component.content_digest() != before


def test_maps_at_an_address_are_those_of_the_folder(tmp_path: Path) -> None:
    for name, values in {"a.npy": RAMP, "fake/b.npz": {"map": RAMP}, "fake/c.png": GREY, "two.npy": RAMP}.items():
        save(tmp_path, name, values)
    save(tmp_path, "two.png", GREY)
    fs = fsspec.filesystem("memory")
    fs.put(str(tmp_path), "/some-maps", recursive=True)
    try:
        remote, local = make(Maps, path="memory://some-maps"), make(Maps, path=str(tmp_path))
        assert remote.content_digest() == local.content_digest()
        for id in ("a", "fake/b", "fake/c.jpg"):
            found = [
                explain(
                    c,
                    Toy(lambda x: x, lambda x: x.mean(dim=(2, 3))[:, :2]),
                    WHITE,
                    picture=picture_of(WHITE, id=id),
                    batch=1,
                )
                for c in (remote, local)
            ]
            assert torch.equal(map_of(found[0]), map_of(found[1]))
        for id in ("two", "none", "nowhere/none", "../a"):
            samples = PassQuery(sample=picture_of(WHITE, id=id).sample, facts=small_net().facts)
            assert remote.refuses(samples) == local.refuses(samples) != ""
        with pytest.raises(UsageError, match="is no folder"):
            make(Maps, path="memory://none")
    finally:
        fs.rm("/some-maps", recursive=True)


# ---- controls -------------------------------------------------------------------------------------------------------


def test_random_maps_follow_their_stream() -> None:
    component = make(RandomMap)
    maps = [map_of(explain(component, small_net(), WHITE, seed=s)) for s in (0, 0, 1)]
    assert torch.equal(maps[0], maps[1])
    assert not torch.equal(maps[0], maps[2])
    assert component.draws == 20


def test_random_maps_are_smooth_unless_told() -> None:
    done = explain(make(RandomMap), small_net(), WHITE)
    assert done.value is not None
    assert done.value.native_map is not None
    assert done.value.native_map.shape == (7, 7)
    torch.testing.assert_close(resize_map(done.value.native_map, SIZE), map_of(done))
    rough = explain(make(RandomMap, cells=0), small_net(), WHITE)
    assert rough.value is not None
    assert rough.value.native_map is None
    assert len(torch.unique(map_of(rough))) == 144
    with pytest.raises(UsageError, match="one cell is no map"):
        make(RandomMap, cells=1)


def test_center_prior_is_a_centred_gaussian() -> None:
    prior = center_prior((11, 21), 0.25)
    assert int(prior.argmax()) == 5 * 21 + 10
    assert float(prior[5, 10]) == 1
    assert torch.equal(prior, prior.flip(0))
    assert torch.equal(prior, prior.flip(1))
    # two rows from the middle of eleven: (2/11)^2 / (2 * 0.25^2)
    assert float(prior[7, 10]) == pytest.approx(np.exp(-((2 / 11) ** 2) / 0.125))
    assert map_of(explain(make(CenterPrior), small_net(), WHITE)).shape == SIZE


def test_edges_are_sobels() -> None:
    image = image_of(1, (20, 30))
    grey = (image * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(dim=0).numpy()
    reference = filters.sobel(grey, mode="nearest") * np.sqrt(2)  # theirs is the root mean square of both directions
    np.testing.assert_allclose(edges(image).numpy(), reference, atol=1e-6)


def test_edges_of_a_flat_picture_are_undefined() -> None:
    assert "no edges" in reason_of(explain(make(Edges), small_net(), WHITE))


def test_inverse_turns_another_map_upside_down() -> None:
    other = Explanation(map=torch.tensor([[1.0, -2.0], [0.0, 3.0]]), native_map=torch.tensor([[1.0, 4.0]]))

    def explanation_of(spec: str) -> Generator[Any, Any, Explanation]:
        assert spec == "rise"
        return other
        yield

    component = make(Inverse, of="rise")
    assert component.depends == ("rise",)
    done = explain(component, small_net(), WHITE, explanation_of=explanation_of)
    assert map_of(done).tolist() == [[2, 5], [3, 0]]
    assert done.value is not None
    assert done.value.native_map is not None
    assert done.value.native_map.tolist() == [[3, 0]]
    assert done.passes == Passes()


def test_inverse_of_nothing_is_undefined() -> None:
    def explanation_of(spec: str) -> Generator[Any, Any, Explanation]:
        return Explanation.none("the map is zero everywhere")
        yield

    done = explain(make(Inverse, of="gradcam"), small_net(), WHITE, explanation_of=explanation_of)
    assert reason_of(done) == "gradcam has no map to invert: the map is zero everywhere"


def test_mask_oracle_draws_the_mask_or_says_why_not() -> None:
    component, net = make(MaskOracle), small_net()
    mask = torch.zeros(SIZE, dtype=torch.bool)
    mask[2:4, 3:6] = True
    assert torch.equal(map_of(explain(component, net, WHITE, mask=mask)), mask.float())
    assert "no mask" in reason_of(explain(component, net, WHITE))
    assert "empty" in reason_of(explain(component, net, WHITE, mask=torch.zeros(SIZE, dtype=torch.bool)))
    assert "explained is real" in reason_of(explain(component, net, WHITE, mask=mask, target=0))
    real = picture_of(WHITE, label="real")
    assert reason_of(explain(component, net, WHITE, picture=real)) == "real pictures have no mask"
    assert component.refuses(PassQuery(sample=real.sample, facts=net.facts)) == "real pictures have no mask"
    assert component.refuses(PassQuery(sample=picture_of(WHITE, mask).sample, facts=net.facts)) == ""


# ---- all of them ----------------------------------------------------------------------------------------------------

COMPONENTS = {
    "rise": partial(make, Rise, masks=70, cells=3),
    "gradcam": partial(make, GradCam),
    "integrated-gradients": partial(make, IntegratedGradients, steps=41),
    "random": partial(make, RandomMap),
    "center-prior": partial(make, CenterPrior),
    "edges": partial(make, Edges),
    "mask-oracle": partial(make, MaskOracle),
}


def masked_pictures(n: int) -> list[Picture]:
    mask = torch.zeros(SIZE, dtype=torch.bool)
    mask[2:5, 2:5] = True
    return [picture_of(image_of(i), mask, id=f"s{i}") for i in range(n)]


@pytest.mark.parametrize("name", COMPONENTS)
def test_maps_do_not_depend_on_batch_mates_or_order_and_pictures_are_left_alone(name: str) -> None:
    net, component, pictures = small_net(), COMPONENTS[name](), masked_pictures(5)
    before = [p.image.clone() for p in pictures]

    def all_of(chosen: list[Picture]) -> dict[str, Done[Explanation]]:
        jobs = [(p.sample.id, partial(component.explain, request_of(net, p))) for p in chosen]
        return dict(ProbeEngine(net, 16).run(jobs))

    together, backwards = all_of(pictures), all_of(pictures[::-1])
    for picture, image in zip(pictures, before, strict=True):
        alone = all_of([picture])[picture.sample.id]
        reference = map_of(alone)
        assert reference.shape == SIZE
        assert reference.dtype == torch.float32
        assert reference.isfinite().all()
        for other in (together, backwards):
            assert torch.equal(map_of(other[picture.sample.id]), reference)
        assert torch.equal(picture.image, image)
        assert alone.passes == component.passes(PassQuery(sample=picture.sample, facts=net.facts))


def test_components_are_registered_and_unsigned_ones_stay_above_zero() -> None:
    records = {r.name: r for r in xaibench_explainers()}
    assert set(COMPONENTS) < set(records)
    net = small_net()
    for name, component in COMPONENTS.items():
        found = map_of(run(net, partial(component().explain, request_of(net, masked_pictures(1)[0]))))
        assert records[name].signed or float(found.min()) >= 0


def test_registration_is_light() -> None:
    plugins = "xaibench_explainers.plugin, xaibench_metrics.plugin"
    code = f"import sys, {plugins}; print(sorted({{'torch', 'numpy'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
