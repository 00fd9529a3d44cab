"""What a shell is offered for a word, by typer's protocol."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from xaibench.api.value_completion import completion
from xaibench.cli import shell_completion
from xaibench.cli.program import program


@pytest.fixture(autouse=True)
def _in_tmp(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def offered(monkeypatch, capfd):
    """The words that bash is offered for the last word of a line; the words are separated as bash does it."""

    def complete(*words: str) -> list[str]:
        monkeypatch.setenv("_XAIBENCH_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", "\n".join(("xaibench", *words)))
        monkeypatch.setenv("COMP_CWORD", str(len(words)))
        assert shell_completion.is_completing()
        assert shell_completion.complete(program) == 0
        out, err = capfd.readouterr()
        assert err == ""
        return out.split()

    return complete


def run_folder(path: str) -> None:
    Path(path).mkdir(parents=True)
    Path(path, "run.toml").touch()


@pytest.mark.parametrize(("words", "values"), [
    (["st"], ["status"]),
    (["eval", "-e", "gradcam+"], ["gradcam++", "gradcam++-t24"]),
    (["eval", "--metric", "=", "deleti"], ["deletion"]),
    (["eval", "-x", "xaibench/deleti"], ["xaibench/deletion"]),
    (["eval", "-m", "de"], ["demo", "demo-family"]),
    (["eval", "papers/tsigos-2024"], ["papers/tsigos-2024", "papers/tsigos-2024-full"]),
    (["check", "demo", "-D", "dem"], ["demo"]),
    (["eval", "--executor", "l"], ["local"]),
    (["train", "cybo"], ["cyborg", "cyborg-shuffled"]),
    (["eval", "--preset", ""], ["quick", "standard", "full"]),
    (["eval", "--rerun", "f"], ["failed"]),
    (["list", "m"], ["model", "metric"]),
    (["list", "--needs", "ma"], ["mask"]),
    (["info", "salien"], ["saliency"]),
    (["eval", "-m", "./de"], []),
    (["eval", "-e", "rise", ":", "ma"], []),
    (["eval", "-e", "nothing-of-this-name"], []),
    (["status", "~nobody-of-this-name/"], []),
    (["nonsense", "-e", "gr"], []),
])  # fmt: skip
def test_a_word_is_completed_by_what_its_flag_wants(offered, words, values):
    found = offered(*words)
    assert found[: len(values)] == values and all(name.startswith(words[-1]) for name in found)
    if not values:
        assert found == []


def test_runs_are_folders_that_hold_a_run_file(offered):
    for folder in ("xaibench-runs/one", "xaibench-runs/two", "here", "deep/run"):
        run_folder(folder)
    Path("xaibench-runs/none").mkdir()
    assert offered("status", "") == ["here", "xaibench-runs/one", "xaibench-runs/two"]
    assert offered("compare", "here", "xaibench-runs/t") == ["xaibench-runs/two"]
    assert offered("merge", "one", "deep/") == ["deep/run"]
    assert offered("rank", "detectors", "h") == ["here"]
    assert offered("status", "de") == []


def test_tables_are_those_of_the_run(offered):
    for table in ("scores", "samples", "maps"):
        Path("run", table).mkdir(parents=True)
    Path("run/scores/1.parquet").touch()
    Path("run/samples/1.parquet").touch()
    assert offered("export", "run", "--table", "") == ["samples", "scores"]
    assert offered("export", "absent", "--table", "") == []


def test_splits_are_those_of_the_manifest_of_the_named_dataset(offered):
    Path("faces").mkdir()
    Path("faces/manifest.csv").write_text("id,image,label,split\n1,a,real,val\n2,b,fake,test\n3,c,fake,\n")
    assert offered("eval", "-D", "faces", "--split", "") == ["test", "val"]
    assert offered("check", "demo", "--dataset", "faces", "--split", "t") == ["test"]
    assert offered("eval", "-D", "demo", "--split", "") == []
    assert offered("eval", "--split", "") == []


def test_families_come_from_the_metrics_and_an_unknown_kind_offers_nothing():
    assert ("faithfulness", "") in set(shell_completion.SOURCES["family"]({"": ""}))

    context = SimpleNamespace(params={}, args=[])
    assert list(completion("nothing-of-this-kind", ["yes", "no"])(context, "y")) == [("yes", "")]


def test_a_source_that_raises_offers_nothing(offered, monkeypatch):
    def fail(given):
        raise SystemError("broken")

    monkeypatch.setitem(shell_completion.SOURCES, "explainer", fail)
    assert offered("eval", "-e", "gr") == []
    monkeypatch.setenv("COMP_CWORD", "no number")
    assert shell_completion.complete(program) == 0


FRESH = """
import atexit, json, sys
heavy = {"torch", "scipy", "onnxruntime", "pyarrow"}
atexit.register(lambda: open("heavy.json", "w").write(json.dumps(sorted(heavy & set(sys.modules)))))
from xaibench.cli.main import main
main()
"""


def fresh(line: str, shell: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """A process of its own, without a home."""
    environment = {k: v for k, v in os.environ.items() if k != "HOME"}
    asked = {"_XAIBENCH_COMPLETE": f"complete_{shell}", "_TYPER_COMPLETE_ARGS": line, **variables}
    command = [sys.executable, "-c", FRESH]
    return subprocess.run(command, env=environment | asked, capture_output=True, text=True, check=False)


def test_a_process_of_its_own_imports_nothing_that_computes_and_says_nothing_on_stderr():
    done = fresh("xaibench eval -e gradcam", "zsh")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("""_arguments '*: :(("gradcam":"Activation maps""")
    assert json.loads(Path("heavy.json").read_text()) == []


def test_fish_is_told_whether_there_is_anything_and_gets_a_line_a_value():
    assert fresh("xaibench eval -e ./gr", "fish", _TYPER_COMPLETE_FISH_ACTION="is-args").returncode == 1
    done = fresh("xaibench eval -e grad", "fish", _TYPER_COMPLETE_FISH_ACTION="get-args")
    assert [line.partition("\t")[0] for line in done.stdout.splitlines()] == ["gradcam", "gradcam++", "gradcam++-t24"]
