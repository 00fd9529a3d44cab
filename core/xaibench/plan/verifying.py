"""Checking the capabilities of detectors on the first pictures of the data (optional method ``verified``)."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from xaibench.api import Detector, Facts
from xaibench.data.pictures import show_picture
from xaibench.plan.parts import PlannedDataset, PlannedMember, PlannedModel
from xaibench.plan.tasks import DetectorRef

if TYPE_CHECKING:
    from torch import Tensor

_PICTURES = 4


def verify(
    models: Sequence[PlannedModel], datasets: Sequence[PlannedDataset], detectors: MutableMapping[DetectorRef, Detector]
) -> tuple[PlannedModel, ...]:
    """The models, with capabilities reduced to those that hold on the first pictures of every dataset."""
    return tuple(
        replace(model, members=tuple(_member(m, datasets, detectors) for m in model.members)) for model in models
    )


def _member(
    member: PlannedMember, datasets: Sequence[PlannedDataset], detectors: MutableMapping[DetectorRef, Detector]
) -> PlannedMember:
    for dataset in datasets:
        check = getattr(detectors[member.ref], "verified", None)
        images = first_pictures(dataset, member.facts)
        if check is not None and images is not None:
            detectors[member.ref] = check(images)
    return replace(member, facts=detectors[member.ref].facts)


def first_pictures(dataset: PlannedDataset, facts: Facts) -> Tensor | None:
    """The first samples as a detector with these facts sees them, ``(n, 3, H, W)``; None where there is none."""
    import torch

    samples = dataset.survey.samples[:_PICTURES]
    images = [show_picture(dataset.use.instance, s, facts).image for s in samples]
    return torch.stack(images) if images else None
