"""References: their forms, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from xaibench.api import ExplainerRecord, Reference

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
TWO = replace(FAWCETT, authors=("Hedström, Anna", "Höhne, Marina M.-C."), arxiv="2401.06465")


def test_labels_and_short_forms():
    three = replace(FAWCETT, authors=("A, B", "C, D", "E, F"), doi="")
    assert (FAWCETT.label, TWO.label, three.label) == ("Fawcett 2006", "Hedström and Höhne 2006", "A et al. 2006")
    assert FAWCETT.short == "Fawcett 2006, doi:10.1016/j.patrec.2005.10.010"
    assert TWO.short == "Hedström and Höhne 2006, arXiv:2401.06465"
    assert three.short == "A et al. 2006, Pattern Recognition Letters 27(8):861-874"
    assert replace(FAWCETT, authors=("Alqurashi", "others")).label == "Alqurashi et al. 2006"


def test_the_full_text():
    assert TWO.text == (
        "Anna Hedström and Marina M.-C. Höhne. An introduction to ROC analysis. Pattern Recognition Letters "
        "27(8):861-874, 2006. doi:10.1016/j.patrec.2005.10.010. arXiv:2401.06465."
    )
    conference = replace(FAWCETT, volume="", number="", doi="", authors=("A", "others"), title="Why?")
    assert conference.text == "A et al. Why? Pattern Recognition Letters, pages 861-874, 2006."


def test_a_reference_goes_through_json():
    values = json.loads(json.dumps(TWO.to_dict()))
    assert set(values) == {
        "key", "kind", "authors", "title", "year", "venue", "volume", "number", "pages", "doi", "arxiv"
    }  # fmt: skip
    assert Reference(**values) == TWO


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"key": "a b"}, "its key"),
        ({"key": "a,b"}, "its key"),
        ({"key": "2006"}, "its key"),
        ({"kind": "software"}, "its kind"),
        ({"authors": ()}, "no authors"),
        ({"authors": ("others", "Fawcett, Tom")}, "not the last"),
        ({"authors": ("others",)}, "not the last"),
        ({"title": ""}, "no title"),
        ({"year": 26}, "its year is 26"),
        ({"venue": ""}, "article asks for a venue"),
        ({"arxiv": "arXiv:2001.00001"}, "arxiv is of another form"),
        ({"doi": "https://doi.org/10.1/2"}, "doi is of another form"),
        ({"url": "www.example.org"}, "url is of another form"),
        ({"title": "a\nb"}, "title of 'fawcett2006' has line breaks"),
        ({"title": "a\x1b[0m"}, "title of 'fawcett2006' has line breaks"),
        ({"authors": ("Fawcett, Tom ",)}, "authors of 'fawcett2006' has line breaks"),
    ],
)
def test_values_of_another_form_are_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        replace(FAWCETT, **changes)


@pytest.mark.parametrize("changes", [{"authors": "Fawcett, Tom"}, {"authors": 3}, {"year": "2006"}, {"title": None},
                                     {"year": True}, {"authors": (3,)}])  # fmt: skip
def test_values_of_another_type_are_refused(changes):
    with pytest.raises(TypeError):
        replace(FAWCETT, **changes)


def record(**values):
    return ExplainerRecord(name="acme", target="acme:Acme", summary="A.", **values)


def test_a_record_says_where_it_comes_from():
    assert record().source == "" and record().sources == ()
    assert record(note="own").source == "own" and record(note="own").sources == ("own",)
    own = record(note="own, after", references=(FAWCETT, TWO))
    assert own.source == f"own, after {FAWCETT.short}; {TWO.short}"
    assert own.sources == (f"own, after {FAWCETT.text}", TWO.text)


@pytest.mark.parametrize("references", ["Fawcett 2006", FAWCETT, [FAWCETT], ("Fawcett 2006",)])
def test_a_record_takes_a_tuple_of_references(references):
    with pytest.raises(TypeError, match=r"no tuple of xaibench\.api\.Reference"):
        record(references=references)
