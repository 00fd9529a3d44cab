"""``xaibench table`` and ``run.table`` on a run that was evaluated."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import xaibench
from conftest import TOY
from xaibench.cli.main import main
from xaibench_report.tables.run_table import RunTable

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> xaibench.Run:
    """Eight pictures of the toy detector under one explainer and two metrics."""
    out = tmp_path_factory.mktemp("run") / "out"
    words = "-m toy -D demo:identities=8 -e rows -x range -x entropy-spatial --limit 8 --threads 1 --no-controls --json"
    with pytest.raises(SystemExit) as ended:
        main(["eval", "--plugin", str(TOY), *words.split(), "--out", str(out)])
    assert not ended.value.code
    return xaibench.open_run(out)


def test_prints_what_the_view_prints(run: xaibench.Run, cli: Cli) -> None:
    code, out, _ = cli("table", run.path, "--columns", "score,label", "--intervals")
    found = run.table(columns=["score", "label"], intervals=True)
    assert isinstance(found, RunTable)
    assert (code, out) == (0, str(found))
    assert max(map(len, out.splitlines())) <= 80


def test_json_is_one_object(run: xaibench.Run, cli: Cli) -> None:
    _, out, _ = cli("table", run.path, "--score", "range", "--columns", "label", "--json")
    found = json.loads(out)
    (table,) = found["tables"]
    assert found["schema"] == "xaibench.table/1"
    assert table["columns"] == [{"label": "fake"}, {"label": "real"}]
    assert table["cells"][0][0]["value"] == run.table(columns="label", score="range").to_arrow()["value"][0].as_py()


def test_writes_a_file_in_the_format_of_its_ending(run: xaibench.Run, tmp_path: Path, cli: Cli) -> None:
    for suffix, begin in (
        (".tex", "% needs"),
        (".md", "**Salience of"),
        (".csv", "explainer,"),
        (".html", "<table"),
        (".txt", "Salience of"),
    ):
        out = tmp_path / f"table{suffix}"
        code, told, _ = cli("table", run.path, "--out", str(out))
        assert (code, told) == (0, f"wrote 1 table to {out}\n")
        assert out.read_text("utf-8").startswith(begin)
    assert sorted(p.suffix for p in tmp_path.iterdir()) == [".csv", ".html", ".md", ".tex", ".txt"]
    code, _, err = cli("table", run.path, "--out", str(tmp_path / "table.doc"))
    assert code == 2 and "names no format" in err
    code, _, err = cli("table", run.path, "--out", str(tmp_path / "no" / "table.md"))
    assert code == 3 and "cannot write" in err
    (tmp_path / "folder.md").mkdir()
    assert cli("table", run.path, "--out", str(tmp_path / "folder.md"))[0] == 3
    assert not [p.name for p in tmp_path.iterdir() if p.name.startswith(".")]


@pytest.mark.parametrize(
    ("words", "code", "what"),
    [
        (["--rows", "explaner"], 2, "no key 'explaner'"),
        (["--score", "rnage"], 2, "there are range, "),
        (["--format", "word"], 2, "no format 'word'"),
        (["--by", "sample"], 2, "no key 'sample'"),
    ],
)
def test_wrong_words_end_with_a_line_of_what_there_is(
    run: xaibench.Run, cli: Cli, words: list[str], code: int, what: str
) -> None:
    found, out, err = cli("table", run.path, *words)
    assert (found, out) == (code, "")
    assert what in err and len(err.splitlines()) == 2


def test_no_file_lands_among_the_tables_of_the_run(run: xaibench.Run, cli: Cli) -> None:
    assert isinstance(run.path, Path)
    code, _, err = cli("table", run.path, "--out", run.path / "scores" / "x.csv")
    assert code == 2 and "lies among the run's own tables" in err
    assert not list(run.path.glob("scores/*x.csv*"))


def test_notes_of_csv_go_to_stderr(run: xaibench.Run, cli: Cli) -> None:
    _, out, err = cli("table", run.path, "--format", "csv", "--columns", "score,label")
    assert (
        out.splitlines()[0]
        == 'explainer,"range, fake","range, real","entropy-spatial, fake","entropy-spatial, real",notes'
    )
    assert "note: an arrow points to where a score is better\n" in err


def test_a_verdict_is_a_value_of_json(run: xaibench.Run, cli: Cli) -> None:
    _, out, _ = cli("table", run.path, "--score", "range", "--verdicts", "--json")
    (table,) = json.loads(out)["tables"]
    assert [(c["verdict"], c["control"]) for cells in table["cells"] for c in cells] == [(None, None)]
    assert table["notes"][-1]["text"] == "no explainer is held against a control here"
    code, _, err = cli("table", run.path, "--columns", "label", "--score", "range", "--verdicts")
    assert code == 2
    assert err == "xaibench: a verdict is on all pictures, not by label\n  leave out label or --verdicts\n"


def test_a_family_is_a_score(run: xaibench.Run, cli: Cli) -> None:
    assert cli("table", run.path, "--score", "salience")[1] == str(run.table(columns="score"))
    _, _, err = cli("table", run.path, "--score", "sailence")
    assert err.splitlines()[1] == "  there are salience, range, entropy-spatial, seconds, local/range"
