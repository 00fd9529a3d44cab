"""The order in which samples are evaluated.

The order depends on the seed and not on ``--limit``, so a limit takes a prefix. Groups are shuffled. Each round then
takes one packet of every group: a fake of the group's next method, with its real counterpart. Every prefix is therefore
balanced in labels, methods and groups.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence

from xaibench.api import Sample, Streams, UsageError, closest_first


def select_samples(samples: Sequence[Sample], split: str | None, methods: Sequence[str]) -> list[Sample]:
    """The samples of a split, with fakes of the named methods alone. No method stands for all.

    Raises :class:`UsageError` for a split or a method that no sample has.
    """
    splits = sorted({s.split for s in samples if s.split})
    if split is not None and split not in splits:
        raise UsageError(f"no split '{split}' in the dataset", f"splits: {closest_first(split, splits) or 'none'}")
    all_methods = sorted({s.method for s in samples if s.method})
    unknown = [m for m in methods if m not in all_methods]
    if unknown:
        known = closest_first(unknown[0], all_methods) or "none"
        raise UsageError(f"no manipulation method '{unknown[0]}' in the dataset", f"methods: {known}")
    of_split = [s for s in samples if split is None or s.split == split]
    return [s for s in of_split if s.label == "real" or not methods or s.method in methods]


def order_samples(samples: Sequence[Sample], seed: int) -> list[Sample]:
    """The samples in evaluation order, which the text of this module describes."""
    groups: dict[str, list[Sample]] = defaultdict(list)
    for sample in sorted(samples, key=lambda s: s.id):
        groups[sample.group].append(sample)
    names = sorted(groups)
    Streams(("order", str(seed))).numpy().shuffle(names)
    methods = sorted({s.method or "" for s in samples if s.label == "fake"})
    rank = {method: i for i, method in enumerate(methods)}
    group_packets = [_packets(groups[name], rank, first=i) for i, name in enumerate(names)]
    return [sample for packet in _round_robin(group_packets) for sample in packet]


def _packets(samples: Sequence[Sample], rank: Mapping[str, int], first: int) -> Iterator[list[Sample]]:
    """The packets of one group: each fake, with its real counterpart where that is left, then the remaining reals.

    The methods take turns. The one of rank ``first`` begins, so that another method is first in each group.
    """
    reals = {s.id: s for s in samples if s.label == "real"}
    by_method: dict[str, deque[Sample]] = defaultdict(deque)
    for s in samples:
        if s.label == "fake":
            by_method[s.method or ""].append(s)
    queues = [by_method[m] for m in sorted(by_method, key=lambda m: (rank[m] - first) % len(rank))]
    while queues:
        for fakes in queues:
            fake = fakes.popleft()
            real = reals.pop(fake.pair, None) if fake.pair else None
            yield [real, fake] if real else [fake]
        queues = [fakes for fakes in queues if fakes]
    for real in reals.values():
        yield [real]


def _round_robin(groups: Sequence[Iterator[list[Sample]]]) -> Iterator[list[Sample]]:
    while groups:
        remaining = []
        for group in groups:
            packet = next(group, None)
            if packet is not None:
                yield packet
                remaining.append(group)
        groups = remaining
