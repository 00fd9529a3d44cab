"""A user's checkpoint of a backbone, read as data and brought into a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from xaibench_operations import check_fit, read_tensors, without_prefix
from xaibench_training.networks.pooled import Plan, PooledNetwork

_PREFIXES = ("", "module.", "model.", "module.model.", "backbone.", "module.backbone.", "body.", "body.model.")
"""What wrappers put before every key; ``body`` is ours, so that a trained member's file can be trained on."""
_NORMALISING = frozenset({"mean", "std"})


def load_backbone(network: PooledNetwork, path: Path, plan: Plan) -> tuple[str, ...]:
    """Load a checkpoint of the backbone into ``network``, in place; the lines to be said aloud.

    A classifier of the same shape is taken over; one of another number of classes, or none, leaves the network's own
    as drawn. Raises :class:`ModelError`, naming the first keys, where any other weight is missing, left over or of
    another shape.
    """
    found = {key: value for key, value in read_tensors(path).items() if key not in _NORMALISING}
    expected = network.body.state_dict()
    candidates = [_fitted(without_prefix(found, prefix), plan, expected) for prefix in _PREFIXES]
    body, head = min(candidates, key=lambda c: len(set(c[0]) ^ set(expected)))
    check_fit(path, body, expected, "give a checkpoint of this network, named as its summary says")
    network.body.load_state_dict(body, strict=False)
    return _load_head(network, head, path)


def _fitted(
    found: Mapping[str, Tensor], plan: Plan, expected: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The tensors under the body's names, and the classifier's ``weight`` and ``bias`` where there is one."""
    body, head = split_head(found, plan.heads)
    named = {plan.renamed(key): value for key, value in body.items()}
    return {key: _as_kernel(value, expected.get(key)) for key, value in named.items()}, head


def _as_kernel(value: Tensor, wanted: Tensor | None) -> Tensor:
    """A matrix as the 1 x 1 kernel that is wanted: the published file of Xception holds its pointwise ones so."""
    if wanted is not None and value.ndim == 2 and wanted.shape == (*value.shape, 1, 1):
        return value[:, :, None, None]
    return value


def split_head(found: Mapping[str, Tensor], heads: Sequence[str]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The tensors of the body, and the classifier's ``weight`` and ``bias`` where there is one."""
    name = next((h for h in heads if f"{h}.weight" in found), None)
    keys = {f"{name}.{part}": part for part in ("weight", "bias")}
    body = {k: v for k, v in found.items() if k not in keys}
    return body, {part: found[key] for key, part in keys.items() if key in found}


def _load_head(network: PooledNetwork, head: Mapping[str, Tensor], path: Path) -> tuple[str, ...]:
    own = network.head.state_dict()
    if {k: v.shape for k, v in head.items()} == {k: v.shape for k, v in own.items()}:
        network.head.load_state_dict(dict(head))
        return ()
    if not head:
        return (f"{path.name} holds no classifier: one of {len(own['weight'])} classes was drawn",)
    had, has = len(head["weight"]), len(own["weight"])
    return (f"the classifier of {path.name} has {had} classes: replaced by one of {has}, drawn anew",)
