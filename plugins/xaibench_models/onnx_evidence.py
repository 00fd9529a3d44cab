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
    | {"Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "LabelEncoder"}
)
_CLASSIFIERS = frozenset({"LinearClassifier", "SVMClassifier", "TreeEnsembleClassifier"})  # their first result: labels
_CUT = frozenset({"Slice", "Gather", "Split"})
_SHIFT = frozenset({"Add", "Sub", "Mul", "Div"})
_LINEAR = frozenset({"Gemm", "MatMul", "Conv", "FusedMatMul", "QGemm", "QLinearMatMul", "QLinearConv"})
_QUANTISE = frozenset({"QuantizeLinear", "DequantizeLinear"})
_CARRY = (
    _SAME_VALUES
    | _CUT
    | _SHIFT
    | _QUANTISE
    | {"Neg", "Concat", "ReduceMean", "GlobalAveragePool", "BatchNormalization"}
)
_DOMAINS = (*_ONNX, "com.microsoft")
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
        for node in model.graph.node:  # in the order of computing
            if self.constants.issuperset(filter(None, node.input)) and node.op_type not in _RANDOM:
                self.constants |= set(node.output)

    def label(self, tensor: str) -> str:
        """The node that makes classes or verdicts of scores and whose values ``tensor`` holds; empty where none."""
        for _ in range(_MOST_NODES):
            node = self.giver.get(tensor)
            if node is None:
                return ""
            first = node.output[0] == tensor
            picked = node.op_type == "TopK" and not first
            if node.op_type in _LABELS or picked or (node.op_type in _CLASSIFIERS and first):
                return str(node.op_type)
            if node.op_type == "Where" and self.constants >= set(node.input[1:]):
                return "Where"
            inputs = [i for i in node.input if i and i not in self.constants]
            if node.op_type in _SAME_VALUES | _CUT | _SHIFT and len(inputs) == 1:
                (tensor,) = inputs  # of a class that is looked up in a table, too
            elif node.op_type in _SAME_VALUES and inputs:
                tensor = inputs[0]
            else:
                return ""
        return ""

    def linear(self, tensor: str) -> bool:
        """Whether all values of ``tensor`` have no bounds: those of linear layers, scaled, added, cut or joined."""
        queue, seen = [tensor], set[str]()
        while queue:
            name = queue.pop()
            if name in seen:
                continue
            seen.add(name)
            node = self.giver.get(name)
            if node is None or node.domain not in _DOMAINS or len(seen) > _MOST_NODES:
                return False
            inputs = [i for i in node.input if i and i not in self.constants]
            if node.op_type in _LINEAR:
                if len(inputs) != 1:  # the product of two activations may be a weighted mean of probabilities
                    return False
            elif node.op_type not in _CARRY or (node.op_type in ("Mul", "Div") and len(inputs) != 1):
                return False
            else:
                queue += inputs if node.op_type in ("Add", "Sub", "Concat") else inputs[:1]
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
