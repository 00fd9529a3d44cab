"""Detectors whose evidence is known, because it was planted.

All of them say P(fake) = sigmoid(z), classes *real* and *fake*, logits ``(-z/2, z/2)``. They compute in float64 and
round once, so that a row does not depend on its batch mates, and count what they are asked:

=============================== ==================================================== ===========================
detector                        z                                                    gives
=============================== ==================================================== ===========================
:class:`PatchDetector`          a step, or tanh, of the weighted mean m of a patch   nothing beyond probabilities
:class:`DifferentiablePatch…`   the same                                             gradients, activations
:class:`LinearDetector`         sum of weights times pixels, plus a bias             gradients, activations
:class:`ConstantDetector`       one number                                           gradients, activations
:class:`AttentionDetector`      tanh of what a class token gathers by attention      the same, and attention
=============================== ==================================================== ===========================
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from xaibench.api import Facts, Features, digest
from xaibench_testing.facade import MarginDetector, margin_logits, randomised_facts

Pattern = Literal["contrast", "brightness"]
Response = Literal["smooth", "step"]

CLASSES = ("real", "fake")
REAL, FAKE = 0, 1
LAYER = "patch"
SIZE = (32, 48)
AMPLITUDE = 0.1
"""Contrast of the planted pattern: a planted fake has m = 0.1, a real picture m near 0."""

_STEEPNESS, _HEIGHT = 2.0, 6.0
_BOTH = frozenset(("gradients", "activations", "operations"))
_LIMITS = {"gradients": "a black box by design", "activations": "a black box by design"}


@dataclass(frozen=True, slots=True)
class Patch:
    """Pixels ``row`` to ``row + height`` and ``column`` to ``column + width``."""

    row: int = 4
    column: int = 24
    height: int = 12
    width: int = 16

    def mask(self, size: tuple[int, int]) -> Tensor:
        """``(H, W)`` bool, True in the patch."""
        if min(self.row, self.column) < 0 or self.row + self.height > size[0] or self.column + self.width > size[1]:
            raise ValueError(f"{self} does not lie within {size[0]} x {size[1]} pixels")
        mask = torch.zeros(size, dtype=torch.bool)
        mask[self.row : self.row + self.height, self.column : self.column + self.width] = True
        return mask


PATCH = Patch()
"""Where the evidence is by default: off centre, an eighth of the picture."""


def pattern_weights(patch: Patch, size: tuple[int, int], pattern: Pattern) -> Tensor:
    """``(H, W)`` float64 that sum to 1 in absolute value over the patch and are 0 elsewhere.

    ``brightness``: all positive, m is the patch's mean. ``contrast``: the signs of a checkerboard of single pixels, so
    that black, grey, blurred and mean-coloured patches all have m = 0.
    """
    mask = patch.mask(size)
    weights = mask.double() / mask.sum()
    if pattern == "brightness":
        return weights
    rows, columns = (torch.arange(n) for n in size)
    return weights * (1.0 - 2.0 * ((rows[:, None] + columns) % 2))


class _Planted(MarginDetector):
    """What all planted detectors share. ``calls`` counts calls, ``pictures`` the rows in them, padding included."""

    def __init__(self, name: str, size: tuple[int, int], gives: frozenset[str], *identity: object) -> None:
        self.calls = 0
        self.pictures = 0
        super().__init__(
            Facts(
                name=name,
                classes=CLASSES,
                real_class=REAL,
                input_size=size,
                digest=digest([name, size, *identity]),
                gives=gives,
                limits={} if gives else _LIMITS,
                target_layer=LAYER if gives else None,
                layers=(LAYER,) if gives else (),
            )
        )

    def _count(self, images: Tensor) -> Tensor:
        if images.dtype != torch.float32 or tuple(images.shape[1:]) != (3, *self._facts.input_size):
            raise ValueError(f"pictures are {images.dtype} {tuple(images.shape)}, not float32 (N, 3, H, W)")
        self.calls += 1
        self.pictures += len(images)
        return images

    def _logits(self, images: Tensor) -> Tensor:
        return margin_logits(self._z(self._count(images).double()))

    def _z(self, images: Tensor) -> Tensor:
        """``(N,)`` float64 of ``(N, 3, H, W)`` float64."""
        raise NotImplementedError


class PatchDetector(_Planted):
    """Fake where the weighted mean m of a patch reaches ``threshold``; blind to every other pixel. A black box.

    Parameters
    ----------
    patch, size: where the evidence is, on pictures of ``(H, W)`` pixels.
    pattern: what m measures, see :func:`pattern_weights`.
    response: ``step``: z = 6 where m >= threshold, else -6. ``smooth``: z = 6 tanh(2 (m - threshold) / threshold).
    threshold: half of what a planted fake has, by default.
    member: tells apart the members of a family; raises the threshold by a hundredth each.
    """

    def __init__(
        self,
        patch: Patch = PATCH,
        size: tuple[int, int] = SIZE,
        *,
        pattern: Pattern = "contrast",
        response: Response = "smooth",
        threshold: float | None = None,
        member: int = 0,
    ) -> None:
        base = threshold if threshold is not None else AMPLITUDE / 2 if pattern == "contrast" else 0.5
        self.patch, self.pattern, self.response, self.member = patch, pattern, response, member
        self.threshold = base * (1 + member / 100)
        self.weights = pattern_weights(patch, size, pattern)
        identity = (patch.row, patch.column, patch.height, patch.width, pattern, response, self.threshold, member)
        gives = _BOTH if hasattr(self, "logits") else frozenset[str]()
        super().__init__(f"planted-{pattern}-{response}", size, gives, *identity)

    @property
    def evidence(self) -> Tensor:
        """``(H, W)`` float32: 1 where the evidence is, 0 elsewhere."""
        return self.patch.mask(self.facts.input_size).float()

    def _z(self, images: Tensor) -> Tensor:
        return self._respond((images.mean(dim=1) * self.weights).sum(dim=(1, 2)))

    def _respond(self, m: Tensor) -> Tensor:
        if self.response == "step":
            return torch.where(m >= self.threshold, _HEIGHT, -_HEIGHT)
        above = m - self.threshold
        rectified = above.relu() - (-above).relu()  # the same, by way of rectifiers: some methods act on those alone
        return _HEIGHT * torch.tanh(_STEEPNESS * rectified / self.threshold)


class _Differentiable(_Planted):
    """Gradients and the layer ``patch``: each pixel's share of the evidence, averaged over cells, and brightness.

    Logits are computed by way of a convolution of one pixel and one channel whose weight is 1. It changes no bit; some
    methods look at convolutions alone. ``channels`` is the number of channels of the layer, 2 or more.
    """

    channels = 2

    def logits(self, images: Tensor) -> Tensor:
        """``(N, 2)`` float32 inside autograd."""
        return self._logits(images).float()

    def features(
        self, images: Tensor, layer: str | None = None, edit: Callable[[Tensor, int], Tensor] | None = None
    ) -> Features:
        """Activation ``(N, channels, h, w)``: the first is where the evidence is, the others are brightness."""
        if layer not in (None, LAYER):
            raise ValueError(f"no layer '{layer}', only '{LAYER}'")
        cell = math.gcd(*self._facts.input_size, 4)
        shown = self._count(images).double()
        maps = torch.stack((self._evidence_map(shown), shown.mean(dim=1)), dim=1)
        pooled = functional.avg_pool2d(maps, cell).float()
        activation = torch.cat((pooled[:, :1], pooled[:, 1:].expand(-1, self.channels - 1, -1, -1)), dim=1)
        passed_on = edit(activation, 1) if edit else activation
        z = self._from_evidence(passed_on[:, 0].double().sum(dim=(1, 2)) * cell**2)
        return Features(activation, margin_logits(z).float(), lambda grid: grid)

    def _z(self, images: Tensor) -> Tensor:
        shares = self._evidence_map(images)[:, None]
        weight = nn.Parameter(shares.new_ones(1, 1, 1, 1), requires_grad=False)  # a layer, as that of a module
        return self._from_evidence(functional.conv2d(shares, weight).sum(dim=(1, 2, 3)))

    def _evidence_map(self, images: Tensor) -> Tensor:
        """``(N, H, W)``: each pixel's share; ``_from_evidence`` of its sum is z."""
        raise NotImplementedError

    def _from_evidence(self, total: Tensor) -> Tensor:
        raise NotImplementedError


class DifferentiablePatchDetector(_Differentiable, PatchDetector):
    """A :class:`PatchDetector` with gradients and a layer; its class activation maps lie within the patch."""

    def randomised(self, layers: Sequence[str], generator: torch.Generator) -> DifferentiablePatchDetector:
        """A copy that looks at random weights all over the picture."""
        if set(layers) - {LAYER}:
            raise ValueError(f"the only layer is '{LAYER}'")
        pattern, response, base = self.pattern, self.response, self.threshold / (1 + self.member / 100)
        copy = DifferentiablePatchDetector(
            self.patch, self.facts.input_size, pattern=pattern, response=response, threshold=base, member=self.member
        )
        if layers:
            drawn = torch.randn(self.weights.shape, generator=generator, dtype=torch.float64)
            copy.weights = drawn / drawn.abs().sum()
        copy._facts = randomised_facts(self.facts, layers, generator)
        return copy

    def _evidence_map(self, images: Tensor) -> Tensor:
        return images.mean(dim=1) * self.weights

    def _from_evidence(self, total: Tensor) -> Tensor:
        return self._respond(total)


class AttentionDetector(DifferentiablePatchDetector):
    """Cells of 4 pixels are tokens behind a class token, which attends to those with evidence and gathers it.

    Two heads: token j with evidence e_j is attended to with a weight of ``exp(200 e_j)`` by one and ``exp(100 e_j)`` by
    the other; the mean of what they gather, times twice the number of cells in the patch, takes the place of m.
    Another, even attention of the same tokens comes first and changes nothing.
    """

    def __init__(
        self, patch: Patch = PATCH, size: tuple[int, int] = SIZE, *, pattern: Pattern = "contrast", member: int = 0
    ) -> None:
        super().__init__(patch, size, pattern=pattern, member=member)
        self._facts = replace(
            self._facts,
            name=f"planted-attention-{pattern}",
            digest=digest([self._facts.digest, "attention"]),
            gives=_BOTH | {"attention"},
        )

    def _z(self, images: Tensor) -> Tensor:
        cell = math.gcd(*self._facts.input_size, 4)
        cells = functional.avg_pool2d(self._evidence_map(images)[:, None], cell) * cell**2
        return self._respond(self._gathered(functional.pad(cells.flatten(2).transpose(1, 2), (0, 0, 1, 0))))

    def _gathered(self, tokens: Tensor) -> Tensor:
        """``(N,)`` of the tokens' evidence ``(N, T, 1)``, the class token's, which is 0, first."""
        even = torch.softmax(0.0 * (tokens @ tokens.transpose(1, 2)), dim=-1)
        spread = tokens + 0.0 * (even @ tokens)
        sharpness = torch.tensor([200.0, 100.0], dtype=tokens.dtype)[:, None, None]
        query, key = torch.ones_like(spread)[:, None] * sharpness, spread[:, None].expand(-1, 2, -1, -1)
        attention = torch.softmax(query @ key.transpose(2, 3), dim=-1)
        gathered = (attention @ spread[:, None])[:, :, 0, 0].mean(dim=1)
        return gathered * 2 * self.patch.height * self.patch.width / math.gcd(*self._facts.input_size, 4) ** 2

    def randomised(self, layers: Sequence[str], generator: torch.Generator) -> AttentionDetector:
        """A copy that looks at random weights all over the picture."""
        drawn = super().randomised(layers, generator)
        copy = AttentionDetector(self.patch, self.facts.input_size, pattern=self.pattern, member=self.member)
        copy.weights, copy._facts = drawn.weights, drawn.facts
        return copy


class LinearDetector(_Differentiable):
    """``z = sum(weights * pixels) + bias``: every gradient method is exact on it.

    ``weights``: ``(3, H, W)``.
    """

    def __init__(self, weights: Tensor, bias: float = 0.0) -> None:
        self.weights, self.bias = weights.double(), bias
        super().__init__(
            "planted-linear", (weights.shape[1], weights.shape[2]), _BOTH, self.weights.flatten().tolist(), bias
        )

    def randomised(self, layers: Sequence[str], generator: torch.Generator) -> LinearDetector:
        """A copy with normal weights of the same standard deviation."""
        drawn = torch.randn(self.weights.shape, generator=generator, dtype=torch.float64) * self.weights.std()
        copy = LinearDetector(drawn if layers else self.weights, self.bias)
        copy._facts = randomised_facts(self.facts, layers, generator)
        return copy

    def _evidence_map(self, images: Tensor) -> Tensor:
        return (images * self.weights).sum(dim=1)

    def _from_evidence(self, total: Tensor) -> Tensor:
        return total + self.bias


class ConstantDetector(_Differentiable):
    """Says the same of every picture; all gradients are 0."""

    def __init__(self, p_fake: float = 0.5, size: tuple[int, int] = SIZE) -> None:
        self.value = math.log(p_fake / (1 - p_fake))
        super().__init__("planted-constant", size, _BOTH, p_fake)

    def randomised(self, layers: Sequence[str], generator: torch.Generator) -> ConstantDetector:
        """A copy: there is nothing to draw."""
        copy = ConstantDetector(1 / (1 + math.exp(-self.value)), self.facts.input_size)
        copy._facts = randomised_facts(self.facts, layers, generator)
        return copy

    def _evidence_map(self, images: Tensor) -> Tensor:
        return images.sum(dim=1) * 0.0

    def _from_evidence(self, total: Tensor) -> Tensor:
        return total + self.value


def planted_family(
    members: int = 3, size: tuple[int, int] = SIZE, patch: Patch = PATCH, *, attention: bool = False
) -> dict[str, PatchDetector]:
    """Detectors of one kind that share their evidence and differ in threshold and digest."""
    kind = AttentionDetector if attention else DifferentiablePatchDetector
    return {f"seed-{i}": kind(patch, size, member=i) for i in range(members)}
