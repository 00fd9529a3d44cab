"""Localisation by manipulation method: macro means, the centre prior's gate, and where they are shown."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from report_tables import report_page
from rich.console import Console

from xaibench.store.schema import COMMITS, PREDICTIONS, SCORES
from xaibench_report.boards.leaderboard import Board, Cell, build_leaderboards
from xaibench_report.judgement.manipulation_methods import even, even_pair
from xaibench_report.terminal.boards_terminal import print_leaderboards, to_json
from xaibench_report.values.run_values import RunTables, ScoreInfo, cell_values
from xaibench_statistics import Rank, macro_interval, mean_interval, rank_explainers

MASS, AUC, DELETION = "xaibench/relevance-mass", "xaibench/mask-auc", "xaibench/deletion"
RANDOM, CENTRE = "xaibench/random", "xaibench/center-prior"
INFO = ScoreInfo(
    controls=frozenset((RANDOM, CENTRE)),
    families={MASS: "localisation", AUC: "localisation", DELETION: "faithfulness"},
)
WHERE = {"run": "r", "unit": "u", "cell": "c", "model": "m", "member": "0", "dataset": "d"}
Row = dict[str, Any]


def rows(explainer: str, by_method: Mapping[str, Sequence[float]], metric: str = MASS) -> list[Row]:
    """One sample a value, each in a group of its own; equal places are equal samples."""
    return [
        {
            **WHERE, "sample": f"{method}-{i:02d}", "group": f"{method}-{i:02d}", "cross_group": None, "label": "fake",
            "method": method or None, "prediction": "fake", "explainer": explainer, "target": "fake", "metric": metric,
            "score": metric.removeprefix("xaibench/"), "item": "", "scope": "sample", "definition": 1, "value": value,
            "better": "higher", "status": "ok", "reason": None, "seed": 0, "repeat": 0,
        }
        for method, values in by_method.items() for i, value in enumerate(values)
        if np.isfinite(value)
    ]  # fmt: skip


def predictions(**correct: Sequence[bool]) -> list[Row]:
    return [
        {
            **WHERE, "sample": f"{method}-{i:02d}", "group": f"{method}-{i:02d}", "cross_group": None, "label": "fake",
            "method": method, "probabilities": [0.5, 0.5], "classes": ["real", "fake"], "p_fake": 0.5,
            "log_odds": 0.0, "prediction": "fake", "verdict": "fake" if right else "real", "correct": right, "status": "ok", "reason": None,
        }
        for method, found in correct.items() for i, right in enumerate(found)
    ]  # fmt: skip


def tables(scores: Sequence[Row], predicted: Sequence[Row] = ()) -> RunTables:
    return RunTables(
        scores=pa.Table.from_pylist(list(scores), SCORES),
        predictions=pa.Table.from_pylist(list(predicted), PREDICTIONS),
        commits=pa.Table.from_pylist([], COMMITS),
    )


def board_of(scores: Sequence[Row], predicted: Sequence[Row] = (), metric: str = MASS) -> Board:
    found = build_leaderboards(tables(scores, predicted), INFO)
    return next(b for b in found.boards if any(c.metric == metric for c in b.columns))


def cell_of(board: Board, explainer: str, metric: str = MASS) -> Cell:
    at = [c.metric for c in board.columns].index(metric)
    found = next(row.cells[at] for row in board.rows if row.explainer == explainer)
    assert found is not None
    return found


def mean(cell: Cell) -> float:
    assert cell.estimate is not None
    return cell.estimate.value


def around(level: float, n: int, spread: float = 0.01) -> list[float]:
    """Wider around a higher level, so that differences of levels have a spread."""
    return (level + (1 + level) * np.linspace(-spread, spread, n)).tolist()


def judged(board: Board, metric: str = MASS) -> tuple[str, int]:
    """The sentence under one score and how many explainers it judges."""
    (verdict,) = (v for v in board.verdicts if v.metric == metric)
    return verdict.sentence, len(verdict.verdicts)


# ---- the macro mean ---------------------------------------------------------------------------------------------


def test_the_mean_is_the_mean_over_methods_and_each_method_is_shown() -> None:
    scores = rows("a", {"swap": [0.2, 0.4, 0.6], "warp": [0.8]})
    board = board_of(scores, predictions(swap=[True, True, False, True], warp=[False]))
    cell = cell_of(board, "a")
    assert mean(cell) == pytest.approx((0.4 + 0.8) / 2)  # not 2.0 / 4
    assert [(m.method, m.n, m.estimate.n) for m in cell.methods] == [("swap", 3, 3), ("warp", 1, 1)]
    assert [m.estimate.value for m in cell.methods] == pytest.approx([0.4, 0.8])
    assert [(m.method, m.n, m.correct) for m in board.methods] == [("swap", 4, 3), ("warp", 1, 0)]
    assert "means are over 2 methods that weigh alike" in board.notes


def test_other_families_weigh_samples() -> None:
    board = board_of(rows("a", {"swap": [0.2, 0.4, 0.6], "warp": [0.8]}, DELETION), metric=DELETION)
    cell = cell_of(board, "a", DELETION)
    assert mean(cell) == 0.5
    assert (cell.methods, board.methods) == ((), ())
    assert not any("method" in note or "gate" in note for note in board.notes)


def test_the_interval_is_that_of_the_mean_over_methods() -> None:
    rng = np.random.default_rng(0)
    by_method = {"swap": rng.uniform(0.2, 0.4, 60).tolist(), "warp": rng.uniform(0.5, 0.9, 20).tolist()}
    found = cell_of(board_of(rows("a", by_method)), "a").estimate
    values = next(iter(cell_values(tables(rows("a", by_method)).scores).values()))
    assert found == macro_interval(values.values, values.methods)


def test_values_weighed_alike_vary_as_the_mean_over_methods_does() -> None:
    values = {"swap": [0.0, 0.2, 0.0, 0.2, 0.1], "warp": [0.8, 0.8, 0.6, 0.6, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7]}
    (cell,) = cell_values(tables(rows("a", values)).scores).values()
    found = even(cell, cell.values.samples).values
    swap = 0.4 + 15 / (2 * 5) * np.sqrt(5 / 4) * (np.array(values["swap"]) - 0.1)
    warp = 0.4 + 15 / (2 * 10) * np.sqrt(10 / 9) * (np.array(values["warp"]) - 0.7)
    assert found == pytest.approx(np.concatenate([swap, warp]))
    assert found.mean() == pytest.approx((0.1 + 0.7) / 2)


def test_with_few_groups_of_a_method_what_varies_between_methods_counts_as_chance() -> None:
    values = {"swap": [0.0, 0.2, 0.0, 0.2, 0.1], "warp": [0.8, 0.6, 0.7, 0.7]}
    (cell,) = cell_values(tables(rows("a", values)).scores).values()
    weights = np.repeat([9 / (2 * 5), 9 / (2 * 4)], [5, 4])
    expected = 0.4 + weights * (np.concatenate(list(values.values())) - 0.4)
    assert even(cell, cell.values.samples).values == pytest.approx(expected)


def test_the_interval_is_that_of_a_mean_over_methods() -> None:
    rng = np.random.default_rng(0)
    swap, warp = rng.uniform(0.2, 0.4, 60), rng.uniform(0.5, 0.9, 20)
    found = cell_of(board_of(rows("a", {"swap": swap.tolist(), "warp": warp.tolist()})), "a").estimate
    assert found is not None
    assert found.low is not None
    assert found.high is not None
    half = 2 * np.sqrt((swap.var(ddof=1) / 60 + warp.var(ddof=1) / 20) / 4)  # the distance of the methods adds nothing
    middle = (swap.mean() + warp.mean()) / 2
    assert (found.low, found.high) == pytest.approx((middle - half, middle + half), abs=0.1 * half)


def test_the_spread_of_equal_values_is_not_known() -> None:
    found = cell_of(board_of(rows("a", {"swap": [0.5] * 15, "warp": [0.5] * 3})), "a").estimate
    assert found is not None
    assert (found.value, found.low, found.high) == (0.5, None, None)
    assert found.note.startswith("all values are equal, nothing is known")


def test_the_interval_of_shares_stays_within_0_and_1() -> None:
    by_method = {"swap": [1.0] * 20, "warp": [1.0, 0.0, 1.0]}
    found = cell_of(board_of(rows("a", by_method)), "a").estimate
    assert found is not None
    assert found.low is not None
    assert found.high is not None
    assert 0 < found.low < found.value < found.high <= 1


def test_one_method_leaves_every_number_as_it_is() -> None:
    scores = [*rows("a", {"swap": around(0.3, 12)}), *rows("b", {"swap": around(0.2, 12)})]
    board = board_of(scores)
    cells = cell_values(tables(scores).scores)
    raw = {key.explainer: cell.values for key, cell in cells.items()}
    plain = rank_explainers(raw, "higher")
    for explainer in ("a", "b"):
        cell = cell_of(board, explainer)
        assert cell.estimate == mean_interval(raw[explainer])
        assert cell.rank == plain.ranks[explainer]
        assert cell.estimate == cell.methods[0].estimate
    assert all((even(c, c.values.samples).values == c.values.values).all() for c in cells.values())
    assert not any("weigh alike" in note for note in board.notes)


# ---- ranks, differences and verdicts ----------------------------------------------------------------------------


def test_ranks_follow_the_macro_mean() -> None:
    a, b = {"swap": around(0.6, 12), "warp": around(0.1, 4)}, {"swap": around(0.5, 12), "warp": around(0.3, 4)}
    board = board_of([*rows("a", a), *rows("b", b)])
    assert [row.explainer for row in board.rows] == ["b", "a"]  # by plain means .475 and .45
    assert {e: cell_of(board, e).rank for e in ("a", "b")} == dict.fromkeys("ab", Rank(rank=1, low=1, high=2))
    versus = cell_of(board, "a").versus_best
    assert versus is not None
    assert versus.value == pytest.approx(0.35 - 0.4)


def test_ranks_take_their_weights_from_the_common_samples() -> None:
    """On its own samples ``a`` is better; on the common ones, where ``warp`` is one sample of four, ``b`` is."""
    gone = float("nan")
    a = {"swap": [0.5, 0.5, 0.5], "warp": [0.2, 1.0, 1.0]}
    b = {"swap": [0.4, 0.4, 0.4], "warp": [0.4, gone, gone]}
    board = board_of([*rows("a", a), *rows("b", b)])
    assert (mean(cell_of(board, "a")), mean(cell_of(board, "b"))) == pytest.approx(((0.5 + 2.2 / 3) / 2, 0.4))
    assert board.columns[0].common == 4
    assert [row.explainer for row in board.rows] == ["b", "a"]
    assert {e: cell_of(board, e).rank for e in ("a", "b")} == {"a": None, "b": None}  # four groups
    versus = cell_of(board, "a").versus_best
    assert versus is not None
    assert versus.value == pytest.approx((0.1 - 0.2) / 2)  # with the weights of all of a's samples it would be > 0


def test_a_pair_is_weighed_on_its_own_samples_and_still_counts_the_dropped() -> None:
    gone = float("nan")
    a = {"swap": around(0.6, 12), "warp": around(0.1, 6)}
    control = {"swap": around(0.5, 12), "warp": [0.3, 0.3, *[gone] * 4]}
    scores = [*rows("a", a), *rows(RANDOM, control)]
    first, second = even_pair(*cell_values(tables(scores).scores).values())
    assert (len(first), len(second)) == (18, 14)
    (verdict,) = board_of(scores).verdicts
    (against,) = verdict.verdicts[0].against
    assert against.difference is not None
    assert (against.difference.n, against.difference.dropped) == (14, 4)
    warp = np.mean(around(0.1, 6)[:2]) - 0.3
    assert against.difference.value == pytest.approx((0.1 + warp) / 2)
    assert (
        verdict.verdicts[0].word == "not told apart"
    )  # by the plain mean of the differences, .056, it would be better


def test_an_explainer_without_a_method_is_named() -> None:
    board = board_of([*rows("a", {"swap": [0.5], "warp": [0.9]}), *rows("b", {"swap": [0.5]})])
    assert "relevance-mass: no value of b on warp: the mean is over the other methods" in board.notes


# ---- the gate ---------------------------------------------------------------------------------------------------


def gated(swap: float, warp: float) -> list[Row]:
    """``a`` is better on swap by more than ``b`` is on warp; the centre prior's mask AUC is as told."""
    return [
        *rows("a", {"swap": around(0.9, 12), "warp": around(0.4, 12)}),
        *rows("b", {"swap": around(0.5, 12), "warp": around(0.6, 12)}),
        *rows(RANDOM, {"swap": around(0.7, 12), "warp": around(0.5, 12)}),
        *rows(CENTRE, {"swap": around(swap, 12), "warp": around(warp, 12)}, AUC),
    ]


def test_a_method_whose_masks_lie_in_the_middle_leaves_ranks_and_verdicts_but_is_shown() -> None:
    board = board_of(gated(swap=0.96, warp=0.7))
    a, b = cell_of(board, "a"), cell_of(board, "b")
    assert a.rank is not None
    assert b.rank is not None
    assert (a.rank.rank, b.rank.rank) == (2, 1)  # on warp alone
    assert (mean(a), [m.method for m in a.methods]) == (pytest.approx(0.65), ["swap", "warp"])
    column = next(c for c in board.columns if c.metric == MASS)
    assert column.common == 12
    assert judged(board)[0] == (
        "relevance-mass: b is shown better than every control (random); a is shown worse than random."
    )
    assert [(m.method, m.central, m.ranked) for m in board.methods] == [
        ("swap", pytest.approx(0.96), False), ("warp", pytest.approx(0.7), True),
    ]  # fmt: skip
    note = "swap: no part in ranks and verdicts: the centre prior's mask AUC is 0.960, above 0.95"
    assert note in board.notes


def test_up_to_the_limit_a_method_counts() -> None:
    scores = [*gated(0.6, 0.7)[:-24], *rows(CENTRE, {"swap": [0.95], "warp": [0.5]}, AUC)]
    board = board_of(scores)
    assert [row.explainer for row in board.rows] == ["a", "b", CENTRE, RANDOM]
    ranks = (cell_of(board, "a").rank, cell_of(board, "b").rank)
    assert ranks == (Rank(rank=1, low=1, high=1), Rank(rank=2, low=2, high=2))
    assert all(m.ranked for m in board.methods)
    assert not any("no part" in note or "gate" in note for note in board.notes)


def test_with_no_method_left_there_are_neither_ranks_nor_verdicts() -> None:
    board = board_of(gated(0.96, 0.99))
    assert [cell_of(board, e).rank for e in ("a", "b")] == [None, None]
    assert cell_of(board, "a").versus_best is None
    sentence, count = judged(board)
    assert count == 0
    assert sentence == (
        "relevance-mass: no ranks and no verdicts: the centre prior's mask AUC exceeds 0.95 on swap, warp."
    )
    assert mean(cell_of(board, "a")) == pytest.approx(0.65)


def test_the_gate_holds_for_a_single_method_and_for_no_other_family() -> None:
    scores = [r for r in gated(0.96, 0.7) if r["method"] == "swap"]
    deletion = [r | {"metric": DELETION, "score": "auc"} for r in scores if r["metric"] == MASS]
    assert cell_of(board_of([*scores, *deletion]), "a").rank is None
    assert cell_of(board_of([*scores, *deletion], metric=DELETION), "a", DELETION).rank is not None


@pytest.mark.parametrize(("extra", "why"), [
    ([], "mask-auc and center-prior did not run"),
    (rows("a", {"swap": [0.5]}, AUC), "center-prior did not run"),
    (rows(CENTRE, {"swap": [0.5]}), "mask-auc did not run"),
    ([*rows(CENTRE, {"swap": [0.5]}), *rows("a", {"swap": [0.5]}, AUC)], "center-prior has no mask-auc"),
    (rows(CENTRE, {"swap": [0.5]}, AUC), "center-prior has no mask-auc on warp"),
])  # fmt: skip
def test_a_gate_that_was_not_checked_says_so(extra: list[Row], why: str) -> None:
    board = board_of([*rows("a", {"swap": [0.3], "warp": [0.4]}), *extra])
    assert f"centre prior's gate not checked: {why}" in board.notes
    assert {c.withheld for c in board.columns if c.metric == MASS} == {""}


# ---- where it is shown ------------------------------------------------------------------------------------------


def printed(scores: Sequence[Row], encoding: str = "utf-8") -> list[str]:
    raw = io.BytesIO()
    console = Console(file=io.TextIOWrapper(raw, encoding=encoding, write_through=True), width=80)
    found = tables(scores, predictions(swap=[True] * 9 + [False] * 3, warp=[True] * 12))
    print_leaderboards(build_leaderboards(found, INFO), console)
    return raw.getvalue().decode(encoding).splitlines()


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_the_terminal_shows_means_by_method(encoding: str) -> None:
    lines = printed(gated(0.96, 0.7), encoding)
    start = next(i for i, line in enumerate(lines) if "by manipulation method" in line)
    assert any("9 of 12 correct" in line for line in lines[start : start + 5])
    assert any("not in ranks" in line for line in lines[start : start + 5])
    shown = [line.replace("|", " ").split() for line in lines[start:]]
    assert ["a", "0.900", "n=12", "0.400", "n=12"] in shown
    assert ["center-prior", "0.960", "n=12", "0.700", "n=12"] in shown
    assert max(map(len, lines)) <= 80


def test_many_methods_are_wrapped_and_one_has_no_table() -> None:
    many = printed(rows("a", {f"a-very-long-name-of-method-{k}": [0.1 * k] for k in range(7)}))
    assert sum("by manipulation method" in line for line in many) == 3
    assert max(map(len, many)) <= 80
    assert not any("by manipulation method" in line for line in printed(rows("a", {"swap": [0.5]})))


def test_json_and_report_hold_the_methods(tmp_path: Any) -> None:
    found = tables(gated(0.96, 0.7), predictions(swap=[True, False], warp=[True]))
    board = json.loads(json.dumps(to_json(build_leaderboards(found, INFO)), allow_nan=False))["boards"][0]
    assert board["methods"][0] == {
        "method": "swap", "n": 2, "correct": 1, "central": pytest.approx(0.96), "ranked": False,
    }  # fmt: skip
    at = [c["metric"] for c in board["columns"]].index(MASS)
    (a,) = (row for row in board["rows"] if row["explainer"] == "a")
    assert [(m["method"], m["n"]) for m in a["cells"][at]["methods"]] == [("swap", 12), ("warp", 12)]
    html = report_page(tmp_path, found, INFO)
    assert '<th scope="col">swap<small>1 of 2 correct</small><small>not in ranks</small></th>' in html
    assert "by manipulation method (2 methods)" in html


def test_any_order_of_rows_gives_the_same_boards() -> None:
    scores = gated(0.6, 0.7)
    shuffled = [scores[i] for i in np.random.default_rng(0).permutation(len(scores))]
    first, second = (to_json(build_leaderboards(tables(s), INFO)) for s in (scores, shuffled))
    assert first == second
