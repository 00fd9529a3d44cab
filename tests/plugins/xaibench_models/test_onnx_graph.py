"""The ONNX executor against ONNX Runtime (older opsets, fused operators), autograd and plain torch modules."""

from __future__ import annotations

import copy
import itertools
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from xaibench_models.onnx_graph import CLAIMS, GraphModule, Problem, UnsupportedGraph, claims_table, load_graph
from xaibench_models.onnx_graph.claims import claimed_definition

MICROSOFT = "com.microsoft"
RNG = np.random.default_rng(7)


def value(
    name: str, array: np.ndarray[Any, Any] | None = None, element: int = TensorProto.FLOAT
) -> onnx.ValueInfoProto:
    if array is not None:
        element = helper.np_dtype_to_tensor_dtype(array.dtype)
    return helper.make_tensor_value_info(name, element, None if array is None else array.shape)


def model_of(
    nodes: Sequence[onnx.NodeProto],
    feed: Mapping[str, np.ndarray[Any, Any]],
    outputs: Mapping[str, int] | Sequence[str] = ("y",),
    weights: Mapping[str, np.ndarray[Any, Any]] | None = None,
    opset: int = 17,
    **options: Any,
) -> onnx.ModelProto:
    """A model of ``nodes``; ``outputs`` may give the element type of each output."""
    elements = outputs if isinstance(outputs, Mapping) else dict.fromkeys(outputs, TensorProto.FLOAT)
    graph = helper.make_graph(
        nodes,
        "test",
        [value(name, array) for name, array in feed.items()],
        [value(name, None, element) for name, element in elements.items()],
        [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()],
    )
    domains = {node.domain for node in nodes if node.domain} | set(options.pop("domains", ()))
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9, **options)


def run_ort(model: onnx.ModelProto, feed: Mapping[str, np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]]:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, dict(feed))


def run_ours(model: onnx.ModelProto, feed: Mapping[str, np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]]:
    found = load_graph(model, Path())({name: torch.from_numpy(array) for name, array in feed.items()})
    return [t.numpy() for t in (found if isinstance(found, tuple) else (found,))]


def assert_same(ours: np.ndarray[Any, Any], theirs: np.ndarray[Any, Any]) -> None:
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype
    scale = float(np.abs(theirs).max()) if theirs.size and theirs.dtype.kind == "f" else 0.0
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5 * scale)


def floats(*shape: int) -> np.ndarray[Any, Any]:
    return RNG.normal(size=shape).astype(np.float32)


def whole(*numbers: int) -> np.ndarray[Any, Any]:
    return np.array(numbers, dtype=np.int64)


def scalar(number: float) -> np.ndarray[Any, Any]:
    return np.array(number, dtype=np.float32)


X = floats(2, 4, 6, 5)
FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL

# operator, opset, attributes, inputs ("" leaves one out), element types of the outputs
OLDER: dict[str, tuple[str, int, dict[str, Any], list[Any], list[int]]] = {
    "softmax-11-flattens": ("Softmax", 11, {}, [X], [FLOAT]),
    "softmax-11-axis-2": ("Softmax", 11, {"axis": 2}, [X], [FLOAT]),
    "softmax-11-negative": ("Softmax", 12, {"axis": -1}, [X], [FLOAT]),
    "softmax-13": ("Softmax", 13, {}, [X], [FLOAT]),
    "softmax-13-axis-1": ("Softmax", 13, {"axis": 1}, [X], [FLOAT]),
    "log-softmax-12": ("LogSoftmax", 12, {"axis": 1}, [X], [FLOAT]),
    "log-softmax-13": ("LogSoftmax", 13, {"axis": 1}, [X], [FLOAT]),
    "hardmax-11": ("Hardmax", 11, {}, [X], [FLOAT]),
    "hardmax-13": ("Hardmax", 13, {"axis": 1}, [X], [FLOAT]),
    "squeeze-11": ("Squeeze", 11, {"axes": [0, 2]}, [floats(1, 3, 1, 2)], [FLOAT]),
    "squeeze-11-all": ("Squeeze", 11, {}, [floats(1, 3, 1, 2)], [FLOAT]),
    "squeeze-13": ("Squeeze", 13, {}, [floats(1, 3, 1, 2), whole(-2)], [FLOAT]),
    "unsqueeze-11": ("Unsqueeze", 11, {"axes": [3, 0]}, [floats(3, 2)], [FLOAT]),
    "unsqueeze-13": ("Unsqueeze", 13, {}, [floats(3, 2), whole(-1, 0)], [FLOAT]),
    "reduce-sum-11": ("ReduceSum", 11, {"axes": [1, -1], "keepdims": 0}, [X], [FLOAT]),
    "reduce-sum-13": ("ReduceSum", 13, {}, [X, whole(1, -1)], [FLOAT]),
    "reduce-sum-13-noop": ("ReduceSum", 13, {"noop_with_empty_axes": 1}, [X, whole()], [FLOAT]),
    "reduce-mean-11": ("ReduceMean", 11, {"axes": [2, 3]}, [X], [FLOAT]),
    "reduce-mean-13-all": ("ReduceMean", 13, {}, [X], [FLOAT]),
    "reduce-mean-18": ("ReduceMean", 18, {"keepdims": 0}, [X, whole(2, 3)], [FLOAT]),
    "reduce-max-12": ("ReduceMax", 12, {"axes": [1]}, [X], [FLOAT]),
    "reduce-max-18": ("ReduceMax", 18, {}, [X, whole(1)], [FLOAT]),
    "reduce-l2-11": ("ReduceL2", 11, {"axes": [1]}, [X], [FLOAT]),
    "reduce-l2-18": ("ReduceL2", 18, {}, [X, whole(1)], [FLOAT]),
    "reduce-logsumexp-13": ("ReduceLogSumExp", 13, {"axes": [1]}, [X], [FLOAT]),
    "clip-11": ("Clip", 11, {}, [X, scalar(-0.5), scalar(0.5)], [FLOAT]),
    "clip-11-no-minimum": ("Clip", 11, {}, [X, "", scalar(0.5)], [FLOAT]),
    "clip-12-relu6": ("Clip", 12, {}, [4 * X, scalar(0), scalar(6)], [FLOAT]),
    "clip-13-crossed": ("Clip", 13, {}, [X, scalar(0.5), scalar(-0.5)], [FLOAT]),
    "pad-11": ("Pad", 11, {}, [X, whole(0, 0, 1, 2, 0, 1, 0, 3), scalar(2)], [FLOAT]),
    "pad-11-crop": ("Pad", 11, {}, [X, whole(0, -1, 1, 0, 0, 1, -2, 0)], [FLOAT]),
    "pad-11-reflect": ("Pad", 11, {"mode": "reflect"}, [X, whole(0, 0, 2, 1, 0, 0, 3, 2)], [FLOAT]),
    "pad-13-edge": ("Pad", 13, {"mode": "edge"}, [X, whole(1, 0, 2, 1, 0, 2, 3, 2)], [FLOAT]),
    "pad-18-axes": ("Pad", 18, {}, [X, whole(1, 2, 0, 3), "", whole(3, 1)], [FLOAT]),
    "pad-19-wrap": ("Pad", 19, {"mode": "wrap"}, [X, whole(0, 0, 2, 1, 0, 0, 3, 2)], [FLOAT]),
    "split-11-equal": ("Split", 11, {"axis": 1}, [X], [FLOAT, FLOAT]),
    "split-11": ("Split", 11, {"axis": 1, "split": [1, 3]}, [X], [FLOAT, FLOAT]),
    "split-13": ("Split", 13, {"axis": -1}, [X, whole(2, 3)], [FLOAT, FLOAT]),
    "split-18-uneven": ("Split", 18, {"axis": -1, "num_outputs": 2}, [X], [FLOAT, FLOAT]),
    "slice-11": ("Slice", 11, {}, [X, whole(1, -3), whole(4, 9), whole(2, 3)], [FLOAT]),
    "slice-11-backwards": ("Slice", 11, {}, [X, whole(-1, 4), whole(-99, 0), whole(2, 3), whole(-2, -1)], [FLOAT]),
    "slice-13-empty": ("Slice", 13, {}, [X, whole(4), whole(2), whole(2)], [FLOAT]),
    "slice-13-past-the-end": ("Slice", 13, {}, [X, whole(99), whole(-(2**62)), whole(2), whole(-1)], [FLOAT]),
    "dropout-11": ("Dropout", 11, {"ratio": 0.5}, [X], [FLOAT]),
    "dropout-13-mask": ("Dropout", 13, {}, [X, scalar(0.5)], [FLOAT, BOOL]),
    "dropout-12": ("Dropout", 12, {}, [X, scalar(0.5), np.array(False)], [FLOAT]),
    "top-k-11": ("TopK", 11, {"axis": 1}, [X, whole(2)], [FLOAT, INT64]),
    "top-k-11-smallest": ("TopK", 11, {"axis": 2, "largest": 0}, [X, whole(3)], [FLOAT, INT64]),
    "cum-sum-11": ("CumSum", 11, {"exclusive": 1, "reverse": 1}, [X, np.array(2, dtype=np.int32)], [FLOAT]),
    "cum-sum-14": ("CumSum", 14, {}, [X, np.array(-1, dtype=np.int64)], [FLOAT]),
    "arg-max-11": ("ArgMax", 11, {"axis": 1, "keepdims": 0}, [X], [INT64]),
    "arg-max-12-last": ("ArgMax", 12, {"axis": 1, "select_last_index": 1}, [np.round(X)], [INT64]),
    "gemm-11": ("Gemm", 11, {"alpha": 0.5, "beta": 2.0, "transA": 1}, [floats(3, 2), floats(3, 4), floats(4)], [FLOAT]),
    "gemm-13-no-bias": ("Gemm", 13, {"transB": 1}, [floats(2, 3), floats(4, 3)], [FLOAT]),
    "gemm-13-column": ("Gemm", 13, {}, [floats(2, 3), floats(3, 2), floats(2, 1)], [FLOAT]),
    "prelu-11": ("PRelu", 11, {}, [X, floats(4, 1, 1)], [FLOAT]),
    "prelu-16-last-axis": ("PRelu", 16, {}, [X, floats(5)], [FLOAT]),
    "pow-12-mixed": ("Pow", 12, {}, [np.abs(X), whole(2)], [FLOAT]),
    "mod-11-fmod": ("Mod", 11, {"fmod": 1}, [X, np.abs(X[:1]) + 1], [FLOAT]),
    "mod-13-integers": ("Mod", 13, {}, [whole(-7, 7, -7, 7), whole(3, 3, -3, -3)], [INT64]),
    "div-13-integers": ("Div", 13, {}, [whole(-7, 7, 7), whole(2, 2, -2)], [INT64]),
    "batch-norm-11": ("BatchNormalization", 11, {}, [X, floats(4), floats(4), floats(4), np.abs(floats(4))], [FLOAT]),
    "batch-norm-14": ("BatchNormalization", 14, {"epsilon": 1e-3}, [X, floats(4), floats(4), floats(4), np.abs(floats(4))], [FLOAT]),
    "batch-norm-15": ("BatchNormalization", 15, {}, [X, floats(4), floats(4), floats(4), np.abs(floats(4))], [FLOAT]),
    "instance-norm-11": ("InstanceNormalization", 11, {}, [X, floats(4), floats(4)], [FLOAT]),
    "layer-norm-17": ("LayerNormalization", 17, {"axis": 2}, [X, floats(6, 5), floats(6, 5)], [FLOAT, FLOAT, FLOAT]),
    "lrn-11": ("LRN", 11, {"size": 5, "alpha": 0.5, "bias": 2.0}, [X], [FLOAT]),
    "lrn-13": ("LRN", 13, {"size": 3, "alpha": 0.5}, [X], [FLOAT]),
    "scatter-elements-11": ("ScatterElements", 11, {"axis": 1}, [floats(3, 4), np.array([[1, -1], [0, 2], [3, 0]]), floats(3, 2)], [FLOAT]),
    "scatter-nd-13": ("ScatterND", 13, {}, [floats(4, 3), np.array([[1], [-1]]), floats(2, 3)], [FLOAT]),
    "gather-nd-12-batch": ("GatherND", 12, {"batch_dims": 1}, [X, np.array([[[1, 2]], [[3, 0]]])], [FLOAT]),
    "gather-11-negative": ("Gather", 11, {"axis": 2}, [X, np.array([[0, -1], [2, 1]])], [FLOAT]),
    "one-hot-11": ("OneHot", 11, {"axis": 1}, [np.array([[0, -1], [2, 9]]), np.array(3, dtype=np.int64), floats(2)], [FLOAT]),
    "depth-to-space-11": ("DepthToSpace", 11, {"blocksize": 2, "mode": "CRD"}, [X], [FLOAT]),
    "space-to-depth-11": ("SpaceToDepth", 11, {"blocksize": 2}, [floats(1, 2, 4, 6)], [FLOAT]),
    "conv-11-same-lower": ("Conv", 11, {"auto_pad": "SAME_LOWER", "strides": [2, 2]}, [X, floats(3, 4, 2, 2)], [FLOAT]),
    "conv-11-asymmetric": ("Conv", 11, {"pads": [0, 1, 2, 0], "dilations": [2, 1]}, [X, floats(3, 4, 2, 3), floats(3)], [FLOAT]),
    "conv-11-depthwise": ("Conv", 11, {"group": 4, "pads": [1, 1, 1, 1]}, [X, floats(8, 1, 3, 3)], [FLOAT]),
    "conv-11-1d": ("Conv", 11, {"auto_pad": "SAME_UPPER"}, [floats(2, 3, 7), floats(2, 3, 4)], [FLOAT]),
    "conv-transpose-11": ("ConvTranspose", 11, {"strides": [2, 2], "pads": [1, 0, 0, 1], "output_padding": [1, 0]}, [X, floats(4, 3, 3, 3), floats(3)], [FLOAT]),
    "conv-transpose-11-same": ("ConvTranspose", 11, {"strides": [2, 2], "auto_pad": "SAME_UPPER"}, [X, floats(4, 3, 3, 3)], [FLOAT]),
    "conv-transpose-11-groups": ("ConvTranspose", 11, {"strides": [2, 3], "group": 2, "pads": [1, 1, 1, 1]}, [X, floats(4, 3, 3, 3)], [FLOAT]),
    "max-pool-11-ceil": ("MaxPool", 11, {"kernel_shape": [3, 2], "strides": [2, 2], "ceil_mode": 1}, [-np.abs(X)], [FLOAT]),
    "max-pool-11-pads": ("MaxPool", 11, {"kernel_shape": [3, 3], "pads": [2, 0, 1, 1], "strides": [2, 1]}, [-np.abs(X)], [FLOAT, INT64]),
    "max-pool-12-column-major": ("MaxPool", 12, {"kernel_shape": [2, 2], "storage_order": 1}, [X], [FLOAT, INT64]),
    "max-pool-12-same": ("MaxPool", 12, {"kernel_shape": [2, 2], "auto_pad": "SAME_UPPER", "strides": [2, 2]}, [-np.abs(X)], [FLOAT]),
    "average-pool-11-ceil": ("AveragePool", 11, {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1, "pads": [1, 1, 1, 1]}, [X], [FLOAT]),
    "average-pool-11-include": ("AveragePool", 11, {"kernel_shape": [3, 2], "pads": [0, 1, 2, 0], "count_include_pad": 1}, [X], [FLOAT]),
    "average-pool-11-same": ("AveragePool", 11, {"kernel_shape": [3, 3], "auto_pad": "SAME_LOWER", "strides": [2, 2]}, [X], [FLOAT]),
    "average-pool-19-dilated": ("AveragePool", 19, {"kernel_shape": [2, 2], "dilations": [2, 2], "pads": [1, 1, 1, 1]}, [X], [FLOAT]),
    "lp-pool-11": ("LpPool", 11, {"kernel_shape": [3, 3], "p": 3, "pads": [1, 1, 1, 1]}, [X], [FLOAT]),
    "global-average-pool-11": ("GlobalAveragePool", 11, {}, [X], [FLOAT]),
    "global-max-pool-11": ("GlobalMaxPool", 11, {}, [X], [FLOAT]),
    "global-lp-pool-11": ("GlobalLpPool", 11, {"p": 3}, [X], [FLOAT]),
    "flatten-11": ("Flatten", 11, {"axis": -2}, [X], [FLOAT]),
    "reshape-13": ("Reshape", 13, {}, [X, whole(0, -1, 5)], [FLOAT]),
    "expand-11-both": ("Expand", 11, {}, [floats(3, 1), whole(2, 1, 4)], [FLOAT]),
    "tile-11": ("Tile", 11, {}, [floats(2, 3), whole(2, 1)], [FLOAT]),
    "range-11": ("Range", 11, {}, [scalar(1), scalar(-2), scalar(-0.7)], [FLOAT]),
    "einsum-12": ("Einsum", 12, {"equation": "b h i d, b h j d -> b h i j"}, [X, X], [FLOAT]),
    "trilu-14": ("Trilu", 14, {"upper": 0}, [X, np.array(1, dtype=np.int64)], [FLOAT]),
    "hard-sigmoid-11": ("HardSigmoid", 11, {"alpha": 1 / 6, "beta": 0.5}, [4 * X], [FLOAT]),
    "hard-swish-14": ("HardSwish", 14, {}, [4 * X], [FLOAT]),
    "celu-12": ("Celu", 12, {"alpha": 0.7}, [X], [FLOAT]),
    "selu-11": ("Selu", 11, {"alpha": 1.1, "gamma": 0.9}, [X], [FLOAT]),
    "gelu-20": ("Gelu", 20, {"approximate": "tanh"}, [X], [FLOAT]),
    "mish-18": ("Mish", 18, {}, [X], [FLOAT]),
}  # fmt: skip


@pytest.mark.parametrize("fold", [True, False], ids=["weights", "inputs"])
@pytest.mark.parametrize("name", OLDER)
def test_older_definitions_equal_onnx_runtime(name: str, fold: bool) -> None:
    """Each with all inputs but the first as weights, and with all of them fed."""
    kind, opset, attributes, inputs, elements = OLDER[name]
    arrays = {f"x{i}": a for i, a in enumerate(inputs) if not isinstance(a, str)}
    feed = {key: a for key, a in arrays.items() if key == "x0" or not fold}
    weights = {key: a for key, a in arrays.items() if key not in feed}
    names = ["" if isinstance(a, str) else f"x{i}" for i, a in enumerate(inputs)]
    outputs = {f"y{i}": element for i, element in enumerate(elements)}
    if not fold and kind == "Dropout" and len(names) == 3:
        pytest.skip("a training mode that is fed is refused")
    model = model_of([helper.make_node(kind, names, list(outputs), **attributes)], feed, outputs, weights, opset)
    for ours, theirs in zip(run_ours(model, feed), run_ort(model, feed), strict=True):
        assert_same(ours, theirs)


FUSED: dict[str, tuple[str, dict[str, Any], list[Any], int]] = {
    "gelu": ("Gelu", {}, [X], 1),
    "bias-gelu": ("BiasGelu", {}, [X, floats(5)], 1),
    "fast-gelu": ("FastGelu", {}, [X, floats(5)], 1),
    "fast-gelu-no-bias": ("FastGelu", {}, [X], 1),
    "quick-gelu": ("QuickGelu", {"alpha": 1.5}, [X], 1),
    "conv-relu": ("FusedConv", {"activation": "Relu", "pads": [1, 1, 1, 1]}, [X, floats(3, 4, 3, 3), floats(3)], 1),
    "conv-clip": ("FusedConv", {"activation": "Clip", "activation_params": [-0.5, 0.5]}, [X, floats(3, 4, 3, 3)], 1),
    "conv-leaky": ("FusedConv", {"activation": "LeakyRelu", "activation_params": [0.3]}, [X, floats(3, 4, 3, 3)], 1),
    "conv-hard-sigmoid": ("FusedConv", {"activation": "HardSigmoid", "activation_params": [0.3, 0.4]}, [X, floats(3, 4, 3, 3)], 1),
    "conv-added": ("FusedConv", {"activation": "Relu"}, [X, floats(3, 4, 3, 3), floats(3), floats(2, 3, 4, 3)], 1),
    "matmul": ("FusedMatMul", {"alpha": 0.3, "transA": 1}, [X, floats(6, 3)], 1),
    "matmul-right": ("FusedMatMul", {"alpha": 2.0, "transB": 1}, [X, floats(3, 5)], 1),
    "skip-layer-norm": ("SkipLayerNormalization", {"epsilon": 1e-3}, [floats(2, 3, 4), floats(2, 3, 4), floats(4), floats(4), floats(4)], 4),
    "skip-rms-norm": ("SkipSimplifiedLayerNormalization", {"epsilon": 1e-3}, [floats(2, 3, 4), floats(2, 3, 4), floats(4)], 4),
    "gemm-relu": ("FusedGemm", {"activation": "Relu", "transB": 1, "alpha": 0.5}, [floats(3, 4), floats(2, 4), floats(2)], 1),
    "gemm-leaky": ("FusedGemm", {"activation": "LeakyRelu", "activation_alpha": 0.3}, [floats(3, 4), floats(4, 2)], 1),
    "attention": ("Attention", {"num_heads": 2}, [floats(2, 5, 4), floats(4, 12), floats(12)], 1),
    "attention-causal": ("Attention", {"num_heads": 2, "unidirectional": 1, "scale": 0.3}, [floats(2, 5, 4), floats(4, 12), floats(12)], 1),
    "attention-sizes": ("Attention", {"num_heads": 2, "qkv_hidden_sizes": [4, 4, 6]}, [floats(2, 5, 3), floats(3, 14), floats(14)], 1),
    "heads": ("MultiHeadAttention", {"num_heads": 2}, [floats(2, 5, 4), floats(2, 3, 4), floats(2, 3, 6), floats(14)], 1),
}  # fmt: skip


@pytest.mark.parametrize("name", FUSED)
def test_fused_operators_equal_onnx_runtime(name: str) -> None:
    kind, attributes, inputs, outputs = FUSED[name]
    feed, weights = {"x0": inputs[0]}, {f"x{i}": a for i, a in enumerate(inputs) if i}
    results = ["y", "", "", "total"][:outputs]
    node = helper.make_node(kind, list(feed | weights), results, domain=MICROSOFT, **attributes)
    model = model_of([node], feed, [name for name in results if name], weights)
    for ours, theirs in zip(run_ours(model, feed), run_ort(model, feed), strict=True):
        assert_same(ours, theirs)


@pytest.mark.parametrize("operator", ["LayerNormalization", "SimplifiedLayerNormalization"])
def test_norms_that_onnx_runtime_writes_into_older_opsets(operator: str) -> None:
    """Its optimiser writes both without a domain, whatever the opset of the graph."""
    x, weights = floats(2, 3, 4), {"scale": floats(4)}
    node = helper.make_node(operator, ["x", "scale"], ["y"], axis=-1, epsilon=1e-3)
    model = model_of([node], {"x": x}, weights=weights, opset=13)
    for ours, theirs in zip(run_ours(model, {"x": x}), run_ort(model, {"x": x}), strict=True):
        assert_same(ours, theirs)


def test_lrn_of_an_even_size_reaches_further_back() -> None:
    """By hand, as ONNX Runtime has only odd sizes: x / (sum of squares of this channel and the next)."""
    x = np.array([1, 2, 3], dtype=np.float32).reshape(1, 3, 1, 1)
    node = helper.make_node("LRN", ["x"], ["y"], size=2, alpha=2.0, beta=1.0, bias=0.0)
    (y,) = run_ours(model_of([node], {"x": x}), {"x": x})
    np.testing.assert_allclose(y.ravel(), [1 / 5, 2 / 13, 3 / 9], rtol=1e-6)


RESIZED = ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "tf_crop_and_resize"]
SIZES = [whole(2, 3, 14, 5), whole(2, 3, 1, 1), whole(2, 3, 10, 20)]
SCALES = [np.array(s, dtype=np.float32) for s in ((1, 1, 2, 3), (1, 1, 0.5, 0.5), (1, 1, 1.7, 0.6), (1, 1, 3, 0.8))]


def resize_variants(opset: int) -> list[dict[str, Any]]:
    nearest = [{"mode": "nearest", "nearest_mode": f"{how}"} for how in ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil")]  # fmt: skip
    smooth = [{"mode": "linear"}, {"mode": "cubic"}, {"mode": "cubic", "cubic_coeff_a": -0.5, "exclude_outside": 1}]
    antialiased = [{**variant, "antialias": 1} for variant in smooth] if opset >= 18 else []
    return nearest + smooth + antialiased


@pytest.mark.parametrize("opset", [11, 13, 18, 19])
def test_resize_equals_onnx_runtime(opset: int) -> None:
    """Every mode, coordinate transformation, size and scale that is claimed; the others are counted."""
    extra = {11: ["tf_half_pixel_for_nn"], 19: ["half_pixel_symmetric"]}.get(opset, [])
    compared = refused = 0
    feed = {"x": floats(2, 3, 7, 9)}
    roi = np.array([0, 0, 0.1, 0.2, 1, 1, 0.9, 1.2], dtype=np.float32)
    for mode, target, variant in itertools.product(RESIZED + extra, SIZES + SCALES, resize_variants(opset)):
        nothing = np.array([], dtype=np.float32)
        weights = (
            {"roi": roi, "scales": nothing, "sizes": target}
            if target.dtype == np.int64
            else {"roi": roi, "scales": target}
        )
        attributes = {**variant, "coordinate_transformation_mode": mode, "extrapolation_value": 7.5}
        node = helper.make_node("Resize", ["x", *weights], ["y"], **attributes)
        if opset >= 13:
            node.input[2] = "" if target.dtype == np.int64 else "scales"
        model = model_of([node], feed, weights=weights, opset=opset)
        try:
            (ours,) = run_ours(model, feed)
        except UnsupportedGraph:
            refused += 1
            continue
        assert_same(ours, run_ort(model, feed)[0])
        compared += 1
    print(f"\nResize at opset {opset}: {compared} variants equal ONNX Runtime, {refused} refused")
    assert compared >= 200


def gelu_of_erf(x: str) -> list[onnx.NodeProto]:
    """``x * (1 + erf(x / sqrt(2))) * 0.5``, as older exporters write GELU."""
    return [
        helper.make_node("Div", [x, "root"], ["scaled"]),
        helper.make_node("Erf", ["scaled"], ["erf"]),
        helper.make_node("Add", ["erf", "one"], ["raised"]),
        helper.make_node("Mul", [x, "raised"], ["product"]),
        helper.make_node("Mul", ["product", "half"], ["y"]),
    ]


def test_gelu_as_erf_pattern_is_torch_gelu() -> None:
    weights = {"root": scalar(2**0.5), "one": scalar(1), "half": scalar(0.5)}
    graph = load_graph(model_of(gelu_of_erf("x"), {"x": X}, weights=weights, opset=11), Path(), double=True)
    x = torch.from_numpy(X)
    torch.testing.assert_close(graph(x), F.gelu(x.double()), rtol=1e-6, atol=1e-7)


def nhwc_model() -> onnx.ModelProto:
    """As tf2onnx writes: NHWC in and out, transposes around NCHW operators, SAME_UPPER, shapes reckoned at run time."""
    nodes = [
        helper.make_node("Transpose", ["image"], ["nchw"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["nchw", "w0"], ["c0"], auto_pad="SAME_UPPER", strides=[2, 2]),
        helper.make_node("Clip", ["c0", "zero", "six"], ["a0"]),
        helper.make_node("Conv", ["a0", "w1"], ["c1"], auto_pad="SAME_LOWER", strides=[2, 2], group=4),
        helper.make_node("MaxPool", ["c1"], ["p"], auto_pad="SAME_UPPER", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["p", "w2", "b2"], ["c2"], auto_pad="VALID"),
        helper.make_node("Transpose", ["c2"], ["nhwc"], perm=[0, 2, 3, 1]),
        helper.make_node("ReduceMean", ["nhwc"], ["pooled"], axes=[1, 2], keepdims=0),
        helper.make_node("Shape", ["pooled"], ["shape"]),
        helper.make_node("Cast", ["shape"], ["narrow"], to=TensorProto.INT32),
        helper.make_node("Slice", ["narrow", "from", "to", "axis"], ["batch"]),
        helper.make_node("Concat", ["batch", "rest"], ["wanted"], axis=0),
        helper.make_node("Cast", ["wanted"], ["wide"], to=TensorProto.INT64),
        helper.make_node("Reshape", ["pooled", "wide"], ["features"]),
        helper.make_node("MatMul", ["features", "w3"], ["y"]),
    ]
    weights = {
        "w0": floats(4, 3, 3, 3),
        "w1": floats(4, 1, 2, 2),
        "w2": floats(5, 4, 1, 1),
        "b2": floats(5),
        "w3": floats(5, 2),
        "zero": scalar(0),
        "six": scalar(6),
        "from": whole(0),
        "to": whole(1),
        "axis": whole(0),
        "rest": np.array([-1], dtype=np.int32),
    }
    return model_of(nodes, {"image": floats(2, 13, 18, 3)}, weights=weights, opset=12)


def test_tf_style_graph_equals_onnx_runtime() -> None:
    feed = {"image": floats(2, 13, 18, 3)}
    model = nhwc_model()
    graph = load_graph(model, Path())
    assert_same(graph(torch.from_numpy(feed["image"])).numpy(), run_ort(model, feed)[0])
    projections = [name for name, child in graph.named_children() if child.projects]
    pooling = [name for name, child in graph.named_children() if child.pools]
    assert (projections, pooling) == (["MatMul_14"], ["MaxPool_4"])


def test_shapes_are_reckoned_with_on_the_cpu_wherever_the_graph_runs() -> None:
    """On the meta device, which has no numbers: a shape or an axis read from it would raise."""
    graph = load_graph(nhwc_model(), Path()).to("meta")
    y, shape = graph(torch.empty(2, 13, 18, 3, device="meta"), ["y", "wide"])
    assert (y.device.type, y.shape) == ("meta", (2, 2))
    assert (shape.device.type, shape.tolist()) == ("cpu", [2, -1])


# gradients ------------------------------------------------------------------------------------------------------------

P = np.abs(floats(2, 4, 6, 5)) + 0.5
SMOOTH: dict[str, tuple[str, int, dict[str, Any], list[Any]]] = {
    "conv": ("Conv", 17, {"auto_pad": "SAME_UPPER", "strides": [2, 2]}, [X, floats(3, 4, 3, 3), floats(3)]),
    "conv-transpose": ("ConvTranspose", 17, {"strides": [2, 2], "pads": [1, 0, 0, 1]}, [X, floats(4, 2, 3, 3)]),
    "batch-norm": ("BatchNormalization", 17, {}, [X, floats(4), floats(4), floats(4), np.abs(floats(4))]),
    "instance-norm": ("InstanceNormalization", 17, {}, [X, floats(4), floats(4)]),
    "layer-norm": ("LayerNormalization", 17, {}, [X, floats(5), floats(5)]),
    "group-norm": ("GroupNormalization", 21, {"num_groups": 2}, [X, floats(4), floats(4)]),
    "rms-norm": ("RMSNormalization", 23, {}, [X, floats(5)]),
    "lrn": ("LRN", 13, {"size": 3, "alpha": 0.5}, [X]),
    "lp-norm": ("LpNormalization", 11, {"axis": 1}, [P]),
    "mvn": ("MeanVarianceNormalization", 13, {}, [X]),
    "gemm": ("Gemm", 13, {"alpha": 0.5}, [floats(2, 3), floats(3, 4), floats(4)]),
    "matmul": ("MatMul", 13, {}, [X, floats(5, 3)]),
    "einsum": ("Einsum", 12, {"equation": "nchw,cd->ndhw"}, [X, floats(4, 2)]),
    "softmax-11": ("Softmax", 11, {}, [X]),
    "softmax-13": ("Softmax", 13, {"axis": 1}, [X]),
    "gelu": ("Gelu", 20, {}, [X]),
    "erf": ("Erf", 13, {}, [X]),
    "mish": ("Mish", 18, {}, [X]),
    "swish": ("Swish", 24, {"alpha": 1.3}, [X]),
    "pow": ("Pow", 15, {}, [P, scalar(1.7)]),
    "average-pool": ("AveragePool", 19, {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}, [X]),
    "average-pool-dilated": ("AveragePool", 19, {"kernel_shape": [2, 2], "dilations": [2, 2]}, [X]),
    "lp-pool": ("LpPool", 18, {"kernel_shape": [2, 2]}, [P]),
    "resize-cubic": ("Resize", 18, {"mode": "cubic"}, [X[:, :1], "", np.array([1, 1, 1.5, 0.7], dtype=np.float32)]),
    "resize-antialias": ("Resize", 18, {"mode": "linear", "antialias": 1}, [X[:, :1], "", np.array([1, 1, 0.5, 0.5], dtype=np.float32)]),
    "reduce-l2": ("ReduceL2", 18, {}, [X, whole(1)]),
    "log-sum-exp": ("ReduceLogSumExp", 18, {}, [X, whole(1, 2)]),
    "reduce-prod": ("ReduceProd", 18, {}, [P, whole(1, 3)]),
    "gather": ("Gather", 13, {"axis": 1}, [X, whole(1, -1, 1)]),
    "slice-backwards": ("Slice", 13, {}, [X, whole(-1), whole(-99), whole(2), whole(-2)]),
    "pad-reflect": ("Pad", 13, {"mode": "reflect"}, [X, whole(0, 0, 2, 1, 0, 0, 3, 2)]),
    "scatter-nd": ("ScatterND", 13, {}, [floats(4, 3), np.array([[1], [-1]]), floats(2, 3)]),
    "attention": ("Attention", 23, {"is_causal": 1, "softcap": 2.0}, [floats(1, 2, 3, 4), floats(1, 2, 3, 4), floats(1, 2, 3, 4)]),
    "rotary": ("RotaryEmbedding", 23, {}, [floats(1, 2, 3, 4), floats(1, 3, 2), floats(1, 3, 2)]),
    "depth-to-space": ("DepthToSpace", 13, {"blocksize": 2}, [X]),
    "cum-sum": ("CumSum", 14, {"reverse": 1}, [X, np.array(2, dtype=np.int64)]),
}  # fmt: skip


@pytest.mark.parametrize("name", SMOOTH)
def test_gradients_equal_finite_differences(name: str) -> None:
    kind, opset, attributes, inputs = SMOOTH[name]
    weights = {f"x{i}": a for i, a in enumerate(inputs) if i and not isinstance(a, str)}
    names = ["" if isinstance(a, str) else f"x{i}" for i, a in enumerate(inputs)]
    model = model_of(
        [helper.make_node(kind, names, ["y"], **attributes)], {"x0": inputs[0]}, weights=weights, opset=opset
    )
    graph = load_graph(model, Path(), double=True)
    x = torch.from_numpy(inputs[0]).double().requires_grad_()
    assert torch.autograd.gradcheck(graph, (x,), fast_mode=True)


def with_mean(node: onnx.NodeProto, weights: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """A graph of one node whose input ``m`` is the mean of the graph's input ``x0``."""
    mean = helper.make_node("ReduceMean", ["x0"], ["m"], keepdims=0)
    used = {name: weight for name, weight in weights.items() if name in node.input}
    return model_of([mean, node], {"x0": X}, weights=used, opset=18)


@pytest.mark.parametrize("node", [
    helper.make_node("Clip", ["x0", "m"], ["y"]),
    helper.make_node("Clip", ["x0", "", "m"], ["y"]),
    helper.make_node("Clip", ["x0", "low", "m"], ["y"]),
    helper.make_node("Clip", ["x0", "m", "high"], ["y"]),
    helper.make_node("Range", ["m", "end", "one"], ["y"]),
])  # fmt: skip
def test_gradients_flow_through_numbers_that_the_picture_decides(node: onnx.NodeProto) -> None:
    model = with_mean(node, {"low": scalar(-0.5), "high": scalar(0.9), "end": scalar(3), "one": scalar(1)})
    graph = load_graph(model, Path(), double=True)
    assert torch.autograd.gradcheck(graph, (torch.from_numpy(X).double().requires_grad_(),), fast_mode=True)


def test_a_number_that_the_picture_decides_and_no_gradient_follows_is_refused() -> None:
    model = with_mean(helper.make_node("Pad", ["x0", "pads", "m"], ["y"]), {"pads": whole(0, 0, 1, 1, 0, 0, 1, 1)})
    with pytest.raises(UnsupportedGraph, match="the picture decides its input 'm'"):
        load_graph(model, Path())


@pytest.mark.parametrize("opset", [18, 20])
def test_group_normalisation_by_group_is_in_force_although_deprecated(opset: int) -> None:
    assert claimed_definition("GroupNormalization", opset) is None


class SmallNet(nn.Module):
    """A convolutional network with what most detectors hold."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.depth = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.head = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.norm(self.stem(x))), 2)
        x = x + F.silu(self.depth(x))
        return self.head(x.mean(dim=(2, 3)))


def small_net() -> tuple[SmallNet, onnx.ModelProto]:
    torch.manual_seed(3)
    net = SmallNet().eval()
    net.norm.running_mean.normal_()
    net.norm.running_var.uniform_(0.5, 2)
    state = {name: t.detach().numpy() for name, t in net.state_dict().items() if t.ndim}
    norm = ["norm.weight", "norm.bias", "norm.running_mean", "norm.running_var"]
    nodes = [
        helper.make_node("Conv", ["x", "stem.weight", "stem.bias"], ["c"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c", *norm], ["n"]),
        helper.make_node("Relu", ["n"], ["r"]),
        helper.make_node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["p", "depth.weight", "depth.bias"], ["d"], group=8, pads=[1, 1, 1, 1]),
        helper.make_node("Sigmoid", ["d"], ["s"]),
        helper.make_node("Mul", ["d", "s"], ["silu"]),
        helper.make_node("Add", ["p", "silu"], ["sum"]),
        helper.make_node("GlobalAveragePool", ["sum"], ["g"]),
        helper.make_node("Flatten", ["g"], ["f"]),
        helper.make_node("Gemm", ["f", "head.weight", "head.bias"], ["y"], transB=1),
    ]
    return net, model_of(nodes, {"x": floats(2, 3, 20, 17)}, weights=state)


def test_a_network_and_its_gradient_equal_the_torch_module() -> None:
    net, model = small_net()
    graph = load_graph(model, Path(), double=True)
    x = torch.rand(2, 3, 20, 17, dtype=torch.float64, requires_grad=True)
    ours, theirs = graph(x), net.double()(x)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    (mine,), (their,) = torch.autograd.grad(ours[:, 1].sum(), x), torch.autograd.grad(theirs[:, 1].sum(), x)
    torch.testing.assert_close(mine, their, rtol=1e-11, atol=1e-12)


# the module -----------------------------------------------------------------------------------------------------------


def test_inner_tensors_are_found_by_name_and_hooks_see_them() -> None:
    _, model = small_net()
    graph = load_graph(model, Path())
    x = torch.rand(1, 3, 20, 17)
    seen: list[Tensor] = []
    handle = graph.get_submodule(graph.layers["p"]).register_forward_hook(lambda _m, _i, output: seen.append(output))
    logits, inner = graph({"x": x}, ["y", "p"])
    handle.remove()
    assert torch.equal(seen[0], inner)
    assert torch.equal(logits, graph(x))
    assert (graph.inputs, graph.outputs) == (("x",), ("y",))
    assert list(graph.layers)[:3] == ["c", "n", "r"]
    assert all("." not in child for child in graph.layers.values())


def test_only_the_nodes_that_are_needed_run() -> None:
    _, model = small_net()
    graph = load_graph(model, Path())
    ran: list[str] = []
    for name, child in graph.named_children():
        child.register_forward_hook(lambda _m, _i, _o, name=name: ran.append(name))
    graph(torch.rand(1, 3, 20, 17), ["r"])
    assert ran == ["Conv_0", "BatchNormalization_1", "Relu_2"]


def test_tensors_are_dropped_after_their_last_use() -> None:
    """With 20 relus in a row no more than the current and the next of their tensors are alive."""
    nodes = [helper.make_node("Relu", [f"t{i}"], [f"t{i + 1}"]) for i in range(20)]
    graph = load_graph(model_of(nodes, {"t0": floats(4)}, ["t20"]), Path())
    dead = [names for _, names in graph._plan(("t20",))]
    assert dead == [(f"t{i}",) for i in range(20)]


def test_a_module_can_be_copied_moved_and_widened() -> None:
    _, model = small_net()
    graph = load_graph(model, Path())
    x = torch.rand(1, 3, 20, 17)
    other = pickle.loads(pickle.dumps(copy.deepcopy(graph)))
    assert torch.equal(other(x), graph(x))
    wide = copy.deepcopy(graph).double()
    assert wide(x).dtype == torch.float64
    torch.testing.assert_close(wide(x), load_graph(model, Path(), double=True)(x), rtol=1e-12, atol=1e-12)
    assert graph(x).dtype == torch.float32
    assert not any(p.requires_grad for p in graph.parameters())
    assert sum(p.numel() for p in graph.parameters()) == sum(p.numel() for p in SmallNet().parameters()) + 16


def test_other_rules_can_take_the_place_of_torch_functions() -> None:
    """Guided backpropagation and LRP intercept these: none may hide in an autograd function of its own."""
    _, model = small_net()
    called: list[str] = []

    class Listen(TorchFunctionMode):
        def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            called.append(getattr(function, "__name__", ""))
            return function(*args, **(kwargs or {}))

    graph = load_graph(model, Path())
    with Listen():
        graph(torch.rand(1, 3, 20, 17))
    assert {"conv2d", "batch_norm", "relu", "linear", "sigmoid", "max_pool2d"} <= set(called)


def test_a_shared_weight_is_one_parameter() -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("MatMul", ["h", "w"], ["y"])]
    graph = load_graph(model_of(nodes, {"x": floats(2, 3)}, weights={"w": floats(3, 3)}), Path())
    assert len(list(graph.parameters())) == 1
    assert len(list(copy.deepcopy(graph).parameters())) == 1


def test_what_depends_on_constants_alone_is_evaluated_at_load() -> None:
    nodes = [
        helper.make_node("Constant", [], ["two"], value_float=2.0),
        helper.make_node("Mul", ["w", "two"], ["doubled"]),
        helper.make_node("Transpose", ["doubled"], ["turned"]),
        helper.make_node("MatMul", ["x", "turned"], ["y"]),
    ]
    graph = load_graph(model_of(nodes, {"x": floats(2, 3)}, weights={"w": np.ones((4, 3), np.float32)}), Path())
    assert [name for name, _ in graph.named_children()] == ["MatMul_3"]
    assert graph(torch.ones(1, 3)).tolist() == [[6.0, 6.0, 6.0, 6.0]]
    assert graph.get_submodule("MatMul_3").projects


def test_an_output_that_depends_on_no_input() -> None:
    nodes = [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Neg", ["w"], ["z"])]
    graph = load_graph(model_of(nodes, {"x": floats(2)}, ["y", "z"], {"w": scalar(3)}), Path())
    y, z = graph(torch.tensor([-1.0, 2.0]))
    assert (y.tolist(), z.item()) == ([0.0, 2.0], -3.0)


def test_double_reaches_weights_constants_and_casts() -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Cast", ["shape"], ["lengths"], to=TensorProto.FLOAT),
        helper.make_node("Constant", [], ["third"], value_float=1 / 3),
        helper.make_node("Mul", ["lengths", "third"], ["scaled"]),
        helper.make_node("ConstantOfShape", ["shape"], ["zeros"], value=helper.make_tensor("v", FLOAT, [1], [0.0])),
        helper.make_node("Add", ["zeros", "x"], ["sum"]),
        helper.make_node("Mul", ["sum", "scaled"], ["y"]),
    ]
    graph = load_graph(model_of(nodes, {"x": floats(3)}), Path(), double=True)
    y = graph(torch.ones(3))
    assert y.dtype == torch.float64
    torch.testing.assert_close(y, torch.ones(3, dtype=torch.float64) * np.float32(1 / 3).astype(float) * 3)


def test_external_weights_are_read_from_the_folder(tmp_path: Path) -> None:
    x, w = floats(2, 40), floats(40, 30)
    model = model_of([helper.make_node("MatMul", ["x", "w"], ["y"])], {"x": x}, weights={"w": w})
    onnx.save(model, str(tmp_path / "m.onnx"), save_as_external_data=True, location="m.bin", size_threshold=0)
    light = onnx.load(str(tmp_path / "m.onnx"), load_external_data=False)
    assert light.graph.initializer[0].data_location == TensorProto.EXTERNAL
    torch.testing.assert_close(load_graph(light, tmp_path)(torch.from_numpy(x)), torch.from_numpy(x @ w))


def test_functions_of_the_model_are_inlined() -> None:
    body = [helper.make_node("Sigmoid", ["a"], ["s"]), helper.make_node("Mul", ["a", "s"], ["b"])]
    function = helper.make_function("own", "Silu", ["a"], ["b"], body, [helper.make_opsetid("", 17)])
    nodes = [helper.make_node("Silu", ["x"], ["h"], domain="own"), helper.make_node("Silu", ["h"], ["y"], domain="own")]
    model = model_of(nodes, {"x": X}, functions=[function])
    x = torch.from_numpy(X)
    torch.testing.assert_close(load_graph(model, Path())(x), F.silu(F.silu(x)))


def branch(name: str, kind: str) -> onnx.GraphProto:
    """A branch with a weight and an inner tensor of the same names as in the other branch."""
    nodes = [helper.make_node("Mul", ["x", "w"], ["inner"]), helper.make_node(kind, ["inner"], [name])]
    return helper.make_graph(nodes, name, [], [value(name)], [numpy_helper.from_array(scalar(2), "w")])


def test_a_branch_with_a_constant_condition_is_taken() -> None:
    def choose(condition: str, result: str) -> onnx.NodeProto:
        branches = {"then_branch": branch("a", "Relu"), "else_branch": branch("b", "Neg")}
        return helper.make_node("If", [condition], [result], **branches)

    nodes = [choose("yes", "first"), choose("no", "second"), helper.make_node("Add", ["first", "second"], ["y"])]
    model = model_of(nodes, {"x": floats(4)}, weights={"yes": np.array(True), "no": np.array(False)})
    graph = load_graph(model, Path())
    x = torch.tensor([-1.0, 3.0])
    assert graph(x).tolist() == [2.0, 0.0]
    assert graph(x, ["first"]).tolist() == [0.0, 6.0]
    assert {"first", "second"} <= set(graph.layers)


def test_wrong_feeds_and_names_are_refused() -> None:
    graph = load_graph(model_of([helper.make_node("Add", ["a", "b"], ["y"])], {"a": X, "b": X}), Path())
    with pytest.raises(ValueError, match="give each by name"):
        graph(torch.from_numpy(X))
    with pytest.raises(ValueError, match=r"missing: \['b'\], inputs unknown to the graph: \['c'\]"):
        graph({"a": torch.from_numpy(X), "c": torch.from_numpy(X)})
    with pytest.raises(ValueError, match="no tensor nothing"):
        graph({"a": torch.from_numpy(X), "b": torch.from_numpy(X)}, ["nothing"])


def test_half_precision_runs_in_half_precision() -> None:
    x, w = floats(2, 3, 5, 5).astype(np.float16), floats(4, 3, 3, 3).astype(np.float16)
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"]), helper.make_node("Relu", ["c"], ["y"])]
    model = model_of(nodes, {"x": x}, {"y": TensorProto.FLOAT16}, {"w": w})
    y = load_graph(model, Path())(torch.from_numpy(x))
    assert y.dtype == torch.float16
    np.testing.assert_allclose(y.numpy(), run_ort(model, {"x": x})[0], rtol=2e-3, atol=2e-2)


def test_inputs_are_never_changed() -> None:
    nodes = [helper.make_node("Identity", ["x"], ["h"]), helper.make_node("Dropout", ["h"], ["y"])]
    graph = load_graph(model_of(nodes, {"x": X}), Path())
    x = torch.from_numpy(X.copy())
    graph(x)
    assert torch.equal(x, torch.from_numpy(X))


# refusals -------------------------------------------------------------------------------------------------------------

U8 = np.array(3, dtype=np.uint8)
BODY = helper.make_graph([helper.make_node("Identity", ["c"], ["d"])], "b", [value("i"), value("c")], [value("d")])
REFUSED: dict[str, tuple[onnx.NodeProto, dict[str, Any], int, str]] = {
    "quantise": (helper.make_node("QuantizeLinear", ["x", "s", "z"], ["y"], "q"), {"s": scalar(1), "z": U8}, 17, "quantised operator"),
    "loop": (helper.make_node("Loop", ["n", "", "x"], ["y"], "loop", body=BODY), {"n": np.array(3)}, 17, "control flow"),
    "if": (helper.make_node("If", ["flag"], ["y"], "if", then_branch=branch("a", "Relu"), else_branch=branch("b", "Neg")), {}, 17, "condition depends on the input"),
    "random": (helper.make_node("RandomNormalLike", ["x"], ["y"], "noise"), {}, 17, "random operator"),
    "batch-norm": (helper.make_node("BatchNormalization", ["x", "a", "a", "a", "a"], ["y", "m", "v"], "bn", training_mode=1), {"a": floats(4)}, 15, "training mode"),
    "batch-norm-old": (helper.make_node("BatchNormalization", ["x", "a", "a", "a", "a"], ["y", "m", "v"], "bn"), {"a": floats(4)}, 11, "training mode"),
    "dropout": (helper.make_node("Dropout", ["x", "r", "t"], ["y"], "drop"), {"r": scalar(0.5), "t": np.array(True)}, 13, "training mode"),
    "domain": (helper.make_node("Fancy", ["x"], ["y"], "fancy", domain="vendor"), {}, 17, "unknown domain 'vendor'"),
    "fused": (helper.make_node("GatedAdd", ["x", "a"], ["y"], "gate", domain=MICROSOFT), {"a": floats(4)}, 17, "lacks this operator"),
    "layout": (helper.make_node("Conv", ["x", "a"], ["y"], "conv", domain="com.microsoft.nchwc"), {"a": floats(4)}, 17, "layout optimisation"),
    "attention-mask": (helper.make_node("Attention", ["x", "a", "", "m"], ["y"], "att", domain=MICROSOFT, num_heads=1), {"a": floats(4), "m": whole(2)}, 17, "a mask by lengths"),
    "mask": (helper.make_node("Dropout", ["x"], ["y", "m"], "drop"), {}, 11, "the mask before opset 12"),
    "too-new": (helper.make_node("Det", ["x"], ["y"], "det"), {}, 10, "does not exist in opset 10"),
    "old": (helper.make_node("Clip", ["x"], ["y"], "clip", min=0.0), {}, 6, "outside the claimed opsets 11 to"),
    "gone": (helper.make_node("Upsample", ["x", "s"], ["y"], "up"), {"s": floats(4)}, 9, "lacks this operator"),
    "sequence": (helper.make_node("SequenceConstruct", ["x"], ["y"], "seq"), {}, 17, "sequence, optional or string"),
    "resize": (helper.make_node("Resize", ["x", "", "s"], ["y"], "size", coordinate_transformation_mode="align_corners"), {"s": np.array([1, 1, 0.5, 0.5], np.float32)}, 13, "fractional length"),
    "activation": (helper.make_node("FusedConv", ["x", "w"], ["y"], "conv", domain=MICROSOFT, activation="Swoosh"), {"w": floats(3, 4, 1, 1)}, 17, "activation 'Swoosh'"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_name_the_operator_the_node_and_the_reason(name: str) -> None:
    node, weights, opset, reason = REFUSED[name]
    feed = {"x": X, "flag": np.array(True)} if name == "if" else {"x": X}
    kind = node.op_type if not node.domain else f"{node.domain}::{node.op_type}"
    with pytest.raises(UnsupportedGraph) as caught:
        load_graph(model_of([node], feed, weights=weights, opset=opset), Path())
    problem = caught.value.problems[0]
    assert (problem.operator, problem.node) == (kind, node.name)
    assert reason in problem.reason
    assert str(problem) in str(caught.value)


def test_every_problem_is_named_at_once() -> None:
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], "first"),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["h"], "second"),
        helper.make_node("RandomNormalLike", ["h"], ["y"]),
    ]
    with pytest.raises(UnsupportedGraph) as caught:
        load_graph(model_of(nodes, {"x": X}, weights={"s": scalar(1), "z": U8}), Path())
    assert [(p.operator, p.node) for p in caught.value.problems] == [
        ("QuantizeLinear", "first"),
        ("DequantizeLinear", "second"),
        ("RandomNormalLike", "y"),
    ]
    again = pickle.loads(pickle.dumps(caught.value))
    assert again.problems == caught.value.problems


def test_number_types_outside_the_claims_are_refused() -> None:
    x = np.arange(4, dtype=np.uint32)
    model = model_of([helper.make_node("Add", ["x", "x"], ["y"], "sum")], {"x": x}, {"y": TensorProto.UINT32})
    with pytest.raises(UnsupportedGraph, match="the input is uint32") as caught:
        load_graph(model, Path())
    assert caught.value.problems[0] == Problem("Input", "x", "the input is uint32")
    assert caught.value.problems[1].reason.startswith("input 'x' is uint32; claimed: bfloat16, double, float")


def test_the_claims_read_as_a_table() -> None:
    rows = {row[0]: row[1:] for row in claims_table()}
    assert list(rows) == sorted(CLAIMS)
    assert rows["LayerNormalization"][0] == f"17-{min(28, onnx.defs.onnx_opset_version())}"
    assert rows["Dropout"][3] == "identity; training_mode is refused"
    assert rows["Conv"][:3] == (f"11-{min(28, onnx.defs.onnx_opset_version())}", "bfloat16, double, float, float16", "1 to 3 spatial axes")  # fmt: skip


def test_a_graph_is_an_ordinary_module() -> None:
    graph = load_graph(model_of([helper.make_node("Relu", ["x"], ["y"], "act")], {"x": X}), Path())
    assert isinstance(graph, GraphModule)
    assert not graph.training
    assert "Relu, act" in repr(graph)
