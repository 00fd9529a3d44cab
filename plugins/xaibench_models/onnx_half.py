"""Half-precision ONNX graphs: the same graph in float32."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

_HALVES = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
_TYPE_ATTRIBUTES = ("to", "dtype", "output_dtype", "stash_type", "softmax_precision")


def is_half(model: onnx.ModelProto, halves: Sequence[int] = _HALVES) -> bool:
    """Whether any number of the graph is a float16 or bfloat16: a weight, what comes in or out, what is cast to."""
    g = model.graph
    if any(v.type.tensor_type.elem_type in halves for v in (*g.input, *g.output, *g.value_info)):
        return True
    return any(t.data_type in halves for g in graphs_of(model) for t in _tensors(g)) or any(
        a.i in halves for g in graphs_of(model) for n in g.node for a in n.attribute if a.name in _TYPE_ATTRIBUTES
    )


def rounds_input(graph: onnx.GraphProto, name: str) -> bool:
    """Whether the first thing that happens to this input is a cast to float16."""
    takers = [node for node in graph.node if name in node.input]
    return any(n.op_type == "Cast" and a.i == TensorProto.FLOAT16 for n in takers for a in n.attribute)


def widened(model: onnx.ModelProto, folder: Path) -> onnx.ModelProto:
    """A copy that computes in float32 wherever ``model`` computes in half precision; weights keep their values.

    ``folder`` is where external weights lie; the widened ones move into the copy.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for graph in graphs_of(copy):
        for tensor in _tensors(graph):
            if tensor.data_type in _HALVES:
                _widen(tensor, folder)
        if isinstance(graph, onnx.GraphProto):
            for value in (*graph.input, *graph.output, *graph.value_info):
                if value.type.tensor_type.elem_type in _HALVES:
                    value.type.tensor_type.elem_type = TensorProto.FLOAT
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.name in _TYPE_ATTRIBUTES and attribute.i in _HALVES:
                    attribute.i = TensorProto.FLOAT
    return copy


def _widen(tensor: onnx.TensorProto, folder: Path) -> None:
    array = np.asarray(numpy_helper.to_array(tensor, base_dir=str(folder))).astype(np.float32)
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def graphs_of(model: onnx.ModelProto) -> Iterator[onnx.GraphProto | onnx.FunctionProto]:
    """The graph, those within its nodes, and the model's own functions."""
    yield from _with_inner(model.graph)
    for function in model.functions:
        yield from _with_inner(function)


def _with_inner(graph: onnx.GraphProto | onnx.FunctionProto) -> Iterator[onnx.GraphProto | onnx.FunctionProto]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*((attribute.g,) if attribute.HasField("g") else ()), *attribute.graphs):
                yield from _with_inner(inner)


def _tensors(graph: onnx.GraphProto | onnx.FunctionProto) -> Iterator[onnx.TensorProto]:
    if isinstance(graph, onnx.GraphProto):
        yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
