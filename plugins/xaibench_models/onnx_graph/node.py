"""One node of a graph as a torch module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import onnx
import torch
from torch import Tensor, nn

from xaibench_models.onnx_graph.registration import Operator
from xaibench_models.onnx_graph.types import TORCH, to_torch

_CHANNELS_FIRST = frozenset(
    {"Conv", "FusedConv", "ConvTranspose", "BatchNormalization", "InstanceNormalization", "GroupNormalization"}
    | {"MaxPool", "AveragePool", "LpPool", "GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"}
)
_OVER_ONE_AXIS = frozenset({"LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization"})
_DYNAMIC, _MISSING = "dynamic", "missing"  # sources of an argument; anything else is the name of a constant


class Node(nn.Module):
    """A node: called with its dynamic inputs, it gives its output, or a tuple of its outputs.

    Constant inputs are its own: floating-point ones frozen parameters (``constant_<position>``), integers buffers,
    and those that are read as numbers (axes, shapes) stay on the CPU. Where inputs lie on several devices (a shape
    computed on the CPU meets a picture on the GPU) the data moves to the accelerator.

    ``operator``, ``label`` (the ONNX node's name), ``attributes``, ``version`` (opset of the definition in force),
    ``results`` (names of the outputs, "" for one left out), ``pools``, ``projects`` describe it.
    """

    pools: bool = False
    projects: bool = False
    like: Tensor

    def __init__(
        self, proto: onnx.NodeProto, spec: Operator, version: int, single: torch.dtype, results: Sequence[str]
    ) -> None:
        super().__init__()
        self.operator = spec.claim.operator
        self.label = proto.name or next(filter(None, proto.output), "")
        self.attributes: Mapping[str, Any] = {a.name: onnx.helper.get_attribute_value(a) for a in proto.attribute}
        self.version = version
        self.results = tuple(results)
        self.pools = spec.pools
        self.host = spec.host
        self.run = spec.run
        self.sources: list[str] = []
        self.kept: dict[str, Tensor] = {}  # constants that stay on the CPU
        # what a float32 of the graph is: .double() and .half() change it, and casts and types follow
        self.register_buffer("like", torch.empty(0, dtype=single), persistent=False)

    def bind(self, inputs: Sequence[Tensor | str | None], on_host: bool) -> None:
        """Take the inputs in order: a constant tensor, the name of a dynamic tensor, or None for one left out."""
        for position, value in enumerate(inputs):
            if value is None:
                self.sources.append(_MISSING)
            elif isinstance(value, str):
                self.sources.append(_DYNAMIC)
            else:
                self.sources.append(self._keep(f"constant_{position}", value, on_host or position in self.host))

    def _keep(self, name: str, value: Tensor, on_host: bool) -> str:
        if on_host:
            self.kept[name] = value
        elif isinstance(value, nn.Parameter):
            self.register_parameter(name, value)
        else:
            self.register_buffer(name, value)
        return name

    def constant(self, position: int) -> Tensor | None:
        """The constant at an input position, or None where that input is left out or dynamic."""
        name = self.sources[position] if position < len(self.sources) else _MISSING
        if name in (_DYNAMIC, _MISSING):
            return None
        value: Tensor = self.kept[name] if name in self.kept else getattr(self, name)
        return value

    def given(self, position: int) -> bool:
        """Whether the input is there, constant or not."""
        return position < len(self.sources) and self.sources[position] != _MISSING

    def wants(self, position: int) -> bool:
        """Whether the graph uses this output."""
        return position < len(self.results) and self.results[position] != ""

    def forward(self, *dynamic: Tensor) -> Any:
        """Run the operator on the dynamic inputs."""
        return self.run(self, *self._gather(dynamic))

    def _gather(self, dynamic: Sequence[Tensor]) -> list[Tensor | None]:
        given = iter(dynamic)
        values = [next(given) if source == _DYNAMIC else self.constant(i) for i, source in enumerate(self.sources)]
        data = [(i, v) for i, v in enumerate(values) if v is not None and i not in self.host]
        away = next((v.device for _, v in data if v.device.type != "cpu"), None)
        for i, v in data if away is not None else ():
            values[i] = v.to(away)
        return values

    @property
    def channels(self) -> Literal["first", "last"] | None:
        """The axis of four over which the node computes as over channels; None where it says nothing of it."""
        kind = self.operator.rpartition("::")[2]
        if kind in _CHANNELS_FIRST or self.integers("perm") == [0, 3, 1, 2]:
            return "first"
        last = self.projects or (kind in _OVER_ONE_AXIS and self.integer("axis", -1) in (-1, 3))
        return "last" if last or self.integers("perm") == [0, 2, 3, 1] else None

    # attributes -----------------------------------------------------------------------------------------------

    def integer(self, name: str, default: int = 0) -> int:
        """An integer attribute."""
        return int(self.attributes.get(name, default))

    def real(self, name: str, default: float = 0.0) -> float:
        """A floating-point attribute."""
        return float(self.attributes.get(name, default))

    def text(self, name: str, default: str = "") -> str:
        """A string attribute."""
        value = self.attributes.get(name, default)
        return value.decode() if isinstance(value, bytes) else str(value)

    def integers(self, name: str) -> list[int] | None:
        """A list of integers, or None where the attribute is left out."""
        value = self.attributes.get(name)
        return None if value is None else list(value)

    def dtype(self, element: int) -> torch.dtype:
        """The torch type of an ONNX element type; float32 is whatever precision the graph runs in."""
        return self.like.dtype if TORCH[element] == torch.float32 else TORCH[element]

    def tensor(self, name: str) -> Tensor | None:
        """A tensor attribute."""
        value = self.attributes.get(name)
        return None if value is None else to_torch(value, self.like.dtype)

    def extra_repr(self) -> str:
        """The operator and the ONNX node's name."""
        return f"{self.operator}, {self.label}"


def numbers(tensor: Tensor) -> list[Any]:
    """A 1-D tensor (or a scalar) of shapes, axes or bounds as Python numbers."""
    return tensor.reshape(-1).tolist()
