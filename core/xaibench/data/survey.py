"""The survey of a dataset: the samples that a run evaluates, in order, and the digests of their pictures."""

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

    Parameters
    ----------
    samples: the samples in evaluation order.
    auxiliary: real counterparts and strangers outside them, by id. They are shown and never scored.
    digests: digests of the native pictures of both, by sample id.
    problems: files that are left out.
    available: number of samples before the limit, without those known to be broken. Samples after the last one that
        is evaluated are not decoded.
    strangers: for each masked fake the id of another one that shares no person with it.
    """

    samples: tuple[Sample, ...]
    auxiliary: Mapping[str, Sample]
    digests: Mapping[str, str]
    problems: tuple[Problem, ...]
    available: int
    strangers: Mapping[str, str] = field(default_factory=dict)

    def by_id(self) -> dict[str, Sample]:
        """All samples by id, auxiliary ones included."""
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
    """Select, order and decode the samples of a dataset. Broken files become problems of the survey.

    Parameters
    ----------
    dataset: the dataset.
    name: its name in messages.
    seed: seed of the order and of the strangers.
    split: only samples of this split.
    methods: only fakes of these methods, and the real pictures; empty: all.
    limit: the number of samples; None: all.
    strangers: whether each masked fake gets a stranger.

    Raises :class:`NothingToEvaluate` where no sample, or no fake, is left.
    """
    from xaibench.api import check_native, digest_native

    candidates = select_samples(dataset.samples(), split, methods)
    by_id = {s.id: s for s in dataset.samples()}
    problems = list(dataset.problems())
    digests: dict[str, str] = {}
    broken: set[str] = set()

    def is_readable(sample: Sample) -> bool:
        if sample.id not in digests and sample.id not in broken:
            try:
                native = dataset.read(sample)
                check_native(native, sample)
                digests[sample.id] = digest_native(native)
            except UnreadablePicture as error:
                broken.add(sample.id)
                problems.append(Problem(sample.id, error.what))
        return sample.id in digests

    samples: list[Sample] = []
    auxiliary: dict[str, Sample] = {}
    for sample in order_samples(candidates, seed):
        if limit is not None and len(samples) >= limit:
            break
        if not is_readable(sample):
            continue
        pair = by_id.get(sample.pair) if sample.pair else None
        if pair is None or not is_readable(pair):
            sample = replace(sample, pair=None)
        else:
            auxiliary[pair.id] = pair
        samples.append(sample)
    _refuse_empty(name, samples, candidates, problems)
    stranger_ids = _strangers(samples, candidates, seed, is_readable) if strangers else {}
    auxiliary |= {stranger: by_id[stranger] for stranger in stranger_ids.values()}
    ids = {s.id for s in samples}
    return Survey(
        samples=tuple(samples),
        auxiliary={i: s for i, s in auxiliary.items() if i not in ids},
        digests=digests,
        problems=tuple(problems),
        available=len(candidates) - len(broken),
        strangers=stranger_ids,
    )


def _strangers(
    samples: Sequence[Sample], candidates: Sequence[Sample], seed: int, is_readable: Callable[[Sample], bool]
) -> dict[str, str]:
    """For each masked fake another one that shares no person with it, of the same method where there is one.

    All masked fakes of the dataset stand in one seeded order. A sample draws a position in it and takes the first one
    from there that is readable and shares no person, so the limit changes no choice. It gets none where all share one.
    """
    masked = sorted((s for s in candidates if s.label == "fake" and s.has_mask), key=lambda s: s.id)
    Streams(("strangers", str(seed))).numpy().shuffle(masked)
    by_method: dict[str | None, list[Sample]] = defaultdict(list)
    for s in masked:
        by_method[s.method].append(s)
    strangers = {}
    for sample in (s for s in samples if s.label == "fake" and s.has_mask):
        start = int(Streams(("stranger", str(seed), sample.id)).numpy().integers(len(masked)))
        pools = (by_method[sample.method], masked)
        others = (pool[(start + i) % len(pool)] for pool in pools for i in range(len(pool)))
        stranger = next((s for s in others if not _people(s) & _people(sample) and is_readable(s)), None)
        if stranger is not None:
            strangers[sample.id] = stranger.id
    return strangers


def _people(sample: Sample) -> set[str]:
    return {name for name in (sample.group, sample.cross_group) if name}


def _refuse_empty(
    name: str, samples: Sequence[Sample], candidates: Sequence[Sample], problems: Sequence[Problem]
) -> None:
    if not samples:
        first = f"; first problem: {problems[0].file}: {problems[0].reason}" if problems else ""
        raise NothingToEvaluate(f"{name} has no readable sample ({len(candidates)} listed){first}", "check the folder")
    if all(s.label == "real" for s in samples):
        raise NothingToEvaluate(
            f"no fake among the {len(samples)} readable samples of {name} that were chosen: nothing can be judged",
            "add manipulated pictures (label fake), or raise --limit",
        )


def slices(count: int, size: int, cuts: Sequence[int] = ()) -> list[tuple[int, int]]:
    """Slices of ``count`` samples, cut at every multiple of ``size`` and at earlier limits, ``cuts``.

    A raised limit only adds slices. ``slices(10, 4, [6])`` -> (0, 4) (4, 6) (6, 8) (8, 10).
    """
    points = sorted({*range(0, count, size), *(c for c in cuts if 0 < c < count), count})
    return list(pairwise(points))
