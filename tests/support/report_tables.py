"""The tables of a small run made by hand, for tests of the report, and the page of such tables."""

import datetime
import re
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from xaibench.api import UsageError
from xaibench.discovery.registry import load_registry
from xaibench.store.schema import ARTEFACTS, COMMITS, COMPONENTS, CURVES, MAPS, PREDICTIONS, RUNS, SCORES
from xaibench_report.page.report_context import ReportContext
from xaibench_report.page.report_page import write_report
from xaibench_report.values.run_values import RunTables

METRIC = "xaibench/deletion"
EXPLAINERS = ("xaibench/gradcam", "xaibench/random")

N = 12


class HandMadeRun:
    """What sections ask of an opened run beside its numbers: the table of maps, and pictures or why there are none."""

    settings = {}  # noqa: RUF012 (nobody changes it)

    def __init__(self, maps, picture, why):
        self._maps, self._picture, self._why = maps, picture, why

    def to_arrow(self, name, columns=None, where=None):
        assert name in ("maps", "artefacts")
        table = self._maps if name == "maps" else ARTEFACTS.empty_table()
        for column, values in (where or {}).items():
            table = table.filter(pc.is_in(table[column], pa.array(values, pa.string())))
        return table if columns is None else table.select(columns)

    def picture_reader(self):
        if self._picture is None:
            raise UsageError(self._why)
        return self._picture

    def picture(self, sample):
        return self._picture(sample), None


def hand_made_context(tables, info, picture=None, *, why="no data set is here", maps=None, balances=None):
    """``maps``: a table; None: the maps of ``run_tables()``."""
    run = HandMadeRun(map_table() if maps is None else maps, picture, why)
    return ReportContext(run=run, tables=tables, info=info, balances=balances)


@cache
def built_in_sections():
    return tuple(s for s in load_registry().of_kind("section") if s.origin.built_in)


def report_page(folder, *context, sections=(), **more):
    """The text of the page of tables: the built-in sections and further ones."""
    every = [*built_in_sections(), *sections]
    return write_report(hand_made_context(*context, **more), every, folder / "report.html").read_text("utf-8")


def where(**changes):
    return {
        "run": "r",
        "unit": "u",
        "cell": "c",
        "model": "xaibench/demo",
        "member": "0",
        "dataset": "xaibench/faces",
    } | changes


def sample(i):
    return {"sample": f"s{i:02d}", "group": f"g{i}", "cross_group": None, "label": "fake" if i % 2 else "real",
            "method": "swap" if i % 2 else None}  # fmt: skip


def run_tables(shift=0.0, explainers=EXPLAINERS, n=N, definition=1, **changes):
    """Explainers, and runs of another shift, differ by no constant: such a difference would have no interval."""
    base = where(**changes)
    scores = [
        {**base, **sample(i), "prediction": "fake", "explainer": e, "target": "fake", "metric": METRIC, "score": "auc",
         "item": "", "scope": "sample", "definition": definition, "value": 0.1 * k + shift * (0.9 + 0.2 * (i % 2)) + (0.01 + 0.001 * k) * i,
         "better": "lower", "status": "ok", "reason": None, "seed": 0, "repeat": 0}
        for k, e in enumerate(explainers) for i in range(n)
    ]  # fmt: skip
    predictions = [
        {**base, **sample(i), "probabilities": [0.5, 0.5], "classes": ["real", "fake"], "p_fake": 0.3 + 0.4 * (i % 2), "log_odds": -0.85 + 1.7 * (i % 2),
         "prediction": "fake", "verdict": "fake", "correct": True, "status": "ok", "reason": None}
        for i in range(n)
    ]  # fmt: skip
    curves = [
        {**base, **sample(i), "explainer": e, "metric": METRIC, "curve": "deletion", "item": "", "repeat": 0,
         "point": p, "x": p / 4, "y": 1 - p / 4}
        for e in explainers for i in range(n) for p in range(5)
    ]  # fmt: skip
    commit = {"commit": 1, "cell": "c", "kind": "explain", "model": base["model"], "member": "0",
            "dataset": base["dataset"], "explainer": "acme/bad", "metric": "", "artefact": "", "repeat": 0,
            "samples": ["s00"], "digests": [1], "statuses": ["failed"], "done": 1, "failed": 1, "kept": True,
            "reason": "ValueError", "attempts": 1, "seconds": 1.5, "forward": 3, "backward": 0,
            "peak_memory": 0, "device": "cpu", "error": "ValueError: <script>alert(1)</script>",
            "trace": None}  # fmt: skip
    run = {"run": "r", "started": datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC), "command": "xaibench eval",
           "seed": 7, "plan": '{"preset": "quick"}', "plan_digest": "abc", "provenance": "{}"}  # fmt: skip
    component = {"run": "r", "kind": "explainer", "name": "xaibench/gradcam", "distribution": "xaibench",
                 "version": "0.1.0", "component_version": 1, "parameters": "{}", "digest": None,
                 "details": None}  # fmt: skip
    table = pa.Table.from_pylist
    return RunTables(
        scores=table(scores, SCORES), predictions=table(predictions, PREDICTIONS), commits=table([commit], COMMITS),
        curves=table(curves, CURVES), runs=table([run], RUNS),
        components=table([component], COMPONENTS),
    )  # fmt: skip


def map_table():
    ramp = np.linspace(-1, 1, 64).reshape(8, 8).astype("<f2").tobytes()
    rows = [
        where() | {"sample": f"s{i:02d}", "view": "", "explainer": e, "target": "fake", "repeat": 0, "height": 8,
         "width": 8, "scale": 2.0, "map": ramp, "native_height": None, "native_width": None, "native_scale": None,
         "native_map": None, "segment_weights": None, "forward": 1, "backward": 0, "status": "ok", "reason": None}
        for e in EXPLAINERS for i in range(N)
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, MAPS)


def markup(page):
    """The page without its own scripts, which stand at its end, and without its blocks of data, which hold no ``<``."""
    body, _, rest = page.partition("</main>")
    assert "</main>" not in rest.replace("<script>", "").replace("</script>", "")
    return re.sub(r'<script type="application/json" id="[A-Za-z0-9-]+">[^<]*</script>', "", body)
