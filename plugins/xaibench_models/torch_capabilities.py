"""What a PyTorch detector is able to do: gradients, inner activations, operations, attention."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from xaibench.api import ModelError
from xaibench_models.grids import Grid, Places
from xaibench_models.interface import Notes
from xaibench_models.layer_choice import choose, places_of, run_of
from xaibench_models.layers import named_layer, watch, with_parameters
from xaibench_models.runs import attention_limit
from xaibench_models.torch_detector import TorchDetector


@dataclass(frozen=True, slots=True)
class _Layer:
    """What is known of inner layers: the target, where the others lie, or why there is none."""

    name: str | None
    places: Places | None = None
    limit: str = ""
    grid: Grid | None = None


def with_capabilities(
    plain: TorchDetector, target_layer: str | None, hooks: bool, pictures: Tensor, notes: Notes
) -> TorchDetector:
    """``plain`` with what it was found able to do: gradients, activations, its target layer.

    Parameters
    ----------
    target_layer: the layer wanted; None: choose one. Raises :class:`ModelError` where it does not exist or does not
        lie on the picture.
    hooks: whether hooks on the layers fire.
    """
    gives, limits = set(), dict[str, str]()
    if (reason := _no_gradient(plain, pictures)) is None:
        gives.add("gradients")
    else:
        limits["gradients"] = reason
    if reason is not None or not hooks:
        limits["operations"] = (
            reason or "TorchScript runs its operations out of sight; give the model as .pt2 or as a factory"
        )
    else:
        gives.add("operations")
    if unseen := limits.get("operations") or attention_limit(plain.differentiable_logits, pictures):
        limits["attention"] = unseen
    else:
        gives.add("attention")
    layer = _layer(plain, wanted=target_layer, hooks=hooks, no_gradient=reason, pictures=pictures, notes=notes)
    if layer.name is None:
        limits["activations"] = layer.limit
    else:
        gives.add("activations")
    facts = replace(
        plain.facts,
        gives=frozenset(gives),
        limits=limits,
        target_layer=layer.name,
        target_grid=None if layer.grid is None else (layer.grid.height, layer.grid.width),
        layers=with_parameters(plain.network.module),
        notes=tuple(notes.lines),
    )
    return replace(plain, facts=facts, places=layer.places)


def _no_gradient(detector: TorchDetector, pictures: Tensor) -> str | None:
    """Why the logits cannot be differentiated with respect to the pictures, None where they can."""
    leaf = pictures.clone().requires_grad_(True)
    try:
        with torch.enable_grad():
            torch.autograd.grad(detector.differentiable_logits(leaf)[:, -1].sum(), leaf)
    except RuntimeError as error:
        return f"the model does not pass gradients: {str(error).splitlines()[0]}"
    return None


def _layer(
    detector: TorchDetector, *, wanted: str | None, hooks: bool, no_gradient: str | None, pictures: Tensor, notes: Notes
) -> _Layer:
    module, size = detector.network.module, detector.facts.input_size
    if wanted is not None:
        named_layer(module, wanted)
    if not hooks:
        return _Layer(None, limit="TorchScript runs its layers without hooks; give the model as .pt2 or as a factory")
    if no_gradient is not None:
        return _Layer(None, limit=no_gradient)
    forward = detector.differentiable_logits
    if wanted is None:
        chosen = choose(module, forward, pictures, size)
        if chosen.layer is not None:
            how = f"{chosen.grid}; chosen automatically; set target_layer=NAME"
            notes.add(f"target layer: {chosen.layer} ({how})")
            for line in chosen.notes:
                notes.add(line)
        return _Layer(chosen.layer, chosen.places, chosen.limit, chosen.grid)
    return _named(wanted, detector, pictures)


def _named(wanted: str, detector: TorchDetector, pictures: Tensor) -> _Layer:
    module, forward = detector.network.module, detector.differentiable_logits
    seen = watch(module, forward, pictures)
    places = places_of(seen, len(pictures), detector.facts.input_size)
    shapes = {s.run: s.shape for s in seen if s.layer == wanted}
    shape = shapes.get(run_of(module, forward, pictures, wanted, places)) if shapes else None
    grid = None if shape is None else places(wanted, shape, len(pictures))
    if shape is not None and grid is None:
        raise ModelError(
            f"target layer '{wanted}' gives shape {shape}, which does not lie on the picture",
            "set target_layer to a layer of feature maps or picture tokens",
        )
    return _Layer(wanted, places, grid=grid)
