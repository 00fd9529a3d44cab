"""Class activation maps against hand-computed layers, captum and torchcam."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from explainer_toys import SIZE, Toy, explain, image_of, make, map_of, reason_of, small_net
from torch import Tensor, nn

from xaibench.api import Passes
from xaibench_explainers.gradient.cams import (
    EigenCam,
    GradCamPlusPlus,
    HiResCam,
    LayerCam,
    XGradCam,
    eigencam,
    gradcam_plus_plus,
    hirescam,
    layercam,
    xgradcam,
)
from xaibench_explainers.gradient.gradcam import GradCam, gradcam
from xaibench_testing.planted import ConstantDetector

BY_GRADIENT = (GradCam, GradCamPlusPlus, HiResCam, XGradCam, LayerCam)
FORMULAS = (gradcam, gradcam_plus_plus, hirescam, xgradcam, layercam)

# two channels of a layer of 2x2 positions
A = torch.tensor([[[[1.0, 0.0], [2.0, 1.0]], [[0.0, 3.0], [1.0, 0.0]]]])
G = torch.tensor([[[[1.0, -1.0], [0.5, 1.5]], [[-2.0, 1.0], [0.0, -1.0]]]])


def native_of(done: Any) -> Tensor:
    map_of(done)
    assert done.value.native_map is not None
    found: Tensor = done.value.native_map
    return found


def layer_is_the_picture(head: Callable[[Tensor], Tensor]) -> Toy:
    """The layer is the picture itself; the fake logit is ``head`` of it, the real one 0."""
    return Toy(lambda x: x * 1.0, lambda a: torch.stack([torch.zeros(len(a)), head(a)], dim=1))


# ---- by hand --------------------------------------------------------------------------------------------------------


def test_gradcam_by_hand() -> None:
    # means of G: 0.5 and -0.5
    assert gradcam(A, G)[0].tolist() == [[0.5, 0], [0.5, 0.5]]


def test_gradcam_plus_plus_by_hand() -> None:
    # sums of A: 4 and 4, so a = 1 / (2 + 4 g) where g > 0
    # w_0 = 1/6 + 0.5/4 + 1.5/8 = 23/48; w_1 = 1/6
    w = torch.tensor([23 / 48, 1 / 6])
    expected = w[0] * A[0, 0] + w[1] * A[0, 1]
    torch.testing.assert_close(gradcam_plus_plus(A, G)[0], expected)
    torch.testing.assert_close(expected[0], torch.tensor([23 / 48, 0.5]))


def test_gradcam_plus_plus_is_equation_19() -> None:
    activations, gradients = torch.rand(2, 5, 3, 4), torch.randn(2, 5, 3, 4)
    square, cube = gradients**2, gradients**3
    alpha = square / (2 * square + activations.sum(dim=(2, 3), keepdim=True) * cube)
    weights = (alpha * gradients.relu()).sum(dim=(2, 3), keepdim=True)
    expected = (weights * activations).sum(dim=1).relu()
    torch.testing.assert_close(gradcam_plus_plus(activations, gradients), expected)


def test_gradcam_plus_plus_is_equation_19_by_differentiating_thrice() -> None:
    # Y = exp(S) for a head that is linear in A; the common factor exp(S) cancels in a and is left in w
    w = torch.randn(2, 2, 3, generator=torch.Generator().manual_seed(0)).double()
    activations = torch.rand(2, 2, 3, generator=torch.Generator().manual_seed(1)).double()

    def y(*values: Tensor) -> Tensor:
        return (w * torch.stack(values).view_as(w)).sum().exp()

    leaves = [v.clone().requires_grad_(True) for v in activations.flatten()]
    weights = torch.zeros(2, dtype=torch.float64)
    for i, leaf in enumerate(leaves):
        found = y(*leaves)
        derivatives = []
        for _ in range(3):
            (found,) = torch.autograd.grad(found, leaf, create_graph=True)
            derivatives.append(found.detach())
        first, second, third = derivatives
        alpha = second / (2 * second + activations[i // 6].sum() * third)
        weights[i // 6] += alpha * first.relu()
    expected = (weights[:, None, None] * activations).sum(dim=0).relu() / y(*leaves).detach()
    torch.testing.assert_close(gradcam_plus_plus(activations[None], w[None])[0], expected)


def test_hirescam_by_hand() -> None:
    # G * A: [[1, 0], [1, 1.5]] and [[0, 3], [0, 0]]
    assert hirescam(A, G)[0].tolist() == [[1, 3], [1, 1.5]]
    assert hirescam(A, -G)[0].tolist() == [[-1, -3], [-1, -1.5]]


def test_xgradcam_by_hand() -> None:
    # w_0 = (1 + 1 + 1.5) / 4, w_1 = 3 / 4
    expected = 0.875 * A[0, 0] + 0.75 * A[0, 1]
    assert torch.equal(xgradcam(A, G)[0], expected)


def test_xgradcam_gives_a_dead_channel_no_weight() -> None:
    dead = A.clone()
    dead[0, 1] = 0
    assert torch.equal(xgradcam(dead, G)[0], 0.875 * A[0, 0])


def test_layercam_by_hand() -> None:
    # relu(G) * A: [[1, 0], [1, 1.5]] and [[0, 3], [0, 0]]; negative activations count against
    assert layercam(A, G)[0].tolist() == [[1, 3], [1, 1.5]]
    assert layercam(-A, G)[0].tolist() == [[0, 0], [0, 0]]


def test_eigencam_of_one_pattern_is_the_pattern() -> None:
    # A = u v^T has the one component v, |v| = 5, so the projection is 5 u
    u, v = torch.tensor([[1.0, 2.0], [0.0, 4.0]]), torch.tensor([3.0, 4.0])
    torch.testing.assert_close(eigencam((v[:, None, None] * u)[None])[0], 5 * u)


def test_eigencam_has_the_sign_that_sums_to_more_than_nothing() -> None:
    u, v = torch.tensor([[1.0, 2.0], [-1.0, 4.0]]), torch.tensor([3.0, 4.0])
    for sign in (1, -1):
        torch.testing.assert_close(eigencam((sign * v[:, None, None] * u)[None])[0], 5 * u.relu())
        torch.testing.assert_close(eigencam((v[:, None, None] * sign * u)[None])[0], 5 * u.relu())


def test_eigencam_is_the_leading_eigenvector_of_the_channel_products() -> None:
    activations = torch.rand(1, 4, 3, 5)
    flat = activations[0].flatten(1).double()
    _, vectors = torch.linalg.eigh(flat @ flat.T)
    expected = (vectors[:, -1].abs() @ flat).view(3, 5).float()  # positive products: all of one sign
    torch.testing.assert_close(eigencam(activations)[0], expected)


@pytest.mark.parametrize("formula", [*FORMULAS, lambda a, g: eigencam(a)])
def test_formulas_take_pictures_one_by_one(formula: Callable[[Tensor, Tensor], Tensor]) -> None:
    activations, gradients = torch.rand(3, 4, 2, 5), torch.randn(3, 4, 2, 5)
    whole = formula(activations, gradients)
    for i in range(3):
        torch.testing.assert_close(formula(activations[i : i + 1], gradients[i : i + 1])[0], whole[i])


@pytest.mark.parametrize("formula", FORMULAS)
def test_a_gradient_of_one_value_is_the_plain_class_activation_map(formula: Callable[[Tensor, Tensor], Tensor]) -> None:
    # one positive gradient g a channel (global average pooling): all maps but Grad-CAM++ are sum_k g_k A_k
    activations, g = torch.rand(1, 4, 2, 3), torch.tensor([0.5, 1, 2, 3])[:, None, None].expand(1, 4, 2, 3)
    expected = (g * activations).sum(dim=1)
    if formula is gradcam_plus_plus:
        weight = 6 * g / (2 + g * activations.sum(dim=(2, 3), keepdim=True))
        expected = (weight * activations).sum(dim=1)
    torch.testing.assert_close(formula(activations, g), expected)


# ---- components -----------------------------------------------------------------------------------------------------


def test_hirescam_of_a_linear_head_sums_to_the_logit() -> None:
    w = torch.randn(3, *SIZE, generator=torch.Generator().manual_seed(1))
    net, image = layer_is_the_picture(lambda a: (a * w).sum(dim=(1, 2, 3))), image_of()
    found = native_of(explain(make(HiResCam), net, image))
    assert float(found.sum()) == pytest.approx(float(net.scores(image[None])[0, 1]), rel=1e-4)
    assert float(found.min()) < 0


@pytest.mark.parametrize("cls", [*BY_GRADIENT, EigenCam])
def test_maps_are_upsampled_from_the_layer_and_not_stretched(cls: Any) -> None:
    done = explain(make(cls), small_net(), image_of(3), target=1)
    native = native_of(done)
    assert native.shape == (4, 4)
    torch.testing.assert_close(map_of(done)[1::3, 1::3], native)  # cells of 3 px: the middle pixel is the cell
    assert done.passes == (Passes(forward=1) if cls is EigenCam else Passes(forward=1, backward=1))


@pytest.mark.parametrize("cls", BY_GRADIENT)
def test_the_probability_scales_the_gradient_by_p_times_one_minus_p(cls: Any) -> None:
    net, image = small_net(), image_of(3)
    logit = Toy(net.body, lambda a: torch.stack([torch.zeros(len(a)), net.head(a)[:, 1]], dim=1))
    p = float(logit.probabilities(image[None])[0, 1])
    by_logit = native_of(explain(make(cls), logit, image))
    by_probability = native_of(explain(make(cls, output="probability"), logit, image))
    if cls is GradCamPlusPlus:  # not linear in the gradient
        assert not torch.allclose(by_probability, p * (1 - p) * by_logit, rtol=1e-2)
    else:
        torch.testing.assert_close(by_probability, p * (1 - p) * by_logit, rtol=1e-4, atol=1e-9)


def test_eigencam_is_the_same_for_every_class_and_needs_no_gradient() -> None:
    net, image = small_net(), image_of()
    assert torch.equal(*(map_of(explain(make(EigenCam), net, image, target=t)) for t in (0, 1)))
    blind = Toy(lambda x: x.detach() * 1.0, lambda a: torch.zeros(len(a), 2))
    torch.testing.assert_close(native_of(explain(make(EigenCam), blind, image)), eigencam(image[None])[0])


@pytest.mark.parametrize("cls", [GradCam, GradCamPlusPlus, XGradCam, LayerCam])
def test_no_evidence_for_the_class_is_undefined(cls: Any) -> None:
    against = layer_is_the_picture(lambda a: -a.sum(dim=(1, 2, 3)))
    assert "speaks for the class" in reason_of(explain(make(cls), against, image_of()))


@pytest.mark.parametrize("cls", BY_GRADIENT)
def test_a_flat_detector_is_undefined(cls: Any) -> None:
    assert "zero" in reason_of(explain(make(cls), ConstantDetector(0.6, SIZE), image_of()))


@pytest.mark.parametrize("cls", [*BY_GRADIENT, EigenCam])
def test_activations_that_are_not_finite_are_undefined(cls: Any) -> None:
    net = layer_is_the_picture(lambda a: a.sum(dim=(1, 2, 3)))
    broken = Toy(lambda x: x / 0, net.head)
    assert "not finite" in reason_of(explain(make(cls), broken, image_of()))


def test_eigencam_of_nothing_is_undefined() -> None:
    assert "zero everywhere" in reason_of(
        explain(make(EigenCam), Toy(lambda x: x * 0, lambda a: a[:, :2, 0, 0]), image_of())
    )


# ---- parity ---------------------------------------------------------------------------------------------------------


@pytest.mark.parity
@pytest.mark.parametrize("target", [0, 1])
@pytest.mark.parametrize(
    ("cls", "theirs", "net"),
    [(XGradCam, "XGradCAM", small_net(smooth=False)), (LayerCam, "LayerCAM", small_net(smooth=False))],
)
def test_cams_are_torchcams_weighted_sums(cls: Any, theirs: str, net: Toy, target: int) -> None:
    torchcam = pytest.importorskip("torchcam.methods")
    model, image = nn.Sequential(net.body, net.head), image_of(5)  # type: ignore[arg-type]
    with getattr(torchcam, theirs)(model, target_layer=model[0], input_shape=(3, *SIZE)) as extractor:
        raw = extractor(target, model(image[None]), normalized=False)[0][0].relu()
    done = explain(make(cls), net, image, target=target)
    if not raw.any():
        assert "speaks for the class" in reason_of(done)
    else:
        torch.testing.assert_close(native_of(done), raw, atol=1e-7, rtol=1e-4)


@pytest.mark.parity
@pytest.mark.parametrize("target", [0, 1])
def test_hirescam_is_captums_layer_gradient_times_activation(target: int) -> None:
    attr = pytest.importorskip("captum.attr")
    net, image = small_net(smooth=False), image_of(5)
    model = nn.Sequential(net.body, net.head)  # type: ignore[arg-type]
    theirs = attr.LayerGradientXActivation(model, model[0]).attribute(image[None], target)[0].sum(dim=0)
    torch.testing.assert_close(native_of(explain(make(HiResCam), net, image, target=target)), theirs.detach())
