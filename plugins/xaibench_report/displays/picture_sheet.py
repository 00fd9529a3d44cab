"""One picture of a run beside its mask and the map of every explainer."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from xaibench.api import StoreError, UsageError, literal, make_console
from xaibench_report.displays.map_colours import (
    NORMALISATION,
    Mask,
    decoded_map,
    image_uri,
    laid_over,
    picture_bytes,
    scale_map,
)
from xaibench_report.displays.sheet_panels import outlined
from xaibench_report.exports.output_file import write_whole
from xaibench_report.page.html_templates import render
from xaibench_report.values.number_format import number
from xaibench_report.values.run_values import Pixels, ScoreInfo, short

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from xaibench import Run

_COLUMNS: Final = 6
_TITLE: Final = 24  # characters of a line above a panel
_FORMATS: Final = ("png", "pdf", "svg", "html")
_ROLES: Final = ("explainer", "control", "inverse", "reference")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Panel:
    """One picture of a sheet. ``pixels`` ``(H, W, 3)`` uint8 RGB; None with the reason ``why``.

    ``peak`` is the row and column of the highest value of a map.
    """

    title: str
    pixels: Pixels | None = None
    why: str = ""
    peak: tuple[int, int] | None = None


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class PictureSheet:
    """A picture, its mask and the maps of every explainer side by side, with the verdict of the detector.

    ``facts`` is one line: label and method, the verdict with P(fake), and the explained class. Maps are laid over the
    picture, each on a scale of its own.
    """

    sample: str
    facts: str
    panels: tuple[Panel, ...]

    def save(self, path: str | Path) -> None:
        """Write the sheet to a file: .png, .pdf, .svg or .html. Raises :class:`UsageError` for another ending."""
        file = Path(path)
        suffix = file.suffix.removeprefix(".").lower()
        if suffix not in _FORMATS:
            raise UsageError(f"'{file.name}' does not say what to write", f"end it in .{', .'.join(_FORMATS)}")
        data = self._repr_html_().encode() if suffix == "html" else self.drawn(suffix)
        write_whole(file, lambda aside: aside.write_bytes(data))

    def __repr__(self) -> str:
        console = make_console(width=10_000, force_terminal=False, force_jupyter=False, no_color=True)
        lines = [f"{self.sample}: {self.facts}"]
        for panel in self.panels:
            if panel.peak is not None:
                lines.append(f"  {panel.title}: highest at row {panel.peak[0]}, column {panel.peak[1]}")
            elif panel.why:
                lines.append(f"  {panel.title}: {panel.why}")
        return "\n".join(literal(console, line).plain for line in lines)

    def _repr_html_(self) -> str:
        panels = [(p, "" if p.pixels is None else _uri(p.pixels)) for p in self.panels]
        sheet = render("sheet.html", sheet=self, panels=panels, normalisation=NORMALISATION)
        return render("display.html", html=sheet)

    def _repr_png_(self) -> bytes:
        return self.drawn("png")

    def drawn(self, suffix: str) -> bytes:
        """The sheet as a PNG, PDF or SVG."""
        out = io.BytesIO()
        self._figure().savefig(out, format=suffix, dpi=110)
        return out.getvalue()

    def _figure(self) -> Figure:
        from matplotlib.figure import Figure

        columns = min(_COLUMNS, len(self.panels))
        rows = -(-len(self.panels) // columns)
        figure = Figure(figsize=(1.9 * columns, 2.3 * rows + 0.5), layout="constrained")
        figure.suptitle(f"{self.sample}\n{self.facts}", fontsize=9, parse_math=False)
        axes = figure.subplots(rows, columns, squeeze=False).reshape(-1)
        for axis in axes:
            axis.set_axis_off()
        for axis, panel in zip(axes, self.panels, strict=False):
            title = panel.title if len(panel.title) <= _TITLE else panel.title.replace(":", ":\n")
            axis.set_title(title, fontsize=7, parse_math=False)
            if panel.pixels is not None:
                axis.imshow(panel.pixels)
            else:
                axis.text(0.5, 0.5, panel.why, fontsize=7, ha="center", va="center", wrap=True, parse_math=False)
        return figure


def picture_sheet(run: Run, info: ScoreInfo, sample: str, model: str | None, member: str | None) -> PictureSheet:
    """The sheet of one sample and detector.

    Raises :class:`UsageError` where the run has no such sample or several detectors, or cannot show its pictures.
    """
    prediction = _prediction(run, sample, model, member)
    pixels, mask = run.picture(sample)
    maps = _maps(run, prediction, info)
    facts = _facts(prediction, {m["target"] for m in maps if m["target"]})
    panels = [Panel(title="picture", pixels=pixels)]
    if mask is not None:
        panels.append(Panel(title="mask", pixels=_marked(pixels, mask)))
    panels += [_panel(pixels, mask, row) for row in maps]
    return PictureSheet(sample=sample, facts=facts, panels=tuple(panels))


def _prediction(run: Run, sample: str, model: str | None, member: str | None) -> dict[str, Any]:
    table = run.predictions
    rows: list[dict[str, Any]] = table.filter(pc.equal(table["sample"], sample)).to_pylist()
    if not rows:
        first = ", ".join(sorted(set(table["sample"].to_pylist()))[:3])
        raise UsageError(f"the run has no sample '{sample}'", f"give a value of the column sample, such as {first}")
    chosen = [r for r in rows if model in (None, r["model"], short(r["model"])) and member in (None, r["member"])]
    if len(chosen) != 1:
        known = "; ".join(sorted({f"model={short(r['model'])!r}, member={r['member']!r}" for r in rows}))
        what = "no such detector" if not chosen else f"{len(chosen)} detectors"
        raise UsageError(f"{what} in this run looked at {sample}", f"name one of: {known}")
    return chosen[0]


def _maps(run: Run, prediction: dict[str, Any], info: ScoreInfo) -> list[dict[str, Any]]:
    """The rows of the first map of each explainer: explainers first, then controls by their role."""
    table = run.to_arrow("maps")
    for column in ("dataset", "model", "member", "sample"):
        table = table.filter(pc.equal(table[column], prediction[column]))
    rows = table.filter(pc.equal(table["view"], "")).sort_by([("repeat", "descending")]).to_pylist()
    if not rows:
        raise StoreError(f"the run kept no map of {prediction['sample']}", "evaluate with maps=keep")
    first = {row["explainer"]: row for row in rows}  # the first repeat comes last and stays
    return sorted(first.values(), key=lambda r: (_ROLES.index(info.role(r["explainer"])), r["explainer"]))


def _facts(prediction: dict[str, Any], targets: set[str]) -> str:
    label = " ".join(filter(None, (prediction["label"], prediction["method"])))
    if prediction["status"] != "ok":
        return f"{label}; the prediction failed: {prediction['reason']}"
    explained = f"; maps explain {', '.join(sorted(targets))}" if targets else ""
    return f"{label}; verdict {prediction['verdict']}, P(fake) = {number(prediction['p_fake'])}{explained}"


def _panel(pixels: Pixels, mask: Mask | None, row: dict[str, Any]) -> Panel:
    """A map over the picture, the edge of the mask over both."""
    title = short(row["explainer"])
    if row["map"] is None:
        return Panel(title=title, why=f"{row['status']}: {row['reason']}")
    values = decoded_map(row)  # without its scale, which does not matter to a picture of it
    y, x = np.unravel_index(int(values.argmax()), values.shape)
    shown = laid_over(pixels, scale_map(values))
    return Panel(title=title, pixels=shown if mask is None else outlined(shown, mask), peak=(int(y), int(x)))


def _uri(pixels: Pixels) -> str:
    from PIL import Image

    return image_uri(picture_bytes(Image.fromarray(pixels), "png"), "png")


def _marked(pixels: Pixels, mask: npt.NDArray[np.bool_]) -> Pixels:
    """The picture, dark outside the mask."""
    shown: Pixels = np.where(mask[:, :, None], pixels, pixels // 4)
    return shown
