"""A device of torch that is not there: it computes on the CPU, and behaves as a GPU does where a program could go wrong.

``fakegpu`` is registered under torch's key for foreign backends. Its tensors hold a CPU tensor each. As on a GPU

* an operator refuses tensors of another device, except single numbers, and indices, which are copied;
* ``numpy()`` is refused;
* reading a value on the host, or copying between host and device without ``non_blocking``, waits for the device. Such a
  synchronisation is counted under :func:`counted`, with the line of xaibench that asked for it.

What torch's CUDA operators wait for by themselves (``nonzero``, indexing by a mask, ``equal``, ``bincount``, ``unique``)
is listed in :data:`WAITING`, after torch's ``torch.cuda.set_sync_debug_mode``.

A detector of plain torch goes there with ``.to(DEVICE)``. Threads, streams and memory are not imitated.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, wraps
from pathlib import Path
from typing import Any

import torch
import torch.utils.backend_registration
from torch import Tensor, library
from torch.utils._pytree import tree_leaves, tree_map

NAME = "fakegpu"
ALONE = "XAIBENCH_FAKE_DEVICE"
"""Variable of a process whose tests may register the device; see ``tests/core/detector/test_fake_device.py``."""
ROOT = Path(__file__).parents[2]

aten = torch.ops.aten
WAITING = frozenset({
    aten._local_scalar_dense, aten.nonzero, aten.masked_select, aten.equal, aten.bincount, aten.unique_consecutive,
    aten._unique2, aten._unique, aten.unique_dim, aten._linalg_check_errors, aten.is_nonzero, aten.histc,
    aten._linalg_eigh, aten._linalg_svd,
})  # fmt: skip
"""Operators that wait for the device whatever their arguments."""
_COPIES = frozenset({aten._to_copy, aten.copy_, aten._copy_from, aten._copy_from_and_resize})
_INDEXING = frozenset({aten.index, aten.index_put_, aten.index_put, aten._index_put_impl_, aten._unsafe_index})
_MAKERS = frozenset({aten.lift_fresh, aten.lift, aten.detach, aten.alias})


@dataclass(frozen=True, slots=True)
class Wait:
    """The host waited for the device: ``kind`` is read (the host asks for values), write (a copy to the device that is
    not ``non_blocking``) or inner (the operator asks for values itself). ``line`` is ``file:line``."""

    kind: str
    operator: str
    line: str

    def __str__(self) -> str:
        return f"{self.kind} by {self.operator} at {self.line}"


@dataclass(slots=True)
class Waits:
    """What was counted so far."""

    entries: list[Wait] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.entries)

    def __str__(self) -> str:
        return "\n".join(f"{self.entries.count(wait)} x {wait}" for wait in dict.fromkeys(self.entries)) or "none"

    def lines(self) -> list[str]:
        """``file:line``, once each."""
        return list(dict.fromkeys(wait.line for wait in self.entries))


_counters: list[Waits] = []


@contextmanager
def counted() -> Iterator[Waits]:
    """Count the synchronisations inside the block."""
    waits = Waits()
    _counters.append(waits)
    try:
        yield waits
    finally:
        _counters.remove(waits)


def _count(kind: str, operator: Any) -> None:
    if _counters:
        wait = Wait(kind, str(operator), _line())
        for waits in _counters:
            waits.entries.append(wait)


def _line() -> str:
    """The innermost line of the project, outside this file."""
    for frame in reversed(traceback.extract_stack()):
        path = Path(frame.filename)
        if path != Path(__file__) and path.is_relative_to(ROOT) and ".venv" not in path.parts:
            return f"{path.relative_to(ROOT)}:{frame.lineno}"
    return "outside the project"


class FakeTensor(Tensor):
    """A tensor of the device. ``host`` holds its values on the CPU."""

    host: Tensor

    @staticmethod
    def __new__(cls, host: Tensor) -> FakeTensor:
        tensor: FakeTensor = Tensor._make_wrapper_subclass(
            cls, host.size(), strides=host.stride(), storage_offset=host.storage_offset(), dtype=host.dtype,
            device=torch.device(NAME, 0), requires_grad=False,
        )  # fmt: skip
        tensor.host = host
        return tensor

    def __repr__(self, **_: Any) -> str:
        return f"FakeTensor({self.host!r})"

    def new_tensor(self, data: Any, dtype: Any = None, device: Any = None, **_: Any) -> Tensor:
        return _built(torch.tensor)(data, dtype=dtype or self.dtype, device=device or self.device)

    def __getitem__(self, index: Any) -> Tensor:
        """A list as an index becomes a tensor on the CPU, which is copied."""
        several = index if isinstance(index, tuple) else (index,)
        found: Tensor = super().__getitem__(tuple(torch.tensor(i) if isinstance(i, list) else i for i in several))
        return found

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def numpy(self, **_: Any) -> Any:
        raise TypeError(f"can't convert {NAME} device type tensor to numpy. Use Tensor.cpu() first ({_line()})")

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(func, args, kwargs or {})


def _computed(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The operator on the CPU, its result on the device unless a copy says otherwise."""
    packet = func.overloadpacket
    if torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CompositeImplicitAutograd"):
        return func.decompose(*args, **kwargs)  # under inference_mode torch hands these over undivided
    if packet in _COPIES:
        return _copied(func, args, kwargs)
    if packet in WAITING:
        _count("read" if packet is aten._local_scalar_dense else "inner", func)
    _check_devices(func, args, kwargs)
    keywords = {k: _on_host(k, v) for k, v in kwargs.items()}
    result = func(*tree_map(_host, args), **keywords)
    if packet is aten._local_scalar_dense:
        return result
    return _returned(func, args, result)


def _returned(func: Any, args: tuple[Any, ...], result: Any) -> Any:
    """Tensors of the device; an operator in place returns the tensor that it changed."""
    name = func._schema.name.partition("::")[2]
    if (name.endswith("_") and not name.startswith("_")) or name == "_index_put_impl_":
        return args[0]
    return tree_map(lambda value: FakeTensor(value) if isinstance(value, Tensor) else value, result)


def _host(value: Any) -> Any:
    return value.host if isinstance(value, FakeTensor) else value


def _on_host(key: str, value: Any) -> Any:
    if key == "device" or (isinstance(value, torch.device) and value.type == NAME):
        return torch.device("cpu")
    return tree_map(_host, value)


def _copied(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if func.overloadpacket is aten._to_copy:
        target = kwargs.get("device") or args[0].device
        here, there = isinstance(args[0], FakeTensor), torch.device(target).type == NAME
        waits = here != there and not kwargs.get("non_blocking", False)
        if waits:
            _count("write" if there else "read", func)
        result = func(_host(args[0]), **{**kwargs, "device": torch.device("cpu")})
        result = result.clone() if result is _host(args[0]) else result
        return FakeTensor(result) if there else result
    into, source = args[0], args[1]
    here, there = isinstance(source, FakeTensor), isinstance(into, FakeTensor)
    blocking = not (args[2] if len(args) > 2 else kwargs.get("non_blocking", False))
    if here != there and blocking:
        _count("write" if there else "read", func)
    _host(into).copy_(_host(source))
    return into


def _check_devices(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Refuse tensors of the CPU beside those of the device, as CUDA does; count indices that have to be copied."""
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    strangers = [t for t in tensors if not isinstance(t, FakeTensor)]
    if func.overloadpacket in _INDEXING:
        _check_indices(func, args)
        strangers = [t for t in args[2:3] if isinstance(t, Tensor) and not isinstance(t, FakeTensor) and t.ndim]
        if not isinstance(args[0], FakeTensor):
            strangers = tensors
    if any(t.ndim for t in strangers) and func.overloadpacket not in _MAKERS:
        raise RuntimeError(
            f"{func}: tensors of {NAME} and of the CPU meet at {_line()}: "
            f"{[(t.device.type, tuple(t.shape)) for t in tensors]}"
        )


def _check_indices(func: Any, args: tuple[Any, ...]) -> None:
    value = args[2] if len(args) > 2 else None
    filled = isinstance(value, Tensor) and value.numel() == 1  # index_put_ of one number is a masked fill
    for index in args[1]:
        if isinstance(index, Tensor):
            if not isinstance(index, FakeTensor):
                _count("write", f"{func} with an index on the CPU")
            if index.dtype in (torch.bool, torch.uint8) and not filled:
                _count("inner", f"{func} with a mask")


@cache
def _registered() -> torch.device:
    """Register the backend. A process can do so once."""
    torch.utils.backend_registration._setup_privateuseone_for_python_backend(NAME)
    kernels = library.Library("_", "IMPL")
    torch.tensor, torch.as_tensor = _built(torch.tensor), _built(torch.as_tensor)
    kernels.fallback(lambda func, *args, **kwargs: _made(func, args, kwargs), "PrivateUse1")
    _kernels.append(kernels)
    return torch.device(NAME, 0)


_kernels: list[Any] = []


def _built(maker: Any) -> Any:
    """``torch.tensor`` or ``torch.as_tensor``, whose own copy to a device in Python torch does not support."""

    @wraps(maker)
    def build(data: Any, *, dtype: Any = None, device: Any = None, **options: Any) -> Tensor:
        if device is None or torch.device(device).type != NAME:
            return maker(data, dtype=dtype, device=device, **options)
        return maker(data, dtype=dtype, **options).to(device)

    return build


def _made(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Operators that make tensors, which have no tensor of the device among their arguments."""
    if func.overloadpacket in _COPIES:
        return _copied(func, args, kwargs)
    keywords = {k: _on_host(k, v) for k, v in kwargs.items()}
    return tree_map(lambda v: FakeTensor(v) if isinstance(v, Tensor) else v, func(*tree_map(_host, args), **keywords))


def device() -> torch.device:
    """The device, registered where it is not yet."""
    return _registered()
