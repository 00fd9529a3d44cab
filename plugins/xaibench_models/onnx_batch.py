"""The same ONNX graph with its batch axis freed: a graph that was exported for one picture takes any number of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import onnx
from onnx import numpy_helper

from xaibench.api import ModelError
from xaibench_models.onnx_evidence import Wiring, find_suspects
from xaibench_models.onnx_file import OnnxFile, TensorFacts
from xaibench_models.onnx_half import graphs_of

FREE = "xaibench_batch"
"""The symbol that stands for the number of pictures."""
_MEND = "export it again with a free batch axis"


def with_free_batch(file: OnnxFile, input_name: str) -> OnnxFile:
    """A copy of ``file`` whose input ``input_name`` and outputs have a free first axis in place of 1.

    Nodes and weights stay as they are. Raises :class:`ModelError` for a graph that normalises or quantises with values
    of the whole batch, and for one that writes the batch of 1 into a constant shape of a ``Reshape``. Whether the graph
    takes more pictures and gives each the same values is for the caller to try.
    """
    if suspect := find_suspects(file.model, company=True).get("company"):
        raise ModelError(f"its batch axis cannot be freed: {suspect}", _MEND)
    if node := next(_fixing_nodes(file.model, input_name), None):
        raise ModelError(
            f"its batch axis cannot be freed: Reshape node '{node.name or node.output[0]}' writes a batch of 1", _MEND
        )
    model = onnx.ModelProto()
    model.CopyFrom(file.model)
    for value in (*(v for v in model.graph.input if v.name == input_name), *model.graph.output):
        axes = value.type.tensor_type.shape.dim
        if axes and axes[0].dim_value == 1:
            axes[0].dim_param = FREE
    for graph in graphs_of(model):
        del graph.value_info[:]  # shapes with a batch of 1; ONNX Runtime infers them again
    return replace(
        file,
        model=model,
        inputs=tuple(_freed(t) if t.name == input_name else t for t in file.inputs),
        outputs=tuple(map(_freed, file.outputs)),
        changed=True,
    )


def _freed(tensor: TensorFacts) -> TensorFacts:
    return replace(tensor, shape=(None, *tensor.shape[1:])) if tensor.shape[:1] == (1,) else tensor


def _fixing_nodes(model: onnx.ModelProto, input_name: str) -> Iterator[onnx.NodeProto]:
    """Nodes that reshape what is computed from the picture to a constant shape with a first axis of 1."""
    shapes = {t.name: t for t in model.graph.initializer}
    shapes |= {
        node.output[0]: attribute.t
        for node in model.graph.node
        if node.op_type == "Constant"
        for attribute in node.attribute
        if attribute.name == "value"
    }
    constants = Wiring(model).constants
    for node in model.graph.node:
        if node.op_type != "Reshape" or node.input[0] in constants or node.input[1] not in shapes:
            continue
        if (first := np.ravel(numpy_helper.to_array(shapes[node.input[1]]))[:1]).size and first[0] == 1:
            yield node
