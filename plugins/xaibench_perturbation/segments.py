"""Segments of a picture: SLIC superpixels or a grid, made once a picture and shared by all that ask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from xaibench.api import ArtefactQuery, Artefacts, Parameters, Passes, PassQuery, Picture, Product, Programme

SegmentKind = Literal["slic", "grid"]


class SegmentParameters(Parameters):
    """How a picture is cut into segments; to be inherited by the parameters of what works on segments."""

    segments: SegmentKind = Field("slic", description="superpixels, or the cells of a regular grid")
    count: int = Field(50, ge=2, description="segments wanted: SLIC finds about as many; a grid has the nearest shape")
    compactness: float = Field(10.0, gt=0, description="SLIC: weight of nearness against colour")


@dataclass(frozen=True, slots=True)
class Segments:
    """The segments of a picture; an :class:`xaibench.api.Artefact` with the tensor ``labels``.

    ``labels``: ``(H, W)`` int64 from 0 to S - 1, every number taken. SLIC (Achanta et al. 2012) is scikit-image's, on
    the [0, 1] picture in Lab, connected, everything else at its defaults.
    """

    segments: SegmentKind = "slic"
    count: int = 50
    compactness: float = 10.0

    kind = "segments"
    uses_detector = False
    stored = False

    def parameters(self) -> Mapping[str, object]:
        compactness = self.compactness if self.segments == "slic" else None
        return {"segments": self.segments, "count": self.count, "compactness": compactness}

    def make(self, query: ArtefactQuery) -> Product:
        image = query.picture.image
        if self.segments == "grid":
            return Product(tensors={"labels": grid_segments(image.shape[1], image.shape[2], self.count)})
        return Product(tensors={"labels": slic_segments(image, self.count, self.compactness)})

    def passes(self, query: PassQuery) -> Passes:
        return Passes()


def segments_of(picture: Picture, parameters: SegmentParameters, artefacts: Artefacts) -> Programme[Tensor]:
    """``(H, W)`` int64 labels of a picture, on the CPU."""
    p = parameters
    product: Product = yield from artefacts.get(Segments(p.segments, p.count, p.compactness), picture)
    labels: Tensor = product.tensors["labels"]
    return labels


def slic_segments(image: Tensor, count: int, compactness: float = 10.0) -> Tensor:
    """``(H, W)`` int64 superpixels of a ``(3, H, W)`` picture in [0, 1]; a flat picture may come back in one piece."""
    import numpy as np
    from skimage.segmentation import slic

    pixels = image.permute(1, 2, 0).double().cpu().numpy()
    labels = slic(pixels, n_segments=count, compactness=compactness, start_label=0, channel_axis=-1)
    _, dense = np.unique(labels, return_inverse=True)
    return torch.from_numpy(dense.reshape(labels.shape).astype(np.int64))


def grid_segments(height: int, width: int, count: int) -> Tensor:
    """``(H, W)`` int64 cells of the grid with about ``count`` cells that are nearest to squares."""
    rows = max(1, min(height, round((count * height / width) ** 0.5)))
    columns = max(1, min(width, round(count / rows)))
    down = torch.arange(height) * rows // height
    across = torch.arange(width) * columns // width
    labels: Tensor = down[:, None] * columns + across[None]
    return labels
