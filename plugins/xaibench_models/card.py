"""The card of a model: what goes in and what comes out, where the file itself does not say.

A card is a TOML file beside the model (``model.onnx`` -> ``model.toml``), the same keys in the metadata of an ONNX
file, or the same keys as parameters of the component. Parameters win over the TOML file, the TOML file over metadata.
Every key may be left out; :mod:`xaibench_models.interface` holds the defaults and says aloud which it took.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeAlias, TypeVar

from pydantic import Field, ValidationError, field_validator, model_validator

from xaibench.api import ModelError, Parameters, UsageError, describe_parameters, parse_toml, parse_value

Layout: TypeAlias = Literal["NCHW", "NHWC"]
Colour: TypeAlias = Literal["RGB", "BGR"]
Activation: TypeAlias = Literal["logit", "sigmoid", "softmax", "probability"]
High: TypeAlias = Literal["fake", "real"]
Three: TypeAlias = tuple[float, float, float]

K = TypeVar("K", bound="CardKeys")
METADATA_PREFIX = "xaibench."


class ResizeKeys(Parameters):
    """How a picture is brought to the model's input size."""

    interpolation: Literal["nearest", "bilinear", "bicubic", "area"] = Field("bilinear", description="the filter")
    antialias: bool = Field(True, description="widen the filter when shrinking")
    mode: Literal["squash", "crop"] = Field(
        "squash", description="squash to the input size, or scale and crop in the middle"
    )


class BatchKeys(Parameters):
    """How many pictures one call takes."""

    fixed: int | None = Field(None, ge=1, le=65_536, description="exactly this many")
    max: int | None = Field(None, ge=1, le=65_536, description="at most this many")


class CardKeys(Parameters):
    """The keys that every kind of model file shares. None means that the card does not say."""

    layout: Layout | None = Field(None, description="order of the input's axes (default NCHW)")
    size: int | tuple[int, int] | None = Field(None, description="input size in pixels: [height, width] or one number")
    range: tuple[float, float] | None = Field(
        None, description="the input values that stand for black and white, before mean and std (default [0, 1])"
    )
    mean: float | Three | None = Field(
        None, description="subtracted from each channel, in units of range and in the order of colour (default none)"
    )
    std: float | Three | None = Field(None, description="divides each channel after the mean (default none)")
    colour: Colour | None = Field(None, description="order of the input's channels (default RGB)")
    resize: ResizeKeys | None = Field(
        None,
        description="table with interpolation (nearest, bilinear, bicubic, area), antialias and mode (squash, crop) "
        "(default bilinear, antialiased, squashed)",
    )
    activation: Activation | None = Field(
        None,
        description="what the output values are: logit = not yet activated; sigmoid, softmax = they left such a "
        "function; probability = probabilities however made (default: what the graph ends in, else logit)",
    )
    classes: tuple[str, ...] | None = Field(
        None, description='names of the classes in the order of the outputs (default ["real", "fake"])'
    )
    real: str | None = Field(None, description="the class that means real; every other one means fake")
    high: High | None = Field(None, description="what a high value means where there is one output; has no default")
    threshold: float | None = Field(
        None, ge=0, le=1, description="P(fake) from which the verdict is fake (default 0.5)"
    )
    batch: Annotated[int, Field(ge=1, le=65_536)] | BatchKeys | None = Field(
        None, description="most pictures in one call, or a table with fixed or max (default: no limit)"
    )
    stochastic: bool | None = Field(
        None, description="true: its outputs may differ from call to call, and chance is meant (default false)"
    )
    remote: bool | None = Field(
        None, description="true: each pass is dear, as it is computed elsewhere (default false)"
    )
    licence: str | None = Field(None, description="licence of the weights, kept with the results")
    training_data: str | None = Field(None, description="what the model was trained on, kept with the results")

    @field_validator("threshold", "mean", "std", "range", "size", mode="before")
    @classmethod
    def _numbers(cls, value: object) -> object:
        """TOML's true, text, inf and nan are no numbers here, though Python would take them."""
        for number in value if isinstance(value, list | tuple) else (value,):
            if isinstance(number, bool | str) or (isinstance(number, float) and not math.isfinite(number)):
                raise ValueError(f"{number!r} is no finite number")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.range is not None and self.range[0] >= self.range[1]:
            raise ValueError("range must be [low, high] with low < high")
        stds = (self.std,) if isinstance(self.std, float) else self.std or ()
        if any(s <= 0 for s in stds):
            raise ValueError("std must be above 0")
        sizes = (self.size,) if isinstance(self.size, int) else self.size or ()
        if any(not 1 <= s <= 8192 for s in sizes):
            raise ValueError("size must lie between 1 and 8192")
        if self.classes is not None and len(set(self.classes)) < max(2, len(self.classes)):
            raise ValueError("classes must be at least two different names")
        return self


class OnnxKeys(CardKeys):
    """The card of an ONNX file: :class:`CardKeys` and the names of tensors."""

    input: str | None = Field(None, description="name of the input (default: the only one)")
    output: str | None = Field(None, description="name of the output (default: the only one)")
    target_layer: str | None = Field(
        None, description="inner tensor for activation maps, by its name in the graph (default: chosen and said aloud)"
    )


def read_toml(path: Path) -> dict[str, Any]:
    """The values in a TOML file. Raises :class:`ModelError` where it cannot be read."""
    try:
        return parse_toml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{path}: no such file", "give the path of a TOML file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{path}: cannot be read: {error}", "give a readable TOML file in UTF-8") from None
    except ValueError as error:  # tomllib's own, and of numbers or nesting beyond bounds
        raise ModelError(f"{path}: is no TOML: {error}", "mend the line named; strings need quotes") from None


def read_metadata(metadata: Mapping[str, str], keys: type[CardKeys]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Card keys in a file's metadata, plain or prefixed with ``xaibench.``, and the plain keys that are none.

    Values are read as TOML, and as strings where they are no TOML. A prefixed key that is unknown is kept, so that
    :func:`validate` refuses it; plain ones belong to other tools and are left alone.
    """
    mine = {k.removeprefix(METADATA_PREFIX): v for k, v in metadata.items() if k.startswith(METADATA_PREFIX)}
    plain = {k: v for k, v in metadata.items() if not k.startswith(METADATA_PREFIX)}
    known = {k: v for k, v in plain.items() if k in keys.model_fields}
    try:
        return {k: parse_value(v) for k, v in (known | mine).items()}, tuple(sorted(set(plain) - set(known)))
    except UsageError as error:
        raise ModelError(f"metadata: {error.what}", "export the model again without it") from None


def validate(values: Mapping[str, Any], keys: type[K], where: str) -> K:
    """``values`` as card keys; an unknown key or a wrong value raises :class:`ModelError` naming what is accepted."""
    names = tuple(keys.model_fields)
    for key in values:
        if key not in names:
            near = difflib.get_close_matches(key, names, n=1)
            hint = f"did you mean '{near[0]}'? " if near else ""
            raise ModelError(f"{where}: unknown card key '{key}'", f"{hint}accepted: {', '.join(names)}")
    try:
        return keys.model_validate(dict(values))
    except ValidationError as error:
        raise _wrong_value(error, values, keys, where) from None


def _wrong_value(error: ValidationError, values: Mapping[str, Any], keys: type[CardKeys], where: str) -> ModelError:
    first = error.errors()[0]
    message = first["msg"].removeprefix("Value error, ")
    if not first["loc"]:
        return ModelError(f"{where}: {message}", "mend the card")
    key = str(first["loc"][0])
    row = next((r for r in describe_parameters(keys) if r["name"] == key), None)
    mend = f"{key}: {row['description']}" if row else "mend the card"
    text = repr(values.get(key))
    text = text if len(text) <= 80 else f"{text[:60]}... ({len(text):,} characters)"
    return ModelError(f"{where}: {key} = {text} is wrong: {message}", mend)


def given(keys: Parameters) -> dict[str, Any]:
    """The keys that are set: everything that is not None."""
    return {name: value for name in type(keys).model_fields if (value := getattr(keys, name)) is not None}
