"""Counts and lists in the sentences of the methods."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from xaibench_report.exports.marked_text import Part


def count(n: int, noun: str) -> str:
    """``1 group``, ``1,200 groups``."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def count_were(n: int, noun: str, verb: str) -> str:
    """``One detector was explained``, ``3 detectors were explained``, for the beginning of a sentence."""
    return f"One {noun} was {verb}" if n == 1 else f"{n:,} {noun}s were {verb}"


def joined(items: Sequence[Iterable[Part]], between: str = ", ") -> Iterator[Part]:
    """Items one after the other."""
    for at, item in enumerate(items):
        yield from ((between,) if at else ())
        yield from item


def listed(items: Sequence[Iterable[Part]]) -> Iterator[Part]:
    """``a, b and c``."""
    yield from joined(items[:-1])
    if len(items) > 1:
        yield " and "
    yield from joined(items[-1:])
