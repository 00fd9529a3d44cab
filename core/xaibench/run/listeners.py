"""Everybody who listens to a run: told one after another, none of them able to end it."""

from __future__ import annotations

import sys
from typing import Any

from xaibench.api import Listener, describe_error
from xaibench.discovery.components import Use, make
from xaibench.discovery.registry import Registry


class Listeners:
    """The listeners of all plugins, those of ours first. One that raises is said on stderr and hears no more."""

    def __init__(self, registry: Registry) -> None:
        self._hearing: list[tuple[Use, Listener]] = []
        for registered in registry.of_kind("listener"):
            try:
                use = make(registered, {})
                self._hearing.append((use, use.instance))
            except (Exception, SystemExit) as error:
                _say(registered.name, error)

    def tell(self, method: str, event: Any) -> None:
        """Call ``method`` of every listener that has it."""
        for entry in list(self._hearing):
            use, listener = entry
            try:
                hear = getattr(listener, method, None)
                if hear is not None:
                    hear(event)
            except (Exception, SystemExit) as error:
                self._hearing.remove(entry)
                _say(use.name, error)


def _say(name: str, error: BaseException) -> None:
    print(f"listener {name} failed and hears no more of this run: {describe_error(error)}", file=sys.stderr)
