"""Registers the training recipes and the command ``train``. Light: what trains is imported when it is first used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xaibench.api import RecipeRecord, hookimpl
from xaibench_training.references import BOYD_2023, HUA_2021, HUA_2023

if TYPE_CHECKING:
    import typer

XAIBENCH_API = "1"


@hookimpl
def xaibench_recipes() -> list[RecipeRecord]:
    """The recipes that come with xaibench."""
    return [
        RecipeRecord(
            name="cross-entropy",
            target="xaibench_training.recipes.cross_entropy:CrossEntropy",
            summary="The classification loss and nothing else: what the other recipes are compared with.",
        ),
        RecipeRecord(
            name="cyborg",
            target="xaibench_training.recipes.cyborg:Cyborg",
            summary="Human-guided: class activation maps are drawn towards masks, annotations or another model's maps.",
            references=(BOYD_2023,),
        ),
        RecipeRecord(
            name="cyborg-shuffled",
            target="xaibench_training.recipes.cyborg:CyborgShuffled",
            summary="The control of cyborg: the same guides, each on another picture.",
            references=(BOYD_2023,),
        ),
        RecipeRecord(
            name="whitening",
            target="xaibench_training.whitening.recipe:Whitening",
            summary="Channels decorrelated by a whitening layer and turned to patches of the face.",
            references=(HUA_2021, HUA_2023),
        ),
    ]


@hookimpl
def xaibench_add_commands(app: typer.Typer) -> None:
    """Adds ``train``."""
    from xaibench_training.command import train

    app.command()(train)
