"""Code of plugins outside of the programmes of a run: importing, constructing, opening, asking for passes.

What such code changes of the process is set back and said on stderr. torch is looked at where it is loaded already: a
list of components does not import it.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def undone(who: str, *, built_in: bool) -> Iterator[None]:
    """While this lasts, code of a plugin runs. ``who`` names it where it changes the state of the process.

    New variables of the environment stay: a library may look at them when it is used.
    """
    if built_in:
        yield
        return
    before, torch_before = _state(), _torch_state()
    try:
        yield
    finally:
        after = _state()
        after["the environment"] = {k: v for k, v in after["the environment"].items() if k in before["the environment"]}
        changed = [name for name, value in after.items() if value != before[name]]
        _restore(before)
        changed += _restore_torch(torch_before)
        if changed:
            print(f"{who} changed {', '.join(changed)}: set back", file=sys.stderr)


def _state() -> dict[str, Any]:
    return {
        "signal handlers": {s: h for s in _SIGNALS if (h := signal.getsignal(s)) is not None},
        "the working directory": Path.cwd(),
        "the recursion limit": sys.getrecursionlimit(),
        "standard streams": (sys.stdin, sys.stdout, sys.stderr),
        "tracing": (sys.gettrace(), sys.getprofile()),
        "Python's random state": random.getstate(),
        "the environment": dict(os.environ),
    }


_SIGNALS = [
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGALRM", "SIGUSR1", "SIGUSR2", "SIGPIPE", "SIGCHLD")
    if hasattr(signal, name)
]


def _restore(before: Mapping[str, Any]) -> None:
    if threading.current_thread() is threading.main_thread():
        for number, handler in before["signal handlers"].items():
            if signal.getsignal(number) != handler:
                signal.signal(number, handler)
    os.chdir(before["the working directory"])
    sys.setrecursionlimit(before["the recursion limit"])
    sys.stdin, sys.stdout, sys.stderr = before["standard streams"]
    sys.settrace(before["tracing"][0])
    sys.setprofile(before["tracing"][1])
    random.setstate(before["Python's random state"])
    os.environ.update(before["the environment"])


def _torch_facets() -> dict[str, tuple[Callable[[], Any], Callable[[Any], Any], Any]]:
    """How a setting of torch is read and set, and what it is when torch has just been imported."""
    import torch

    return {
        "whether gradients are computed": (torch.is_grad_enabled, torch.set_grad_enabled, True),
        "torch's default dtype": (torch.get_default_dtype, torch.set_default_dtype, torch.float32),
        "torch's default device": (lambda: str(torch.get_default_device()), torch.set_default_device, "cpu"),
        "torch's precision of matrix products": (
            torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "highest",
        ),
        "torch's deterministic algorithms": (
            torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms, False,
        ),
        "anomaly detection": (torch.is_anomaly_enabled, torch.set_anomaly_enabled, False),
    }  # fmt: skip


def _torch_state() -> dict[str, Any]:
    """torch's settings now; those of a fresh import where it is not loaded yet."""
    if not hasattr(sys.modules.get("torch"), "get_default_device"):
        return {}
    return {name: get() for name, (get, _, _) in _torch_facets().items()}


def _restore_torch(before: Mapping[str, Any]) -> list[str]:
    if not hasattr(sys.modules.get("torch"), "get_default_device"):
        return []
    changed = []
    for name, (get, put, fresh) in _torch_facets().items():
        value = before.get(name, fresh)
        if get() != value:
            put(value)
            changed.append(name)
    return changed
