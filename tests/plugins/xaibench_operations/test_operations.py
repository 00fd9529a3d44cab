"""Seeing and changing the operations of a network: one name for every spelling, values left as they are."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from token_networks import Tokens
from torch import Tensor, nn
from torch.nn import functional as F

from xaibench_operations import (
    Attention,
    Call,
    Operations,
    TokenGrid,
    as_linear,
    attention_limit,
    batch_norm_affine,
    has_attention,
    token_grid,
)

aten = torch.ops.aten


def seeded(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


class Names(Operations):
    """Collects the names of what passes without a rule."""

    def __init__(self, rules: Any = None) -> None:
        super().__init__(rules or {})
        self.names: list[str] = []

    def otherwise(self, call: Call, plain: Callable[[], Any]) -> Any:
        self.names.append(call.name)
        return plain()


SPELLINGS: dict[str, list[Callable[[Tensor], Tensor]]] = {
    "relu": [
        F.relu, torch.relu, Tensor.relu, nn.ReLU(), nn.ReLU(inplace=True), torch.relu_, Tensor.relu_,
        aten.relu.default, aten.relu_.default,
    ],
    "relu6": [F.relu6],
    "hardtanh": [nn.ReLU6(), F.hardtanh, aten.hardtanh_.default],
    "silu": [F.silu, nn.SiLU(inplace=True), aten.silu.default],
    "gelu": [F.gelu, nn.GELU(), aten.gelu.default],
    "softmax": [lambda x: F.softmax(x, dim=-1), lambda x: x.softmax(-1), lambda x: aten._softmax(x, -1, False)],
    "add": [lambda x: x + 1, lambda x: 1 + x, lambda x: x.add_(1)],
    "mul": [lambda x: x * 2, lambda x: 2 * x, lambda x: torch.multiply(x, 2), lambda x: x.mul_(2)],
    "div": [lambda x: x / 2, lambda x: torch.true_divide(x, 2), lambda x: x.div_(2)],
    "matmul": [lambda x: x @ x, lambda x: torch.matmul(x, x), lambda x: torch.bmm(x[:, 0], x[:, 0])],
    "max_pool2d": [nn.MaxPool2d(2), lambda x: F.max_pool2d(x, 2), lambda x: aten.max_pool2d_with_indices(x, [2, 2])[0]],
    "batch_norm": [nn.BatchNorm2d(3).eval()],
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "spelling"), [pytest.param(n, s, id=f"{n}-{i}") for n, ss in SPELLINGS.items() for i, s in enumerate(ss)]
)
def test_every_spelling_has_one_name_and_a_rule_that_runs_it_changes_nothing(
    name: str, spelling: Callable[[Tensor], Tensor]
) -> None:
    expected = spelling(seeded(2, 3, 6, 6))
    met: list[str] = []

    def rule(call: Call) -> Tensor:
        met.append(call.name)
        return call.run()

    x = seeded(2, 3, 6, 6)
    with Operations({name: rule}):
        found = spelling(x)
    assert met == [name]
    assert torch.equal(found, expected)


def test_a_rule_for_an_operation_in_place_gets_what_was_there_and_its_answer_is_written_back() -> None:
    def doubled(call: Call) -> Tensor:
        return 2 * call.run() + 0 * call.args[0]

    x = torch.tensor([-1.0, 3.0])
    with Operations({"relu": doubled}):
        y = x.relu_()
    assert y is x
    assert x.tolist() == [0.0, 6.0]


def test_the_mode_is_off_inside_a_rule_and_can_be_turned_on() -> None:
    class Twice(Operations):
        def __init__(self) -> None:
            super().__init__({"sigmoid": self.composed, "exp": lambda call: call.run() + 1})

        def composed(self, call: Call) -> Tensor:
            plain = call.args[0].exp()
            with self:
                return call.args[0].exp() - plain

    with Twice():
        found = torch.sigmoid(torch.zeros(3))
    assert found.tolist() == [1.0, 1.0, 1.0]


# ---- attention taken apart ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [{}, {"is_causal": True}, {"scale": 0.3}, {"attn_mask": seeded(5, 5) > 0}, {"attn_mask": seeded(5, 5, seed=3)}],
    ids=["plain", "causal", "scale", "bool mask", "float mask"],
)
def test_dot_product_attention_is_the_same_taken_apart(options: dict[str, Any]) -> None:
    q, k, v = (seeded(2, 3, 5, 4, seed=i) for i in range(3))
    if "attn_mask" in options and options["attn_mask"].dtype == torch.bool:
        options["attn_mask"].fill_diagonal_(True)
    expected = F.scaled_dot_product_attention(q, k, v, **options)
    with Names() as mode:
        found = F.scaled_dot_product_attention(q, k, v, **options)
    assert "softmax" in mode.names
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_grouped_queries_are_taken_apart_too() -> None:
    q, k, v = seeded(1, 4, 5, 2), seeded(1, 2, 5, 2, seed=1), seeded(1, 2, 5, 2, seed=2)
    expected = F.scaled_dot_product_attention(q, k, v, enable_gqa=True)
    with Names():
        found = F.scaled_dot_product_attention(q, k, v, enable_gqa=True)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("average", [True, False])
def test_multi_head_attention_is_the_same_taken_apart(average: bool) -> None:
    torch.manual_seed(0)
    layer = nn.MultiheadAttention(8, 2, batch_first=True).eval()
    x = seeded(3, 5, 8)
    expected, weights = layer(x, x, x, need_weights=True, average_attn_weights=average)
    with Names() as mode:
        found, seen = layer(x, x, x, need_weights=True, average_attn_weights=average)
    assert "softmax" in mode.names
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(seen, weights, rtol=1e-5, atol=1e-6)


def test_multi_head_attention_with_a_mask_is_left_whole() -> None:
    torch.manual_seed(0)
    layer = nn.MultiheadAttention(8, 2, batch_first=True).eval()
    x, mask = seeded(3, 5, 8), torch.zeros(3, 5, dtype=torch.bool)
    with Names() as mode:
        layer(x, x, x, key_padding_mask=mask)
    assert "multi_head_attention_forward" in mode.names
    assert "softmax" not in mode.names


# ---- linear operations ----------------------------------------------------------------------------------------------

W4, W2 = seeded(4, 3, 3, 3, seed=1), seeded(5, 6, seed=2)
LINEAR_CALLS: dict[str, tuple[Callable[[Tensor], Tensor], bool]] = {
    "conv2d": (lambda x: F.conv2d(x, W4, torch.ones(4), padding=1), True),
    "conv2d by keyword": (lambda x: F.conv2d(input=x, weight=W4, bias=torch.ones(4), stride=2), True),
    "convolution": (
        lambda x: aten.convolution(x, W4, torch.ones(4), [1, 1], [0, 0], [1, 1], False, [0, 0], 1), True
    ),
    "conv_transpose2d": (lambda x: F.conv_transpose2d(x, W4.transpose(0, 1), torch.ones(4)), False),
    "linear": (lambda x: F.linear(x, W2, torch.ones(5)), True),
    "addmm": (lambda x: torch.addmm(torch.ones(5), x[0, 0], W2.T), False),
    "matmul": (lambda x: x @ W2.T, False),
    "matmul from the left": (lambda x: W2 @ x, False),
}  # fmt: skip


@pytest.mark.parametrize("kind", LINEAR_CALLS)
def test_a_linear_operation_can_be_applied_with_other_operands(kind: str) -> None:
    operation, foldable = LINEAR_CALLS[kind]
    met: list[tuple[Any, Tensor]] = []

    def rule(call: Call) -> Tensor:
        met.append((as_linear(call), call.run()))
        return met[-1][1]

    x = seeded(2, 3, 6, 6).requires_grad_(True)
    names = ("conv2d", "convolution", "conv_transpose2d", "linear", "addmm", "matmul")
    with Operations(dict.fromkeys(names, rule)):
        operation(x)
    ((linear, value),) = met
    assert linear.foldable is foldable
    assert torch.equal(linear.apply(linear.x, linear.weight, linear.bias), value)
    assert torch.allclose(
        linear.apply(2 * linear.x, linear.weight, None), 2 * linear.apply(linear.x, linear.weight, None)
    )
    if foldable:
        channels = value.shape[linear.axis]
        scale, shift = seeded(channels, seed=5), seeded(channels, seed=6)
        folded = linear.folded(scale, shift)
        shape = [1] * value.ndim
        shape[linear.axis] = channels
        expected = value * scale.view(shape) + shift.view(shape)
        torch.testing.assert_close(folded.apply(folded.x, folded.weight, folded.bias), expected, rtol=1e-4, atol=1e-5)


def test_a_product_of_two_things_that_depend_on_the_picture_is_no_linear_operation() -> None:
    met = []
    with Operations({"matmul": lambda call: met.append(as_linear(call)) or call.run()}):
        x = seeded(2, 3, 3).requires_grad_(True)
        x @ x
    assert met == [None]


@pytest.mark.parametrize("spelling", ["module", "torch", "aten", "decomposed"])
def test_batch_norm_as_scale_and_shift(spelling: str) -> None:
    norm = nn.BatchNorm2d(3).eval()
    for tensor, seed in ((norm.running_mean, 1), (norm.weight.data, 2), (norm.bias.data, 3)):
        tensor.copy_(seeded(3, seed=seed))
    norm.running_var.copy_(torch.tensor([0.5, 1.5, 2.5]))
    parts = (norm.weight, norm.bias, norm.running_mean, norm.running_var)
    calls = {
        "module": norm,
        "torch": lambda x: torch.batch_norm(x, *parts, False, 0.1, 1e-5, True),
        "aten": lambda x: aten.batch_norm.default(x, *parts, False, 0.1, 1e-5, True),
        "decomposed": lambda x: aten._native_batch_norm_legit_no_training.default(x, *parts, 0.1, 1e-5)[0],
    }
    met: list[Any] = []
    x = seeded(2, 3, 4, 4)
    with torch.no_grad(), Operations({"batch_norm": lambda call: met.append(batch_norm_affine(call)) or call.run()}):
        value = calls[spelling](x)
    _, scale, shift = met[0]
    torch.testing.assert_close(x * scale[:, None, None] + shift[:, None, None], value, rtol=1e-5, atol=1e-6)


def test_batch_norm_of_the_batch_is_no_affine_step() -> None:
    met: list[Any] = []
    with Operations({"batch_norm": lambda call: met.append(batch_norm_affine(call)) or call.run()}):
        nn.BatchNorm2d(3).train()(seeded(2, 3, 4, 4))
    assert met == [None]


# ---- whose attention ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tokens", "size", "expected"),
    [
        (197, (224, 224), TokenGrid(14, 14, 1)),
        (198, (224, 224), TokenGrid(14, 14, 2)),
        (196, (224, 224), TokenGrid(14, 14, 0)),
        (261, (224, 224), TokenGrid(16, 16, 5)),
        (97, (32, 48), TokenGrid(8, 12, 1)),
        (61, (96, 160), TokenGrid(6, 10, 1)),
        (49, (100, 100), TokenGrid(7, 7, 0)),
        (5, (8, 8), TokenGrid(2, 2, 1)),
        (210, (224, 224), None),
    ],
)
def test_tokens_lie_on_a_grid_of_the_picture_s_proportions(
    tokens: int, size: tuple[int, int], expected: TokenGrid | None
) -> None:
    assert token_grid(tokens, size) == expected


def exported(module: nn.Module, size: tuple[int, int], *, decomposed: bool = False) -> nn.Module:
    batch = torch.export.Dim("n", min=1, max=64)
    program = torch.export.export(module.eval(), (torch.rand(2, 3, *size),), dynamic_shapes=({0: batch},))
    return (program.run_decompositions() if decomposed else program).module()


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")  # torch.export on itself
@pytest.mark.parametrize("form", ["explicit", "flat", "fused", "module", "exported", "decomposed"])
def test_attention_is_found_however_it_is_written(form: str) -> None:
    plain = Tokens().eval()
    net = exported(Tokens("fused"), (8, 12), decomposed=form == "decomposed") if form in ("exported", "decomposed") else (
        Tokens(form).eval()
    )  # fmt: skip
    images = seeded(3, 3, 8, 12)
    assert has_attention(net, images)
    with torch.no_grad(), Attention(3, (8, 12)) as found:
        logits = net(images)
    with torch.no_grad(), Attention(3, (8, 12)) as expected:
        plain(images)
    torch.testing.assert_close(logits, plain(images).detach(), rtol=1e-5, atol=1e-6)
    (matrix,), (other,) = found.matrices, expected.matrices
    torch.testing.assert_close(matrix.reshape(3, 2, 7, 7), other, rtol=1e-5, atol=1e-6)
    assert found.grid() == TokenGrid(2, 3, 1)


def softmaxes(*shapes: tuple[int, ...]) -> Callable[[Tensor], Tensor]:
    def logits(images: Tensor) -> Tensor:
        for shape in shapes:
            torch.zeros(shape).softmax(dim=-1)
        return images.mean(dim=(2, 3))

    return logits


@pytest.mark.parametrize(
    ("shapes", "reason"),
    [
        ([], "no attention of picture tokens"),
        ([(2, 1, 5)], "no attention of picture tokens"),
        ([(2, 3, 16, 4)], "no attention of picture tokens"),
        ([(8, 3, 4, 4)], "within windows"),
        ([(8, 3, 4, 4), (2, 3, 4, 4)], "within windows"),
        ([(2, 3, 16, 4), (2, 3, 16, 16)], "from 16 tokens to 4"),
        ([(2, 3, 16, 16), (2, 3, 4, 4)], "changes from 16 to 4"),
        ([(2, 3, 60, 60)], "60 tokens do not lie"),
        ([(2, 3, 17, 17), (6, 17, 17)], ""),
    ],
)
def test_what_is_no_attention_of_all_tokens_is_said(shapes: list[tuple[int, ...]], reason: str) -> None:
    limit = attention_limit(softmaxes(*shapes), torch.zeros(2, 3, 16, 16))
    assert (reason in limit) if reason else limit == ""


def test_matrices_are_the_tensors_that_go_on_through_the_network() -> None:
    net = Tokens("module").eval()
    images = seeded(2, 3, 8, 12).requires_grad_(True)
    with Attention(2, (8, 12)) as found:
        value = net(images)[:, 1].sum()
    (gradient,) = torch.autograd.grad(value, found.matrices)
    assert gradient[:, :, 0].abs().sum() > 0
    assert not gradient[:, :, 1:].any()  # the class token alone is read
    assert math.isclose(float(found.matrices[0].detach().sum()), 2 * 2 * 7, rel_tol=1e-5)
