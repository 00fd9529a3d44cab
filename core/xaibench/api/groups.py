"""Statistical groups: samples that share source material.

Every fake joins two nodes of a graph: its identity (the person or video shown) and its donor (the person or video put
in). A sample's group is the connected component of its identity. Where donors are drawn at random, components grow
together. Where a component of several identities would hold more than a fifth of the samples of a split, the groups are
two crossed factors instead: ``group`` is the identity and ``cross_group`` the donor (None without one), and intervals
take both into account.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

LARGEST_SHARE = Fraction(1, 5)
"""Largest share of the samples that a component of several identities may hold before factors are crossed."""


@dataclass(frozen=True, slots=True)
class Groups:
    """The groups of samples, in the order of the samples.

    ``group`` and ``cross_group`` are the fields of :class:`xaibench.api.Sample`. ``crossed`` is True where there are
    two crossed factors. ``largest`` is the largest share of the samples of a split that one component of several
    identities holds, in [0, 1]; 0 where no two identities are joined.
    """

    group: tuple[str, ...]
    cross_group: tuple[str | None, ...]
    crossed: bool
    largest: float


def connected_components(edges: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Map every node to its connected component, which has the name of its smallest node.

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

    for a, b in edges:
        low, high = sorted((root(a), root(b)))
        parent[high] = low
    return {node: root(node) for node in parent}


def statistical_groups(
    identities: Sequence[str], donors: Sequence[str | None], splits: Sequence[str | None] | None = None
) -> Groups:
    """Group samples by the rule of this module.

    Parameters
    ----------
    identities: the person or video that each sample shows.
    donors: the person or video put in; None where there is none.
    splits: the split of each sample. Shares are taken within a split, since a run evaluates one split.

    Raises ``ValueError`` where the lengths differ.
    """
    component = connected_components((i, d or i) for i, d in zip(identities, donors, strict=True))
    group = tuple(component[i] for i in identities)
    largest = _largest_share(group, splits or [None] * len(group), _joint_components(component))
    if largest <= LARGEST_SHARE:
        return Groups(group, (None,) * len(group), False, float(largest))
    return Groups(tuple(identities), tuple(d or None for d in donors), True, float(largest))


def _joint_components(component: dict[str, str]) -> frozenset[str]:
    """The components of several nodes."""
    return frozenset(name for name, n in Counter(component.values()).items() if n > 1)


def _largest_share(group: Sequence[str], splits: Sequence[str | None], joint: frozenset[str]) -> Fraction:
    totals = Counter(splits)
    counts = Counter((split, g) for split, g in zip(splits, group, strict=True) if g in joint)
    return max((Fraction(n, totals[split]) for (split, _), n in counts.items()), default=Fraction(0))
