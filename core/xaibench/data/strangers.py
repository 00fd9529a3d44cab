"""Strangers: for each masked fake another one that shares no person with it."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence

from xaibench.api import Sample, Streams

_LOOKED_AT = 32


def choose_strangers(
    samples: Sequence[Sample], candidates: Sequence[Sample], seed: int, is_readable: Callable[[Sample], bool]
) -> dict[str, str]:
    """The id of a stranger for each masked fake of ``samples``, of the same method where there is one.

    All masked fakes of ``candidates`` stand in one seeded order. A sample draws a position in it and takes the first
    one from there that is readable and shares no person, so the limit changes no choice. It gets none where all share
    one.
    """
    masked = sorted((s for s in candidates if s.label == "fake" and s.has_mask), key=lambda s: s.id)
    Streams(("strangers", str(seed))).numpy().shuffle(masked)
    by_method: dict[str | None, list[Sample]] = defaultdict(list)
    for s in masked:
        by_method[s.method].append(s)
    pools = {method: _Pool(of_method) for method, of_method in by_method.items()}
    all_masked = _Pool(masked)
    strangers = {}
    for sample in (s for s in samples if s.label == "fake" and s.has_mask):
        start = int(Streams(("stranger", str(seed), sample.id)).numpy().integers(len(masked)))
        others = (s for pool in (pools[sample.method], all_masked) for s in pool.strangers_of(sample, start))
        stranger = next((s for s in others if is_readable(s)), None)
        if stranger is not None:
            strangers[sample.id] = stranger.id
    return strangers


class _Pool:
    """Masked fakes in a circle."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self._samples = samples
        self._people = [_people(s) for s in samples]
        self._counts = Counter(person for people in self._people for person in people)
        self._without: dict[str, list[int]] = {}

    def strangers_of(self, sample: Sample, start: int) -> Iterator[Sample]:
        """Those that share no person with ``sample``, from position ``start`` around the circle."""
        people, n = _people(sample), len(self._samples)
        looked_at = min(_LOOKED_AT, n)
        for i in range(looked_at):
            at = (start + i) % n
            if people.isdisjoint(self._people[at]):
                yield self._samples[at]
        # Where nearly all share a person, walking on would take the square of their number. Those without that person
        # are few.
        commonest = max(people, key=self._counts.__getitem__, default="")
        positions = self._positions_without(commonest)
        first = bisect_left(positions, (start + looked_at) % n)
        for at in positions[first:] + positions[:first]:
            if (at - start) % n >= looked_at and people.isdisjoint(self._people[at]):
                yield self._samples[at]

    def _positions_without(self, person: str) -> list[int]:
        """Positions of all that do not show this person, in ascending order."""
        if person not in self._without:
            self._without[person] = [i for i, people in enumerate(self._people) if person not in people]
        return self._without[person]


def _people(sample: Sample) -> frozenset[str]:
    return frozenset(name for name in (sample.group, sample.cross_group) if name)
