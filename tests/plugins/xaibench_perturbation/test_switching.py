"""Every way to switch a region off, and inpainting against hand-made cases and Quantus."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from xaibench.api import ExplainRequest, Explanation, Facts, Native, PassQuery, Picture, Product, Sample, Streams
from xaibench_perturbation import (
    PICTURE_FILLS,
    Switch,
    SwitchParameters,
    Twin,
    extra_needs,
    fill,
    inpaint,
    inpaint_each,
    refusal,
    stored_artefacts,
    switch_off,
)
from xaibench_perturbation.explanation_fills import with_random_signs
from xaibench_perturbation.plugin import FILLS

SIZE = (7, 9)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def image_of(seed: int = 0, size: tuple[int, int] = SIZE) -> Tensor:
    return torch.rand((3, *size), generator=generator(seed))


IMAGE, REAL = image_of(0), image_of(1)


def picture_of(image: Tensor = IMAGE, label: Any = "fake", real: Tensor | None = None) -> Picture:
    sample = Sample(id="s", label=label, group="g", pair=None if real is None else "r")
    return Picture(
        sample=sample, image=image, mask=None, landmarks=None, digest="s",
        native=lambda: Native(np.zeros((1, 1, 3), np.uint8)),
        counterpart=lambda: None if real is None else picture_of(real, "real"),
    )  # fmt: skip


class OneProduct:
    """Artefacts of which there is one; ``asked`` says for which."""

    def __init__(self, product: Product | None = None) -> None:
        self.product, self.asked = product, list[Any]()

    def get(self, artefact: Any, picture: Picture) -> Generator[Any, Any, Any]:
        self.asked.append(artefact)
        return self.product
        yield


class Blind:
    device = torch.device("cpu")

    def __init__(self, zero_colour: tuple[float, float, float] | None = None) -> None:
        self.facts = Facts(
            name="blind", classes=("real", "fake"), real_class=0, input_size=SIZE, digest="", zero_colour=zero_colour
        )


def switched(
    kind: Any, picture: Picture | None = None, *, labels: Tensor | None = None, seed: int = 0, **more: Any
) -> Switch | Explanation:
    artefacts = more.pop("artefacts", OneProduct())
    request: Any = ExplainRequest(
        detector=more.pop("detector", Blind()), picture=picture or picture_of(), target=1, streams=Streams.of(seed, 0, "c", "s"),
        artefacts=artefacts, explanation_of=lambda spec: None,
    )  # fmt: skip
    programme = switch_off(request, SwitchParameters(fill=kind, **more), labels)
    with pytest.raises(StopIteration) as end:
        programme.send(None)
    found: Switch | Explanation = end.value.value
    return found


def background(kind: Any, *args: Any, **more: Any) -> Tensor:
    found = switched(kind, *args, **more)
    assert isinstance(found, Switch)
    assert found.background is not None
    return found.background


def twin_product(twin: Tensor | None, status: Any = "ok", reason: str = "", flipped: float = 1.0) -> OneProduct:
    tensors = {} if twin is None else {"twin": twin}
    return OneProduct(
        Product(status=status, reason=reason, tensors=tensors, numbers={"flipped": flipped, "queries": 82.0})
    )


# ---- kinds ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", PICTURE_FILLS)
def test_plain_fills_are_those_of_fill(kind: Any) -> None:
    assert torch.equal(background(kind, sigma=0.2), fill(IMAGE, kind, sigma=0.2))


@pytest.mark.parametrize(
    ("own", "zero", "expected"),
    [
        (None, (0.25, 0.5, 1.0), (0.25, 0.5, 1.0)), (None, None, (0.485, 0.456, 0.406)),
        ((0.0, 0.0, 0.0), (0.25, 0.5, 1.0), (0.0, 0.0, 0.0)),
    ],
)  # fmt: skip
def test_the_colour_is_what_the_card_subtracts_unless_one_is_given(own: Any, zero: Any, expected: Any) -> None:
    found = background("colour", colour=own, detector=Blind(zero))
    assert torch.equal(found, torch.tensor(expected)[:, None, None].expand(3, *SIZE))


def test_segment_mean_by_hand() -> None:
    labels = torch.zeros(SIZE, dtype=torch.int64)
    labels[:, 4:] = 1
    found = background("segment-mean", labels=labels)
    assert found[2, 3, 0] == pytest.approx(float(IMAGE[2, :, :4].mean()), abs=1e-6)
    assert found[0, 6, 8] == pytest.approx(float(IMAGE[0, :, 4:].mean()), abs=1e-6)
    assert len(found[1].unique()) == 2
    with pytest.raises(ValueError, match="needs segments"):
        switched("segment-mean")


def test_noise_is_uniform_and_follows_the_streams() -> None:
    big = picture_of(image_of(0, (60, 60)))
    first = background("noise", big)
    assert torch.equal(first, background("noise", big))
    assert not torch.equal(first, background("noise", big, seed=1))
    assert float(first.mean()) == pytest.approx(0.5, abs=0.01)
    assert float(first.var()) == pytest.approx(1 / 12, abs=0.003)


def test_masks_blend_picture_and_background() -> None:
    found = switched("black")
    assert isinstance(found, Switch)
    masks = torch.stack([torch.ones(SIZE), torch.zeros(SIZE), torch.full(SIZE, 0.25)])
    shown = found(masks)
    assert torch.equal(shown[0], IMAGE)
    assert not shown[1].any()
    torch.testing.assert_close(shown[2], 0.25 * IMAGE)


def test_inpainting_fills_each_hole_from_its_own_border() -> None:
    found = switched("inpaint")
    assert isinstance(found, Switch)
    assert found.background is None
    hole = torch.zeros(SIZE, dtype=torch.bool)
    hole[2:4, 3:6] = True
    soft = torch.where(hole, 0.25, 1.0)
    shown = found(torch.stack([(~hole).float(), soft, torch.ones(SIZE)]))
    filled = inpaint(IMAGE, hole)
    assert torch.equal(shown[0], filled)
    torch.testing.assert_close(shown[1][:, hole], (0.75 * filled + 0.25 * IMAGE)[:, hole])
    assert torch.equal(shown[1][:, ~hole], IMAGE[:, ~hole])
    assert torch.equal(shown[2], IMAGE)


def test_the_counterpart_is_the_real_picture_and_refused_without_one() -> None:
    assert torch.equal(background("counterpart", picture_of(real=REAL)), REAL)
    alone, real = switched("counterpart"), switched("counterpart", picture_of(label="real"))
    same = switched("counterpart", picture_of(real=IMAGE.clone()))
    for found, why in (
        (alone, "the picture has no real counterpart"),
        (real, "real pictures have no real counterpart"),
        (same, "the real counterpart is the picture itself"),
    ):
        assert isinstance(found, Explanation)
        assert (found.status, found.reason) == ("undefined", why)


def test_what_is_known_beforehand() -> None:
    def why(kind: Any, picture: Picture) -> str:
        facts = Facts(name="d", classes=("real", "fake"), real_class=0, input_size=SIZE, digest="d")
        return refusal(SwitchParameters(fill=kind), PassQuery(sample=picture.sample, facts=facts))

    assert why("counterpart", picture_of()) == "the picture has no real counterpart"
    assert why("counterpart", picture_of(label="real")) == "real pictures have no real counterpart"
    assert why("counterpart", picture_of(real=REAL)) == ""
    for kind in (record.name for record in FILLS):
        p = SwitchParameters(fill=kind, twin_mode="t24-code", twin_steps=9)
        twins = kind in ("twin", "noise-twin")
        assert stored_artefacts(p) == ((Twin(mode="t24-code", steps=9),) if twins else ())
        assert extra_needs(p) == (frozenset({"pair"}) if kind == "counterpart" else frozenset())
        if kind != "counterpart":
            assert why(kind, picture_of()) == ""


# ---- twins ----------------------------------------------------------------------------------------------------------

TWIN = (IMAGE + 16 / 255 * (image_of(2) * 2 - 1)).clamp(0, 1)


def test_the_twin_stands_in_and_says_whether_it_flipped() -> None:
    artefacts = twin_product(TWIN)
    found = switched("twin", artefacts=artefacts, twin_mode="t24-code", twin_steps=7)
    assert isinstance(found, Switch)
    assert artefacts.asked == [Twin(mode="t24-code", steps=7)]
    assert found.background is not None
    assert torch.equal(found.background, TWIN)
    assert found.details == {"twin_flipped": 1, "twin_queries": 82}
    failed = switched("twin", artefacts=twin_product(TWIN, "undefined", "80 steps did not ...", 0.0))
    assert isinstance(failed, Switch)
    assert failed.details["twin_flipped"] == 0


@pytest.mark.parametrize("kind", ["twin", "noise-twin"])
def test_no_twin_no_map(kind: Any) -> None:
    none = switched(kind, artefacts=twin_product(None, "undefined", "the picture is called real already"))
    same = switched(kind, artefacts=twin_product(IMAGE.clone()))
    for found, why in (
        (none, "no twin: the picture is called real already"),
        (same, "the twin is the picture itself"),
    ):
        assert isinstance(found, Explanation)
        assert (found.status, found.reason) == ("undefined", why)


def test_noise_twin_changes_as_much_as_the_twin_in_random_directions() -> None:
    image = image_of(3, (40, 50))
    image[:, :4], image[:, 4:8] = 0, 1
    twin = (image + 0.06 * torch.randn(image.shape, generator=generator(4))).clamp(0, 1)
    found = with_random_signs(image, twin, generator(5))
    torch.testing.assert_close((found - image).abs(), (twin - image).abs(), atol=1e-6, rtol=0)
    assert float(found.min()) >= 0
    assert float(found.max()) <= 1
    free = (image - (twin - image).abs() > 0) & (image + (twin - image).abs() < 1) & (twin != image)
    turned = ((found - image).sign() != (twin - image).sign())[free]
    assert float(turned.float().mean()) == pytest.approx(0.5, abs=0.03)


def test_noise_twins_follow_the_streams() -> None:
    def drawn(seed: int) -> Tensor:
        return background("noise-twin", artefacts=twin_product(TWIN), seed=seed)

    assert torch.equal(drawn(0), drawn(0))
    assert not torch.equal(drawn(0), drawn(1))


# ---- inpainting -----------------------------------------------------------------------------------------------------


def random_hole(share: float, size: tuple[int, int] = SIZE, seed: int = 0) -> Tensor:
    return torch.rand(size, generator=generator(seed)) < share


def test_one_hole_is_the_weighted_mean_of_its_neighbours() -> None:
    hole = torch.zeros(SIZE, dtype=torch.bool)
    hole[3, 4] = hole[0, 0] = True
    found = inpaint(IMAGE, hole)
    sides = IMAGE[:, 2, 4] + IMAGE[:, 4, 4] + IMAGE[:, 3, 3] + IMAGE[:, 3, 5]
    corners = IMAGE[:, 2, 3] + IMAGE[:, 2, 5] + IMAGE[:, 4, 3] + IMAGE[:, 4, 5]
    torch.testing.assert_close(found[:, 3, 4], sides / 6 + corners / 12)
    # in the corner of the picture three neighbours are left: weights 2, 2 and 1 of 5
    torch.testing.assert_close(found[:, 0, 0], (2 * IMAGE[:, 0, 1] + 2 * IMAGE[:, 1, 0] + IMAGE[:, 1, 1]) / 5)
    assert torch.equal(found[:, ~hole], IMAGE[:, ~hole])


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_every_unknown_pixel_is_the_mean_of_its_neighbours(share: float) -> None:
    image, hole = image_of(0, (20, 31)), random_hole(share, (20, 31))
    before = image.clone()
    found = inpaint(image, hole).double()
    kernel = torch.tensor([[1.0, 2, 1], [2, 0, 2], [1, 2, 1]], dtype=torch.float64)[None, None] / 12
    sums = torch.nn.functional.conv2d(found[:, None], kernel, padding=1)[:, 0]
    weights = torch.nn.functional.conv2d(torch.ones_like(found[:1, None]), kernel, padding=1)[:, 0]
    torch.testing.assert_close(found[:, hole], (sums / weights)[:, hole], atol=1e-6, rtol=0)
    assert torch.equal(image, before)
    assert torch.equal(found[:, ~hole].float(), image[:, ~hole])


def test_ramps_are_kept() -> None:
    ramp = torch.linspace(0, 1, 9).expand(3, 7, 9).contiguous()
    hole = torch.zeros(SIZE, dtype=torch.bool)
    hole[2:6, 2:7] = True
    torch.testing.assert_close(inpaint(ramp, hole), ramp, atol=1e-6, rtol=0)


def test_holes_without_an_inside_or_an_outside() -> None:
    nothing, everything = torch.zeros(SIZE, dtype=torch.bool), torch.ones(SIZE, dtype=torch.bool)
    found = inpaint(IMAGE, nothing)
    assert torch.equal(found, IMAGE)
    assert found.data_ptr() != IMAGE.data_ptr()
    torch.testing.assert_close(inpaint(IMAGE, everything), fill(IMAGE, "mean"))


def test_noise_stays_in_the_hole() -> None:
    image, hole = image_of(0, (40, 40)), random_hole(0.5, (40, 40))
    noisy = inpaint(image, hole, noise=0.01, generator=generator(9))
    assert torch.equal(noisy[:, ~hole], image[:, ~hole])
    assert float((noisy - inpaint(image, hole))[:, hole].std()) == pytest.approx(0.01, rel=0.05)
    with pytest.raises(ValueError, match="needs a generator"):
        inpaint(image, hole, noise=0.01)


@pytest.mark.parametrize("threads", [1, 3])
def test_several_holes_are_filled_as_each_alone_under_one_noise(threads: int) -> None:
    image, holes = image_of(0, (20, 30)), torch.stack([random_hole(share, (20, 30)) for share in (0.2, 0.5, 0.7, 0.9)])
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found, noisy = inpaint_each(image, holes), inpaint_each(image, holes, noise=0.01, seed=5)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found, torch.stack([inpaint(image, hole) for hole in holes]))
    alone = [inpaint(image, hole, noise=0.01, generator=generator(5)) for hole in holes]
    assert torch.equal(noisy, torch.stack(alone))


@pytest.mark.parity
@pytest.mark.parametrize("share", [0.2, 0.7])
def test_inpainting_is_quantus_without_noise(share: float) -> None:
    functions = pytest.importorskip("quantus.functions.perturb_func")
    image, hole = image_of(0, (16, 23)), random_hole(share, (16, 23))
    indices = np.flatnonzero(hole.numpy().ravel())
    reference = functions.noisy_linear_imputation(image.double().numpy(), indices, noise=0.0)
    np.testing.assert_allclose(inpaint(image, hole).numpy(), reference, atol=2e-6)
