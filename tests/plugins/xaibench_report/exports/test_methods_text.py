"""The methods of a record made by hand, word for word."""

from __future__ import annotations

from dataclasses import replace

from xaibench.api import Reference
from xaibench_explainers.plugin import xaibench_explainers
from xaibench_report.exports.control_words import CONTROL_WORDS
from xaibench_report.exports.marked_text import Block, render
from xaibench_report.exports.methods_text import methods_of
from xaibench_report.exports.run_record import ComponentFacts, DataFacts, RunRecord, WithheldScore

GRADCAM = Reference(key="s2017", kind="misc", authors=("S, R.", "C, M.", "D, A."), title="Grad-CAM", year=2017)
RISE = Reference(key="p2018", kind="misc", authors=("P, V.", "D, A."), title="RISE", year=2018)


def component(kind, name, details=None, parameters=None, references=(), distribution="xaibench", version="0.1.0"):
    return ComponentFacts(
        kind=kind, name=name, distribution=distribution, version=version, definition=1, digest="0123456789abcdef" * 4,
        parameters=parameters or {}, details=details or {}, references=references,
    )  # fmt: skip


CARD = {"format": "ONNX", "input_size": [64, 48], "classes": ["real", "fake"], "threshold": 0.5, "precision": "fp32",
        "target_layer": "conv", "resize": {"mode": "squash", "antialias": True}}  # fmt: skip
SCORES = [{"name": "deletion", "version": 2, "better": "lower", "event": ""}]
RECORD = RunRecord(
    runs=({"run": "20260101T000000.000000Z", "plan_digest": "fedcba9876543210" * 4},),
    settings={"members": "first", "target": "predicted", "seed": 3, "repeats": 1},
    identity={"precision": "fp32", "device": "cpu", "threads": 2},
    provenance={"versions": {"xaibench": "0.1.0", "torch": "2.6.0", "onnxruntime": "1.20.0"}, "python": "3.11.7",
                "platform": "Linux", "gpu": None, "processor": "CPU", "machine": "x86_64", "cores": 8},
    components=(
        component("model", "detector", CARD),
        component("dataset", "acme/faces", {}, {"path": "faces"}, distribution="acme", version="1.2"),
        component("explainer", "xaibench/gradcam", {"draws": 1, "repeats": 1}, {"layer": None}, (GRADCAM,)),
        component("explainer", "xaibench/random", {"control": True, "draws": 20, "repeats": 1}, {"cells": 7}),
        component("explainer", "xaibench/mask-oracle", {"control": True, "reference": True}),
        component("metric", "xaibench/deletion:steps=10", {"family": "faithfulness", "scores": SCORES},
                  {"steps": 10, "fill": "black"}, (RISE,)),
        component("metric", "acme/contrast", {"family": "salience", "scores": []}, distribution="acme", version="1.2"),
    ),
    data=(
        DataFacts(name="acme/faces", labels={"real": 1200, "fake": 20}, methods={"swap": 15, "blend": 5},
                  splits=("test",), groups=20, cross_groups=0, doubted=0, unreadable=0),
    ),
    statuses={"ok": 2440, "undefined": 3},
    passes=(12345, 1220),
    withheld=(WithheldScore("detector", "acme/faces", "deletion:steps=10",
                            "removal misleads on this detector: with fill=black, 51 % turn; use fill=blur instead"),),
)  # fmt: skip

STATISTICS = (
    "The report of xaibench 0.2.0 computed the statistics. All intervals are 95 % intervals, and their unit is the group "
    "of pictures. Shares have Wilson's interval [Wilson 1927] on an effective sample size [Franco et al. 2019]; "
    "differences of shares have the interval that follows from those of the two shares [Zou and Donner 2008]. Other "
    "numbers have at each end the outer one of two intervals: the t interval with the cluster-robust variance of Bell and "
    "McCaffrey [Bell and McCaffrey 2002] and Hall's interval for skewed means [Hall 1992]. With fewer than 10 groups "
    "there is no interval and no verdict."
)
VERDICTS = (
    " An explainer is called better only if it is shown better than every control (an intersection-union test), and "
    "worse if it is shown worse than one; otherwise it is not told apart. All comparisons of a board, which are those of "
    "one family of measures on one detector and data set, are tested together in both directions. Within a score and a "
    "direction, the test is the step-down maximum of the studentised clustered bootstrap [Romano and Wolf 2005]; between "
    "them, it is Bonferroni's rule. With probability 0.95 a board makes no false claim."
)
RANKS = (
    " Ranks have simultaneous 95 % intervals from the step-down test over all pairs of explainers "
    "[Mogstad et al. 2024; Romano and Wolf 2005]."
)
HEX = "0123456789abcdef" * 4
GOLDEN = f"""\
Evaluation. The explanations of the detector detector were evaluated with xaibench 0.1.0 [The xaibench authors 2026] on 1,220 pictures (1,200 real and 20 fake) of acme/faces, in 20 groups of pictures that share source material. The explainer is gradcam [S et al. 2017]. Each map explains the class of the detector's verdict on the untouched picture. 2 measures were taken, of faithfulness and salience; no overall number is formed. The same measures scored controls, which are maps that explain nothing, such as random values on a coarse grid. An explainer is called better only if it is shown better than every control, and worse if it is shown worse than one. Intervals are 95 % intervals clustered by group. Comparisons are paired, and those of one family of measures on one detector are corrected together, so that the probability of any false claim among them is at most 5 %. No ranks and no verdicts are given under deletion:steps=10, since removal misleads on this detector.

Detectors. One detector was explained: detector (ONNX; input of 64 x 48 pixels; classes real, fake; threshold 0.5 on P(fake); fp32; SHA-256 0123456789ab).

Data. Of acme/faces, 1,220 pictures of the test split were evaluated: 1,200 real and 20 fake (5 blend, 15 swap). They form 20 groups of pictures that share source material.

Explainers. One explainer was evaluated: gradcam [S et al. 2017]. Each map explains the class of the detector's verdict on the untouched picture. This class is chosen once for each picture. It stays the same when a measure changes the picture, except in measures that define it otherwise.

Controls. Controls are maps that explain nothing. They are scored like explainers, held against them and never ranked: random (random values on a coarse grid, smoothed to the picture; 20 maps of each picture). A reference is shown beside them: mask-oracle (the manipulation mask itself as the map). It uses what no detector shows, and is neither ranked nor to be beaten by an explainer.

Measures. 2 measures were taken, and no overall number is formed. Faithfulness: deletion:steps=10 [P and D 2018]. Salience: acme/contrast (acme 1.2). A gate withheld the ranks and verdicts of deletion:steps=10, since removal misleads on this detector: with fill=black, 51 % turn.

Statistics. {STATISTICS}{VERDICTS}{RANKS}

Computation. The seed is 3, and explainers that draw at random were run once. The run computed in fp32 on cpu (CPU, 8 cores) with 2 threads, on Linux. It used Python 3.11.7, torch 2.6.0, onnxruntime 1.20.0. It took 12,345 forward and 1,220 backward passes. It holds 2,443 values of scores: 2,440 ok, 3 undefined. The run is 20260101T000000.000000Z, and the digest of its plan begins with fedcba987654.

All parameters.
- detector: detector of xaibench; layer conv; resized with antialias = true, mode = squash.
- acme/faces: dataset of acme 1.2, version 1; path = faces.
- gradcam: explainer of xaibench 0.1.0, version 1; layer = none.
- random: explainer of xaibench 0.1.0, version 1; cells = 7.
- mask-oracle: explainer of xaibench 0.1.0, version 1; no parameters.
- deletion:steps=10: metric of xaibench 0.1.0, version 1; scores with the version of their definition and direction: deletion 2 (lower); fill = black, steps = 10.
- acme/contrast: metric of acme 1.2, version 1; no parameters.

Digests.
- plan of run 20260101T000000.000000Z: {"fedcba9876543210" * 4}
- detector detector: {HEX}
- dataset acme/faces: {HEX}

References.
"""


def paragraph(record, title):
    (block,) = (b for b in methods_of(record, "0.2.0") if b.title == title)
    return render([Block(title=block.title, parts=block.parts)], "txt").partition("\n")[0].partition(". ")[2]


def test_the_methods_word_for_word():
    text = render(methods_of(RECORD, "0.2.0"), "txt")
    assert text[: len(GOLDEN)] == GOLDEN
    cited = [line.partition(":")[0] for line in text[len(GOLDEN) :].splitlines()]
    assert cited == [
        "- Bell and McCaffrey 2002", "- Franco et al. 2019", "- Hall 1992", "- Mogstad et al. 2024", "- P and D 2018",
        "- Romano and Wolf 2005", "- S et al. 2017", "- The xaibench authors 2026", "- Wilson 1927",
        "- Zou and Donner 2008",
    ]  # fmt: skip


def changed(settings=None, data=None, **changes):
    settings = {**RECORD.settings, **(settings or {})}
    return replace(RECORD, settings=settings, data=(replace(RECORD.data[0], **(data or {})),), **changes)


def test_crossed_factors_and_pictures_that_are_in_doubt():
    text = render(methods_of(changed(data={"cross_groups": 7, "doubted": 2, "unreadable": 1}), "0.2.0"), "txt")
    assert (
        "(5 blend, 15 swap). They combine 20 targets and 7 donors, which are two crossed factors. 2 pictures were left "
        "out of localisation, since a mask, counterpart or label is in doubt. 1 file could not be used.\n"
    ) in text
    assert " With two crossed factors the variance is the two-way clustered one [Cameron et al. 2011], and the " in text
    assert "pigeonhole bootstrap [Owen 2007]. With fewer" in text


def test_targets_are_said():
    for rule, words in {
        "label": "the class of the picture's label.",
        "real": "the real class.",
        "gan": "the class gan.",
    }.items():
        assert f". Each map explains {words} This class" in paragraph(changed({"target": rule}), "Explainers")


def test_the_choice_of_pictures_is_said():
    chosen = changed({"limit": 48, "method": ["swap", "blend"], "part": "1/2"})
    assert paragraph(chosen, "Data").endswith(" The run was started with --method swap blend --limit 48 --part 1/2.")
    assert paragraph(changed({"split": "test"}, preset="quick"), "Data").endswith(
        " The run was started with --preset quick --split test."
    )


def test_a_run_without_controls_and_one_without_explainers():
    bare = changed(components=tuple(c for c in RECORD.components if not c.details.get("control")))
    assert paragraph(bare, "Controls") == "No controls were evaluated, so that no explainer is called better or worse."
    assert paragraph(bare, "Statistics") == STATISTICS + RANKS
    detectors = changed(components=tuple(c for c in RECORD.components if c.kind in ("model", "dataset")))
    assert [b.title for b in methods_of(detectors, "0.2.0")] == [
        "Evaluation", "Detectors", "Data", "Statistics", "Computation", "All parameters", "Digests",
    ]  # fmt: skip
    assert paragraph(detectors, "Statistics") == STATISTICS


def test_notes_on_sources_stand_before_them():
    scored = {"family": "faithfulness", "scores": []}
    more = (
        component("metric", "xaibench/repair", {**scored, "note": "own"}),
        component("metric", "xaibench/fill-response", {**scored, "note": "own, after"}, references=(RISE,)),
        component("explainer", "xaibench/edges", {"control": True, "note": "own"}),
    )
    text = paragraph(changed(components=more, withheld=()), "Measures")
    assert text.endswith(
        "Faithfulness: repair (defined by xaibench) and fill-response (defined by xaibench after [P and D 2018])."
    )
    assert paragraph(changed(components=more), "Controls").endswith("never ranked: edges (the picture's own edges).")


def test_localisation_censored_scores_and_accuracy():
    more = (
        component("metric", "xaibench/pointing-game", {"family": "localisation", "scores": []}),
        component(
            "metric", "xaibench/segment-attack", {"family": "attack", "scores": [{**SCORES[0], "event": "flip"}]}
        ),
    )
    text = paragraph(changed(components=(*RECORD.components, *more), has_accuracy=True), "Statistics")
    assert text == STATISTICS + (
        " Scores of localisation weigh every manipulation method alike. Right-censored scores are summarised by a "
        "restricted mean and by a median, whose interval rests on 2,000 resamples of groups with an expanded tail "
        "[Hesterberg 2015]."
    ) + VERDICTS + RANKS + (
        " The AUC of a detector has an interval from its clustered variance [DeLong et al. 1988; Obuchowski 1997; "
        "Newcombe 2006]."
    )


def test_marks_families_and_several_plans():
    family = changed(
        components=(RECORD.components[0], *RECORD.components), marks={"xaibench/demo 0": ("at chance", "wrong way")},
        runs=({"run": "a", "plan_digest": "0"}, *RECORD.runs),
    )  # fmt: skip
    assert paragraph(family, "Detectors").startswith("2 detectors were explained: detector (ONNX")
    assert paragraph(family, "Detectors").endswith(
        "; fp32; SHA-256 0123456789ab). Of each family of training runs, all measures were taken of the first run, "
        "and of the others only those that compare training runs. xaibench marks demo (0): at chance; wrong way."
    )
    assert paragraph(family, "Computation").endswith(" fedcba987654; it is the last of 2 plans of its folder.")


def test_inverses_are_named_by_what_they_invert():
    inverse = component("explainer", "xaibench/inverse:of=xaibench/gradcam", {"control": True})
    record = changed(components=(*RECORD.components, inverse))
    assert "20 maps of each picture) and the inverse of gradcam (the explainer's map upside down). A" in paragraph(
        record, "Controls"
    )
    assert "such as random values on a coarse grid or the explainer's map upside down. An" in paragraph(
        record, "Evaluation"
    )


def test_controls_are_described_as_their_records_are():
    records = {f"xaibench/{r.name}": r for r in xaibench_explainers() if r.control and r.name != "inverse"}
    assert {name: f"Control: {words}." for name, words in CONTROL_WORDS.items()} == {
        name: r.summary for name, r in records.items()
    }


def test_libraries_of_onnx_are_those_of_a_detector_in_onnx():
    torch = component("model", "detector", {**CARD, "format": "PyTorch, factory"})
    text = paragraph(changed(components=(torch, *RECORD.components[1:])), "Computation")
    assert "It used Python 3.11.7, torch 2.6.0. It took" in text
