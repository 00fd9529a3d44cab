"""What correlation measures share: sets of pixels, the output without them, and how far two lists of numbers agree."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from scipy.stats import rankdata
from torch import Tensor

from xaibench.api import (
    ArtefactQuery,
    Forward,
    MapCase,
    Output,
    Parameters,
    Passes,
    PassQuery,
    Product,
    Programme,
    ScoreSpec,
    digest_shown,
    to_device,
)
from xaibench_metrics.faithfulness.curves import removal_background, saliency_of, shown_image
from xaibench_perturbation import CHUNK, SIGMA, PictureFill, pixel_ranks, step_counts

Correlation = Literal["pearson", "spearman"]
CONSTANT = "the map is constant: it tells no pixels apart"
_ROUNDING = 4 * torch.finfo(torch.float32).eps


class ChangeParameters(Parameters):
    """What replaces removed pixels, and which output is watched; inherited by the measures that remove pixels."""

    fill: PictureFill = Field("mean", description="what replaces removed pixels")
    sigma: float = Field(SIGMA, gt=0, le=1, description="blur of fill=blur, as a share of the shorter side")
    output: Output = Field("logit", description="output of the target class that is watched")


def watching(output: Output, *specs: ScoreSpec) -> tuple[ScoreSpec, ...]:
    """The scores as a metric with this parameter declares them."""
    return tuple(replace(spec, output=output) for spec in specs)


@dataclass(frozen=True, slots=True)
class Outputs:
    """The target's output at the picture and at each changed picture, ``(n,)`` float64 on the CPU."""

    clean: float
    changed: Tensor

    @property
    def drops(self) -> Tensor:
        """``f(x) - f(x')``, ``(n,)``."""
        return self.clean - self.changed

    def never_change(self) -> bool:
        """Whether the changed pictures' outputs differ by no more than float32 rounds."""
        spread = float(self.changed.max() - self.changed.min())
        return spread <= _ROUNDING * max(abs(self.clean), float(self.changed.abs().max()))


# ---- sets of pixels -------------------------------------------------------------------------------------------------


def subset_size(share: float, pixels: int) -> int:
    """``round(share * pixels)``, at least one pixel and never all."""
    return min(max(round(share * pixels), 1), pixels - 1)


def random_subsets(count: int, pixels: int, size: int, generator: torch.Generator) -> Tensor:
    """``(count, pixels)`` bool with exactly ``size`` True in each row, uniform without replacement."""
    members = torch.zeros((count, pixels), dtype=torch.bool)
    for row in members:
        row[torch.randperm(pixels, generator=generator)[:size]] = True
    return members


@dataclass(frozen=True, slots=True)
class RandomSubsets:
    """:func:`random_subsets` of a stream's seed: an artefact, not stored, that the maps of a picture share.

    Product: the tensor ``packed`` ``(count, ceil(pixels / 8))`` uint8, eight pixels a byte.
    """

    seed: int
    count: int
    pixels: int
    size: int

    kind = "random-subsets"
    uses_detector = False
    stored = False

    def parameters(self) -> Mapping[str, object]:
        return {"seed": str(self.seed), "count": self.count, "pixels": self.pixels, "size": self.size}

    def make(self, query: ArtefactQuery) -> Product:
        subsets = random_subsets(self.count, self.pixels, self.size, torch.Generator().manual_seed(self.seed))
        return Product(tensors={"packed": torch.from_numpy(np.packbits(subsets.numpy(), axis=1))})

    def passes(self, query: PassQuery) -> Passes:
        return Passes()


def shared_subsets(case: MapCase, stream: str, count: int, pixels: int, size: int) -> Programme[Tensor]:
    """``(count, pixels)`` bool of a stream of the case, drawn once for all maps of its picture."""
    asked = RandomSubsets(case.streams.seed(stream), count, pixels, size)
    product: Product = yield from case.artefacts.get(asked, case.picture)
    packed = product.tensors["packed"].numpy()
    return torch.from_numpy(np.unpackbits(packed, axis=1, count=pixels).astype(bool))


def block_ends(pixels: int, count: int) -> Tensor:
    """``(count + 1,)`` int64: where ``count`` blocks, as equal as they can be, begin and end; no more than pixels."""
    return step_counts(pixels, min(count, pixels))


def blocks_of(saliency: Tensor, count: int, tie_order: Tensor | None = None) -> Tensor:
    """``(count, H * W)`` bool: the pixels in descending order, cut at :func:`block_ends`.

    Equal values go in ``tie_order`` (:func:`xaibench_perturbation.pixel_ranks`).
    """
    ranks = pixel_ranks(saliency, tie_order).flatten()
    ends = block_ends(len(ranks), count)
    return (ranks >= ends[:-1, None]) & (ranks < ends[1:, None])


def sums_over(subsets: Tensor, saliency: Tensor) -> Tensor:
    """Sum of ``(H, W)`` saliency over each of ``(n, H * W)`` subsets: ``(n,)`` float64."""
    values = saliency.flatten().double()
    return torch.cat([some.double() @ values for some in torch.split(subsets, CHUNK)])


# ---- outputs --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class CleanLogits:
    """Logits of the untouched picture: an artefact, not stored, that all metrics of one map share.

    The map ``saliency`` ``(H, W)`` and its explainer are parameters, though nothing depends on them: which maps meet on
    one bench depends on how a run is cut into tasks, and the passes must not. Product: the tensor ``logits`` ``(C,)``.
    """

    explainer: str
    saliency: Tensor

    kind = "clean-logits"
    uses_detector = True
    stored = False

    def parameters(self) -> Mapping[str, object]:
        return {"explainer": self.explainer, "map": digest_shown(self.saliency, None, None)}

    def make(self, query: ArtefactQuery) -> Programme[Product]:
        reply: Tensor = yield Forward(to_device(query.picture.image[None], query.detector.device), output="logit")
        return Product(tensors={"logits": reply[0].cpu()})

    def passes(self, query: PassQuery) -> Passes:
        return Passes(forward=1)


def clean_output(case: MapCase, output: Output) -> Programme[float]:
    """The target's output at the untouched picture: known as a probability, one pass for all metrics as a logit."""
    if output == "probability":
        return float(case.clean[case.target])
    product = yield from case.artefacts.get(CleanLogits(case.explainer, saliency_of(case)), case.picture)
    return float(product.tensors["logits"][case.target])


def clean_passes(output: Output) -> int:
    """Passes that :func:`clean_output` takes."""
    return 0 if output == "probability" else 1


def shared_clean(output: Output) -> Mapping[str, Passes]:
    """The passes of :func:`clean_output` as work that metrics share (:class:`xaibench.api.Metric`)."""
    return {} if output == "probability" else {CleanLogits.kind: Passes(forward=1)}


def outputs_of(case: MapCase, count: int, make: Callable[[int, int], Tensor], output: Output) -> Programme[Outputs]:
    """The target's output at ``count`` pictures, ``make(start, stop)`` being some of them, and at the untouched one."""
    clean = yield from clean_output(case, output)
    found = []
    for start in range(0, count, CHUNK):
        reply: Tensor = yield Forward(make(start, min(start + CHUNK, count)), output=output)
        found.append(reply[:, case.target].double().cpu())
    return Outputs(clean, torch.cat(found))


def outputs_without(case: MapCase, removed: Tensor, parameters: ChangeParameters) -> Programme[Outputs]:
    """The output without each of ``(n, H * W)`` bool sets of pixels, all channels of a pixel together."""
    image = shown_image(case)
    background = yield from removal_background(case, parameters.fill, parameters.sigma)
    masks = removed.view(-1, 1, *image.shape[1:])

    def make(start: int, stop: int) -> Tensor:
        return torch.where(to_device(masks[start:stop], image.device), background, image)

    outputs = yield from outputs_of(case, len(masks), make, parameters.output)
    return outputs


# ---- agreement ------------------------------------------------------------------------------------------------------


def pearson(a: Tensor, b: Tensor) -> float | None:
    """Pearson correlation of ``(n,)`` and ``(n,)`` in [-1, 1]; None where either does not vary."""
    a, b = a.double() - a.double().mean(), b.double() - b.double().mean()
    if _is_flat(a) or _is_flat(b):
        return None
    a, b = a / a.abs().max(), b / b.abs().max()  # squares of huge and tiny values stay finite
    return min(1.0, max(-1.0, float((a @ b) / (a.norm() * b.norm()))))


def spearman(a: Tensor, b: Tensor) -> float | None:
    """Pearson correlation of the ranks, equal values sharing the mean of theirs; None where either does not vary."""
    return pearson(*(torch.from_numpy(rankdata(v.double().numpy())) for v in (a, b)))


def agreement(attributions: Tensor, effects: Tensor, outputs: Outputs, kind: Correlation = "pearson") -> float | str:
    """Correlation of two ``(n,)`` lists over changes of the picture, or the reason why there is none."""
    if outputs.never_change():
        return "the output is the same whatever is changed"
    found = (pearson if kind == "pearson" else spearman)(attributions, effects)
    if found is not None:
        return found
    return "the map gives every set of pixels the same sum, or all change the output alike"


def _is_flat(centred: Tensor) -> bool:
    return bool(centred.abs().max() == 0)
