"""A run on data with findings: rows with the reason, the column ``doubt``, and the lines on top of every result."""

from __future__ import annotations

import json
from io import StringIO

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from rich.console import Console
from toy_runs import registry, toy_run

from conftest import TOY
from xaibench import open_run
from xaibench.plan.settings import make_settings
from xaibench.run.driver import prepare
from xaibench_datasets.demo import DemoDataset, DemoParameters
from xaibench_report.page.report_context import ReportContext
from xaibench_report.page.report_page import sections_of, write_report
from xaibench_report.terminal.boards_terminal import print_leaderboards, to_json

NOISY, ALIKE = "fake/swap/10000", "fake/swap/10001"


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """Four demo people with one swap each; one mask is noise, and one fake is its counterpart."""
    root, demo = tmp_path_factory.mktemp("people"), DemoDataset(DemoParameters(identities=4))
    for sample in demo.samples():
        kind, _, name = sample.id.partition("/")
        if kind not in ("real", "swap"):
            continue
        native = demo.read(sample)
        place = root / ("real" if kind == "real" else "fake/swap") / f"{name}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(native.pixels).save(place)
        if native.mask is not None:
            (root / "masks/swap").mkdir(parents=True, exist_ok=True)
            Image.fromarray(native.mask).save(root / f"masks/swap/{name}.png")
    noise = np.random.default_rng(0).integers(0, 4, (64, 64)).astype(np.uint8)
    Image.fromarray(noise).save(root / "masks/swap/10000.png")
    (root / "fake/swap/10001.png").write_bytes((root / "real/10001.png").read_bytes())
    return root


def choice(people):
    return {"dataset": [str(people)], "metric": ["pointing-game", "repair"], "target": "fake", "limit": None}


@pytest.fixture(scope="module")
def run(people, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "run"
    toy_run(out, **choice(people))
    return out


def values(run, metric):
    rows = pq.read_table(run / "scores").to_pylist()
    return {r["sample"]: (r["status"], r["reason"]) for r in rows if r["label"] == "fake" and metric in r["metric"]}


def test_samples_in_doubt_have_the_finding_as_the_reason(run):
    found = values(run, "pointing-game")
    assert found.pop(NOISY) == ("undefined", "in doubt: mask: empty (its largest weight is 3 of 255)")
    assert found.pop(ALIKE) == ("undefined", "in doubt: counterpart: real/10001 is identical to the fake")
    assert {status for status, _ in found.values()} == {"ok"}


def test_a_counterpart_in_doubt_is_not_used_and_others_are(run):
    found = values(run, "repair")
    assert found.pop(ALIKE)[1] == "in doubt: counterpart: real/10001 is identical to the fake"
    assert all("doubt" not in (reason or "") for _, reason in found.values())


def test_the_table_of_samples_can_be_filtered(run):
    rows = open_run(run).to_arrow("samples").to_pylist()
    doubts = {r["sample"]: r["doubt"] for r in rows if r["doubt"] is not None}
    assert doubts.keys() == {NOISY, ALIKE}
    assert {r["sample"]: r["pair"] for r in rows}[ALIKE] == "real/10001"


def test_a_second_start_decodes_nothing_and_has_nothing_to_do(run, people, monkeypatch):
    def refuse(*_):
        raise AssertionError("decoded again")

    monkeypatch.setattr("xaibench.data.survey._Reader._decoded", refuse)
    monkeypatch.setattr("xaibench.data.survey._Reader._thumbnail", refuse)
    assert toy_run(run, **choice(people)).done == 0


def test_the_plan_says_it_before_the_run(people, tmp_path):
    settings = {"model": ["toy"], "explainer": ["rows"], "plugin": [str(TOY)], "out": str(tmp_path / "run")}
    plan = prepare(make_settings(None, settings | choice(people)), registry()).plan
    assert any("2 of 8 samples are in doubt" in note for note in plan.notes)


def test_every_result_says_it_on_top(run, tmp_path):
    context = ReportContext.read(open_run(run))
    console = Console(file=StringIO(), width=250)
    print_leaderboards(context.leaderboards, console)
    page = write_report(context, sections_of(open_run(run)), tmp_path / "page.html").read_text("utf-8")
    lines = console.file.getvalue().splitlines()
    said = "2 of 8 samples are in doubt and take no part in localisation: 1 x counterpart: identical to the fake, "
    assert any(said in line for line in lines[:4])  # below the marks of the detector
    told = json.loads(json.dumps(to_json(context.leaderboards)))["doubts"]
    assert {line.split(":")[0].strip() for line in told[1:]} == {NOISY, ALIKE}
    assert all(text in page for text in ("are in doubt", NOISY, ALIKE))
