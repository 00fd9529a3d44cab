"""The state of the process that all components share: taken, compared and set back.

Of the environment, torch, NumPy and Python it covers what a component changes by a forgotten line and what another
component's numbers or life depend on.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

_Value = Any
_Facet = tuple[Callable[[], _Value], Callable[[_Value], object]]


def _environment() -> dict[str, str]:
    return dict(os.environ)


def _set_environment(before: Mapping[str, str]) -> None:
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ.update({k: v for k, v in before.items() if os.environ.get(k) != v})


def _handlers() -> dict[int, Any]:
    return {number: handler for number in _SIGNALS if (handler := signal.getsignal(number)) is not None}


def _set_handlers(before: Mapping[int, Any]) -> None:
    if threading.current_thread() is threading.main_thread():  # another thread can set none
        for number, handler in before.items():
            if signal.getsignal(number) != handler:
                signal.signal(number, handler)


def _torch_random() -> bytes:
    return torch.get_rng_state().numpy().tobytes()


def _set_torch_random(before: bytes) -> None:
    torch.set_rng_state(torch.frombuffer(bytearray(before), dtype=torch.uint8))


def _numpy_random() -> tuple[Any, ...]:
    kind, keys, *rest = np.random.get_state(legacy=True)
    return (kind, np.asarray(keys).tobytes(), *rest)


def _set_numpy_random(before: tuple[Any, ...]) -> None:
    kind, keys, *rest = before
    np.random.set_state((kind, np.frombuffer(keys, dtype=np.uint32), *rest))


def _autocast() -> tuple[Any, ...]:
    return tuple((kind, torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)) for kind in ("cpu", "cuda"))


def _set_autocast(before: tuple[Any, ...]) -> None:
    for kind, enabled, dtype in before:
        torch.set_autocast_enabled(kind, enabled)
        torch.set_autocast_dtype(kind, dtype)


def _deterministic() -> tuple[bool, bool]:
    return torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()


def _cudnn() -> tuple[Any, ...]:
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    return cudnn.enabled, cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32, matmul.allow_tf32


def _set_cudnn(before: tuple[Any, ...]) -> None:
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    cudnn.enabled, cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32, matmul.allow_tf32 = before


def _global_hooks() -> tuple[dict[int, Any], ...]:
    module = torch.nn.modules.module
    return tuple(dict(getattr(module, name)) for name in _HOOKS_OF_ALL_MODULES)


def _set_global_hooks(before: tuple[dict[int, Any], ...]) -> None:
    module = torch.nn.modules.module
    for name, hooks in zip(_HOOKS_OF_ALL_MODULES, before, strict=True):
        held = getattr(module, name)
        held.clear()
        held.update(hooks)


def _set_streams(before: tuple[Any, ...]) -> None:
    sys.stdin, sys.stdout, sys.stderr = before


def _set_tracing(before: tuple[Any, ...]) -> None:
    sys.settrace(before[0])
    sys.setprofile(before[1])


def _set_search(before: list[str]) -> None:
    sys.path[:] = before


def _set_warnings(before: list[Any]) -> None:
    warnings.filters[:] = before  # type: ignore[index]


def _set_inference(before: bool) -> None:
    # The guard works as long as it lives, and the one that was left open may outlive every function.
    _INFERENCE.append(torch._C._InferenceMode(before))


_INFERENCE: list[Any] = []
_SIGNALS = [
    number for name in ("INT", "TERM", "HUP", "QUIT", "ALRM", "VTALRM", "PROF", "USR1", "USR2", "PIPE", "CHLD", "ABRT",
                        "SEGV", "FPE", "ILL", "BUS")
    if (number := getattr(signal, f"SIG{name}", None)) is not None
]  # fmt: skip
_HOOKS_OF_ALL_MODULES = tuple(
    name for name in vars(torch.nn.modules.module) if name.startswith("_global_") and name.endswith("hooks")
)
_FACETS: Mapping[str, _Facet] = {
    "whether gradients are computed": (torch.is_grad_enabled, torch.set_grad_enabled),
    "inference mode": (torch.is_inference_mode_enabled, _set_inference),
    "torch's default dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "torch's default device": (lambda: str(torch.get_default_device()), torch.set_default_device),
    "torch's number of threads": (torch.get_num_threads, torch.set_num_threads),
    "torch's random state": (_torch_random, _set_torch_random),
    "NumPy's random state": (_numpy_random, _set_numpy_random),
    "Python's random state": (random.getstate, random.setstate),
    "the environment": (_environment, _set_environment),
    "signal handlers": (_handlers, _set_handlers),
    "the working directory": (os.getcwd, os.chdir),
    "torch's autocast": (_autocast, _set_autocast),
    "torch's deterministic algorithms": (
        _deterministic,
        lambda before: torch.use_deterministic_algorithms(before[0], warn_only=before[1]),
    ),
    "torch's precision of matrix products": (
        torch.get_float32_matmul_precision,
        torch.set_float32_matmul_precision,
    ),
    "cuDNN's settings": (_cudnn, _set_cudnn),
    "anomaly detection": (torch.is_anomaly_enabled, torch.set_anomaly_enabled),
    "hooks of all modules": (_global_hooks, _set_global_hooks),
    "standard streams": (lambda: (sys.stdin, sys.stdout, sys.stderr), _set_streams),
    "tracing": (lambda: (sys.gettrace(), sys.getprofile()), _set_tracing),
    "the recursion limit": (sys.getrecursionlimit, sys.setrecursionlimit),
    "NumPy's handling of errors": (np.geterr, lambda before: np.seterr(**before)),
    "the search path of modules": (lambda: list(sys.path), _set_search),
    "warning filters": (lambda: list(warnings.filters), _set_warnings),
}
_QUIET = ("the search path of modules", "warning filters")
"""What importing a library changes lawfully: set back, and no fault."""


@dataclass(frozen=True)
class ProcessState:
    """The state at one moment."""

    values: Mapping[str, _Value]

    @staticmethod
    def take() -> ProcessState:
        return ProcessState({name: get() for name, (get, _) in _FACETS.items()})

    def changes(self) -> Iterator[str]:
        """What is different now."""
        for name, (get, _) in _FACETS.items():
            if name not in _QUIET and get() != self.values[name]:
                yield name

    def restore(self) -> None:
        """Set everything back."""
        for name, (get, put) in _FACETS.items():
            if get() != self.values[name]:
                put(self.values[name])
