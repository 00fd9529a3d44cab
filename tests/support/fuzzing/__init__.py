"""Hostile inputs, each made from a seed, and the process that runs commands on them.

A maker writes the files of one input into a folder and gives the command lines that are to be run there. A kind has
many makers; they take turns, and each draws what it changes from a stream of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

from fuzzing import cards, exchanged, flags, graphs, manifests, maps, pictures, runs
from fuzzing.base import Base, Command, Maker

KINDS: dict[str, tuple[Maker, ...]] = {
    "picture": pictures.MAKERS, "manifest": manifests.MAKERS, "card": cards.CARDS, "run file": cards.RUN_FILES,
    "flag": flags.MAKERS, "onnx": graphs.MAKERS, "exchanged": exchanged.MAKERS, "map": maps.MAKERS,
    "run": runs.MAKERS,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Case:
    """One input: its name, the folder it lies in, and the commands that are run on it."""

    name: str
    folder: Path
    commands: tuple[Command, ...]


def cases(base: Base, folder: Path, count: int, seed: int) -> Iterator[Case]:
    """``count`` inputs below ``folder``, the kinds and the makers of a kind in turn."""
    kinds = list(KINDS)
    for number in range(count):
        kind, turn = kinds[number % len(kinds)], number // len(kinds)
        # The seed moves the turns, so that few inputs of another seed are by other makers.
        maker = KINDS[kind][(turn + seed) % len(KINDS[kind])]
        here = folder / f"{number:03}"
        here.mkdir(parents=True)
        commands = maker(Random(f"{seed}/{kind}/{turn}"), here, base)
        yield Case(f"{number} {kind}: {maker.__name__.strip('_')}", here, tuple(commands))
