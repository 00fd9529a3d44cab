"""Components that return something of a wrong type, or cannot say what a plan asks; executors that lose count."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_runs import toy_run

from conftest import TOY
from xaibench.api import (
    BadScores,
    Curve,
    Explanation,
    PluginError,
    Score,
    Scores,
    ScoreSpec,
    check_scores,
)
from xaibench.data.arrays import PictureArrays
from xaibench.discovery.registry import load_registry
from xaibench.plan.settings import make_settings
from xaibench.run.driver import execute, prepare
from xaibench.store.folder import RunFolder
from xaibench.store.map_rows import BadMap, check

SPEC = (ScoreSpec(name="hit", better="higher", low=0, high=1),)
PLUGIN = """
import torch
from xaibench.api import (ExecutorRecord, ExplainerRecord, Explanation, Lost, MetricRecord, Parameters, Passes, Score,
                          Scores, ScoreSpec, hookimpl)

ANSWERS = {
    "none": None, "text": "a map", "array": [[1.0]], "complex": Explanation(map=torch.zeros(32, 32, dtype=torch.complex64)),
    "status": Explanation(map=None, status="fine"), "reason": Explanation(map=None, status="undefined", reason=3),
}
SCORES = {
    "none": None, "item": Scores((Score(name="hit", value=1.0, item=7),)),
    "tensor": Scores((Score(name="hit", value=torch.tensor([1.0, 2.0])),)),
    "text": Scores((Score(name="hit", value="high"),)), "list": Scores(3),
}

class P(Parameters):
    answer: str = ""

class Odd:
    Parameters = P
    def __init__(self, parameters): self.answer = parameters.answer
    def passes(self, query): return Passes() if self.answer != "passes" else 7
    def refuses(self, query):
        if self.answer == "refuses":
            raise RuntimeError("cannot say")
        return ""
    def explain(self, request):
        if self.answer in ("passes", "refuses"):
            raise AssertionError("never asked")
        return ANSWERS[self.answer]

class OddMetric:
    Parameters = P
    scores = (ScoreSpec(name="hit", better="higher"),)
    def __init__(self, parameters): self.answer = parameters.answer
    def passes(self, query):
        if self.answer == "passes":
            raise type("Stop", (BaseException,), {})("no idea")
        return Passes()
    def score(self, case): return SCORES[self.answer]

class Executor:
    Parameters = P
    def __init__(self, parameters): self.how = parameters.answer
    def run(self, tasks, call):
        if self.how == "swaps":
            done = [(task, call(task)) for task in tasks]
            yield from [(task, outcome) for (task, _), (_, outcome) in zip(done, done[1:] + done[:1])]
            return
        for number, task in enumerate(tasks):
            if self.how == "drops" and number % 2:
                continue
            yield task, call(task) if self.how != "answers-nothing" else None
            if self.how == "repeats":
                yield task, call(task)
            if self.how == "raises":
                raise OSError("the cluster is gone")
    def close(self): ...

@hookimpl
def xaibench_explainers(): return [ExplainerRecord(name="odd", target=f"{__name__}:Odd", summary="s")]
@hookimpl
def xaibench_metrics(): return [MetricRecord(name="oddly", target=f"{__name__}:OddMetric", summary="s", family="faithfulness")]
@hookimpl
def xaibench_executors(): return [ExecutorRecord(name="clumsy", target=f"{__name__}:Executor", summary="s")]
"""


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """Runs of the toy detector with the components above."""
    file = tmp_path_factory.mktemp("odd") / "odd.py"
    file.write_text(PLUGIN)
    registry = load_registry((str(TOY), str(file)), ())

    def run(out, **settings):
        asked = make_settings(None, {
            "model": ["toy"], "dataset": ["demo:identities=8"], "explainer": ["rows"], "metric": ["range"],
            "controls": False, "isolation": False, "threads": 1, "limit": 4, "plugin": [str(TOY), str(file)],
            "out": str(out), **settings,
        })  # fmt: skip
        return execute(prepare(asked, registry), registry)

    return run


def found(out):
    return {
        (r["explainer"], r["metric"]): (r["status"], r["reason"]) for r in RunFolder(out).table("scores").to_pylist()
    }


def test_wrong_answers_fail_their_own_cells(odd, tmp_path):
    explainers = [
        f"odd:answer={a}" for a in ("none", "text", "array", "complex", "status", "reason", "passes", "refuses")
    ]
    metrics = [f"oddly:answer={a}" for a in ("none", "item", "tensor", "text", "list", "passes")]
    result = odd(tmp_path / "run", explainer=["rows", *explainers], metric=["range", *metrics])
    rows = found(tmp_path / "run")
    assert result.exit_code == 1 and len(rows) == 9 * 7
    assert rows.pop(("local/rows", "local/range"))[0] == "ok"
    assert {status for status, _ in rows.values()} == {"failed"}
    said = {key: reason for key, (_, reason) in rows.items()}
    assert "passes() returned int, not Passes" in said["local/odd:answer=passes", "local/range"]
    assert "refuses() raised RuntimeError: cannot say" in said["local/odd:answer=refuses", "local/range"]
    assert (
        "passes() raised PluginError: a component raised Stop: no idea"
        in said["local/rows", "local/oddly:answer=passes"]
    )
    assert "the item of 'hit' is int, not text" in said["local/rows", "local/oddly:answer=item"]
    assert "explain() returned NoneType" in said["local/odd:answer=none", "local/range"]


@pytest.mark.parametrize(("how", "says"), [
    ("drops", "did not answer"), ("repeats", "gave one back twice"), ("swaps", "outcome of another"),
    ("answers-nothing", "gave NoneType as the outcome"), ("raises", "the cluster is gone"),
])  # fmt: skip
def test_an_executor_that_loses_count_is_named_and_what_finished_is_kept(odd, tmp_path, how, says):
    with pytest.raises(PluginError, match=says) as error:
        odd(tmp_path / "run", executor=f"clumsy:answer={how}", task_samples=1)
    assert "executor 'local/clumsy" in error.value.what
    assert odd(tmp_path / "run").exit_code == 0
    assert toy_run(tmp_path / "alone", limit=4, metric=["range"], explainer=["rows"]).exit_code == 0


@pytest.mark.parametrize(("scores", "says"), [
    (Scores((Score(name="hit", value=True),)), "bool, not a number"),
    (Scores((Score(name="hit", value=10**400),)), "too large"),
    (Scores((Score(name=3, value=0.5),)), "the name of a score is int"),
    (Scores((Score(name="hit", value=0.5, reason=b"x"),)), "the reason of 'hit' is bytes"),
    (Scores((Score(name="hit", value=0.5),), (Curve(name="c", x="ab", y="ab"),)), "is str, not a list of numbers"),
    (Scores((Score(name="hit", value=0.5),), (Curve(name="c", x=[1], y=[None]),)), "NoneType, not a number"),
    (Scores((Score(name="hit", status="good", reason="r"),)), "has status 'good'"),
    (Scores((0.5,)), "values holds float"),
])  # fmt: skip
def test_scores_of_other_types_are_refused(scores, says):
    with pytest.raises(BadScores, match=says):
        check_scores(scores, SPEC)


def test_numbers_of_other_libraries_become_pythons():
    scores = Scores(
        (Score(name="hit", value=np.float32(0.5)),), (Curve(name="c", x=range(2), y=torch.tensor([0.5, 1.0])),)
    )
    checked = check_scores(scores, SPEC)
    assert type(checked.values[0].value) is float and checked.curves[0].y == (0.5, 1.0)


@pytest.mark.parametrize(("explanation", "says"), [
    (Explanation(map=torch.zeros(2, 2).to_sparse()), "not a dense tensor"),
    (Explanation(map=torch.full((2, 2), 1e39, dtype=torch.float64)), "infinite"),
    (Explanation(map=torch.zeros(2, 2), native_map=[1]), "the native map is list"),
    (Explanation(map=torch.zeros(2, 2), segment_weights=torch.zeros(2, 2)), "2 dimensions, not 1"),
    (Explanation(map=torch.zeros(2, 2), details={"a": "b"}), "not a name and a number"),
    (Explanation(map=torch.zeros(2, 2), details=[1]), "details is list"),
])  # fmt: skip
def test_maps_of_other_types_are_refused(explanation, says):
    with pytest.raises(BadMap, match=says):
        check(explanation, 2, 2)


def test_what_importing_a_plugin_changes_is_set_back(tmp_path, capfd):
    (tmp_path / "rude.py").write_text(
        "import os, random, signal, torch\n"
        "torch.set_default_dtype(torch.float64); torch.set_grad_enabled(False); random.seed(1)\n"
        "os.environ['PATH'] = '/nowhere'; os.environ['LEFT_BY_RUDE'] = '1'; os.chdir('/')\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    )

    def state():
        return (
            torch.get_default_dtype(), torch.is_grad_enabled(), random.getstate(), os.environ["PATH"],
            signal.getsignal(signal.SIGTERM), Path.cwd(),
        )  # fmt: skip

    before = state()
    registry = load_registry((str(tmp_path / "rude.py"),), ())
    said = capfd.readouterr().err
    os.environ.pop("LEFT_BY_RUDE")  # a new variable stays: a library may look at it when it is used
    assert state() == before and not registry.failures
    assert all(name in said for name in ("rude.py", "default dtype", "gradients", "the environment", "signal handlers"))


def test_arrays_in_memory_cannot_be_changed_by_those_who_are_handed_them():
    images = np.zeros((1, 8, 8, 3), np.uint8)
    pictures = PictureArrays(images, ["fake"], masks=[np.ones((8, 8), bool)])
    native = pictures.read(pictures.samples()[0])
    with pytest.raises(ValueError, match="read-only"):
        native.pixels[0] = 1
    with pytest.raises(ValueError, match="read-only"):
        native.mask[0] = False
    images[0] = 1  # the caller's own
