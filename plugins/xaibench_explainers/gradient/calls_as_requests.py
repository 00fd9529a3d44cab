"""Code that calls a function, run as a programme: each call becomes a request to the engine.

A library that expects to call a network cannot be suspended in the middle of a call. It therefore runs in a thread of
its own, which waits whenever the programme waits: at any time, one of the two runs.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeAlias, TypeVar

import numpy as np
import torch
from torch import Tensor

from xaibench.api import Programme, Request

T = TypeVar("T")
Ask: TypeAlias = Callable[[Request], Any]
"""Sends a request to the engine and returns the reply. It raises what the engine raises in the programme."""


def as_programme(run: Callable[[Ask], T], active: AbstractContextManager[Any]) -> Programme[T]:
    """``run(ask)`` as a programme that yields what ``ask`` is called with.

    ``active`` is entered whenever ``run`` computes, and left while it waits for a reply; it must allow that more than
    once. A programme that is closed ends ``run`` with an exception in its call of ``ask``.
    """
    requests, replies = SimpleQueue[_Message](), SimpleQueue[_Message]()

    def ask(request: Request) -> Any:
        active.__exit__(None, None, None)
        requests.put(("request", request))
        kind, reply = replies.get()
        active.__enter__()
        if kind == "error":
            raise reply
        return reply

    def compute() -> None:
        outcome: _Message
        try:
            with active:
                outcome = "value", run(ask)
        except BaseException as error:
            outcome = "error", error
        requests.put(outcome)

    thread = Thread(target=compute, daemon=True)
    thread.start()
    kind, content = requests.get()
    while kind == "request":
        try:
            message: _Message = "reply", (yield content)
        except BaseException as error:  # of the detector, or the end of this programme
            replies.put(("error", error))
            thread.join()
            raise
        replies.put(message)
        kind, content = requests.get()
    thread.join()
    if kind == "error":
        raise content
    value: T = content
    return value


_Message: TypeAlias = tuple[str, Any]


class Generators:
    """The global generators of torch and numpy, seeded while this context is entered, and as before outside.

    Entered again, they go on where they stood.
    """

    def __init__(self, seed: int, device: torch.device) -> None:
        self._device = device
        before = self._states()
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)
        self._other = self._states()
        self._set(before)

    def __enter__(self) -> None:
        self._swap()

    def __exit__(self, *raised: object) -> None:
        self._swap()

    def _swap(self) -> None:
        now = self._states()
        self._set(self._other)
        self._other = now

    def _states(self) -> tuple[Tensor, Any, Tensor | None]:
        on_device = torch.cuda.get_rng_state(self._device) if self._device.type == "cuda" else None
        return torch.random.get_rng_state(), np.random.get_state(), on_device

    def _set(self, states: tuple[Tensor, Any, Tensor | None]) -> None:
        torch.random.set_rng_state(states[0])
        np.random.set_state(states[1])
        if states[2] is not None:
            torch.cuda.set_rng_state(states[2], self._device)
