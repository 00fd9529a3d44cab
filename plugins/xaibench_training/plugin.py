"""Registers the training recipes and the command ``train``. Light: what trains is imported when it is first used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xaibench.api import RecipeRecord, hookimpl

if TYPE_CHECKING:
    import typer

XAIBENCH_API = "1"

_CYBORG = "Boyd, Tinsley, Bowyer, Czajka: CYBORG, WACV 2023 (arXiv 2112.00686)"


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
            source=_CYBORG,
        ),
        RecipeRecord(
            name="cyborg-shuffled",
            target="xaibench_training.recipes.cyborg:CyborgShuffled",
            summary="The control of cyborg: the same guides, each on another picture.",
            source=_CYBORG,
        ),
        RecipeRecord(
            name="whitening",
            target="xaibench_training.whitening.recipe:Whitening",
            summary="Channels decorrelated by a whitening layer and turned to patches of the face.",
            source="Hua et al., Feature Whitening (arXiv 2106.10834) and IEEE TIP 32, 2023",
        ),
    ]


@hookimpl
def xaibench_add_commands(app: typer.Typer) -> None:
    """Adds ``train``."""
    from xaibench_training.command import train

    app.command()(train)
