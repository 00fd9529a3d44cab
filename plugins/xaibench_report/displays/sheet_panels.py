"""What stands on the contact sheet of one explained picture: panels at the picture's own size, and lines of text."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from xaibench.api import ExplainedMap, ExplainedPicture, printable
from xaibench_report.displays.map_colours import Mask, ScaledMap, Values, laid_over, resized, scale_map
from xaibench_report.displays.map_words import map_words, percent
from xaibench_report.values.number_format import number
from xaibench_report.values.run_values import Pixels, short

LARGEST: Final = 2000
"""Larger pictures are shown with this longer side."""
SMALLEST: Final = 224
"""Smaller pictures are enlarged by whole pixels to at least this longer side."""
_WHITE, _BLACK = (255, 255, 255), (0, 0, 0)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class SheetPanel:
    """One picture of a sheet: ``pixels`` ``(H, W, 3)``, None with the reason in ``note``. ``alt`` says what is seen."""

    title: str
    note: str = ""
    alt: str = ""
    pixels: Pixels | None = None
    signed: bool | None = None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class SheetContent:
    """The sheet of one picture. ``facts``: verdict and P(fake); ``statements``: what regions promise; ``warnings``."""

    name: str
    facts: str
    panels: tuple[SheetPanel, ...]
    statements: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def scales(self) -> tuple[bool, ...]:
        """The scales that its legend needs: False for unsigned, True for signed."""
        return tuple(sorted({p.signed for p in self.panels if p.signed is not None}))


def sheet_content(picture: ExplainedPicture) -> SheetContent:
    """The panels and lines of a picture: itself, then a map each explainer in the given order."""
    pixels, factor = _shown_size(picture.pixels)
    name = printable(picture.name)
    facts = _facts(picture, factor)
    first = SheetPanel(title="picture", alt=f"{name}: {facts}", pixels=pixels)
    panels = [p for m in picture.maps for p in _panels(m, pixels, picture, factor)]
    regions = [(printable(short(m.explainer)), m.region) for m in picture.maps if m.region is not None]
    return SheetContent(
        name=name,
        facts=facts,
        panels=(first, *panels),
        statements=tuple(f"{e}: {printable(r.statement)}" for e, r in regions),
        warnings=tuple(printable(r.warning) for _, r in regions if r.warning),
    )


def _facts(picture: ExplainedPicture, factor: float) -> str:
    height, width = picture.pixels.shape[:2]
    size = f"{width} x {height} pixels" + (f", shown at {percent(factor)} of its size" if factor < 1 else "")
    if math.isnan(picture.p_fake):
        return f"the detector failed; {size}"
    said = f"called {picture.verdict}, P(fake) = {number(picture.p_fake)} (threshold {picture.threshold:g})"
    return f"{said}; maps explain {printable(picture.target)}; {size}"


def _shown_size(pixels: Pixels) -> tuple[Pixels, float]:
    """The picture as it is drawn, and its scale: its own size but where that is very large or very small."""
    from PIL import Image

    side = max(pixels.shape[:2])
    if side <= LARGEST:
        times = max(1, -(-SMALLEST // side)) if side < SMALLEST else 1
        return pixels.repeat(times, axis=0).repeat(times, axis=1), float(times)
    image = Image.fromarray(pixels)
    image.thumbnail((LARGEST, LARGEST))
    return np.asarray(image), max(image.size) / side


def _panels(drawn: ExplainedMap, pixels: Pixels, picture: ExplainedPicture, factor: float) -> Iterator[SheetPanel]:
    """The panel of a map, and that of its region."""
    explanation, title = drawn.explanation, printable(short(drawn.explainer))
    if explanation.map is None:
        yield SheetPanel(title=title, note=printable(f"{explanation.status}: {explanation.reason}"))
        return
    values, name, place = explanation.array, printable(picture.name), _place(picture, factor, pixels.shape[:2])
    scaled, shown = scale_map(values), pixels.copy()
    shown[place] = laid_over(pixels[place], scaled)
    words = map_words(values, None)
    yield SheetPanel(title=title, note=words, alt=f"{title} on {name}: {words}.", pixels=shown, signed=scaled.signed)
    if drawn.region is not None:
        region = region_of(values, drawn.region.threshold, shown[place].shape[:2])
        shown = pixels // 3
        shown[place] = outlined(np.where(region[..., None], pixels[place], pixels[place] // 3), region)
        note = f"{percent(float(region.mean()))} of what the detector saw"
        yield SheetPanel(
            title=f"region of {title}", note=note, alt=f"Region of {title} on {name}: {note}.", pixels=shown
        )


def _place(picture: ExplainedPicture, factor: float, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """The rows and columns of the drawn picture that the detector saw."""
    top, left, height, width = (v * factor for v in picture.box)
    ends = (min(shape[0], round(top + height)), min(shape[1], round(left + width)))
    starts = (min(max(0, round(top)), ends[0] - 1), min(max(0, round(left)), ends[1] - 1))
    return slice(starts[0], ends[0]), slice(starts[1], ends[1])


def region_of(values: Values, threshold: float, shape: tuple[int, ...]) -> Mask:
    """The pixels at ``shape`` whose value is at least ``threshold`` of the map's largest absolute value.

    The region is found at the size of the map, on which it was calibrated, and then enlarged.
    """
    largest = float(np.abs(values).max(initial=0.0))
    # in the stored form, on which thresholds are calibrated
    held = (values / largest if largest > 0 else values).astype(np.float16).astype(np.float64) >= threshold
    if held.shape == shape:
        return held
    mask: Mask = resized(held.astype(np.float32), shape) >= 0.5
    return mask


def outlined(pixels: Pixels, region: Mask) -> Pixels:
    """A picture with the edge of a region: white inside, black outside, wider on larger pictures."""
    width = max(1, round(max(region.shape) / 300))
    shown = pixels.copy()
    shown[_grown(region, width) & ~region] = _BLACK
    shown[region & _grown(~region, width)] = _WHITE
    return shown


def _grown(mask: Mask, width: int) -> Mask:
    """A mask grown by some pixels to each of its four sides."""
    grown = mask
    for _ in range(width):
        padded = np.pad(grown, 1)
        grown = grown | padded[2:, 1:-1] | padded[:-2, 1:-1] | padded[1:-1, 2:] | padded[1:-1, :-2]
    return grown


def scale_words() -> Iterator[tuple[bool, str, str]]:
    """Of each scale whether it is signed, and what its ends say."""
    yield False, "least", "most"
    yield True, "against", "for the explained class"


def legend_scale(*, signed: bool, width: int, height: int) -> Pixels:
    """A bar with the colours of a scale, from its lower to its upper end, over grey."""
    values = np.tile(np.linspace(-1.0 if signed else 0.0, 1.0, width, dtype=np.float32), (height, 1))
    return laid_over(np.full((height, width, 3), 128, np.uint8), ScaledMap(values, signed))
