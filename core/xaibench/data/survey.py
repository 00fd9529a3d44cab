"""Which samples a run evaluates, in which order, and what their pictures are.

The order is seeded and does not depend on ``--limit``, so that a limit takes a prefix: groups are shuffled, then dealt
round by round, one fake of the group's next method with its real counterpart beside it, so that every prefix holds
labels, methods and groups in balance.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from xaibench.api import Dataset, NothingToEvaluate, Problem, Sample, Streams, UnreadablePicture
from xaibench.data.order import order_samples, select_samples


@dataclass(frozen=True, slots=True)
class Survey:
    """The samples of a run.

    ``samples``: in evaluation order. ``auxiliary``: real counterparts and strangers outside them, by id, shown but
    never scored. ``digests``: of the native pictures of both. ``problems``: files left out. ``available``: samples
    before the limit, less those found broken (those after the last one looked at are not decoded). ``strangers``: to
    each masked fake another one that shares no person with it.
    """

    samples: tuple[Sample, ...]
    auxiliary: Mapping[str, Sample]
    digests: Mapping[str, str]
    problems: tuple[Problem, ...]
    available: int
    strangers: Mapping[str, str] = field(default_factory=dict)

    def by_id(self) -> dict[str, Sample]:
        return {**{s.id: s for s in self.samples}, **self.auxiliary}


def survey(
    dataset: Dataset,
    name: str,
    *,
    seed: int,
    split: str | None = None,
    methods: Sequence[str] = (),
    limit: int | None = None,
    strangers: bool = False,
) -> Survey:
    """Choose, order and decode the samples, with ``strangers`` to them if asked; broken files are left out by name.

    Raises :class:`NothingToEvaluate` when no sample, or no fake, is left.
    """
    from xaibench.api import check_native, digest_native

    listed = select_samples(dataset.samples(), split, methods)
    everything = {s.id: s for s in dataset.samples()}
    problems = list(dataset.problems())
    digests: dict[str, str] = {}
    broken: set[str] = set()

    def look(sample: Sample) -> bool:
        if sample.id not in digests and sample.id not in broken:
            try:
                native = dataset.read(sample)
                check_native(native, sample)
                digests[sample.id] = digest_native(native)
            except UnreadablePicture as error:
                broken.add(sample.id)
                problems.append(Problem(sample.id, error.what))
        return sample.id in digests

    chosen: list[Sample] = []
    auxiliary: dict[str, Sample] = {}
    for sample in order_samples(listed, seed):
        if limit is not None and len(chosen) >= limit:
            break
        if not look(sample):
            continue
        pair = everything.get(sample.pair) if sample.pair else None
        if pair is None or not look(pair):
            sample = replace(sample, pair=None)
        else:
            auxiliary[pair.id] = pair
        chosen.append(sample)
    _refuse_empty(name, chosen, listed, problems)
    others = _strangers(chosen, listed, seed, look) if strangers else {}
    auxiliary |= {other: everything[other] for other in others.values()}
    inside = {s.id for s in chosen}
    outside = {i: s for i, s in auxiliary.items() if i not in inside}
    return Survey(tuple(chosen), outside, digests, tuple(problems), len(listed) - len(broken), others)


def _strangers(
    chosen: Sequence[Sample], listed: Sequence[Sample], seed: int, look: Callable[[Sample], bool]
) -> dict[str, str]:
    """To each masked fake another of the same method (else of any) that shares nobody with it.

    Each draws its own place in one seeded order of all that are listed and walks on from there, so that the limit
    changes no choice. One that is broken, and a sample that shares somebody with all others, are passed over.
    """
    masked = sorted((s for s in listed if s.label == "fake" and s.has_mask), key=lambda s: s.id)
    Streams(("strangers", str(seed))).numpy().shuffle(masked)
    by_method: dict[str | None, list[Sample]] = defaultdict(list)
    for s in masked:
        by_method[s.method].append(s)
    found = {}
    for sample in (s for s in chosen if s.label == "fake" and s.has_mask):
        start = int(Streams(("stranger", str(seed), sample.id)).numpy().integers(len(masked)))
        walk = (pool[(start + i) % len(pool)] for pool in (by_method[sample.method], masked) for i in range(len(pool)))
        other = next((s for s in walk if not _people(s) & _people(sample) and look(s)), None)
        if other is not None:
            found[sample.id] = other.id
    return found


def _people(sample: Sample) -> set[str]:
    return {name for name in (sample.group, sample.cross_group) if name}


def _refuse_empty(name: str, chosen: Sequence[Sample], listed: Sequence[Sample], problems: Sequence[Problem]) -> None:
    if not chosen:
        first = f"; first problem: {problems[0].file}: {problems[0].reason}" if problems else ""
        raise NothingToEvaluate(f"{name} has no readable sample ({len(listed)} listed){first}", "check the folder")
    if all(s.label == "real" for s in chosen):
        raise NothingToEvaluate(
            f"no fake among the {len(chosen)} readable samples of {name} that were chosen: nothing can be judged",
            "add manipulated pictures (label fake), or raise --limit",
        )


def slices(count: int, size: int, cuts: Sequence[int] = ()) -> list[tuple[int, int]]:
    """Shards as fixed slices: cut at every multiple of ``size`` and at earlier limits, so that a raised limit only
    adds shards. ``slices(10, 4, [6])`` -> (0,4) (4,6) (6,8) (8,10)."""
    points = sorted({*range(0, count, size), *(c for c in cuts if 0 < c < count), count})
    return list(pairwise(points))
