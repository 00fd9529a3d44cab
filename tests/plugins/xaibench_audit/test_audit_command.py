"""``xaibench audit`` as people meet it: a whole quick audit, a metric that is wrong on purpose, and what is refused."""

from __future__ import annotations

import json
from collections import Counter

import pyarrow.parquet as pq
import pytest

from xaibench import load_registry
from xaibench.api import StoreError
from xaibench_audit import salience
from xaibench_audit.audit import choose
from xaibench_audit.budgets import metric_use
from xaibench_audit.scoring import Measure, Measured, _joined, why_not
from xaibench_audit.tables import SCHEMAS

WRONG = '''
from xaibench.api import Passes, Score, Scores, ScoreSpec
from xaibench.api import MetricRecord, hookimpl


class Away:
    """The share of the map that lies outside of the mask, sold as better when higher; fails where asked to."""

    scores = (ScoreSpec(name="away", better="higher", ranks_evidence=True),)

    def __init__(self, parameters):
        self.parameters = parameters

    def score(self, case):
        inside = float(case.explanation.map[case.picture.mask].sum() / case.explanation.map.sum())
        return Scores((Score(name="away", value=1 - inside),))

    def passes(self, query):
        return Passes()


class Broken(Away):
    scores = (ScoreSpec(name="broken", better="higher", ranks_evidence=True),)

    def score(self, case):
        raise RuntimeError("on purpose")


class Brittle(Away):
    """The share of the map inside of the mask; fails on the inverted map, whose largest value is in a corner."""

    scores = (ScoreSpec(name="brittle", better="higher", ranks_evidence=True),)

    def score(self, case):
        shown = case.explanation.map
        if float(shown[0, 0]) == float(shown.max()):
            raise RuntimeError("brittle")
        return Scores((Score(name="brittle", value=float(shown[case.picture.mask].sum() / shown.sum())),))


@hookimpl
def xaibench_metrics():
    here = "xaibench_local_wrong"
    common = {"family": "localisation", "better": "higher", "summary": "wrong"}
    return [
        MetricRecord(name="away", target=f"{here}:Away", needs=frozenset({"mask"}), **common),
        MetricRecord(name="broken", target=f"{here}:Broken", **common),
        MetricRecord(name="brittle", target=f"{here}:Brittle", **common),
        MetricRecord(name="faces", target=f"{here}:Away", needs=frozenset({"landmarks"}), **common),
    ]
'''


@pytest.fixture
def wrong(tmp_path):
    path = tmp_path / "wrong.py"
    path.write_text(WRONG)
    return path


def verdicts(found):
    return {(r["metric"], r["score"]): r["verdict"] for r in found["tables"]["verdicts"]}


def test_a_whole_quick_audit(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "audit"
    code, text, err = cli("audit", "--quick", "--metric", "deletion", "--metric", "relevance-rank", "--out", out)
    assert code == 0, err
    assert "relevance-rank" in text and "seam l=0" in text and "real pictures turned fake" in text
    assert "audit: 3 of 3" in err
    tables = {name: pq.read_table(out / f"{name}.parquet") for name in SCHEMAS}
    assert {t.name for t in tables["scores"].schema} == SCHEMAS["scores"].keys()
    assert {p.name for p in out.iterdir()} == {f"{name}.parquet" for name in SCHEMAS}
    about = json.loads(tables["scores"].schema.metadata[b"xaibench.audit"])
    assert about["settings"]["seed"] == 0 and about["settings"]["metrics"] == ["deletion", "relevance-rank"]
    scores = tables["scores"].to_pylist()
    assert Counter(r["evidence"] for r in scores)["seam"] == 2 * 10 * 10  # measures, maps, pictures
    above = {(r["metric"], r["evidence"], r["rival"]): r for r in tables["above"].to_pylist()}
    inverted = above["xaibench/relevance-rank", "patch", "inverted"]
    assert (inverted["value"], inverted["n"]) == (1.0, 10)
    assert inverted["low"] == pytest.approx(10 / (10 + 2.262157**2), abs=1e-6)  # Wilson's of ten of ten groups
    taus = {(r["metric"], r["evidence"]): r for r in tables["taus"].to_pylist() if r["score"] == "relevance-rank"}
    # truth and the mixture of correlation 0.75 both have every pixel of the mask first: one pair of ten is tied
    assert taus["xaibench/relevance-rank", "patch"]["value"] == pytest.approx(0.9)
    mechanism = {(r["evidence"], r["fill"], r["what"]): r["value"] for r in tables["mechanism"].to_pylist()}
    assert mechanism["missing-texture", "blur", "reals turn"] == 1.0
    assert mechanism["patch", "blur", "reals turn"] == 0.0
    costs = {(r["metric"].partition(":")[0], r["evidence"]): r for r in tables["costs"].to_pylist()}
    assert (
        costs["xaibench/deletion", "patch"]["forward"] == (6 + 4 * 3) * 10 * 10
    )  # maps, pictures, steps; of 4 maps many
    # pixels are equal, and these are removed in three orders of them
    code, _, err = cli("audit", "--quick", "--metric", "deletion", "--out", out)
    assert code == 3 and "holds an audit already" in err


def test_a_metric_that_is_wrong_on_purpose_misleads(cli, wrong):
    line = ("audit", "--quick", "--plugin", wrong, "--metric", "away", "--metric", "faces", "--evidence", "patch",
            "--evidence", "missing-texture@0.5", "--json")  # fmt: skip
    code, text, _ = cli(*line)
    found = json.loads(text)
    assert code == 0 and found["schema"] == "xaibench.audit/1"
    assert verdicts(found) == {("local/away", "away"): "misleads on patch, from l = 1 (missing-texture)"}
    assert found["left_out"] == {"local/faces": "needs landmarks: the planted pictures have none"}
    (tau,) = (r for r in found["tables"]["taus"] if r["evidence"] == "patch")
    assert (tau["value"], tau["high"], tau["standing"]) == (-1.0, -1.0, "misleads")
    again = json.loads(cli(*line)[1])
    assert {k: v for k, v in again["tables"].items() if k != "costs"} == {
        k: v for k, v in found["tables"].items() if k != "costs"
    }


def test_a_metric_that_fails_is_named_and_the_exit_code_tells(cli, wrong):
    code, text, err = cli("audit", "--quick", "--plugin", wrong, "-x", "broken", "--evidence", "patch", "--json")
    assert code == 1
    assert verdicts(json.loads(text)) == {("local/broken", "broken"): "undefined: RuntimeError: on purpose"}
    assert "failed: local/broken on patch: RuntimeError: on purpose" in err


def test_a_metric_that_fails_on_one_map_is_named_though_it_has_a_verdict(cli, wrong):
    code, text, err = cli("audit", "--quick", "--plugin", wrong, "-x", "brittle", "--evidence", "patch", "--json")
    found = json.loads(text)
    assert code == 1 and verdicts(found) == {("local/brittle", "brittle"): "ranks the evidence"}
    assert found["failed"] == ["local/brittle on patch: RuntimeError: brittle"]
    assert "failed: local/brittle on patch: RuntimeError: brittle" in err


def test_a_metric_named_twice_is_audited_once(cli):
    code, text, _ = cli(
        "audit", "--quick", "-x", "deletion", "-x", "xaibench/deletion", "--evidence", "patch", "--json"
    )
    assert code == 0 and len(json.loads(text)["tables"]["taus"]) == 1


def test_both_copies_of_a_salience_measure_are_asked():
    from xaibench.discovery.registry import load_registry

    copies = ["noise-response", "noise-response:levels=[0.1]"]
    chosen = choose(load_registry(), copies)
    assert chosen.questions == tuple(("noise", c) for c in copies)


def test_a_family_measure_is_asked_its_question_and_not_called_left_out():
    from xaibench.discovery.registry import load_registry

    chosen = choose(load_registry(), ["run-stability"])
    assert (chosen.metrics, chosen.questions, chosen.left) == ((), (("runs", "run-stability"),), ())


def test_families_are_of_the_seed():
    """Another seed gives other pictures."""
    from xaibench.discovery.registry import load_registry

    registry, shown = load_registry(), []

    class Spy:
        scores = ()

    def remember(metric, use, members, **_):
        shown.append([p.image for m in members.values() for p in m.pictures])
        raise Stop

    class Stop(Exception):
        pass

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(salience, "score_set", remember)
        for seed in (0, 1):
            with pytest.raises(Stop):
                salience._families(Spy(), None, salience.Asked("runs", "run-stability", 10, seed), True, registry)
    assert not any(a.equal(b) for a, b in zip(*shown, strict=True))


def test_means_are_of_the_pictures_that_both_conditions_have():
    metric = metric_use(load_registry(), "entropy-spatial")
    measure = Measure.of(metric, next(s for s in metric.instance.scores if s.primary))
    first, second = salience.Side(), salience.Side()
    first.values[measure] = {f"s{i}": 0.5 for i in range(11)} | {"alone": 100.0}
    second.values[measure] = {f"s{i}": 0.75 for i in range(11)}
    first.failed = "RuntimeError: once"
    (found, *_) = salience._compared("focus", "gradcam", metric, first, second)
    assert (found.first, found.second, found.difference.value) == (0.5, 0.75, -0.25)
    assert found.failed == "RuntimeError: once"
    assert (found.difference.low, found.text) == (None, "separates")  # the same on all pictures: p = 2 / 2^11


def test_equal_differences_of_few_pictures_settle_nothing():
    metric = metric_use(load_registry(), "entropy-spatial")
    measure = Measure.of(metric, next(s for s in metric.instance.scores if s.primary))
    first, second = salience.Side(), salience.Side()
    first.values[measure] = {f"s{i}": 0.75 for i in range(11)}
    second.values[measure] = {f"s{i}": 0.5 for i in range(11)}
    (found, *_) = salience._compared("focus", "gradcam", metric, first, second)
    assert found.text == "the wrong way round"  # lower is better
    first.values[measure] = {f"s{i}": 0.25 for i in range(4)}
    (found, *_) = salience._compared("focus", "gradcam", metric, first, second)
    assert found.text.startswith("undefined: 4 groups, fewer than 10")


@pytest.mark.parametrize("made", [True, False])
def test_an_interrupted_audit_leaves_nothing_and_exits_130(cli, tmp_path, monkeypatch, made):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("xaibench_audit.audit.perform", interrupted)
    out = tmp_path / "audit"
    if made:
        (out / ".staging").mkdir(parents=True)
        (out / ".staging" / "of-a-run").touch()
    code, text, err = cli("audit", "--quick", "-x", "deletion", "--out", out, "--json")
    assert (code, text) == (130, "") and "interrupted; no table was written" in err
    left = [p.relative_to(tmp_path).as_posix() for p in sorted(tmp_path.rglob("*"))]
    assert left == (["audit", "audit/.staging", "audit/.staging/of-a-run"] if made else [])


def test_what_was_found_is_shown_though_it_cannot_be_written(cli, tmp_path, monkeypatch):
    def full(*_):
        raise StoreError("cannot write scores.parquet: no space left on device")

    monkeypatch.setattr("xaibench_audit.tables.stage_table", full)
    line = ("audit", "--quick", "-x", "deletion", "--evidence", "patch", "--out", tmp_path / "audit", "--json")
    code, text, err = cli(*line)
    assert code == 3 and len(json.loads(text)["tables"]["taus"]) == 1
    assert "no space left" in err and "finished results" not in err and not (tmp_path / "audit").exists()


def test_references_are_taken_off_on_fill_sensitive_evidence(cli):
    code, text, _ = cli("audit", "--quick", "-x", "repair", "-x", "relevance-rank", "--evidence", "seam", "--json")
    against = [r for r in json.loads(text)["tables"]["taus"] if r["minus"]]
    own = next(r for r in against if r["score"] == "repair-auc")
    assert code == 0 and {r["minus"] for r in against} == {"repair"}
    assert (own["value"], own["low"], own["high"]) == (0.0, 0.0, 0.0)
    assert "tau less that of repair" in cli("audit", "--quick", "-x", "repair", "--evidence", "seam")[1]


def test_a_salience_measure_answers_its_own_question(cli):
    code, text, _ = cli("audit", "--quick", "-x", "entropy-spatial", "--evidence", "patch", "--json")
    found = json.loads(text)["tables"]["salience"]
    assert code == 0 and {r["question"] for r in found} == {"focus"}
    row = next(r for r in found if r["explainer"] == "evidence")
    # evidence of one part of 64 even pixels, and of six of them, out of 3072
    assert row["first"] == pytest.approx(0.518, abs=2e-3) and row["second"] == pytest.approx(0.741, abs=2e-3)
    assert row["verdict"] == "separates"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--evidence", "patsh"), 2, "did you mean patch"),
        (("--metric", "deletoin"), 3, "did you mean"),
        (("--pictures", "5"), 2, "gives no intervals"),
        (("--metric", "deletion:steps=0"), 2, "steps"),
        (("--jobs", "0"), 2, "no number of processes"),
        (("--seed", "-1"), 2, "greater than or equal to 0"),
        (("--metric", "axis-purity"), 4, "nothing is left to audit: xaibench/axis-purity: it is of scope model"),
    ],
)
def test_what_is_refused(cli, arguments, code, words):
    found, _, err = cli("audit", "--quick", *arguments)
    assert found == code and words in err


def test_a_measure_is_named_by_its_metric_and_score():
    assert Measure("xaibench/deletion:steps=10", "deletion").name == "deletion"
    assert Measure("acme/x", "y", "k=1").name == "acme/x/y [k=1]"
    assert Measure("acme/x:a=1", "x").name == "acme/x"
    assert Measured(Measure("a", "b")).values == {}


def test_a_map_without_items_gives_its_reason_to_the_items():
    bare, item = Measured(Measure("m", "s")), Measured(Measure("m", "s", "top-1"), {"truth": {"a": 1.0}})
    bare.reasons["no map"] += 3
    (left,) = _joined({m.measure: m for m in (bare, item)})
    assert left is item and left.reasons == {"no map": 3}
    assert _joined({bare.measure: bare}) == [bare]


def test_metrics_of_another_scope_are_not_asked():
    from xaibench.discovery.registry import load_registry

    registry = load_registry()
    assert why_not(metric_use(registry, "run-stability")) == "it is of scope family, and a planted map has one picture"
    assert why_not(metric_use(registry, "repair")) == ""
