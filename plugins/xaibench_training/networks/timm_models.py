"""Any convolutional network of timm's, where the user has timm."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from xaibench.api import PlanError
from xaibench_training.networks.pooled import IMAGENET_MEAN, IMAGENET_STD, Plan
from xaibench_training.networks.table import TIMM_PREFIX, architecture


class TimmBody(nn.Module):
    """``forward_features`` of a timm network."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        activation: Tensor = self.model.forward_features(x)  # type: ignore[operator]
        return activation


def plan(name: str) -> Plan:
    """The plan of ``timm:NAME``, freshly drawn; timm downloads nothing.

    ``last_convolution`` is the body itself, since timm has no rule for what its last convolution is called. Raises
    :class:`PlanError` where timm is missing or does not know the name, and where the network's features are not
    ``(N, K, h, w)`` (transformers).
    """
    wanted = name.removeprefix(TIMM_PREFIX)
    body = TimmBody(_created(wanted))
    settings: dict[str, Any] = getattr(body.model, "default_cfg", None) or {}
    return Plan(
        body=lambda: body,
        channels=_channels(body, name),
        last_convolution="",
        mean=tuple(settings.get("mean", IMAGENET_MEAN)),
        std=tuple(settings.get("std", IMAGENET_STD)),
        renamed=lambda key: f"model.{key}",
    )


def _created(wanted: str) -> nn.Module:
    try:
        timm = import_module("timm")
    except ImportError:
        raise PlanError(f"network 'timm:{wanted}' needs timm, which is not installed", "pip install timm") from None
    try:
        model: nn.Module = timm.create_model(wanted, pretrained=False, num_classes=0)
    except Exception as error:  # timm raises whatever its registry and its constructors raise
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise PlanError(f"timm cannot make '{wanted}': {first}", "timm.list_models() names what it knows") from error
    return model


@torch.no_grad()
def _channels(body: TimmBody, name: str) -> int:
    """K of the features of one blank picture."""
    size = architecture(name).size
    shape = body.eval()(torch.zeros(1, 3, size, size)).shape
    body.train()
    expected = getattr(body.model, "num_features", shape[1] if len(shape) == 4 else None)
    if len(shape) != 4 or shape[1] != expected:
        raise PlanError(
            f"'{name}' gives features of shape {tuple(shape)}, not (N, K, h, w)", "take a convolutional network"
        )
    return int(shape[1])
