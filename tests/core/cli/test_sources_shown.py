"""``list`` and ``info`` show what a component comes from."""

from __future__ import annotations

import json


def test_the_list_holds_references(cli):
    rows = {c["name"]: c for c in json.loads(cli("list", "explainers", "--json")[1])["components"]}
    (reference,) = rows["xaibench/gradcam"]["references"]
    assert reference["key"] == "selvaraju2017gradcam" and reference["authors"][-1] == "Batra, Dhruv"
    assert rows["xaibench/gradcam"]["source"] == "Selvaraju et al. 2017, arXiv:1610.02391"
    assert rows["xaibench/random"]["references"] == [] and rows["xaibench/random"]["note"] == "own"


def test_info_gives_references_in_full(cli):
    code, out, _ = cli("info", "fill-response")
    assert code == 0
    assert "source: own, after Balachandar Gowrisankar and Vrizlynn L. L. Thing. An" in " ".join(out.split())
