"""A contact sheet as one picture: panels side by side with captions, the legend and the statements."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from xaibench_report.displays.map_colours import NORMALISATION
from xaibench_report.displays.sheet_panels import SheetContent, SheetPanel, legend_scale, scale_words

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont

_COLUMNS: Final = 4
_INK, _DIM, _WARN, _PAPER = "#1c2330", "#525c6e", "#9a4b00", "#ffffff"


@dataclass(frozen=True, slots=True)
class _Layout:
    """Sizes in pixels. ``text``: the height of a line."""

    panel: tuple[int, int]  # width, height
    columns: int
    size: int
    gap: int

    @staticmethod
    def of(content: SheetContent) -> _Layout:
        shape = next(p.pixels.shape for p in content.panels if p.pixels is not None)
        size = max(12, round(max(shape[:2]) / 26))
        return _Layout((shape[1], shape[0]), min(_COLUMNS, len(content.panels)), size, size)

    @property
    def line(self) -> int:
        return round(self.size * 1.35)

    @property
    def width(self) -> int:
        return self.gap + self.columns * (self.panel[0] + self.gap)

    def letters(self, width: int) -> int:
        """How many letters of the font fit into a width."""
        return max(12, int(width / (0.56 * self.size)))


def draw_sheet(content: SheetContent) -> Image:
    """The sheet of one picture, panels at the size of their pixels."""
    from PIL import Image, ImageDraw

    layout = _Layout.of(content)
    head = _wrapped(f"{content.name}: {content.facts}", layout.letters(layout.width - 2 * layout.gap))
    captions = [_caption(p, layout) for p in content.panels]
    caption = max(map(len, captions)) * layout.line
    rows = -(-len(content.panels) // layout.columns)
    foot = _foot(content, layout)
    top = layout.gap + len(head) * layout.line + layout.gap // 2
    row = layout.panel[1] + caption + layout.gap
    height = top + rows * row + (len(foot) + bool(content.scales)) * layout.line + layout.gap
    image = Image.new("RGB", (layout.width, height), _PAPER)
    draw = ImageDraw.Draw(image)
    _lines(draw, head, (layout.gap, layout.gap), layout, [_INK] * len(head))
    for i, (panel, lines) in enumerate(zip(content.panels, captions, strict=True)):
        x = layout.gap + i % layout.columns * (layout.panel[0] + layout.gap)
        y = top + i // layout.columns * row
        if panel.pixels is None:
            draw.rectangle((x, y, x + layout.panel[0] - 1, y + layout.panel[1] - 1), outline=_DIM)
        else:
            image.paste(Image.fromarray(panel.pixels), (x, y))
        _lines(draw, lines, (x, y + layout.panel[1] + layout.size // 4), layout, [_INK] + [_DIM] * len(lines))
    below = top + rows * row
    if content.scales:
        _legend(image, draw, content, (layout.gap, below), layout)
        below += layout.line
    _lines(draw, [text for text, _ in foot], (layout.gap, below), layout, [colour for _, colour in foot])
    return image


def _caption(panel: SheetPanel, layout: _Layout) -> list[str]:
    letters = layout.letters(layout.panel[0])
    return [*_wrapped(panel.title, letters), *_wrapped(panel.note, letters)]


def _foot(content: SheetContent, layout: _Layout) -> list[tuple[str, str]]:
    """The lines below the panels with their colours."""
    texts = [*((f"Warning: {w}", _WARN) for w in content.warnings), *((s, _INK) for s in content.statements)]
    texts += [(NORMALISATION, _DIM)] if content.scales else []
    letters = layout.letters(layout.width - 2 * layout.gap)
    return [(line, colour) for text, colour in texts for line in _wrapped(text, letters)]


def _legend(image: Image, draw: ImageDraw, content: SheetContent, at: tuple[int, int], layout: _Layout) -> None:
    from PIL import Image

    (x, y), font = at, _font(layout.size)
    bar = (8 * layout.size, round(0.8 * layout.size))
    for signed, low, high in scale_words():
        if signed not in content.scales:
            continue
        draw.text((x, y), low, font=font, fill=_DIM)
        x += round(font.getlength(low)) + layout.size // 2
        image.paste(
            Image.fromarray(legend_scale(signed=signed, width=bar[0], height=bar[1])), (x, y + layout.size // 4)
        )
        x += bar[0] + layout.size // 2
        draw.text((x, y), high, font=font, fill=_DIM)
        x += round(font.getlength(high)) + 2 * layout.size


def _lines(draw: ImageDraw, lines: list[str], at: tuple[int, int], layout: _Layout, colours: list[str]) -> None:
    for i, (line, colour) in enumerate(zip(lines, colours, strict=False)):
        draw.text((at[0], at[1] + i * layout.line), line, font=_font(layout.size), fill=colour)


def _wrapped(text: str, letters: int) -> list[str]:
    return textwrap.wrap(text, letters, break_on_hyphens=False) if text else []


@cache
def _font(size: int) -> FreeTypeFont:
    """DejaVu Sans, which matplotlib brings: it has the letters of most languages."""
    import matplotlib as mpl
    from PIL import ImageFont

    return ImageFont.truetype(str(Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), size)
