"""The sigmoid or softmax that an output of a graph leaves, and the logits that go into it.

A detector needs logits: where a probability saturates, it has no gradient and its logarithm is clipped. Behind the
activation an output may be reshaped, cast, cut (one column of a softmax), turned (1 - p) or joined (1 - p beside p).
The same nodes are appended to a copy of the graph once more, over logits in place of probabilities.

The log-odds of column ``i`` of a softmax over ``z`` are ``z_i - log sum_{j != i} exp z_j``: real logits, also where the
probability is 0 or 1 in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper, shape_inference
from torch import Tensor

from xaibench_models.onnx_graph.loading import skeleton

ADDED = "xaibench_logit"
"""What the names of added tensors begin with."""

Activated = Literal["sigmoid", "softmax"]

_ACTIVATIONS: Mapping[str, Activated] = {"Sigmoid": "sigmoid", "Softmax": "softmax"}
_KEEP_VALUES = frozenset({"Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Cast"})
_SELECT = (
    frozenset({"Slice", "Gather", "GatherElements", "GatherND", "Split", "Transpose", "Expand", "Dropout"})
    | _KEEP_VALUES
)
_MOST_NODES, _MOST_CLASSES = 100, 64
_AXES_ARE_INPUTS, _SOFTMAX_OF_ONE_AXIS = 18, 13  # opsets of ReduceLogSumExp, of Softmax
_ALIKE = 2e-3  # a probability computed in half precision, twice


@dataclass(frozen=True, slots=True)
class Ending:
    """``kind`` of the logits in ``tensor`` gives the output.

    ``behind`` are the operators between the graph's own ``activation`` and the output. One column of a softmax is the
    sigmoid of its log-odds.
    """

    kind: Activated
    tensor: str
    activation: Activated
    behind: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Endings:
    """A copy of a graph that gives the logits of an output, by one of ``options``, at most one of each kind fits."""

    model: onnx.ModelProto
    options: tuple[Ending, ...]

    def settled(self, values: Tensor, read: Callable[[str], Tensor]) -> Ending | None:
        """The option whose activation gives ``values`` ``(N, columns)``; ``read`` gives those of a tensor of the graph.

        An activation that is the output itself, at most reshaped, needs no proof.
        """
        for option in self.options:
            if not option.behind:
                return option
            if (option.kind == "sigmoid") != (values.shape[1] == 1):
                continue
            z = read(option.tensor).float()
            if z.shape != values.shape:
                continue
            again = z.sigmoid() if option.kind == "sigmoid" else z.softmax(1)
            if float((again - values.float()).abs().max()) <= _ALIKE:
                return option
        return None


def endings(model: onnx.ModelProto, output: str) -> Endings | None:
    """What ``output`` may leave: a sigmoid or softmax, or columns of one. None where it leaves neither."""
    wiring = _Wiring(model)
    if plain := wiring.plain(output):
        return Endings(with_outputs(model, (plain.tensor,)), (plain,))
    options: list[Ending] = []
    added = onnx.GraphProto()
    for form in ("odds", "scores"):
        replay = _Replay(wiring, form)
        result = replay.turned(output)
        if result is None or not replay.kind or not replay.behind:
            continue
        behind = tuple(dict.fromkeys(reversed(replay.behind)))
        if form == "odds":
            nothing = replay.node("Sub", [result, result])  # a constant 0 would need the number type of the logits
            half = replay.node("Mean", [result, nothing])
            options += [Ending("sigmoid", result, replay.kind, behind), Ending("softmax", half, replay.kind, behind)]
        else:  # whole rows of a softmax in another order: its own logits, to the last bit
            options.insert(0, Ending("softmax", result, replay.kind, behind))
        added.node.extend(replay.nodes)
        added.initializer.extend(replay.constants)
    if not options:
        return None
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    copy.graph.node.extend(added.node)
    copy.graph.initializer.extend(added.initializer)
    return Endings(with_outputs(copy, [o.tensor for o in options]), tuple(options))


def with_outputs(model: onnx.ModelProto, tensors: Sequence[str]) -> onnx.ModelProto:
    """A copy whose outputs include the inner ``tensors``; the model itself where they already are outputs."""
    known = {o.name for o in model.graph.output}
    missing = [tensor for tensor in tensors if tensor not in known]
    if not missing:
        return model
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    copy.graph.output.extend(onnx.ValueInfoProto(name=tensor) for tensor in missing)
    return copy


# ---- walking back -----------------------------------------------------------------------------------------------


class _Wiring:
    """Who gives a tensor of a graph, and which tensors are single constant numbers."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.giver = {o: node for node in model.graph.node for o in node.output if o}
        self.weights = {weight.name: weight for weight in model.graph.initializer}
        self.opset = max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=1)

    def named(self, tensor: str) -> onnx.NodeProto | None:
        """The node that gives ``tensor``, if it is one of ONNX's own."""
        node = self.giver.get(tensor)
        return node if node is not None and node.domain in ("", "ai.onnx") else None

    def plain(self, output: str) -> Ending | None:
        """The activation behind nodes that only reshape or cast."""
        node = self.named(output)
        for _ in range(_MOST_NODES):
            if node is None or node.op_type not in _KEEP_VALUES:
                break
            node = self.named(node.input[0])
        if node is None or node.op_type not in _ACTIVATIONS:
            return None
        kind = _ACTIVATIONS[node.op_type]
        return Ending(kind, node.input[0], kind)

    def number(self, tensor: str) -> float | None:
        """The value of a constant of one number."""
        weight, node = self.weights.get(tensor), self.giver.get(tensor)
        if weight is None and node is not None and node.op_type == "Constant":
            given = {a.name: a for a in node.attribute}
            if "value_float" in given:
                return float(given["value_float"].f)
            weight = given["value"].t if "value" in given else None
        if weight is None or np.prod(weight.dims, dtype=float) != 1 or weight.external_data:
            return None
        return float(np.asarray(numpy_helper.to_array(weight)).astype(np.float64).reshape(()))

    def classes(self, tensor: str, axis: int) -> int | None:
        """How long ``axis`` (1 or -1) of the logits is, by the weights that give them or by shape inference."""
        name = tensor
        for _ in range(_MOST_NODES):
            node = self.named(name)
            if node is None or node.op_type not in ("Add", "Cast", "Identity"):
                break
            name = next((i for i in node.input if i not in self.weights), "")
        node = self.giver.get(name)
        weight = self.weights.get(node.input[1]) if node is not None and len(node.input) > 1 else None
        if node is not None and weight is not None and node.op_type == "Gemm" and len(weight.dims) == 2:
            turned = any(a.name == "transB" and a.i for a in node.attribute)
            return int(weight.dims[0 if turned else 1])
        return self._inferred(tensor, axis)

    def _inferred(self, tensor: str, axis: int) -> int | None:
        light = skeleton(self.model)
        try:
            graph = shape_inference.infer_shapes(light).graph
        except shape_inference.InferenceError:
            return None
        found = next((v for v in (*graph.value_info, *graph.output) if v.name == tensor), None)
        dims = found.type.tensor_type.shape.dim if found is not None else ()
        if len(dims) <= max(axis, 0) or not dims[axis].dim_value:
            return None
        return int(dims[axis].dim_value)


@dataclass(frozen=True, slots=True)
class _Form:
    """A tensor as ``factor * p + constant`` of probabilities ``p``, whose logits are the tensor ``logits``."""

    logits: str
    factor: float = 1.0
    constant: float = 0.0


class _Replay:
    """The nodes between an activation and an output once more, over logits.

    ``form``: ``odds``, the log-odds of each probability against all others, of which any may be left out or turned; or
    ``scores``, the logits of a softmax, whose columns can only change places.
    """

    def __init__(self, wiring: _Wiring, form: Literal["odds", "scores"]) -> None:
        self.wiring, self.form = wiring, form
        self.kind: Activated | None = None
        self.behind: list[str] = []
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.forms: dict[str, _Form | None] = {}
        self.names = 0

    def turned(self, tensor: str) -> str | None:
        """The logits of the probabilities in ``tensor``; of ``1 - p`` those of ``p`` with the other sign."""
        form = self._followed(tensor)
        if form is None:
            return None
        if (form.factor, form.constant) == (1, 0):
            return form.logits
        if (form.factor, form.constant) == (-1, 1) and self.form == "odds":
            return self.node("Neg", [form.logits])
        return None

    def _followed(self, tensor: str) -> _Form | None:
        if tensor not in self.forms:
            self.forms[tensor] = None  # until it is known
            if len(self.forms) <= _MOST_NODES:
                self.forms[tensor] = self._form(tensor)
        return self.forms[tensor]

    def _form(self, tensor: str) -> _Form | None:
        node = self.wiring.named(tensor)
        kind = node.op_type if node is not None else ""
        if node is None or not (kind in _SELECT or kind in _SPECIAL) or node.input[0] == tensor:
            return None
        if kind in _SPECIAL:
            return _SPECIAL[kind](self, node, tensor)
        inner = self._followed(node.input[0])
        if inner is None:
            return None
        again = self._again(node, tensor, [inner.logits, *node.input[1:]])
        return _Form(again.logits, inner.factor, inner.constant)

    def _joined(self, node: onnx.NodeProto, tensor: str) -> _Form | None:
        parts = [self.turned(name) for name in node.input]
        return None if None in parts else self._again(node, tensor, [part for part in parts if part is not None])

    def _clipped(self, node: onnx.NodeProto, _tensor: str) -> _Form | None:
        """A probability kept away from 0 and 1; logits need no such bounds."""
        inner = self._followed(node.input[0])
        self.behind.append("Clip")
        return inner

    def _again(self, node: onnx.NodeProto, tensor: str, inputs: list[str]) -> _Form:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        names = {o: self._name() for o in node.output if o}
        del copy.input[:], copy.output[:]
        copy.input.extend(inputs)
        copy.output.extend(names.get(o, "") for o in node.output)
        copy.name = names[tensor]
        self.nodes.append(copy)
        self.behind.append(node.op_type)
        return _Form(names[tensor])

    def _moved(self, node: onnx.NodeProto, _tensor: str) -> _Form | None:
        """``-p``, or ``p`` with a constant added, taken away or multiplied."""
        numbers = [self.wiring.number(name) for name in node.input]
        place = next((i for i, number in enumerate(numbers) if number is None), None)
        if place is None or numbers.count(None) != 1:
            return None
        inner = self._followed(node.input[place])
        if inner is None:
            return None
        self.behind.append(node.op_type)
        c = next((number for number in numbers if number is not None), 0.0)
        factor, constant = inner.factor, inner.constant
        if node.op_type == "Mul":
            return _Form(inner.logits, factor * c, constant * c)
        if node.op_type == "Neg":
            return _Form(inner.logits, -factor, -constant)
        if node.op_type == "Add":
            return _Form(inner.logits, factor, constant + c)
        sign = 1 if place == 0 else -1
        return _Form(inner.logits, sign * factor, sign * constant - sign * c)

    def _activation(self, node: onnx.NodeProto, _tensor: str) -> _Form | None:
        self.kind = _ACTIVATIONS[node.op_type]
        z = node.input[0]
        if self.kind == "sigmoid":
            return _Form(z) if self.form == "odds" else None
        if self.form == "scores":
            return _Form(z)
        by_default = -1 if self.wiring.opset >= _SOFTMAX_OF_ONE_AXIS else 1
        axis = next((int(a.i) for a in node.attribute if a.name == "axis"), by_default)
        classes = self.wiring.classes(z, axis) if axis in (1, -1) else None
        if classes is None or not 2 <= classes <= _MOST_CLASSES:
            return None
        if classes == 2:
            others = self.node("Gather", [z, self._indices(np.array([1, 0]))], axis=axis)
        else:
            rows = [[j for j in range(classes) if j != i] for i in range(classes)]
            each = self.node("Gather", [z, self._indices(np.array(rows))], axis=axis)
            others = self._log_sum_exp(each, axis if axis < 0 else axis + 1)
        return _Form(self.node("Sub", [z, others]))

    def _log_sum_exp(self, tensor: str, axis: int) -> str:
        if self.wiring.opset < _AXES_ARE_INPUTS:
            return self.node("ReduceLogSumExp", [tensor], axes=[axis], keepdims=0)
        return self.node("ReduceLogSumExp", [tensor, self._indices(np.array([axis]))], keepdims=0)

    def node(self, operator: str, inputs: list[str], **attributes: Any) -> str:
        """A further node; the name of what it gives."""
        name = self._name()
        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def _indices(self, values: NDArray[np.int64]) -> str:
        self.constants.append(numpy_helper.from_array(values.astype(np.int64), self._name()))
        return str(self.constants[-1].name)

    def _name(self) -> str:
        self.names += 1
        name = f"{ADDED}_{self.form}_{self.names}"
        while name in self.wiring.giver or name in self.wiring.weights:
            name += "_"
        return name


_SPECIAL: Mapping[str, Callable[[_Replay, onnx.NodeProto, str], _Form | None]] = {
    **dict.fromkeys(_ACTIVATIONS, _Replay._activation),
    **dict.fromkeys(("Neg", "Add", "Sub", "Mul"), _Replay._moved),
    "Concat": _Replay._joined,
    "Clip": _Replay._clipped,
}
