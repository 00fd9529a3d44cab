"""Boards by the values of a column, from small tables whose numbers are known."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from leaderboard_tables import INFO, WHERE, sample, score, tables
from report_tables import hand_made_context, report_page
from rich.console import Console
from typer.testing import CliRunner

from xaibench.api import UsageError
from xaibench.cli.program import program
from xaibench.store.schema import SAMPLES
from xaibench_report.boards.by_column import NONE, build_by_column, offered_columns
from xaibench_report.page.report_context import use_context
from xaibench_report.page.report_sections import by_column
from xaibench_report.terminal.by_column_terminal import print_by_column, to_json
from xaibench_report.values.run_values import cell_values
from xaibench_statistics import mean_interval

N = 36


def samples_of(**columns: list[Any]) -> pa.Table:
    """One sample a row of ``sample(i)``, with further columns."""
    fixed = {"digest": "", "stranger_digest": "", "picture": "", "pixel_digest": ""}
    rows = [{"dataset": WHERE["dataset"], "order": i, **fixed, **sample(i)} for i in range(N)]
    fields = [pa.field(n, pa.array([v for v in values if v is not None]).type) for n, values in columns.items()]
    rows = [row | {name: values[i] for name, values in columns.items()} for i, row in enumerate(rows)]
    return pa.Table.from_pylist(rows, pa.schema([*SAMPLES, *fields]))


def run(rows: list[dict[str, Any]], predictions: list[dict[str, Any]] | None = None, **columns: list[Any]) -> Any:
    return replace(tables(rows, predictions or []), samples=samples_of(**columns))


def prediction(i: int, correct: bool | None) -> dict[str, Any]:
    return {
        **WHERE, **sample(i), "probabilities": [0.2, 0.8], "classes": ["real", "fake"], "p_fake": 0.8, "log_odds": 1.4,
        "prediction": "fake", "verdict": "fake", "correct": correct, "status": "ok", "reason": None,
    }  # fmt: skip


TWO = ["c0", "c40"] * (N // 2)


def by_parity(even: float, odd: float, explainer: str = "xaibench/gradcam", **changes: Any) -> list[dict[str, Any]]:
    wiggle = np.linspace(-0.01, 0.01, N // 2)
    return [score(explainer, (even, odd)[i % 2] + wiggle[i // 2], i, **changes) for i in range(N)]


def test_means_and_gap_of_two_values() -> None:
    found = build_by_column(
        run([*by_parity(0.2, 0.5), *by_parity(0.4, 0.4, "xaibench/random")], compression=TWO), INFO, "compression"
    )
    (board,) = found.boards
    assert (board.family, board.values, board.notes) == ("faithfulness", ("c0", "c40"), ())
    (of_score,) = board.scores
    first: Any
    control: Any
    first, control = of_score.cells
    assert [(c.explainer, c.role) for c in of_score.cells] == [
        ("xaibench/gradcam", "explainer"),
        ("xaibench/random", "control"),
    ]
    assert [(m.value, m.n, m.groups) for m in first.means if m] == [
        (pytest.approx(0.2), 18, 18),
        (pytest.approx(0.5), 18, 18),
    ]
    assert (first.gap.value, first.gap.largest, first.gap.smallest) == (pytest.approx(0.3), "c40", "c0")
    assert first.gap.low is not None and 0.28 < first.gap.low < 0.3
    assert (control.gap.value, control.gap.low) == (pytest.approx(0, abs=1e-12), 0)


def test_the_means_are_those_of_the_boards() -> None:
    held = run(by_parity(0.2, 0.5), compression=TWO)
    cell: Any
    (cell,) = cell_values(held.scores).values()
    odd = np.arange(N) % 2 == 1
    ((found,),) = (s.cells for s in build_by_column(held, INFO, "compression").boards[0].scores)
    assert found.means[1] == mean_interval(cell.values.where(odd))


def test_numbers_go_by_terciles_and_equal_numbers_stay_together() -> None:
    sizes = [float(i // 2) for i in range(N)]  # 0, 0, 1, 1, ... 17, 17
    board = build_by_column(run(by_parity(0.2, 0.5), face_width=sizes), INFO, "face_width").boards[0]
    assert board.values == ("up to 5.667", "5.667 to 11.33", "above 11.33")
    assert [m.n for m in board.scores[0].cells[0].means if m] == [12, 12, 12]
    tied = build_by_column(
        run(by_parity(0.2, 0.5), face_width=[*[1.0] * 30, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]), INFO, "face_width"
    )
    assert tied.boards[0].values == ("up to 1", "above 1")
    few = build_by_column(run(by_parity(0.2, 0.5), quality=[(50, 75, 100)[i % 3] for i in range(N)]), INFO, "quality")
    assert few.boards[0].values == ("50", "75", "100")


def test_pictures_without_a_value_and_values_of_few_groups_have_no_part_in_the_gap() -> None:
    kinds = ["a" if i < 14 else "b" if i < 28 else "rare" if i < 32 else None for i in range(N)]
    values = [
        score("xaibench/gradcam", {"a": 0.1, "b": 0.3, "rare": 0.8}.get(k or "", 0.9) + i / 1e3, i)
        for i, k in enumerate(kinds)
    ]
    (board,) = build_by_column(run(values, kind=kinds), INFO, "kind").boards
    assert board.values == ("a", "b", "rare", NONE)
    cell: Any
    (cell,) = board.scores[0].cells
    assert (cell.gap.largest, cell.gap.smallest, cell.gap.parts) == ("b", "a", 2)
    assert [m.low is None for m in cell.means if m] == [False, False, True, True]
    assert board.notes == (f"rare, {NONE}: 4 groups, fewer than 10: no interval, no part in the gap",)


def test_the_accuracy_of_detectors_stands_first() -> None:
    predictions = [prediction(i, None if i == 35 else i % 2 == 0 or i < 18) for i in range(N)]
    first = build_by_column(run(by_parity(0.2, 0.5), predictions, compression=TWO), INFO, "compression").boards[0]
    cell: Any
    (cell,) = first.scores[0].cells
    assert (first.family, cell.explainer) == ("detection", "")
    assert [(m.value, m.n) for m in cell.means if m] == [(1.0, 18), (9 / 17, 17)]
    assert (cell.gap.largest, cell.gap.value) == ("c0", pytest.approx(8 / 17))


def test_methods_weigh_alike_within_a_value_in_localisation() -> None:
    rows = by_parity(0.2, 0.5, metric="xaibench/pointing-game", better="higher")
    for i, row in enumerate(rows):
        rare = i < 8  # four of each kind
        row |= {"method": "rare" if rare else "often", "value": row["value"] + (0.4 if rare else 0.0)}
    cell: Any
    (cell,) = build_by_column(run(rows, compression=TWO), INFO, "compression").boards[0].scores[0].cells
    wiggle = np.linspace(-0.01, 0.01, N // 2)
    assert cell.means[0] is not None
    assert cell.means[0].value == pytest.approx(0.2 + (0.4 + wiggle[:4].mean() + wiggle[4:].mean()) / 2)


def test_only_columns_by_which_pictures_differ_are_offered() -> None:
    held = run(by_parity(0.2, 0.5), compression=TWO, constant=["x"] * N, empty=[None] * (N - 1) + ["y"])
    assert offered_columns(held.samples) == ("group", "compression")
    for name in ("nothing", "constant", "empty", "sample", "digest"):
        with pytest.raises(UsageError, match=f"no column '{name}' by which the pictures of this run differ") as error:
            build_by_column(held, INFO, name)
        assert sorted(error.value.mend.removeprefix("columns: ").split(", ")) == ["compression", "group"]
    with pytest.raises(UsageError, match="column 'group' has 36 values, more than 30"):
        build_by_column(held, INFO, "group")
    with pytest.raises(UsageError) as bare:
        build_by_column(replace(held, samples=None), INFO, "compression")
    assert bare.value.mend == "the run has no column with two values"


def test_pictures_outside_the_plan_draw_no_line() -> None:
    held = run(by_parity(0.2, 0.5), size=[float(i) for i in range(N)])
    assert held.samples is not None
    order = pa.array([i if i < 18 else None for i in range(N)], pa.int64())
    half = replace(held, samples=held.samples.set_column(held.samples.schema.get_field_index("order"), "order", order))
    assert build_by_column(half, INFO, "size").boards[0].values[0] == "up to 5.667"


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_they_fit_eighty_columns(encoding: str) -> None:
    kinds = [f"generator-{i % 5}" for i in range(N)]
    names = ("xaibench/integrated-gradients", "xaibench/random", "xaibench/inverse:of=integrated-gradients")
    rows = [row for k, name in enumerate(names) for row in by_parity(-0.2 - k, 0.5, name)]
    raw = io.BytesIO()
    console = Console(file=io.TextIOWrapper(raw, encoding=encoding, write_through=True), width=80)
    print_by_column(build_by_column(run(rows, generator=kinds), INFO, "generator"), console)
    text = raw.getvalue().decode(encoding)
    assert max(map(len, text.splitlines())) <= 80
    for word in ("faithfulness by generator", "gap", "generator-4", "Nothing is adjusted"):
        assert word in text


def test_json_holds_the_numbers() -> None:
    found = build_by_column(run(by_parity(0.2, 0.5), compression=TWO), INFO, "compression")
    (one,) = json.loads(json.dumps(to_json([found])))["by_column"]
    assert one["column"] == "compression"
    assert one["boards"][0]["scores"][0]["cells"][0]["gap"]["largest"] == "c40"
    assert one["boards"][0]["where"]["dataset"] == WHERE["dataset"]


def test_the_order_of_rows_does_not_matter() -> None:
    rows = by_parity(0.2, 0.5)
    one, other = (build_by_column(run(r, compression=TWO), INFO, "compression") for r in (rows, rows[::-1]))
    assert one == other


def test_the_page_shows_what_was_asked_for(tmp_path: Any) -> None:
    held = run(by_parity(0.2, 0.5), compression=TWO)
    context = hand_made_context(held, INFO)
    assert "By column" not in report_page(tmp_path, held, INFO)
    context.by_columns = (build_by_column(held, INFO, "compression"),)
    with use_context(context):
        html = by_column(context.run)
    assert html is not None
    assert "faithfulness by compression" in html
    assert "c40 over c0" in html
    assert "n=18 in 18 groups" in html


def test_the_command_refuses_an_unknown_column(monkeypatch: pytest.MonkeyPatch) -> None:
    held = run(by_parity(0.2, 0.5), compression=TWO)
    monkeypatch.setattr("xaibench_report.page.report_context.read_run", lambda opened: (held, INFO))
    monkeypatch.setattr("xaibench.open_run", lambda run, plugin: type("Opened", (), {"path": None})())
    result = CliRunner().invoke(program("report"), ["report", "anywhere", "--by", "nothing", "--out", "page.html"])
    assert isinstance(result.exception, UsageError)
    assert result.exception.mend == "columns: group, compression"


def test_real_pictures_are_called_so_by_method_and_are_no_part_of_the_gap() -> None:
    third = np.linspace(-0.01, 0.01, N // 3)
    held = run([score("xaibench/gradcam", (0.2, 0.4, 0.9)[i % 3] + third[i // 3], i) for i in range(N)])
    methods = ["swap", "blend", None, "swap", "blend", ""] * (N // 6)
    labels = ["fake", "fake", "real"] * (N // 3)
    samples = held.samples.set_column(held.samples.schema.get_field_index("method"), "method", pa.array(methods))
    samples = samples.set_column(samples.schema.get_field_index("label"), "label", pa.array(labels))
    (board,) = build_by_column(replace(held, samples=samples), INFO, "method").boards
    assert board.values == ("blend", "swap", "real")
    (cell,) = board.scores[0].cells
    assert [m.value for m in cell.means if m] == pytest.approx([0.4, 0.2, 0.9])
    assert (cell.gap.largest, cell.gap.smallest) == ("blend", "swap")
