"""The situations that checks put components into: what they declare to need and no more, and awkward pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from xaibench.api import DETECTOR_NEEDS, Detector, Facts, Features, Native, Picture, digest_shown
from xaibench_testing.planted import (
    PATCH,
    SIZE,
    ConstantDetector,
    DifferentiablePatchDetector,
    Patch,
    PatchDetector,
    planted_family,
)
from xaibench_testing.planted_data import pictures_of, planted_samples

ROOMY = (64, 96)
CHANNELS = 2048
"""Channels of the layer in a roomy world: as many as the last layer of common networks has."""


@dataclass(frozen=True, slots=True)
class World:
    """A detector and pictures it is shown; ``family`` are its sisters, itself among them, ``reference`` pictures of
    another dataset."""

    detector: Detector
    pictures: tuple[Picture, ...]
    family: Mapping[str, Detector]
    reference: tuple[Picture, ...] = ()

    @property
    def place(self) -> str:
        """What is unusual in a roomy world, for a message; empty elsewhere."""
        height, width = self.detector.facts.input_size
        return f" of {height}x{width} pixels, layer of {CHANNELS} channels" if (height, width) == ROOMY else ""

    def only(self, label: str) -> World:
        """The pictures of one label."""
        return replace(self, pictures=tuple(p for p in self.pictures if p.sample.label == label))


def planted_world(needs: frozenset[str], pairs: int = 2) -> World:
    """A planted detector and data set that give exactly ``needs``: no other capability, mask, pair or landmarks."""
    return _world(planted_family(3, attention="attention" in needs), needs, pairs, SIZE)


def roomy_world(needs: frozenset[str]) -> World:
    """A planted world of one pair with larger pictures and a wide layer, in which a bound that is too low shows."""
    family = planted_family(3, ROOMY, attention="attention" in needs)
    for detector in family.values():
        if isinstance(detector, DifferentiablePatchDetector):
            detector.channels = CHANNELS
    return _world(family, needs, 1, ROOMY)


def _world(planted: Mapping[str, PatchDetector], needs: frozenset[str], pairs: int, size: tuple[int, int]) -> World:
    family = {name: limited(d, needs) for name, d in planted.items()}
    detector = next(iter(family.values()))
    pictures, others = (pictures_of(planted_samples(pairs, size, seed=seed), detector) for seed in (0, 1))
    return World(detector, tuple(bare(p, needs) for p in pictures), family, tuple(bare(p, needs) for p in others))


# ---- detectors that give less ---------------------------------------------------------------------------------------


class Limited:
    """A detector that keeps some of its abilities to itself: the attributes of the others do not exist."""

    def __init__(self, detector: Detector, gives: frozenset[str]) -> None:
        self._detector = detector
        self._gives = gives & DETECTOR_NEEDS
        names = {"gradients": ("logits", "randomised"), "activations": ("features",)}
        self._open = frozenset(n for ability in self._gives for n in names.get(ability, ()))

    @property
    def facts(self) -> Facts:
        missing = dict.fromkeys(DETECTOR_NEEDS - self._gives, "withheld by the check")
        return replace(self._detector.facts, gives=self._gives, limits=missing)

    @property
    def device(self) -> torch.device:
        return self._detector.device

    def probabilities(self, images: Tensor) -> Tensor:
        return self._detector.probabilities(images)

    def scores(self, images: Tensor) -> Tensor:
        return self._detector.scores(images)

    def __getattr__(self, name: str) -> object:
        if name.startswith("_") or name not in self._open:
            known = ", ".join(sorted(self._gives)) or "probabilities alone"
            raise AttributeError(f"this detector has no '{name}': it gives {known}")
        found = getattr(self._detector, name)
        return _flat(found) if name == "features" and "gradients" not in self._gives else found


def _flat(features: Callable[..., Features]) -> Callable[..., Features]:
    """Activations cut off from autograd."""

    def without_gradients(
        images: Tensor, layer: str | None = None, edit: Callable[[Tensor, int], Tensor] | None = None
    ) -> Features:
        with torch.no_grad():
            return features(images, layer, edit)

    return without_gradients


def limited(detector: Detector, gives: frozenset[str]) -> Detector:
    """The detector with no abilities but those named."""
    return detector if gives >= DETECTOR_NEEDS else Limited(detector, gives)


# ---- pictures with less ---------------------------------------------------------------------------------------------


def bare(picture: Picture, gives: frozenset[str]) -> Picture:
    """The picture without the mask, pair, landmarks and stranger that ``gives`` does not name, in the file as well."""
    mask = picture.mask if "mask" in gives else None
    landmarks = picture.landmarks if "landmarks" in gives else None
    paired = "pair" in gives

    def native() -> Native:
        whole = picture.native()
        weights = whole.mask if "mask" in gives else None
        return Native(whole.pixels, weights, whole.landmarks if "landmarks" in gives else None)

    def counterpart() -> Picture | None:
        real = picture.counterpart() if paired else None
        return None if real is None else bare(real, gives)

    def stranger() -> Picture | None:
        other = picture.stranger() if "stranger" in gives else None
        return None if other is None else bare(other, gives)

    sample = replace(
        picture.sample,
        pair=picture.sample.pair if paired else None,
        has_mask=picture.sample.has_mask and "mask" in gives,
        has_landmarks=picture.sample.has_landmarks and "landmarks" in gives,
    )
    return replace(
        picture,
        sample=sample,
        mask=mask,
        landmarks=landmarks,
        digest=digest_shown(picture.image, mask, landmarks),
        native=native,
        counterpart=counterpart,
        stranger=stranger,
    )


# ---- awkward situations ---------------------------------------------------------------------------------------------

TINY = (8, 8)
TINY_PATCH = Patch(2, 4, 2, 4)


def awkward_worlds(needs: frozenset[str]) -> dict[str, World]:
    """Situations that a component must answer with finite values or a status with a reason, by name."""
    usual = planted_world(needs, pairs=1)
    attention = "attention" in needs
    tiny = next(iter(planted_family(1, TINY, TINY_PATCH, attention=attention).values()))
    pictures = tuple(bare(p, needs) for p in pictures_of(planted_samples(1, TINY, TINY_PATCH), tiny))
    tinies = {n: limited(d, needs) for n, d in planted_family(3, TINY, TINY_PATCH, attention=attention).items()}
    constants = {f"seed-{i}": limited(ConstantDetector(p, SIZE), needs) for i, p in enumerate((0.7, 0.6, 0.8))}
    return {
        "flat pictures": replace(usual, pictures=_flat_pictures(usual)),
        "masks of one pixel, of all, and none": replace(usual, pictures=_odd_masks(usual)),
        "a detector that always says the same": replace(usual, detector=constants["seed-0"], family=constants),
        f"pictures of {TINY[0]}x{TINY[1]} pixels": World(limited(tiny, needs), pictures, tinies),
    }


def _flat_pictures(world: World) -> tuple[Picture, ...]:
    fake = _fake(world)
    shades = {"black": 0.0, "grey": 128 / 255, "white": 1.0}
    return tuple(altered(fake, name, image=torch.full_like(fake.image, v)) for name, v in shades.items())


def _odd_masks(world: World) -> tuple[Picture, ...]:
    fake = _fake(world)
    none = altered(fake, "no-mask", mask=None)
    if fake.mask is None:
        return (none,)
    one = torch.zeros_like(fake.mask)
    one[one.shape[0] // 3, one.shape[1] // 3] = True
    return (altered(fake, "one-pixel", mask=one), altered(fake, "full", mask=torch.ones_like(one)), none)


def _fake(world: World) -> Picture:
    return next(p for p in world.pictures if p.sample.label == "fake")


_SAME = object()


def altered(picture: Picture, name: str, *, image: Tensor | None = None, mask: object = _SAME) -> Picture:
    """A picture of another name with another image or mask (None takes it off); the file says the same as it does."""
    shown = picture.image if image is None else image
    chosen = picture.mask if mask is _SAME else mask
    assert chosen is None or isinstance(chosen, Tensor)
    pixels = (shown.permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
    landmarks = picture.landmarks
    native = Native(
        pixels,
        None if chosen is None else chosen.numpy().astype("uint8") * 255,
        None if landmarks is None else landmarks.numpy(),
    )
    return replace(
        picture,
        sample=replace(picture.sample, id=f"fake/{name}", has_mask=chosen is not None),
        image=shown,
        mask=chosen,
        digest=digest_shown(shown, chosen, landmarks),
        native=lambda: native,
    )


def planted_evidence(picture: Picture) -> Tensor:
    """The map of the planted evidence, ``(H, W)``: the shown mask; the patch where a picture has none."""
    if picture.mask is not None:
        return picture.mask.float()
    size = (picture.image.shape[1], picture.image.shape[2])
    return (TINY_PATCH if size == TINY else PATCH).mask(size).float()
