"""The provenance on the page."""

from __future__ import annotations

from xaibench_report.page.run_provenance import component_rows


def test_the_page_shows_sources(toy_eval, tmp_path):
    from xaibench import open_run

    assert toy_eval("-o", tmp_path / "run", explainer="gradcam", limit=2)[0] == 0
    sources = {r["name"]: r["source"] for r in component_rows(open_run(tmp_path / "run").to_arrow("components"))}
    assert sources["xaibench/gradcam"] == "Selvaraju et al. 2017, arXiv:1610.02391"
    assert sources["local/range"] == ""
