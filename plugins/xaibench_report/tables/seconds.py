"""The seconds that drawing the maps of a picture took, from the commits of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from xaibench_report.boards.board_cells import Cell
from xaibench_report.tables.score_choice import SECONDS
from xaibench_report.values.run_values import CellKey, RunTables, Where
from xaibench_statistics import Estimate

NOTE: Final = (
    "wall time of drawing the maps of a picture on the machine of the run, in batches that other explainers may share: "
    "no interval"
)


def seconds_cells(tables: RunTables) -> Mapping[CellKey, tuple[Cell, tuple[str, ...]]]:
    """Of every explainer and detector, the seconds of its commits over the pictures that they explained; repeats count
    as pictures. The note says what is timed, and on which device."""
    sums: dict[CellKey, tuple[float, int, set[str]]] = {}
    columns = ["kind", "dataset", "model", "member", "explainer", "seconds", "done", "device"]
    for row in tables.commits.select(columns).to_pylist():
        if row["kind"] == "explain" and row["done"]:
            key = CellKey(Where(row["dataset"], row["model"], row["member"]), *SECONDS, row["explainer"])
            seconds, done, devices = sums.get(key, (0.0, 0, set()))
            sums[key] = (seconds + row["seconds"], done + row["done"], devices | {row["device"] or "unknown"})
    return {key: _cell(*found) for key, found in sorted(sums.items())}


def _cell(seconds: float, done: int, devices: set[str]) -> tuple[Cell, tuple[str, ...]]:
    estimate = Estimate(value=seconds / done, n=0, groups=0, note=NOTE)
    return Cell(estimate=estimate, labels={}), (f"{NOTE} ({', '.join(sorted(devices))})",)
