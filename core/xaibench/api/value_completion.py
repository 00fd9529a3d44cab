"""Completion of values on the command line. A flag names the kind of its values; the program knows what there is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

Source = Callable[[Mapping[str, Any]], Iterable[tuple[str, str]]]
"""Values with what they mean in one line, from the options of the command that are given so far. The key ``""`` holds
the word that is completed, ``"arguments"`` the words that belong to no option."""

_sources: dict[str, Source] = {}


def offer_values(sources: Mapping[str, Source]) -> None:
    """Tell what is offered for each kind of value. The program does so when a shell asks it."""
    _sources.update(sources)


def completion(kind: str, choices: Iterable[str] = ()) -> Callable[..., Iterator[tuple[str, str]]]:
    """The ``autocompletion`` of a typer option or argument.

    ``kind`` is a kind of component (``KINDS``), ``component`` for any of them, ``run``, ``run-file``, ``split`` (of the
    dataset that the command is given), ``table`` or ``family`` (of measures). ``choices`` are offered besides. A kind
    of which the program knows nothing offers nothing, and the shell completes files.
    """

    def complete(ctx: Any, incomplete: str) -> Iterator[tuple[str, str]]:
        source, given = _sources.get(kind), {**ctx.params, "": incomplete, "arguments": tuple(ctx.args)}
        values = [*((choice, "") for choice in choices), *(source(given) if source else ())]
        yield from ((value, text) for value, text in values if value.startswith(incomplete))

    return complete
