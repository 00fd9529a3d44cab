"""The gate of the fill response, with cells made by hand."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from toy_runs import toy_run

from xaibench.api import ScoreSpec
from xaibench_metrics.faithfulness.fill_response import FillResponseParameters
from xaibench_report.judgement.fill_gate import (
    DEFAULT_FILL,
    METRIC,
    TURNS,
    _percent,
    fill_gate,
    fill_text,
    fill_unmeasured,
)
from xaibench_report.values.run_tables import read_run, score_info
from xaibench_report.values.run_values import CellKey, CellValues, ScoreInfo, Where, cell_values
from xaibench_report.values.sample_items import with_samples
from xaibench_statistics import Values, mean_interval

WHERE, ELSEWHERE = Where("d", "m", ""), Where("d", "other", "")
BLACK, BLUR, WIDE = METRIC, f"{METRIC}:fill=blur", f"{METRIC}:fill=blur,sigma=0.05"
DELETION, INSERTION, BOTH, PLAIN = ("deletion", "deletion"), ("insertion", "insertion"), ("both", "a"), ("other", "b")
COLUMNS = {DELETION: {}, INSERTION: {}, BOTH: {}, PLAIN: {}}
INFO = ScoreInfo(
    accompanied_by={"deletion": (BLACK,), "insertion": (BLUR,), "both": (BLACK, BLUR), "other": ("acme/else",)}
)


def cell(values, groups=None, left_out=()):
    ids = [f"{i:03d}" for i in range(len(values))]
    return CellValues(
        values=Values.of(ids, values, groups), whole={}, better="none", scope="model", definitions=(1,), items=(),
        incomplete=len(left_out), left_out=dict(left_out), labels={"real": len(values)},
        methods=np.full(len(values), "", dtype=np.str_),
    )  # fmt: skip


def cells(where=WHERE, **turned):
    names = {"black": BLACK, "blur": BLUR, "wide": WIDE}
    return {CellKey(where, names[k], TURNS, ""): c for k, c in turned.items()}


def share(mean, n=20):
    """``n`` pictures in as many groups of which a share turns with every region."""
    return cell([1.0] * round(mean * n) + [0.0] * (n - round(mean * n)))


def test_a_fill_that_turns_real_pictures_withholds_the_scores_of_its_measures_alone():
    every = cells(black=share(0.5), blur=share(0.05))
    found = fill_gate(WHERE, COLUMNS, every, INFO)
    assert set(found) == {DELETION, BOTH}
    estimate = mean_interval(share(0.5).values)
    low, high = (f"{100 * v:.0f} %" for v in (estimate.low, estimate.high))
    assert found[DELETION] == (
        "removal misleads on this detector: with fill=black, 50 % of the regions filled anywhere turn a real picture "
        f"fake (95 % interval {low} to {high}, 20 pictures); use fill=blur (here 5 %) or repair or counterpart-attack "
        "instead"
    )
    assert not fill_unmeasured(WHERE, {DELETION: {}, PLAIN: {}}, every, INFO)


@pytest.mark.parametrize(
    ("change", "offered"),
    [
        ([-0.09] * 20, True),
        ([-0.1] * 20, True),
        ([-0.11] * 20, False),
        ([0.05] * 20, True),
        ([-0.2], False),
        ([], True),
    ],
)
def test_a_fill_that_hides_evidence_is_not_offered(change, offered):
    every = cells(black=share(0.5), blur=share(0.05))
    every[CellKey(WHERE, BLUR, "real-change", "")] = cell(change)
    text = fill_gate(WHERE, COLUMNS, every, INFO)[DELETION]
    assert ("fill=blur" in text) == offered
    assert text.endswith("repair or counterpart-attack instead")


@pytest.mark.parametrize(("turned", "speaks"), [(0.1, False), (0.104, True), (0.15, True), (0.0, False)])
def test_it_speaks_above_a_tenth(turned, speaks):
    assert (DELETION in fill_gate(WHERE, COLUMNS, cells(black=share(turned, 500)), INFO)) == speaks


def test_of_two_fills_that_turn_alike_the_last_by_name_is_named():
    assert "with fill=blur, 50 %" in fill_gate(WHERE, COLUMNS, cells(black=share(0.5), blur=share(0.5)), INFO)[BOTH]


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (0.0, "0 %"),
        (0.004, "0.4 %"),
        (0.00849, "0.8 %"),
        (0.00851, "0.9 %"),
        (0.0099, "1.0 %"),
        (0.01, "1 %"),
        (0.0104, "1 %"),
        (0.9, "90 %"),
        (1.0, "100 %"),
    ],
)
def test_small_shares_are_told_from_none(part, words):
    assert _percent(part) == words


def test_the_worst_fill_is_named_and_the_least_harmful_offered():
    every = cells(black=share(0.2), blur=share(0.6), wide=share(0.0))
    every[CellKey(WHERE, "xaibench/repair:steps=5", "repair-auc", "x")] = share(0.5)
    found = fill_gate(WHERE, COLUMNS, every, INFO)
    assert "with fill=blur, 60 %" in found[BOTH] and "with fill=black, 20 %" in found[DELETION]
    assert found[BOTH].endswith(
        "use fill=blur,sigma=0.05 (here 0 %) or repair (in this run) or counterpart-attack instead"
    )


def test_no_fill_is_offered_where_every_one_misleads():
    found = fill_gate(WHERE, COLUMNS, cells(black=share(0.2), blur=share(0.6)), INFO)
    assert found[DELETION].endswith("use repair or counterpart-attack instead")


def test_what_is_not_measured_is_said_and_withholds_nothing():
    few = cell([1.0] * 12, groups=[f"g{i % 4}" for i in range(12)])
    none = cell([], left_out={("undefined", "there is no real picture"): 1}.items())
    every = cells(black=few, blur=none)
    assert not fill_gate(WHERE, COLUMNS, every, INFO)
    found = fill_unmeasured(WHERE, COLUMNS, every, INFO)
    assert found == {
        DELETION: "fill response not measured (fill=black: 4 groups, fewer than 10: no interval)",
        INSERTION: "fill response not measured (fill=blur: there is no real picture)",
        BOTH: "fill response not measured (fill=black: 4 groups, fewer than 10: no interval; fill=blur: there is no real "
        "picture)",
    }  # fmt: skip


def test_another_detector_and_a_run_without_controls_say_nothing_of_this_one():
    every = cells(ELSEWHERE, black=share(0.9))
    assert not fill_gate(WHERE, COLUMNS, every, INFO)
    assert fill_unmeasured(WHERE, {DELETION: {}}, every, INFO)[DELETION] == (
        "fill response not measured (fill=black: it did not run)"
    )


def test_the_default_fill_is_that_of_the_metric():
    assert FillResponseParameters().fill == DEFAULT_FILL
    assert fill_text("xaibench/fill-response:pictures=3,fill=acme/paint") == "fill=acme/paint"


# ---- what the gate reads --------------------------------------------------------------------------------------------


def test_what_accompanies_a_metric_is_read_from_the_run():
    row = {"run": "r", "kind": "metric", "name": "deletion"}
    details = '{"family": "faithfulness", "scores": [], "accompanied_by": ["xaibench/fill-response"]}'
    assert score_info([{**row, "details": details}]).accompanied_by == {"deletion": (BLACK,)}
    before = '{"family": "faithfulness", "scores": []}'
    assert score_info([{**row, "details": before}]).accompanied_by == {"deletion": ()}


def table(rows):
    kinds = {name: pa.float64() if name == "value" else pa.string() for name in rows[0]}
    return pa.Table.from_pylist(rows, pa.schema(list(kinds.items())))


def test_items_that_are_samples_are_read_as_these_samples():
    spec = ScoreSpec(name=TURNS, better="none", item_is_sample=True)
    info = ScoreInfo(specs={(BLACK, TURNS): spec, ("other", TURNS): ScoreSpec(name=TURNS, better="none")})
    sample = {"group": "", "cross_group": None, "label": "", "method": None}
    row = {"metric": BLACK, "score": TURNS, "dataset": "d", "sample": "", "item": "r1", "value": 0.5, **sample}
    rows = [row, {**row, "item": ""}, {**row, "metric": "other"}, {**row, "item": "gone"}, {**row, "dataset": "e"}]
    known = {"group": "g", "cross_group": "c", "label": "real", "method": None}
    samples = [{"dataset": "d", "sample": "r0", **known, "label": "fake", "method": "swap"}]
    samples += [{"dataset": "d", "sample": "r1", **known}]
    found = with_samples(table(rows), table(samples), info).to_pylist()
    assert found == [{**row, **known, "sample": "r1", "item": ""}, *rows[1:]]


def test_a_run_opened_later_gives_what_accompanies_and_a_value_a_sample(tmp_path):
    assert toy_run(tmp_path / "run", metric=["deletion:steps=2", "fill-response:regions=2"], limit=8).exit_code == 0
    tables, info = read_run(tmp_path / "run")
    response = f"{METRIC}:regions=2"  # named by hand: it stands for the spec
    assert info.accompanied_by == {"xaibench/deletion:steps=2": (response,), response: ()}
    found = {k.score: c for k, c in cell_values(tables.scores).items() if k.metric == response}
    samples = {r["sample"]: r for r in tables.samples.to_pylist()}
    for score, label in (("fake-rises", "fake"), ("real-change", "real")):
        values = found[score].values
        assert set(values.samples) == {s for s, r in samples.items() if r["label"] == label and r["order"] is not None}
        assert list(values.groups) == [samples[s]["group"] for s in values.samples]
        assert found[score].scope == "model"
