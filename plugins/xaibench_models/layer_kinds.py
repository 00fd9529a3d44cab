"""What the kind of a layer says of its activation, for layers of PyTorch, Keras on torch, and nodes of ONNX graphs."""

from __future__ import annotations

from typing import Any, Literal, TypeGuard

from torch import nn

_POOLING = (
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveMaxPool2d,
    nn.AvgPool2d,
    nn.MaxPool2d,
    nn.LPPool2d,
    nn.FractionalMaxPool2d,
)
_FIRST = (
    nn.Conv2d,
    nn.ConvTranspose2d,
    nn.BatchNorm2d,
    nn.InstanceNorm2d,
    nn.GroupNorm,
    nn.Upsample,
    nn.PixelShuffle,
    *_POOLING,
)
_PROJECTIONS = frozenset({"Dense", "EinsumDense"})


def channels_of(layer: nn.Module) -> Literal["first", "last"] | None:
    """The axis of four over which a layer computes as over channels; None where it says nothing of it."""
    said = getattr(layer, "channels", None)  # a node of a graph
    if said in ("first", "last"):
        return "last" if said == "last" else "first"
    if is_keras(layer):
        return _keras_channels(layer)
    if isinstance(layer, _FIRST):
        return "first"
    one_axis = type(layer) is nn.LayerNorm and len(layer.normalized_shape) == 1  # a subclass may move the axes itself
    return "last" if one_axis or isinstance(layer, nn.Linear) else None


def pools(layer: nn.Module) -> bool:
    return isinstance(layer, _POOLING) or getattr(layer, "pools", False) is True or _keras_pools(layer)


def projects(layer: nn.Module) -> bool:
    """Whether a layer is a product with weights over the last axis."""
    return isinstance(layer, nn.Linear) or (is_keras(layer) and type(layer).__name__ in _PROJECTIONS)


# ---- Keras ------------------------------------------------------------------------------------------------------


def is_keras(module: nn.Module) -> TypeGuard[Any]:
    """Whether a module is a layer or model of Keras on torch, which is not imported for the question."""
    return type(module).__module__.partition(".")[0] == "keras" or any(
        f"{c.__module__}.{c.__qualname__}" == "keras.src.layers.layer.Layer" for c in type(module).__mro__
    )


def keras_children(module: Any) -> list[Any]:
    """The layers directly within a layer or model of Keras."""
    return [*module._flatten_layers(include_self=False, recursive=False)] if hasattr(module, "_flatten_layers") else []


def _keras_pools(layer: nn.Module) -> bool:
    return is_keras(layer) and hasattr(layer, "pool_size")


def _keras_channels(layer: Any) -> Literal["first", "last"] | None:
    said = getattr(layer, "data_format", None)
    if said is None:
        axis = getattr(layer, "axis", None)  # of a normalisation
        return "last" if axis in (-1, 3, [-1], [3]) else "first" if axis in (1, [1]) else None
    return "last" if said == "channels_last" else "first"
