"""What an ONNX file may hold: no operator that runs other code, no weights from elsewhere, no endless calls."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import onnx

from xaibench.api import ModelError

_Graph: TypeAlias = onnx.GraphProto | onnx.FunctionProto
# Operators that call Python, open compiled engines by path, or call any operator of torch by name.
_REFUSED = frozenset({"EPContext", "PythonOp", "PythonOpGrad", "PyOp", "PyCustomOp", "ATen", "ATenOp", "TRT_EngineOp"})
_MOST_NODES = 1_000_000
_LARGEST = 1 << 40  # values of one tensor


def check_contents(path: Path, model: onnx.ModelProto) -> list[Path]:
    """The files that hold weights of ``model``, sorted. Raises :class:`ModelError` for what no detector needs."""
    names = set[str]()
    for graph in _all_graphs(model):
        for node in graph.node:
            if node.op_type in _REFUSED:
                raise ModelError(
                    f"{path}: calls '{node.domain}::{node.op_type}', which runs code from outside the graph",
                    "export the model with ONNX operators alone",
                )
        for tensor in _tensors(graph):
            if any(d < 0 for d in tensor.dims) or math.prod(tensor.dims) > _LARGEST:
                raise ModelError(
                    f"{path}: the weight '{tensor.name[:80]}' has the shape {list(tensor.dims)[:8]}", "export it again"
                )
            names.update(e.value for e in tensor.external_data if e.key == "location")
    _check_functions(path, model)
    return [_external(path, name) for name in sorted(names)]


def _all_graphs(model: onnx.ModelProto) -> Iterator[_Graph]:
    """The graph, the functions, those of training, and every graph within their nodes."""
    queue: list[_Graph] = [model.graph, *model.functions]
    queue += [g for info in model.training_info for g in (info.initialization, info.algorithm)]
    while queue:
        graph = queue.pop()
        yield graph
        for node in graph.node:
            for attribute in node.attribute:
                queue += [attribute.g] if attribute.HasField("g") else []
                queue += attribute.graphs


def _tensors(graph: _Graph) -> Iterator[onnx.TensorProto]:
    if isinstance(graph, onnx.GraphProto):
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
    attributes = [a for node in graph.node for a in node.attribute]
    for attribute in [*attributes, *(graph.attribute_proto if isinstance(graph, onnx.FunctionProto) else ())]:
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        for sparse in (*((attribute.sparse_tensor,) if attribute.HasField("sparse_tensor") else ()),
                       *attribute.sparse_tensors):  # fmt: skip
            yield from (sparse.values, sparse.indices)


def _check_functions(path: Path, model: onnx.ModelProto) -> None:
    """Functions are written out before a graph runs; one that calls itself, or doubles at each step, never ends."""
    functions = {(f.domain, f.name): f for f in model.functions}
    sizes: dict[tuple[str, str], int] = {}

    def size(graph: _Graph, outer: tuple[tuple[str, str], ...]) -> int:
        total = 0
        for node in (n for g in _within(graph) for n in g.node):
            key = (node.domain, node.op_type)
            if key in functions and key not in sizes:
                if key in outer or len(outer) > 100:
                    raise ModelError(f"{path}: its function '{node.op_type[:80]}' calls itself", "export it again")
                sizes[key] = size(functions[key], (*outer, key))
            total += sizes.get(key, 1)
        return total

    if functions and (count := size(model.graph, ())) > _MOST_NODES:
        raise ModelError(f"{path}: its functions write out to {count:,} nodes", "export it again")


def _within(graph: _Graph) -> Iterator[_Graph]:
    queue = [graph]
    while queue:
        inner = queue.pop()
        yield inner
        queue += [a.g for node in inner.node for a in node.attribute if a.HasField("g")]
        queue += [g for node in inner.node for a in node.attribute for g in a.graphs]


def _external(path: Path, name: str) -> Path:
    """A file of weights. It lies below the model's folder, or, as caches link both, below that of the model itself."""
    outside = ModelError(f"{path}: keeps weights outside its folder, in '{name[:200]}'", "put them beside the model")
    if not name.isprintable() or Path(name).is_absolute() or ".." in re.split(r"[/\\]", name) or name[1:2] == ":":
        raise outside
    file = path.parent / name
    if not file.is_file():
        raise ModelError(f"{path}: its weights file '{name[:200]}' is missing", f"put '{name[:200]}' beside the model")
    if not any(file.resolve().is_relative_to(folder) for folder in (path.parent.resolve(), path.resolve().parent)):
        raise outside
    return file
