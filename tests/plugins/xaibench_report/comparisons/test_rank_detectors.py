"""``rank detectors`` on runs whose order is known."""

import io
import json
import math
import re
from itertools import combinations

import numpy as np
import pyarrow as pa
import pytest
from rich.console import Console
from typer.testing import CliRunner

from xaibench.api import PlanError, ScoreSpec, UsageError
from xaibench.cli.program import program
from xaibench.store.schema import COMMITS, PREDICTIONS, SCORES
from xaibench_report.answer.ranking_answer import ranking_answer
from xaibench_report.charts.balance_chart import balance_charts
from xaibench_report.comparisons.balance import balances
from xaibench_report.comparisons.ranking import rank_detectors
from xaibench_report.detectors.detector_accuracy import Entrant, accuracy_lines, entrant_line, equal_classes
from xaibench_report.terminal.ranking_terminal import print_all_measures, print_ranking
from xaibench_report.values.run_values import RunTables, ScoreInfo
from xaibench_statistics import Estimate, runs_needed

ENTROPY, STABILITY, ODC, PURITY = (
    f"xaibench/{n}" for n in ("entropy-spatial", "run-stability", "channel-decorrelation", "axis-purity")
)
INFO = ScoreInfo(
    controls=frozenset(("xaibench/random",)),
    families={
        ENTROPY: "salience",
        STABILITY: "salience",
        ODC: "interpretability",
        PURITY: "interpretability",
        "xaibench/mask-auc": "localisation",
    },
    specs={(STABILITY, name): ScoreSpec(name=name, better="none", primary=False) for name in ("pair", "picture")},
)
GUIDED, PLAIN = "xaibench/guided", "xaibench/plain"
N = 24


def sample(i):
    return {"sample": f"s{i:02d}", "group": f"g{i // 2}", "cross_group": None, "label": "fake" if i % 2 else "real",
            "method": "swap" if i % 2 else None}  # fmt: skip


def prediction(model, run, i, p_fake=None):
    p = (0.8 if i % 2 else 0.2) if p_fake is None else p_fake
    return {"run": "r", "unit": "u", "cell": "c", "model": model, "member": run, "dataset": "xaibench/faces", **sample(i),
            "probabilities": [1 - p, p], "classes": ["real", "fake"], "p_fake": p,
            "log_odds": math.log(p / (1 - p)) if 0 < p < 1 else 99.0 * (2 * p - 1), "prediction": "fake",
            "verdict": "fake" if p >= 0.5 else "real", "correct": (p >= 0.5) == bool(i % 2), "status": "ok",
            "reason": None}  # fmt: skip


def score(model, run, value, i=None, *, metric=ENTROPY, explainer="xaibench/gradcam", **changes):
    of = sample(i) if i is not None else {"sample": "", "group": "", "cross_group": None, "label": "", "method": None}
    row = {"run": "r", "unit": "u", "cell": "c", "model": model, "member": run, "dataset": "xaibench/faces", **of,
           "prediction": None, "explainer": explainer, "target": None, "metric": metric,
           "score": metric.partition("/")[2], "item": "", "scope": "sample" if i is not None else "model",
           "definition": 1, "value": value, "better": "lower", "status": "ok", "reason": None, "seed": 0,
           "repeat": 0}  # fmt: skip
    return row | changes


def family(model, levels, **changes):
    """One run for each level: its level plus a wiggle over samples that sums to 0."""
    wiggle = np.linspace(-0.01, 0.01, N)
    return [score(model, f"{model}-{r}", v + wiggle[i], i, **changes) for r, v in enumerate(levels) for i in range(N)]


def tables(scores, runs, p_fake=None):
    table = pa.Table.from_pylist
    predictions = [
        prediction(m, f"{m}-{r}", i, (p_fake or {}).get((m, i)))
        for m, n in runs.items() for r in range(n) for i in range(N)
    ]  # fmt: skip
    return RunTables(scores=table(scores, SCORES), predictions=table(predictions, PREDICTIONS),
                     commits=table([], COMMITS))  # fmt: skip


LOW, HIGH = (0.1, 0.12, 0.14, 0.16, 0.18), (0.3, 0.32, 0.34, 0.36, 0.38)
TWO = {GUIDED: 5, PLAIN: 5}


def ranked(scores, runs=TWO, p_fake=None, **options):
    """All measures tested, unless some are named."""
    every = {} if options.get("measures") else {"test_all": True}
    return rank_detectors(tables(scores, runs, p_fake), INFO, **every | options)


def only(found):
    ((measure,),) = (c.measures for c in found.classes)
    return measure


def test_two_families_of_five_that_do_not_overlap():
    measure = only(ranked([*family(GUIDED, LOW), *family(PLAIN, HIGH)]))
    first, second = measure.standings
    assert (first.model, first.runs, first.estimate.value) == (GUIDED, 5, pytest.approx(0.14))
    assert (first.rank.rank, first.rank.low, first.rank.high) == (1, 1, 1)
    assert (second.rank.rank, second.rank.low, second.rank.high) == (2, 2, 2)
    (contest,) = measure.contests
    assert contest.difference.p == contest.difference.p_holm == 2 / 252
    assert contest.difference.value == pytest.approx(-0.2)
    assert contest.difference.low < -0.2 < contest.difference.high < 0
    assert contest.difference.people
    assert contest.shown
    assert measure.finding == (
        "entropy-spatial, gradcam: guided is better than plain: 0.140 against 0.340, difference -0.200 "
        "[-0.246, -0.154], p 0.008, Holm 0.008 (252 permutations of runs)."
    )


def test_the_interval_is_students_t_over_runs_where_people_do_not_vary():
    (contest,) = only(ranked([*family(GUIDED, LOW), *family(PLAIN, HIGH)])).contests
    # both families: s^2 / 5 = 0.001 / 5; t with 8 degrees of freedom
    half = 2.306004 * (2 * 0.001 / 5) ** 0.5
    assert contest.difference.high == pytest.approx(-0.2 + half, abs=1e-6)


def test_people_widen_the_interval():
    def scores(spread):
        rows = family(PLAIN, HIGH)
        return [
            *family(GUIDED, LOW),
            *(r | {"value": r["value"] + spread * (-1) ** (k // 2)} for k, r in enumerate(rows)),
        ]

    (narrow,), (wide,) = (only(ranked(scores(spread))).contests for spread in (0.0, 0.1))
    assert wide.difference.value == pytest.approx(narrow.difference.value)
    assert wide.difference.high > narrow.difference.high + 0.01


def test_no_interval_leaves_the_range_of_its_score():
    specs = {(ENTROPY, "entropy-spatial"): ScoreSpec(name="entropy-spatial", better="lower", low=0.13, high=0.35)}
    info = ScoreInfo(families=INFO.families, specs=specs)
    first, second = only(
        rank_detectors(tables([*family(GUIDED, LOW), *family(PLAIN, HIGH)], TWO), info, test_all=True)
    ).standings
    assert (first.estimate.low, second.estimate.high) == (0.13, 0.35)


def test_nobody_is_shown_to_be_better_where_runs_overlap():
    measure = only(ranked([*family(GUIDED, LOW), *family(PLAIN, LOW[::-1])]))
    assert [(s.rank.rank, s.rank.low, s.rank.high) for s in measure.standings] == [(1, 1, 2), (1, 1, 2)]
    assert measure.contests[0].difference.p == 1.0
    assert "guided is not shown to be better than plain" in measure.finding


def test_where_nothing_is_shown_the_runs_that_would_tell_are_named():
    measure = only(ranked([*family(GUIDED, LOW), *family(PLAIN, [v + 0.01 for v in LOW])]))
    (contest,) = measure.contests
    assert contest.shown is False
    assert contest.needed == runs_needed(0.01, contest.difference.deviation, tests=1) > 5
    assert f"; about {contest.needed} runs of each would tell such a difference" in measure.finding
    shown = only(ranked([*family(GUIDED, LOW), *family(PLAIN, HIGH)]))
    assert shown.contests[0].needed is None
    assert "would tell" not in shown.finding


def test_higher_is_better_turns_the_order():
    measure = only(ranked([*family(GUIDED, LOW, better="higher"), *family(PLAIN, HIGH, better="higher")]))
    assert [s.model for s in measure.standings] == [PLAIN, GUIDED]
    assert "plain is better than guided: 0.340 against 0.140" in measure.finding


def test_a_measure_without_direction_is_ordered_and_not_ranked():
    measure = only(ranked([*family(GUIDED, LOW, better="none"), *family(PLAIN, HIGH, better="none")]))
    assert [s.rank for s in measure.standings] == [None, None]
    assert "guided is lower than plain" in measure.finding


@pytest.mark.parametrize(("runs", "says"), [(4, "4 runs"), (1, "1 run")])
def test_fewer_than_five_runs_are_ordered_and_not_tested(runs, says):
    measure = only(ranked([*family(GUIDED, LOW[:runs]), *family(PLAIN, HIGH)], {GUIDED: runs, PLAIN: 5}))
    assert [(s.model, s.rank) for s in measure.standings] == [(GUIDED, None), (PLAIN, None)]
    assert f"guided is not tested: {says}, fewer than 5 cannot be significant" in measure.finding


def test_holm_counts_every_measure_and_says_when_nothing_can_be_significant():
    rows = [*family(GUIDED, LOW), *family(PLAIN, HIGH)]
    many = [r | {"metric": f"acme/m{k}", "score": "m"} for k in range(7) for r in rows]
    found = ranked(many)
    (group,) = found.classes
    assert [m.contests[0].difference.p_holm for m in group.measures] == [pytest.approx(7 * 2 / 252)] * 7
    assert not any(m.contests[0].shown for m in group.measures)
    assert "the smallest p of these runs is 0.0079, and Holm multiplies it by 7" in found.notes[-1]
    assert only(ranked(many, measures=["acme/m3"])).contests[0].shown


def test_families_of_unequal_size_can_be_significant_where_equal_ones_cannot():
    # no other deal of 5 against 6 is as far apart as two families that do not overlap: 1/462, not 2/462
    rows = [*family(GUIDED, LOW), *family(PLAIN, (*HIGH, 0.4))]
    many = [r | {"metric": f"acme/m{k:02d}", "score": "m"} for k in range(12) for r in rows]
    found = ranked(many, {GUIDED: 5, PLAIN: 6})
    assert found.classes[0].measures[0].contests[0].shown
    assert not any("nothing can be significant" in n for n in found.notes)


def on_other(rows):
    return [r | {"dataset": "xaibench/other"} for r in rows]


def on_two_datasets(second):
    """Both families on faces; those of ``second`` on another dataset, which alone has a value of the set."""
    first = [*family(GUIDED, LOW), *family(PLAIN, HIGH)]
    rows = [*first, *on_other(r for r in first if r["model"] in second)]
    rows += on_other(score(m, f"{m}-{r}", 0.5, metric="xaibench/out-of-set", scope="set") for m in second
                     for r in range(5))  # fmt: skip
    found = tables(rows, TWO)
    there = found.predictions.to_pylist()
    there += on_other(r for r in there if r["model"] in second)
    return RunTables(scores=found.scores, predictions=pa.Table.from_pylist(there, PREDICTIONS), commits=found.commits)


def test_each_dataset_has_its_own_measures_and_notes():
    found = rank_detectors(on_two_datasets(TWO), INFO)
    assert [(c.dataset, [m.measure.metric for m in c.measures]) for c in found.classes] == [
        ("xaibench/faces", [ENTROPY]), ("xaibench/other", [ENTROPY, "xaibench/out-of-set"]),
    ]  # fmt: skip
    says = "equal accuracy (their AUC intervals overlap): guided, plain"
    assert found.notes[:2] == (f"faces: {says}", f"other: {says}")


def test_one_alone_on_a_dataset_is_compared_with_nobody_there():
    found = rank_detectors(on_two_datasets([GUIDED]), INFO, correct=True)
    assert [c.dataset for c in found.classes] == ["xaibench/faces"]
    assert "other: guided is not compared: no other is on this dataset" in found.notes


def test_values_of_sets_are_means_over_items_that_every_run_has():
    def items(model, easy, hard):
        rest = {"metric": ODC, "explainer": "", "better": "higher"}
        return [score(model, f"{model}-{r}", v, **rest, item=item)
                for r in range(5) for item, v in (("easy", easy), ("hard", hard)) if v is not None]  # fmt: skip

    # guided is worse on the one item that both have
    measure = only(ranked([*items(GUIDED, 0.8, None), *items(PLAIN, 0.9, 0.1)]))
    assert [(s.model, s.estimate.value) for s in measure.standings] == [(PLAIN, 0.9), (GUIDED, 0.8)]
    assert "plain: 1 of its items not in every run, left out" in measure.finding
    none = only(ranked([*items(GUIDED, 0.8, None), *items(PLAIN, None, 0.1)]))
    assert all(s.why == "the runs share no item of this measure" for s in none.standings)


def entrant(name, low, high):
    auc = Estimate(value=(low + high) / 2, n=N, groups=N // 2, low=low, high=high)
    return Entrant(dataset="xaibench/faces", model=f"xaibench/{name}", runs=("0",), auc=auc, why="", correct=())


def test_only_overlapping_intervals_are_equal_accuracy():
    three = [entrant("guided", 0.9, 1.0), entrant("plain", 0.85, 0.95), entrant("weak", 0.6, 0.7)]
    equal = equal_classes(three)
    assert [[e.model for e in c] for c in equal] == [[GUIDED, PLAIN]]
    assert accuracy_lines(three, equal) == [
        "equal accuracy (their AUC intervals overlap): guided, plain",
        "weak is not compared: no other AUC interval overlaps its own",
    ]


def test_a_detector_that_is_not_told_from_chance_is_compared_with_nobody():
    third = "xaibench/blind"
    guesses = {(third, i): (0.3, 0.7)[i % 3 == 0] for i in range(N)}
    scores = [*family(GUIDED, LOW), *family(PLAIN, HIGH), *family(third, HIGH)]
    why = "blind is not compared: not told from chance: AUC 0.500 [0.266, 0.734] on 12 fake and 12 real pictures"
    for correct in (False, True):
        found = ranked(scores, {**TWO, third: 5}, guesses, correct=correct)
        assert [c.models for c in found.classes] == [(GUIDED, PLAIN)]
        assert why in found.notes
        assert {m.where.model for e in found.entrants for m in e.marks} == {third}


def test_on_pictures_that_all_call_right():
    third = "xaibench/third"
    wrong = {(third, i): (0.3, 0.7)[i % 2 == 0] for i in range(4)}
    scores = [*family(GUIDED, LOW), *family(PLAIN, HIGH), *family(third, HIGH)]
    found = ranked(scores, {**TWO, third: 5}, wrong, correct=True)
    assert [c.models for c in found.classes] == [(GUIDED, PLAIN, third)]
    assert only(found).n == N - 4


def test_too_few_people_for_an_interval_of_the_auc():
    few = [r | {"group": "g"} for r in family(GUIDED, LOW)]
    found = tables(few, TWO)
    rows = [r | {"group": "g"} for r in found.predictions.to_pylist()]
    found = RunTables(scores=found.scores, predictions=pa.Table.from_pylist(rows, PREDICTIONS), commits=found.commits)
    assert rank_detectors(found, INFO).notes == (
        "guided is not compared: 1 group, fewer than 10: no interval",
        "plain is not compared: 1 group, fewer than 10: no interval",
    )


def test_a_measure_of_pairs_of_runs_is_jackknifed_and_never_permuted():
    def stable(model, effects):
        pairs = {(a, b): effects[a] + effects[b] for a, b in combinations(range(5), 2)}
        rest = {"metric": STABILITY, "scope": "family", "better": "higher"}
        rows = [score(model, "", sum(pairs.values()) / 10, **rest)]
        return rows + [
            score(model, "", v, **rest, item=f"{model}-{a} | {model}-{b}") | {"score": "pair", "better": "none"}
            for (a, b), v in pairs.items()
        ]

    measure = only(ranked([*stable(GUIDED, (0.4, 0.41, 0.42, 0.43, 0.44)), *stable(PLAIN, (0.3, 0.3, 0.3, 0.3, 0.3))]))
    (contest,) = measure.contests
    assert contest.first == GUIDED
    assert contest.difference.value == pytest.approx(0.24)
    assert (contest.difference.deals, contest.difference.test) == (0, "jackknife over runs")
    # s = 2 mean(effect); without run r it moves by (e_r - mean) / 2: variance 4/5 sum = 4/5 (.001 / 4) = .0002, df 4
    assert contest.difference.low == pytest.approx(0.24 - 2.776445 * 0.0002**0.5, abs=1e-6)
    assert not contest.difference.people
    assert contest.shown


def test_a_measure_of_pairs_of_runs_is_crossed_with_people_where_it_says_what_each_picture_gives():
    def stable(model, effect, wiggle):
        rest = {"metric": STABILITY, "scope": "family", "better": "higher"}
        rows = [score(model, "", effect, **rest)]
        rows += [
            score(model, "", effect, **rest, item=f"{model}-{a} | {model}-{b}") | {"score": "pair", "better": "none"}
            for a, b in combinations(range(5), 2)
        ]
        return rows + [
            score(model, "", effect + wiggle * (-1) ** (i // 2), **rest, item=f"s{i:02d}")
            | {"score": "picture", "better": "none"}
            for i in range(N)
        ]

    (contest,) = only(ranked([*stable(GUIDED, 0.5, 0.06), *stable(PLAIN, 0.3, 0.0)])).contests
    assert contest.difference.people
    assert contest.difference.value == pytest.approx(0.2)
    # runs do not differ; 12 people of two pictures, differences +-.06: .06^2 / 11 under a bootstrap of infinite length
    half = 2.200985 * (0.06**2 / 11) ** 0.5
    assert contest.difference.high - 0.2 == pytest.approx(half, rel=0.05)
    (still,) = only(ranked([*stable(GUIDED, 0.5, 0.06), *stable(PLAIN, 0.3, 0.06)])).contests
    assert still.difference.low == pytest.approx(0.2) == still.difference.high, "what people share says nothing"


def test_a_measure_of_detectors_needs_no_explainer():
    rows = [score(m, f"{m}-{r}", v, metric=ODC, explainer="")
            for m, levels in ((GUIDED, LOW), (PLAIN, HIGH)) for r, v in enumerate(levels)]  # fmt: skip
    measure = only(ranked(rows, explainer=None))
    assert measure.measure.explainer == ""
    assert measure.finding.startswith("channel-decorrelation: guided is better than plain: 0.140 against 0.340")
    assert measure.contests[0].difference.p == 2 / 252


def test_runs_that_were_not_scored_are_said():
    runs = only(ranked([*family(GUIDED, LOW[:1]), *family(PLAIN, HIGH)]))
    assert runs.standings[0].runs == 1
    assert "guided: 1 of 5 runs were scored (eval --members all scores every run)" in runs.finding


def without(rows, run, keep, reason="the map is constant"):
    """The rows, those of one run undefined but on the first ``keep`` samples."""
    lost = {"value": None, "status": "undefined", "reason": reason}
    return [r | (lost if r["member"] == run and int(r["sample"][1:]) >= keep else {}) for r in rows]


def test_a_family_is_not_averaged_over_the_runs_that_have_values():
    rows = [*family(GUIDED, LOW), *family(PLAIN, HIGH)]
    for keep, counts in ((0, "0 of 24 pictures"), (11, "11 of 24 pictures")):
        measure = only(ranked(without(rows, f"{PLAIN}-3", keep)))
        assert [(s.model, s.estimate is None, s.rank) for s in measure.standings] == [
            (GUIDED, False, None), (PLAIN, True, None),
        ]  # fmt: skip
        assert measure.standings[0].estimate.n == N
        assert measure.finding == (
            f"entropy-spatial, gradcam: plain: {PLAIN}-3 has {counts} (undefined: the map is constant)."
        )


def test_pictures_that_some_run_lacks_are_left_out_for_all_and_counted():
    measure = only(ranked(without([*family(GUIDED, LOW), *family(PLAIN, HIGH)], f"{PLAIN}-3", 18)))
    assert measure.n == 18
    assert [s.why for s in measure.standings] == [
        "", f"{PLAIN}-3 lacks 6 of 24 pictures (undefined: the map is constant), left out for all"
    ]  # fmt: skip
    wiggle = np.linspace(-0.01, 0.01, N)[:18].mean()
    assert [s.estimate.value for s in measure.standings] == pytest.approx([0.14 + wiggle, 0.34 + wiggle])


def test_families_that_share_too_few_pictures_are_not_compared():
    rows = without([*family(GUIDED, LOW), *family(PLAIN, HIGH)], f"{PLAIN}-3", 14)
    first_ten = [r | {"value": None, "status": "undefined", "reason": "flat"} for r in rows
                 if r["member"] == f"{GUIDED}-1" and int(r["sample"][1:]) < 10]  # fmt: skip
    kept = [r for r in rows if r["member"] != f"{GUIDED}-1" or int(r["sample"][1:]) >= 10]
    measure = only(ranked([*kept, *first_ten]))
    assert {s.why for s in measure.standings} == {"the families share 4 of 24 pictures: too few to compare them on"}
    assert measure.n == 0


def test_a_run_without_a_value_of_the_whole_set_is_named():
    rest = {"metric": ODC, "explainer": ""}
    rows = [
        score(m, f"{m}-{r}", v, **rest) for m, levels in ((GUIDED, LOW), (PLAIN, HIGH)) for r, v in enumerate(levels)
    ]
    rows[7] |= {"value": None, "status": "failed", "reason": "out of memory"}
    measure = only(ranked(rows))
    assert [(s.model, s.why) for s in measure.standings] == [
        (GUIDED, ""), (PLAIN, f"{PLAIN}-2 has no value (failed: out of memory)"),
    ]  # fmt: skip


def test_only_what_was_chosen_beforehand_is_tested():
    rows = [*family(GUIDED, LOW), *family(PLAIN, HIGH)]
    both = [*rows, *(r | {"metric": "acme/m", "score": "m"} for r in rows)]
    found = ranked(both, test_all=False)
    assert [(m.contests, m.finding, {s.rank for s in m.standings}) for m in found.classes[0].measures] == [
        ((), "", {None}), ((), "", {None}),
    ]  # fmt: skip
    assert "nothing is tested, so that there are no ranks: name the measures that were chosen" in found.notes[-1]
    chosen = ranked(both, measures=["entropy-spatial"])
    assert only(chosen).contests[0].difference.p_holm == 2 / 252
    assert not any("nothing is tested" in note for note in chosen.notes)
    with pytest.raises(UsageError, match="all measures are tested, and some are named"):
        ranked(both, measures=["entropy-spatial"], test_all=True)


def test_methods_weigh_alike_in_localisation():
    rows = []
    for model, levels in ((GUIDED, LOW), (PLAIN, HIGH)):
        for row in family(model, levels, metric="xaibench/mask-auc"):
            i = int(row["sample"][1:])
            rare = i < 3
            rows.append(row | {"method": "rare" if rare else "often", "value": row["value"] + (0.4 if rare else 0)})
    guided = only(ranked(rows)).standings[0].estimate.value
    wiggle = np.linspace(-0.01, 0.01, N)
    assert guided == pytest.approx(0.14 + (0.4 + wiggle[:3].mean() + wiggle[3:].mean()) / 2)


def test_controls_are_not_ranked_unless_named():
    rows = [*family(GUIDED, LOW), *family(PLAIN, HIGH)]
    rows += [r | {"explainer": "xaibench/random"} for r in rows]
    assert only(ranked(rows)).measure.explainer == "xaibench/gradcam"
    assert only(ranked(rows, explainer="random")).measure.explainer == "xaibench/random"


def test_the_order_of_rows_does_not_matter():
    rows = [*family(GUIDED, LOW), *family(PLAIN, HIGH)]
    assert ranked(rows) == ranked(rows[::-1])


def test_what_cannot_be_ranked_is_refused_in_one_line():
    rows = family(GUIDED, LOW)
    with pytest.raises(PlanError, match="the run holds one detector or family, guided"):
        ranked(rows, {GUIDED: 5})
    with pytest.raises(UsageError, match="no explainer 'rise'") as error:
        ranked(rows, explainer="rise")
    assert error.value.mend == "explainers: gradcam"
    with pytest.raises(UsageError, match="no measure 'flow'") as error:
        ranked(rows, measures=["flow"])
    assert error.value.mend == "measures: entropy-spatial"


# ---- balance --------------------------------------------------------------------------------------------------------


def axes(model, odc, auc, share):
    chance = {"odc-random": (ODC, 0.5), "axis-auc-random": (PURITY, 0.5), "diagonal-share-random": (PURITY, 0.2)}
    own = {"odc": (ODC, odc), "axis-auc": (PURITY, auc), "diagonal-share": (PURITY, share)}
    return [
        score(model, f"{model}-{r}", v, metric=m, explainer="", score=n)
        for n, (m, v) in {**own, **chance}.items() for r in range(2)
    ]  # fmt: skip


def test_balance_beside_a_baseline():
    rows = [*axes(GUIDED, 0.1, 0.9, 0.6), *axes(PLAIN, 0.5, 0.5, 0.2)]
    found = balances(tables(rows, {GUIDED: 2, PLAIN: 2}), INFO, "plain")
    assert [(r.model, r.runs) for r in found.rows] == [(PLAIN, 2), (GUIDED, 2)]
    plain, guided = (r.balance for r in found.rows)
    assert (plain.accuracy, plain.interpretability, plain.harmonic) == (1, 0, 0)
    # gains over chance: (.9 - .5) / .5, .8, (.6 - .2) / .8
    i = (0.8 + 0.8 + 0.5) / 3
    assert (guided.accuracy, guided.interpretability) == (1, pytest.approx(i))
    assert guided.harmonic == pytest.approx(2 * i / (1 + i))
    assert [r.front for r in found.rows] == [False, True]
    (chart,) = balance_charts(found)
    assert "guided" in chart.alt and chart.alt.count("nobody has both more") == 1


def test_a_missing_figure_is_said_and_costs_no_other():
    rows = [*axes(PLAIN, 0.5, 0.5, 0.2), *(r for r in axes(GUIDED, 0.1, 0.9, 0.6) if r["score"] != "axis-auc")]
    found = balances(tables(rows, {GUIDED: 2, PLAIN: 2}), INFO, PLAIN)
    assert found.rows[1].balance.harmonic is None
    assert found.rows[1].balance.reason == f"'axis-auc' is there for 0 of 2 runs (not {GUIDED}-0, {GUIDED}-1)"
    assert (found.rows[1].balance.accuracy, found.rows[1].balance.interpretability) == (1, None)
    assert found.rows[0].balance.accuracy == 1
    assert balance_charts(found) == []


def failing(found, member):
    """The tables with all predictions of one run failed."""
    lost = {"status": "failed", "p_fake": None, "correct": None, "reason": "out of memory"}
    rows = [r | (lost if r["member"] == member else {}) for r in found.predictions.to_pylist()]
    return RunTables(scores=found.scores, predictions=pa.Table.from_pylist(rows, PREDICTIONS), commits=found.commits)


def test_pictures_that_some_run_did_not_predict_are_counted_beside_the_auc():
    found = tables([*family(GUIDED, LOW), *family(PLAIN, HIGH)], TWO)
    lost = {"status": "failed", "p_fake": None, "log_odds": None, "correct": None, "reason": "out of memory"}
    rows = [r | (lost if r["member"] == f"{PLAIN}-2" and int(r["sample"][1:]) < 4 else {})
            for r in found.predictions.to_pylist()]  # fmt: skip
    held = RunTables(scores=found.scores, predictions=pa.Table.from_pylist(rows, PREDICTIONS), commits=found.commits)
    lines = [entrant_line(e) for e in rank_detectors(held, INFO).entrants]
    assert lines[1].endswith(f"5 runs, over 20 of 24 pictures: {PLAIN}-2 has predictions of 20")
    assert lines[0].endswith("5 runs")


def test_a_run_without_predictions_is_named():
    held = failing(tables([*family(GUIDED, LOW), *family(PLAIN, HIGH)], TWO), f"{GUIDED}-4")
    says = f"guided is not compared: 1 run without a prediction ({GUIDED}-4)"
    assert says in rank_detectors(held, INFO).notes
    held = failing(tables([*axes(PLAIN, 0.5, 0.5, 0.2), *axes(GUIDED, 0.1, 0.9, 0.6)], {GUIDED: 2, PLAIN: 2}),
                   f"{GUIDED}-1")  # fmt: skip
    guided = balances(held, INFO, PLAIN).rows[1].balance
    assert (guided.accuracy, guided.harmonic) == (None, None)
    assert guided.reason == f"1 run without a prediction ({GUIDED}-1)"
    assert guided.interpretability == pytest.approx((0.8 + 0.8 + 0.5) / 3)  # it needs no AUC


def test_balance_refuses_in_one_line():
    with pytest.raises(UsageError, match="no model 'x'"):
        balances(tables(axes(PLAIN, 0.5, 0.5, 0.2), {PLAIN: 2}), INFO, "x")
    with pytest.raises(UsageError, match="no interpretability of detectors"):
        balances(tables(family(PLAIN, LOW), {PLAIN: 5}), INFO, "plain")


# ---- printed --------------------------------------------------------------------------------------------------------


def test_what_is_printed():
    out = io.StringIO()
    print_all_measures(ranked([*family(GUIDED, LOW), *family(PLAIN, HIGH)]), Console(file=out, width=100))
    text = out.getvalue()
    assert "guided: AUC 1.000 [0.793, 1.000], 5 runs" in text
    assert "0.140  #1" in text
    assert "guided, plain: gradcam" in text


def test_the_answer_says_which_measures_tell_detectors_apart():
    rows = [*family(GUIDED, LOW), *family(PLAIN, HIGH)]
    answer = ranking_answer(ranked(rows, test_all=True))
    assert answer.sentences == (
        "guided, plain: 1 of 1 tested measure tells them apart: entropy-spatial of gradcam (guided better than plain).",
    )
    (measure,) = answer.measures
    assert (measure.pairs, measure.apart) == (1, ((GUIDED, PLAIN),))
    untested = ranking_answer(ranked(rows, test_all=False))
    assert untested.sentences == ("guided, plain: 1 measure compared, and none is tested.",)
    level = ranking_answer(ranked([*family(GUIDED, LOW), *family(PLAIN, LOW)], test_all=True))
    assert level.sentences == ("guided, plain: none of 1 tested measure tells them apart.",)


def test_the_short_ranking_has_one_line_a_measure():
    rows = [*family(GUIDED, LOW), *family(PLAIN, HIGH)]
    out = io.StringIO()
    print_ranking(ranked(rows, test_all=True), Console(file=out, width=80), detail=False)
    lines = [line.rstrip() for line in out.getvalue().splitlines()]
    assert lines[0].startswith("guided, plain: 1 of 1 tested measure tells them apart")
    assert re.fullmatch(r"entropy-spatial ↓, gradcam +0\.140 #1 +0\.\d{3} #2", lines[-2])
    full = io.StringIO()
    print_ranking(ranked(rows, test_all=True), Console(file=full, width=80), detail=True)
    every = io.StringIO()
    print_all_measures(ranked(rows, test_all=True), Console(file=every, width=80))
    assert full.getvalue().endswith(every.getvalue())


def test_the_command(monkeypatch):
    held = tables([*family(GUIDED, LOW), *family(PLAIN, HIGH)], TWO)
    monkeypatch.setattr("xaibench_report.values.run_tables.read_run", lambda path: (held, INFO))
    result = CliRunner().invoke(
        program("rank"), ["rank", "detectors", "anywhere", "--all", "--explainer", "gradcam", "--json"]
    )
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    (measure,) = found["classes"][0]["measures"]
    assert measure["measure"] == {"explainer": "xaibench/gradcam", "metric": ENTROPY, "score": "entropy-spatial"}
    assert measure["contests"][0]["difference"]["p"] == 2 / 252
    assert found["answer"]["measures"][0]["apart"] == [[GUIDED, PLAIN]]
    assert found["entrants"][0]["correct"] == N
