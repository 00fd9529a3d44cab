"""Inner layers: their names, catching an activation inside autograd, watching all of them in a forward pass."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from xaibench.api import ModelError
from xaibench_models.grids import Channels
from xaibench_models.layer_kinds import channels_of, is_keras, keras_children, pools, projects

Forward: TypeAlias = Callable[[Tensor], Tensor]


# ---- names ------------------------------------------------------------------------------------------------------


class NamedLayers(nn.Module):
    """A module whose layers go by other names than its sub-modules' (the tensors of an ONNX graph).

    ``hidden`` names those that are no place to look at the picture: the inside of an attention, projections.
    """

    hidden: frozenset[str] = frozenset()

    def named_layers(self) -> dict[str, nn.Module]:
        """Every layer by its name, in the order in which they run."""
        raise NotImplementedError

    def position(self, layer: str) -> int:
        """Which of the results of its module a layer is."""
        raise NotImplementedError


def layers_of(module: nn.Module) -> dict[str, nn.Module]:
    """Every layer that can be named: the sub-modules, or what a :class:`NamedLayers` says."""
    if isinstance(module, NamedLayers):
        return module.named_layers()
    return {name: inner for name, inner in _named_modules(module, "", set()) if name}


def _named_modules(module: nn.Module, name: str, known: set[int]) -> Iterator[tuple[str, nn.Module]]:
    """As ``named_modules``, and into the layers of Keras, which keep theirs in lists that torch does not know."""
    if id(module) in known:
        return
    known.add(id(module))
    yield name, module
    keras = is_keras(module)
    inner = [(child.name, child) for child in keras_children(module)] if keras else []
    for child_name, child in (*inner, *module.named_children()):
        # the parameters of a Keras model, all in one, and the second form of a Keras Sequential are no layers
        if not keras or not child_name.startswith("_"):
            yield from _named_modules(child, f"{name}.{child_name}" if name else child_name, known)


def with_parameters(module: nn.Module) -> tuple[str, ...]:
    """Layers that have parameters of their own, in the order of definition (of a graph: of execution)."""
    return tuple(name for name, inner in layers_of(module).items() if _own_parameters(inner))


def _own_parameters(layer: nn.Module) -> bool:
    if is_keras(layer):
        return bool(layer.variables) and not any(child.variables for child in keras_children(layer))
    return bool([*layer.parameters(recurse=False)])


# ---- catching ---------------------------------------------------------------------------------------------------


@contextmanager
def caught(
    module: nn.Module, layer: str, edit: Callable[[Tensor], Tensor] | None = None, run: int = 0
) -> Iterator[list[Tensor]]:
    """Catch what ``layer`` gives while the context lasts, one tensor a run of it.

    ``edit`` changes what goes on of the run with the number ``run``.

    What goes on through the network is a copy of the tensor caught, so that gradients reach it, and a ReLU in place
    after the layer does not change it.
    """
    found: list[Tensor] = []
    position = position_of(module, layer)

    def hook(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        first = output[position] if isinstance(output, tuple) else output
        if not isinstance(first, Tensor):
            raise ModelError(
                f"layer '{layer}' gives {type(first).__name__}, not a tensor", "set target_layer to another"
            )
        kept = first.clone() if first.requires_grad else first.detach().clone().requires_grad_(torch.is_grad_enabled())
        found.append(kept)
        on = edit(kept) if edit and len(found) == run + 1 else kept.clone()
        return (*output[:position], on, *output[position + 1 :]) if isinstance(output, tuple) else on

    handle = named_layer(module, layer).register_forward_hook(hook)
    try:
        yield found
    finally:
        handle.remove()


def named_layer(module: nn.Module, layer: str) -> nn.Module:
    """The sub-module of that name. Raises :class:`ModelError` with near matches."""
    layers = layers_of(module)
    names = list(layers)
    if layer not in layers:
        near = difflib.get_close_matches(layer, names, n=3, cutoff=0.4) or names[-3:]
        hint = f"near matches: {', '.join(near)}" if near else "it has no layers that can be named"
        raise ModelError(f"the model has no layer '{layer}'", hint)
    return layers[layer]


def position_of(module: nn.Module, layer: str) -> int:
    """Which of several results of a sub-module the layer of that name is; 0 for a module of PyTorch."""
    return module.position(layer) if isinstance(module, NamedLayers) else 0


# ---- watching ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Seen:
    """A layer's tensor in one forward pass, of its run number ``run``.

    ``identity`` tells tensors apart, and what one holds before and after a change in place. ``pooled``: it left a
    pooling layer. ``linear``: from a projection. ``hidden``: no place to look (:class:`NamedLayers`). ``channels``:
    which axis of four must hold them, as the layer computes over it; None where that is open.
    """

    layer: str
    run: int
    identity: tuple[int, int]
    shape: tuple[int, ...]
    pooled: bool
    linear: bool
    hidden: bool = False
    channels: Channels | None = None


def watch(module: nn.Module, forward: Forward, images: Tensor) -> list[Seen]:
    """Every tensor that a layer gave for ``images``, in the order in which the layers finished."""
    seen: list[Seen] = []
    alive: list[Tensor] = []  # so that no two tensors share an id
    pooled: set[tuple[int, int]] = set()
    runs: Counter[str] = Counter()
    hidden = module.hidden if isinstance(module, NamedLayers) else frozenset[str]()

    def watcher(name: str, position: int) -> Callable[..., None]:
        def hook(layer: nn.Module, _inputs: Any, output: Any) -> None:
            run = runs[name]
            runs[name] += 1
            several = isinstance(module, NamedLayers) and isinstance(output, tuple)
            tensor = output[position] if several else output
            if isinstance(tensor, Tensor) and tensor.is_floating_point():
                alive.append(tensor)
                identity = id(tensor), tensor._version
                if pools(layer):
                    pooled.add(identity)
                channels, is_hidden = channels_of(layer), name in hidden or position > 0
                seen.append(
                    Seen(
                        name,
                        run,
                        identity,
                        tuple(tensor.shape),
                        identity in pooled,
                        projects(layer),
                        is_hidden,
                        channels,
                    )
                )

        return hook

    handles = [m.register_forward_hook(watcher(n, position_of(module, n))) for n, m in layers_of(module).items()]
    try:
        with torch.inference_mode(False), torch.no_grad():  # inference tensors do not count their changes
            forward(images)
    finally:
        for handle in handles:
            handle.remove()
    return seen
