"""A graph as a torch module that runs, and is differentiated, tensor by named tensor."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from xaibench_models.onnx_graph.node import Node


@dataclass(frozen=True, slots=True)
class Step:
    """One call: the child module, the tensors it is called with and those it gives ("" for one left out)."""

    child: str
    inputs: tuple[str, ...]
    results: tuple[str, ...]


Plan = tuple[tuple[Step, tuple[str, ...]], ...]  # each step, and the tensors that nothing needs after it


class GraphModule(nn.Module):
    """An ONNX graph; make one with :func:`load_graph`.

    Every node of the graph that depends on an input is a child module, in graph order, called ``<operator>_<index>``;
    what depends on constants alone was evaluated at load. ``graph(feed)`` gives the graph's outputs and
    ``graph(feed, names)`` any tensors of it: one tensor where one name is asked for, otherwise a tuple. Only the nodes
    that these need are run, and a tensor is dropped after its last use.

    ``inputs`` and ``outputs`` are the graph's own names; ``layers`` maps every tensor that a node gives to the name of
    its child module, for forward hooks (a node with several outputs gives a tuple).

    Float32 inputs are converted to the precision the graph runs in (float64 after ``double=True`` or ``.double()``).
    Shapes are reckoned with on the CPU, wherever the graph runs.

    Raises :class:`ValueError` where the feed lacks an input or a name is none of the graph's.
    """

    like: Tensor

    def __init__(
        self,
        nodes: Iterable[tuple[Step, Node]],
        inputs: Mapping[str, bool],
        outputs: Sequence[str],
        *,
        constants: Mapping[str, Tensor],
        aliases: Mapping[str, str],
        single: torch.dtype,
    ) -> None:
        """``inputs``: each input and whether it is float32; ``constants``: outputs that depend on no input;
        ``aliases``: further names of tensors."""
        super().__init__()
        self.register_buffer("like", torch.empty(0, dtype=single), persistent=False)
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        self._converted = frozenset(name for name, is_single in inputs.items() if is_single)
        self._aliases = dict(aliases)
        self._constants = {name: f"output_{i}" for i, name in enumerate(constants)}
        for name, attribute in self._constants.items():
            self.register_buffer(attribute, constants[name])
        self._steps: list[Step] = []
        for step, node in nodes:
            self.add_module(step.child, node)
            self._steps.append(step)
        self._giver = {name: step.child for step in self._steps for name in step.results if name}
        self._plans: dict[tuple[str, ...], Plan] = {}

    @property
    def layers(self) -> Mapping[str, str]:
        """Every tensor that a node gives -> the name of its child module, in graph order."""
        names = {inner: name for name, inner in self._aliases.items()}
        return {names.get(inner, inner): child for inner, child in self._giver.items()}

    def inner_name(self, tensor: str) -> str:
        """What the nodes call a tensor of ``layers``."""
        return self._aliases.get(tensor, tensor)

    def forward(
        self, feed: Mapping[str, Tensor] | Tensor, outputs: Sequence[str] | None = None
    ) -> Tensor | tuple[Tensor, ...]:
        """Run the graph on ``feed`` (the single input, or all of them by name)."""
        asked = self.outputs if outputs is None else outputs
        names = tuple(self._aliases.get(name, name) for name in asked)
        values = self._fed(feed)
        if names not in self._plans:
            self._plans[names] = self._plan(names)
        for step, dead in self._plans[names]:
            given = self._modules[step.child](*[values[name] for name in step.inputs])  # type: ignore[misc]
            values.update(zip(step.results, given if isinstance(given, tuple) else (given,), strict=False))
            for name in dead:
                del values[name]
        found = tuple(self._found(values, name) for name in names)
        return found[0] if len(found) == 1 else found

    def _found(self, values: Mapping[str, Tensor], name: str) -> Tensor:
        if name in values:
            return values[name]
        constant: Tensor = getattr(self, self._constants[name])
        return constant

    def _fed(self, feed: Mapping[str, Tensor] | Tensor) -> dict[str, Tensor]:
        if isinstance(feed, Tensor):
            if len(self.inputs) != 1:
                raise ValueError(f"the graph has the inputs {', '.join(self.inputs)}: give each by name")
            feed = {self.inputs[0]: feed}
        missing, unknown = set(self.inputs) - set(feed), set(feed) - set(self.inputs)
        if missing or unknown:
            raise ValueError(f"inputs missing: {sorted(missing)}, inputs unknown to the graph: {sorted(unknown)}")
        return {name: t.to(self.like.dtype) if name in self._converted else t for name, t in feed.items()}

    def _plan(self, names: tuple[str, ...]) -> Plan:
        """The steps that ``names`` need, walking backwards; a tensor dies where it is met first."""
        known = {*self._giver, *self._constants, *self.inputs}
        unknown = [name for name in names if name not in known]
        if unknown:
            raise ValueError(f"the graph has no tensor {', '.join(unknown)} that depends on its inputs")
        needed, plan = set(names), list[tuple[Step, tuple[str, ...]]]()
        for step in reversed(self._steps):
            if needed.isdisjoint(step.results):
                continue
            dead = {name for name in step.results if name not in needed}
            dead.update(name for name in step.inputs if name not in needed)
            needed.update(step.inputs)
            plan.append((step, tuple(sorted(dead & {*step.inputs, *step.results}))))
        return tuple(reversed(plan))
