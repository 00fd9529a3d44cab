"""The looks at the detectors of a plan: their structure, their accuracy, and whether their cards are read rightly."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, zip_longest

from xaibench.api import Detector, Passes, Sample
from xaibench.detector.structure import PICTURES, passes_of
from xaibench.plan.parts import DetectorCell, PlannedDataset, PlannedMember
from xaibench.plan.tasks import DetectorRef

CARD_PICTURES = 64
MOST_VARIANTS = 24


def lay_out_detectors(
    members: Iterable[PlannedMember], datasets: Sequence[PlannedDataset], detectors: Mapping[DetectorRef, Detector]
) -> Iterator[DetectorCell]:
    """The looks at each detector. One member of a family stands for the card of all."""
    seen: set[str] = set()
    for member in members:
        ref, detector = member.ref, detectors[member.ref]
        shown = tuple(s.id for s in of_both_labels(datasets[0].survey.samples, PICTURES))
        yield DetectorCell(
            model=ref.model, member=ref.member, dataset=datasets[0].name, check="structure", samples=shown,
            passes=Passes(passes_of(detector), exact=False),
        )  # fmt: skip
        for dataset in datasets:
            yield DetectorCell(model=ref.model, member=ref.member, dataset=dataset.name, check="accuracy")
        if ref.model not in seen:
            yield _card(member, datasets, detector)
            seen.add(ref.model)


def _card(member: PlannedMember, datasets: Sequence[PlannedDataset], detector: Detector) -> DetectorCell:
    """Other readings of a card, on the first dataset with enough people."""
    chosen = [(d, of_both_labels(d.survey.samples, CARD_PICTURES)) for d in datasets]
    dataset, samples = next(((d, s) for d, s in chosen if not too_few_groups(s)), chosen[0])
    reason = why_not_otherwise(detector, samples)
    return DetectorCell(
        model=member.ref.model, member=member.ref.member, dataset=dataset.name, check="card",
        samples=tuple(s.id for s in samples), reason=reason,
        passes=Passes() if reason else Passes(MOST_VARIANTS * len(samples), exact=False),
    )  # fmt: skip


def why_not_otherwise(detector: Detector, samples: Sequence[Sample]) -> str:
    """Why no other reading of a detector's card is tried on these samples; empty where some are."""
    if detector.facts.remote:
        return "its card says that it is remote"
    if detector.facts.stochastic:
        return "its card says that its outputs may differ from call to call"
    if getattr(detector, "variants", None) is None:
        return "nothing is known of other readings of its card"
    return too_few_groups(samples)


def of_both_labels(samples: Sequence[Sample], most: int) -> list[Sample]:
    """At most ``most`` samples, half of each label where there are so many, of as many groups as possible, in order."""
    of_label = [_spread([s for s in samples if s.label == label]) for label in ("real", "fake")]
    mixed = [s for s in chain.from_iterable(zip_longest(*of_label)) if s is not None][:most]
    chosen = {s.id for s in mixed}
    return [s for s in samples if s.id in chosen]


def _spread(samples: Sequence[Sample]) -> list[Sample]:
    """The samples in turns, one of each group in a turn."""
    turn: dict[str, int] = {}
    turns: dict[int, list[Sample]] = {}
    for sample in samples:
        turn[sample.group] = turn.get(sample.group, 0) + 1
        turns.setdefault(turn[sample.group], []).append(sample)
    return [s for number in sorted(turns) for s in turns[number]]


def too_few_groups(samples: Sequence[Sample]) -> str:
    """Why nothing can be told of accuracy from samples of so few people; empty where it can."""
    from xaibench_statistics import MINIMUM_GROUPS

    groups = {label: len({s.group for s in samples if s.label == label}) for label in ("real", "fake")}
    if min(groups.values()) >= MINIMUM_GROUPS:
        return ""
    return f"real pictures of {groups['real']} groups and fakes of {groups['fake']}, and {MINIMUM_GROUPS} are needed"
