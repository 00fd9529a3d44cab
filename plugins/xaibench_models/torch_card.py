"""The card of a PyTorch model."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from xaibench_models.card import CardKeys

OWN_WEIGHTS = "factory"
"""What ``weights`` says where the factory loads them itself."""


class TorchKeys(CardKeys):
    """The keys of a ``.toml`` that describes a PyTorch model: the card's, and how to build and call it."""

    factory: str | None = Field(None, description="'package.module:callable' that returns the model")
    kwargs: dict[str, Any] | None = Field(None, description="arguments of the factory")
    pythonpath: tuple[str, ...] | None = Field(
        None, description="folders to import the factory from, relative to the .toml"
    )
    weights: str | None = Field(
        None,
        description="safetensors file or checkpoint of tensors for the factory's model, relative to the .toml; "
        '"factory": the factory loads them itself',
    )
    input_key: str | None = Field(None, description="give the model a dict with the pictures under this key")
    output_key: str | int | None = Field(None, description="take the scores from the dict or tuple that it returns")
    fake_index: int | None = Field(
        None, ge=0, le=1, description="which of two outputs means fake (in place of classes; of one output, see high)"
    )
    target_layer: str | None = Field(None, description="layer for activation maps (default: chosen and said aloud)")
