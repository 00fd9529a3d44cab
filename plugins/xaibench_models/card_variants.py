"""Other plausible readings of a model card: what its author could have meant by the same file.

A reading changes one habit at a time, since a card is seldom wrong in two ways: channel order, range, mean and std,
layout, resize rule, size, output, activation; the other channel order with common scalings comes last. Two readings
that feed the network alike are one. Readings that the file contradicts are not offered.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from xaibench.api import CardVariant, Facts, Resize
from xaibench_models.card import CardKeys, Three
from xaibench_models.interface import ModelInput
from xaibench_models.outputs import Outputs
from xaibench_models.preprocess import Preprocessing

MOST_VARIANTS = 24
_NONE: tuple[Three, Three] = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
_IMAGENET: tuple[Three, Three] = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_CLIP: tuple[Three, Three] = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
_CAFFE: Three = (103.939, 116.779, 123.68)  # blue, green, red of pictures in 0..255
_UNIT, _SIGNED, _BYTES, _HALVES = (0.0, 1.0), (-1.0, 1.0), (0.0, 255.0), (-0.5, 0.5)
_SIZES = (224, 256, 299, 380)
_SMALLEST, _LARGEST = 16, 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Freedom:
    """What a model file leaves to its card.

    ``outputs`` are the keys of other outputs that could hold scores, ``activation`` whether the values could be
    probabilities for logits or logits for probabilities.
    """

    layout: bool = False
    size: bool = False
    outputs: tuple[Mapping[str, Any], ...] = ()
    activation: bool = False


def card_variants(keys: CardKeys, source: ModelInput, outputs: Outputs, freedom: Freedom) -> tuple[CardVariant, ...]:
    """Other readings than ``keys``, which were settled as ``source`` and ``outputs``; the likeliest first."""
    own = source.preprocessing
    seen = [own]

    def new(options: Iterable[Preprocessing]) -> Iterator[CardVariant]:
        for option in options:
            if not any(_alike(option, other) for other in seen):
                seen.append(option)
                changes = _changed(own, option)
                yield CardVariant(name=_name(changes), keys=changes)

    turned = replace(own, colour="BGR" if own.colour == "RGB" else "RGB")
    scalings = () if own.number == "uint8" else tuple(_scalings(own))
    ordered = [
        *_swapped(keys, outputs),
        *new([turned, replace(turned, mean=own.mean[::-1], std=own.std[::-1])]),
        *new(scalings),
        *(new([replace(own, layout="NHWC" if own.layout == "NCHW" else "NCHW")]) if freedom.layout else ()),
        *_others(outputs, freedom),
        *(_sizes(source.size) if freedom.size else ()),
        *_resizes(source.resize),
        *(new(_scalings(turned)) if scalings else ()),
    ]
    return tuple(ordered[:MOST_VARIANTS])


def _name(changes: Mapping[str, Any]) -> str:
    names = [key for key in ("colour", "layout", "range") if key in changes]
    if {"mean", "std"} & set(changes):
        names.append("mean and std")
    return ", ".join(names)


def without_gradients(facts: Facts) -> Facts:
    """The facts of another reading: it is compared by its probabilities alone."""
    reason = "another reading of the card is looked at by its probabilities alone"
    limits = dict.fromkeys(("gradients", "activations", "operations", "attention"), reason)
    return replace(facts, gives=frozenset(), limits=limits, target_layer=None, layers=(), notes=())


# ---- classes and outputs ----------------------------------------------------------------------------------------


def _swapped(keys: CardKeys, outputs: Outputs) -> Iterator[CardVariant]:
    """Real and fake in each other's place, by the key that the card uses. Of several fakes there is no other place."""
    fake_index: int | None = getattr(keys, "fake_index", None)
    turned: dict[str, Any] | None = None
    if outputs.columns == 1:
        turned = {"high": "real" if outputs.high == "fake" else "fake"}
    elif fake_index is not None:
        turned = {"fake_index": 1 - fake_index}
    elif len(outputs.classes) == 2:
        turned = {"classes": list(outputs.classes[::-1])}
    if turned is not None:
        yield CardVariant(name="classes", keys=turned, swaps=True)


def _others(outputs: Outputs, freedom: Freedom) -> Iterator[CardVariant]:
    if freedom.activation:
        said = "probability" if outputs.activation == "logit" else "logit"
        yield CardVariant(name="activation", keys={"activation": said})
    for output in freedom.outputs:
        yield CardVariant(name="output", keys=output)


# ---- input ------------------------------------------------------------------------------------------------------


def _scalings(own: Preprocessing) -> Iterator[Preprocessing]:
    """Common ranges, means and deviations, in the channel order of ``own``."""

    def scaled(span: tuple[float, float], mean_std: tuple[Three, Three]) -> Preprocessing:
        mean, std = mean_std
        return replace(own, range=span, mean=_ordered(mean, own), std=_ordered(std, own))

    yield scaled(_UNIT, _NONE)
    yield scaled(_SIGNED, _NONE)
    yield scaled(_UNIT, _IMAGENET)
    yield scaled(_BYTES, _NONE)
    yield scaled(_UNIT, _CLIP)
    if (own.mean, own.std) != _NONE:  # the card's mean and std in the units of another range
        for span in (_UNIT, _BYTES, _SIGNED):
            yield replace(own, range=span)
    yield replace(own, range=_BYTES, colour="BGR", mean=_CAFFE, std=_NONE[1])
    yield replace(own, range=_BYTES, colour="RGB", mean=_CAFFE[::-1], std=_NONE[1])
    yield scaled(_HALVES, _NONE)


def _ordered(values: Three, own: Preprocessing) -> Three:
    return values if own.colour == "RGB" else values[::-1]


def _alike(one: Preprocessing, other: Preprocessing) -> bool:
    """Whether two feed a network the same numbers, within 1e-4 of their span."""
    if (one.layout, one.colour) != (other.layout, other.colour):
        return False
    ends = zip(_ends(one), _ends(other), strict=True)
    return all(abs(a - c) + abs(b - d) <= 1e-4 * (1 + abs(a - b)) for (a, b), (c, d) in ends)


def _ends(p: Preprocessing) -> list[tuple[float, float]]:
    """What black and white become, for each channel."""
    return [((p.range[0] - m) / s, (p.range[1] - m) / s) for m, s in zip(p.mean, p.std, strict=True)]


def _changed(own: Preprocessing, other: Preprocessing) -> dict[str, Any]:
    """The card keys that make ``other`` of ``own``."""
    changes: dict[str, Any] = {}
    for key in ("layout", "colour"):
        if getattr(own, key) != getattr(other, key):
            changes[key] = getattr(other, key)
    if own.range != other.range:
        changes["range"] = list(other.range)
    for key in ("mean", "std"):
        values: Three = getattr(other, key)
        if getattr(own, key) != values:
            changes[key] = values[0] if len(set(values)) == 1 else list(values)
    return changes


def _resizes(own: Resize) -> Iterator[CardVariant]:
    """Every change of one part of the resize rule, and back to the default where the card has its own."""
    options = [
        replace(own, mode="crop" if own.mode == "squash" else "squash"),
        replace(own, interpolation="bilinear"),
        replace(own, interpolation="bilinear", antialias=not own.antialias),
        replace(own, interpolation="bicubic"),
        replace(own, interpolation="area"),
        replace(own, interpolation="nearest"),
    ]
    for option in options:
        if option != own:
            table = {"interpolation": option.interpolation, "antialias": option.antialias, "mode": option.mode}
            yield CardVariant(name="resize", keys={"resize": table})


def _sizes(own: tuple[int, int]) -> Iterator[CardVariant]:
    halves = [(own[0] // 2, own[1] // 2), (own[0] * 2, own[1] * 2)]
    for size in dict.fromkeys([*((n, n) for n in _SIZES), *halves]):
        if size != own and all(_SMALLEST <= n <= _LARGEST for n in size):
            yield CardVariant(name="size", keys={"size": list(size)})
