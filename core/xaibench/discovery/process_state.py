"""The state of the process that all components share: taken, compared and set back.

Of Python, the environment, NumPy and torch it covers what a component changes by a forgotten line and what another
component's numbers or life depend on. NumPy and torch are looked at where they are loaded: nothing here imports them.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

_UNKNOWN = object()


@dataclass(frozen=True, slots=True)
class _Facet:
    """One part of the state.

    Parameters
    ----------
    get, put: read it, and set it to what ``get`` gave.
    fresh: what it is when its library has just been imported, where that is known.
    is_random: whether it is the state of a random generator.
    is_lawful: whether importing a library may change it: it is no fault then.
    """

    get: Callable[[], Any]
    put: Callable[[Any], object]
    fresh: Any = _UNKNOWN
    is_random: bool = False
    is_lawful: bool = False


# ---- Python ----------------------------------------------------------------------------------------------------------

_ENVIRONMENT = "the environment"
_SIGNALS = [
    number for name in ("INT", "TERM", "HUP", "QUIT", "ALRM", "VTALRM", "PROF", "USR1", "USR2", "PIPE", "CHLD", "ABRT",
                        "SEGV", "FPE", "ILL", "BUS")
    if (number := getattr(signal, f"SIG{name}", None)) is not None
]  # fmt: skip


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


def _set_streams(before: tuple[Any, ...]) -> None:
    sys.stdin, sys.stdout, sys.stderr = before


def _set_tracing(before: tuple[Any, ...]) -> None:
    sys.settrace(before[0])
    sys.setprofile(before[1])


def _set_search(before: list[str]) -> None:
    sys.path[:] = before


def _set_warnings(before: list[Any]) -> None:
    warnings.filters[:] = before  # type: ignore[index]


_OF_PYTHON: Mapping[str, _Facet] = {
    _ENVIRONMENT: _Facet(lambda: dict(os.environ), _set_environment),
    "signal handlers": _Facet(_handlers, _set_handlers),
    "the working directory": _Facet(Path.cwd, os.chdir),
    "standard streams": _Facet(lambda: (sys.stdin, sys.stdout, sys.stderr), _set_streams),
    "tracing": _Facet(lambda: (sys.gettrace(), sys.getprofile()), _set_tracing),
    "the recursion limit": _Facet(sys.getrecursionlimit, sys.setrecursionlimit),
    "Python's random state": _Facet(random.getstate, random.setstate, is_random=True),
    "the search path of modules": _Facet(lambda: list(sys.path), _set_search, is_lawful=True),
    "warning filters": _Facet(lambda: list(warnings.filters), _set_warnings, is_lawful=True),
}


# ---- NumPy and torch -------------------------------------------------------------------------------------------------


@cache
def _of_numpy() -> Mapping[str, _Facet]:
    import numpy as np

    def get_random() -> tuple[Any, ...]:
        kind, keys, *rest = np.random.get_state(legacy=True)
        return (kind, np.asarray(keys).tobytes(), *rest)

    def set_random(before: tuple[Any, ...]) -> None:
        kind, keys, *rest = before
        np.random.set_state((kind, np.frombuffer(keys, dtype=np.uint32), *rest))

    return {
        "NumPy's random state": _Facet(get_random, set_random, is_random=True),
        "NumPy's handling of errors": _Facet(np.geterr, lambda before: np.seterr(**before)),
    }


@cache
def _of_torch() -> Mapping[str, _Facet]:
    import torch

    cudnn, matmul, module = torch.backends.cudnn, torch.backends.cuda.matmul, torch.nn.modules.module
    hooks = [name for name in vars(module) if name.startswith("_global_") and name.endswith("hooks")]
    guards: list[Any] = []

    def set_inference(before: bool) -> None:
        # The guard works as long as it lives, and the one that was left open may outlive every function.
        guards.append(torch._C._InferenceMode(before))

    def get_random() -> bytes:
        return torch.get_rng_state().numpy().tobytes()

    def set_random(before: bytes) -> None:
        torch.set_rng_state(torch.frombuffer(bytearray(before), dtype=torch.uint8))

    def get_autocast() -> tuple[Any, ...]:
        kinds = ("cpu", "cuda")
        return tuple((kind, torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)) for kind in kinds)

    def set_autocast(before: tuple[Any, ...]) -> None:
        for kind, enabled, dtype in before:
            torch.set_autocast_enabled(kind, enabled)
            torch.set_autocast_dtype(kind, dtype)

    def get_deterministic() -> tuple[bool, bool]:
        return torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()

    def get_cudnn() -> tuple[Any, ...]:
        return cudnn.enabled, cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32, matmul.allow_tf32

    def set_cudnn(before: tuple[Any, ...]) -> None:
        cudnn.enabled, cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32, matmul.allow_tf32 = before

    def set_hooks(before: tuple[dict[int, Any], ...]) -> None:
        for name, of_all in zip(hooks, before, strict=True):
            held = getattr(module, name)
            held.clear()
            held.update(of_all)

    return {
        "whether gradients are computed": _Facet(torch.is_grad_enabled, torch.set_grad_enabled, True),
        "inference mode": _Facet(torch.is_inference_mode_enabled, set_inference, False),
        "torch's default dtype": _Facet(torch.get_default_dtype, torch.set_default_dtype, torch.float32),
        "torch's default device": _Facet(lambda: str(torch.get_default_device()), torch.set_default_device, "cpu"),
        "torch's number of threads": _Facet(torch.get_num_threads, torch.set_num_threads),
        "torch's random state": _Facet(get_random, set_random, is_random=True),
        "torch's autocast": _Facet(get_autocast, set_autocast),
        "torch's deterministic algorithms": _Facet(
            get_deterministic,
            lambda before: torch.use_deterministic_algorithms(before[0], warn_only=before[1]),
            (False, False),
        ),
        "torch's precision of matrix products": _Facet(
            torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "highest"
        ),
        "cuDNN's settings": _Facet(get_cudnn, set_cudnn),
        "anomaly detection": _Facet(torch.is_anomaly_enabled, torch.set_anomaly_enabled, False),
        "hooks of all modules": _Facet(lambda: tuple(dict(getattr(module, name)) for name in hooks), set_hooks),
    }


def _facets() -> Mapping[str, _Facet]:
    """The facets of what is loaded. A library that is just being imported is not."""
    found = dict(_OF_PYTHON)
    if hasattr(sys.modules.get("numpy"), "random"):
        found |= _of_numpy()
    if hasattr(sys.modules.get("torch"), "get_default_device"):
        found |= _of_torch()
    return found


# ---- the state -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ProcessState:
    """The state at one moment."""

    values: Mapping[str, Any]

    @staticmethod
    def take() -> ProcessState:
        return ProcessState({name: facet.get() for name, facet in _facets().items()})

    def changes(self, *, random: bool = True) -> list[str]:
        """What is different now. ``random``: states of random generators, too."""
        return [
            name
            for name, facet in self._changed()
            if not facet.is_lawful and (random or not facet.is_random)
        ]  # fmt: skip

    def restore(self, *, lawful: bool = True) -> None:
        """Set everything back. ``lawful``: also what imports may change."""
        for name, facet in [*self._changed()]:
            if lawful or not facet.is_lawful:
                facet.put(self.values.get(name, facet.fresh))

    def with_new_variables(self) -> ProcessState:
        """The same with the variables of the environment that are new."""
        return ProcessState({**self.values, _ENVIRONMENT: {**os.environ, **self.values[_ENVIRONMENT]}})

    def _changed(self) -> Iterator[tuple[str, _Facet]]:
        for name, facet in _facets().items():
            before = self.values.get(name, facet.fresh)
            if before is not _UNKNOWN and facet.get() != before:
                yield name, facet


@contextmanager
def undone(who: str, *, built_in: bool) -> Iterator[None]:
    """While this lasts, code of a plugin runs outside of a run's programmes: it is imported, built, opened or asked.

    What it changes is set back, and ``who`` is named on stderr. Random generators are set back in silence: building a
    network draws from them. New variables of the environment and additions to the search path stay, since a library may
    look at them when it is used. Nothing happens for ``built_in`` code.
    """
    if built_in:
        yield
        return
    before = ProcessState.take()
    try:
        yield
    finally:
        before = before.with_new_variables()
        changed = before.changes(random=False)
        before.restore(lawful=False)
        if changed:
            print(f"{who} changed {', '.join(changed)}: set back", file=sys.stderr)
