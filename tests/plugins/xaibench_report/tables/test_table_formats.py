"""Tables as text, Markdown, LaTeX, CSV, HTML, Arrow and pandas."""

from __future__ import annotations

import csv
import io
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from latex_grammar import latex_faults
from shaped_tables import CAM, DELETION, INFO, ITEMS, RANDOM, RISE, UNEQUAL, attacked, ramp, rows, tables

from xaibench.api import UsageError
from xaibench_report.tables.run_table import RunTable, build_table
from xaibench_report.tables.table_marks import NoteAt, place_notes
from xaibench_report.tables.table_request import make_request
from xaibench_report.tables.text_format import wrap_name


def table(held: Any, *args: Any, **options: Any) -> RunTable:
    return build_table(held, INFO, make_request(*args, **options))


EVIL = r"a&b_{50%}$#~^\<x>|[c]"
HOSTILE = [attacked(CAM, m, i, 1.0, f"slic-50 top-{k}") for m in (EVIL, "=cmd()") for k in (1, 2) for i in range(12)]


def wide() -> RunTable:
    more = [
        attacked(e, m, i, 0.5, f"slic-50 top-{k}")
        for e in (CAM, RISE)
        for m in ("blend", "retexture")
        for k in (1, 2, 3)
        for i in range(10)
    ]
    return table(tables([*ITEMS, *more]), columns="method,k", score="accuracy", intervals=True, n=True)


def test_text_of_a_small_table() -> None:
    assert str(table(tables(UNEQUAL), columns="method")) == (
        "Relevance-mass (higher is better): explanations of demo (demo-0) on faces\n"
        "\n"
        "explainer  swap   warp\n"
        "───────── ────── ──────\n"
        "gradcam    0.800  0.200\n"
        "rise       0.400  0.400\n"
        "\n"
        "Means over samples (first over the repeats of each). 12 to 24 samples of 12 to\n"
        "24 groups per column.\n"
    )


def test_text_fits_80_columns_in_parts() -> None:
    lines = str(wide()).splitlines()
    assert max(map(len, lines)) <= 80
    assert [x for x in lines if re.fullmatch(r"\(\d/\d\)", x)] == ["(1/3)", "(2/3)", "(3/3)"]
    assert max(map(len, wide().to_text(200).splitlines())) > 80


def test_headers_span_what_they_stand_over_and_names_are_cut_between_words() -> None:
    lines = table(tables(ITEMS), columns="method,k", score="accuracy").to_text().splitlines()
    assert lines[3:5] == [
        "           swap                  warp",
        "explainer  k = 1  k = 2  k = 10  k = 1  k = 2  k = 10",
    ]
    assert wrap_name("inverse:of=integrated-gradients:steps=16", 30) == [
        "inverse:",
        "  of=integrated-gradients:",
        "  steps=16",
    ]


def test_markdown() -> None:
    held = tables([*UNEQUAL, *rows("xaibench/lime", {"swap": ramp(0.3, 12), "warp": [None] * 24})])
    found = table(held, columns="method", n=True)
    assert found.to_markdown().splitlines()[:7] == [
        "**Relevance-mass (higher is better): explanations of demo (demo-0) on faces**",
        "",
        "| explainer | swap, n = 12 | warp, n = 24 |",
        "| --- | ---: | ---: |",
        "| gradcam | 0.800 | 0.200 |",
        "| rise | 0.400 | 0.400 |",
        "| lime | 0.300 | –<sup>a</sup> |",
    ]
    assert "<sup>a</sup> real pictures have no mask" in found.to_markdown()
    assert (
        r"a&b\_{50%}$\#\~^\\\<x\>\|\[c\], k = 1"
        in table(tables(HOSTILE), columns="method,k", score="accuracy").to_markdown()
    )


# ---- LaTeX ----------------------------------------------------------------------------------------------------------

LATEX = {
    "two levels": wide,
    "hostile names": lambda: table(tables(HOSTILE), columns="method,k", score="accuracy"),
    "rows of two keys": lambda: table(tables(ITEMS), "method,explainer", "k", "accuracy", intervals=True),
    "marks and bold": lambda: table(
        tables([*UNEQUAL, *rows(RANDOM, {"swap": ramp(0.1, 12)}), *rows("x/lime", {"warp": [None] * 24, "swap": ramp(-0.2, 12)})]),
        columns="score,method", controls=True, bold="best", n=True,
    ),
    "two tables": lambda: table(tables(ITEMS), columns="k", score="accuracy", by="method"),
}  # fmt: skip


@pytest.mark.parametrize("name", LATEX)
def test_latex_keeps_the_grammar_of_booktabs(name: str) -> None:
    assert latex_faults(LATEX[name]().to_latex(label="tab:x")) == []


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no TeX is at hand")
def test_latex_compiles(tmp_path: Path) -> None:
    body = "\n".join(make().to_latex(label=f"t{i}") for i, make in enumerate(LATEX.values()))
    text = f"\\documentclass{{article}}\n\\usepackage{{booktabs}}\n\\begin{{document}}\n{body}\n\\end{{document}}\n"
    (tmp_path / "t.tex").write_text(text, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
    made = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", check=False)
    assert made.returncode == 0, made.stdout[-2000:]


def test_latex_of_a_small_table() -> None:
    text = table(tables(ITEMS), columns="method,k", score="accuracy").to_latex(label="tab:acc")
    lines = text.splitlines()
    assert lines[0] == r"% needs \usepackage{booktabs}"
    assert r"\label{tab:acc}" in lines
    at = lines.index(r"\toprule")
    assert lines[at - 1] == r"\begin{tabular}{lrrrrrr}"
    assert lines[at + 1 : at + 6] == [
        r" & \multicolumn{3}{c}{swap} & \multicolumn{3}{c}{warp} \\",
        r"\cmidrule(lr){2-4}\cmidrule(lr){5-7}",
        "explainer & " + " & ".join(rf"\multicolumn{{1}}{{c}}{{k = {k}}}" for k in (1, 2, 10, 1, 2, 10)) + r" \\",
        r"\midrule",
        r"gradcam & 0.750 & 0.750 & 0.750 & 0.750 & 0.750 & 0.750 \\",
    ]


STEPS = "xaibench/rise:masks=400"


def test_names_are_short_where_people_read_and_whole_in_data() -> None:
    held = tables([*rows(CAM, {"swap": ramp(0.2, 12)}), *rows(STEPS, {"swap": ramp(0.8, 12)}),
                   *rows(STEPS, {"swap": ramp(0.8, 12)}, metric=DELETION, score="deletion", better="lower")])  # fmt: skip
    found = table(held)
    (grid,) = found.grids
    assert [(r.labels, r.heads) for r in grid.rows] == [(("rise:masks=400",), ("rise",)), (("gradcam",), ("gradcam",))]
    assert grid.notes[-1] == ("", "rise: masks=400; deletion: steps=10")
    assert found.to_markdown().splitlines()[4].startswith("| rise | 0.800 |")
    assert [x.partition(",")[0] for x in found.to_csv().splitlines()] == ["explainer", "rise:masks=400", "gradcam"]
    assert found.to_arrow()["explainer"].to_pylist() == ["rise:masks=400"] * 2 + ["gradcam"] * 2
    by_method = table(held, "method", "explainer", "relevance-mass")
    assert by_method.to_csv().splitlines()[0] == "method,gradcam,rise:masks=400,notes"
    assert [c.heads for c in by_method.grids[0].columns] == [("gradcam",), ("rise",)]


def test_intervals_stand_below_the_values_in_latex() -> None:
    lines = table(tables(UNEQUAL), intervals=True, n=True, columns="score,method").to_latex().splitlines()
    at = lines.index(r"\midrule")
    assert lines[at - 1] == (
        r"explainer & \multicolumn{1}{c}{\shortstack{swap\\{\scriptsize $n=12$}}} & "
        r"\multicolumn{1}{c}{\shortstack{warp\\{\scriptsize $n=24$}}} \\"
    )
    assert lines[at + 1 : at + 4] == [
        r"gradcam & 0.800 & 0.200 \\",
        r" & {\scriptsize {[}0.758, 0.842{]}} & {\scriptsize {[}0.174, 0.226{]}} \\",
        r"\addlinespace",
    ]


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no TeX is at hand")
def test_four_scores_with_intervals_fit_a_column_of_text(tmp_path: Path) -> None:
    names = ("pointing-game", "relevance-mass", "relevance-rank", "mask-auc")
    every = ("xaibench/integrated-gradients:steps=16", "xaibench/inverse:of=xaibench/integrated-gradients:steps=16")
    held = [x for n in names for e in every for x in rows(e, {"swap": ramp(0.5, 12)}, metric=f"xaibench/{n}", score=n)]
    info = replace(INFO, families={f"xaibench/{n}": "localisation" for n in names})
    body = build_table(tables(held), info, make_request(intervals=True)).to_latex()
    text = f"\\documentclass{{article}}\\usepackage{{booktabs}}\\begin{{document}}{body}\\end{{document}}"
    (tmp_path / "t.tex").write_text(text, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
    made = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", check=False)
    assert made.returncode == 0 and "Overfull" not in made.stdout, made.stdout[-2000:]


def test_a_caption_of_ones_own_is_text_and_a_label_is_held_to_its_form() -> None:
    found = table(tables(ITEMS), columns="method,k", score="accuracy")
    assert r"\caption{50\% of \_all\_}" in found.to_latex(caption="50% of _all_").splitlines()
    with pytest.raises(UsageError, match="is no label"):
        found.to_latex(label="a}b")
    with pytest.raises(UsageError, match="no caption and no label"):
        found.to_format("csv", caption="x")
    labels = re.findall(r"\\label\{(.*?)\}", LATEX["two tables"]().to_latex(label="tab:x"))
    assert labels == ["tab:x", "tab:x-2"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (r"\begin{tabular}{lr}a & b & c \\\end{tabular}", "a row of 3 cells in 2 columns: a & b & c"),
        (r"\begin{table}x", r"\begin{table} is not closed"),
        (r"a_b", "bare _"),
        (r"\foo", r"unknown command \foo"),
        (r"\begin{tabular}{l}\cmidrule(lr){1-2}a\\\end{tabular}", "rule 1-2"),
        (r"{", "braces"),
    ],
)
def test_the_grammar_finds_faults(text: str, fault: str) -> None:
    assert fault in latex_faults(text)


# ---- data -----------------------------------------------------------------------------------------------------------


def test_csv_has_all_digits_notes_and_no_formula() -> None:
    held = tables([*UNEQUAL, *rows("xaibench/lime", {"swap": [1 / 3] * 12, "warp": [None] * 24})])
    lines = list(csv.reader(io.StringIO(table(held, columns="method", n=True).to_csv())))
    assert lines[0] == ["explainer", "swap", "swap n", "warp", "warp n", "notes"]
    assert lines[3] == ["lime", repr(1 / 3), "12", "", "", "warp: real pictures have no mask"]
    formula = table(tables(HOSTILE), "method", "k", "accuracy").to_csv()
    assert "\n'=cmd()," in formula and "\n=cmd()" not in formula
    two = list(
        csv.reader(
            io.StringIO(table(tables(ITEMS), columns="k", score="accuracy", by="method", intervals=True).to_csv())
        )
    )
    assert two[0] == [
        "method",
        "explainer",
        *(f"k = {k}{x}" for k in (1, 2, 10) for x in ("", " low", " high")),
        "notes",
    ]
    assert [line[:2] for line in two[1:]] == [
        ["swap", "gradcam"],
        ["swap", "rise"],
        ["warp", "gradcam"],
        ["warp", "rise"],
    ]


def test_html_spans_and_escapes() -> None:
    text = table(tables(HOSTILE), columns="method,k", score="accuracy", intervals=True).to_html()
    assert '<th colspan="2"' in text and "a&amp;b_{50%}$#~^\\&lt;x&gt;|[c]" in text and "<x>" not in text
    rows_of_two = table(tables(ITEMS), "method,explainer", "k", "accuracy").to_html()
    assert rows_of_two.count('<th rowspan="2" style="text-align:left;padding:0.2em 0.7em">swap</th>') == 1
    assert table(tables(UNEQUAL))._repr_html_() == table(tables(UNEQUAL)).to_html()


def test_digits() -> None:
    thirds = tables(rows(CAM, {"swap": [1 / 3] * 12}))
    assert "0.33\n" in str(table(thirds, digits=2)) and "0.33333\n" in str(table(thirds, digits=5))
    assert table(thirds, digits=2).to_csv().splitlines()[1] == "gradcam,0.33,"


def test_arrow_has_a_row_a_number() -> None:
    found = table(tables(UNEQUAL), columns="method").to_arrow()
    assert found.column_names == ["explainer", "method", "value", "low", "high", "n", "groups", "best", "notes"]
    first = found.to_pylist()[0]
    assert (first["explainer"], first["method"], first["n"], first["groups"]) == ("gradcam", "swap", 12, 12)
    assert first["value"] == pytest.approx(0.8) and first["low"] < 0.8 < first["high"]


def test_pandas_has_the_shape_of_the_table() -> None:
    pytest.importorskip("pandas")
    frame = table(tables(ITEMS), "explainer", "method,k", "accuracy").to_pandas()
    assert frame.index.names == ["explainer"] and frame.columns.names == ["method", "k"]
    assert frame.loc["gradcam", ("swap", "10")] == 0.75
    two = table(tables(ITEMS), "explainer", "k", "accuracy", by="method").to_pandas()
    assert two.index.names == ["method", "explainer"] and two.loc[("warp", "rise"), "10"] == 0.75


def test_without_pandas_the_arrow_table_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(UsageError, match="pandas is not installed"):
        table(tables(UNEQUAL)).to_pandas()


# ---- marks ----------------------------------------------------------------------------------------------------------


def test_a_note_is_marked_at_the_widest_header_that_it_holds_for() -> None:
    x, y = NoteAt(("x",), True), NoteAt((), True)
    columns = [["a", "1"], ["a", "2"], ["b", "1"]]
    found = place_notes([["r"], ["s"]], columns, [[x, x, y], [x, x, y]])
    assert (found.columns, found.cells) == ((("a", ""), ("a", ""), ("", "")), (("", "", ""), ("", "", "")))
    row = place_notes([["r"], ["s"]], columns, [[x, x, x], [y, y, y]])
    assert (row.rows, row.notes) == ((("a",), ("",)), (("a", "x"),))
    assert place_notes([["r"]], columns, [[x, x, x]]).notes == (("", "x"),)
    one = place_notes([["r"], ["s"]], [["a"], ["b"]], [[x, y], [y, x]])
    assert one.cells == (("a", ""), ("", "a"))


def test_a_reason_stays_at_its_dash() -> None:
    dash, full = NoteAt(("why",), False), NoteAt((), True)
    found = place_notes([["r"], ["s"]], [["a"], ["b"]], [[dash, full], [dash, full]])
    assert (found.cells, found.columns) == ((("a", ""), ("a", "")), (("",), ("",)))
