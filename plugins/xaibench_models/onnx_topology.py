"""What the wiring of an ONNX graph says of its tensors: which are constants, which lie inside an attention."""

from __future__ import annotations

from collections.abc import Iterator

import onnx

_CONTRACTIONS = frozenset({"MatMul", "Gemm", "Einsum", "Attention", "MultiHeadAttention", "FusedMatMul"})
_ELEMENTWISE = frozenset({"Add", "Sub", "Mul", "Div", "Where", "Min", "Max"})
_CARRY = frozenset(
    {"Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Split", "Slice", "Gather", "Expand", "Concat"}
    | {"Identity", "Cast", "CastLike", "Softmax", "LogSoftmax", "Dropout", "Sqrt", "IsNaN", "Not", "And", "Or", "Equal"}
)


def hidden_tensors(graph: onnx.GraphProto) -> frozenset[str]:
    """Tensors that are no place to look at the picture: the inside of an attention, and projections.

    A product of two activations is an attention: from it backwards to the projections to queries, keys and values,
    and forwards to the projection of what was mixed, only reshaping, scaling, masking and softmax lie between. A
    projection is a product with constants, and that product plus a constant. A map of which only the channels moved
    behind the rows and columns is left out too: the tensor before says the same, and where its channels are is plain.
    """
    wiring = _Wiring(graph)
    projections = {o for node in graph.node if wiring.projects(node) for o in _biased(wiring, node)}
    mixing = [node for node in graph.node if wiring.mixes(node)]
    inside = {o for node in mixing for o in node.output}
    inside |= {name for node in mixing for name in _backwards(wiring, node)}
    inside |= {name for node in mixing for name in _forwards(wiring, node)}
    moved = {o for node in graph.node if _channels_last(node) for o in node.output}
    return frozenset(projections | inside | moved)


def _channels_last(node: onnx.NodeProto) -> bool:
    return node.op_type == "Transpose" and any(list(a.ints) == [0, 2, 3, 1] for a in node.attribute)


class _Wiring:
    """Who gives a tensor, who takes it, and whether it is the same for all pictures."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.giver = {o: node for node in graph.node for o in node.output if o}
        self.takers: dict[str, list[onnx.NodeProto]] = {}
        fed = {v.name for v in graph.input} - {t.name for t in graph.initializer}
        self.dynamic = set(fed)
        for node in graph.node:  # a graph lists its nodes in the order in which they can run
            for name in node.input:
                self.takers.setdefault(name, []).append(node)
            if node.op_type not in ("Shape", "Size") and any(name in self.dynamic for name in node.input):
                self.dynamic.update(node.output)

    def activations(self, node: onnx.NodeProto) -> list[str]:
        return [name for name in node.input if name in self.dynamic]

    def projects(self, node: onnx.NodeProto) -> bool:
        return node.op_type in _CONTRACTIONS and len(self.activations(node)) == 1

    def mixes(self, node: onnx.NodeProto) -> bool:
        return node.op_type in _CONTRACTIONS and len(self.activations(node)) > 1

    def carries(self, node: onnx.NodeProto) -> bool:
        """Whether a node only reshapes, scales, masks or normalises over tokens what it is given."""
        if node.op_type in _ELEMENTWISE:
            return len(self.activations(node)) == 1
        return node.op_type in _CARRY


def _biased(wiring: _Wiring, node: onnx.NodeProto) -> Iterator[str]:
    for name in node.output:
        yield name
        for taker in wiring.takers.get(name, ()):
            if taker.op_type == "Add" and len(wiring.activations(taker)) == 1:
                yield from taker.output


def _backwards(wiring: _Wiring, node: onnx.NodeProto) -> Iterator[str]:
    """From a product of activations back to the projections, and these too."""
    waiting, known = wiring.activations(node), set[str]()
    while waiting:
        name = waiting.pop()
        giver = wiring.giver.get(name)
        if name in known or giver is None or not (wiring.carries(giver) or wiring.projects(giver)):
            continue
        known.add(name)
        yield from giver.output
        if not wiring.projects(giver):
            waiting.extend(wiring.activations(giver))


def _forwards(wiring: _Wiring, node: onnx.NodeProto) -> Iterator[str]:
    """From a product of activations on to the projection of what was mixed, without it."""
    waiting, known = list(node.output), set[str]()
    while waiting:
        name = waiting.pop()
        if name in known:
            continue
        known.add(name)
        yield name
        waiting.extend(o for taker in wiring.takers.get(name, ()) if wiring.carries(taker) for o in taker.output)
