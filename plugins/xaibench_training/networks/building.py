"""From a name to a network, fresh, with a checkpoint's weights, or as a trained member's card describes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xaibench_training.networks.changes import apply_changes
from xaibench_training.networks.table import architecture, settled_size

if TYPE_CHECKING:
    from torch import nn

    from xaibench.api import Network


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSpec:
    """What it takes to build a trained network again, weights apart.

    ``name``: of the network (:func:`names`, or ``timm:NAME``). ``size``: side of its input in pixels. ``changes``:
    what the recipe made of it, in order: tables of ``kind`` and that change's parameters, plain values throughout.
    """

    name: str
    size: int
    changes: tuple[Mapping[str, Any], ...] = ()


def build(name: str, *, weights: Path | None = None, seed: int = 0) -> Network:
    """A network of two logits, real and fake, in training mode on the CPU.

    Parameters
    ----------
    name: one of :func:`names`, or ``timm:NAME``.
    weights: a checkpoint of the backbone, safetensors or tensors saved by torch; its classifier is taken over where
        it has the same shape, else drawn anew, which ``notes`` of the network says.
    seed: of the initial weights; the global random state is left alone.

    Raises :class:`UsageError` for an unknown name, :class:`PlanError` where timm is missing or its network gives no
    ``(N, K, h, w)``, and :class:`ModelError` for a checkpoint that is missing, corrupt, pickled or does not fit.
    """
    from xaibench_training.networks.checkpoints import load_backbone
    from xaibench_training.networks.pooled import PooledNetwork, drawn_from

    entry = architecture(name)
    module, _, attribute = entry.target.partition(":")
    make = getattr(import_module(module), attribute)
    with drawn_from(seed):
        plan = make(name) if ":" in name else make()
        network = PooledNetwork(plan)
    if weights is not None:
        network.notes = load_backbone(network, weights, plan)
    return network


def build_trained(*, name: str, size: int, changes: Sequence[Mapping[str, Any]] = ()) -> nn.Module:
    """The factory that the card of a trained member names: the network as it was trained, its weights to be loaded.

    Raises :class:`UsageError` for an unknown network, change or size.
    """
    settled_size(name, size)
    network = apply_changes(build(name), changes)
    return network.module().eval()
