"""ONNX graphs that take one picture a call: with their batch axis freed, and called from several threads at once."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from tests.support.single_picture_graphs import BAKED, PLAIN, SIDE, Node, write_graph

from xaibench.api import Batch, ModelError, Runtime, build_parameters
from xaibench_models.onnx_model import OnnxDetector, OnnxModel, OnnxParameters
from xaibench_models.onnx_pool import OrtPool


def opened(path: Path, threads: int = 1) -> OnnxDetector:
    model = OnnxModel(build_parameters(OnnxParameters, {"": str(path)}, "onnx"))
    return model.open(model.members()[0], Runtime(threads=threads))


def pictures(n: int) -> torch.Tensor:
    return torch.rand((n, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(n))


@pytest.mark.parametrize(
    ("batch", "card", "threads", "engines"),
    [
        (1, "", 1, ("batched",)),
        (1, "", 2, ("batched", "parallel")),
        (1, "batch = {fixed = 1}\n", 1, ()),  # said by hand: pictures would hang on one another
        (None, "batch = {fixed = 1}\n", 2, ("parallel",)),
        (None, "", 2, ()),
        (2, "", 2, ()),
    ],
)
def test_what_a_graph_can_be_given(
    tmp_path: Path, batch: int | None, card: str, threads: int, engines: Sequence[str]
) -> None:
    detector = opened(write_graph(tmp_path / "m.onnx", batch=batch, card=card), threads)
    assert detector.other_engines(threads) == engines
    with pytest.raises(ModelError, match="compile is not for this graph"):
        detector.with_engine("compile", threads)


# ---- the freed batch axis ---------------------------------------------------------------------------------------


def test_a_freed_graph_takes_any_number_of_pictures_and_gives_the_same(tmp_path: Path) -> None:
    fixed = opened(write_graph(tmp_path / "m.onnx"))
    free, images = fixed.with_engine("batched", 1), pictures(5)
    assert (fixed.facts.batch, free.facts.batch) == (Batch(fixed=1), Batch())
    assert (free.facts.digest, free.facts.engine) == (fixed.facts.digest, "onnxruntime")
    assert free.facts.gives == fixed.facts.gives >= {"gradients", "activations"}
    assert free.runner(images, "z").shape == (5, 2)  # in one call
    torch.testing.assert_close(free.scores(images), fixed.scores(images), rtol=0, atol=1e-6)
    torch.testing.assert_close(free.logits(images), fixed.logits(images), rtol=0, atol=1e-5)
    assert free.features(images).activation.shape[0] == 5
    assert free.other_engines(2) == ()


def test_a_batch_that_a_constant_shape_holds_cannot_be_freed(tmp_path: Path) -> None:
    fixed = opened(write_graph(tmp_path / "m.onnx", BAKED))
    assert fixed.scores(pictures(3)).shape == (3, 2)
    with pytest.raises(ModelError, match="its batch axis cannot be freed: Reshape node 'flat' writes a batch of 1"):
        fixed.with_engine("batched", 1)


TOKEN: Sequence[Node] = (("Concat", ["pooled", "token"], ["both"], {"axis": 2}), ("ReduceMax", ["both"], ["y"], {"axes": [2, 3]}))  # fmt: skip


def test_a_constant_of_one_row_beside_the_pictures_is_refused_with_the_words_of_onnx_runtime(tmp_path: Path) -> None:
    path = write_graph(tmp_path / "m.onnx", TOKEN)
    model = onnx.load(path)
    model.graph.initializer.append(numpy_helper.from_array(np.zeros((1, 8, 1, 1), np.float32), "token"))
    onnx.save(model, path)
    with pytest.raises(ModelError, match=r"its batch axis cannot be freed: .*Concat"):
        opened(path).with_engine("batched", 1)


def test_a_graph_that_quantises_a_whole_batch_at_once_cannot_be_freed(tmp_path: Path) -> None:
    tail = (
        ("DynamicQuantizeLinear", ["pooled"], ["q", "s", "o"], {}),
        ("DequantizeLinear", ["q", "s", "o"], ["y"], {}),
    )
    with pytest.raises(ModelError, match=r"cannot be freed: .*DynamicQuantizeLinear.* one scale for all pictures"):
        opened(write_graph(tmp_path / "m.onnx", tail)).with_engine("batched", 1)


# ---- several callers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tail", [PLAIN, BAKED], ids=["plain", "baked"])
def test_several_callers_give_the_numbers_of_one_session_of_one_thread(tmp_path: Path, tail: Sequence[Node]) -> None:
    path = write_graph(tmp_path / "m.onnx", tail, card="std = 0.3\n")
    alone, several = opened(path), opened(path, threads=3).with_engine("parallel", 3)
    assert (several.facts.batch, several.facts.parallel_calls) == (Batch(fixed=1), 3)
    assert isinstance(several.runner, OrtPool)
    assert several.runner.session.get_session_options().intra_op_num_threads == 1
    for n in (1, 2, 3, 13, 70):
        images = pictures(n)
        for output in ("probability", "logit"):
            assert torch.equal(several.in_batches(images, 1, output), alone.in_batches(images, 1, output))
        assert torch.equal(several.scores(images), alone.scores(images))
        assert torch.equal(several.probabilities(images), alone.probabilities(images))
    torch.testing.assert_close(several.logits(pictures(3)), alone.logits(pictures(3)), rtol=0, atol=0)


def test_several_callers_serve_several_threads(tmp_path: Path) -> None:
    path = write_graph(tmp_path / "m.onnx")
    several = opened(path, threads=2).with_engine("parallel", 2)
    asked = [pictures(n) for n in (1, 9, 4, 7)] * 8
    expected = [opened(path).scores(images) for images in asked[:4]] * 8
    with ThreadPoolExecutor(4) as callers:
        replies = list(callers.map(several.scores, asked))
    assert all(torch.equal(reply, scores) for reply, scores in zip(replies, expected, strict=True))


def test_a_call_that_fails_is_raised_and_the_next_one_works(tmp_path: Path) -> None:
    several = opened(write_graph(tmp_path / "m.onnx"), threads=2).with_engine("parallel", 2)
    images = pictures(4)
    before = several.scores(images)
    with pytest.raises(Exception, match="invalid dimensions"):
        several.scores(images[..., :5])
    assert torch.equal(several.scores(images), before)


def test_an_output_without_the_batch_axis_is_a_row_for_each_picture(tmp_path: Path) -> None:
    path = write_graph(tmp_path / "m.onnx")
    model = onnx.load(path)
    model.graph.node[-1].output[0] = "row"
    model.graph.node.append(onnx.helper.make_node("Squeeze", ["row"], ["z"]))
    del model.graph.output[0].type.tensor_type.shape.dim[0]
    onnx.save(model, path)
    alone, several = opened(path), opened(path, threads=2).with_engine("parallel", 2)
    assert torch.equal(several.scores(pictures(5)), alone.scores(pictures(5)))
