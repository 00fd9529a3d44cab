"""Sending the events of a run to all listeners. An exception of a listener does not end the run."""

from __future__ import annotations

import sys
from typing import Any

from xaibench.api import Listener, as_exception, describe_error
from xaibench.api.output_streams import own_output
from xaibench.discovery.components import Use, make
from xaibench.discovery.process_state import undone
from xaibench.discovery.registry import Registry


class Listeners:
    """The listeners of all plugins, the built-in ones first. One that raises is reported on stderr and dropped.

    ``built_in``: the built-in ones alone.
    """

    def __init__(self, registry: Registry, *, built_in: bool = False) -> None:
        self._listeners: list[tuple[Use, Listener]] = []
        for registered in registry.of_kind("listener"):
            if built_in and not registered.built_in:
                continue
            try:
                use = make(registered, {})
                self._listeners.append((use, use.instance))
            except BaseException as raised:
                _report(registered.name, as_exception(raised))

    def send(self, method: str, event: Any) -> None:
        """Call ``method`` of every listener that has it."""
        for entry in list(self._listeners):
            use, listener = entry
            try:
                handler = getattr(listener, method, None)
                if handler is not None:
                    # The answer of the command is the built-in ones' alone; what others print goes to stderr.
                    own = use.registered.built_in
                    with own_output() if own else undone(f"listener {use.name}", built_in=False):
                        handler(event)
            except BaseException as raised:
                error = as_exception(raised)  # raised again where it is the user's interrupt
                self._listeners.remove(entry)
                _report(use.name, error)


def _report(name: str, error: BaseException) -> None:
    print(f"listener {name} failed and hears no more of this run: {describe_error(error)}", file=sys.stderr)
