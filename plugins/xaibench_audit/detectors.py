"""Detectors of the audit: a few things measured, added up, and what each pixel contributed to the verdict."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from xaibench.api import Facts, Features, PlanError, digest
from xaibench_audit.pictures import AuditPictures
from xaibench_audit.responses import Response, Weights
from xaibench_testing import MarginDetector, margin_logits, randomised_facts

CELL = 4
LAYER = "responses"
HEIGHT = 8.0
"""Largest and smallest logit margin of one part."""

SLOPE = 0.55
"""``8 tanh(0.55) = 4.0``: margins of the calibration's mean fake and, negative, of its mean real picture."""

_CALIBRATION = (16, 20_240_501)  # pairs and seed of the pictures that fix thresholds: never those that are audited


@dataclass(frozen=True, slots=True)
class Part:
    """One thing that is measured: ``z_c = 8 tanh(0.55 (s - middle) / half)`` of the sum s of the responses."""

    response: Response
    weight: float
    middle: float = 0.0
    half: float = 1.0

    def margin(self, total: Tensor) -> Tensor:
        return HEIGHT * torch.tanh(SLOPE * (total - self.middle) / self.half)


class EvidenceDetector(MarginDetector):
    """``P(fake) = sigmoid(z)``, ``z = sum_c weight_c z_c``, logits ``(-z/2, z/2)``, of parts that measure a thing each.

    Differentiable and smooth; ``features`` gives the parts' responses averaged over cells of 4 x 4 pixels, one channel
    each, from which the margin is computed again. Calls take ``(N, 3, H, W)`` float32; only their mean over the
    colours counts.
    """

    def __init__(self, name: str, parts: Sequence[Part], size: tuple[int, int]) -> None:
        self.parts = tuple(parts)
        super().__init__(
            Facts(
                name=name,
                classes=("real", "fake"),
                real_class=0,
                input_size=size,
                digest=digest(["audit", name, size, [repr(p) for p in parts]]),
                gives=frozenset(("gradients", "activations")),
                limits={"operations": "a planted detector", "attention": "a planted detector"},
                target_layer=LAYER,
                layers=(LAYER,),
            )
        )

    def logits(self, images: Tensor) -> Tensor:
        """``(N, 2)`` float32 inside autograd."""
        return margin_logits(self.margin(images)).float()

    _logits = logits

    def margin(self, images: Tensor) -> Tensor:
        """``(N,)`` logit margins, in the floating type of the pictures."""
        return self._margin(self.responses(images).sum(dim=(2, 3)))

    def responses(self, images: Tensor) -> Tensor:
        """``(N, parts, H, W)``: what each part measures at each pixel."""
        grey = images.mean(dim=1)
        return torch.stack([part.response(grey) for part in self.parts], dim=1)

    def _margin(self, totals: Tensor) -> Tensor:
        each = [part.weight * part.margin(totals[:, i]) for i, part in enumerate(self.parts)]
        return torch.stack(each).sum(dim=0)

    def features(
        self, images: Tensor, layer: str | None = None, edit: Callable[[Tensor, int], Tensor] | None = None
    ) -> Features:
        if layer not in (None, LAYER):
            raise ValueError(f"no layer '{layer}', only '{LAYER}'")
        activation = functional.avg_pool2d(self.responses(images), CELL)
        passed_on = edit(activation, 1) if edit else activation
        z = self._margin(passed_on.sum(dim=(2, 3)) * CELL**2)
        return Features(activation, margin_logits(z).float(), lambda grid: grid)

    def randomised(self, layers: Sequence[str], generator: torch.Generator) -> EvidenceDetector:
        """A copy whose parts look at normal weights all over the picture."""
        if set(layers) - {LAYER}:
            raise ValueError(f"the only layer is '{LAYER}'")
        height, width = self._facts.input_size
        parts = self.parts
        if layers:
            drawn = torch.randn((len(parts), height, width), generator=generator, dtype=torch.float64)
            rows = (drawn / drawn.abs().sum(dim=(1, 2), keepdim=True)).tolist()
            parts = tuple(
                replace(part, response=Weights(tuple(map(tuple, w))), middle=0.0, half=0.1)
                for part, w in zip(parts, rows, strict=True)
            )
        copy = EvidenceDetector(self._facts.name, parts, self._facts.input_size)
        copy._facts = randomised_facts(self._facts, layers, generator)
        return copy

    def evidence(self, fake: Tensor, real: Tensor) -> Tensor:
        """``(H, W)`` float64: what each place contributed to ``z(fake) - z(real)``, which is the sum.

        Per part, ``(z_c(F) - z_c(R)) (r_i(F) - r_i(R)) / sum_j (r_j(F) - r_j(R))``, r the responses: the margin's
        difference in proportion to the responses' differences, which is their Aumann-Shapley value (integrated
        gradients over the responses along the straight way from R to F), since a part is a function of their sum
        alone. For a response that reads its own pixel (contrast, brightness) this is the pixel's contribution; for one
        that reads a neighbourhood it is the place's, at most six pixels from the pixel that changed. Pictures are
        ``(3, H, W)``; a part that sees no difference contributes 0.
        """
        shown = torch.stack((fake, real)).double()
        found = self.responses(shown)
        total = fake.new_zeros(fake.shape[1:], dtype=torch.float64)
        for i, part in enumerate(self.parts):
            difference = found[0, i] - found[1, i]
            summed = difference.sum()
            if float(summed) != 0.0:
                margins = part.margin(found[:, i].sum(dim=(1, 2)))
                total += part.weight * (margins[0] - margins[1]) * difference / summed
        return total


def calibrated(name: str, parts: Sequence[Part], pictures: AuditPictures) -> EvidenceDetector:
    """The detector with every part's ``middle`` and ``half`` from the means of reals and fakes like ``pictures``.

    The pictures that calibrate are of a seed of their own. Raises :class:`PlanError` where a part cannot tell fakes
    from reals.
    """
    pairs, seed = _CALIBRATION
    known = replace(pictures, pairs=pairs, seed=seed)
    natives = {s.label: [] for s in known.samples()}  # type: dict[str, list[Tensor]]
    for sample in known.samples():
        pixels = torch.from_numpy(known.read(sample).pixels).permute(2, 0, 1).double() / 255
        natives[sample.label].append(pixels.mean(dim=0))
    settled = []
    for part in parts:
        means = [float(part.response(torch.stack(natives[label])).sum(dim=(1, 2)).mean()) for label in ("real", "fake")]
        half = (means[1] - means[0]) / 2
        if half <= 0:
            raise PlanError(f"the evidence {name} cannot be measured: fakes do not stand out", "this is a fault")
        settled.append(replace(part, middle=means[0] + half, half=half))
    return EvidenceDetector(name, settled, pictures.size)
