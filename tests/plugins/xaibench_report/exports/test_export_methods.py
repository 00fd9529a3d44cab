"""``xaibench export --methods`` and ``--bibtex`` of a small run."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
from bibtex_entries import entries
from toy_runs import toy_run

import xaibench
from xaibench_report.exports.run_record import RunRecord

ACME = """
from xaibench.api import ExplainerRecord, Reference, hookimpl

PAPER = Reference(key="acme2020", kind="misc", authors=("Doe, Jane", "others"), title="On Acme & more", year=2020)


@hookimpl
def xaibench_explainers():
    target = "xaibench_explainers.controls:CenterPrior"
    return [ExplainerRecord(name="acme", target=target, summary="A.", references=(PAPER,), note="after")]
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("methods") / "run"
    toy_run(out, explainer=["rows", "gradcam", "lime:samples=8,fill=inpaint"], metric=["range", "deletion:steps=2"],
            limit=4, seed=7, controls=True)  # fmt: skip
    return out


@pytest.mark.parametrize("suffix", [".tex", ".md", ".txt", ""])
def test_everything_of_the_run_is_named(run, cli, tmp_path, suffix):
    if suffix:
        code, out, err = cli("export", run, "--methods", "-o", tmp_path / f"methods{suffix}")
        assert code == 0 and out == "" and "wrote the methods" in err
        text = (tmp_path / f"methods{suffix}").read_text(encoding="utf-8")
    else:
        code, text, _ = cli("export", run, "--methods")
        assert code == 0
    plain = text.replace("\\allowbreak{}", "").replace("\\_", "_").replace("\n    ", " ").replace("\n", " ")
    opened = xaibench.open_run(run)
    rows = opened.to_arrow("components").to_pylist()
    assert {r["kind"] for r in rows} == {"model", "dataset", "explainer", "metric"}
    for row in rows:
        assert row["name"].replace("xaibench/", "") in plain, row["name"]
        assert row["version"] in plain
    record = opened.to_arrow("runs").to_pylist()[-1]
    assert record["run"] in plain and record["plan_digest"] in plain
    assert (
        "The seed is 7, and" in plain
        and "4 pictures" in plain
        and "2 real and 2 fake" in plain
        and "1 thread, on " in plain
    )
    assert f"xaibench {xaibench.__version__}" in plain
    for name, version in RunRecord.read(opened).provenance["versions"].items():
        assert (f"{name} {version}" in plain) != name.startswith("onnx")


def test_every_citation_has_its_entry(run, cli, tmp_path):
    tex, bib = tmp_path / "m.tex", tmp_path / "m.bib"
    assert cli("export", run, "--methods", "-o", tex, "--bibtex", bib)[0] == 0
    cited = {key for keys in re.findall(r"\\cite\{(.*?)\}", tex.read_text("utf-8")) for key in keys.split(",")}
    found = entries(bib.read_text("utf-8"))
    assert cited == set(found)
    assert {"xaibench", "selvaraju2017gradcam", "petsiuk2018rise", "ribeiro2016why", "rong2022consistent",
            "adebayo2018sanity", "romano2005exact", "wilson1927probable"} <= cited  # fmt: skip
    assert found["xaibench"]["title"].endswith(f"Version {xaibench.__version__}".replace("Version", "{Version}"))


def test_joined_runs_have_methods_too(run, cli, tmp_path):
    toy_run(tmp_path / "more", explainer=["saliency"], metric=["range"], limit=4, seed=7)
    assert cli("merge", run, tmp_path / "more", "-o", tmp_path / "joined")[0] == 0
    code, text, err = cli("export", tmp_path / "joined", "--methods")
    assert code == 0, err
    assert (
        "4 explainers were evaluated: " in text
        and "saliency [Simonyan et al. 2013]" in text
        and "The seed is 7," in text
    )
    assert "--preset" not in text


def test_what_was_not_named_came_from_a_preset(run, cli):
    assert "--preset" not in cli("export", run, "--methods")[1]
    assert RunRecord.read(xaibench.open_run(run)).preset == ""


def test_bibtex_alone_needs_no_methods(run, cli, tmp_path):
    code, out, err = cli("export", run, "--bibtex", tmp_path / "m.bib")
    assert code == 0 and out == "" and "references to" in err
    assert len(entries((tmp_path / "m.bib").read_text("utf-8"))) > 10
    assert [p.name for p in tmp_path.iterdir()] == ["m.bib"]


def test_latex_without_bibtex_says_what_is_lacking(run, cli, tmp_path):
    assert "--bibtex FILE.bib" in cli("export", run, "--methods", "-o", tmp_path / "m.tex")[2]
    assert "--bibtex" not in cli("export", run, "--methods", "-o", tmp_path / "m.md")[2]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--methods", "-o", "m.pdf"], "ends in none of .tex, .md, .txt"),
        (["--methods", "--bibtex", "m.tex"], "does not end in .bib"),
        (["--methods", "--table", "scores"], "--table goes with neither"),
        (["--bibtex", "m.bib", "-o", "scores.csv"], "add --methods"),
        (["--methods", "-o", "RUN/scores/m.tex"], "own tables"),
    ],
)
def test_what_cannot_be_meant_is_refused(run, cli, tmp_path, arguments, words):
    code, out, err = cli("export", run, *(str(tmp_path / a) if a.startswith("m.") else a.replace("RUN", str(run)) for a in arguments))  # fmt: skip
    assert code == 2 and words in err and not out
    assert not list(tmp_path.iterdir())


def test_the_methods_need_a_run_and_a_folder(run, cli, tmp_path):
    assert cli("export", tmp_path, "--methods")[0] == 3
    code, _, err = cli("export", run, "--methods", "-o", tmp_path / "absent" / "m.tex")
    assert code == 3 and "cannot write" in err


def test_a_plugins_references_outlive_it(cli, toy_eval, tmp_path):
    plugin = tmp_path / "acme.py"
    plugin.write_text(ACME, encoding="utf-8")
    assert toy_eval("--plugin", plugin, "-o", tmp_path / "run", explainer="acme", limit=2)[0] == 0
    plugin.unlink()
    assert cli("export", tmp_path / "run", "--bibtex", tmp_path / "m.bib")[0] == 0
    found = entries((tmp_path / "m.bib").read_text("utf-8"))["acme2020"]
    assert found == {"kind": "misc", "author": "Doe, Jane and others", "title": r"On {Acme} \& more", "year": "2020"}
    (row,) = (c for c in RunRecord.read(xaibench.open_run(tmp_path / "run")).components if c.kind == "explainer")
    assert row.details["source"] == "after Doe et al. 2020, On Acme & more" and row.details["note"] == "after"


@pytest.mark.skipif(not shutil.which("pdflatex") or not shutil.which("bibtex"), reason="no TeX here")
def test_latex_and_bibtex_take_it(run, cli, tmp_path):
    assert cli("export", run, "--methods", "-o", tmp_path / "m.tex", "--bibtex", tmp_path / "m.bib")[0] == 0
    text = r"\documentclass{article}\begin{document}\input{m}\bibliographystyle{plain}\bibliography{m}\end{document}"
    (tmp_path / "main.tex").write_text(text, encoding="utf-8")

    def program(*command):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, errors="replace")
        assert done.returncode == 0, done.stdout
        return done.stdout

    program("pdflatex", "-draftmode", "-halt-on-error", "main")
    said = program("bibtex", "main")
    assert "Warning" not in said and "error" not in said
    program("pdflatex", "-draftmode", "-halt-on-error", "main")
    log = program("pdflatex", "-draftmode", "-halt-on-error", "main")
    assert "undefined" not in log and "Overfull" not in log
