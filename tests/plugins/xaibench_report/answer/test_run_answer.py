"""The answer of runs whose verdicts are known."""

import json
from dataclasses import replace

import numpy as np
import pytest
from answer_tables import CONTROLS, EXPLAINERS, INFO, MEASURES, answer_of, family_run, predictions, quick_run, words
from leaderboard_tables import column, score, tables

from xaibench.api import ScoreSpec
from xaibench_report.answer.run_answer import CAUTION
from xaibench_report.run_summary import RunSummary

DELETION, MASK_AUC = "xaibench/deletion:steps=10", "xaibench/mask-auc"
GRADCAM, RISE, RANDOM, EDGES = EXPLAINERS[0], EXPLAINERS[2], "xaibench/random", "xaibench/edges"


def deletion(means, n=12):
    return column(means, n, metric=DELETION, score="deletion", better="lower")


def only(run):
    (detector,) = answer_of(run).detectors
    return detector


def texts(detector):
    return {row.alias: [cell.text for cell in row.cells] for row in detector.rows}


def test_a_cell_counts_the_words_of_a_family():
    found = only(quick_run())
    assert [(f.family, f.head) for f in found.families] == [
        ("faithfulness", "2 judged"), ("localisation", "4 judged"), ("salience", "2 measures"),
    ]  # fmt: skip
    shown = texts(found)
    assert shown["gradcam"] == ["better 2 of 2", "better 4 of 4", "describes only"]
    assert shown["rise"][1].startswith("better 0 of 4; worse 4 (")
    assert shown["integrated-gradients"][1].startswith("better 0 of 4; not told apart 4 (")
    cell = found.rows[0].cells[1]
    assert (cell.judged, cell.better, cell.level, cell.worse, cell.none) == (4, 4, (), (), ())


def test_measures_of_a_family_that_disagree_are_both_said():
    pointing = {"metric": "xaibench/pointing-game", "score": "pointing-game", "better": "higher"}
    mass = {"metric": "xaibench/relevance-mass", "score": "relevance-mass", "better": "higher"}
    rows = column({GRADCAM: 0.9, EDGES: 0.1}, **pointing) + column({GRADCAM: 0.1, EDGES: 0.9}, **mass)
    assert texts(only(tables(rows, predictions()))) == {"gradcam": ["better 1 of 2; worse 1 (edges)"]}


def test_one_measure_names_the_control_that_decides():
    def word(mine, n=12):
        return texts(only(tables(deletion({GRADCAM: mine, EDGES: 0.5, RANDOM: 0.9}, n), predictions())))["gradcam"]

    assert word(0.2) == ["better"]
    assert word(0.7) == ["worse than edges"]
    rng = np.random.default_rng(0)
    level = [score(e, v, i, metric=DELETION, score="deletion") for e in (GRADCAM, EDGES)
             for i, v in enumerate(0.5 + 0.1 * rng.normal(size=12))]  # fmt: skip
    assert texts(only(tables(level, predictions())))["gradcam"] == ["not told apart from edges"]
    assert word(0.2, n=6) == ["not measurable: 6 groups, fewer than 10"]


def test_the_paragraph_says_whether_the_detector_is_fit_and_counts_the_explainers():
    found = only(quick_run())
    assert found.fitness.fit is True
    assert found.fitness.sentences == (
        "Detector demo (0) on faces is fit to be explained: it tells fakes from real pictures better than chance, with",
        "balanced accuracy 1.000 [0.797, 1.000], AUC 1.000 [0.793, 1.000]; it calls 12 of 12 fakes and 0 of 12 real "
        "pictures fake.",
    )
    assert found.sentences == (
        "Shown better than every control. Faithfulness (does the verdict hang on what a map marks?): gradcam in 2 of 2 "
        "measures, integrated-gradients in none, rise in none (worse in 2).",
        "Localisation (do maps mark what was manipulated?): gradcam in 4 of 4 measures, integrated-gradients in none, "
        "rise in none (worse in 4).",
    )
    (paragraph,) = answer_of(quick_run()).paragraphs
    assert paragraph.endswith(f"rise in none (worse in 4). {CAUTION}")


def test_a_marked_detector_is_not_fit_and_nothing_is_judged():
    found = only(tables(deletion({GRADCAM: 0.2, RANDOM: 0.6}), predictions(fake=0.9, real=0.8)))
    assert (found.fitness.fit, found.fitness.marked) == (False, 1)
    mark = "calls all 24 pictures fake: 12 of 12 real ones too (threshold 0.5)"
    assert found.fitness.sentences[0] == (
        f"Detector demo (0) on faces is not fit to be explained here: {mark}. Its maps are neither ranked nor held against "
        "controls."
    )
    assert texts(found) == {"gradcam": ["not measurable: the detector is marked"]}
    assert found.sentences == ()
    assert found.next_steps[0] == (
        "look at the detector: xaibench check MODEL --dataset FOLDER says more of the mark"
    )  # fmt: skip


def test_few_groups_are_not_measured_and_more_are_asked_for():
    found = only(tables(deletion({GRADCAM: 0.2, RANDOM: 0.6}, 4), predictions(4)))
    assert found.fitness.fit is None
    assert "was not measured: 4 fake of 4 groups" in found.fitness.sentences[0]
    assert found.next_steps[:2] == (
        "more groups: at least 10 of each label, so that the detector's accuracy is measured",
        "more groups: at least 10 for any verdict by deletion",
    )


def test_what_the_data_lacks_is_asked_for():
    rows = [score(e, None, i, metric=MASK_AUC, score="mask-auc", better="higher", status="not_applicable",
                  reason="needs masks: no sample has one") for e in (GRADCAM, RANDOM) for i in range(3)]  # fmt: skip
    found = only(tables([*deletion({GRADCAM: 0.2, RANDOM: 0.6}), *rows], predictions()))
    assert texts(found) == {"gradcam": ["better", "not measurable: needs masks"]}
    assert "masks in the data set, for mask-auc" in found.next_steps
    assert "no verdict: mask-auc: needs masks: no sample has one" in found.rests_on[0]


def test_without_controls_it_asks_for_them_and_one_explainer_for_more():
    found = only(tables(deletion({GRADCAM: 0.2}), predictions()))
    assert texts(found) == {"gradcam": ["not measurable: no control was measured"]}
    assert found.next_steps == (
        "controls: run without --no-controls, since nothing is judged without them",
        "more explainers: one alone is held against controls and ranked against none (--explainer NAME)",
    )


def test_pairs_not_told_apart_get_their_groups():
    rng = np.random.default_rng(1)
    rows = [score(e, m + 0.1 * float(v), i, metric=DELETION, score="deletion")
            for e, m in ((GRADCAM, 0.4), (EXPLAINERS[2], 0.43)) for i, v in enumerate(rng.normal(size=12))]  # fmt: skip
    found = only(tables([*rows, *deletion({RANDOM: 0.9})], predictions()))
    (step,) = [s for s in found.next_steps if s.startswith("to rank")]
    assert step == "to rank explainers, more groups than 12: deletion over 120"


def test_a_withheld_measure_says_why_and_what_to_use():
    fill = "xaibench/fill-response:fill=blur"
    info = replace(INFO, accompanied_by={DELETION: (fill,)})
    turns = [score("", i % 2, i, metric=fill, score="real-turns", scope="model", better="none") for i in range(12)]
    run = tables([*deletion({GRADCAM: 0.2, RANDOM: 0.6}), *turns], predictions())
    (found,) = answer_of(run, info).detectors
    assert texts(found) == {"gradcam": ["not measurable: removal misleads on this detector"]}
    assert found.sentences == (
        "Nothing can be said of 1 explainer: no measure gives a verdict: removal misleads on this detector.",
    )
    assert found.rests_on[0].endswith(
        "withheld: deletion: removal misleads on this detector: with fill=blur, 50 % of the regions filled anywhere "
        "turn a real picture fake"
    )
    assert found.next_steps[0] == "for deletion use repair or counterpart-attack"


def test_families_of_runs_have_one_answer_each():
    found = answer_of(family_run()).detectors
    assert [d.title for d in found] == ["acme/guided (2 runs) on faces", "acme/plain (2 runs) on faces"]
    assert texts(found[0])["gradcam"] == ["better 4 of 4", "better 8 of 8", "describes only"]
    assert found[0].sentences == (
        "Shown better than every control: by faithfulness gradcam in 4 of 4 verdicts; by localisation "
        "gradcam in 8 of 8 verdicts.",
    )
    assert answer_of(family_run()).paragraphs[2:] == (CAUTION,)
    assert found[0].fitness.sentences[1] == (
        "AUC 1.000 on average (1.000 to 1.000), balanced accuracy 1.000 on average (1.000 to 1.000)."
    )


def test_some_marked_runs_of_a_family_are_counted():
    places = [{"model": "acme/plain", "member": f"run-{i}"} for i in range(3)]
    rows = [r | at for at in places for r in deletion({GRADCAM: 0.2, RANDOM: 0.6})]
    seen = [r for i, at in enumerate(places) for r in predictions(real=0.8 if i == 1 else 0.1, **at)]
    found = only(tables(rows, seen))
    assert (found.fitness.fit, found.fitness.marked, found.fitness.runs) == (True, 1, 3)
    assert found.fitness.sentences[0].startswith(
        "Detector acme/plain (3 runs) on faces: 1 of 3 runs not fit to be explained: calls all 24 pictures fake"
    )
    assert texts(found) == {"gradcam": ["better 2 of 2"]}


def test_many_explainers_are_summed_up():
    names = [f"xaibench/e{i}" for i in range(7)]
    means = {n: 0.2 + 0.01 * i for i, n in enumerate(names)} | {names[0]: 0.8, RANDOM: 0.5}
    found = only(tables(deletion(means), predictions()))
    assert found.sentences == (
        "Shown better than every control. Faithfulness (does the verdict hang on what a map marks?): 6 of 7 explainers; "
        "worse than a control: e0.",
    )


def test_two_explainers_are_set_against_each_other():
    rows = [score(e, v, i, metric=DELETION, score="deletion") for e, v in ((GRADCAM, 0.5), (RISE, 0.5), (RANDOM, 0.8))
            for i in range(12)]  # fmt: skip
    auc = [score(e, v, i, metric=MASK_AUC, score="mask-auc", better="higher")
           for e, v in ((GRADCAM, 0.6), (RISE, 0.9), (RANDOM, 0.5)) for i in range(12)]  # fmt: skip
    found = only(tables([*rows, *auc], predictions()))
    assert found.sentences[-1] == "Against each other: rise is shown better by mask-auc; not told apart by deletion."
    three = only(tables([*rows, *auc, *deletion({EXPLAINERS[1]: 0.3})], predictions()))
    assert not any("Against each other" in s for s in three.sentences)


def test_ties_that_decide_a_measure_are_told_and_no_groups_are_asked_for():
    rng = np.random.default_rng(1)
    rows = [score(e, m + 0.1 * float(v), i, metric=DELETION, score="deletion")
            for e, m in ((GRADCAM, 0.4), (RISE, 0.48)) for i, v in enumerate(rng.normal(size=12))]  # fmt: skip
    spreads = [score(e, 0.3, i, metric=DELETION, score="tie-spread", better="none")
               for e in (GRADCAM, RISE) for i in range(12)]  # fmt: skip
    spec = ScoreSpec(name="deletion", better="lower", ranks_evidence=True, tie_spread="tie-spread")
    info = replace(INFO, specs={**INFO.specs, (DELETION, "deletion"): spec})
    run = tables([*rows, *spreads, *deletion({RANDOM: 0.9})], predictions())
    (found,) = answer_of(run, info).detectors
    assert "ties decide deletion; no number of pictures ranks explainers by it" in found.next_steps
    assert not any(s.startswith("to rank") for s in found.next_steps)


def test_an_empty_run_has_an_empty_answer():
    answer = answer_of(tables())
    assert (answer.detectors, answer.controls, answer.legend) == ((), (), "")


def test_controls_and_legend_are_said_once():
    answer = answer_of(quick_run())
    assert answer.controls == (*(c.removeprefix("xaibench/") for c in CONTROLS), "own inverse")
    assert answer.legend == (
        "integrated-gradients (steps=16), rise (masks=400), deletion (steps=10), insertion (steps=10)"
    )
    assert answer.meaning.endswith("own inverse), on average over these pictures, paired and corrected.")


# ---- the view -------------------------------------------------------------------------------------------------------


def test_the_summary_prints_shows_and_gives_data():
    summary = RunSummary(answer_of(quick_run()))
    assert str(summary) == repr(summary)
    assert "Detector demo (0) on faces is fit to be explained" in words(str(summary))
    assert CAUTION in words(str(summary)) and CAUTION in summary._repr_html_()
    assert max(map(len, str(summary).splitlines())) <= 80
    html = summary._repr_html_()
    assert html.count("<tr>") == 1 + len(EXPLAINERS)
    assert "<td>better 4 of 4</td>" in html
    data = json.loads(json.dumps(summary.to_dict(), allow_nan=False))
    assert data["detectors"][0]["rows"][0]["explainer"] == GRADCAM
    assert data["detectors"][0]["fitness"]["fit"] is True
    assert {m["state"] for f in data["detectors"][0]["families"] for m in f["measures"]} == {"judged", "describes"}


@pytest.mark.parametrize("evil", ["acme/<b>bold</b>", "acme/[red]x[/]"])
def test_names_from_data_are_escaped(evil):
    run = tables(deletion({evil: 0.2, RANDOM: 0.6}), predictions())
    summary = RunSummary(answer_of(run))
    assert "<b>" not in summary._repr_html_()
    assert evil in str(summary)


def test_a_run_with_other_families_needs_no_specs():
    info = replace(INFO, specs={}, families={DELETION: "acme"})
    (found,) = answer_of(tables(deletion({GRADCAM: 0.2, RANDOM: 0.6}), predictions()), info).detectors
    assert [f.family for f in found.families] == ["acme"]
    assert len(MEASURES) == 8
