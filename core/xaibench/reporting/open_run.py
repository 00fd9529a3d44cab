"""A run's folder opened for reading: tables, what its components said of themselves, and its pictures."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xaibench.contracts import Room, ScoreSpec
from xaibench.errors import XaibenchError
from xaibench.reporting.results import RunTables, ScoreInfo
from xaibench.store.folder import RunFolder

if TYPE_CHECKING:
    from xaibench.registry import Registry
    from xaibench.reporting.figures import Pixels


def open_run(path: str | Path, maps: bool = False) -> tuple[RunTables, ScoreInfo]:
    """The tables of a run and what its scores mean. Raises :class:`StoreError` where the folder is no run."""
    folder = RunFolder(path)
    folder.run_file()
    components = folder.table("components")
    made = ["dataset", "model", "member", "unit", "kind", "status", "reason"]
    tables = RunTables(
        scores=folder.table("scores"), predictions=folder.table("predictions"), units=folder.table("units"),
        curves=folder.table("curves"), artefacts=folder.table("artefacts", columns=made),
        maps=folder.table("maps") if maps else None, runs=folder.table("runs"), components=components,
    )  # fmt: skip
    return tables, score_info(components.to_pylist())


def score_info(components: list[dict[str, Any]]) -> ScoreInfo:
    """What explainers and metrics declared when they ran, from the rows of ``components``; the latest word counts."""
    controls: dict[str, bool] = {}
    references: dict[str, bool] = {}
    independent: dict[str, bool] = {}
    families: dict[str, str] = {}
    specs: dict[tuple[str, str], ScoreSpec] = {}
    for row in sorted(components, key=lambda r: str(r["run"])):
        details = json.loads(row["details"] or "{}")
        if row["kind"] == "explainer":
            controls[row["name"]] = details["control"]
            references[row["name"]] = details.get("reference", False)
            independent[row["name"]] = details.get("model_independent", False)
        elif row["kind"] == "metric":
            families[row["name"]] = details["family"]
            specs |= {(row["name"], s["name"]): _spec(s) for s in details["scores"]}
    return ScoreInfo(
        controls=frozenset(n for n, c in controls.items() if c),
        references=frozenset(n for n, r in references.items() if r),
        independent=frozenset(n for n, i in independent.items() if i),
        families=families,
        specs=specs,
    )


def _spec(declared: dict[str, Any]) -> ScoreSpec:
    room = declared.pop("room", None)
    return ScoreSpec(**declared, room=Room(**room) if room else None)


def pictures(tables: RunTables, registry: Registry) -> tuple[Callable[[str], Pixels] | None, str]:
    """A function from sample id to the picture as the detector saw it, or None and the reason."""
    assert tables.components is not None
    rows = tables.components.to_pylist()
    datasets = {r["name"]: r for r in rows if r["kind"] == "dataset"}
    models = [json.loads(r["details"]) for r in rows if r["kind"] == "model"]
    if len(datasets) != 1 or not models:
        return None, "pictures are shown for runs on one dataset"
    try:
        return _reader(registry, next(iter(datasets.values())), models[0]), ""
    except XaibenchError as error:
        return None, f"no pictures: {error.what} (relative paths hold in the folder in which the run was started)"


def _reader(registry: Registry, row: dict[str, Any], model: dict[str, Any]) -> Callable[[str], Pixels]:
    from xaibench.components import Ref, resolve
    from xaibench.contracts import Resize
    from xaibench.pictures import show

    dataset = resolve(registry, Ref("dataset", json.loads(row["details"])["component"], row["parameters"])).instance
    samples = {s.id: s for s in dataset.samples()}
    size, resize = (model["input_size"][0], model["input_size"][1]), Resize(**model["resize"])

    def read(sample_id: str) -> Pixels:
        sample = samples[sample_id]
        image, _, _ = show(dataset.read(sample), sample, size, resize)
        return (image.permute(1, 2, 0).numpy() * 255).round().astype("uint8")

    return read
