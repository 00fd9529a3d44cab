"""One HTML file that holds a run: leaderboards, curves, maps, provenance and what was left out.

The file needs nothing beside it: style and pictures are inline.
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import resources
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow.compute as pc

from xaibench.api import UnreadablePicture
from xaibench_report import wording
from xaibench_report.balance import Balances
from xaibench_report.board_cells import Cell
from xaibench_report.detector_tables import DetectorTable
from xaibench_report.figures import Pixels, curve_figure, mean_curves, overlay, pareto_figure, png_bytes
from xaibench_report.leaderboard import Board, Leaderboards, build_leaderboards
from xaibench_report.run_values import RunTables, ScoreInfo, Table, Where, encode, score_name, short, texts

SAMPLES: Final = 8
SIDE: Final = 160


@dataclass(frozen=True, slots=True, kw_only=True)
class Gallery:
    """Pictures and maps of one detector. ``rows``: (caption, picture and maps as data URIs, empty where missing)."""

    where: Where
    explainers: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]


def write_report(
    tables: RunTables,
    info: ScoreInfo,
    out_path: Path,
    pictures: Callable[[str], Pixels] | None = None,
    *,
    title: str = "xaibench report",
    leaderboards: Leaderboards | None = None,
    balanced: Balances | None = None,
    no_pictures: str = "",
) -> Path:
    """Write the report of a run to ``out_path`` and return that path.

    Parameters
    ----------
    pictures: sample id -> ``(H, W, 3)`` uint8 RGB as the detector saw it. Without it, or without stored maps, the
        report has no pictures; one that raises :class:`UnreadablePicture` is left out.
    leaderboards: those of the same tables, if they have been built already.
    balanced: accuracy and interpretability of the detectors beside a baseline, if they are to be shown.
    no_pictures: why there are none, for the reader of the page.
    """
    boards = leaderboards or build_leaderboards(tables, info)
    html = _template().render(
        title=title,
        detections=boards.detections,
        boards=boards.boards,
        board_rows=_board_rows,
        beside_rows=_beside_rows,
        detectors=boards.detectors,
        detector_rows=_detector_rows,
        method_rows=_method_rows,
        balanced=balanced,
        pareto=_pareto(balanced),
        curves=_curve_images(tables, info),
        galleries=_galleries(tables, info, pictures),
        no_pictures=no_pictures,
        cost=_cost(tables.units),
        runs=_runs(tables.runs),
        components=_components(tables.components),
        resamples=boards.resamples,
        w=wording,
        short=short,
        score_name=score_name,
    )
    aside = out_path.with_name(f".{out_path.name}.part")
    try:
        aside.write_text(html, encoding="utf-8")
        aside.replace(out_path)
    finally:
        with suppress(OSError):
            aside.unlink(missing_ok=True)
    return out_path


def _template() -> Any:
    from jinja2 import Environment, StrictUndefined

    source = (resources.files("xaibench_report") / "templates" / "report.html").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(source)


def _board_rows(board: Board) -> list[dict[str, Any]]:
    """The cells of a board as the template shows them."""
    sizes = [wording.column_size(board, i) for i in range(len(board.columns))]
    rows = []
    for row in board.rows:
        cells = [_shown(cell, with_size=size is None) for cell, size in zip(row.cells, sizes, strict=True)]
        rows.append({"name": wording.row_title(row), "role": row.role, "cells": cells})
    return rows


def _beside_rows(board: Board) -> list[dict[str, Any]]:
    """The scores beside a board as the template shows them, a column for each of the board's rows."""
    return [
        {
            "name": score_name(c.column.metric, c.column.score),
            "description": c.column.description,
            "cells": [_shown(c.cells.get(row.explainer), with_size=True) for row in board.rows],
        }
        for c in board.beside
    ]


def _detector_rows(table: DetectorTable) -> list[dict[str, Any]]:
    """The rows of a table of detectors as the template shows them."""
    return [
        {"name": wording.detector_title(row.where), "cells": [_shown(c, with_size=False) for c in row.cells]}
        for row in table.rows
    ]


def _shown(cell: Cell | None, *, with_size: bool) -> dict[str, str]:
    if cell is None:
        return dict.fromkeys(("value", "rank", "interval", "median", "size", "why", "versus"), "")
    e = cell.estimate
    return {
        "value": wording.number(e.value) if e else wording.DASH,
        "rank": wording.rank(cell.rank),
        "interval": wording.interval(e) or wording.span(cell.span),
        "median": wording.median(cell.median),
        "size": f"n={e.n}" if e and with_size else "",
        "why": cell.why,
        "versus": _versus(cell.versus_best) if cell.versus_best else "",
    }


def _method_rows(board: Board) -> list[dict[str, Any]]:
    """Every score and explainer by manipulation method, as the template shows them."""
    rows = []
    for i, column in enumerate(board.columns):
        for row in (r for r in board.rows if r.cells[i] is not None):
            found = [wording.method_cell(row.cells[i], m) for m in board.methods]
            cells = [
                {
                    "value": wording.number(m.estimate.value if m else None),
                    "size": f"{wording.interval(m.estimate)} n={m.n}".strip() if m else "",
                }
                for m in found
            ]
            score = score_name(column.metric, column.score)
            rows.append({"score": score, "name": wording.row_title(row), "role": row.role, "cells": cells})
    return rows


def _versus(difference: Any) -> str:
    p = wording.p_value(difference.p_holm)
    return f"to the best: {wording.number(difference.value)} {wording.interval(difference)}, p (Holm) {p}"


def _uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"


def _curve_images(tables: RunTables, info: ScoreInfo) -> list[tuple[str, str]]:
    """One (title, image) for every detector and dataset with curves."""
    if tables.curves is None:
        return []
    curves = mean_curves(tables.curves)
    images = []
    for where in sorted({key.where for key in curves}):
        png = curve_figure({k: v for k, v in curves.items() if k.where == where}, info)
        if png is not None:
            images.append((wording.place(where), _uri(png)))
    return images


def _pareto(balanced: Balances | None) -> str:
    png = pareto_figure(balanced) if balanced else None
    return _uri(png) if png else ""


def _galleries(tables: RunTables, info: ScoreInfo, pictures: Callable[[str], Pixels] | None) -> list[Gallery]:
    if tables.maps is None or pictures is None:
        return []
    usable = (texts(tables.maps, "view") == "") & (texts(tables.maps, "status") == "ok")
    maps = tables.maps.filter(usable & ~np.asarray(pc.is_null(tables.maps["map"])))
    keys = np.stack([texts(maps, c) for c in ("dataset", "model", "member")], axis=1)
    captions = _captions(tables.predictions)
    galleries = []
    for names in np.unique(keys, axis=0) if len(keys) else []:
        part = maps.filter((keys == names).all(axis=1))
        galleries.append(_gallery(Where(*map(str, names)), part, info, pictures, captions))
    return [g for g in galleries if g.rows]


def _gallery(
    where: Where, maps: Table, info: ScoreInfo, pictures: Callable[[str], Pixels], captions: dict[str, str]
) -> Gallery:
    """The first repeat of every map of a few samples."""
    known = encode(maps, "sample").names.tolist()
    chosen = _choose({s: captions.get(s, "") for s in known})
    explainers = sorted(
        encode(maps, "explainer").names.tolist(), key=lambda e: (info.role(e) != "explainer", info.role(e), e)
    )
    rows = []
    for sample in chosen:
        found = maps.filter(pc.equal(maps["sample"], sample)).sort_by([("repeat", "descending")]).to_pylist()
        by_explainer = {m["explainer"]: m for m in found}
        try:
            picture = pictures(sample)
        except UnreadablePicture:
            continue
        images = [_uri(png_bytes(picture, SIDE))]
        for explainer in explainers:
            row = by_explainer.get(explainer)
            images.append(_uri(overlay(picture, _decode(row), side=SIDE)) if row else "")
        rows.append((f"{sample} ({captions.get(sample, '?')})", tuple(images)))
    return Gallery(where=where, explainers=tuple(map(short, explainers)), rows=tuple(rows))


def _decode(row: dict[str, Any]) -> Any:
    """The map of a row of the maps table; its scale does not matter to a picture."""
    return np.frombuffer(row["map"], dtype="<f2").astype(np.float32).reshape(row["height"], row["width"])


def _choose(captions: dict[str, str]) -> list[str]:
    """A few samples in turn from every method, real pictures last, always the same ones."""
    by_caption: dict[str, list[str]] = {}
    for sample in sorted(captions):
        by_caption.setdefault(captions[sample], []).append(sample)
    kinds = sorted(by_caption, key=lambda c: (c.startswith("real"), c))
    turns = zip_longest(*(by_caption[k] for k in kinds))
    picked = [s for turn in turns for s in turn if s is not None][:SAMPLES]
    return sorted(picked, key=lambda s: (kinds.index(captions[s]), s))


def _captions(predictions: Table) -> dict[str, str]:
    columns = (texts(predictions, c).tolist() for c in ("sample", "label", "method"))
    return {s: " ".join(p for p in (label, method) if p) for s, label, method in zip(*columns, strict=True)}


def _cost(units: Table) -> list[dict[str, Any]]:
    """Seconds and passes by kind of unit, explainer and metric, over units that are done."""
    names = [texts(units, c).tolist() for c in ("kind", "explainer", "metric")]
    numbers = {c: units[c].to_pylist() for c in ("seconds", "forward", "backward")}
    totals: dict[tuple[str, ...], Counter[str]] = {}
    for i, key in enumerate(zip(*names, strict=True)):
        total = totals.setdefault(key, Counter())
        for column, values in numbers.items():
            total[column] += values[i] or 0
    return [
        {"what": " ".join(p for p in (k[0], short(k[1]), short(k[2])) if p), **total}
        for k, total in sorted(totals.items())
    ]


def _runs(runs: Table | None) -> list[dict[str, Any]]:
    rows: Sequence[dict[str, Any]] = runs.to_pylist() if runs is not None else []
    return [
        row | {"plan": _pretty(row["plan"]), "provenance": _pretty(row["provenance"])}
        for row in sorted(rows, key=lambda r: (str(r["started"]), r["run"]))
    ]


def _components(components: Table | None) -> list[dict[str, Any]]:
    rows = components.to_pylist() if components is not None else []
    latest = {(r["kind"], r["name"]): r for r in rows}
    return [latest[key] for key in sorted(latest)]


def _pretty(text: str) -> str:
    try:
        return json.dumps(json.loads(text), indent=2, sort_keys=True, ensure_ascii=False)
    except ValueError:
        return text
