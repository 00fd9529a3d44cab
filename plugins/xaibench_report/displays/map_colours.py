"""Maps over pictures: one scale, one pair of colour maps and one mask outline for the page, sheets and notebooks.

Each map is scaled by itself. A map without negative values runs from its 1st percentile (transparent) to its 99th (full
colour) along *viridis*; a signed one from the negative to the positive 99th percentile of its absolute values along
*coolwarm*, blue against and red for the explained class, and 0 is transparent. Both colour maps are perceptually even
and told apart by people with the common colour deficiencies; opacity says the size of a value as well.
"""

from __future__ import annotations

import io
from base64 import b64encode
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from xaibench_report.values.run_values import Pixels

if TYPE_CHECKING:
    from PIL.Image import Image

Values: TypeAlias = npt.NDArray[np.floating[Any]]
Mask: TypeAlias = npt.NDArray[np.bool_]

OPACITY: Final = 0.8
NORMALISATION: Final = (
    "Each map is scaled by itself, so colours cannot be compared between maps. Without negative values it runs from "
    "its 1st percentile (transparent) to its 99th (bright yellow); a signed map runs from minus to plus the 99th "
    "percentile of its absolute values, blue against the explained class, red for it, and 0 is transparent."
)
_LEVELS: Final = 64
_UNSIGNED: Final = "viridis"
_SIGNED: Final = "coolwarm"


@dataclass(frozen=True, slots=True, eq=False)
class ScaledMap:
    """``values`` in [0, 1], or in [-1, 1] where ``signed``, of the shape of the map."""

    values: npt.NDArray[np.float32]
    signed: bool


def scale_map(saliency: Values) -> ScaledMap:
    """The values of a map on its own scale; all 0 where it is constant."""
    values = saliency.astype(np.float64)
    signed = bool((values < 0).any())
    low = 0.0 if signed else float(np.percentile(values, 1))
    top = float(np.percentile(np.abs(values - low), 99)) or float(np.abs(values - low).max(initial=0.0))
    scaled = np.clip((values - low) / top, -1 if signed else 0, 1) if top > 0 else np.zeros_like(values)
    return ScaledMap(scaled.astype(np.float32), signed)


def map_colours(values: Values, *, signed: bool) -> npt.NDArray[np.float64]:
    """The colour of scaled values, ``(..., 3)`` in [0, 1]."""
    import matplotlib as mpl

    table = mpl.colormaps[_SIGNED if signed else _UNSIGNED]
    colours: npt.NDArray[np.float64] = table((values.astype(np.float64) + 1) / 2 if signed else values)[..., :3]
    return colours


def map_layer(scaled: ScaledMap, side: int) -> bytes:
    """A map as PNG of at most 64 colours with opacity, to be laid over its picture; its longer side at most ``side``.

    The opacity of a value is its absolute scaled value.
    """
    from PIL import Image

    values = resized(scaled.values, _within(scaled.values.shape, side))
    low = -1.0 if scaled.signed else 0.0
    codes = np.rint((np.clip(values, low, 1) - low) / (1 - low) * (_LEVELS - 1)).astype(np.uint8)
    image = Image.fromarray(codes, mode="P")
    palette, alpha = _palette(scaled.signed)
    image.putpalette(palette)
    out = io.BytesIO()
    image.save(out, format="png", optimize=True, bits=6, transparency=alpha)
    return out.getvalue()


@cache
def _palette(signed: bool) -> tuple[bytes, bytes]:
    """The colours of the levels of a layer, and their opacities."""
    values = np.linspace(-1.0 if signed else 0.0, 1.0, _LEVELS)
    colours = np.rint(map_colours(values, signed=signed) * 255).astype(np.uint8)
    return colours.tobytes(), np.rint(np.abs(values) * 255).astype(np.uint8).tobytes()


def laid_over(pixels: Pixels, scaled: ScaledMap) -> Pixels:
    """A map over its picture, half of whose colour is taken away; the map takes the size of the picture."""
    values = resized(scaled.values, pixels.shape[:2])
    under = pixels.astype(np.float32) / 255
    under = 0.5 * under + 0.5 * under.mean(axis=2, keepdims=True)
    alpha = OPACITY * np.abs(values)[..., None]
    mixed = (1 - alpha) * under + alpha * map_colours(values, signed=scaled.signed)
    shown: Pixels = np.rint(mixed * 255).astype(np.uint8)
    return shown


def overlay(pixels: Pixels, saliency: Values) -> bytes:
    """A map over its picture, as PNG of the size of the map.

    ``pixels``: ``(H, W, 3)`` uint8 RGB, scaled to the map's size where they differ; ``saliency``: ``(h, w)`` finite.
    """
    from PIL import Image

    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or saliency.ndim != 2:
        raise ValueError("overlay needs an (H, W, 3) uint8 picture and an (h, w) map")
    height, width = saliency.shape
    under = np.asarray(Image.fromarray(pixels).resize((width, height)))
    return picture_bytes(Image.fromarray(laid_over(under, scale_map(saliency))), "png")


def resized(values: Values, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Values at another size: bilinear, and averaged where it is smaller."""
    from PIL import Image

    if values.shape == shape:
        return values.astype(np.float32)
    image = Image.fromarray(values.astype(np.float32))
    return np.asarray(image.resize((shape[1], shape[0]), Image.Resampling.BILINEAR))


def _within(shape: tuple[int, ...], side: int) -> tuple[int, int]:
    factor = min(1.0, side / max(shape))
    return max(1, round(shape[0] * factor)), max(1, round(shape[1] * factor))


def picture_bytes(image: Image, form: str = "webp", side: int | None = None) -> bytes:
    """A picture as bytes of a format of Pillow, its longer side at most ``side``."""
    if side is not None:
        image = image.copy()
        image.thumbnail((side, side))
    out = io.BytesIO()
    image.save(out, format=form, **({"quality": 82} if form in ("webp", "jpeg") else {"optimize": True}))
    return out.getvalue()


def image_uri(data: bytes, form: str) -> str:
    """The bytes of a picture as a ``data:`` URI."""
    return f"data:image/{form};base64,{b64encode(data).decode('ascii')}"


def legend_stops(*, signed: bool, count: int = 9) -> list[str]:
    """The colours of a scale from its lower to its upper end, as ``rgb(...)`` of CSS."""
    values = np.linspace(-1.0 if signed else 0.0, 1.0, count)
    colours = np.rint(map_colours(values, signed=signed) * 255).astype(int)
    return [f"rgb({r}, {g}, {b})" for r, g, b in colours.tolist()]


def outline_path(mask: Mask, tolerance: float = 0.4) -> str:
    """The outline of a mask as the path of SVG, in pixels from the upper left corner; empty for an empty mask."""
    from skimage.measure import approximate_polygon, find_contours

    parts = []
    for contour in find_contours(np.pad(mask, 1).astype(np.float64), 0.5):
        points = approximate_polygon(contour, tolerance) - 0.5  # of the padded mask; pixels are areas
        steps = "L".join(f"{x:.4g} {y:.4g}" for y, x in points.tolist())
        parts.append(f"M{steps}Z")
    return "".join(parts)
