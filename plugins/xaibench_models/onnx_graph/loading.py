"""From an ONNX model to a :class:`GraphModule`, or to the reasons why not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import onnx
import torch
from onnx import TensorProto, inliner, shape_inference
from torch import Tensor, nn

from xaibench_models.onnx_graph.claims import claimed_definition, definition
from xaibench_models.onnx_graph.graph import GraphModule, Step
from xaibench_models.onnx_graph.node import Node
from xaibench_models.onnx_graph.operators import OPERATORS
from xaibench_models.onnx_graph.problems import LAYOUT_REASON, Problem, UnsupportedGraph
from xaibench_models.onnx_graph.registration import MICROSOFT, OLDEST, Operator
from xaibench_models.onnx_graph.types import TORCH, to_torch, type_name

_SMALL = 1024  # bytes of a weight up to which type inference may look at it
_FLOATING = frozenset({TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16})
_INDICES = frozenset({"int32", "int64", "bool"})
_QUANTISED_REASON = "quantised operator: it has no gradient"
_QUANTISED = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "ConvInteger", "MatMulInteger")
_LAYOUT_DOMAINS = ("com.microsoft.nchwc", "com.ms.internal.nhwc")
_RANDOM = ("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli")


def load_graph(model: onnx.ModelProto, folder: Path, *, double: bool = False) -> GraphModule:
    """The graph of ``model`` on torch operations, in evaluation mode with frozen weights.

    ``folder``: where external weights lie. ``double=True`` reads every float32 of the graph (weights, constants,
    casts) as float64, to compare gradients without rounding; float16 stays float16. Float16 and bfloat16 graphs run in
    their own type, with torch's kernels; an operator for which torch has none on the device raises torch's error.

    Raises :class:`UnsupportedGraph` naming every node outside the claims (:data:`CLAIMS`).
    """
    loader = _Loader(model, folder, torch.float64 if double else torch.float32)
    module = loader.load()
    return module.requires_grad_(False).eval()


def skeleton(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with its weights replaced by declarations (so that it has no size limit) and its functions inlined."""
    light = onnx.ModelProto()
    light.ir_version = model.ir_version
    light.opset_import.extend(model.opset_import)
    light.functions.extend(model.functions)
    graph, source = light.graph, model.graph
    graph.name = source.name or "graph"
    for field in ("node", "input", "output", "value_info"):
        getattr(graph, field).extend(getattr(source, field))
    declared = {value.name for value in source.input}
    for weight in source.initializer:
        if weight.data_location != TensorProto.EXTERNAL and weight.ByteSize() <= _SMALL:
            graph.initializer.append(weight)
        elif weight.name not in declared:
            graph.input.append(onnx.helper.make_tensor_value_info(weight.name, weight.data_type, weight.dims))
    return inliner.inline_local_functions(light) if light.functions else light


def _types(graph: onnx.GraphProto) -> dict[str, str]:
    """The number type of every tensor that type inference knows, those inside branches too."""
    found = {weight.name: type_name(weight.data_type) for weight in graph.initializer}
    for value in (*graph.input, *graph.output, *graph.value_info):
        kind = value.type.WhichOneof("value")
        if kind == "tensor_type" and value.type.tensor_type.elem_type:
            found[value.name] = type_name(value.type.tensor_type.elem_type)
        elif kind not in (None, "tensor_type"):
            found[value.name] = str(kind).removesuffix("_type")
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                found = _types(attribute.g) | found
    return found


class _Loader:
    """The state of loading one model: constants so far, child modules so far, problems so far.

    A scope maps names inside a branch of an ``If`` to the names that the flat graph knows them by.
    """

    def __init__(self, model: onnx.ModelProto, folder: Path, single: torch.dtype) -> None:
        self.model, self.folder, self.single = model, folder, single
        self.opsets = {opset.domain or "ai.onnx": opset.version for opset in model.opset_import}
        self.weights = {weight.name: weight for weight in model.graph.initializer}
        self.constants: dict[str, Tensor] = {}
        self.host: set[str] = set()
        given = [v for v in model.graph.input if v.name not in self.weights][:1]
        # what the picture, the first input, decides in floating point
        self.pictured = {v.name for v in given if v.type.tensor_type.elem_type in _FLOATING}
        self.names: set[str] = {value.name for value in model.graph.input} | set(self.weights)
        self.nodes: list[tuple[Step, Node]] = []
        self.problems: list[Problem] = []
        self.types: Mapping[str, str] = {}
        self.count = 0

    def load(self) -> GraphModule:
        graph = self._skeleton()
        scope: dict[str, str] = {}
        inputs = {v.name: v for v in self.model.graph.input if v.name not in self.weights}
        self._check_inputs(inputs)
        with torch.no_grad():
            for node in graph.node:
                self._visit(node, scope)
        if self.problems:
            raise UnsupportedGraph(tuple(self.problems))
        outputs = [value.name for value in graph.output]
        named = {name: scope.get(name, name) for name in outputs}
        return GraphModule(
            self.nodes,
            {name: value.type.tensor_type.elem_type == TensorProto.FLOAT for name, value in inputs.items()},
            outputs,
            constants={inner: c for inner in named.values() if (c := self._constant(inner)) is not None},
            aliases={name: inner for name, inner in scope.items() if name != inner},
            single=self.single,
        )

    def _skeleton(self) -> onnx.GraphProto:
        if self.model.graph.sparse_initializer:
            self.problems.append(Problem("Initializer", self.model.graph.name, "sparse weights"))
        light = skeleton(self.model)
        # functions may import domains that the model does not
        self.opsets = {opset.domain or "ai.onnx": opset.version for opset in light.opset_import} | self.opsets
        try:
            inferred = shape_inference.infer_shapes(light)
        except shape_inference.InferenceError as error:
            reason = f"onnx cannot infer its types: {str(error).splitlines()[0]}"
            raise UnsupportedGraph((Problem("Graph", self.model.graph.name, reason),)) from None
        self.types = _types(inferred.graph)
        return light.graph

    def _check_inputs(self, inputs: Mapping[str, onnx.ValueInfoProto]) -> None:
        allowed = {type_name(element) for element in TORCH}
        for name in inputs:
            found = self.types.get(name, "of an unknown type")
            if found not in allowed:
                self.problems.append(Problem("Input", name, f"the input is {found}"))

    # nodes ----------------------------------------------------------------------------------------------------

    def _visit(self, proto: onnx.NodeProto, scope: dict[str, str]) -> None:
        self.count += 1
        if proto.op_type == "If" and proto.domain in ("", "ai.onnx"):
            self._branch(proto, scope)
            return
        spec, reason = self._claimed(proto)
        if spec is not None and reason is None:
            reason = self._wrong_type(proto, spec)
        if spec is not None and reason is None:
            try:
                reason = self._take(proto, spec, scope)
            except TypeError as error:  # a constant that torch has no type for
                reason = str(error)
        if reason is not None:
            self._refuse(proto, reason)
            self._results(proto.output, scope)

    def _refuse(self, proto: onnx.NodeProto, reason: str) -> None:
        label = proto.name or next(filter(None, proto.output), "")
        old = proto.domain in ("", "ai.onnx") and self.opsets.get("ai.onnx", 0) < OLDEST
        self.problems.append(Problem(_key(proto), label, reason, by_opset=old))

    def _claimed(self, proto: onnx.NodeProto) -> tuple[Operator | None, str | None]:
        """The operator, or why there is none."""
        key = _key(proto)
        if key in OPERATORS:
            opset = self.opsets.get(proto.domain or "ai.onnx", 0)
            return OPERATORS[key], None if "::" in key else claimed_definition(key, opset)
        return None, _why_unknown(proto)

    def _wrong_type(self, proto: onnx.NodeProto, spec: Operator) -> str | None:
        """The first tensor of a type outside the claim; types that inference does not know are not judged."""
        for what, names in (("input", proto.input), ("output", proto.output)):
            for position, name in enumerate(names):
                allowed = spec.claim.dtypes | (_INDICES if position else frozenset())
                found = self.types.get(name)
                if name and found is not None and found not in allowed:
                    return f"{what} '{name}' is {found}; claimed: {', '.join(sorted(allowed))}"
        return None

    def _take(self, proto: onnx.NodeProto, spec: Operator, scope: dict[str, str]) -> str | None:
        """Fold the node, or make it a child module; or say why it is refused."""
        inputs = [scope.get(name, name) for name in proto.input]
        sources: list[Tensor | str | None] = []
        for name in inputs:
            constant = self._constant(name) if name else None
            sources.append(None if not name else name if constant is None else constant)
        dynamic = tuple(source for source in sources if isinstance(source, str))
        opset = self.opsets.get("ai.onnx", 0)
        version = 1 if proto.domain == MICROSOFT else definition(proto.op_type, opset) or 0
        node = Node(proto, spec, version, self.single, proto.output)
        on_host = bool(dynamic) and self._counts(proto) and all(name in self.host for name in dynamic)
        node.bind(sources, on_host)
        node.projects = spec.projects is not None and isinstance(sources[spec.projects], Tensor)
        reason = (spec.check(node) if spec.check else None) or self._unfollowed(spec, sources)
        if reason is not None:
            return reason
        results = self._results(proto.output, scope)
        if not dynamic:
            self._fold(node, results)
            return None
        if on_host or proto.op_type in ("Shape", "Size"):
            self.host.update(results)
        elif not self._counts(proto) and any(name in self.pictured for name in dynamic):
            self.pictured.update(results)
        self.nodes.append((Step(f"{proto.op_type}_{self.count - 1}", dynamic, results), node))
        return None

    def _unfollowed(self, spec: Operator, sources: list[Tensor | str | None]) -> str | None:
        """The first input that is read as a plain number and that the picture decides: its gradient would be lost."""
        for position, source in enumerate(sources):
            followed = position not in spec.host or position in spec.followed
            if isinstance(source, str) and not followed and source in self.pictured:
                return f"the picture decides its input '{source}', through which no gradient flows"
        return None

    def _counts(self, proto: onnx.NodeProto) -> bool:
        """Whether the node reckons with whole numbers, as shapes do."""
        return self.types.get(proto.output[0]) in _INDICES

    def _results(self, names: Iterable[str], scope: dict[str, str]) -> tuple[str, ...]:
        """Names in the flat graph for the outputs of a node; another branch may have used the same ones."""
        results = []
        for name in names:
            unique = name
            while unique and unique in self.names:
                unique = f"{unique}_{self.count}"
            self.names.add(unique)
            if unique != name:
                scope[name] = unique
            results.append(unique)
        return tuple(results)

    def _fold(self, node: Node, results: tuple[str, ...]) -> None:
        given = node()
        for name, value in zip(results, given if isinstance(given, tuple) else (given,), strict=False):
            if name and value is not None:
                self.constants[name] = _frozen(value)

    def _constant(self, name: str) -> Tensor | None:
        """The value of a weight or a folded tensor; one parameter is shared by all nodes that use it."""
        if name not in self.constants and name in self.weights:
            self.constants[name] = _frozen(to_torch(self.weights[name], self.single, self.folder))
        return self.constants.get(name)

    # branches -------------------------------------------------------------------------------------------------

    def _branch(self, proto: onnx.NodeProto, scope: dict[str, str]) -> None:
        """Take the branch of an ``If`` whose condition is a constant; refuse the others."""
        condition = self._constant(scope.get(proto.input[0], proto.input[0]))
        if condition is None:
            self._refuse(proto, "control flow whose condition depends on the input")
            self._results(proto.output, scope)
            return
        taken = "then_branch" if bool(condition.item()) else "else_branch"
        graph = next(attribute.g for attribute in proto.attribute if attribute.name == taken)
        inner = dict(scope)
        for weight in graph.initializer:
            (name,) = self._results([weight.name], inner)
            self.weights[name] = weight
        for node in graph.node:
            self._visit(node, inner)
        for outer, result in zip(proto.output, graph.output, strict=True):
            scope[outer] = inner.get(result.name, result.name)


def _frozen(value: Tensor) -> Tensor:
    """A parameter that is never trained; whole numbers stay plain tensors."""
    if isinstance(value, nn.Parameter) or not value.is_floating_point():
        return value
    return nn.Parameter(value.detach(), requires_grad=False)


def _key(proto: onnx.NodeProto) -> str:
    return proto.op_type if proto.domain in ("", "ai.onnx") else f"{proto.domain}::{proto.op_type}"


def _why_foreign(proto: onnx.NodeProto) -> str:
    if proto.domain in _LAYOUT_DOMAINS or (proto.domain == MICROSOFT and proto.op_type.startswith("Nhwc")):
        return LAYOUT_REASON
    if proto.domain != MICROSOFT:
        return f"unknown domain '{proto.domain}'"
    quantised = proto.op_type.startswith(("QLinear", "QAttention", "QGemm")) or proto.op_type in _QUANTISED
    return _QUANTISED_REASON if quantised else "the executor lacks this operator"


def _why_unknown(proto: onnx.NodeProto) -> str:
    """Why an operator that the executor lacks is refused."""
    if proto.domain not in ("", "ai.onnx"):
        return _why_foreign(proto)
    if proto.op_type in _QUANTISED or proto.op_type.startswith("QLinear"):
        return _QUANTISED_REASON
    if proto.op_type in _RANDOM:
        return "random operator"
    if proto.op_type in ("Loop", "Scan"):
        return "control flow"
    if proto.op_type.startswith(("Sequence", "Optional", "SplitToSequence", "ConcatFromSequence", "String", "Regex")):
        return "sequence, optional or string type"
    return "the executor lacks this operator"
