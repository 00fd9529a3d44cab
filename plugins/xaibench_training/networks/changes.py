"""What recipes make of a network before training, by kind, so that a card can say it and a factory do it again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

from xaibench.api import UsageError

if TYPE_CHECKING:
    from xaibench.api import Network

CHANGES = MappingProxyType({"whitening": "xaibench_training.whitening.change:apply"})
"""Kind to ``module:function``, called as ``function(network, **parameters) -> Network``."""


def apply_changes(network: Network, changes: Sequence[Mapping[str, Any]]) -> Network:
    """``network`` after ``changes``, in order: tables of ``kind`` and the parameters of its function.

    A kind is one of ``CHANGES``, or ``package.module:function`` for recipes of other packages. Raises
    :class:`UsageError` for a table without a kind and a kind that cannot be found.
    """
    for change in changes:
        parameters = {key: value for key, value in change.items() if key != "kind"}
        network = _function(change.get("kind"))(network, **parameters)
    return network


def _function(kind: object) -> Callable[..., Network]:
    target = CHANGES.get(kind, kind) if isinstance(kind, str) else ""
    module, colon, name = target.partition(":")
    if not colon:
        raise UsageError(
            f"no change of a network is named {kind!r}", f"known: {', '.join(CHANGES)}, or MODULE:FUNCTION"
        )
    try:
        return cast("Callable[..., Network]", getattr(import_module(module), name))
    except (ImportError, AttributeError) as error:
        raise UsageError(
            f"change '{kind}' cannot be imported: {error}", "install the package that trained it"
        ) from None
