"""Pictures of a run with the maps of every explainer over them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, Final

import numpy as np
import pyarrow.compute as pc

from xaibench.api import UnreadablePicture
from xaibench_report.page.figures import data_uri, overlay, png_bytes
from xaibench_report.values.run_values import Pixels, ScoreInfo, Table, Where, encode, short, texts

SAMPLES: Final = 8
SIDE: Final = 160


@dataclass(frozen=True, slots=True, kw_only=True)
class Gallery:
    """Pictures and maps of one detector. ``rows``: (caption, picture and maps as data URIs, empty where missing)."""

    where: Where
    explainers: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]


def galleries(maps: Table, predictions: Table, info: ScoreInfo, pictures: Callable[[str], Pixels]) -> list[Gallery]:
    """One gallery for every detector and dataset with stored maps.

    ``pictures``: sample id -> ``(H, W, 3)`` uint8 RGB as the detector saw it; a sample for which it raises
    :class:`UnreadablePicture` is left out.
    """
    usable = (texts(maps, "view") == "") & (texts(maps, "status") == "ok")
    maps = maps.filter(usable & ~np.asarray(pc.is_null(maps["map"])))
    keys = np.stack([texts(maps, c) for c in ("dataset", "model", "member")], axis=1)
    captions = _captions(predictions)
    every = []
    for names in np.unique(keys, axis=0) if len(keys) else []:
        part = maps.filter((keys == names).all(axis=1))
        every.append(_gallery(Where(*map(str, names)), part, info, pictures, captions))
    return [g for g in every if g.rows]


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
        repeats = maps.filter(pc.equal(maps["sample"], sample)).sort_by([("repeat", "descending")]).to_pylist()
        by_explainer = {m["explainer"]: m for m in repeats}  # the first repeat comes last and stays
        try:
            picture = pictures(sample)
        except UnreadablePicture:
            continue
        images = [data_uri(png_bytes(picture, SIDE))]
        for explainer in explainers:
            row = by_explainer.get(explainer)
            images.append(data_uri(overlay(picture, _decode(row), side=SIDE)) if row else "")
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
