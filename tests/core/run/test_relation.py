"""A run is a relation: the same rows to the byte, whatever way they came about."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
from looks import LOOKS
from toy_runs import EQUAL, LONG, differences, glob_differences, toy_run

from xaibench.api import Lost
from xaibench.plan import due
from xaibench.plan.tasks import ExplainTask, LookTask, SetTask
from xaibench.run import driver, task_size
from xaibench.run.lost_tasks import parts_of
from xaibench.store import merging
from xaibench.store.folder import RunFolder

KEPT = (*EQUAL, "maps")
EXPLAINERS = ["rows", "random", "shared"]
METRICS = ["range", "spread", "channels"]


@pytest.fixture(autouse=True)
def _no_fsync(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """One calm run of three explainers, one of which draws at random and one of which stores an artefact."""
    out = tmp_path_factory.mktemp("whole") / "run"
    assert toy_run(out, explainer=EXPLAINERS, metric=METRICS, task_samples=64).exit_code == 0
    return out


@pytest.mark.parametrize("size", [1, 7, 64])
def test_the_size_of_the_tasks_changes_no_byte(whole, tmp_path, size):
    toy_run(tmp_path / "run", explainer=EXPLAINERS, metric=METRICS, task_samples=size)
    assert not differences(whole, tmp_path / "run", KEPT) and not glob_differences(tmp_path / "run", KEPT)


def test_a_task_takes_few_explainers_rather_than_few_samples(whole, tmp_path, monkeypatch):
    """Where one sample is work enough with all explainers, each explainer still fills the batches with its samples."""
    tasks, drive = [], driver._Driver._run
    monkeypatch.setattr(driver._Driver, "_run", lambda self, made: drive(self, (tasks.append(t) or t for t in made)))
    monkeypatch.setattr(task_size.TaskSize, "__call__", lambda self, stage, member: 0.7 if stage == "explain" else 12)
    toy_run(tmp_path / "run", explainer=EXPLAINERS, metric=METRICS, batch_size=1)
    explain = [t for t in tasks if isinstance(t, ExplainTask)]
    names = [[u.name.rpartition("/")[2] for u in t.units] for t in explain]
    assert names == [["rows"], ["random", "shared"]] * 6  # a map of random costs no pass
    assert {len(t.chunk.samples) for t in explain} == {2}
    assert sum(t.share for t in explain[:2]) == pytest.approx(1)


@pytest.mark.parametrize(
    ("costs", "parts", "expected"),
    [
        ([1, 1, 1, 1], 2, [[0, 1], [2, 3]]),
        ([10, 1, 1], 2, [[0], [1, 2]]),
        ([1, 1, 10], 2, [[0, 1], [2]]),
        ([1, 1, 1], 5, [[0], [1], [2]]),
        ([3], 1, [[0]]),
    ],
)
def test_parts_of_like_cost(costs, parts, expected):
    assert [p.tolist() for p in due._parts_of_like_cost(np.array(costs, dtype=float), parts)] == expected


@pytest.mark.parametrize(
    ("side", "batch", "size", "fixed", "expected"),
    [
        (64, 16, 0.5, None, (5, 10)),  # every group alone
        (64, 16, 30, None, (64, 3)),  # four batches of samples
        (64, 16, 100, None, (100, 1)),
        (1024, 8, 0.5, None, (2, 4)),  # memory holds no more
        (64, 16, 7, 7, (7, 1)),
    ],
)
def test_samples_and_parts_of_the_next_tasks(side, batch, size, fixed, expected):
    settings = SimpleNamespace(task_samples=fixed)
    asked = SimpleNamespace(size=lambda stage, member: size, plan=SimpleNamespace(settings=settings))
    member = SimpleNamespace(batch_size=batch, facts=SimpleNamespace(input_size=(side, side)))
    assert due.Due._cut(asked, member, 1000, 10) == expected


def test_workers_change_no_byte(tmp_path):
    toy_run(tmp_path / "calm", explainer=["rows", "random"], metric=["range"])
    toy_run(tmp_path / "run", explainer=["rows", "random"], metric=["range"], task_samples=5, jobs=2)
    assert not differences(tmp_path / "calm", tmp_path / "run", KEPT) and not glob_differences(tmp_path / "run", KEPT)


@LONG
@pytest.mark.parametrize("size", [1, 7, 64])
def test_workers_change_no_byte_of_any_stage(whole, tmp_path, size):
    toy_run(tmp_path / "run", explainer=EXPLAINERS, metric=METRICS, task_samples=size, jobs=2)
    assert not differences(whole, tmp_path / "run", KEPT) and not glob_differences(tmp_path / "run", KEPT)


def test_a_run_that_is_extended_in_three_steps(whole, tmp_path):
    """By samples, by an explainer, by metrics: only what is new is done, and set scores follow their inputs."""
    out = tmp_path / "run"
    toy_run(out, explainer=EXPLAINERS[:2], metric=["range", "spread"], limit=5, task_samples=2)
    steps = [
        toy_run(out, explainer=EXPLAINERS[:2], metric=["range", "spread"], task_samples=3),
        toy_run(out, explainer=EXPLAINERS, metric=["range", "spread"], task_samples=5),
        toy_run(out, explainer=EXPLAINERS, metric=METRICS, task_samples=1),
    ]
    new = 12 - 5
    assert [s.done for s in steps] == [
        new + 2 * 2 * new + 2 + 2,  # predictions, maps and their ranges, spreads of the sets, accuracy and card
        12 + 2 * 12 + 1,  # artefacts, maps and ranges, a spread
        1,
    ]
    assert not differences(whole, out, KEPT) and not glob_differences(out, KEPT)
    assert toy_run(out, explainer=EXPLAINERS, metric=METRICS).done == 0


def test_dropped_maps_and_a_metric_that_comes_later(whole, tmp_path):
    out = tmp_path / "run"
    toy_run(out, explainer=EXPLAINERS, metric=["range"], maps="drop")
    later = toy_run(out, explainer=EXPLAINERS, metric=METRICS, maps="drop")
    assert later.done == 3 + 1 and not (out / "maps").exists()  # maps are drawn again, and their rows stay
    assert not differences(whole, out) and not glob_differences(out)
    assert toy_run(out, explainer=EXPLAINERS, metric=METRICS, maps="drop").done == 0
    kept = toy_run(out, explainer=EXPLAINERS, metric=METRICS, maps="keep")
    assert kept.done == 3 * 12 and not differences(whole, out, KEPT)


def test_failing_samples_that_are_mended(tmp_path, monkeypatch):
    """Their maps and scores are made again, and the score of the set, which has other inputs now."""
    toy_run(tmp_path / "calm", explainer=["rows", "flaky"])
    monkeypatch.setenv("TOY_FLAKY", "1")
    out = tmp_path / "run"
    first = toy_run(out, explainer=["rows", "flaky"], task_samples=5)
    failed = first.failed // 2
    assert first.exit_code == 1 and 0 < failed < 12
    monkeypatch.delenv("TOY_FLAKY")
    assert toy_run(out, explainer=["rows", "flaky"]).done == 0  # nobody asked for it
    assert differences(tmp_path / "calm", out)
    mended = toy_run(out, explainer=["rows", "flaky"], rerun="failed")
    assert mended.exit_code == 0 and mended.done == 2 * failed + 1
    assert not differences(tmp_path / "calm", out, KEPT) and not glob_differences(out, KEPT)
    assert max(c["attempts"] for c in RunFolder(out).table("commits").to_pylist()) == 2


def test_failing_predictions_that_are_mended(tmp_path, monkeypatch):
    toy_run(tmp_path / "calm", metric=METRICS)
    monkeypatch.setenv("TOY_PREDICTIONS_FAIL", "1")
    out = tmp_path / "run"
    assert toy_run(out, metric=METRICS, accept_detector=True).exit_code == 1
    monkeypatch.delenv("TOY_PREDICTIONS_FAIL")
    assert toy_run(out, metric=METRICS, rerun="failed").exit_code == 0  # the look at the structure had failed, too
    assert not differences(tmp_path / "calm", out, KEPT) and not glob_differences(out, KEPT)


def test_everything_made_again(whole, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    again = toy_run(out, explainer=EXPLAINERS, metric=METRICS, rerun="all", task_samples=5)
    assert again.done == 12 + 12 + 2 * 3 * 12 + 3 + 1 + LOOKS and again.exit_code == 0
    assert not differences(whole, out, KEPT) and not glob_differences(out, KEPT)


def family(folder, seeds):
    folder.mkdir(exist_ok=True)
    for seed in seeds:
        (folder / f"member-{seed}.seed").write_text(str(seed))
    return {"model": [str(folder)], "metric": ["range", "spread", "agreement"], "limit": 6}


@pytest.mark.parametrize("members", ["first", "all"])
def test_a_family_that_gets_one_more_member(tmp_path, members):
    """The values across its members are new; those of each member stay."""
    more = family(tmp_path / "toys", [1, 2]) | {"members": members}
    toy_run(tmp_path / "run", **more)
    family(tmp_path / "toys", [3])
    added = toy_run(tmp_path / "run", **more)
    # predictions and maps of the member, its structure and accuracy, its scores where all members have some, and the
    # agreement
    assert added.done == 2 * 6 + 2 + (6 + 1) * (members == "all") + 1
    toy_run(tmp_path / "calm", **more)
    assert not differences(tmp_path / "calm", tmp_path / "run", KEPT) and not glob_differences(tmp_path / "run", KEPT)


def test_a_member_that_comes_first(tmp_path):
    more = family(tmp_path / "toys", [1, 2])
    toy_run(tmp_path / "run", **more)
    family(tmp_path / "toys", [0])
    toy_run(tmp_path / "run", **more)
    toy_run(tmp_path / "calm", **more)
    assert not differences(tmp_path / "calm", tmp_path / "run", KEPT)
    assert (
        RunFolder(tmp_path / "run").snapshot().outside == 6 + 1 + 1
    )  # the scores of the member that was the first, and the card


def test_replaced_by_another_seed_and_back(tmp_path):
    """All samples, since a limit chooses others by another seed."""
    out = tmp_path / "run"
    asked = {"explainer": ["random", "shared"], "limit": None, "dataset": ["demo:identities=3"]}
    for seed in (0, 1):
        toy_run(tmp_path / str(seed), **asked, seed=seed)
    toy_run(out, **asked)
    for seed in (1, 0):
        toy_run(out, **asked, seed=seed, replace=True)
        assert not differences(tmp_path / str(seed), out, KEPT) and not glob_differences(out, KEPT)
        assert "scores" in differences(tmp_path / str(1 - seed), out)


class LosesTasks:
    """An executor that takes all tasks of a stage at once, and loses each task that explains when it sees it first."""

    in_process = True

    def __init__(self):
        self.seen = set()

    def run(self, tasks, call):
        for task in list(tasks):
            ids = tuple(s.id for s in task.chunk.samples) if isinstance(task, ExplainTask) else None
            yield task, call(task) if ids is None or ids in self.seen else Lost("the worker died")
            self.seen.add(ids)

    def close(self):
        pass


def test_tasks_that_are_lost_find_their_files_while_others_are_merged(tmp_path, monkeypatch):
    """The scores of lost tasks read maps of the same stage, which no merge may move meanwhile."""
    asked = {"explainer": ["rows", "random"], "metric": ["range"], "limit": 5}
    toy_run(tmp_path / "calm", **asked)
    executor = LosesTasks()
    monkeypatch.setattr(driver, "_executor", lambda *arguments, **keywords: executor)
    monkeypatch.setattr(merging, "_MANY", {0: 2, 1: 2})
    result = toy_run(tmp_path / "run", **asked, task_samples=1)
    assert len(executor.seen) == 1 + 5 and result.failures == []
    assert not differences(tmp_path / "calm", tmp_path / "run", KEPT) and not glob_differences(tmp_path / "run", KEPT)


class EndsProcesses:
    """An executor whose processes end ``times`` times at each task that cannot be cut, whatever runs in them."""

    in_process = True

    def __init__(self, times):
        self.times, self.ended = times, Counter()

    def run(self, tasks, call):
        for task in tasks:
            address = next(part.address for part in parts_of(task))
            whole = isinstance(task, LookTask | SetTask) and address.kind != "structure"  # without which nothing runs
            if whole and self.ended[address] < self.times:
                self.ended[address] += 1
                yield task, Lost("the worker process ended by signal 9 while local/toy ran", "local/toy")
            else:
                yield task, call(task)

    def close(self):
        pass


@pytest.mark.parametrize(("times", "failed"), [(1, 0), (2, 3)])
def test_who_ran_when_a_process_ended_is_blamed_the_second_time(tmp_path, monkeypatch, times, failed):
    """The kernel ends processes where memory is short; it does not ask what runs in them."""
    asked = {"explainer": ["rows", "random"], "metric": ["spread"], "limit": 5}
    toy_run(tmp_path / "calm", **asked)
    executor = EndsProcesses(times)
    monkeypatch.setattr(driver, "_executor", lambda *arguments, **keywords: executor)
    result = toy_run(tmp_path / "run", **asked)
    assert len(executor.ended) == 3 and set(executor.ended.values()) == {times}
    assert len(result.failures) == failed
    if not failed:
        assert not differences(tmp_path / "calm", tmp_path / "run", KEPT)


def test_two_datasets_with_the_same_sample_ids(tmp_path):
    """Rows belong to their dataset, also where a plan asks for some of them alone."""
    both = {"dataset": ["demo:identities=8", "demo:identities=8,seed=1"], "metric": METRICS}
    toy_run(tmp_path / "run", **both)
    toy_run(tmp_path / "run", **both, limit=5)
    toy_run(tmp_path / "calm", **both, limit=5)
    assert len(RunFolder(tmp_path / "run").table("predictions")) == 10
    assert not differences(tmp_path / "calm", tmp_path / "run", KEPT)


def test_many_small_runs_leave_few_files(tmp_path):
    for limit in range(2, 17, 2):
        toy_run(tmp_path / "run", limit=limit, task_samples=1)
    toy_run(tmp_path / "calm", limit=16)
    assert not differences(tmp_path / "calm", tmp_path / "run", KEPT) and not glob_differences(tmp_path / "run", KEPT)
    assert len(list((tmp_path / "run").glob("*/*.parquet"))) < 70


def test_a_run_behind_a_url(whole, tmp_path):
    import fsspec

    url = f"memory://{tmp_path.name}/run"
    toy_run(url, explainer=EXPLAINERS, metric=METRICS, limit=5)
    toy_run(url, explainer=EXPLAINERS, metric=METRICS)
    assert not differences(whole, url, KEPT)
    fsspec.filesystem("memory").rm(f"/{tmp_path.name}", recursive=True)
