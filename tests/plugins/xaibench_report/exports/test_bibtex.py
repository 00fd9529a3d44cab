"""References as BibTeX, and text in LaTeX."""

from __future__ import annotations

from dataclasses import replace

import pytest
from bibtex_entries import entries

from xaibench.api import Reference
from xaibench_report.exports.bibtex import bibtex, latex_text

FAWCETT = Reference(
    key="fawcett2006",
    kind="article",
    authors=("Fawcett, Tom",),
    title="An introduction to ROC analysis",
    year=2006,
    venue="Pattern Recognition Letters",
    volume="27",
    number="8",
    pages="861-874",
    doi="10.1016/j.patrec.2005.10.010",
)


def test_bibtex_of_an_article():
    assert bibtex(FAWCETT) == (
        "@article{fawcett2006,\n"
        "  author = {Fawcett, Tom},\n"
        "  title = {An introduction to {ROC} analysis},\n"
        "  journal = {Pattern Recognition Letters},\n"
        "  volume = {27},\n"
        "  number = {8},\n"
        "  pages = {861--874},\n"
        "  year = {2006},\n"
        "  doi = {10.1016/j.patrec.2005.10.010},\n"
        "}\n"
    )


def test_bibtex_of_a_preprint_shows_its_number_in_plain_styles_too():
    preprint = Reference(
        key="a-b", kind="misc", authors=("Acme labs", "others"), title="On A", year=2020, arxiv="2001.00001"
    )
    assert bibtex(preprint) == (
        "@misc{a-b,\n  author = {{Acme labs} and others},\n  title = {On {A}},\n  howpublished = {arXiv:2001.00001},\n"
        "  year = {2020},\n  eprint = {2001.00001},\n  archiveprefix = {arXiv},\n}\n"
    )


@pytest.mark.parametrize(
    ("text", "latex"),
    [
        ("Öztireli & Müller: 50 % of #1 {x}", r"{\"O}ztireli \& M{\"u}ller: 50 \% of \#1 \{x\}"),
        ("Nießner, Mojsilović, Țânțaru", r"Nie{\ss}ner, Mojsilovi{\'c}, {\c T}{\^a}n{\c t}aru"),
        ("García ǰ Łoś Ångström", r"Garc{\'\i}a {\v \j} {\L}o{\'s} {\r A}ngstr{\"o}m"),
        ("“a” – b", "``a'' -- b"),
        (r"a_b\c^d~e", r"a\_b\textbackslash{}c\textasciicircum{}d\textasciitilde{}e"),
        ("王小明", "王小明"),
        ("Nguyễn", "Nguyễn"),  # two accents on one letter have no short form
    ],
)
def test_text_in_latex(text, latex):
    assert latex_text(text) == latex


@pytest.mark.parametrize(
    ("title", "field"),
    [
        ("Grad-CAM: Visual explanations", "{Grad-CAM}: Visual explanations"),
        ("Why should I trust you?", "Why should {I} trust you?"),
        ("Use HiResCAM", "Use {HiResCAM}"),
        ("A value: A game of Shapley", "A value: A game of {Shapley}"),
        ("“Why me?”: No", "``{Why} me?'': No"),
    ],
)
def test_capitals_of_titles_are_kept(title, field):
    assert entries(bibtex(replace(FAWCETT, title=title)))["fawcett2006"]["title"] == field
