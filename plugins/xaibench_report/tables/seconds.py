"""The seconds that drawing a map took, from the commits of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from xaibench_report.boards.board_cells import Cell
from xaibench_report.tables.score_choice import SECONDS
from xaibench_report.values.run_values import CellKey, RunTables, Where
from xaibench_statistics import Estimate

NOTE: Final = (
    "wall time of drawing over the number of maps drawn, on the machine of the run, in batches that other explainers "
    "may share: no interval"
)


def seconds_cells(tables: RunTables) -> Mapping[CellKey, tuple[Cell, tuple[str, ...]]]:
    """Of every explainer and detector, the seconds of its commits over the maps that came of them (status ok); repeats
    count as maps. The note says what is timed, and on which device. An explainer without a map has no entry."""
    sums: dict[CellKey, tuple[float, int, set[str]]] = {}
    columns = ["kind", "dataset", "model", "member", "explainer", "seconds", "done", "statuses", "device"]
    for row in tables.commits.select(columns).to_pylist():
        if row["kind"] == "explain" and row["done"]:
            key = CellKey(Where(row["dataset"], row["model"], row["member"]), *SECONDS, row["explainer"])
            seconds, maps, devices = sums.get(key, (0.0, 0, set()))
            drawn = row["statuses"].count("ok")
            sums[key] = (seconds + row["seconds"], maps + drawn, devices | {row["device"] or "unknown"})
    return {key: _cell(*sum_) for key, sum_ in sorted(sums.items()) if sum_[1]}


def _cell(seconds: float, maps: int, devices: set[str]) -> tuple[Cell, tuple[str, ...]]:
    estimate = Estimate(value=seconds / maps, n=0, groups=0, note=NOTE)
    return Cell(estimate=estimate, labels={}), (f"{NOTE} ({', '.join(sorted(devices))})",)
