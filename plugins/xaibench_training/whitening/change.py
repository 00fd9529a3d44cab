"""Putting the whitening layer in a normalisation's place: before training, and when a trained member is opened."""

from __future__ import annotations

from itertools import chain

from pydantic import Field
from torch import nn

from xaibench.api import Network, Parameters, UsageError, build_parameters
from xaibench_training.whitening.layer import Statistics, Whitening


class LayerParameters(Parameters):
    """What it takes to build the layer again, weights apart."""

    layer: str = Field("", description="path of the normalisation to replace; empty: the network's last")
    group_size: int = Field(64, ge=1, description="channels whitened together, at most: groups are equal")
    iterations: int = Field(10, ge=1, le=100, description="Newton steps; 5 as published leave wide layers correlated")
    statistics: Statistics = Field(
        "covariance", description="averaged for evaluation: the covariance or, published, its inverse square root"
    )
    momentum: float | None = Field(
        None, gt=0, le=1, description="weight of the newest batch in them; none: 0.1, with statistics=published 0.9"
    )
    epsilon: float = Field(1e-5, gt=0, description="added to every channel's variance")


def apply(network: Network, **parameters: object) -> Network:
    """``network`` with one normalisation replaced, in place, by a fresh :class:`Whitening` on the same device.

    ``parameters`` are those of :class:`LayerParameters`. The normalisation's statistics and affine part are dropped,
    so that a pretrained network has to be trained on (the layers behind expect other scales). ``features``,
    ``classify`` and ``layers`` stay as they are. Raises :class:`UsageError` for a wrong value, a layer that the network
    does not offer, or one whose number of channels is unknown or cannot be cut into groups.
    """
    return replaced(network, build_parameters(LayerParameters, parameters, "whitening"))


def replaced(network: Network, p: LayerParameters) -> Network:
    """:func:`apply` for parameters that were checked."""
    path = settled_layer(network, p.layer)
    old = network.module().get_submodule(path)
    new = Whitening(
        _channels(old, path),
        group_size=p.group_size,
        iterations=p.iterations,
        momentum=p.momentum,
        epsilon=p.epsilon,
        statistics=p.statistics,
    )
    tensors = chain(old.parameters(), old.buffers(), network.module().parameters())
    new.to(next(tensors).device).train(old.training)
    network.module().set_submodule(path, new)
    return network


def settled_layer(network: Network, layer: str) -> str:
    """The path meant by ``layer``; raises :class:`UsageError` for one that the network does not offer."""
    if not network.layers:
        raise UsageError("the network has no normalisation to put a whitening layer in place of", "take another one")
    if layer and layer not in network.layers:
        raise UsageError(f"the network has no normalisation '{layer}'", f"layer is one of {', '.join(network.layers)}")
    return layer or network.layers[-1]


def whitening_layer(network: Network, layer: str) -> Whitening:
    """The layer that :func:`apply` put there; raises :class:`UsageError` where there is another."""
    path = settled_layer(network, layer)
    found = network.module().get_submodule(path)
    if not isinstance(found, Whitening):
        raise UsageError(f"'{path}' is a {type(found).__name__}, not a whitening layer", "prepare the network first")
    return found


def _channels(module: nn.Module, path: str) -> int:
    """Of a batch, instance or group normalisation."""
    for name in ("num_features", "num_channels"):
        if isinstance(channels := getattr(module, name, None), int):
            return channels
    raise UsageError(f"'{path}' is a {type(module).__name__}, which names no channels", "name a batch normalisation")
