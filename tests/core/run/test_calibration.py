"""Whether the maps of a run are those of a detector and an explainer: what is compared with its records."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from toy_runs import registry

from conftest import TOY
from xaibench.api import UsageError
from xaibench.plan.settings import make_settings
from xaibench.run import record
from xaibench.run.calibration import detector_in_run
from xaibench.run.driver import prepare


def test_an_explainer_is_compared_as_it_is_recorded_with_its_paths_shortened(tmp_path, monkeypatch):
    asked = make_settings(None, {
        "model": ["toy"], "dataset": ["demo:identities=2"], "explainer": ["rows"], "metric": ["range"],
        "controls": False, "threads": 1, "limit": 2, "plugin": [str(TOY)], "out": str(tmp_path / "run"),
    })  # fmt: skip
    plan = prepare(asked, registry()).plan
    monkeypatch.setattr(record, "use_identity", lambda use: {"parameters": {"file": "/nowhere/a/b.bin"}, "code": "0"})
    here = record.recorded_identity(plan.explainers[0].use)
    (row,) = (r for r in record.component_rows(plan, "1").to_pylist() if r["kind"] == "explainer")
    assert {name: row[name] for name in here} == here
    assert here["parameters"] == '{"file":"b.bin"}'


def run_with(predictions: list[dict[str, str]], digest: str = "0") -> Any:
    tables = {
        "components": pa.Table.from_pylist([{"name": "toy b", "digest": d} for d in ("1", digest)]),
        "predictions": pa.Table.from_pylist(predictions, pa.schema({"model": pa.string(), "member": pa.string()})),
    }
    return SimpleNamespace(to_arrow=lambda name, *_, **__: tables[name], settings={}, path="RUN")


def test_a_run_without_predictions_or_with_a_detector_that_was_replaced_is_refused():
    facts: Any = SimpleNamespace(digest="0")
    members = [{"model": "toy", "member": member} for member in "ab"]
    assert detector_in_run(run_with(members), facts, "predicted") == ("toy", "b")
    with pytest.raises(UsageError, match="no predictions of this detector"):
        detector_in_run(run_with([]), facts, "predicted")
    with pytest.raises(UsageError, match="another detector: toy b"):
        detector_in_run(run_with(members, digest="2"), facts, "predicted")
