"""Resize: interpolation along one axis after another."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from xaibench_models.onnx_graph.node import Node, numbers
from xaibench_models.onnx_graph.registration import NUMBERS, operator


@dataclass(frozen=True, slots=True)
class _Axis:
    """One axis to resize: its length before and after, the scale, and the region of interest (0 to 1)."""

    axis: int
    size: int
    wanted: int
    scale: float
    region: tuple[float, float] = (0.0, 1.0)


_TO_THE_ENDS = ("align_corners", "tf_crop_and_resize")  # modes in which the length of the output counts


def _outside_claim(node: Node) -> str | None:
    mode = node.text("coordinate_transformation_mode", "half_pixel")
    if node.text("mode", "nearest") == "nearest" and (node.integer("antialias") or mode == "half_pixel_symmetric"):
        return "mode nearest with antialias or half_pixel_symmetric"
    if mode == "tf_half_pixel_for_nn" and node.text("nearest_mode") == "round_prefer_ceil":
        return "tf_half_pixel_for_nn with nearest_mode round_prefer_ceil"
    if mode in _TO_THE_ENDS and not _whole(node):
        return f"{mode} with scales that may give a fractional length: the definition and ONNX Runtime differ"
    return None


def _whole(node: Node) -> bool:
    """Whether every output length is sure to be the input length times the scale, with nothing to round."""
    if node.given(3):
        return node.text("keep_aspect_ratio_policy", "stretch") == "stretch"
    scales = node.constant(2)
    return scales is not None and all(scale == int(scale) for scale in numbers(scales))


@operator(
    "Resize",
    dtypes=NUMBERS,
    host=(1, 2, 3),
    check=_outside_claim,
    limits="mode nearest without antialias and half_pixel_symmetric, and tf_half_pixel_for_nn not rounded up; "
    "align_corners and tf_crop_and_resize with sizes or whole scales only",
)
def resize(
    node: Node, x: Tensor, roi: Tensor | None = None, scales: Tensor | None = None, sizes: Tensor | None = None
) -> Tensor:
    """All modes, coordinate transformations and policies of opsets 11 to 19, each axis by itself.

    Coordinates and weights are reckoned on the CPU, in float64, or for mode nearest in float32 as ONNX Runtime does, so
    that ties fall to the same side. Integers are interpolated in float32 and cut.
    """
    axes = [axis % x.ndim for axis in node.integers("axes") or range(x.ndim)]
    plans = _plans(node, x, axes, roi, scales, sizes)
    y = x if x.is_floating_point() or node.text("mode", "nearest") == "nearest" else x.float()
    number = torch.float32 if node.text("mode", "nearest") == "nearest" else torch.float64
    outside: Tensor | None = None
    for plan in plans:
        if plan.size == plan.wanted and plan.scale == 1 and plan.region == (0.0, 1.0):
            continue
        source = _coordinates(node.text("coordinate_transformation_mode", "half_pixel"), plan, number)
        y = _interpolate(node, y, plan, source)
        outside = _outside(node, outside, y, plan, source)
    if outside is not None:
        y = torch.where(outside, torch.full_like(y, node.real("extrapolation_value")), y)
    return y.to(x.dtype)


def _plans(
    node: Node, x: Tensor, axes: list[int], roi: Tensor | None, scales: Tensor | None, sizes: Tensor | None
) -> list[_Axis]:
    lengths = [x.shape[axis] for axis in axes]
    if sizes is not None and sizes.numel():
        wanted, factors = _sizes(node.text("keep_aspect_ratio_policy", "stretch"), lengths, numbers(sizes))
    else:
        assert scales is not None
        factors = numbers(scales)
        wanted = [math.floor(n * s) for n, s in zip(lengths, factors, strict=True)]
    regions = [(0.0, 1.0)] * len(axes)
    if node.text("coordinate_transformation_mode") == "tf_crop_and_resize" and roi is not None:
        bounds = numbers(roi)
        regions = list(zip(bounds[: len(axes)], bounds[len(axes) :], strict=True))
    return [_Axis(*plan) for plan in zip(axes, lengths, wanted, factors, regions, strict=True)]


def _sizes(policy: str, lengths: list[int], sizes: list[int]) -> tuple[list[int], list[float]]:
    """Output lengths and scales; a policy that keeps the aspect ratio takes one scale for all axes."""
    if policy == "stretch":
        return sizes, [wanted / n for wanted, n in zip(sizes, lengths, strict=True)]
    pick = min if policy == "not_larger" else max
    scale = pick(wanted / n for wanted, n in zip(sizes, lengths, strict=True))
    return [math.floor(n * scale + 0.5) for n in lengths], [scale] * len(lengths)


def _coordinates(mode: str, plan: _Axis, number: torch.dtype) -> Tensor:
    """For each output place the place in the input."""
    places = torch.arange(plan.wanted, dtype=number)
    scale = torch.tensor(plan.scale, dtype=number)
    length = plan.scale * plan.size  # of the output, before it was rounded down
    if mode == "align_corners":
        return places * (0.0 if length == 1 else (plan.size - 1) / (length - 1))
    if mode == "asymmetric":
        return places / scale
    if mode == "tf_crop_and_resize":
        return _cropped(places, plan, length)
    if mode == "pytorch_half_pixel" and plan.wanted == 1:
        return torch.zeros_like(places)
    centre = (places + 0.5) / scale - (0.0 if mode == "tf_half_pixel_for_nn" else 0.5)
    if mode == "half_pixel_symmetric":
        return centre + plan.size / 2 * (1 - plan.wanted / length)
    return centre


def _cropped(places: Tensor, plan: _Axis, length: float) -> Tensor:
    """From one end of the region to the other; a single place lies in its middle."""
    first, last = plan.region
    if length == 1:
        return torch.full_like(places, (first + last) * (plan.size - 1) / 2)
    return first * (plan.size - 1) + places * (last - first) * (plan.size - 1) / (length - 1)


_NEAREST: dict[str, Callable[[Tensor], Tensor]] = {
    "floor": torch.floor,
    "ceil": torch.ceil,
    "round_prefer_floor": lambda source: torch.floor(source) + (source - torch.floor(source) > 0.5),
    "round_prefer_ceil": lambda source: torch.floor(source) + (source - torch.floor(source) >= 0.5),
}


def _interpolate(node: Node, x: Tensor, plan: _Axis, source: Tensor) -> Tensor:
    """``y[i] = sum_k weight[i, k] x[place[i, k]]`` along the axis."""
    if node.text("mode", "nearest") == "nearest":
        rounded = _NEAREST[node.text("nearest_mode", "round_prefer_floor")](source).long().clamp(0, plan.size - 1)
        return torch.index_select(x, plan.axis, rounded.to(x.device))
    places, weights = _taps(node, plan, source)
    shape = [1] * x.ndim
    shape[plan.axis] = plan.wanted
    total: Tensor | None = None
    for place, weight in zip(places.to(x.device).unbind(1), weights.to(x).unbind(1), strict=True):
        term = torch.index_select(x, plan.axis, place) * weight.reshape(shape)
        total = term if total is None else total + term
    assert total is not None
    return total


def _taps(node: Node, plan: _Axis, source: Tensor) -> tuple[Tensor, Tensor]:
    """Input places ``(wanted, taps)`` and their weights; places beyond an edge are the edge's, or weigh nothing."""
    linear = node.text("mode") == "linear"
    shrink = min(plan.scale, 1.0) if node.integer("antialias") else 1.0
    reach = math.ceil((1 if linear else 2) / shrink)
    places = torch.floor(source).long()[:, None] + torch.arange(1 - reach, reach + 1)
    distance = ((places - source[:, None]) * shrink).abs()
    weights = _linear(distance) if linear else _cubic(distance, node.real("cubic_coeff_a", -0.75))
    if node.integer("exclude_outside"):
        weights = weights * ((places >= 0) & (places < plan.size))
    return places.clamp(0, plan.size - 1), weights / weights.sum(dim=1, keepdim=True)


def _linear(distance: Tensor) -> Tensor:
    return (1 - distance).clamp(min=0)


def _cubic(distance: Tensor, a: float) -> Tensor:
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return torch.where(distance <= 1, near, torch.where(distance < 2, far, torch.zeros_like(far)))


def _outside(node: Node, before: Tensor | None, y: Tensor, plan: _Axis, source: Tensor) -> Tensor | None:
    """Which output places lie outside the input, for the one mode that fills them."""
    if node.text("coordinate_transformation_mode") != "tf_crop_and_resize":
        return None
    shape = [1] * y.ndim
    shape[plan.axis] = plan.wanted
    here = ((source < 0) | (source > plan.size - 1)).reshape(shape).to(y.device)
    return here if before is None else before | here
