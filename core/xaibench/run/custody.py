"""What a component is handed and may not change: tensors, and the networks of a detector.

A copy of each is kept while a component runs. A version counter tells at once that torch changed a tensor in place; the
comparison with the copy tells of what goes past the counter, such as ``tensor.numpy()``, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from functools import partial
from types import FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

_SLOTS = (
    "_parameters", "_buffers", "_modules", "_forward_hooks", "_forward_pre_hooks", "_backward_hooks",
    "_backward_pre_hooks", "_state_dict_hooks", "_load_state_dict_pre_hooks",
)  # fmt: skip
_HOOKS = frozenset(name for name in _SLOTS if name.endswith("hooks"))
_LIMIT = 200_000  # objects looked at in a detector


@dataclass(slots=True)
class _HeldTensor:
    """A tensor, its copy, and the version at which they were equal."""

    what: str
    tensor: Tensor
    copy: Tensor
    version: int

    @staticmethod
    def of(what: str, tensor: Tensor) -> _HeldTensor:
        return _HeldTensor(what, tensor, tensor.detach().clone(), tensor._version)

    @property
    def counted(self) -> bool:
        """Whether torch changed it in place since it was copied."""
        return self.tensor._version != self.version

    @property
    def changed(self) -> bool:
        return self.tensor.shape != self.copy.shape or not _same_bytes(self.tensor.detach(), self.copy)

    def take_again(self) -> None:
        """Copy it as it is now."""
        self.copy, self.version = self.tensor.detach().clone(), self.tensor._version

    def restore(self) -> None:
        with torch.no_grad():
            if self.tensor.shape != self.copy.shape or self.tensor.dtype != self.copy.dtype:
                self.tensor.data = self.copy.clone()
            else:
                self.tensor.data.copy_(self.copy)
        self.version = self.tensor._version


class NetworkCustody:
    """Copies of what one detector computes with: weights, buffers, further tensors and arrays, and its modules."""

    def __init__(self, detector: Any) -> None:
        parts = _parts(detector)
        self._modules = [(module, _module_state(module)) for module in parts.modules]
        self._weights: dict[int, _HeldTensor] = {}
        for module in parts.modules:
            for kind, held in (("weight", module._parameters), ("buffer", module._buffers)):
                for key, tensor in held.items():
                    if tensor is not None:
                        what = f"the {kind} {key} of {type(module).__name__}"
                        self._weights[id(tensor)] = _HeldTensor.of(what, tensor)
        for tensor in parts.tensors:
            if id(tensor) not in self._weights:
                self._weights[id(tensor)] = _HeldTensor.of("a tensor of the detector", tensor)
        self._arrays = [(array, array.copy()) for array in parts.arrays]

    def accept_calls(self) -> None:
        """Take what a detector's own calls changed in place, such as a buffer that counts them, as it is now."""
        for held in self._weights.values():
            if held.counted:
                held.take_again()

    def counted_changes(self) -> Iterator[str]:
        yield from _counted(self._weights)
        yield from self._module_changes()

    def changes(self) -> Iterator[str]:
        yield from _changed(self._weights)
        if any(not np.array_equal(array, copy, equal_nan=array.dtype.kind in "fc") for array, copy in self._arrays):
            yield "changed an array of the detector in place"
        yield from self._module_changes()

    def _module_changes(self) -> Iterator[str]:
        for module, before in self._modules:
            yield from _module_changes(module, before)

    def restore(self) -> None:
        for module, before in self._modules:
            _restore_module(module, before)
        _restore(self._weights)
        for array, copy in self._arrays:
            if not np.array_equal(array, copy, equal_nan=array.dtype.kind in "fc"):
                array.flags.writeable = True
                array[...] = copy


class Custody:
    """Copies of tensors that components are handed, and of the detectors that they use.

    ``hold`` adds tensors. :meth:`changes` names what a component changed, values compared; :meth:`counted_changes` what
    is known without that: version counters, hooks, modes and parts of modules. :meth:`restore` sets all of it back.
    """

    def __init__(self, *networks: NetworkCustody) -> None:
        self._networks = list(networks)
        self._shared: dict[int, _HeldTensor] = {}

    def add(self, network: NetworkCustody) -> None:
        """Look after one more detector."""
        if network not in self._networks:
            self._networks.append(network)

    def hold(self, tensors: Iterable[tuple[str, Tensor | None]]) -> None:
        """Keep copies of tensors that are handed to components, each with its name in messages."""
        for what, tensor in tensors:
            if tensor is not None and id(tensor) not in self._shared:
                self._shared[id(tensor)] = _HeldTensor.of(what, tensor)

    def accept_calls(self) -> None:
        for network in self._networks:
            network.accept_calls()

    def counted_changes(self) -> Iterator[str]:
        yield from _counted(self._shared)
        for network in self._networks:
            yield from network.counted_changes()

    def changes(self) -> Iterator[str]:
        yield from _changed(self._shared)
        for network in self._networks:
            yield from network.changes()

    def restore(self) -> None:
        _restore(self._shared)
        for network in self._networks:
            network.restore()


def _counted(tensors: Mapping[int, _HeldTensor]) -> Iterator[str]:
    return (f"changed {h.what} in place" for h in tensors.values() if h.counted)


def _changed(tensors: Mapping[int, _HeldTensor]) -> Iterator[str]:
    return (f"changed {h.what} in place" for h in tensors.values() if h.changed)


def _restore(tensors: Mapping[int, _HeldTensor]) -> None:
    for held in tensors.values():
        if held.counted or held.changed:
            held.restore()


@dataclass(frozen=True, slots=True)
class _Parts:
    modules: list[nn.Module]
    tensors: list[Tensor]
    arrays: list[np.ndarray[Any, Any]]


def _parts(root: Any) -> _Parts:
    """Every module, tensor and array that can be reached from an object through attributes and containers."""
    found, seen, waiting = _Parts([], [], []), set[int](), [root]
    while waiting and len(seen) < _LIMIT:
        thing = waiting.pop()
        if id(thing) in seen or isinstance(thing, _ATOMS):
            continue
        seen.add(id(thing))
        if isinstance(thing, Tensor):
            if type(thing) in (Tensor, nn.Parameter) and thing.layout is torch.strided and not thing.is_meta:
                found.tensors.append(thing)
        elif isinstance(thing, np.ndarray):
            if thing.dtype.kind in "biufc":
                found.arrays.append(thing)
        else:
            if isinstance(thing, nn.Module):
                found.modules.append(thing)
            waiting += _inside(thing)
    return found


_ATOMS = (str, bytes, int, float, complex, bool, type(None), type, ModuleType, torch.dtype, torch.device)


def _inside(thing: Any) -> list[Any]:
    if isinstance(thing, Mapping):
        return [*thing.values()]
    if isinstance(thing, list | tuple | Set):
        return [*thing]
    if isinstance(thing, MethodType):
        return [thing.__self__]
    if isinstance(thing, partial):
        return [thing.func, *thing.args, *thing.keywords.values()]
    if isinstance(thing, FunctionType):
        return [_cell_content(cell) for cell in thing.__closure__ or ()]
    inside = [*vars(thing).values()] if hasattr(thing, "__dict__") else []
    slots = (name for kind in type(thing).__mro__ for name in _names(getattr(kind, "__slots__", ())))
    return inside + [value for name in slots if (value := _slot(thing, name)) is not None]


def _names(slots: Any) -> tuple[str, ...]:
    return (slots,) if isinstance(slots, str) else tuple(slots)


def _slot(thing: Any, name: str) -> Any:
    try:
        return object.__getattribute__(thing, name)
    except AttributeError:
        return None


def _cell_content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return None


def _module_state(module: nn.Module) -> Mapping[str, Any]:
    state: dict[str, Any] = {name: dict(held) for name in _SLOTS if (held := getattr(module, name, None)) is not None}
    return state | {"training": module.training, "forward": vars(module).get("forward"), "class": type(module)}


def _module_changes(module: nn.Module, before: Mapping[str, Any]) -> Iterator[str]:
    name = type(module).__name__
    if module.training != before["training"]:
        yield f"switched {name} to {'training' if module.training else 'evaluation'} mode"
    if type(module) is not before["class"] or vars(module).get("forward") is not before["forward"]:
        yield f"replaced the forward of {before['class'].__name__}"
    for slot in _SLOTS:
        if slot in before and not _same_items(getattr(module, slot), before[slot]):
            yield f"left a hook on {name}" if slot in _HOOKS else f"replaced {slot.strip('_')} of {name}"


def _same_items(now: Mapping[Any, Any], before: Mapping[Any, Any]) -> bool:
    return len(now) == len(before) and all(key in now and now[key] is value for key, value in before.items())


def _restore_module(module: nn.Module, before: Mapping[str, Any]) -> None:
    if type(module) is not before["class"]:
        module.__class__ = before["class"]
    if vars(module).get("forward") is not before["forward"]:
        if before["forward"] is None:
            vars(module).pop("forward", None)
        else:
            vars(module)["forward"] = before["forward"]
    for slot in _SLOTS:
        if slot in before and not _same_items(held := getattr(module, slot), before[slot]):
            held.clear()
            held.update(before[slot])
    if module.training != before["training"]:
        module.training = before["training"]  # of this module alone: train() would switch those inside it


def _same_bytes(first: Tensor, second: Tensor) -> bool:
    """Whether two tensors of one shape hold the same bits, NaN included."""
    if first.dtype != second.dtype:
        return False
    if torch.equal(first, second):
        return True
    if not (first.is_floating_point() or first.is_complex()):
        return False
    return torch.equal(first.reshape(-1).view(torch.uint8), second.reshape(-1).view(torch.uint8))
