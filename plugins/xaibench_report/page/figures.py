"""Pictures of the page as PNG bytes: maps over their pictures."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import numpy.typing as npt

from xaibench_report.values.run_values import Pixels


def overlay(image: Pixels, saliency: npt.NDArray[np.floating[Any]], *, side: int | None = None) -> bytes:
    """A saliency map over its picture, as PNG.

    ``image``: ``(H, W, 3)`` uint8 RGB, scaled to the map's size where they differ; ``saliency``: ``(h, w)`` finite.
    Maps without negative values run from transparent (their 1st percentile) to bright (their 99th); signed maps are
    red where they speak for the target and blue where they speak against it, opacity following the absolute value up to
    its 99th percentile, so that a few extreme pixels do not hide the rest. ``side`` limits the longer side in pixels.
    """
    import matplotlib as mpl
    from PIL import Image

    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or saliency.ndim != 2:
        raise ValueError("overlay needs an (H, W, 3) uint8 picture and an (h, w) map")
    height, width = saliency.shape
    under = np.asarray(Image.fromarray(image).resize((width, height)), dtype=np.float64) / 255
    values = saliency.astype(np.float64)
    signed = bool((values < 0).any())
    low = 0.0 if signed else float(np.percentile(values, 1))
    top = float(np.percentile(np.abs(values - low), 99)) or float(np.abs(values - low).max(initial=0.0))
    values = np.clip((values - low) / top, -1 if signed else 0, 1) if top > 0 else np.zeros_like(values)
    colours = mpl.colormaps["seismic" if signed else "inferno"]((values + 1) / 2 if signed else values)[..., :3]
    grey = under.mean(axis=2, keepdims=True)
    alpha = 0.75 * np.abs(values)[..., None]
    return png_bytes(np.rint(((1 - alpha) * (0.5 * under + 0.5 * grey) + alpha * colours) * 255).astype(np.uint8), side)


def png_bytes(image: Pixels, side: int | None = None) -> bytes:
    """A uint8 RGB picture as PNG, its longer side at most ``side`` pixels."""
    from PIL import Image

    picture = Image.fromarray(image)
    if side is not None:
        picture.thumbnail((side, side))
    out = io.BytesIO()
    picture.save(out, format="png", optimize=True)
    return out.getvalue()


def data_uri(png: bytes) -> str:
    """PNG bytes as a ``data:`` URI, which a page holds inline."""
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"
