"""Which samples train and which validate: no person, and no other statistical group, is in both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from xaibench.api import DatasetError, Sample, Streams, UsageError

VALIDATION_SHARE = 0.2
"""Share of the groups that validate where the data have no split for it."""


@dataclass(frozen=True, slots=True)
class Split:
    """Samples in seeded order, and what to say about how they were chosen."""

    train: tuple[Sample, ...]
    validation: tuple[Sample, ...]
    notes: tuple[str, ...]


def choose(
    samples: Sequence[Sample], split: str | None, validation: str | None, methods: Sequence[str], seed: int
) -> Split:
    """The samples of two splits of the data, or of one of them divided between groups.

    ``split`` None is ``train`` where the data have splits, and everything where they have none. ``validation`` None is
    ``val`` where the data have it; otherwise, or where it names the same split, a fifth of the groups, drawn from the
    seed, validates. ``methods`` leaves out fakes of all others from both. Raises :class:`UsageError` for an unknown
    split or method and :class:`DatasetError` where a side is empty, lacks a class, or shares a group with the other.
    """
    from xaibench import select_samples

    known = {s.split for s in samples if s.split}
    inner = split or ("train" if known else None)
    outer = validation or ("val" if "val" in known else None)
    chosen = select_samples(samples, inner, methods)
    if outer is None or outer == inner:
        result = _divided(chosen, inner, seed)
    else:
        if inner is None:
            raise UsageError(f"no split '{outer}' in the dataset", "leave --validation out: one is drawn by group")
        result = Split(tuple(chosen), tuple(select_samples(samples, outer, methods)), ())
    _check(result)
    return Split(_dealt(result.train, seed), _dealt(result.validation, seed), result.notes)


def groups_of(sample: Sample) -> frozenset[str]:
    """The group and, where there are two crossed factors, the second."""
    return frozenset({sample.group, sample.cross_group or sample.group})


def _dealt(samples: Sequence[Sample], seed: int) -> tuple[Sample, ...]:
    """The seeded order of an evaluation, real and fake in turn, so that a limit takes as many of each."""
    from xaibench import order_samples

    ordered = order_samples(samples, seed)
    sides = [[s for s in ordered if s.label == label] for label in ("real", "fake")]
    return tuple(s for pair in zip_longest(*sides) for s in pair if s is not None)


def _divided(samples: Sequence[Sample], split: str | None, seed: int) -> Split:
    """Groups are shuffled and the first fifth validates; samples whose two groups fall on both sides are left out."""
    names = sorted(frozenset().union(*map(groups_of, samples)))
    Streams(("training split", str(seed))).numpy().shuffle(names)
    outer = frozenset(names[: max(1, round(len(names) * VALIDATION_SHARE))])
    train = tuple(s for s in samples if not groups_of(s) & outer)
    validation = tuple(s for s in samples if groups_of(s) <= outer)
    left = len(samples) - len(train) - len(validation)
    why = f"split '{split}' was divided" if split else "the data have no splits and were divided"
    note = f"{why}: {len(outer)} of {len(names)} groups, drawn from seed {seed}, validate"
    return Split(train, validation, (note + (f"; {left} samples across both are left out" if left else ""),))


def _check(split: Split) -> None:
    for name, samples in (("training", split.train), ("validation", split.validation)):
        if not samples:
            raise DatasetError(f"no sample is left for {name}", "name other splits with --split and --validation")
        labels = {s.label for s in samples}
        if len(labels) == 1:
            raise DatasetError(
                f"the {name} pictures are all {labels.pop()}", "both real and fake pictures are needed on both sides"
            )
    here, there = (frozenset().union(*map(groups_of, side)) for side in (split.train, split.validation))
    shared = sorted(here & there)
    if shared:
        more = f" and {len(shared) - 1} more" if len(shared) > 1 else ""
        raise DatasetError(
            f"group '{shared[0]}'{more} is in both the training and the validation pictures",
            "give the data splits that share nobody, or name one split for both to have it divided by group",
        )
