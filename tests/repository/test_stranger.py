"""What a stranger brings in one file: a fill, a section, a listener, a view and an executor, in one small run."""

from __future__ import annotations

import re

import pytest

import xaibench
from conftest import comparable, same_bytes
from xaibench.api import UsageError

FILL = """
from xaibench.api import ExecutorRecord, FillRecord, ListenerRecord, SectionRecord, ViewRecord, hookimpl

@hookimpl
def xaibench_fills():
    return [FillRecord(name="stripes", target="xaibench_local_acme:stripes", summary="Stripes.")]

def stripes(request):
    background = request.image * 0
    background[:, ::2] = 1
    return background
"""

REST = """
@hookimpl
def xaibench_report_sections():
    return [SectionRecord(name="counts", title="Counts", target="xaibench_local_acme:section", summary="Counts.")]

@hookimpl
def xaibench_executors():
    return [ExecutorRecord(name="threads", target="xaibench_local_acme:Threads", summary="Threads.")]

@hookimpl
def xaibench_run_events():
    return [ListenerRecord(name="diary", target="xaibench_local_acme:Diary", summary="Writes down commits.")]

@hookimpl
def xaibench_run_views():
    return [ViewRecord(name="row-count", target="xaibench_local_acme:row_count", summary="Number of scores.")]

def row_count(run):
    return len(run.scores)

def section(run):
    return f"<p>{run.row_count()} rows</p>"

class Threads:
    def __init__(self, parameters):
        pass

    def run(self, tasks, call):
        from concurrent.futures import ThreadPoolExecutor, as_completed

        with ThreadPoolExecutor(3) as pool:
            futures = {pool.submit(call, task): task for task in tasks}
            for future in as_completed(futures):
                yield futures[future], future.result()

    def close(self):
        pass

class Diary:
    def __init__(self, parameters):
        self.kinds = []

    def task_committed(self, event):
        self.kinds.append(event.kind)

    def run_ends(self, event):
        (event.out.parent / f"{event.out.name}.txt").write_text(" ".join(sorted(self.kinds)))
"""


@pytest.fixture
def evaluate(cli, tmp_path, monkeypatch):
    """``xaibench eval`` with the plugin into a folder; the exit code and stderr."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "acme.py").write_text(FILL + REST)

    def run(out, *arguments):
        code, _, err = cli(
            "eval", "--plugin", "acme.py", "-e", "rise:masks=20,fill=stripes", "-x", "deletion:steps=3,fill=stripes",
            "--limit", 6, "--task-samples", 2, "--no-controls", "--threads", 1, "-q", "-o", out, *arguments,
        )  # fmt: skip
        return code, err

    return run


def test_one_file_brings_a_fill_a_section_a_listener_a_view_and_an_executor(evaluate, cli, tmp_path, monkeypatch):
    assert evaluate("here") == evaluate("threads", "--executor", "threads") == (0, "")
    for table in ("scores", "maps", "predictions"):
        assert same_bytes(comparable(tmp_path / "here", table), comparable(tmp_path / "threads", table)), table
    run = xaibench.open_run("threads")
    assert set(run.scores["explainer"].to_pylist()) == {"xaibench/rise:fill=local/stripes,masks=20"}
    assert run.row_count() == 6 * 3  # deletion, its tied share and its tie spread
    assert (tmp_path / "threads.txt").read_text().split() == [
        "accuracy", "card", *["explain"] * 3, *["predict"] * 3, *["score"] * 3, "structure"
    ]  # fmt: skip
    assert cli("report", "threads")[0] == 0
    page = (tmp_path / "threads" / "report.html").read_text(encoding="utf-8")
    assert re.search(r"<h2[^>]*>Counts</h2>\s*<p>18 rows</p>", page)
    assert cli("check", "acme.py")[0] == 0

    monkeypatch.chdir("/")
    with pytest.raises(UsageError, match=r"acme\.py' does not exist") as refusal:
        xaibench.open_run(tmp_path / "threads").row_count()
    assert "plugin= of open_run" in refusal.value.mend
    assert xaibench.open_run(tmp_path / "threads", plugin=[tmp_path / "acme.py"]).row_count() == 18


def test_a_second_run_in_one_process_has_its_own_plugins(evaluate, tmp_path):
    (tmp_path / "more.py").write_text(FILL.replace("acme:stripes", "more:stripes").replace('"stripes"', '"more"'))
    assert evaluate("first", "--executor", "threads") == (0, "")
    assert evaluate("second", "--executor", "threads", "--plugin", "more.py", "-e", "rise:masks=20,fill=more") == (
        0,
        "",
    )


def test_a_wrong_use_of_an_executor_is_refused_before_anything_is_written(evaluate, tmp_path):
    for arguments, words in {
        ("--executor", "threads", "--jobs", 2): "executor 'threads' has no parameter 'jobs'",
        ("--executor", "threads:workers=2"): "threads has no parameter 'workers'",
        ("-p", "executor.threads.workers=2"): "executor 'threads', which is not part of this run",
    }.items():
        code, err = evaluate("refused", *arguments)
        assert code == 2
        assert words in err
    assert not (tmp_path / "refused").exists()


def test_an_executor_takes_its_parameters_with_its_name(evaluate):
    assert evaluate("one", "--executor", "local:retries=0") == (0, "")
    assert xaibench.open_run("one").settings["executor"] == "local:retries=0"
