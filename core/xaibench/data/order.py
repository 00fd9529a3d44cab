"""The order in which samples are evaluated.

The order is seeded and does not depend on ``--limit``, so that a limit takes a prefix: groups are shuffled, then dealt
round by round, one fake of the group's next method with its real counterpart beside it, so that every prefix holds
labels, methods and groups in balance.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from xaibench.api import Sample, Streams, UsageError


def select_samples(samples: Sequence[Sample], split: str | None, methods: Sequence[str]) -> list[Sample]:
    """Samples of a split, and of fakes only those of the methods named; a name that matches nothing is refused."""
    splits = sorted({s.split for s in samples if s.split})
    if split is not None and split not in splits:
        raise UsageError(f"no split '{split}' in the dataset", f"splits: {', '.join(splits) or 'none'}")
    known = sorted({s.method for s in samples if s.method})
    wrong = [m for m in methods if m not in known]
    if wrong:
        raise UsageError(
            f"no manipulation method '{wrong[0]}' in the dataset", f"methods: {', '.join(known) or 'none'}"
        )
    chosen = [s for s in samples if split is None or s.split == split]
    return [s for s in chosen if s.label == "real" or not methods or s.method in methods]


def order_samples(samples: Sequence[Sample], seed: int) -> list[Sample]:
    """The seeded evaluation order: see the module's text."""
    groups: dict[str, list[Sample]] = defaultdict(list)
    for sample in sorted(samples, key=lambda s: s.id):
        groups[sample.group].append(sample)
    names = sorted(groups)
    Streams(("order", str(seed))).numpy().shuffle(names)
    methods = sorted({s.method or "" for s in samples if s.label == "fake"})
    hands = [_hand(groups[name], methods[i % len(methods) :] + methods[: i % len(methods)] if methods else [])
             for i, name in enumerate(names)]  # fmt: skip
    return [sample for packet in _deal(hands) for sample in packet]


def _hand(samples: Sequence[Sample], methods: Sequence[str]) -> Iterator[list[Sample]]:
    """One group's packets: a fake and its real counterpart while that is still in hand; then reals left over."""
    reals = {s.id: s for s in samples if s.label == "real"}
    by_method: dict[str, list[Sample]] = defaultdict(list)
    for s in samples:
        if s.label == "fake":
            by_method[s.method or ""].append(s)
    while any(by_method.values()):
        for method in methods:
            if by_method[method]:
                fake = by_method[method].pop(0)
                real = reals.pop(fake.pair, None) if fake.pair else None
                yield [real, fake] if real else [fake]
    for real in reals.values():
        yield [real]


def _deal(hands: Sequence[Iterator[list[Sample]]]) -> Iterator[list[Sample]]:
    alive = list(hands)
    while alive:
        still = []
        for hand in alive:
            packet = next(hand, None)
            if packet is not None:
                yield packet
                still.append(hand)
        alive = still
