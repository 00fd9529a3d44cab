"""The contact sheet of explained pictures: each beside its maps, with verdict, legend and calibrated regions."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from xaibench.api import ExplainedPicture, UsageError, write_error
from xaibench_report.displays.map_colours import NORMALISATION, image_uri, legend_stops, picture_bytes
from xaibench_report.displays.sheet_drawing import draw_sheet
from xaibench_report.displays.sheet_panels import SheetContent, scale_words, sheet_content
from xaibench_report.exports.output_file import write_whole
from xaibench_report.page.html_templates import render

FORMATS: Final = ("png", "html")


@dataclass(frozen=True, eq=False, repr=False)
class ContactSheet:
    """Pictures with their maps. ``contents``: one a picture.

    ``save`` writes one page (``.html``) or, of one picture, one PNG; a notebook shows the page.
    """

    contents: tuple[SheetContent, ...]

    def save(self, path: str | Path) -> None:
        """Write ``.html`` with every picture, or ``.png`` of one. Raises :class:`UsageError` for another ending, and
        for a PNG of several pictures."""
        file = Path(path)
        ending = file.suffix.removeprefix(".").lower()
        if ending not in FORMATS:
            raise UsageError(f"'{file.name}' does not say what to write", f"end it in .{' or .'.join(FORMATS)}")
        data = self._page().encode() if ending == "html" else self._repr_png_()
        try:
            write_whole(file, lambda aside: aside.write_bytes(data))
        except OSError as error:
            raise write_error(file, error) from error

    def __repr__(self) -> str:
        return "\n".join(f"{c.name}: {c.facts}" for c in self.contents)

    def _repr_html_(self) -> str:
        return self._rendered(standalone=False)

    def _page(self) -> str:
        return self._rendered(standalone=True)

    def _repr_png_(self) -> bytes:
        if len(self.contents) != 1:
            raise UsageError(f"a PNG shows one picture, not {len(self.contents)}", "end the file in .html")
        out = io.BytesIO()
        draw_sheet(self.contents[0]).save(out, format="png")
        return out.getvalue()

    def _rendered(self, *, standalone: bool) -> str:
        scales = {signed for c in self.contents for signed in c.scales}
        legend = [(low, legend_stops(signed=s), high) for s, low, high in scale_words() if s in scales]
        return render(
            "contact_sheet.html",
            sheets=[(c, [(p, _uri(p.pixels)) for p in c.panels]) for c in self.contents],
            legend=legend,
            normalisation=NORMALISATION,
            standalone=standalone,
        )


def contact_sheet(pictures: Sequence[ExplainedPicture]) -> ContactSheet:
    """The sheet of some pictures, in their order."""
    return ContactSheet(tuple(map(sheet_content, pictures)))


def _uri(pixels: Any) -> str:
    from PIL import Image

    return "" if pixels is None else image_uri(picture_bytes(Image.fromarray(pixels), "jpeg"), "jpeg")
