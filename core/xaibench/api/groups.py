"""Statistical groups: which samples share source material.

The rule. Every fake joins its identity (the person or video shown) with its donor (the person or video put in). A
sample's group is the connected component of its identity. Where donors are drawn at random these components grow
together; once one that joins several identities would hold more than a fifth of the samples (of any split), there are
two crossed factors instead: ``group`` is the identity, ``cross_group`` the donor (None without one), and intervals use
the two-way bootstrap.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

LARGEST_SHARE = Fraction(1, 5)
"""A component that joins identities and holds more than this share of the samples is split into crossed factors."""


@dataclass(frozen=True, slots=True)
class Groups:
    """Groups of samples, in their order.

    ``group`` and ``cross_group`` are what :class:`xaibench.api.Sample` holds; ``crossed`` tells which case it
    is; ``largest`` is the largest share of samples that one joined component holds in a split, in [0, 1] (0 where no
    two identities are joined).
    """

    group: tuple[str, ...]
    cross_group: tuple[str | None, ...]
    crossed: bool
    largest: float


def connected_components(edges: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Map every node to its connected component, named by the component's smallest member.

    >>> connected_components([("b", "a"), ("c", "b"), ("d", "d")])
    {'b': 'a', 'a': 'a', 'c': 'a', 'd': 'd'}
    """
    parent: dict[str, str] = {}

    def root(node: str) -> str:
        parent.setdefault(node, node)
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for one, other in edges:
        low, high = sorted((root(one), root(other)))
        parent[high] = low
    return {node: root(node) for node in parent}


def statistical_groups(
    identities: Sequence[str], donors: Sequence[str | None], splits: Sequence[str | None] | None = None
) -> Groups:
    """Group samples by the rule above.

    Parameters
    ----------
    identities: the person or video of each sample.
    donors: the person or video put in; None where nothing was.
    splits: the split of each sample; the share is taken within each, since one split is what a run evaluates.
    """
    component = connected_components((i, d or i) for i, d in zip(identities, donors, strict=True))
    group = tuple(component[i] for i in identities)
    largest = _largest_share(group, splits or [None] * len(group), _joined(component))
    if largest <= LARGEST_SHARE:
        return Groups(group, (None,) * len(group), False, float(largest))
    return Groups(tuple(identities), tuple(d or None for d in donors), True, float(largest))


def _joined(component: dict[str, str]) -> frozenset[str]:
    """The components of more than one node."""
    return frozenset(name for name, n in Counter(component.values()).items() if n > 1)


def _largest_share(group: Sequence[str], splits: Sequence[str | None], joined: frozenset[str]) -> Fraction:
    totals = Counter(splits)
    held = Counter((split, g) for split, g in zip(splits, group, strict=True) if g in joined)
    return max((Fraction(n, totals[split]) for (split, _), n in held.items()), default=Fraction(0))
