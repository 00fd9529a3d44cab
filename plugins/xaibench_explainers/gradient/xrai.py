"""XRAI: regions grown by the density of integrated gradients in them."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from scipy import ndimage, sparse
from skimage.segmentation import felzenszwalb
from torch import Tensor

from xaibench.api import ExplainRequest, Explanation, Output, Parameters, Passes, PassQuery, Programme, to_device
from xaibench_explainers.gradient.integrated_gradients import integrated_gradients
from xaibench_explainers.gradient.pixels import FLAT, NOT_FINITE, drawn
from xaibench_perturbation import fill

Value = Literal["gain", "order"]
Channels = Literal["sum", "max"]
SCALES = (50, 100, 150, 250, 500, 1200)
"""Felzenszwalb's scales, from the finest segments to the coarsest."""

_SIGMA, _SMALLEST, _SIDE = 0.8, 150, 224
"""Blur in pixels and smallest segment in pixels before segmenting, of a picture of 224x224 pixels."""


class XraiParameters(Parameters):
    """Parameters of ``xrai``; scales, blur and smallest segment of the segmentation are those of the authors' code."""

    steps: int = Field(100, ge=1, description="pictures on the way from each of the two baselines")
    dilation: int = Field(5, ge=0, description="pixels of a 224x224 picture by which segments are widened")
    channels: Channels = Field("sum", description="a pixel's attribution: the sum over channels, or the largest")
    value: Value = Field("gain", description="what a region is drawn with: its gain, or the share not yet covered")
    output: Output = Field("logit", description="what is differentiated")


# ---- segments -------------------------------------------------------------------------------------------------------


def segmentations(image: NDArray[np.float64]) -> list[NDArray[np.int64]]:
    """Felzenszwalb's segmentation of ``(H, W, 3)`` at every scale: ``(H, W)`` labels from 0 on.

    Values are stretched to [-1, 1]. The authors' code brings every picture to 224x224 pixels and the segments back,
    proportions lost; here the picture stays as it is, while blur and smallest segment go with its size. Both are the
    same at 224x224, and a photograph has about as many segments at other sizes.
    """
    height, width = image.shape[:2]
    low, high = image.min(), image.max()
    if low == high:
        return [np.zeros((height, width), np.int64)]
    shown = (image - low) / (high - low) * 2 - 1
    area = height * width / _SIDE**2
    smallest = max(1, round(_SMALLEST * area))
    return [
        felzenszwalb(shown, scale=scale, sigma=_SIGMA * area**0.5, min_size=smallest, channel_axis=-1)
        for scale in SCALES
    ]


def memberships(labels: list[NDArray[np.int64]], radius: float) -> sparse.csr_array:
    """``(pixels, segments)`` of 0 and 1: the segments of all labellings, in their order, each widened by a disk."""
    found = [pixels for one in labels for pixels in _widened(one, radius)]
    rows = np.concatenate(found)
    columns = np.repeat(np.arange(len(found)), [len(p) for p in found])
    return sparse.csr_array((np.ones(len(rows)), (rows, columns)), shape=(labels[0].size, len(found)))


def _widened(labels: NDArray[np.int64], radius: float) -> list[NDArray[np.int64]]:
    """Flat indices of the pixels within ``radius`` of each segment."""
    margin, found = int(radius), []
    for number, box in enumerate(ndimage.find_objects(labels + 1)):
        if box is None:
            continue
        wide = tuple(slice(max(0, s.start - margin), s.stop + margin) for s in box)
        near = ndimage.distance_transform_edt(labels[wide] != number) <= radius
        rows, columns = np.nonzero(near)
        found.append((rows + wide[0].start) * labels.shape[1] + columns + wide[1].start)
    return found


# ---- growing --------------------------------------------------------------------------------------------------------


def grow(attribution: NDArray[np.float64], members: sparse.csr_array, value: Value = "gain") -> NDArray[np.float64]:
    """Algorithm 1: add the segment with the largest mean attribution over its pixels not yet covered, until all are.

    ``attribution``: ``(pixels,)``. ``members``: ``(pixels, segments)``, every pixel in one at least. Returns
    ``(pixels,)``: the gain with which a pixel was covered, or the share of pixels not covered before it was. Of equal
    gains the first segment wins.
    """
    segments, values = members.tocsc(), np.empty_like(attribution)
    sums, areas = members.T @ attribution, members.sum(axis=0)
    covered = np.zeros(len(attribution), bool)
    while not covered.all():
        best = int(np.argmax(np.divide(sums, areas, out=np.full_like(sums, -np.inf), where=areas > 0)))
        pixels = segments.indices[segments.indptr[best] : segments.indptr[best + 1]]
        added = pixels[~covered[pixels]]
        values[added] = attribution[added].mean() if value == "gain" else 1 - covered.mean()
        covered[added] = True
        taken = members[added]
        sums, areas = sums - taken.T @ attribution[added], areas - taken.sum(axis=0)
    return values


def xrai(attribution: Tensor, image: Tensor, *, dilation: float, value: Value) -> Tensor:
    """``(H, W)`` float32 map of ``(H, W)`` attributions and the ``(3, H, W)`` picture that is cut into segments."""
    pixels = image.permute(1, 2, 0).double().cpu().numpy()
    height, width = attribution.shape
    members = memberships(segmentations(pixels), dilation * (height * width) ** 0.5 / _SIDE)
    values = grow(attribution.double().cpu().numpy().ravel(), members, value)
    return torch.from_numpy(values.reshape(height, width)).float()


class Xrai:
    """XRAI (Kapishnikov et al. 2019, algorithm 1): regions in the order of their mean attribution.

    Attributions are integrated gradients of the target's logit, averaged over a black and a white baseline. Segments
    are Felzenszwalb's at six scales, overlapping and widened; the greedy algorithm covers the picture with them. With
    ``value=gain`` a region is drawn with the mean attribution of what it newly covers: the map is signed and sums to
    what the attributions sum to. Gains mostly fall on the way but need not, so that the map may order two regions
    otherwise than they were added; ``value=order`` draws the order itself, in (0, 1].

    Departures from the authors' code: attributions are summed over channels (theirs takes the largest channel, which
    hides evidence against the class: ``channels=max``); regions that add fewer than 50 pixels are not left out, as
    algorithm 1 has none of it; the picture is not resized for segmenting (:func:`segmentations`); baselines are black
    and white, theirs the smallest and largest value of the picture; Gauss-Legendre nodes on the way.
    """

    Parameters = XraiParameters

    def __init__(self, parameters: XraiParameters) -> None:
        self.parameters = parameters

    def explain(self, request: ExplainRequest) -> Programme[Explanation]:
        p, image = self.parameters, to_device(request.picture.image, request.detector.device)
        total = torch.zeros_like(image)
        for baseline in (fill(image, "black"), fill(image, "white")):
            found = yield from integrated_gradients(
                image, baseline, request.target, steps=p.steps, rule="gauss-legendre", output=p.output
            )
            total += found / 2
        if not total.isfinite().all():
            return Explanation.none(NOT_FINITE)
        attribution = total.sum(dim=0) if p.channels == "sum" else total.amax(dim=0)
        if not attribution.any():
            return Explanation.none(FLAT)
        return drawn(xrai(attribution, image, dilation=p.dilation, value=p.value), zero=FLAT)

    def passes(self, query: PassQuery) -> Passes:
        return Passes(forward=2 * self.parameters.steps, backward=2 * self.parameters.steps)
