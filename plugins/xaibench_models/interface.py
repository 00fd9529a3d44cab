"""What goes into a model and what comes out, settled from the card, the file and the documented defaults.

Order of authority: the card (parameters, then TOML, then metadata), the file, the default. Where card and file
contradict each other the model is refused. Every default taken becomes a line in the notes, printed before a run.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Literal, TypeVar

import torch
from torch import Tensor

from xaibench.api import Batch, ModelError, Resize, to_device
from xaibench_models.card import Activation, BatchKeys, CardKeys, Layout, ResizeKeys, Three
from xaibench_models.outputs import Outputs, check_values, find_real, lie_between_0_and_1, may_be_probabilities
from xaibench_models.preprocess import Number, Preprocessing

T = TypeVar("T")
MOST_SCORES = 32
"""Columns of an output without named classes; more are taken for features."""
_COLOURS = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), (0.5, 0.5, 0.5), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
DEFAULT_THRESHOLD = 0.5
HALF_DIGITS = 10
_DIGITS = {"float16": HALF_DIGITS, "bfloat16": 7}


@dataclass(slots=True)
class Notes:
    """Lines to print before a run, collected while a model is opened."""

    lines: list[str] = field(default_factory=list)

    def add(self, line: str) -> None:
        self.lines.append(line)

    def default(self, key: str, said: T | None, default: T, shown: str) -> T:
        """``said``, or ``default`` with a line saying so."""
        if said is not None:
            return said
        self.add(f"{key}: {shown} by default (card key '{key}')")
        return default


@dataclass(frozen=True, slots=True, kw_only=True)
class FileInput:
    """What a model file says of its input; None where it does not."""

    layout: Layout | None = None
    size: tuple[int, int] | None = None
    batch: int | None = None
    number: Number = "float32"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInput:
    """How a model is fed."""

    preprocessing: Preprocessing
    size: tuple[int, int]
    batch: Batch
    resize: Resize

    @property
    def scale(self) -> tuple[float, float, float]:
        """One unit of the model's input in picture units, ``std / (high - low)``, for red, green and blue."""
        p = self.preprocessing
        red, green, blue = (s / (p.range[1] - p.range[0]) for s in (p.std if p.colour == "RGB" else p.std[::-1]))
        return red, green, blue

    @property
    def zero_colour(self) -> tuple[float, float, float] | None:
        """Red, green and blue that become 0: ``(mean - low) / (high - low)``.

        None where that is black (nothing is subtracted) or no colour.
        """
        p = self.preprocessing
        low, high = p.range
        red, green, blue = ((m - low) / (high - low) for m in (p.mean if p.colour == "RGB" else p.mean[::-1]))
        colour = (red, green, blue)
        return colour if any(colour) and all(0 <= c <= 1 for c in colour) else None

    def quantum(self, digits: int | None = None) -> float:
        """The step to which the input is rounded, in picture units.

        1/255 for uint8. Where it is rounded to ``digits`` binary digits behind the leading one (10 in float16, 7 in
        bfloat16; None: what the input's number type has), the widest step next to black or white in any channel.
        """
        p = self.preprocessing
        if p.number == "uint8":
            return 1 / 255
        digits = _DIGITS.get(p.number, digits)
        if digits is None:
            return 0.0
        ends = ((edge - m, s) for m, s in zip(p.mean, p.std, strict=True) for edge in p.range)
        unit = p.range[1] - p.range[0]
        return max(2.0 ** (math.frexp(v / s)[1] - 1 - digits) * s / unit for v, s in ends if v)


def settle_input(keys: CardKeys, file: FileInput, notes: Notes) -> ModelInput:
    """The input side. Raises :class:`ModelError` where card and file disagree or the size is unknown."""
    uint8 = file.number == "uint8"
    if uint8 and (keys.mean is not None or keys.std is not None):
        raise ModelError(
            "the file takes uint8, which leaves no room for mean and std", "take mean and std off the card"
        )
    if uint8:
        notes.add("the file takes uint8: pictures are rounded to 256 levels")
    preprocessing = Preprocessing(
        layout=notes.default("layout", _agreed("layout", keys.layout, file.layout), "NCHW", "NCHW"),
        colour=notes.default("colour", keys.colour, "RGB", "RGB"),
        range=_range(keys, uint8, notes),
        mean=_three(notes, "mean", keys.mean, 0.0, "0, nothing subtracted,") if not uint8 else (0.0,) * 3,
        std=_three(notes, "std", keys.std, 1.0, "1, no scaling,") if not uint8 else (1.0,) * 3,
        number=file.number,
    )
    size = _agreed("size", _pair(keys.size), file.size)
    if size is None:
        raise ModelError(
            "the file does not say how large its input is",
            "add size = [HEIGHT, WIDTH] to the card, or write FILE:size=PIXELS where there is none",
        )
    resize = notes.default("resize", keys.resize, ResizeKeys.model_validate({}), "bilinear, antialiased, squashed")
    return ModelInput(
        preprocessing=preprocessing,
        size=size,
        batch=_batch(keys.batch, file.batch),
        resize=Resize(**resize.model_dump()),
    )


def _range(keys: CardKeys, uint8: bool, notes: Notes) -> tuple[float, float]:
    if not uint8:
        return notes.default("range", keys.range, (0.0, 1.0), "[0, 1]")
    if keys.range not in (None, (0.0, 255.0)):
        raise ModelError("the file takes uint8, so range is [0, 255]", "take range off the card")
    return 0.0, 255.0


def _agreed(key: str, said: T | None, file: T | None) -> T | None:
    if said is not None and file is not None and said != file:
        raise ModelError(f"the card says {key} = {said}, the file {file}", f"mend or take off the card key '{key}'")
    return file if said is None else said


def _pair(size: int | tuple[int, int] | None) -> tuple[int, int] | None:
    return (size, size) if isinstance(size, int) else size


def _three(notes: Notes, key: str, said: float | Three | None, default: float, shown: str) -> Three:
    """One number a channel; a single number holds for all three."""
    if said is None:
        said = notes.default(key, None, default, shown)
    return said if isinstance(said, tuple) else (said, said, said)


def _batch(said: int | BatchKeys | None, file: int | None) -> Batch:
    keys = said if isinstance(said, BatchKeys) else BatchKeys.model_validate({"max": said})
    fixed = _agreed("batch.fixed", keys.fixed, file)
    if fixed is not None:
        return Batch(fixed=fixed)
    return Batch(maximum=keys.max)


# ---- outputs ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputEvidence:
    """What tells class scores from other values, asked for only where the values themselves leave it open.

    Parameters
    ----------
    leaves: what the output left: a ``sigmoid``, a ``softmax``, a ``linear`` layer, whose values have no bounds, or None
        where that is not seen.
    harder: ``(N, columns)`` values of :func:`hard_pictures`.
    elsewhere: how to name the output that holds scores; empty where there is none.
    """

    leaves: Callable[[], Literal["sigmoid", "softmax", "linear"] | None]
    harder: Callable[[], Tensor]
    elsewhere: Callable[[], str]


def settle_outputs(
    keys: CardKeys,
    values: Tensor,
    ends_in: Literal["sigmoid", "softmax"] | None,
    notes: Notes,
    evidence: OutputEvidence,
) -> Outputs:
    """The output side, settled with the ``(N, columns)`` values of a test batch.

    Parameters
    ----------
    ends_in: the activation that the file's graph ends in, None where it ends otherwise or cannot be looked into.
    evidence: what else tells scores from other values.

    Raises :class:`ModelError` where the meaning of the outputs is not known, or the values are not what is said.
    """
    columns = values.shape[1]
    if columns == 1 and keys.high is None:
        raise ModelError(
            "the model has one output, and high may mean fake or real",
            'add high = "fake" or high = "real" to the card (or as a parameter)',
        )
    if columns > 1 and keys.high is not None:
        raise ModelError(
            f"the card says high = '{keys.high}', but the model has {columns} outputs",
            "take 'high' off and name the classes: classes = [...], real = ...",
        )
    _refuse_embedding(keys, columns, evidence)
    classes, real = _classes(keys, columns, notes, evidence)
    outputs = Outputs(
        classes=classes,
        real=real,
        columns=columns,
        activation=_activation(keys.activation, ends_in, values, notes, evidence),
        high=keys.high,
    )
    _check_function(outputs, ends_in)
    check_values(values, outputs)
    return outputs


def _refuse_embedding(keys: CardKeys, columns: int, evidence: OutputEvidence) -> None:
    if columns > MOST_SCORES and len(keys.classes or ()) != columns:
        raise ModelError(
            f"the output holds {columns} values a picture, as an embedding or a layer of features does, and no class "
            "scores",
            evidence.elsewhere() or f"name the output of the last layer, or add {columns} classes = [...] to the card",
        )


def _classes(keys: CardKeys, columns: int, notes: Notes, evidence: OutputEvidence) -> tuple[tuple[str, ...], int]:
    wanted = max(columns, 2)
    if keys.classes is None and wanted > 2:
        raise ModelError(
            f"the model has {columns} outputs, and the card does not name them",
            _or_elsewhere(f'add classes = [{wanted} names] and real = "NAME" to the card', evidence),
        )
    if keys.classes is not None and len(keys.classes) != wanted:
        raise ModelError(
            f"the card names {len(keys.classes)} classes, but the model has "
            f"{columns} output{'s' if columns > 1 else ', which means two classes'}",
            _or_elsewhere(f"name {wanted} classes", evidence),
        )
    if keys.classes is None and keys.real not in (None, "real"):
        raise ModelError(
            f"the card says real = '{keys.real}' without saying where it stands", 'add classes = ["…", "…"] to the card'
        )
    classes = notes.default("classes", keys.classes, ("real", "fake"), "real, fake")
    real = find_real(classes, keys.real)
    if real is None:
        what = f"real = '{keys.real}' is none of them" if keys.real else "the card does not say which means real"
        raise ModelError(f"classes are {', '.join(classes)}; {what}", 'add real = "NAME" with one of them')
    return classes, real


def _or_elsewhere(mend: str, evidence: OutputEvidence) -> str:
    other = evidence.elsewhere()
    return f"{mend}, or, where these are features and no scores, {other}" if other else mend


def _activation(
    said: Activation | None,
    ends_in: Literal["sigmoid", "softmax"] | None,
    values: Tensor,
    notes: Notes,
    evidence: OutputEvidence,
) -> Activation:
    left = ends_in
    if said == "logit" and ends_in is None and lie_between_0_and_1(values):
        seen = evidence.leaves()
        left = None if seen == "linear" else seen
    if said is not None and left is not None and said not in (left, "probability"):
        raise ModelError(
            f"the card says activation = '{said}', but the output leaves a {left}", "mend or take off 'activation'"
        )
    if said is not None or ends_in is not None:
        return ends_in or said or "logit"
    if values.shape[1] > 1 and may_be_probabilities(values):
        raise ModelError(
            "the output values sum to 1 like probabilities, but nothing says that they are",
            'add activation = "probability" (or "logit") to the card',
        )
    if lie_between_0_and_1(values) and evidence.leaves() != "linear":
        _refuse_bounded(values, evidence)
    return notes.default("activation", None, "logit", "logit")


def _refuse_bounded(values: Tensor, evidence: OutputEvidence) -> None:
    """Refuse values between 0 and 1 that nothing on the card explains: taken for logits they squeeze P(fake)."""
    columns, leaves, pictures = values.shape[1], evidence.leaves(), len(values)
    if leaves is None:
        harder = evidence.harder()
        if not lie_between_0_and_1(harder):
            return
        pictures += len(harder)
    if columns == 1:
        why = f"leaves a {leaves}" if leaves else f"lies between 0 and 1 on {pictures} pictures of every kind"
        raise ModelError(
            f"the one output {why}, as a probability does, but nothing says that it is one",
            'add activation = "probability" to the card (or activation = "logit" where it is not yet activated)',
        )
    raise ModelError(
        f"the {columns} output values lie between 0 and 1 on {pictures} pictures and do not sum to 1: they left "
        f"{columns} sigmoids, which are independent verdicts and no logits",
        'give a model with one sigmoid or a softmax, or say activation = "logit" where they are not yet activated',
    )


def _check_function(outputs: Outputs, ends_in: str | None) -> None:
    if outputs.activation == "sigmoid" and outputs.columns > 1:
        raise ModelError(
            f"{outputs.columns} outputs with a sigmoid each are independent verdicts, not one distribution",
            "give a model with one sigmoid output, or with a softmax",
        )
    if outputs.activation == "softmax" and outputs.columns == 1:
        raise ModelError("a softmax over one output is always 1", "name the output that holds all classes")


def with_number(source: ModelInput, number: Number) -> ModelInput:
    """The same input in another number type."""
    return replace(source, preprocessing=replace(source.preprocessing, number=number))


# ---- shared by the adapters -------------------------------------------------------------------------------------


def check_pictures(source: ModelInput, device: torch.device) -> Tensor:
    """The pictures that every model is tried on when it is opened: noise, the same each time.

    ``(N, 3, H, W)``: N is the fixed batch, else 3 where the model takes so many.
    """
    n = source.batch.fixed or min(3, source.batch.maximum or 3)
    generator = torch.Generator().manual_seed(0)
    return to_device(torch.rand((n, 3, *source.size), generator=generator), device)


def hard_pictures(source: ModelInput, device: torch.device, most: int | None = None) -> Tensor:
    """``(N, 3, H, W)`` pictures that differ far more than noise does: flat colours, gradients, strong contrast.

    On these an output that has no bounds leaves [0, 1], where it may lie there on noise by chance. The first ``most``
    are those that differ most.
    """
    height, width = source.size
    rows, columns = torch.linspace(0, 1, height)[:, None], torch.linspace(0, 1, width)[None, :]
    generator = torch.Generator().manual_seed(1)
    flat = [torch.tensor(c).view(3, 1, 1).expand(3, height, width) for c in _COLOURS]
    wide = [(torch.arange(n) // max(n // 8, 1)) % 2 for n in (height, width)]
    chequered = (wide[0][:, None] ^ wide[1][None, :]).float().expand(3, height, width)
    sloping = torch.stack([rows.expand(height, width), columns.expand(height, width), 1 - rows * columns])
    contrast = (torch.rand((3, height, width), generator=generator) > 0.5).float()
    pictures = [*flat[:2], chequered, sloping, *flat[2:], 1 - sloping, contrast, contrast * 0.1]
    return torch.stack(pictures[:most]).to(device)


def layout_hint(run: Callable[[ModelInput], object], source: ModelInput) -> str:
    """How to mend the card of a network that fails: the other layout where it takes that, else empty.

    ``run`` calls the network on check pictures under another input.
    """
    layout: Layout = "NHWC" if source.preprocessing.layout == "NCHW" else "NCHW"
    other = replace(source, preprocessing=replace(source.preprocessing, layout=layout))
    try:
        run(other)
    except Exception:  # the network's own
        return ""
    return f'it takes the axes in the other order: set layout = "{layout}" on the card'


def digest_of(weights: str, source: ModelInput, outputs: Outputs, threshold: float, **more: object) -> str:
    """Sha256 over the weights' digest and everything about input and output that can change a number."""
    facts = {
        "weights": weights,
        "preprocessing": asdict(source.preprocessing),
        "size": source.size,
        "resize": asdict(source.resize),
        "outputs": asdict(outputs),
        "threshold": threshold,
        **more,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


def provenance(keys: CardKeys, **more: str | None) -> dict[str, str]:
    """What the card tells of a model's origin, for ``Facts.details``; what is not known is left out.

    ``label_key`` is the key to mend where real and fake turn out to be swapped.
    """
    rows = {**more, "licence": keys.licence, "training_data": keys.training_data}
    rows["label_key"] = _label_key(keys)
    return {name: text for name, text in rows.items() if text}


def _label_key(keys: CardKeys) -> str:
    """Names in the wrong order are mended by their order, lest every name come out wrong with ``real`` turned."""
    if keys.high:
        return "high"
    if getattr(keys, "fake_index", None) is not None:
        return "fake_index"
    return "real" if (keys.real or "real").lower() != "real" else "classes"
