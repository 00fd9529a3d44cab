"""ONNX files that are cut, flipped, or hold what no exporter writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from fuzzing.base import Base, Command, check, chunk, cut, eval_model, flipped

_CARD = 'classes = ["real", "fake"]\nreal = "real"\nsize = 32\n'


def _commands(rng: Random, here: Path, data: bytes) -> Sequence[Command]:
    (here / "m.onnx").write_bytes(data)
    (here / "m.toml").write_text(_CARD)
    return (check("m.onnx"), eval_model("m.onnx"))[: 1 + (rng.random() < 0.5)]


def _bytes(rng: Random, here: Path, base: Base) -> Sequence[Command]:
    data = base.onnx.read_bytes()
    ways = (cut(rng, data), flipped(rng, data), flipped(rng, data, 3), b"", rng.randbytes(2000), flipped(rng, data, 1))
    return _commands(rng, here, rng.choice(ways))


def _fields(rng: Random, here: Path, base: Base) -> Sequence[Command]:
    """One field of one part changed: sizes, types, names, operators, opset."""
    model = onnx.load(base.onnx)
    graph = model.graph
    huge = rng.choice((2**62, 2**31, -1, 0, 10**6, 2**63 - 1))
    way = rng.randrange(16)
    if way == 0:
        graph.initializer[0].dims[:] = [huge, huge]
    elif way == 1:
        graph.initializer[0].dims.append(huge)
    elif way == 2:
        graph.initializer[0].data_type = rng.choice((0, 7, 8, 99, 16))
    elif way == 3:
        graph.initializer[0].raw_data = b"x"
    elif way == 4:
        graph.input[0].type.tensor_type.shape.dim[rng.randrange(4)].dim_value = huge
    elif way == 5:
        del graph.input[0].type.tensor_type.shape.dim[:]
    elif way == 6:
        model.opset_import[0].version = rng.choice((0, 1, 6, 999, 2**62, -5))
    elif way == 7:
        model.ir_version = rng.choice((0, 1, 99, 2**62))
    elif way == 8:
        rng.choice(graph.node).op_type = rng.choice(("", "NoSuchOp", "Conv", "Loop", "Softmax", "Constant"))
    elif way == 9:
        node = rng.choice(graph.node)
        node.input[0] = node.output[0]  # a node that waits for itself
    elif way == 10:
        graph.node[0].input[0] = graph.node[-1].output[0]  # a circle through all
    elif way == 11:
        rng.choice(graph.node).domain = "nobody.knows"
    elif way == 12:
        graph.output[0].name = rng.choice(("", "nothing", graph.input[0].name, "\x1b[31m"))
    elif way == 13:
        nodes = list(graph.node)
        rng.shuffle(nodes)
        del graph.node[:]
        graph.node.extend(nodes)
    elif way == 14:
        rng.choice(graph.node).attribute.append(helper.make_attribute("pads", [huge] * 4))
    else:
        del rng.choice(graph.node).input[:]
    return _commands(rng, here, model.SerializeToString())


def _empty(rng: Random, here: Path, base: Base) -> Sequence[Command]:
    picture = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 32, 32])
    scores = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])
    node = helper.make_node("Identity", ["x"], ["y"])
    graph = rng.choice((
        helper.make_graph([], "g", [], []), helper.make_graph([], "g", [picture], [scores]),
        helper.make_graph([node], "g", [], [scores]), helper.make_graph([node], "g", [picture, picture], [scores, scores]),
        helper.make_graph([node], "g", [picture], []), helper.make_graph([node], "", [picture], [scores]),
    ))  # fmt: skip
    return _commands(rng, here, helper.make_model(graph).SerializeToString())


def _giant(rng: Random, here: Path, base: Base) -> Sequence[Command]:
    """A few bytes that ask for terabytes, inside the graph."""
    huge = rng.choice(([10**6, 10**6, 10**3], [2**31 - 1] * 3, [10**5, 10**5, 4]))
    shape = numpy_helper.from_array(np.array(huge, np.int64), "shape")
    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["big"]),
        helper.make_node("ReduceSum", ["big"], ["zero"], keepdims=0),
        helper.make_node("GlobalAveragePool", ["x"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Add", ["f", "zero"], ["y"]),
    ]
    if rng.random() < 0.5:
        nodes[0] = helper.make_node("Expand", ["one", "shape"], ["big"])
    one = numpy_helper.from_array(np.zeros(1, np.float32), "one")
    picture = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 32, 32])
    graph = helper.make_graph(nodes, "g", [picture],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])], [shape, one])  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return _commands(rng, here, model.SerializeToString())


def _nested(rng: Random, here: Path, base: Base) -> Sequence[Command]:
    """Graphs in graphs: protobuf refuses more than a hundred, this is written by hand."""
    deep = rng.choice((20, 90, 3000))
    graph = chunk(2, b"g")
    for i in range(deep):
        attribute = chunk(1, b"then_branch") + b"\xa0\x01\x05" + chunk(6, graph)  # name, type GRAPH, g
        node = chunk(1, b"c") + chunk(2, b"o%d" % i) + chunk(4, b"If") + chunk(5, attribute)
        graph = chunk(1, node) + chunk(2, b"g")
    return _commands(rng, here, b"\x08\x08" + chunk(7, graph))


def _external(rng: Random, here: Path, base: Base) -> Sequence[Command]:
    """Weights in other files that lie elsewhere, are too short, or are none."""
    model = onnx.load(base.onnx)
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    (here / "w.bin").write_bytes(b"\0" * rng.choice((0, 3, 10**5)))
    (here / "loop.bin").symlink_to("loop.bin")
    (here / "out.bin").symlink_to("/etc/hostname")
    place = rng.choice(
        ("w.bin", "/etc/passwd", "../m.onnx", "loop.bin", "out.bin", "", ".", "x" * 5000, "a\0b", "/dev/zero", "gone")
    )
    entries = {
        "location": place,
        "offset": rng.choice(("0", "-1", "9" * 30, "x")),
        "length": rng.choice(("4", "-1", "9" * 30, "x")),
    }
    for key, text in entries.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, text
    return _commands(rng, here, model.SerializeToString())


def _metadata(rng: Random, here: Path, base: Base) -> Sequence[Command]:
    from fuzzing.cards import value

    model = onnx.load(base.onnx)
    for key in rng.sample(("size", "mean", "classes", "real", "batch", "activation", "xaibench.x", "threshold"), 2):
        entry = model.metadata_props.add()
        entry.key, entry.value = rng.choice(("", "xaibench.")) + key, value(rng)
    (here / "m.onnx").write_bytes(model.SerializeToString())
    return check("m.onnx"), eval_model("m.onnx")


def _many(rng: Random, here: Path, base: Base) -> Sequence[Command]:
    """A chain of very many nodes."""
    count = rng.choice((2000, 20_000))
    nodes = [helper.make_node("GlobalAveragePool", ["x"], ["p"]), helper.make_node("Flatten", ["p"], ["t0"])]
    nodes += [helper.make_node("Relu", [f"t{i}"], [f"t{i + 1}"]) for i in range(count)]
    picture = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 32, 32])
    graph = helper.make_graph(nodes, "g", [picture],
                              [helper.make_tensor_value_info(f"t{count}", TensorProto.FLOAT, ["n", 3])])  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return _commands(rng, here, model.SerializeToString())[:1]


MAKERS = (
    _fields,
    _bytes,
    _nested,
    _fields,
    _external,
    _giant,
    _fields,
    _empty,
    _metadata,
    _fields,
    _bytes,
    _many,
    _fields,
)
