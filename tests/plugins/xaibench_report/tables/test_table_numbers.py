"""Which numbers stand where in a table of any shape, and that they are those of the boards."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from shaped_tables import (
    ATTACK,
    CAM,
    DELETION,
    INFO,
    ITEMS,
    MASS,
    RANDOM,
    RISE,
    UNEQUAL,
    WHERE,
    ramp,
    rows,
    sample,
    score,
    tables,
    with_rows,
)

from xaibench.api import NothingToEvaluate, ScoreSpec, UsageError
from xaibench_report.boards.leaderboard import build_leaderboards
from xaibench_report.tables.run_table import RunTable, build_table
from xaibench_report.tables.score_choice import item_parts
from xaibench_report.tables.table_request import make_request
from xaibench_report.values.run_values import cell_values
from xaibench_statistics import mean_interval


def table(held: Any, *args: Any, **options: Any) -> RunTable:
    return build_table(held, INFO, make_request(*args, **options))


def values(found: RunTable, at: int = 0) -> dict[tuple[str, ...], dict[tuple[str, ...], float | None]]:
    grid = found.grids[at]
    return {
        r.labels: {
            c.labels: x.estimate and round(x.estimate.value, 6) for c, x in zip(grid.columns, cells, strict=True)
        }
        for r, cells in zip(grid.rows, grid.cells, strict=True)
    }


def test_the_numbers_are_those_of_the_board_and_methods_weigh_alike() -> None:
    held = tables(UNEQUAL)
    found = table(held, intervals=True)
    assert values(found) == {("gradcam",): {("relevance-mass",): 0.5}, ("rise",): {("relevance-mass",): 0.4}}
    board = build_leaderboards(held, INFO).boards[0]
    cell = next(r.cells[0] for r in board.rows if r.explainer == CAM)
    assert cell is not None and found.grids[0].cells[0][0].estimate == cell.estimate
    assert found.grids[0].caption == (
        "Means over samples (first over the repeats of each) with 95 % intervals clustered by group; scores of "
        "localisation weigh every manipulation method alike. 36 samples of 36 groups."
    )


def test_by_method_each_cell_is_a_plain_mean() -> None:
    held = tables(UNEQUAL)
    found = table(held, columns="method")
    assert values(found)["gradcam",] == {("swap",): 0.8, ("warp",): 0.2}
    cell = next(c for k, c in cell_values(held.scores).items() if k.explainer == CAM)
    swaps = mean_interval(cell.values.where(cell.methods == "swap"))
    assert found.grids[0].cells[0][0].estimate == swaps
    assert "alike" not in found.grids[0].caption


def test_a_family_is_its_primary_scores() -> None:
    beside = [*UNEQUAL, *rows(CAM, {"swap": ramp(0.5, 12)}, score="lift")]
    specs = {**INFO.specs, (MASS, "lift"): ScoreSpec(name="lift", better="higher", primary=False)}
    info = replace(INFO, specs=specs)
    held = tables([*beside, *ITEMS, *rows(CAM, {"swap": ramp(0.2, 12)}, metric=DELETION, score="deletion")])
    (grid,) = build_table(held, info, make_request(score="localisation")).grids
    assert [c.labels for c in grid.columns] == [("relevance-mass",)]
    assert grid.title == "Localisation of the explanations of demo (demo-0) on faces"
    with pytest.raises(UsageError) as error:
        build_table(held, info, make_request(score="localization"))
    assert error.value.mend == (
        "there are localisation, deletion, relevance-mass, attack, accuracy, faithfulness, lift, seconds, "
        "deletion:steps=10, segment-attack"
    )


def test_rows_are_in_the_order_of_the_board() -> None:
    three = [
        *rows(CAM, {"swap": ramp(0.2, 12)}),
        *rows("xaibench/lime", {"swap": ramp(0.8, 12)}),
        *rows(RISE, {"swap": ramp(0.5, 12)}),
    ]
    held = tables(three)
    (board,) = build_leaderboards(held, INFO).boards
    (grid,) = table(held).grids
    assert [r.labels[0] for r in grid.rows] == ["lime", "rise", "gradcam"]
    assert [r.labels[0] for r in grid.rows] == [r.explainer.removeprefix("xaibench/") for r in board.rows]
    assert [r.labels for r in table(held, "method,explainer").grids[0].rows] == [
        ("swap", "lime"), ("swap", "rise"), ("swap", "gradcam"),
    ]  # fmt: skip
    few = table(tables([*rows(CAM, {"swap": ramp(0.2, 4)}), *rows(RISE, {"swap": ramp(0.5, 4)})])).grids[0]
    assert [r.labels[0] for r in few.rows] == ["rise", "gradcam"]


def test_rows_and_columns_change_places() -> None:
    held = tables(UNEQUAL)
    assert values(table(held, "method", "explainer")) == {
        ("swap",): {("gradcam",): 0.8, ("rise",): 0.4},
        ("warp",): {("gradcam",): 0.2, ("rise",): 0.4},
    }
    assert list(values(table(held, "method,explainer"))) == [
        ("swap", "gradcam"), ("swap", "rise"), ("warp", "gradcam"), ("warp", "rise"),
    ]  # fmt: skip


def test_parts_of_items_are_keys_and_sort_as_numbers() -> None:
    found = table(tables(ITEMS), columns="method,k", score="accuracy")
    grid = found.grids[0]
    assert [c.labels for c in grid.columns] == [(m, k) for m in ("swap", "warp") for k in ("1", "2", "10")]
    assert [c.heads[1] for c in grid.columns[:3]] == ["k = 1", "k = 2", "k = 10"]
    assert grid.title == "Accuracy of segment-attack (lower is better): explanations of demo (demo-0) on faces"
    assert {x.estimate.value for row in grid.cells for x in row if x.estimate} == {0.75}


def test_what_is_neither_row_nor_column_gives_a_table_each() -> None:
    more = [*ITEMS, *(r | {"item": r["item"].replace("slic-50", "grid-7"), "value": 0.0} for r in ITEMS)]
    found = table(tables(more), columns="k", score="accuracy")
    assert [g.by for g in found.grids] == [{"segmentation": "grid-7"}, {"segmentation": "slic-50"}]
    assert found.grids[0].title == (
        "Accuracy of segment-attack (lower is better): explanations of demo (demo-0) on faces, segmentation grid-7"
    )
    without = table(tables(ITEMS), columns="method", score="accuracy")
    assert [g.by for g in without.grids] == [{"score": f"accuracy slic-50 top-{k}"} for k in (1, 2, 10)]
    two = [*UNEQUAL, *(r | {"dataset": "xaibench/other"} for r in UNEQUAL)]
    assert [g.by["dataset"] for g in table(tables(two)).grids] == ["faces", "other"]


def test_runs_of_a_family_are_not_averaged() -> None:
    other = [r | {"member": "demo-1", "value": 0.3} for r in rows(CAM, {"swap": ramp(0.5, 12)})]
    held = tables([*rows(CAM, {"swap": ramp(0.5, 12)}), *other])
    assert [(g.by, values(RunTable((g,)))) for g in table(held).grids] == [
        ({"member": m}, {("gradcam",): {("relevance-mass",): v}}) for m, v in (("demo-0", 0.5), ("demo-1", 0.3))
    ]
    (grid,) = table(held, "member", "explainer").grids
    assert (grid.title, [r.labels for r in grid.rows]) == (
        "Relevance-mass (higher is better): explanations of demo on faces", [("demo-0",), ("demo-1",)],
    )  # fmt: skip


def test_over_runs_a_number_is_the_mean_over_runs_on_the_pictures_that_all_have() -> None:
    one, two = rows(CAM, {"swap": ramp(0.5, 12)}), rows(CAM, {"swap": ramp(0.5, 12)})
    # .1 lower on every picture but the last, which the second run lacks
    lower = [r | {"member": "demo-1", "value": r["value"] - 0.1} for r in two[:-1]]
    lost = two[-1] | {"member": "demo-1", "value": None, "status": "undefined", "reason": "the map is constant"}
    (grid,) = table(tables([*one, *lower, lost]), "model", "score", over_runs=True, intervals=True).grids
    kept = [r["value"] for r in one[:-1]]
    mean = sum(kept) / 11 - 0.05
    estimate = grid.cells[0][0].estimate
    assert estimate is not None and estimate.value == pytest.approx(mean) and estimate.n == 11
    assert estimate.low is not None and estimate.low < mean - 0.05
    assert grid.caption == (
        "Means over training runs, of means over samples (first over the repeats of each) with 95 % intervals over runs "
        "crossed with groups; scores of localisation weigh every manipulation method alike. 11 samples of 11 groups."
    )
    assert any("demo-1 lacks 1 of 12 pictures (undefined: the map is constant)" in t for t in grid.texts[0][0])
    gone = [r | {"member": "demo-1", "value": None, "status": "undefined", "reason": "why"} for r in two[:7]]
    some = [r | {"member": "demo-1"} for r in two[7:]]
    with pytest.raises(NothingToEvaluate) as error:
        table(tables([*one, *gone, *some]), "model", over_runs=True)
    assert "demo-1 has 5 of 12 pictures" in str(error.value.mend)


def test_over_runs_values_of_whole_sets_are_averaged_item_by_item() -> None:
    sets = [
        score(CAM, "real", 0, value)
        | {
            "metric": ATTACK,
            "score": "accuracy",
            "item": f"{item} top-1",
            "sample": "",
            "scope": "detector",
            "member": member,
        }
        for member, found in {"demo-0": (0.9, 0.5), "demo-1": (0.7, 0.6)}.items()
        for item, value in zip(("background", "object"), found, strict=True)
    ]
    (grid,) = table(tables(sets), "model", "segmentation", score="accuracy", over_runs=True).grids
    assert [[c.estimate and round(c.estimate.value, 6) for c in row] for row in grid.cells] == [[0.8, 0.55]]
    assert grid.caption == "Each number is the mean over training runs of a value of a whole set."
    request = {"columns": "segmentation", "score": "accuracy", "over_runs": True, "intervals": True}
    (grid,) = table(tables(sets), "model", **request).grids
    assert grid.caption == (
        "Each number is the mean over training runs of a value of a whole set with 95 % intervals over runs alone."
    )


@pytest.mark.parametrize("wanted", [{"untouched": True}, {"bold": "best"}, {"verdicts": True}, {"by": "member"}])
def test_what_is_of_single_runs_is_refused_over_runs(wanted: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="of single runs"):
        make_request(over_runs=True, **wanted)


def test_an_item_can_be_named_with_its_score() -> None:
    found = table(tables(ITEMS), columns="method", score="segment-attack accuracy top-2")
    assert [g.title.partition(" (")[0] for g in found.grids] == ["Accuracy slic-50 top-2 of segment-attack"]


def test_built_in_metrics_name_the_parts_of_their_items() -> None:
    from xaibench_metrics.attack.scores import SCORES
    from xaibench_metrics.faithfulness.correlation import SENSITIVITY_AT
    from xaibench_metrics.faithfulness.road import MORF_KEPT
    from xaibench_metrics.robustness.randomisation import CASCADING

    specs = {("m", s.name): s for s in (*SCORES, SENSITIVITY_AT, MORF_KEPT, CASCADING)}
    info = replace(INFO, specs=specs)
    assert all(
        item_parts(("m", s.name), "slic-50 top-3", info) == {"segmentation": "slic-50", "k": "3"} for s in SCORES
    )
    assert item_parts(("m", "sensitivity-at"), "0.1", info) == {"share": "0.1"}
    assert item_parts(("m", "morf-kept"), "10", info) == {"percent": "10"}
    assert item_parts(("m", "cascading"), "body.0.conv", info) == {"layer": "body.0.conv"}


def test_repeats_are_averaged_or_a_key() -> None:
    held = tables([*rows(CAM, {"swap": [0.2] * 12}), *rows(CAM, {"swap": [0.6] * 12}, repeat=1)])
    assert values(table(held)) == {("gradcam",): {("relevance-mass",): 0.4}}
    assert values(table(held, columns="repeat")) == {("gradcam",): {("0",): 0.2, ("1",): 0.6}}


def test_columns_of_samples_are_keys() -> None:
    kinds = {f"swap-{i:02d}": ("c0", "c40")[i % 2] for i in range(12)}
    held = tables(rows(CAM, {"swap": [0.2, 0.6] * 6, "warp": [0.5] * 4}), compression=kinds)
    assert values(table(held, columns="compression")) == {("gradcam",): {("c0",): 0.2, ("c40",): 0.6, ("(none)",): 0.5}}
    assert table(held, columns="compression").grids[0].columns[0].heads == ("compression c0",)


# ---- what is not there ----------------------------------------------------------------------------------------------

REAL = [*rows(CAM, {"swap": ramp(0.8, 12), "real": [None] * 4})]


def test_columns_without_any_value_are_left_out_with_the_reason() -> None:
    (grid,) = table(tables(REAL), columns="method").grids
    assert [c.labels for c in grid.columns] == [("swap",)]
    assert "left out, without any value: real (real pictures have no mask)" in [n.text for n in grid.notes]


def test_a_dash_has_its_reason() -> None:
    gap = [*UNEQUAL, *rows("xaibench/lime", {"swap": ramp(0.3, 12), "warp": [None] * 24})]
    (grid,) = table(tables(gap), columns="method").grids
    lime = next(at for at, r in enumerate(grid.rows) if r.labels == ("lime",))
    assert (grid.cells[lime][1].estimate, grid.cells[lime][1].mark) == (None, "a")
    assert grid.notes[0] == ("a", "real pictures have no mask")
    assert [x.mark for x in grid.cells[lime]] == ["", "a"]


def test_a_mean_over_fewer_samples_says_so() -> None:
    some = [*rows(CAM, {"swap": ramp(0.8, 12)}), *rows(RISE, {"swap": [*ramp(0.4, 11), None]})]
    (grid,) = table(tables(some)).grids
    assert grid.rows[1].marks == ("a",) and grid.rows[0].marks == ("",)
    assert grid.notes[0].text == "samples are left out: real pictures have no mask"


def test_no_number_at_all_is_an_error_with_the_reason() -> None:
    with pytest.raises(NothingToEvaluate) as error:
        table(tables(rows(CAM, {"real": [None] * 4})))
    assert (error.value.what, error.value.mend) == ("the table has no number", "real pictures have no mask")
    with pytest.raises(NothingToEvaluate) as error:
        table(tables(rows(RANDOM, {"swap": ramp(0.5, 12)})))
    assert error.value.mend == "show them with --controls"
    with pytest.raises(NothingToEvaluate, match="the run has no scores"):
        table(tables([]))


def test_what_no_item_has_is_said_of_every_item() -> None:
    real = [
        score(e, "real", i, None, metric=ATTACK, score="accuracy", better="lower")
        for e in (CAM, RISE)
        for i in range(4)
    ]
    held = tables([*ITEMS, *real])
    (grid,) = table(held, columns="k", score="accuracy").grids
    assert [c.labels for c in grid.columns] == [("1",), ("2",), ("10",)]
    assert ("", "samples are left out: real pictures have no mask") in grid.notes
    (split,) = table(held, columns="method,k", score="accuracy").grids
    assert [c.labels[0] for c in split.columns] == ["swap"] * 3 + ["warp"] * 3
    assert split.notes[-1].text == "left out, without any value: real (real pictures have no mask)"


def test_a_value_without_numbers_has_no_table_and_says_so() -> None:
    found = table(tables(REAL), by="label")
    assert [g.by for g in found.grids] == [{"label": "fake"}]
    assert found.grids[0].notes[-1].text == "no table for real, without any value: real pictures have no mask"


# ---- footing --------------------------------------------------------------------------------------------------------


def test_a_score_that_ranks_nothing_says_why() -> None:
    (grid,) = table(tables(ITEMS), columns="k", score="accuracy").grids
    assert ("", "ranks nothing: saturates") in grid.notes


def test_a_withheld_score_is_marked_in_its_header() -> None:
    flat = [*UNEQUAL, *rows(CAM, {"swap": [0.5] * 12}, metric=DELETION, score="deletion", better="lower")]
    flat += rows(RISE, {"swap": [0.5] * 12}, metric=DELETION, score="deletion", better="lower")
    (grid,) = table(tables(flat)).grids
    assert [(c.labels, c.marks) for c in grid.columns] == [(("relevance-mass",), ("",)), (("deletion",), ("a",))]
    assert grid.notes[0] == ("a", "ranks nothing here, since all means are 0.500, equal at the shown precision")


def test_a_detector_that_is_marked_is_said_and_has_no_bold() -> None:
    called = {"swap": [True] * 12, "warp": [True] * 24, "real": [True] * 12}
    (grid,) = table(tables(UNEQUAL, called), bold="best").grids
    assert grid.notes[0].mark == "" and grid.notes[0].text.startswith("the detector is marked: ")
    assert not any(x.best for row in grid.cells for x in row)


def test_a_method_whose_masks_lie_in_the_middle_is_marked_and_has_no_bold() -> None:
    auc, prior = "xaibench/mask-auc", "xaibench/center-prior"
    middle = rows(prior, {"swap": [0.99] * 12, "warp": [0.5] * 24}, metric=auc, score="mask-auc")
    info = replace(INFO, families={**INFO.families, auc: "localisation"})
    request = make_request(columns="method", score="relevance-mass", bold="best")
    (grid,) = build_table(tables([*UNEQUAL, *middle]), info, request).grids
    assert [c.marks for c in grid.columns] == [("a",), ("",)]
    assert grid.notes[0] == ("a", "swap takes no part in ranks, since the centre prior's mask AUC is above 0.95")
    assert [[x.best for x in cells] for cells in grid.cells] == [[False, True], [False, False]]


def test_controls_have_rows_when_asked_for_and_are_never_bold() -> None:
    held = tables([*UNEQUAL, *rows(RANDOM, {"swap": ramp(0.9, 12), "warp": ramp(0.9, 24)})])
    assert ("random",) not in values(table(held))
    (grid,) = table(held, controls=True, bold="best").grids
    assert [(r.labels[0], r.section) for r in grid.rows] == [("gradcam", 1), ("rise", 1), ("random", 2)]
    assert not grid.cells[2][0].best


# ---- beside the scores ----------------------------------------------------------------------------------------------


def test_the_untouched_row_of_an_accuracy_is_that_of_the_detector() -> None:
    called = {"swap": [True] * 9 + [False] * 3, "warp": [True] * 12, "real": [True] * 12}
    (grid,) = table(tables(ITEMS, called), columns="method,k", score="accuracy", untouched=True).grids
    assert (grid.rows[0].labels, grid.rows[0].section) == (("(untouched)",), 0)
    assert [x.estimate.value for x in grid.cells[0] if x.estimate] == [0.75] * 3 + [1.0] * 3
    assert any("share of the fake pictures that the detector calls by their label" in n.text for n in grid.notes)


def test_the_untouched_row_of_a_curve_is_its_end() -> None:
    found = [*rows(CAM, {"swap": ramp(0.4, 12)}, metric=DELETION, score="deletion", better="lower")]
    points = [
        {**WHERE, **sample("swap", i), "explainer": CAM, "metric": DELETION, "curve": "deletion", "item": "", "repeat": 0,
         "point": p, "x": p / 2, "y": (0.9, 0.5, 0.1)[p]}
        for i in range(12) for p in range(3)
    ]  # fmt: skip
    (grid,) = table(with_rows(tables(found), curves=points), untouched=True).grids
    assert grid.cells[0][0].estimate is not None and grid.cells[0][0].estimate.value == 0.9
    (mass,) = table(tables(UNEQUAL), untouched=True).grids
    assert [r.labels for r in mass.rows] == [("gradcam",), ("rise",)]
    assert any("no value on an untouched picture" in n.text for n in mass.notes)


def test_seconds_are_those_of_the_commits_over_the_maps_that_were_drawn() -> None:
    commit = {
        "commit": 1, "cell": "c", "kind": "explain", "metric": "", "artefact": "", "repeat": 0, "samples": ["a"],
        "digests": [0], "statuses": ["ok"] * 4, "done": 4, "failed": 0, "kept": True, "attempts": 1, "forward": 0,
        "backward": 0, "peak_memory": 0, "device": "cpu", "model": WHERE["model"], "member": WHERE["member"],
        "dataset": WHERE["dataset"], "explainer": CAM, "seconds": 2.0,
    }  # fmt: skip
    # a twin explainer draws nothing for real pictures, which are done all the same
    refused = commit | {"commit": 2, "done": 12, "statuses": ["ok"] * 6 + ["undefined"] * 6, "seconds": 1.0}
    commits = [commit, refused, commit | {"kind": "score", "seconds": 9.0}]
    held = with_rows(tables(UNEQUAL), commits=commits)
    found = table(held, columns="score,method", score=["relevance-mass", "seconds"])
    assert values(found)["gradcam",] == {
        ("relevance-mass", "swap"): 0.8,
        ("relevance-mass", "warp"): 0.2,
        ("seconds", "(all)"): 0.3,
    }
    assert found.grids[0].cells[1][2].estimate is None
    assert "Other numbers are of whole sets." in found.grids[0].caption


# ---- wrong names ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "what", "mend"),
    [
        ({"rows": "metod"}, "no key 'metod' of rows or columns", "there are method, "),
        ({"score": "relevance"}, "no score 'relevance' in this run", "there are relevance-mass, "),
        ({"score": "a,b"}, "no score 'a,b' in this run", "give every score a --score of its own; there are "),
        ({"score": "accuracy top-3"}, "no score 'accuracy top-3' in this run", "there are slic-50 top-1, "),
        ({"rows": "method", "columns": "method"}, "the key 'method' is named twice", "name each key once"),
        ({"rows": ""}, "a table needs rows and columns", "name a key"),
        ({"bold": "worst"}, "bold 'worst' is not known", "give best"),
        ({"digits": 13}, "13 digits are none", "give a number from 0"),
        ({"rows": "model", "untouched": True}, "--untouched needs the explainers in one table", "add explainer"),
        ({"rows": "sample"}, "no key 'sample' of rows or columns", "there are "),
    ],
)
def test_wrong_names_are_refused_with_those_there_are(options: dict[str, Any], what: str, mend: str) -> None:
    with pytest.raises(UsageError) as error:
        table(tables([*UNEQUAL, *ITEMS]), **options)
    assert (error.value.what, error.value.mend[: len(mend)]) == (what, mend)


def test_scores_of_one_name_keep_their_metrics() -> None:
    twice = [*ITEMS, *(r | {"metric": f"{ATTACK}:steps=3"} for r in ITEMS)]
    specs = {**INFO.specs, (f"{ATTACK}:steps=3", "accuracy"): INFO.specs[ATTACK, "accuracy"]}
    info = type(INFO)(controls=INFO.controls, families=INFO.families, specs=specs)
    (grid,) = build_table(tables(twice), info, make_request(columns="score,k", score="accuracy")).grids
    assert list(dict.fromkeys(c.labels[0] for c in grid.columns)) == [
        "segment-attack accuracy", "segment-attack:steps=3 accuracy",
    ]  # fmt: skip


def test_a_whole_cell_that_is_not_applicable_gives_its_reason() -> None:
    whole = score(RISE, "swap", 0, None) | {"sample": "", "group": "", "status": "not_applicable", "reason": "no layer"}
    more = [*rows(RISE, {"swap": ramp(0.3, 12)}, metric=DELETION, score="deletion", better="lower")]
    held = tables([*rows(CAM, {"swap": ramp(0.8, 12)}), whole, *more])
    (grid,) = table(held, columns="score,method").grids
    dashes = {n.mark: n.text for n in grid.notes if n.mark}
    assert [(x.estimate is None, dashes.get(x.mark)) for x in grid.cells[1]] == [
        (True, "no layer"),
        (False, None),
    ]
