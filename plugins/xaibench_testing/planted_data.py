"""A small data set in memory whose manipulation is the planted patch, and its pictures as a detector sees them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from xaibench.api import Dataset, Detector, Native, Picture, Problem, Sample
from xaibench_testing.planted import AMPLITUDE, PATCH, SIZE, Patch, Pattern, pattern_weights


@dataclass(frozen=True)
class PlantedDataset:
    """Pairs ``real/NNN`` and ``fake/NNN``. A fake is its counterpart with the pattern in the patch, and its mask the
    patch; both have five landmarks. Nothing else tells them apart."""

    pairs: int
    size: tuple[int, int] = SIZE
    patch: Patch = PATCH
    pattern: Pattern = "contrast"
    seed: int = 0

    def samples(self) -> Sequence[Sample]:
        return tuple(s for i in range(self.pairs) for s in _pair(i))

    def read(self, sample: Sample) -> Native:
        pixels = self._real(int(sample.id.partition("/")[2]))
        if sample.label == "real":
            return Native(_bytes(pixels), None, self._landmarks())
        inside = self.patch.mask(self.size).numpy()
        weights = pattern_weights(self.patch, self.size, self.pattern).numpy()
        if self.pattern == "contrast":
            pixels = pixels + (AMPLITUDE * np.sign(weights))[..., None]
        else:
            pixels = np.where(inside[..., None], pixels + 0.4, pixels)
        return Native(_bytes(pixels), inside.astype(np.uint8) * 255, self._landmarks())

    def problems(self) -> Sequence[Problem]:
        return ()

    def _real(self, index: int) -> NDArray[np.float64]:
        """A smooth ground between 0.2 and 0.4 with a little noise: ``(H, W, 3)``."""
        draw = np.random.Generator(np.random.PCG64([self.seed, index]))
        height, width = self.size
        rows, columns = np.linspace(0, 1, height)[:, None, None], np.linspace(0, 1, width)[None, :, None]
        phase, tilt = draw.uniform(0, 2 * np.pi, 3), draw.uniform(-1, 1, 3)
        ground = 0.3 + 0.08 * np.sin(phase + 4 * columns + 3 * tilt * rows)
        return np.asarray(ground + draw.uniform(-0.02, 0.02, (height, width, 3)))

    def _landmarks(self) -> NDArray[np.float32]:
        height, width = self.size
        spots = np.array([[0.3, 0.35], [0.7, 0.35], [0.5, 0.55], [0.35, 0.75], [0.65, 0.75]])
        return (spots * (width - 1, height - 1)).astype(np.float32)


def planted_samples(
    pairs: int = 4,
    size: tuple[int, int] = SIZE,
    patch: Patch = PATCH,
    *,
    pattern: Pattern = "contrast",
    seed: int = 0,
) -> PlantedDataset:
    """``pairs`` real pictures and as many fakes made from them, for a :class:`PatchDetector` of the same patch."""
    return PlantedDataset(pairs, size, patch, pattern, seed)


def pictures_of(dataset: Dataset, detector: Detector, samples: Iterable[Sample] | None = None) -> list[Picture]:
    """The samples (None: all) as the detector is shown them, with real counterparts and strangers at hand."""
    from xaibench import show_picture

    known = {s.id: s for s in dataset.samples()}
    fakes = [s for s in known.values() if s.label == "fake" and s.has_mask]

    def shown(sample: Sample) -> Picture:
        pair = known.get(sample.pair) if sample.pair else None
        other = next((s for s in fakes if s.group != sample.group), None) if sample in fakes else None
        return show_picture(
            dataset, sample, detector.facts, counterpart=lambda: shown(pair) if pair else None,
            stranger=lambda: shown(other) if other else None,
        )  # fmt: skip

    return [shown(s) for s in (known.values() if samples is None else samples)]


def _pair(index: int) -> tuple[Sample, Sample]:
    number = f"{index:03d}"
    real = Sample(id=f"real/{number}", label="real", group=f"group-{number}", split="test", has_landmarks=True)
    fake = Sample(
        id=f"fake/{number}",
        label="fake",
        group=real.group,
        method="planted",
        pair=real.id,
        split="test",
        has_mask=True,
        has_landmarks=True,
    )
    return real, fake


def _bytes(pixels: NDArray[np.floating]) -> NDArray[np.uint8]:
    shown: NDArray[np.uint8] = np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8)
    return shown


def clone_of(picture: Picture) -> tuple[torch.Tensor, ...]:
    """Copies of everything of a picture that a component could change in place."""
    held = (picture.image, picture.mask, picture.landmarks)
    return tuple(t.detach().clone() for t in held if t is not None)
