"""Guided backpropagation, DeepLIFT, LRP and FullGrad: numbers by hand, axioms, parity, every way to write a network."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
from architectures import ARCHITECTURES, built
from propagating import Net, explain, explain_all, exported, image_of, make, map_of, red, scored
from torch import Tensor, nn
from torch.nn import functional as F

from xaibench.api import Explanation
from xaibench_explainers.gradient.propagation.deeplift import DeepLift
from xaibench_explainers.gradient.propagation.fullgrad import FullGrad, stretched
from xaibench_explainers.gradient.propagation.guided_backprop import GuidedBackprop
from xaibench_explainers.gradient.propagation.lrp import Lrp

SIZE = (8, 12)
ALL = (GuidedBackprop, DeepLift, Lrp, FullGrad)


class Plain(nn.Module):
    """Convolutions, batch norm, rectifiers, pools, a residual and dense layers; every module is used once."""

    def __init__(self, bias: bool = True, norm: bool = True) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.one, self.two = nn.Conv2d(3, 5, 3, padding=1, bias=bias), nn.Conv2d(5, 5, 3, padding=1, bias=bias)
        self.norm = nn.BatchNorm2d(5) if norm else nn.Identity()
        if norm:
            self.norm.running_mean.normal_(0, 0.1)
            self.norm.running_var.uniform_(0.5, 2)
            nn.init.normal_(self.norm.bias, 0, 0.1)
        self.act1, self.act2, self.act3 = nn.ReLU(), nn.ReLU(), nn.ReLU()
        self.pool, self.mean = nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(2)
        self.dense, self.last = nn.Linear(20, 6, bias=bias), nn.Linear(6, 2, bias=bias)

    def forward(self, images: Tensor) -> Tensor:
        x = self.pool(self.act1(self.norm(self.one(images))))
        x = self.act2(self.two(x))
        return self.last(self.act3(self.dense(self.mean(x).flatten(1))))


class Functional(Plain):
    """The same with functions, rectifiers that overwrite, and a residual connection when asked."""

    residual = False

    def forward(self, images: Tensor) -> Tensor:
        x = self.norm(self.one(images))
        x.relu_()
        x = F.max_pool2d(x, 2)
        y = F.relu(self.two(x), inplace=True)
        y = F.adaptive_avg_pool2d(x + y if self.residual else y, 2).reshape(len(y), 20)
        return F.linear(torch.relu(self.dense(y)), self.last.weight, self.last.bias)


class Residual(Functional):
    residual = True


class Gated(nn.Module):
    """A squeeze-and-excitation gate, SiLU and layer norm over channels last."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.one, self.squeeze, self.excite = nn.Conv2d(3, 4, 3), nn.Linear(4, 2), nn.Linear(2, 4)
        self.norm, self.last = nn.LayerNorm(4), nn.Linear(4, 2)
        nn.init.normal_(self.norm.bias, 0, 0.1)

    def forward(self, images: Tensor) -> Tensor:
        x = F.silu(self.one(images))
        gate = self.excite(F.relu(self.squeeze(x.mean(dim=(2, 3))))).sigmoid()
        x = self.norm((x * gate[:, :, None, None]).permute(0, 2, 3, 1))
        return self.last(F.gelu(x).mean(dim=(1, 2)))


class Attending(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.patches = nn.Conv2d(3, 8, 4, stride=4)
        self.layer = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True, dropout=0.0)
        self.last = nn.Linear(8, 2)

    def forward(self, images: Tensor) -> Tensor:
        return self.last(self.layer(self.patches(images).flatten(2).transpose(1, 2)).mean(dim=1))


@cache
def net(kind: type[nn.Module], **options: bool) -> Net:
    return Net(kind(**options), SIZE)


# ---- guided backpropagation -----------------------------------------------------------------------------------------


def test_guided_backprop_by_hand() -> None:
    # f = 3 relu(2a - b) - relu(a + b): at a = b = .5 both rectifiers are open, the second gets a negative gradient.
    detector = scored(lambda x: 3 * F.relu(2 * x[:, 0, 0, 0] - x[:, 0, 0, 1]) - F.relu(x[:, 0, 0].sum(dim=1)))
    assert map_of(make(GuidedBackprop), detector, red(0.5, 0.5)).tolist() == [[6.0, 3.0]]
    # 2a - b < 0: the first is closed as well; a deconvolutional network passes it all the same
    assert "zero everywhere" in explain(make(GuidedBackprop), detector, red(0.1, 0.5)).reason
    assert map_of(make(GuidedBackprop, rule="deconvnet"), detector, red(0.1, 0.5)).tolist() == [[6.0, 3.0]]


@pytest.mark.parametrize("rectifier", [F.relu6, nn.ReLU6(), lambda x: x.clamp(min=0), lambda x: F.threshold(x, 0, 0)])
def test_other_rectifiers_are_guided(rectifier: Callable[[Tensor], Tensor]) -> None:
    detector = scored(lambda x: rectifier(x[:, 0, 0, 0]) - rectifier(x[:, 0, 0, 1]))
    found = explain(make(GuidedBackprop), detector, red(0.5, 0.5))
    assert found.map is not None
    assert found.map.tolist() == [[1.0, 0.0]]
    assert found.details == {"rectifiers": 2.0}


@pytest.mark.parametrize("bend", [torch.sigmoid, F.gelu, lambda x: x.clamp(0, 1), F.leaky_relu, F.hardtanh])
def test_a_network_without_rectifiers_has_nothing_to_guide(bend: Callable[[Tensor], Tensor]) -> None:
    found = explain(make(GuidedBackprop), scored(lambda x: bend(x).sum(dim=(1, 2, 3))), red(0.5, 0.2))
    assert found.status == "undefined"
    assert "no rectifier" in found.reason


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore:Setting backward hooks on ReLU")
@pytest.mark.parametrize(("rule", "name"), [("guided", "GuidedBackprop"), ("deconvnet", "Deconvolution")])
def test_guided_backprop_equals_captum(rule: str, name: str) -> None:
    captum = pytest.importorskip("captum.attr")
    module, image = Plain().eval(), image_of(*SIZE)
    expected = getattr(captum, name)(module).attribute(image[None].requires_grad_(True), target=1)[0]
    found = map_of(make(GuidedBackprop, rule=rule, reduction="sum-abs"), net(Plain), image.detach())
    torch.testing.assert_close(found, expected.abs().sum(dim=0).detach(), rtol=1e-4, atol=1e-6)


# ---- DeepLIFT -------------------------------------------------------------------------------------------------------


def test_deeplift_by_hand() -> None:
    # relu(a + b - 1) at (1, .5): rises from 0 by .5 over an input that rises by 1.5, so a third of each difference.
    detector = scored(lambda x: F.relu(x[:, 0, 0].sum(dim=1) - 1))
    assert torch.allclose(map_of(make(DeepLift), detector, red(1.0, 0.5)), torch.tensor([[1 / 3, 1 / 6]]))
    # saturation: 1 - relu(1 - a - b) is flat beyond 1, where its gradient is 0
    flat = scored(lambda x: 1 - F.relu(1 - x[:, 0, 0].sum(dim=1)))
    assert torch.allclose(map_of(make(DeepLift), flat, red(1.0, 1.0)), torch.tensor([[0.5, 0.5]]))


def test_deeplift_shares_products_and_quotients_out_whole() -> None:
    product = scored(lambda x: x[:, 0, 0, 0] * x[:, 0, 0, 1])
    assert torch.allclose(map_of(make(DeepLift), product, red(0.5, 0.8)), torch.tensor([[0.2, 0.2]]))
    # a / (1 + b) from (.5, .5) to (1, 0): .5 (1 + 2/3) / 2 = 5/12 for a, .75 (1 - 2/3) = 1/4 for b
    quotient = scored(lambda x: x[:, 0, 0, 0] / (1 + x[:, 0, 0, 1]))
    found = map_of(make(DeepLift, baseline="grey"), quotient, red(1.0, 0.0))
    assert torch.allclose(found, torch.tensor([[5 / 12, 1 / 4]]))


def test_deeplift_gives_a_maximum_s_change_to_the_larger_of_both() -> None:
    # the maximum of (.9, .2) is .9; that of the grey baseline .5 in either place: the first gets all of it
    maximum = scored(lambda x: F.max_pool2d(x, (1, 2))[:, 0, 0, 0])
    assert torch.allclose(map_of(make(DeepLift, baseline="grey"), maximum, red(0.9, 0.2)), torch.tensor([[0.4, 0.0]]))


@pytest.mark.parametrize("baseline", ["black", "grey", "blur"])
@pytest.mark.parametrize("kind", [Plain, Residual, Gated, Attending])
def test_deeplift_is_complete(kind: type[nn.Module], baseline: str) -> None:
    detector, image = net(kind), image_of(*SIZE, seed=3)
    found = explain(make(DeepLift, baseline=baseline, sigma=0.2), detector, image)
    assert found.map is not None
    assert found.details["gap"] < 1e-4
    assert float(found.map.sum()) == pytest.approx(found.details["change"], rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("name", sorted(set(ARCHITECTURES) - {"clip"}))  # clip divides by a norm, which has no rule
def test_deeplift_is_complete_on_every_architecture(name: str) -> None:
    size = (ARCHITECTURES[name].size,) * 2
    found = explain(make(DeepLift), Net(built(name), size), image_of(*size))
    assert found.details["gap"] < 1e-4


def test_deeplift_is_complete_with_group_norm_and_softmax_probabilities() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )
    found = explain(make(DeepLift, output="probability"), Net(module, SIZE), image_of(*SIZE))
    assert found.details["gap"] < 1e-4


def test_deeplift_says_how_far_it_is_off_where_an_operation_has_no_rule() -> None:
    found = explain(make(DeepLift), scored(lambda x: x[:, 0, 0].norm(dim=1) ** 2), red(0.6, 0.8))
    assert found.details["change"] == pytest.approx(1.0)
    assert "gap" in found.details


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore:Setting forward, backward hooks")
@pytest.mark.parametrize("pool", [nn.AvgPool2d, nn.MaxPool2d])
def test_deeplift_equals_captum_but_for_max_pools_where_captum_is_not_complete(pool: type[nn.Module]) -> None:
    captum = pytest.importorskip("captum.attr")
    module, image = Plain().eval(), image_of(*SIZE)
    module.pool = pool(2)
    with_gradient = image[None].clone().requires_grad_(True)
    expected = captum.DeepLift(module).attribute(with_gradient, torch.full_like(image, 0.5)[None], target=1)
    expected = expected[0].sum(dim=0).detach()
    found = explain(make(DeepLift, baseline="grey"), Net(module, SIZE), image)
    assert found.map is not None
    change = found.details["change"]
    assert float(found.map.sum()) == pytest.approx(change, rel=1e-4)
    if pool is nn.AvgPool2d:
        torch.testing.assert_close(found.map, expected, rtol=1e-3, atol=1e-8)
    else:
        assert abs(float(expected.sum()) - change) > 0.1 * abs(change)


# ---- LRP ------------------------------------------------------------------------------------------------------------


def dense(weights: list[float], bias: float = 0.0) -> Net:
    row = torch.tensor([weights])
    return scored(lambda x: F.linear(x[:, 0, 0], row, torch.tensor([bias]))[:, 0], (1, len(weights)))


def test_lrp_by_hand() -> None:
    # terms 1, 1.5, -.5 and the bias .5 make z = 2.5
    detector, image = dense([2.0, 3.0, -1.0], 0.5), red(0.5, 0.5, 0.5)
    cases: list[tuple[dict[str, Any], list[float]]] = [
        ({"epsilon": 0.0}, [1.0, 1.5, -0.5]),
        ({"epsilon": 2.5}, [0.5, 0.75, -0.25]),
        ({"rule": "alpha1beta0"}, [2.5 / 3, 2.5 / 2, 0.0]),
        ({"rule": "gamma", "gamma": 1.0}, [2 * 2.5 / 5.5, 3 * 2.5 / 5.5, -0.5 * 2.5 / 5.5]),
        ({"rule": "epsilon-plus", "epsilon": 0.0}, [1.0, 1.5, -0.5]),
    ]
    for values, expected in cases:
        found = map_of(make(Lrp, **values), detector, image)
        assert torch.allclose(found, torch.tensor([expected]), atol=1e-5), values


def test_lrp_treats_negative_inputs_by_the_sign_of_what_they_add() -> None:
    # x - 1 = (-.5, -.5), weights (-2, 1): terms 1 and -.5; alpha1beta0 gives the first everything, z = .5
    row = torch.tensor([[-2.0, 1.0]])
    detector = scored(lambda x: F.linear(x[:, 0, 0] - 1, row)[:, 0])
    found = map_of(make(Lrp, rule="alpha1beta0"), detector, red(0.5, 0.5))
    assert torch.allclose(found, torch.tensor([[-0.5, 0.0]]), atol=1e-6)  # x / (x - 1) of it: the shift takes the rest


def test_lrp_shares_sums_in_proportion_and_products_in_halves() -> None:
    total = scored(lambda x: F.relu(x[:, 0, 0, 0] + 3 * x[:, 0, 0, 1]))
    assert torch.allclose(map_of(make(Lrp), total, red(0.4, 0.2)), torch.tensor([[0.4, 0.6]]), atol=1e-5)
    product = scored(lambda x: x[:, 0, 0, 0] * x[:, 0, 0, 1])
    assert torch.allclose(map_of(make(Lrp), product, red(0.5, 0.8)), torch.tensor([[0.2, 0.2]]), atol=1e-5)
    quotient = scored(lambda x: x[:, 0, 0, 0] / x[:, 0, 0, 1])
    assert torch.allclose(map_of(make(Lrp), quotient, red(0.4, 0.8)), torch.tensor([[0.5, 0.0]]), atol=1e-5)


def test_lrp_activations_pass_relevance_whatever_their_slope() -> None:
    detector = scored(lambda x: torch.tanh(x[:, 0, 0].sum(dim=1)))
    found = map_of(make(Lrp), detector, red(1.0, 0.5))
    assert torch.allclose(found, torch.tanh(torch.tensor(1.5)) * torch.tensor([[2 / 3, 1 / 3]]), atol=1e-5)


def test_lrp_without_biases_is_input_times_gradient_and_conserves_the_output() -> None:
    detector, image = net(Residual, bias=False, norm=False), image_of(*SIZE)
    leaf = image.clone().requires_grad_(True)
    value = detector.logits(leaf[None])[0, 1]
    (gradient,) = torch.autograd.grad(value, leaf)
    found = explain(make(Lrp, epsilon=0.0), detector, image)
    assert found.map is not None
    torch.testing.assert_close(found.map, (gradient * image).sum(dim=0), rtol=1e-4, atol=1e-6)
    for rule in ("epsilon", "gamma", "alpha1beta0", "epsilon-plus"):
        conserved = explain(make(Lrp, rule=rule, epsilon=1e-9), detector, image).details["conserved"]
        assert conserved == pytest.approx(1.0, abs=1e-3), rule


@pytest.mark.parametrize("rule", ["epsilon", "gamma", "alpha1beta0"])
def test_lrp_folds_batch_norm_into_the_convolution_before_it(rule: str) -> None:
    module = Plain().eval()
    folded = Plain(norm=False).eval()
    scale = (module.norm.running_var + module.norm.eps).rsqrt() * module.norm.weight
    folded.load_state_dict({k: v for k, v in module.state_dict().items() if not k.startswith("norm.")})
    folded.one.weight.data *= scale[:, None, None, None]
    folded.one.bias.data = (folded.one.bias - module.norm.running_mean) * scale + module.norm.bias
    one, two = (map_of(make(Lrp, rule=rule), Net(m, SIZE), image_of(*SIZE)) for m in (module, folded))
    torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("score", "name"),
    [
        (lambda x: torch.cos(x).sum(dim=(1, 2, 3)), "cos"),
        (lambda x: x.prod(dim=3).sum(dim=(1, 2)), "prod"),
        (lambda x: torch.exp(x[:, 0, 0]).sum(dim=1), "exp"),
    ],
)
def test_lrp_names_an_operation_without_a_rule(score: Callable[[Tensor], Tensor], name: str) -> None:
    found = explain(make(Lrp), scored(score), red(0.5, 0.7))
    assert found.status == "undefined"
    assert f"'{name}'" in found.reason


def test_lrp_needs_no_rule_for_what_gets_no_relevance() -> None:
    def normed(x: Tensor) -> Tensor:
        return (x[:, 0, 0] / x[:, 0, 0].pow(2).sum(dim=1, keepdim=True).sqrt()).sum(dim=1)

    assert torch.allclose(map_of(make(Lrp), scored(normed), red(0.6, 0.8)), torch.tensor([[0.6, 0.8]]), atol=1e-5)


def test_lrp_goes_through_gates_layer_norm_and_attention() -> None:
    for kind in (Gated, Attending):
        assert explain(make(Lrp), net(kind), image_of(*SIZE)).status == "ok"


@pytest.mark.parity
@pytest.mark.parametrize("rule", ["epsilon", "gamma", "alpha1beta0"])
def test_lrp_equals_captum(rule: str) -> None:
    captum = pytest.importorskip("captum.attr")
    rules = pytest.importorskip("captum.attr._utils.lrp_rules")
    bias = rule == "epsilon"  # captum's other rules leave biases as they are, whichever way they point
    module, image = Plain(bias=bias, norm=False).eval(), image_of(*SIZE)
    value = module(image[None])[0]
    target = int(value.argmax())
    made = {
        "epsilon": lambda: rules.EpsilonRule(1e-9),
        "gamma": rules.GammaRule,
        "alpha1beta0": rules.Alpha1_Beta0_Rule,
    }
    for layer in (module.one, module.two, module.dense, module.last):
        layer.rule = made[rule]()
    module.norm = nn.ReLU()  # captum knows no identity; this one changes nothing before a rectifier
    expected = captum.LRP(module).attribute(image[None].clone().requires_grad_(True), target=target)[0]
    ours = Net(Plain(bias=bias, norm=False), SIZE)
    found = map_of(make(Lrp, rule=rule, epsilon=1e-9), ours, image, target=target)
    assert value[target] > 0
    torch.testing.assert_close(found, expected.sum(dim=0).detach(), rtol=1e-3, atol=1e-8)


# ---- FullGrad -------------------------------------------------------------------------------------------------------


def test_fullgrad_stretches_and_adds() -> None:
    terms = torch.tensor([[[[1.0, -3.0]], [[0.0, 0.5]]]])
    assert torch.allclose(stretched(terms, "layer"), torch.tensor([[[1 / 3, 1 + 0.5 / 3]]]))
    assert stretched(terms, "channel").tolist() == [[[0.0, 2.0]]]
    assert not stretched(torch.ones(2, 3, 4, 4), "layer").any()


def test_fullgrad_by_hand() -> None:
    # z = 2 x + (1, at both pixels), f = relu(z_1 - 0) + 3 z_2: input terms 2 x_1, 6 x_2; bias terms 1 and 3
    weight = torch.zeros(1, 3, 1, 1)
    weight[0, 0] = 2

    def score(x: Tensor) -> Tensor:
        z = F.conv2d(x, weight, torch.ones(1))[:, 0, 0]
        return F.relu(z[:, 0]) + 3 * z[:, 1]

    found = explain(make(FullGrad), scored(score), red(0.25, 0.5))
    assert found.map is not None
    assert torch.allclose(found.map, torch.tensor([[0.5 / 3 + 0.0, 1.0 + 1.0]]))
    assert found.details["gap"] < 1e-6


@pytest.mark.parametrize("kind", [Plain, Residual])
def test_fullgrad_is_complete_on_nets_linear_in_pieces(kind: type[nn.Module]) -> None:
    module = kind().eval()
    detector = Net(lambda x: module.requires_grad_(False)((x - 0.4) / 0.2), SIZE)
    found = explain(make(FullGrad), detector, image_of(*SIZE))
    assert found.details["gap"] < 1e-4


def test_fullgrad_counts_biases_hidden_in_bent_activations() -> None:
    torch.manual_seed(0)
    bends = (nn.GELU(), nn.Sigmoid(), nn.ReLU6(), nn.SiLU())
    layers = [layer for bend in bends for layer in (nn.Conv2d(3, 3, 3, padding=1), bend)]
    module = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
    assert explain(make(FullGrad), Net(module, SIZE), image_of(*SIZE)).details["gap"] < 1e-4


def test_fullgrad_takes_the_picture_as_the_first_layer_sees_it() -> None:
    weight = torch.zeros(1, 3, 1, 1)
    weight[0, 0] = 1
    detector = scored(lambda x: F.conv2d((x - 0.5) / 0.25, weight)[:, 0].sum(dim=(1, 2)))
    # seen: (-1, 1.6): sizes 1 and 1.6, the other channels, which nothing looks at, 0
    assert torch.allclose(map_of(make(FullGrad), detector, red(0.25, 0.9)), torch.tensor([[1 / 1.6, 1.0]]))


# ---- every way to write a network -----------------------------------------------------------------------------------


@pytest.mark.parametrize("explainer", ALL)
def test_functional_rectifiers_are_the_same_as_modules(explainer: Any) -> None:
    image = image_of(*SIZE)
    one, two = (map_of(make(explainer), net(kind), image) for kind in (Plain, Functional))
    torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("explainer", ALL)
@pytest.mark.parametrize("kind", [nn.ReLU6, nn.SiLU, nn.Hardswish, nn.ELU, nn.Hardtanh, nn.LeakyReLU])
def test_activations_that_overwrite_their_input_have_the_same_maps(kind: Any, explainer: Any) -> None:
    def bent(inplace: bool) -> Net:
        torch.manual_seed(0)
        act = nn.Hardtanh(0, 6, inplace=inplace) if kind is nn.Hardtanh else kind(inplace=inplace)
        body = (nn.Conv2d(3, 4, 3), act, nn.Conv2d(4, 4, 3), act, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        return Net(nn.Sequential(*body, nn.Linear(4, 2)), SIZE)

    image = image_of(*SIZE)
    kept, overwritten = (explain(make(explainer), bent(inplace), image, target=0) for inplace in (False, True))
    rectified = kind in (nn.ReLU6, nn.Hardtanh)
    assert (kept.map is None) == (explainer is GuidedBackprop and not rectified)
    assert shown(kept) == shown(overwritten)


@cache
def program(kind: type[nn.Module]) -> Net:
    return Net(exported(kind(), SIZE), SIZE)


@pytest.mark.parametrize("explainer", ALL)
@pytest.mark.parametrize("kind", [Plain, Gated, Attending])
def test_exported_programs_have_the_maps_of_their_modules(kind: type[nn.Module], explainer: Any) -> None:
    image = image_of(*SIZE)
    one, two = (map_of(make(explainer), n, image) for n in (net(kind), program(kind)))
    torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-5)


def shown(found: Explanation | None) -> tuple[str, Any]:
    assert found is not None
    return found.reason, None if found.map is None else found.map.tolist()


@pytest.mark.parametrize("explainer", ALL)
@pytest.mark.parametrize("kind", [Residual, Gated, Attending])
def test_maps_do_not_depend_on_batch_mates(kind: type[nn.Module], explainer: Any) -> None:
    images = torch.stack([image_of(*SIZE, seed=i) for i in (0, 2, 3, 4, 5)])
    component, detector = make(explainer), net(kind)
    together = [shown(done.value) for done in explain_all(component, detector, images)]
    turned = [shown(done.value) for done in explain_all(component, detector, images.flip(0))][::-1]
    assert any(map_ for _, map_ in together)
    assert together == turned
    assert together == [shown(explain(component, detector, image)) for image in images]


@pytest.mark.parametrize("explainer", ALL)
def test_a_detector_whose_operations_are_out_of_sight_has_no_map(explainer: Any) -> None:
    detector = Net(Plain(), SIZE, gives=frozenset({"gradients"}))
    found = explain(make(explainer), detector, image_of(*SIZE))
    assert found.status == "undefined"
    assert "it is out of sight" in found.reason


@pytest.mark.parametrize("explainer", ALL)
def test_what_is_stated_is_what_is_taken(explainer: Any) -> None:
    detector = Net(Plain(), SIZE)
    (done,) = explain_all(make(explainer), detector, image_of(*SIZE)[None], batch=1)
    said = make(explainer).passes(None)
    assert (said.forward, said.backward) == (done.passes.forward, done.passes.backward)
    assert detector.asked == said.forward


def test_fullgrad_draws_the_bias_of_a_dense_layer_that_an_export_writes_apart() -> None:
    weight, bias = torch.rand(4, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([1.0, -2.0, 0.5, 3.0])

    def together(x: Tensor) -> Tensor:
        return F.relu(F.linear(x.permute(0, 2, 3, 1), weight, bias)).square().mean(dim=(1, 2, 3))

    def apart(x: Tensor) -> Tensor:
        return F.relu(x.permute(0, 2, 3, 1) @ weight.T + bias).square().mean(dim=(1, 2, 3))

    one, two = (map_of(make(FullGrad), scored(f, SIZE), image_of(*SIZE)) for f in (together, apart))
    torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-6)
    assert float(one.max()) > 1  # the bias's map on top of the input's
