"""Attention rollout and transformer attribution: numbers by hand, the planted attention, every way to write it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from propagating import Net, explain, explain_all, exported, image_of, make, map_of
from token_networks import Tokens
from torch import Tensor

from xaibench.api import Runtime
from xaibench_explainers.gradient.propagation.attention import (
    AttentionRollout,
    TransformerAttribution,
    by_head,
    fused,
    relevancy,
    rolled_out,
    shown_rows,
)
from xaibench_models.torch_model import TorchModel
from xaibench_operations import TokenGrid
from xaibench_testing import planted, planted_data

SIZE = (8, 12)
BOTH = (AttentionRollout, TransformerAttribution)


# ---- mathematics ----------------------------------------------------------------------------------------------------


def test_rollout_by_hand() -> None:
    one = torch.tensor([[[0.0, 1.0], [1.0, 0.0]]])
    two = torch.tensor([[[0.5, 0.5], [0.0, 1.0]]])
    # halves with the identity: one -> all .5; two -> (.75, .25), (0, 1); their product has .5 everywhere
    assert torch.equal(rolled_out([one, two], 0.5), torch.full((1, 2, 2), 0.5))
    # the last comes first: A_2 A_1, not A_1 A_2
    assert rolled_out([one, two], 0.0).tolist() == [[[0.5, 0.5], [1.0, 0.0]]]


def test_rollout_of_even_attention_has_a_closed_form() -> None:
    tokens, layers = 6, 3
    even = torch.full((1, tokens, tokens), 1 / tokens)
    # each layer keeps half of what is off the mean: .5^L I + (1 - .5^L) / T
    expected = 0.5**layers * torch.eye(tokens) + (1 - 0.5**layers) / tokens
    torch.testing.assert_close(rolled_out([even] * layers, 0.5)[0], expected)


def test_heads_are_fused_and_the_smallest_weights_discarded_per_picture() -> None:
    heads = torch.tensor([[[[0.1, 0.9], [0.4, 0.6]], [[0.7, 0.3], [0.2, 0.8]]]])
    assert torch.allclose(fused(heads, "mean", 0.0), torch.tensor([[[0.4, 0.6], [0.3, 0.7]]]))
    assert torch.allclose(fused(heads, "max", 0.0), torch.tensor([[[0.7, 0.9], [0.4, 0.8]]]))
    assert torch.allclose(fused(heads, "min", 0.0), torch.tensor([[[0.1, 0.3], [0.2, 0.6]]]))
    assert torch.allclose(fused(heads, "mean", 0.5), torch.tensor([[[0.0, 0.6], [0.0, 0.7]]]))


def test_relevancy_by_hand() -> None:
    attention = torch.tensor([[[[0.5, 0.5], [0.25, 0.75]], [[1.0, 0.0], [0.5, 0.5]]]])
    gradient = torch.tensor([[[[2.0, -1.0], [0.0, 4.0]], [[1.0, 9.0], [-1.0, 0.0]]]])
    # positive parts: head 1 (1, 0; 0, 3), head 2 (1, 0; 0, 0); mean (1, 0; 0, 1.5)
    assert relevancy([attention], [gradient]).tolist() == [[[1.0, 0.0], [0.0, 1.5]]]
    # twice: (I + A)^2 - I
    assert relevancy([attention] * 2, [gradient] * 2).tolist() == [[[3.0, 0.0], [0.0, 5.25]]]


def test_heads_laid_flat_belong_to_their_picture() -> None:
    matrix = torch.arange(2 * 3 * 4.0).reshape(2, 3, 2, 2)
    assert torch.equal(by_head(matrix.reshape(6, 2, 2), 2), matrix)
    assert torch.equal(by_head(matrix, 2), matrix)


def test_what_is_read_out() -> None:
    joint = torch.arange(25.0).reshape(1, 5, 5)
    behind = TokenGrid(2, 2, 1)
    assert shown_rows(joint, behind, "auto").tolist() == [[[1.0, 2.0], [3.0, 4.0]]]
    assert shown_rows(joint, behind, "mean").tolist() == [[[13.5, 14.5], [15.5, 16.5]]]
    alone = TokenGrid(1, 5, 0)
    assert shown_rows(joint, alone, "auto").tolist() == [[[10.0, 11.0, 12.0, 13.0, 14.0]]]
    assert shown_rows(joint, alone, "class-token").tolist() == [[[0.0, 1.0, 2.0, 3.0, 4.0]]]


# ---- on networks ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("explainer", BOTH)
@pytest.mark.parametrize("form", ["flat", "fused", "module", "exported"])
def test_the_map_is_the_same_however_attention_is_written(form: str, explainer: Any) -> None:
    module = exported(Tokens("fused"), SIZE) if form == "exported" else Tokens(form)
    image = image_of(*SIZE)
    one, two = (map_of(make(explainer), Net(m, SIZE), image) for m in (Tokens(), module))
    torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-6)


def test_rollout_of_one_layer_is_half_of_the_class_token_s_attention() -> None:
    module, image = Tokens().eval(), image_of(*SIZE)
    tokens = torch.cat([module.first, module.patches(image[None]).flatten(2).transpose(1, 2)], dim=1)
    _, weights = module.mix(tokens, tokens, tokens)
    found = explain(make(AttentionRollout), Net(module, SIZE), image)
    assert found.native_map is not None
    torch.testing.assert_close(found.native_map, weights[0, 0, 1:].detach().reshape(2, 3) / 2, rtol=1e-5, atol=1e-6)


def test_attribution_speaks_for_its_class_and_rollout_for_none() -> None:
    detector, image = Net(Tokens(), SIZE), image_of(*SIZE)
    assert not torch.equal(*(map_of(make(TransformerAttribution), detector, image, target=t) for t in (0, 1)))
    assert torch.equal(*(map_of(make(AttentionRollout), detector, image, target=t) for t in (0, 1)))


@pytest.mark.parametrize("explainer", BOTH)
@pytest.mark.parametrize(("row", "column"), [(4, 24), (16, 8), (0, 32), (20, 28)])
def test_the_maximum_lies_in_the_planted_patch_and_moves_with_it(row: int, column: int, explainer: Any) -> None:
    patch = planted.Patch(row, column, 12, 16)
    detector = planted.AttentionDetector(patch)
    data = planted_data.planted_samples(2, planted.SIZE, patch)
    pictures = [p for p in planted_data.pictures_of(data, detector) if p.sample.label == "fake"]
    for picture in pictures:
        saliency = map_of(make(explainer), detector, picture.image)
        place = divmod(int(saliency.argmax()), planted.SIZE[1])
        assert patch.mask(planted.SIZE)[place]


def test_the_planted_attention_tells_fake_from_real() -> None:
    detector = planted.AttentionDetector()
    pictures = planted_data.pictures_of(planted_data.planted_samples(3), detector)
    p_fake = detector.probabilities(torch.stack([p.image for p in pictures]))[:, 1]
    assert [bool(p > 0.5) for p in p_fake] == [p.sample.label == "fake" for p in pictures]


@pytest.mark.parametrize("explainer", BOTH)
def test_maps_do_not_depend_on_batch_mates(explainer: Any) -> None:
    images = torch.stack([image_of(*SIZE, seed=i) for i in range(5)])
    detector = Net(Tokens("flat"), SIZE)
    together = [d.value.map for d in explain_all(make(explainer), detector, images)]
    turned = [d.value.map for d in explain_all(make(explainer), detector, images.flip(0))][::-1]
    for i, (one, other) in enumerate(zip(together, turned, strict=True)):
        assert torch.equal(one, other)
        assert torch.equal(one, map_of(make(explainer), detector, images[i]))


def test_a_model_file_says_whether_it_has_attention(tmp_path: Path) -> None:
    small = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    batch = torch.export.Dim("n", min=1, max=64)
    for name, module in (("tokens", Tokens("fused")), ("plain", small)):
        program = torch.export.export(module.eval(), (torch.rand(2, 3, *SIZE),), dynamic_shapes=({0: batch},))
        torch.export.save(program, tmp_path / f"{name}.pt2")
        card = 'size = [8, 12]\nclasses = ["real", "fake"]\nreal = "real"\nactivation = "logit"\n'
        (tmp_path / f"{name}.toml").write_text(card, encoding="utf-8")
    tokens, plain = (
        make(TorchModel, path=str(tmp_path / f"{name}.pt2")).open(name, Runtime()) for name in ("tokens", "plain")
    )
    assert "attention" in tokens.facts.gives
    assert explain(make(AttentionRollout), tokens, image_of(*SIZE)).status == "ok"
    assert "no attention" in plain.facts.limits["attention"]


class Windows(Tokens):
    """Attention within halves of the picture."""

    def attend(self, x: Tensor) -> Tensor:
        halves = torch.cat(x[:, 1:].chunk(2, dim=1))
        return torch.cat([x[:, :1], *super().attend(halves).chunk(2)], dim=1)


@pytest.mark.parametrize("explainer", BOTH)
def test_attention_that_cannot_be_multiplied_is_refused_with_the_reason(explainer: Any) -> None:
    for module, reason in (
        (Windows(), "within windows"),
        (torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(288, 2)), "no attention"),
    ):
        found = explain(make(explainer), Net(module, SIZE), image_of(*SIZE))
        assert found.status == "undefined"
        assert reason in found.reason
    blind = Net(Tokens(), SIZE, gives=frozenset({"gradients", "operations"}))
    assert "gives no attention" in explain(make(explainer), blind, image_of(*SIZE)).reason


def test_attribution_has_no_map_where_nothing_speaks_for_the_class() -> None:
    net = Tokens().eval()
    constant = Net(lambda x: 0.0 * net(x), SIZE)
    assert "no attention to the picture" in explain(make(TransformerAttribution), constant, image_of(*SIZE)).reason


@pytest.mark.parametrize(("explainer", "backward"), [(AttentionRollout, 0), (TransformerAttribution, 1)])
def test_what_is_stated_is_what_is_taken(explainer: Any, backward: int) -> None:
    detector = Net(Tokens(), SIZE)
    (done,) = explain_all(make(explainer), detector, image_of(*SIZE)[None], batch=1)
    said = make(explainer).passes(None)
    assert (said.forward, said.backward) == (done.passes.forward, done.passes.backward) == (1, backward)
    assert detector.asked == 1
    assert done.value is not None and done.value.map is not None
    assert math.isfinite(float(done.value.map.sum()))
