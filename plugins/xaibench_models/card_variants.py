"""What the author of a card could have meant: other readings of its keys, the likeliest first.

A reading is a change of few keys. Ranges, means and deviations are compared by the map that they make of a picture,
``(x * (high - low) + low - mean) / std``: two pairs of keys that make one map are one reading, and the one that changes
fewer keys stands for both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

from xaibench.api import CardVariant, Facts, ModelError
from xaibench_models.card import CardKeys, ResizeKeys, Three
from xaibench_models.interface import ModelInput
from xaibench_models.outputs import Outputs
from xaibench_models.preprocess import Preprocessing

Keys = dict[str, Any]

MOST_VARIANTS = 24
_NONE: tuple[Three, Three] = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
_HALF: tuple[Three, Three] = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
_IMAGENET: tuple[Three, Three] = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_CLIP: tuple[Three, Three] = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
_CAFFE: Three = (103.939, 116.779, 123.68)  # blue, green, red of 0..255
_RANGES = ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0))
_STEEPEST = 20.0  # of a map with a deviation: a picture is to come out within tens, as networks are trained
_ALIKE = 0.005  # of the way from black to white
_SIZES = (224, 256, 299, 380)
_SMALLEST, _LARGEST = 16, 1024
_NAMES = (
    ("classes", ("classes", "real", "high", "fake_index")),
    ("colour", ("colour",)),
    ("range", ("range",)),
    ("mean and std", ("mean", "std")),
    ("layout", ("layout",)),
    ("resize", ("resize",)),
    ("size", ("size",)),
    ("output", ("output", "output_key")),
    ("activation", ("activation",)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Freedom:
    """What a model file leaves to its card.

    ``outputs`` are the keys of other outputs that could hold scores, ``activation`` whether the values could be
    probabilities for logits or logits for probabilities.
    """

    layout: bool = False
    size: bool = False
    outputs: tuple[Keys, ...] = ()
    activation: bool = False


def card_variants(
    keys: CardKeys,
    source: ModelInput,
    outputs: Outputs,
    freedom: Freedom,
    read_as: Callable[[CardVariant], object],
) -> tuple[CardVariant, ...]:
    """Other plausible readings of a card, the likeliest first, at most :data:`MOST_VARIANTS`.

    Parameters
    ----------
    keys: the card.
    source, outputs: what its own reading settles.
    freedom: what the file leaves open.
    read_as: tries a reading on check pictures. A reading that the network could refuse is tried, lest it count among
        those that the gain of each is corrected for.
    """

    def accepts(variant: CardVariant) -> bool:
        try:
            read_as(variant)
        except ModelError:
            return False
        return True

    def tried(readings: Iterator[Keys]) -> Iterator[Keys]:
        return (keys for keys in readings if accepts(_variant(keys)))

    resizes, sizes = list(_resizes(source)), list(tried(_sizes(source))) if freedom.size else []
    readings = chain(
        _inputs(source.preprocessing),
        tried(_activations(outputs)) if freedom.activation else (),
        tried(_layouts(source)) if freedom.layout else (),
        _outputs(freedom.outputs, accepts),
        _real_classes(outputs),
        resizes[:2],
        sizes[:3],
        resizes[2:],
        sizes[3:],
    )
    swap = _swapped(keys, outputs)
    found = ([CardVariant(name="classes", keys=swap, swaps=True)] if swap else []) + [_variant(k) for k in readings]
    return tuple(found[:MOST_VARIANTS])


def without_gradients(facts: Facts) -> Facts:
    """The facts of another reading: it is compared by its probabilities alone."""
    reason = "another reading of the card is looked at by its probabilities alone"
    limits = dict.fromkeys(("gradients", "activations", "operations", "attention"), reason)
    return replace(facts, gives=frozenset(), limits=limits, target_layer=None, target_grid=None, layers=(), notes=())


def _variant(keys: Keys) -> CardVariant:
    names = [name for name, held in _NAMES if any(key in keys for key in held)]
    return CardVariant(name=", ".join([*names[:-2], " and ".join(names[-2:])]) if names else "card", keys=keys)


# ---- what goes in -----------------------------------------------------------------------------------------------


def _inputs(own: Preprocessing) -> Iterator[Keys]:
    """Colour order, range, mean and std. A file that takes uint8 has colours alone."""
    if own.number == "uint8":
        yield {"colour": _other_colour(own)}
        return
    seen = [own]
    readings = [(p, _changed(own, p)) for p in _preprocessings(own)]
    for reading, keys in sorted(readings, key=lambda r: len(r[1])):  # stable: of equally many keys the likelier first
        if not any(_same(reading, other) for other in seen):
            seen.append(reading)
            yield keys


def _preprocessings(own: Preprocessing) -> Iterator[Preprocessing]:
    other = _other_colour(own)
    yield replace(own, colour=other)
    for edges in _RANGES:
        reading = replace(own, range=edges)
        if _plausible(reading):
            yield reading
    for mean, std in (_IMAGENET, _HALF, _NONE, _CLIP):
        yield _normalised(own, mean, std)
    yield replace(own, range=(0.0, 255.0), mean=_NONE[0], std=_NONE[1])
    yield replace(own, range=(0.0, 255.0), colour="BGR", mean=_CAFFE, std=_NONE[1])
    turned = replace(own, colour=other)
    for mean, std in (_IMAGENET, _HALF):
        yield _normalised(turned, mean, std)
    yield replace(turned, range=(0.0, 255.0), mean=_NONE[0], std=_NONE[1])
    yield replace(turned, mean=_reversed(own.mean), std=_reversed(own.std))


def _other_colour(own: Preprocessing) -> Any:
    return "BGR" if own.colour == "RGB" else "RGB"


def _reversed(values: Three) -> Three:
    return values[2], values[1], values[0]


def _normalised(own: Preprocessing, mean: Three, std: Three) -> Preprocessing:
    """``own`` with a mean and std of pictures in [0, 1], red first; its range stays where black is 0."""
    edges = own.range if own.range[0] == 0 else (0.0, 1.0)
    if own.colour == "BGR":
        mean, std = _reversed(mean), _reversed(std)
    white = edges[1] if (mean, std) != _NONE else 1.0
    edges = edges if (mean, std) != _NONE else (0.0, 1.0)
    return replace(own, range=edges, mean=_times(mean, white), std=_times(std, white))


def _times(values: Three, factor: float) -> Three:
    first, second, third = (round(v * factor, 6) for v in values)
    return first, second, third


def _plausible(p: Preprocessing) -> bool:
    """Whether mean and std could belong to the range: the mean within it, and the map not too steep."""
    low, high = p.range
    if any(not low <= m <= high for m in p.mean):
        return False
    if p.std == _NONE[1]:
        return not any(p.mean) or high < 2 or max(p.mean) > 1
    return (high - low) / min(p.std) <= _STEEPEST


def _changed(own: Preprocessing, reading: Preprocessing) -> Keys:
    """The card keys in which two differ, numbers as they would stand in TOML."""
    keys: Keys = {}
    if reading.colour != own.colour:
        keys["colour"] = reading.colour
    if reading.range != own.range:
        keys["range"] = tuple(_short(v) for v in reading.range)
    for name in ("mean", "std"):
        values = getattr(reading, name)
        if values != getattr(own, name):
            keys[name] = _short(values[0]) if len(set(values)) == 1 else values
    return keys


def _short(value: float) -> float:
    return int(value) if value == int(value) else value


def _same(first: Preprocessing, second: Preprocessing) -> bool:
    """Whether two make the same of every picture, up to half a hundredth of the way from black to white."""
    if (first.layout, first.colour) != (second.layout, second.colour):
        return False
    for channel in range(3):
        (black, white), (other_black, other_white) = (_edges(p, channel) for p in (first, second))
        if max(abs(black - other_black), abs(white - other_white)) > _ALIKE * abs(white - black):
            return False
    return True


def _edges(p: Preprocessing, channel: int) -> tuple[float, float]:
    """What black and white become."""
    low, high = ((edge - p.mean[channel]) / p.std[channel] for edge in p.range)
    return low, high


def _layouts(source: ModelInput) -> Iterator[Keys]:
    yield {"layout": "NHWC" if source.preprocessing.layout == "NCHW" else "NCHW"}


def _resizes(source: ModelInput) -> Iterator[Keys]:
    """Other rules of resizing: the default, crop or squash, other filters, antialias."""
    own, default = source.resize, ResizeKeys.model_validate({})
    current = {name: getattr(own, name) for name in ResizeKeys.model_fields}
    usual = default.model_dump()
    changes: list[Keys] = [usual, {"mode": "crop" if own.mode == "squash" else "squash"}]
    changes += [{"interpolation": name} for name in ("bicubic", "bilinear", "nearest", "area")]
    if own.interpolation in ("bilinear", "bicubic"):
        changes.append({"antialias": not own.antialias})
    seen = [current]
    for change in changes:
        table = current | change
        if table["interpolation"] in ("nearest", "area"):
            table["antialias"] = current["antialias"]  # it says nothing of these filters
        if table not in seen:
            seen.append(table)
            yield {"resize": {k: v for k, v in table.items() if v != usual[k] or v != current[k]}}


def _sizes(source: ModelInput) -> Iterator[Keys]:
    """Half and double, then the usual sizes of networks up to four times as large or small as the card's."""
    height, width = source.size
    sizes = [
        (height // 2, width // 2),
        (height * 2, width * 2),
        *((s, s) for s in _SIZES if s <= 4 * min(source.size) and max(source.size) <= 4 * s),
    ]
    for size in dict.fromkeys(sizes):
        if size != source.size and min(size) >= _SMALLEST and max(size) <= _LARGEST:
            yield {"size": size[0] if size[0] == size[1] else size}


# ---- what comes out ---------------------------------------------------------------------------------------------


def _activations(outputs: Outputs) -> Iterator[Keys]:
    yield {"activation": "probability" if outputs.activation == "logit" else "logit"}


def _outputs(others: Iterable[Keys], accepts: Callable[[CardVariant], bool]) -> Iterator[Keys]:
    """Other outputs, where the card's word on activation does not fit with the other one."""
    for other in others:
        readings = (other, {**other, "activation": "logit"}, {**other, "activation": "probability"})
        found = next((keys for keys in readings if accepts(_variant(keys))), None)
        if found is not None:
            yield found


def _swapped(keys: CardKeys, outputs: Outputs) -> Keys:
    """The keys with which real and fake change places, those that the card uses; none of several fake classes."""
    if keys.high is not None:
        return {"high": "real" if keys.high == "fake" else "fake"}
    index = getattr(keys, "fake_index", None)
    if index is not None:
        return {"fake_index": 1 - index}
    if len(outputs.classes) != 2:
        return {}
    if keys.real is not None and keys.real.lower() != "real":
        return {"real": outputs.classes[1 - outputs.real]}
    return {"classes": outputs.classes[::-1]}


def _real_classes(outputs: Outputs) -> Iterator[Keys]:
    """Of several fake classes: the real class at another place, first or last."""
    count = len(outputs.classes)
    if count == 2:
        return
    real = outputs.classes[outputs.real]
    others = [name for name in outputs.classes if name != real]
    for place in (0, count - 1):
        if place != outputs.real:
            yield {"classes": (*others[:place], real, *others[place:])}
