"""One entry of the picture browser: a picture, its mask and verdicts, the maps over it and its adversarial twins."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from xaibench.api import printable
from xaibench_report.boards.wording import place
from xaibench_report.displays.map_colours import (
    Mask,
    Values,
    image_uri,
    map_layer,
    outline_path,
    picture_bytes,
    scale_map,
)
from xaibench_report.displays.map_words import map_words, percent, strongest_part
from xaibench_report.values.number_format import number
from xaibench_report.values.run_values import Pixels, ScoreInfo, Where, short

if TYPE_CHECKING:
    from xaibench_report.values.run_values import Role

Row = dict[str, Any]
ROLES: Final[tuple[Role, ...]] = ("explainer", "control", "inverse", "reference")
LAYER_SIDE: Final = 112
PICTURE_SIDE: Final = 256
_WHERE: Final = ("dataset", "model", "member")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SampleRows:
    """What a run holds of one sample: its rows of ``predictions``, ``maps`` and ``artefacts``, its picture as the
    detector saw it, and its mask."""

    sample: str
    pixels: Pixels
    mask: Mask | None
    predictions: Sequence[Row]
    maps: Sequence[Row]
    artefacts: Sequence[Row]


def sample_entry(rows: SampleRows, info: ScoreInfo) -> dict[str, Any]:
    """The entry of a sample as plain data. Pictures are ``data:`` URIs, texts are printable and not escaped."""
    from PIL import Image

    name = _name(rows)
    height, width = rows.pixels.shape[:2]
    entry = {
        "sample": printable(rows.sample),
        "width": width,
        "height": height,
        "picture": image_uri(picture_bytes(Image.fromarray(rows.pixels), "webp", PICTURE_SIDE), "webp"),
        "outline": "" if rows.mask is None else outline_path(rows.mask),
        "alt": f"{name[:1].upper()}{name[1:]}.{_mask_words(rows.mask)}",
        "mask": "" if rows.mask is None else f"{percent(float(rows.mask.mean()))} of the picture",
        "detectors": [_detector(rows, where, name, info) for where in _places(rows)],
    }
    return entry


def _name(rows: SampleRows) -> str:
    """``fake picture a1 (swap)``."""
    first: Mapping[str, Any] = rows.predictions[0] if rows.predictions else {}
    method = f" ({first['method']})" if first.get("method") else ""
    return printable(f"{first.get('label', '')} picture {rows.sample}{method}".strip())


def _mask_words(mask: Mask | None) -> str:
    if mask is None:
        return ""
    where = strongest_part(mask.astype(np.float64))
    return f" The mask covers {percent(float(mask.mean()))} of it{f', most in the {where}' if where else ''}."


def _places(rows: SampleRows) -> list[Where]:
    """The detectors of which the sample has maps; those that looked at it where none has."""
    some = rows.maps or rows.predictions
    return sorted({_where(r) for r in some})


def _where(row: Mapping[str, Any]) -> Where:
    return Where(*(str(row[c]) for c in _WHERE))


def _detector(rows: SampleRows, where: Where, name: str, info: ScoreInfo) -> dict[str, Any]:
    """What one detector says of the picture."""
    prediction = next((r for r in rows.predictions if _where(r) == where), None)
    maps = first_maps([r for r in rows.maps if _where(r) == where], info)
    targets = sorted({r["target"] for r in maps if r["target"]})
    artefacts = [r for r in rows.artefacts if _where(r) == where]
    return {
        "place": printable(place(where)),
        **prediction_words(prediction),
        "target": printable(", ".join(targets)),
        "maps": [_map(r, rows.mask, name, info) for r in maps],
        "attacked": [a for r in artefacts for a in _attacked(r, name)],
    }


def prediction_words(prediction: Row | None) -> dict[str, Any]:
    """Verdict, P(fake) as text, and whether the verdict is right; the reason where there is none."""
    if prediction is None or prediction["status"] != "ok":
        why = "no prediction" if prediction is None else f"the prediction failed: {prediction['reason']}"
        return {"verdict": "", "p_fake": "", "right": "none", "why": printable(why)}
    right = {True: "right", False: "wrong", None: "none"}[prediction["correct"]]
    return {"verdict": prediction["verdict"], "p_fake": number(prediction["p_fake"]), "right": right, "why": ""}


def first_maps(rows: Sequence[Row], info: ScoreInfo) -> list[Row]:
    """The first repeat of each explainer's map: explainers first, then controls by their role."""
    first = {r["explainer"]: r for r in sorted(rows, key=lambda r: -int(r["repeat"])) if not r["view"]}
    return sorted(first.values(), key=lambda r: (ROLES.index(info.role(r["explainer"])), r["explainer"]))


def decoded_map(row: Row) -> Values:
    """The map of a row of ``maps``, divided by its largest absolute value."""
    return np.frombuffer(row["map"], dtype="<f2").astype(np.float32).reshape(row["height"], row["width"])


def _map(row: Row, mask: Mask | None, name: str, info: ScoreInfo) -> dict[str, Any]:
    explainer = printable(short(row["explainer"]))
    found = {"explainer": explainer, "role": info.role(row["explainer"])}
    if row["map"] is None:
        return {**found, "why": printable(f"{row['status']}: {row['reason'] or 'the map was not kept'}")}
    values = decoded_map(row)
    scaled = scale_map(values)
    layer = image_uri(map_layer(scaled, LAYER_SIDE), "png")
    words = map_words(values, mask)
    covers = "" if mask is None else f" The mask covers {percent(float(mask.mean()))} of the picture."
    alt = f"{explainer} on {name}: {words}.{covers}"
    return {**found, "layer": layer, "signed": scaled.signed, "words": words, "alt": alt}


def _attacked(row: Row, name: str) -> list[dict[str, Any]]:
    """The pictures among the tensors of an artefact, ``(3, H, W)`` in [0, 1], with what the detector says of them."""
    from PIL import Image

    numbers = dict(row["numbers"])
    found = []
    for tensor in row["tensors"]:
        shape = tuple(tensor["shape"])
        if len(shape) != 3 or shape[0] != 3:
            continue
        values = np.frombuffer(tensor["data"], dtype=np.dtype(tensor["dtype"]).newbyteorder("<")).reshape(shape)
        pixels = np.rint(np.clip(values.astype(np.float32), 0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)
        title = printable(f"{row['kind']} {_parameters(row['parameters'])}".strip())
        said = _attack_words(numbers)
        note = printable(row["reason"] or "")
        found.append(
            {
                "title": title,
                "picture": image_uri(picture_bytes(Image.fromarray(pixels), "webp", PICTURE_SIDE), "webp"),
                "verdict": said,
                "note": note,
                "alt": f"{title} of {name}: {said}.",
            }
        )
    return found


def _parameters(text: str) -> str:
    return ", ".join(f"{k} {v}" for k, v in sorted(json.loads(text or "{}").items()))


def _attack_words(numbers: Mapping[str, float]) -> str:
    if "flipped" not in numbers:
        return "no verdict was kept"
    verdict = "called real" if numbers["flipped"] else "still called fake"
    after = numbers.get("p_real_after")
    return verdict if after is None else f"{verdict}, P(fake) = {number(1 - after)}"
