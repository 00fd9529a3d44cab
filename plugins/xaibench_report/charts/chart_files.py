"""Charts as files for print: PDF, SVG and PNG by vl-convert, in one font that the file holds."""

from __future__ import annotations

import base64
import io
import re
from functools import cache
from pathlib import Path
from typing import Final, Literal, TypeAlias

from xaibench_report.charts.chart_theme import FONT
from xaibench_report.charts.run_chart import RunChart

Format: TypeAlias = Literal["pdf", "svg", "png"]
_SCALE: Final = 3  # pixels of a PNG for one of the page


def chart_bytes(chart: RunChart, form: Format) -> bytes:
    """The chart as a file of this format. Nothing is fetched."""
    import vl_convert

    _register_fonts()
    spec = chart.altair(FONT).to_json(indent=None)
    if form == "pdf":
        return bytes(vl_convert.vegalite_to_pdf(spec, allowed_base_urls=[]))
    if form == "png":
        return bytes(vl_convert.vegalite_to_png(spec, scale=_SCALE, allowed_base_urls=[]))
    return _with_font(vl_convert.vegalite_to_svg(spec, allowed_base_urls=[])).encode()


@cache
def _font_folder() -> Path:
    """The folder of DejaVu Sans, which matplotlib brings: files look alike on every machine."""
    import matplotlib as mpl

    return Path(mpl.get_data_path()) / "fonts" / "ttf"


@cache
def _register_fonts() -> None:
    import vl_convert

    vl_convert.register_font_directory(str(_font_folder()))


def _with_font(svg: str) -> str:
    """An SVG that holds the characters of the font that it uses."""
    from fontTools import subset

    options = subset.Options(flavor="woff", layout_features=["kern"], drop_tables=["FFTM"])
    chosen = subset.Subsetter(options)
    chosen.populate(text="".join(re.findall(r">([^<]+)<", svg)))
    out = io.BytesIO()
    with subset.load_font(str(_font_folder() / "DejaVuSans.ttf"), options) as font:
        chosen.subset(font)
        subset.save_font(font, out, options)
    face = base64.b64encode(out.getvalue()).decode("ascii")
    style = f"<style>@font-face{{font-family:'{FONT}';src:url(data:font/woff;base64,{face})}}</style>"
    return re.sub(r"(<svg\b[^>]*>)", lambda match: match[1] + style, svg, count=1)
