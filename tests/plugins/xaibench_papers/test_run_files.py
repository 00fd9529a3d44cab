"""Run files that plugins bring: they are in the package, they parse and plan, and names lead to them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from toy_runs import LONG

from xaibench.api import PluginError, UnknownComponent
from xaibench.discovery.paper_files import find_run_file, paper_path
from xaibench.discovery.registry import load_registry
from xaibench.plan.settings import make_settings
from xaibench.run.driver import prepare

Cli = Callable[..., tuple[int, str, str]]
DOCS = Path(__file__).parents[3] / "docs"
REGISTRY = load_registry()
PAPERS = {c.record.name: c for c in REGISTRY.of_kind("paper") if c.built_in}
ANYWHERE = [n for n, c in PAPERS.items() if make_settings(paper_path(c), {}).model == ("demo",)]

PLUGIN = """
from pathlib import Path
from xaibench.api import PaperRecord, hookimpl

def ours(name):
    \"""Ours, on the demo.\"""
    return Path(__file__).parent / f"{name}.toml"

@hookimpl
def xaibench_papers():
    names = ("ours", "lost")
    return [PaperRecord(name=n, target="xaibench_local_acme:ours", summary="Ours.", minutes=2) for n in names]
"""


@pytest.fixture
def acme(tmp_path: Path) -> str:
    """A plugin file with a run file, and one that it lost."""
    (tmp_path / "acme.py").write_text(PLUGIN)
    (tmp_path / "ours.toml").write_text('dataset = "demo"\nexplainer = "edges"\nmetric = "sparseness"\nlimit = 4\n')
    return str(tmp_path / "acme.py")


def test_every_run_file_of_the_package_is_registered_and_stands_in_the_docs() -> None:
    packaged = {p.name: p.read_text() for p in next(iter(map(paper_path, PAPERS.values()))).parent.glob("*.toml")}
    assert {f"{n}.toml" for n in PAPERS} == set(packaged)
    assert {p.name: p.read_text() for p in (DOCS / "examples" / "papers").glob("*.toml")} == packaged


def test_the_pages_show_how_to_run_each_and_what_it_took() -> None:
    text = "".join(p.read_text() for p in (DOCS / "how-to").glob("papers*.md"))
    assert {n for n in PAPERS if f"papers/{n}" not in text} == set()
    assert {n for n, c in PAPERS.items() if c.record.minutes is None and not n.endswith("-full")} == set()


@pytest.mark.parametrize("name", ANYWHERE)
def test_it_plans_and_every_cell_can_run(name: str) -> None:
    settings = make_settings(paper_path(PAPERS[name]), {"limit": 8, "threads": 1})
    prepared = prepare(settings, REGISTRY, will_run=False)
    assert prepared.plan.cells
    reasons = {c.reason for c in prepared.plan.cells if c.reason}
    assert all(re.search("mask|counterpart", reason) for reason in reasons), reasons


@LONG
@pytest.mark.parametrize("name", [n for n in ANYWHERE if not n.endswith("-full")])
def test_it_runs(name: str, tmp_path: Path, cli: Cli) -> None:
    code, _, err = cli("eval", f"papers/{name}", "--limit", 2, "-q", "-o", tmp_path / "run")
    assert code == 0, err


def test_a_name_leads_to_the_file_and_a_wrong_one_to_near_names(cli: Cli) -> None:
    assert find_run_file("papers/tsigos-2024") == str(paper_path(PAPERS["tsigos-2024"]))
    assert find_run_file("papers/xaibench/tsigos-2024") == find_run_file("papers/tsigos-2024")
    assert find_run_file("mine/run.toml") == "mine/run.toml"
    code, _, err = cli("eval", "papers/tsigos", "--dry-run")
    assert code == UnknownComponent.exit_code
    assert "no paper called 'tsigos'" in err and "tsigos-2024" in err and "tsigos-2025" in err


def test_a_file_of_that_path_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "tsigos-2024").write_text("limit = 3\n")
    assert make_settings(find_run_file("papers/tsigos-2024"), {}).limit == 3


def test_flags_override_the_file() -> None:
    settings = make_settings(find_run_file("papers/tsigos-2024"), {"dataset": ("faces",), "limit": 7})
    assert (settings.dataset, settings.limit, settings.target) == (("faces",), 7, "predicted")


def test_a_plugin_brings_a_run_file(acme: str, tmp_path: Path, cli: Cli) -> None:
    code, _, err = cli("eval", "papers/ours", "--plugin", acme, "--no-controls", "-q", "-o", tmp_path / "run")
    assert code == 0, err
    with pytest.raises(PluginError, match=r"gives no run file: there is no file .*lost\.toml"):
        find_run_file("papers/lost", [acme])


def test_they_are_listed_with_paper_and_minutes(acme: str, cli: Cli) -> None:
    code, out, _ = cli("list", "papers", "--plugin", acme, "--json")
    rows = {r["name"]: r for r in json.loads(out)["components"]}
    assert code == 0 and {r["kind"] for r in rows.values()} == {"paper"}
    assert rows["local/ours"]["minutes"] == 2
    assert "Tsigos et al. 2024" in rows["xaibench/tsigos-2024"]["source"]
    assert rows["xaibench/tsigos-2024"].get("minutes") == PAPERS["tsigos-2024"].record.minutes
    _, out, _ = cli("info", "gowrisankar-thing")
    assert "Claimed: removal and insertion mislead" in " ".join(out.split())
