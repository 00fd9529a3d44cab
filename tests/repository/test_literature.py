"""What the built-in components cite, and how the project is cited."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from bibtex_entries import entries

import xaibench
from xaibench.discovery.registry import load_registry
from xaibench_report.exports.bibtex import bibtex
from xaibench_report.exports.statistics_references import xaibench_reference

ROOT = Path(__file__).parents[2]
RECORDS = [c.record for c in load_registry().components if c.origin.built_in]
REFERENCES = {reference for record in RECORDS for reference in record.references}


@pytest.mark.parametrize("kind", ["explainer", "metric"])
def test_every_method_and_measure_that_is_not_our_own_has_a_reference(kind):
    own = {"random", "center-prior", "face-hull", "other-mask", "inverse", "mask-oracle",
           "maps", "repair", "region-share", "compression-response"}  # fmt: skip
    for record in (r for r in RECORDS if r.kind == kind):
        assert bool(record.references) != (record.name in own), record.name
        assert record.references or record.note, record.name


def test_a_key_stands_for_one_reference():
    """Those that two plugins cite are written down in both, and are equal."""
    keys = [reference.key for reference in REFERENCES]
    assert sorted(keys) == sorted(set(keys))
    papers = [reference.arxiv or reference.doi or reference.title for reference in REFERENCES]
    assert sorted(papers) == sorted(set(papers))


def test_keys_begin_with_family_and_year():
    for reference in REFERENCES:
        assert re.match(rf"[a-z]+{reference.year}[a-z]+$", reference.key), reference.key


def test_all_of_it_is_bibtex():
    text = "\n".join(bibtex(r) for r in sorted(REFERENCES, key=lambda r: r.key))
    found = entries(text)
    assert set(found) == {r.key for r in REFERENCES} and len(found) > 60
    text.encode("ascii")  # LaTeX has an accent for every letter of these names


def citation():
    """Keys and values of the top level of CITATION.cff."""
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    return dict(re.findall(r'^([a-z-]+): "?(.*?)"?$', text, re.MULTILINE)), text


def test_the_citation_file_is_of_this_version():
    values, text = citation()
    assert values["cff-version"] == "1.2.0"
    assert values["version"] == xaibench.__version__
    assert values["type"] == "software" and values["title"] == "xaibench" and values["license"] == "Apache-2.0"
    assert values["message"]
    assert "\nauthors:\n  - name: The xaibench authors\n" in text
    reference = xaibench_reference(xaibench.__version__)  # what export --bibtex gives
    assert reference.authors == ("The xaibench authors",) and reference.url == values["url"]
    # The keys that the schema of CFF 1.2.0 knows at the top level and that are used here.
    assert set(values) | {"authors", "keywords"} == set(re.findall(r"^([a-z-]+):", text, re.MULTILINE))
    assert set(values) <= {"cff-version", "message", "type", "title", "abstract", "version", "license", "url"}
