"""What the nodes of an ONNX graph tell of its outputs: which are scores, and what else they may hang on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from xaibench_models.onnx_half import graphs_of

Suspect = Literal["chance", "company"]

FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16)
_ONNX = ("", "ai.onnx")
_SAME_VALUES = frozenset({"Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Cast"})
_LABELS = frozenset(
    {"ArgMax", "ArgMin", "Hardmax", "OneHot", "Round", "Sign", "Floor", "Ceil", "Not", "And", "Or", "Xor"}
    | {"Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"}
)
_LINEAR = frozenset({"Gemm", "MatMul", "Conv"})
_CARRY = _SAME_VALUES | {"Add", "Sub", "Neg", "Concat", "Slice", "Gather", "Split", "ReduceMean", "GlobalAveragePool"}
_RANDOM = frozenset(
    {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli"}
)
_DYNAMIC = frozenset({"DynamicQuantizeLinear", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM"})
_DROPOUT_TRAINS, _BATCH_NORM_TRAINS = 12, 14  # opsets that brought the input and the attribute training_mode
_MOST_NODES = 200


class Wiring:
    """Who gives a tensor of a graph."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.giver = {o: node for node in model.graph.node for o in node.output if o}
        self.constants = {t.name for t in model.graph.initializer}
        self.constants |= {o for node in model.graph.node if node.op_type == "Constant" for o in node.output}

    def label(self, tensor: str) -> str:
        """The node that makes classes or verdicts of scores and whose values ``tensor`` holds; empty where none."""
        node = self.giver.get(tensor)
        for _ in range(_MOST_NODES):
            if node is None:
                return ""
            if node.op_type in _LABELS or self._picks_places(node, tensor):
                return str(node.op_type)
            if node.op_type == "Where" and self.constants >= set(node.input[1:]):
                return "Where"
            if node.op_type not in _SAME_VALUES:
                return ""
            tensor = node.input[0]
            node = self.giver.get(tensor)
        return ""

    def _picks_places(self, node: onnx.NodeProto, tensor: str) -> bool:
        return node.op_type == "TopK" and len(node.output) > 1 and bool(node.output[1] == tensor)

    def linear(self, tensor: str) -> bool:
        """Whether all values of ``tensor`` are those of linear layers, at most added, cut or joined: no bounds."""
        queue, seen = [tensor], set[str]()
        while queue:
            name = queue.pop()
            if name in seen:
                continue
            seen.add(name)
            node = self.giver.get(name)
            if node is None or node.domain not in _ONNX or len(seen) > _MOST_NODES:
                return False
            if node.op_type in _CARRY:
                inputs = [i for i in node.input if i and i not in self.constants]
                queue += inputs if node.op_type in ("Add", "Sub", "Concat") else inputs[:1]
            elif node.op_type not in _LINEAR or all(i in self.constants for i in node.input):
                return False
        return True

    def inner_scores(self, tensor: str) -> str:
        """The tensor that a ZipMap makes maps of; empty where ``tensor`` comes from elsewhere."""
        node = self.giver.get(tensor)
        return str(node.input[0]) if node is not None and node.op_type == "ZipMap" else ""


# ---- what outputs may hang on -----------------------------------------------------------------------------------


def find_suspects(model: onnx.ModelProto, company: bool) -> dict[Suspect, str]:
    """Nodes that could make outputs depend on chance or, if ``company`` is asked for, on the rest of a batch."""
    opset = max((o.version for o in model.opset_import if o.domain in _ONNX), default=1)
    chance, batch = list[str](), list[str]()
    for graph in graphs_of(model):
        constants = _constants(graph)
        for node in graph.node:
            name = f"node '{node.name or next(iter(node.output), '')}' ({node.op_type})"
            if node.op_type in _RANDOM:
                chance.append(f"{name} draws at random")
            elif node.op_type == "Dropout" and opset >= _DROPOUT_TRAINS and _drops(node, constants):
                chance.append(f"{name} is in training mode")
            elif node.op_type in _DYNAMIC:
                batch.append(f"{name} quantises dynamically, with one scale for all pictures of a batch")
            elif node.op_type == "BatchNormalization" and opset >= _BATCH_NORM_TRAINS and _trains(node):
                batch.append(f"{name} is in training mode and normalises with the statistics of the batch")
    kinds: tuple[tuple[Suspect, list[str]], ...] = (("chance", chance), ("company", batch if company else []))
    return {kind: _first_of(texts) for kind, texts in kinds if texts}


def _first_of(texts: list[str]) -> str:
    return f"{texts[0]} ({len(texts) - 1} more do)" if len(texts) > 1 else texts[0]


def _constants(graph: onnx.GraphProto | onnx.FunctionProto) -> Mapping[str, onnx.TensorProto]:
    given = {t.name: t for t in graph.initializer} if isinstance(graph, onnx.GraphProto) else {}
    for node in graph.node:
        value = next((a.t for a in node.attribute if a.name == "value"), None)
        if node.op_type == "Constant" and value is not None:
            given[node.output[0]] = value
    return given


def _drops(node: onnx.NodeProto, constants: Mapping[str, onnx.TensorProto]) -> bool:
    """Whether a Dropout works: in training mode, at a ratio above 0. What is computed may be anything."""
    ratio, mode = (node.input[i] if len(node.input) > i else "" for i in (1, 2))
    if not mode or _number(constants.get(mode)) == 0:
        return False
    return not ratio or _number(constants.get(ratio)) != 0


def _number(tensor: onnx.TensorProto | None) -> float | None:
    if tensor is None or tensor.external_data:
        return None
    values = np.asarray(numpy_helper.to_array(tensor)).reshape(-1)
    return float(values[0]) if len(values) == 1 else None


def _trains(node: onnx.NodeProto) -> bool:
    return any(a.name == "training_mode" and a.i for a in node.attribute)


# ---- which outputs are scores -----------------------------------------------------------------------------------


def score_outputs(model: onnx.ModelProto, most: int) -> Iterator[str]:
    """The outputs that could hold class scores, those with a known number of columns first."""
    wiring = Wiring(model)
    possible = list[str]()
    for value in model.graph.output:
        tensor = value.type.tensor_type
        if tensor.elem_type not in FLOATS or wiring.label(value.name):
            continue
        dims = [d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim]
        columns = dims[1] if len(dims) > 1 else 1
        if any(d != 1 for d in dims[2:]) or (columns or 0) > most:
            continue
        if tensor.HasField("shape") and columns is not None:
            yield value.name
        else:
            possible.append(value.name)
    yield from possible
