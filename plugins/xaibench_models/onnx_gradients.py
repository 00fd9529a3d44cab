"""Gradients of ONNX graphs: the graph run on torch operations, believed only where it equals ONNX Runtime.

ONNX Runtime runs a graph forward only. :mod:`xaibench_models.onnx_graph` runs the same graph inside autograd. Whoever
asks for gradients gets them where both give the same numbers: max|difference| <= 1e-4 max|reference| over the logits,
on noise and a grey picture when a file is opened, and on pictures of the data before a run. Elsewhere the reason is
kept, and the detector stays a black box.

A graph in half precision is differentiated in float32, as half-precision gradients underflow. It has to equal ONNX
Runtime's own run of that float32 graph to 1e-4. How far the float32 graph is from the one in half precision, the
*spread*, is rounding, which no implementation shares: twice what was seen when the file was opened (on other pictures
it may be larger), and no less than twice float16's epsilon, is allowed beside the 1e-4 on pictures of the data. Above
a spread of 5 % the gradients would be those of another function, and are refused.
"""

from __future__ import annotations

import copy
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import onnx
import torch
from onnx import TensorProto, inliner, version_converter
from torch import Tensor, nn

from xaibench.api import Facts, ModelError
from xaibench_models.batches import in_batches
from xaibench_models.interface import ModelInput, Notes, check_pictures
from xaibench_models.layers import NamedLayers
from xaibench_models.onnx_graph.registration import OLDEST
from xaibench_models.onnx_half import widened
from xaibench_models.onnx_session import OrtRunner, one_line
from xaibench_models.onnx_topology import hidden_tensors
from xaibench_models.outputs import Outputs, as_columns
from xaibench_models.torch_capabilities import with_capabilities
from xaibench_models.torch_detector import Network, TorchDetector
from xaibench_models.torch_loading import frozen
from xaibench_models.torch_model import in_memory

if TYPE_CHECKING:
    from xaibench_models.onnx_graph import GraphModule, Node, UnsupportedGraph

RELATIVE = 1e-4
HALF_EPSILON = 2.0**-10
MOST_SPREAD = 0.05
_SHOWN = 2
_LONGEST_REASON = 160
_OPSET_MEND = "export it again with opset 13 or later"
_LAYOUT_MEND = "give the file from before it, or save it with graph_optimization_level = ORT_ENABLE_EXTENDED or lower"

Start = Callable[[onnx.ModelProto], OrtRunner]


class Refused(Exception):
    """There are no gradients; the message is the reason, one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphSource:
    """A graph to differentiate.

    ``tensor`` of ``model``, read with ``outputs``, holds the logits (or the probabilities of which log-odds are
    taken); external weights lie in ``folder``. ``reference(images)`` are ONNX Runtime's ``(N, columns)`` values of
    the tensor, the graph's precision included; ``start`` opens a float32 session for a changed copy of the model.
    """

    model: onnx.ModelProto
    folder: Path
    tensor: str
    source: ModelInput
    outputs: Outputs
    half: bool
    reference: Callable[[Tensor], Tensor]
    start: Start


@dataclass(frozen=True, slots=True, kw_only=True)
class Twin:
    """The differentiable form of a graph.

    ``allowed`` is how far it may be from ONNX Runtime on any picture, as a share of the largest value, ``seen`` how
    far it was on the check pictures (in float32), ``spread`` what half precision makes of a difference there.
    ``converted`` is the opset of the file where that had to be converted.
    """

    detector: TorchDetector
    allowed: float
    blame: Blame
    seen: float = 0.0
    spread: float = 0.0
    converted: int | None = None

    def differs(self, images: Tensor, reference: Tensor) -> str:
        """Why gradients cannot be believed on these pictures; empty where they can."""
        share = share_of(self.values(images), reference)
        return "" if share <= self.allowed else _differing(self.blame(images), share, self.allowed)

    def values(self, images: Tensor) -> Tensor:
        """``(N, columns)`` values of the tensor, without gradient."""
        with torch.no_grad(), _full_float32():
            return in_batches(images.to(self.detector.device), self.detector.facts.batch, self.detector.network)

    def note(self) -> str:
        """One line on what was compared, for ``Facts.notes``."""
        line = f"gradients: the graph run on torch is within {self.seen:.1g} of ONNX Runtime, allowed {RELATIVE:g}"
        if self.converted is not None:
            line += f"; it was converted from opset {self.converted} to {OLDEST} (onnx.version_converter)"
        if not self.spread:
            return line
        return f"{line}; in float32, from which half precision is {self.spread:.1g} away, allowed {self.allowed:.1g}"


def twin(graph: GraphSource, facts: Facts, target_layer: str | None, device: torch.device, notes: Notes) -> Twin:
    """The differentiable form of ``graph``, compared with ONNX Runtime, and what was found in ``notes``.

    Raises :class:`Refused` with the reason where there can be none, and :class:`ModelError` for a ``target_layer``
    that does not exist or does not lie on the picture.
    """
    if graph.source.preprocessing.number == "uint8":
        raise Refused("pictures are rounded to uint8 at the input, and rounding has no gradient")
    noise = check_pictures(graph.source, device)
    with _costing_no_black_box():
        found = _compared(graph, facts, device, noise)
    with _costing_no_black_box(ModelError), _full_float32():
        able = with_capabilities(found.detector, target_layer, True, noise, notes)
    return replace(found, detector=able)


@contextmanager
def _costing_no_black_box(*known: type[Exception]) -> Iterator[None]:
    """Whatever goes wrong within, but for what is ``known`` to be the user's mistake, is a reason for no gradients."""
    passing: tuple[type[Exception], ...] = (Refused, *known)
    try:
        yield
    except passing:
        raise
    except Exception as error:
        raise Refused(f"the graph does not run on torch: {type(error).__name__}: {one_line(error)}") from error


def with_grey(noise: Tensor) -> Tensor:
    """The same number of pictures with a grey one at the end, as a graph may take no other number; one picture and a
    grey one where there was one."""
    grey = torch.full_like(noise[:1], 0.5)
    return torch.cat((noise[:-1] if len(noise) > 1 else noise, grey))


def share_of(ours: Tensor, theirs: Tensor) -> float:
    """max|ours - theirs| / max|theirs|: 0 where both are all 0, infinite where one is not finite."""
    difference, reference = float((ours.double() - theirs.double()).abs().max()), float(theirs.double().abs().max())
    if not (ours.isfinite().all() and theirs.isfinite().all()):
        return 0.0 if torch.equal(ours, theirs) else float("inf")
    if difference == 0:
        return 0.0
    return difference / reference if reference else float("inf")


def opset_of(model: onnx.ModelProto) -> int:
    """The version of ONNX's own operators that a model uses."""
    return max((int(o.version) for o in model.opset_import if o.domain in ("", "ai.onnx")), default=1)


def _differing(node: str, share: float, allowed: float) -> str:
    return f"{node} (logits: {share:.2g} of the largest, allowed {allowed:.2g})"


# ---- the graph as a detector's network --------------------------------------------------------------------------


class GraphNetwork(NamedLayers):
    """One tensor of an ONNX graph as a network whose layers go by the names of the graph's tensors."""

    def __init__(self, graph: GraphModule, tensor: str, hidden: frozenset[str]) -> None:
        super().__init__()
        self.graph, self.tensor, self.hidden = graph, tensor, hidden

    def forward(self, x: Tensor) -> Tensor:
        return run(self.graph, x, (self.tensor,))[0]

    def named_layers(self) -> dict[str, nn.Module]:
        """Every tensor that a node gives, those of one node with its first result last."""
        nodes: dict[str, list[str]] = {}
        for tensor, child in self.graph.layers.items():
            nodes.setdefault(child, []).append(tensor)
        return {t: self.graph.get_submodule(child) for child, results in nodes.items() for t in reversed(results)}

    def position(self, layer: str) -> int:
        """Which of the results of its node a tensor is."""
        return self._positions[layer]

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {
            tensor: cast("Node", self.graph.get_submodule(child)).results.index(self.graph.inner_name(tensor))
            for tensor, child in self.graph.layers.items()
        }


def run(graph: GraphModule, x: Tensor, names: Sequence[str]) -> tuple[Tensor, ...]:
    """The tensors of these names for one batch of the graph's input."""
    found = graph(x, tuple(names))
    return (found,) if isinstance(found, Tensor) else tuple(found)


def _compared(graph: GraphSource, facts: Facts, device: torch.device, noise: Tensor) -> Twin:
    """The graph as a network, if it equals ONNX Runtime on noise and grey; what it gives is not yet known."""
    pictures = with_grey(noise)
    model = _plain(graph)
    before = opset_of(model)
    loaded, model = _loaded(model, graph.folder)
    converted = before if opset_of(model) != before else None
    module = GraphNetwork(loaded, graph.tensor, hidden_tensors(model.graph))
    source = _in_float32(graph.source) if graph.half else graph.source
    network = Network(module=frozen(module), source=source, device=device)
    blame = Blame(graph=module.graph, model=model, source=source, device=device, start=graph.start)
    reference = graph.reference(pictures)
    precise = _values(graph.start(model), graph.tensor, source, pictures) if graph.half else reference
    spread = share_of(reference, precise) if graph.half else 0.0
    if spread > MOST_SPREAD:
        raise Refused(
            f"in half precision the logits lie {spread:.2g} of the largest from those in float32, allowed {MOST_SPREAD}"
        )
    try:
        with _full_float32():
            network = in_memory(network, noise)
        detector = TorchDetector(facts=facts, network=network, outputs=graph.outputs, copy=copy.deepcopy)
        found = Twin(detector=detector, allowed=RELATIVE, blame=blame)
        seen = share_of(found.values(pictures), precise)
    except Exception as error:  # a node fails on torch, where ONNX Runtime ran it
        raise Refused(f"{blame(pictures)}: {one_line(error)}") from error
    if seen > RELATIVE and converted is not None:
        raise Refused(
            f"converted from opset {converted} to {OLDEST} it gives other logits ({seen:.2g} of the largest, allowed "
            f"{RELATIVE:.2g}); {_OPSET_MEND}"
        )
    if seen > RELATIVE:
        raise Refused(_differing(blame(pictures), seen, RELATIVE))
    allowed = RELATIVE + 2 * max(spread, HALF_EPSILON) if graph.half else RELATIVE
    return replace(found, allowed=allowed, seen=seen, spread=spread, converted=converted)


def _loaded(model: onnx.ModelProto, folder: Path) -> tuple[GraphModule, onnx.ModelProto]:
    """The graph on torch, and the model that it was made of: ``model`` itself, or converted to a later opset."""
    from xaibench_models.onnx_graph import UnsupportedGraph, load_graph

    try:
        return load_graph(model, folder), model
    except UnsupportedGraph as error:
        if (opset := opset_of(model)) >= OLDEST or not error.by_opset:
            raise Refused(_shown(error)) from None
    converted = _converted(model, opset)
    try:
        return load_graph(converted, folder), converted
    except UnsupportedGraph as error:
        raise Refused(f"{_shown(error)}, after conversion from opset {opset} to {OLDEST}") from None


def _shown(error: UnsupportedGraph) -> str:
    if error.by_layout:
        return f"{error.by_layout[0]}: {_LAYOUT_MEND}"
    more = len(error.problems) - _SHOWN
    reason = "; ".join(str(problem) for problem in error.problems[:_SHOWN])
    return f"{reason}; and {more} more" if more > 0 else reason


def _converted(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """The same in the oldest opset that is claimed, its outputs with their types, which the converter needs."""
    if any(weight.external_data for weight in model.graph.initializer):
        raise Refused(f"opset {opset} is below {OLDEST} and weights lie outside the file; {_OPSET_MEND}")
    typed = onnx.ModelProto()
    typed.CopyFrom(model)
    for output in typed.graph.output:
        if not output.type.tensor_type.elem_type:
            output.type.tensor_type.elem_type = TensorProto.FLOAT
    try:
        return version_converter.convert_version(typed, OLDEST)
    except Exception as error:  # the converter's errors share no base class
        reason = one_line(error)[:_LONGEST_REASON]
        raise Refused(
            f"opset {opset} is below {OLDEST}, and onnx.version_converter cannot convert it ({reason}); {_OPSET_MEND}"
        ) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Blame:
    """Names the first node in which a graph on torch differs from ONNX Runtime on some pictures."""

    graph: GraphModule
    model: onnx.ModelProto
    source: ModelInput
    device: torch.device
    start: Start

    def __call__(self, images: Tensor) -> str:
        batch = self.source.batch
        step = batch.fixed or batch.maximum or len(images)
        rows = torch.arange(step).clamp(max=len(images) - 1) if batch.fixed else torch.arange(min(step, len(images)))
        x = self.source.preprocessing(images[rows].to(self.device))
        with torch.no_grad(), _full_float32():
            return first_difference(self.graph, self.model, self.start, x)


def _plain(graph: GraphSource) -> onnx.ModelProto:
    """The model in float32 and without functions of its own, so that every tensor has one name everywhere."""
    model = widened(graph.model, graph.folder) if graph.half else graph.model
    return inliner.inline_local_functions(model) if model.functions else model


def _in_float32(source: ModelInput) -> ModelInput:
    number = "float32" if source.preprocessing.number == "float16" else source.preprocessing.number
    return replace(source, preprocessing=replace(source.preprocessing, number=number))


def _values(runner: OrtRunner, tensor: str, source: ModelInput, pictures: Tensor) -> Tensor:
    def call(part: Tensor) -> Tensor:
        return as_columns(runner(source.preprocessing(part), tensor), len(part))

    return in_batches(pictures, source.batch, call)


@contextmanager
def _full_float32() -> Iterator[None]:
    """Without TF32, which rounds a GPU's products to ten binary digits and would pass for an error."""
    cudnn, cuda = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, cuda.allow_tf32
    cudnn.allow_tf32 = cuda.allow_tf32 = False
    try:
        yield
    finally:
        cudnn.allow_tf32, cuda.allow_tf32 = before


# ---- finding the node -------------------------------------------------------------------------------------------


def first_difference(graph: GraphModule, model: onnx.ModelProto, start: Start, x: Tensor) -> str:
    """The first node in the graph's order whose output is not ONNX Runtime's, and by how much.

    ``x`` is a batch of the graph's input. Where every inner tensor lies within 1e-4 of its own largest value, and only
    the sum of the differences does not, it says so.
    """
    given = {o: node for node in model.graph.node for o in node.output if o in graph.layers}
    names = [name for name in given if given[name].op_type != "Constant"]
    broken = bisect_left(range(len(names)), True, key=lambda i: _fails(graph, x, names[: i + 1]))
    theirs = _inner(model, start, x, names[: broken + 1])
    for name, mine in zip(names, run(graph, x, names[:broken]) if broken else (), strict=False):
        if (text := _difference(mine, theirs[name])) is not None:
            return f"{_called(given[name])} gives other values than in ONNX Runtime: {text}"
    if broken < len(names):
        return f"{_called(given[names[broken]])} fails on torch"
    return "no single node differs from ONNX Runtime, but their differences add up"


def _called(node: onnx.NodeProto) -> str:
    return f"{node.op_type} node '{node.name or node.output[0]}'"


def _fails(graph: GraphModule, x: Tensor, names: Sequence[str]) -> bool:
    try:
        run(graph, x, names)
    except Exception:  # what kind of failure is for the caller to say
        return True
    return False


def _inner(model: onnx.ModelProto, start: Start, x: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
    """Inner tensors from ONNX Runtime, by adding them to the outputs of a copy of the model."""
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    known = {o.name for o in watched.graph.output}
    watched.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in known)
    runner = start(watched)
    values = runner.session.run(list(names), {runner.input: x.cpu().numpy()})
    return {name: torch.from_numpy(np.asarray(value)) for name, value in zip(names, values, strict=True)}


def _difference(ours: Tensor, theirs: Tensor) -> str | None:
    """How two tensors differ, None where they do not."""
    if ours.shape != theirs.shape:
        return f"shape {tuple(ours.shape)}, not {tuple(theirs.shape)}"
    if not ours.numel():
        return None
    theirs = theirs.to(ours.device)
    if not ours.is_floating_point():
        return None if torch.equal(ours, theirs) else "other whole numbers"
    if share_of(ours, theirs) <= RELATIVE:
        return None
    largest = float((ours.double() - theirs.double()).abs().max())
    return f"largest difference {largest:.3g} where values reach {float(theirs.double().abs().max()):.3g}"
