"""Procedural demo faces as a dataset: one real picture a person, and one fake of each method made from it.

Test people are numbered from 10,000 up, people to train on from 0 up; the demo detector was trained on the latter (of
population 0). The donors of swaps are fixed couples, so a couple is a statistical group.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Literal

import numpy as np
import scipy
from numpy.typing import NDArray
from pydantic import Field

from xaibench.api import Native, Parameters, Problem, Sample, connected_components
from xaibench_datasets.demo_faces import METHODS, TEST_IDENTITIES_FROM, donor_of, render_fake, render_real


class DemoParameters(Parameters):
    """Which people are drawn."""

    seed: int = Field(0, ge=0, description="the population: other seeds give other people")
    identities: int = Field(64, ge=1, le=TEST_IDENTITIES_FROM, description="people in each split")
    split: Literal["test", "train", "all"] = Field("test", description="the splits that are listed")


class DemoDataset:
    """Dataset ``demo``. Its samples are called ``real/IDENTITY`` and ``METHOD/IDENTITY``."""

    Parameters = DemoParameters

    def __init__(self, parameters: DemoParameters) -> None:
        self.parameters = parameters

    def samples(self) -> Sequence[Sample]:
        return self._samples

    def read(self, sample: Sample) -> Native:
        """Render the picture; equal bytes whenever and wherever it is done."""
        kind, _, number = sample.id.partition("/")
        seed, identity = self.parameters.seed, int(number)
        drawn = render_real(seed, identity) if kind == "real" else render_fake(seed, identity, kind)
        mask = _bytes(drawn.mask) if sample.label == "fake" else None
        return Native(_bytes(drawn.image.transpose(1, 2, 0)), mask, drawn.landmarks)

    def fingerprint(self, sample: Sample) -> str:
        return f"{self.parameters.seed} {sample.id}; numpy {np.__version__}, scipy {scipy.__version__}"

    def problems(self) -> Sequence[Problem]:
        return ()

    @cached_property
    def _samples(self) -> tuple[Sample, ...]:
        return tuple(sorted(_list(self.parameters), key=lambda s: s.id))


def _list(parameters: DemoParameters) -> Iterator[Sample]:
    starts = {"train": 0, "test": TEST_IDENTITIES_FROM}
    for split, start in starts.items():
        if parameters.split not in (split, "all"):
            continue
        people = range(start, start + parameters.identities)
        group = connected_components((_name(i), _name(donor_of(i))) for i in people)
        for i in people:
            name = _name(i)
            real = Sample(id=f"real/{name}", label="real", group=group[name], split=split, has_landmarks=True)
            yield real
            for method in METHODS:
                yield Sample(
                    id=f"{method}/{name}",
                    label="fake",
                    group=group[name],
                    method=method,
                    pair=real.id,
                    split=split,
                    has_mask=True,
                    has_landmarks=True,
                )


def _name(identity: int) -> str:
    return f"{identity:05d}"


def _bytes(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Multiples of 1/255 in [0, 1] as uint8."""
    scaled: NDArray[np.uint8] = np.rint(values * np.float32(255)).astype(np.uint8)
    return scaled
