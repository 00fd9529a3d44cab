"""``--detail`` and ``--by`` of ``eval``: they change what is printed and nothing of the run."""

from __future__ import annotations

import pytest

from conftest import TOY


@pytest.fixture
def evaluated(cli, tmp_path, monkeypatch):
    """``xaibench eval`` of the toy detector on twelve small demo samples, as a person sees it."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        return cli(
            "eval", "--plugin", TOY, "--model", "toy", "--dataset", "demo:identities=8", "-e", "rows", "-x", "range",
            "--no-controls", "--limit", 12, "--threads", 1, "--no-isolation", "-o", "out", *arguments,
        )  # fmt: skip

    return run


def settings(out):
    """The run file without the id of the last run."""
    return [x for x in (out / "run.toml").read_text("utf-8").splitlines() if not x.startswith(("run =", "commit"))]


def test_detail_prints_everything_and_is_no_setting_of_the_run(evaluated, tmp_path):
    code, short, _ = evaluated()
    assert code == 0
    written = settings(tmp_path / "out")
    commits = sorted(p.name for p in (tmp_path / "out" / "commits").iterdir())
    _, full, _ = evaluated("--detail")
    assert short.partition("\n\n")[0] in full
    assert len(full.splitlines()) > len(short.splitlines())
    assert "range: " in full
    assert "All: xaibench report out --detail" in " ".join(short.split())
    assert max(map(len, short.splitlines()[:-2])) <= 80
    assert settings(tmp_path / "out") == written
    assert "detail" not in written
    assert sorted(p.name for p in (tmp_path / "out" / "commits").iterdir()) == commits


def test_by_prints_the_boards_by_a_column(evaluated):
    """A column that names single pictures is known only at the end, and said there in one line."""
    code, out, err = evaluated("--by", "label", "--by", "sample")
    assert code == 0
    assert out.index("xaibench report out --detail") < out.index(" by label") < out.index("results done")
    (line,) = [x for x in err.splitlines() if x.startswith("--by: ")]
    assert "no column 'sample' by which the pictures of this run differ; columns: " in line


def test_a_column_by_which_the_pictures_do_not_differ_is_refused_before_the_run(evaluated, tmp_path):
    code, out, err = evaluated("--by", "nonsense")
    assert (code, out) == (2, "")
    assert "no column 'nonsense' by which the pictures of this plan differ" in err
    assert "label" in err
    assert not (tmp_path / "out" / "commits").exists()
