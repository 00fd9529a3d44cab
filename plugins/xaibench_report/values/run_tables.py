"""What statistics read of a run: its tables, and what its components said of themselves."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xaibench.api import Headroom, ScoreSpec, XaibenchError
from xaibench_report.values.run_values import Pixels, RunTables, ScoreInfo
from xaibench_report.values.sample_items import with_samples

if TYPE_CHECKING:
    from xaibench import Run


def read_run(run: Run | str | Path) -> tuple[RunTables, ScoreInfo]:
    """The tables of a run and what its scores mean. Raises :class:`StoreError` where a folder is no run."""
    from xaibench import open_run

    opened = open_run(run) if isinstance(run, str | Path) else run
    components = opened.to_arrow("components")
    columns = ["dataset", "model", "member", "unit", "kind", "status", "reason"]
    info = score_info(components.to_pylist())
    samples = opened.to_arrow("samples")
    tables = RunTables(
        scores=with_samples(opened.to_arrow("scores"), samples, info),
        predictions=opened.to_arrow("predictions"), commits=opened.to_arrow("commits"),
        curves=opened.to_arrow("curves"), artefacts=opened.to_arrow("artefacts", columns),
        detectors=opened.to_arrow("detectors"),
        runs=opened.to_arrow("runs"), components=components,
        samples=samples,
    )  # fmt: skip
    return tables, info


def read_pictures_of(run: Run) -> tuple[RunTables, ScoreInfo]:
    """Samples, predictions, artefacts and components of a run alone, which are read soon: no scores and no curves."""
    import pyarrow as pa

    components = run.to_arrow("components")
    tables = RunTables(
        scores=pa.table({}), commits=pa.table({}), predictions=run.to_arrow("predictions"),
        artefacts=run.to_arrow("artefacts", ["sample", "status"]), components=components,
        samples=run.to_arrow("samples"),
    )  # fmt: skip
    return tables, score_info(components.to_pylist())


def score_info(components: list[dict[str, Any]]) -> ScoreInfo:
    """What explainers and metrics declared when they ran, from the rows of ``components``; the latest word counts."""
    controls: dict[str, bool] = {}
    references: dict[str, bool] = {}
    independent: dict[str, bool] = {}
    families: dict[str, str] = {}
    specs: dict[tuple[str, str], ScoreSpec] = {}
    accompanied_by: dict[str, tuple[str, ...]] = {}
    for row in sorted(components, key=lambda r: str(r["run"])):
        details = json.loads(row["details"] or "{}")
        if row["kind"] == "explainer":
            controls[row["name"]] = details["control"]
            references[row["name"]] = details.get("reference", False)
            independent[row["name"]] = details.get("model_independent", False)
        elif row["kind"] == "metric":
            families[row["name"]] = details["family"]
            specs |= {(row["name"], s["name"]): _spec(s) for s in details["scores"]}
            accompanied_by[row["name"]] = tuple(details.get("accompanied_by", ()))
    return ScoreInfo(
        controls=frozenset(n for n, c in controls.items() if c),
        references=frozenset(n for n, r in references.items() if r),
        independent=frozenset(n for n, i in independent.items() if i),
        families=families,
        specs=specs,
        accompanied_by=accompanied_by,
    )


def _spec(declared: dict[str, Any]) -> ScoreSpec:
    headroom = declared.pop("headroom", None)
    return ScoreSpec(**declared, headroom=Headroom(**headroom) if headroom else None)


def pictures(run: Run) -> tuple[Callable[[str], Pixels] | None, str]:
    """A function from sample id to the picture as the detector saw it, or None and the reason."""
    from xaibench.api import UsageError

    try:
        return run.picture_reader(), ""
    except UsageError as error:
        return None, error.what
    except XaibenchError as error:
        return None, f"no pictures: {error.what} (relative paths hold in the folder in which the run was started)"
