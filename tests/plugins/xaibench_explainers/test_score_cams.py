"""Score-CAM and Ablation-CAM: by hand, against torchcam and captum, channel budgets."""

from __future__ import annotations

import pytest
import torch
from region_toys import SIZE, Layered, explain, image_of, make, map_of, native_of, reason_of, said, small_net
from torch import Tensor, nn

from xaibench.api import Passes
from xaibench_explainers.perturbation.ablationcam import AblationCam
from xaibench_explainers.perturbation.channels import strongest, without_channel
from xaibench_explainers.perturbation.scorecam import ChannelMasks, ScoreCam


def colours(weights: tuple[float, float, float], offset: float = 0.0) -> Layered:
    """The layer is the picture itself; the logits are 0 and the weighted sum of the mean colours, plus an offset."""
    w = torch.tensor(weights)

    def head(activation: Tensor) -> Tensor:
        fake = (activation.mean(dim=(2, 3)) * w).sum(dim=1) + offset
        return torch.stack([torch.zeros_like(fake), fake], dim=1)

    return Layered(lambda images: images * 1.0, head)


def channel_count(component: object, detector: Layered, image: Tensor) -> float:
    done = explain(component, detector, image)
    assert done.value is not None
    return done.value.details["channels"]


# ---- Score-CAM ------------------------------------------------------------------------------------------------------


def test_scorecam_by_hand() -> None:
    image = image_of(3)
    low, high = image.amin(dim=(1, 2), keepdim=True), image.amax(dim=(1, 2), keepdim=True)
    masks = (image - low) / (high - low)
    scores = torch.stack([((image * m).mean(dim=(1, 2)) * torch.tensor([9.0, -5.0, 2.0])).sum() for m in masks])
    detector = colours((9, -5, 2))
    done = explain(make(ScoreCam), detector, image)
    expected = (scores.softmax(dim=0)[:, None, None] * image).sum(dim=0)
    torch.testing.assert_close(map_of(done), expected, atol=1e-6, rtol=1e-5)
    assert done.passes == Passes(forward=4)
    assert said(make(ScoreCam), detector) == Passes(forward=2049, exact=False)


def test_scorecam_shows_the_fill_where_a_channel_is_low() -> None:
    image = image_of(3)
    low, high = image.amin(dim=(1, 2), keepdim=True), image.amax(dim=(1, 2), keepdim=True)
    masks = (image - low) / (high - low)
    seen = [1 + m * (image - 1) for m in masks]
    scores = torch.stack([(s.mean(dim=(1, 2)) * torch.tensor([9.0, -5.0, 2.0])).sum() for s in seen])
    expected = (scores.softmax(dim=0)[:, None, None] * image).sum(dim=0)
    found = map_of(explain(make(ScoreCam, fill="white"), colours((9, -5, 2)), image))
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)


def test_flat_channels_cost_nothing_and_change_nothing() -> None:
    image = image_of(3)
    image[1] = 0
    two = explain(make(ScoreCam), colours((9, -5, 2)), image)
    assert two.passes == Passes(forward=3)
    assert two.value is not None
    assert two.value.details["channels"] == 2
    flat = explain(make(ScoreCam), colours((9, -5, 2)), torch.full((3, *SIZE), 0.5))
    assert reason_of(flat) == "every channel of the layer is flat"


def test_a_lone_channel_is_the_map() -> None:
    image = image_of(3)
    image[1:] = 0.25
    torch.testing.assert_close(map_of(explain(make(ScoreCam), colours((1, 1, 1)), image)), image[0])


def test_scorecam_of_a_constant_score_is_undefined() -> None:
    assert "no signal" in reason_of(explain(make(ScoreCam), colours((0, 0, 0), 3.0), image_of()))


def test_channel_masks_reach_0_and_1_at_the_picture_size() -> None:
    masks = ChannelMasks(torch.randn(7, 3, 4, generator=torch.Generator().manual_seed(0)), (10, 17)).render(2, 6)
    assert masks.shape == (4, 10, 17)
    assert masks.amin(dim=(1, 2)).tolist() == [0.0] * 4
    assert masks.amax(dim=(1, 2)).tolist() == [1.0] * 4


@pytest.mark.parity
@pytest.mark.parametrize("target", [0, 1])
def test_scorecam_is_torchcams_weighted_sum(target: int) -> None:
    # 4x4 to 12x12: at three times the size interpolation meets the extremes, so the order of stretching is all one
    torchcam = pytest.importorskip("torchcam.methods")
    net, image = small_net(), image_of(5)
    model = nn.Sequential(net.body, net.head)  # type: ignore[call-overload]
    with torchcam.ScoreCAM(model, target_layer=model[0], input_shape=(3, *SIZE)) as extractor:
        raw = extractor(target, model(image[None]), normalized=False)[0][0]
    found = native_of(explain(make(ScoreCam), net, image, target=target))
    torch.testing.assert_close(found, raw.relu(), atol=1e-6, rtol=1e-4)


# ---- Ablation-CAM ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("offset", [0.0, -40.0])
def test_ablationcam_by_hand(offset: float) -> None:
    # without channel k the score falls by w_k mean(A_k), whatever the sign of the score itself
    image, w = image_of(4), torch.tensor([6.0, -1.0, 0.5])
    detector = colours((6, -1, 0.5), offset)
    means = w * image.mean(dim=(1, 2))
    drops = means / (means.sum() + offset).abs()
    done = explain(make(AblationCam), detector, image)
    torch.testing.assert_close(map_of(done), (drops[:, None, None] * image).sum(dim=0).relu(), atol=1e-6, rtol=1e-4)
    assert done.passes == Passes(forward=4)
    assert done.value is not None
    assert dict(done.value.details) == {"channels": 3, "layer_channels": 3}


def test_ablationcam_of_probabilities() -> None:
    image, w = image_of(4), torch.tensor([6.0, -1.0, 0.5])
    means = w * image.mean(dim=(1, 2))
    whole, without = torch.sigmoid(means.sum()), torch.sigmoid(means.sum() - means)
    drops = (whole - without) / whole
    found = map_of(explain(make(AblationCam, output="probability"), colours((6, -1, 0.5)), image))
    torch.testing.assert_close(found, (drops[:, None, None] * image).sum(dim=0).relu(), atol=1e-6, rtol=1e-4)


@pytest.mark.parity
@pytest.mark.parametrize("target", [0, 1])
def test_drops_are_captums_layer_ablation(target: int) -> None:
    attr = pytest.importorskip("captum.attr")
    net, image = small_net(nn.ReLU), image_of(5)
    model = nn.Sequential(net.body, net.head)  # type: ignore[call-overload]
    channels = torch.arange(5)[None, :, None, None].expand(1, 5, 4, 4)
    theirs = attr.LayerFeatureAblation(model, model[0]).attribute(image[None], 0, target=target, layer_mask=channels)
    drops = theirs[0, :, 0, 0] / model(image[None])[0, target].abs()
    activation = model[0](image[None])[0]
    expected = (drops[:, None, None] * activation).sum(dim=0).relu()
    done = explain(make(AblationCam), net, image, target=target)
    found = native_of(done) if done.value and done.value.native_map is not None else torch.zeros(4, 4)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-4)


def test_ablationcam_without_evidence_or_score_is_undefined() -> None:
    assert "zero everywhere" in reason_of(explain(make(AblationCam), colours((-1, -1, -1)), image_of()))
    assert "no signal" in reason_of(explain(make(AblationCam), colours((0, 0, 0), 2.0), image_of()))
    image = torch.zeros(3, *SIZE)
    image[0], image[1] = 0.5, 0.25
    assert "relative drop" in reason_of(explain(make(AblationCam), colours((1, -2, 0)), image))


def test_a_channel_is_switched_off_row_by_row_in_any_layout() -> None:
    tokens = torch.rand(3, 7, 4)
    tokens[0, 0, 2] = float("inf")
    before = tokens.clone()
    edited = without_channel(tokens, 2, torch.tensor([2, 0, 3]))
    for row, channel in enumerate((2, 0, 3)):
        kept = [c for c in range(4) if c != channel]
        assert not edited[row, :, channel].any()
        assert torch.equal(edited[row][:, kept], tokens[row][:, kept])
    assert torch.equal(tokens, before)
    maps = torch.rand(3, 4, 2, 2)
    second_off = torch.tensor([1.0, 0.0, 1.0, 1.0]).view(1, 4, 1, 1)
    assert torch.equal(without_channel(maps, 1, torch.tensor([1, 1, 1])), maps * second_off)


# ---- both -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [ScoreCam, AblationCam])
def test_the_strongest_channels_come_first_and_bound_the_cost(cls: type) -> None:
    image = image_of(6) * torch.tensor([0.2, 1.0, 0.6])[:, None, None]
    detector, component = colours((1, 2, 3)), make(cls, most=2)
    assert said(component, detector) == Passes(forward=3, exact=False)
    assert explain(component, detector, image).passes == Passes(forward=3)
    assert channel_count(component, detector, image) == 2
    assert strongest(image, 2).tolist() == [1, 2]
    assert strongest(torch.ones(4, 2, 2), 2).tolist() == [0, 1]


@pytest.mark.parametrize("cls", [ScoreCam, AblationCam])
def test_the_layer_asked_for_is_looked_at(cls: type) -> None:
    detector = colours((1, 2, 3))
    explain(make(cls, layer="deep"), detector, image_of())
    assert detector.layers == {"deep"}


@pytest.mark.parametrize("cls", [ScoreCam, AblationCam])
def test_activations_that_are_not_finite_are_undefined(cls: type) -> None:
    detector = Layered(lambda images: images / 0, lambda a: a.mean(dim=(2, 3))[:, :2].nan_to_num())
    assert "finite" in reason_of(explain(make(cls), detector, image_of()))


@pytest.mark.parametrize("cls", [ScoreCam, AblationCam])
def test_maps_do_not_depend_on_the_compute_batch_mates(cls: type) -> None:
    net = small_net()
    one, many = (explain(make(cls), net, image_of(7), batch=b) for b in (1, 32))
    torch.testing.assert_close(map_of(one), map_of(many), atol=1e-6, rtol=1e-4)
