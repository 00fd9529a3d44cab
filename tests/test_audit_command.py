"""``xaibench audit`` as people meet it: a whole quick audit, a metric that is wrong on purpose, and what is refused."""

from __future__ import annotations

import json
from collections import Counter

import pyarrow.parquet as pq
import pytest

from xaibench_audit.scoring import Measure, Measured, _joined, why_not
from xaibench_audit.tables import SCHEMAS

WRONG = '''
from xaibench.contracts import Passes, Score, Scores, ScoreSpec
from xaibench.plugin import MetricRecord, hookimpl


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


@hookimpl
def xaibench_metrics():
    here = "xaibench_local_wrong"
    common = {"family": "localisation", "better": "higher", "summary": "wrong"}
    return [
        MetricRecord(name="away", target=f"{here}:Away", needs=frozenset({"mask"}), **common),
        MetricRecord(name="broken", target=f"{here}:Broken", **common),
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
    assert not (out / ".staging").exists()
    scores = tables["scores"].to_pylist()
    assert Counter(r["evidence"] for r in scores)["seam"] == 2 * 10 * 10  # measures, maps, pictures
    above = {(r["metric"], r["evidence"], r["rival"]): r for r in tables["above"].to_pylist()}
    inverted = above["xaibench/relevance-rank", "patch", "inverted"]
    assert (inverted["value"], inverted["low"], inverted["n"]) == (1.0, 1.0, 10)
    taus = {(r["metric"], r["evidence"]): r for r in tables["taus"].to_pylist() if r["score"] == "relevance-rank"}
    # truth and the mixture of correlation 0.75 both have every pixel of the mask first: one pair of ten is tied
    assert taus["xaibench/relevance-rank", "patch"]["value"] == pytest.approx(0.9)
    mechanism = {(r["evidence"], r["fill"], r["what"]): r["value"] for r in tables["mechanism"].to_pylist()}
    assert mechanism["missing-texture", "blur", "reals turn"] == 1.0
    assert mechanism["patch", "blur", "reals turn"] == 0.0
    costs = {(r["metric"].partition(":")[0], r["evidence"]): r for r in tables["costs"].to_pylist()}
    assert costs["xaibench/deletion", "patch"]["forward"] == 10 * 10 * 10  # maps, pictures, steps
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
    code, text, _ = cli("audit", "--quick", "--plugin", wrong, "-x", "broken", "--evidence", "patch", "--json")
    assert code == 1
    assert verdicts(json.loads(text)) == {("local/broken", "broken"): "undefined: RuntimeError: on purpose"}


def test_references_are_taken_off_on_fill_sensitive_evidence(cli):
    code, text, _ = cli("audit", "--quick", "-x", "repair", "-x", "relevance-rank", "--evidence", "seam", "--json")
    against = [r for r in json.loads(text)["tables"]["taus"] if r["minus"]]
    own = next(r for r in against if r["score"] == "repair-auc")
    assert code == 0 and {r["minus"] for r in against} == {"repair"}
    assert (own["value"], own["low"], own["high"]) == (0.0, 0.0, 0.0)


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
    ],
)
def test_what_is_refused(cli, arguments, code, words):
    found, _, err = cli("audit", "--quick", *arguments)
    assert found == code and words in err


def test_a_measure_is_named_by_its_metric_and_score():
    assert Measure("xaibench/deletion:steps=10", "deletion").name == "deletion"
    assert Measure("acme/x", "y", "k=1").name == "acme/x/y [k=1]"
    assert Measured(Measure("a", "b")).values == {}


def test_a_map_without_items_gives_its_reason_to_the_items():
    bare, item = Measured(Measure("m", "s")), Measured(Measure("m", "s", "top-1"), {"truth": {"a": 1.0}})
    bare.reasons["no map"] += 3
    (left,) = _joined({m.measure: m for m in (bare, item)})
    assert left is item and left.reasons == {"no map": 3}
    assert _joined({bare.measure: bare}) == [bare]


def test_metrics_of_another_scope_are_not_asked():
    from xaibench.registry import load_registry
    from xaibench_audit.audit import metric_use

    registry = load_registry()
    assert why_not(metric_use(registry, "run-stability")) == "it is of scope family, and a planted map has one picture"
    assert why_not(metric_use(registry, "repair")) == ""
