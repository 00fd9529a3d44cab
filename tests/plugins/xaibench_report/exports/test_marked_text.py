"""Text with names and citations, in three forms."""

from __future__ import annotations

from dataclasses import replace

import pytest
from bibtex_entries import entries

from xaibench.api import Reference
from xaibench_report.exports.marked_text import Block, Citations, Cite, Code, render

FAWCETT = Reference(key="fawcett2006", kind="misc", authors=("Fawcett, Tom",), title="ROC", year=2006)
OTHER = replace(FAWCETT, title="Another")  # the key and the label of another
HALL = Reference(key="hall1992", kind="misc", authors=("Hall, Peter",), title="On skewness", year=1992)
BLOCKS = (
    Block(title="One", parts=("Of 50 % ", Code("a_b:k=1"), Cite((HALL, FAWCETT)), ", ", Code("c"), Cite(()), ".")),
    Block(title="Two", items=(("first ", Cite((FAWCETT,))), ("*x*",))),
)


def test_plain_text_ends_with_its_references():
    assert render(BLOCKS, "txt") == (
        "One. Of 50 % a_b:k=1 [Hall 1992; Fawcett 2006], c.\n\n"
        "Two.\n- first  [Fawcett 2006]\n- *x*\n\n"
        "References.\n- Fawcett 2006: Tom Fawcett. ROC. 2006.\n- Hall 1992: Peter Hall. On skewness. 1992.\n"
    )


def test_markdown():
    assert render(BLOCKS, "md") == (
        "**One.** Of 50 % `a_b:k=1` [Hall 1992; Fawcett 2006], `c`.\n\n"
        "**Two.**\n\n- first  [Fawcett 2006]\n- \\*x\\*\n\n"
        "**References.**\n\n- Fawcett 2006: Tom Fawcett. ROC. 2006.\n- Hall 1992: Peter Hall. On skewness. 1992.\n"
    )


def test_latex():
    assert render(BLOCKS, "tex") == (
        "\\begingroup\n\\emergencystretch=3em % long names break at \\allowbreak alone\n"
        "\\paragraph{One.} Of 50 \\%\n\\texttt{a\\_\\allowbreak{}b:\\allowbreak{}k=\\allowbreak{}1}"
        "~\\cite{hall1992,fawcett2006}, \\texttt{c}.\n\n"
        "\\paragraph{Two.}\n\\begin{itemize}\n  \\item first ~\\cite{fawcett2006}\n  \\item *x*\n\\end{itemize}\n\\par\n\\endgroup\n"
    )


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("--limit", "-{}-limit"),
        ("0123456789abcdef01", "01234567\\allowbreak{}89abcdef\\allowbreak{}01"),
        ("a-b", "a-\\allowbreak{}b"),
        ("a", "a"),
        ("{", "\\{"),
    ],
)
def test_names_in_latex_can_be_broken(text, code):
    assert (
        render([Block(title="A", parts=(Code(text),))], "tex").splitlines()[2]
        == f"\\paragraph{{A.}} \\texttt{{{code}}}"
    )


def test_control_characters_are_written_out():
    assert render([Block(title="A", parts=("x\x1b[0m", Code("\x07")))], "txt") == "A. x\\x1b[0m\\x07\n"


def test_references_of_one_key_or_label_are_told_apart():
    citations = Citations.of([Block(title="A", parts=(Cite((FAWCETT, HALL)), Cite((OTHER, FAWCETT))))])
    assert citations.keys == {FAWCETT: "fawcett2006", HALL: "hall1992", OTHER: "fawcett2006b"}
    assert citations.labels == {FAWCETT: "Fawcett 2006a", HALL: "Hall 1992", OTHER: "Fawcett 2006b"}
    found = entries(citations.bibtex())
    assert {key: entry["title"] for key, entry in found.items()} == {
        "fawcett2006": "{ROC}", "fawcett2006b": "Another", "hall1992": "On skewness",
    }  # fmt: skip
