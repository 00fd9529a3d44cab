"""Sections of the page from other plugins, and the built-in ones beside them."""

import json
import re
import sys

import pytest
from report_tables import METRIC, built_in_sections, markup, report_page, run_tables

from xaibench import open_run
from xaibench.discovery.registry import load_registry
from xaibench_report.page import report_context, report_sections
from xaibench_report.values.run_values import ScoreInfo
from xaibench_testing import fake_distribution

INFO = ScoreInfo(controls=frozenset({"xaibench/random"}), families={METRIC: "faithfulness"})
ORDER = ["answer", "marks", "detectors", "boards", "agreement", "curves", "maps", "left-out", "provenance"]

ACME = """
import sys
from xaibench.api import SectionRecord, hookimpl

def record(name, position=50, title="Notes"):
    return SectionRecord(name="acme-" + name, title=title, target="acme:" + name, summary="A section.", position=position)

@hookimpl
def xaibench_report_sections():
    return [RECORDS]

def notes(run):
    print("a line of a plugin")
    return f"<p>{len(run.scores)} values</p>"

def hello(run):
    return "<p><b>hello</b></p>"

def nothing(run):
    return None

def boards(run):
    return f"<p>{len(run.leaderboards().boards)} boards</p>"

def broken(run):
    raise ValueError("<script>alert(1)</script>\\nand more")

def leaving(run):
    sys.exit(3)

def number(run):
    return 3

def surrogate(run):
    return "<p>\\ud800</p>"
"""


@pytest.fixture
def acme(tmp_path, monkeypatch):
    """Install the plugin ``xaibench-acme`` with these records and return its sections."""
    monkeypatch.delitem(sys.modules, "acme", raising=False)

    def install(*records):
        source = ACME.replace("RECORDS", ", ".join(records))
        fake_distribution(tmp_path / "site", "xaibench-acme", source=source, module="acme")
        monkeypatch.syspath_prepend(tmp_path / "site")  # after writing: it drops what the import system has cached
        registry = load_registry()
        assert not registry.failures
        return [s for s in registry.of_kind("section") if not s.origin.built_in]

    yield install
    sys.modules.pop("acme", None)


def anchors(page):
    """The anchors of the sections in their order; the table of contents names the same."""
    headings = re.findall(r'<h2 id="(.*?)">', page)
    assert re.findall(r'<a href="#(.*?)">', page.partition("</nav>")[0]) == headings
    return headings


def test_the_built_in_sections_stand_in_their_order(tmp_path):
    page = report_page(tmp_path, run_tables(), INFO)
    assert anchors(page) == ORDER
    titles = re.findall(r"<h2 .*?>(.*?)</h2>", page)
    assert titles == [
        "Answer",
        "Marks",
        "Detectors",
        "Leaderboards",
        "Agreement",
        "Curves",
        "Pictures and maps",
        "Left out",
        "Provenance",
    ]


def test_a_section_stands_at_its_position_under_its_title(acme, tmp_path):
    sections = acme("record('hello', 35)")
    page = report_page(tmp_path, run_tables(), INFO, sections=sections)
    assert anchors(page) == [*ORDER[:6], "xaibench-acme/acme-hello", *ORDER[6:]]
    assert '<h2 id="xaibench-acme/acme-hello">Notes</h2>\n<p><b>hello</b></p>' in page


def test_sections_of_equal_position_stand_by_name(acme, tmp_path):
    sections = acme("record('number')", "record('hello')")
    page = report_page(tmp_path, run_tables(), INFO, sections=sections)
    assert anchors(page)[7:9] == ["xaibench-acme/acme-hello", "xaibench-acme/acme-number"]


def test_a_section_with_nothing_to_show_is_left_out(acme, tmp_path):
    page = report_page(tmp_path, run_tables(), INFO, sections=acme("record('nothing', title='Nothing here')"))
    assert anchors(page) == ORDER
    assert "Nothing here" not in page


def test_titles_are_escaped(acme, tmp_path):
    sections = acme("""record('hello', title="<script>alert('t')</script>")""")
    page = report_page(tmp_path, run_tables(), INFO, sections=sections)
    assert "<script" not in markup(page)
    assert page.count("&lt;script&gt;alert(&#39;t&#39;)") == 2  # the heading and the table of contents


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("broken", "ValueError: <script>alert(1)</script> and more"),
        ("leaving", "SystemExit: 3"),
        ("number", "TypeError: it gave int, neither HTML as str nor None"),
        ("surrogate", "UnicodeEncodeError: "),
        ("absent", "PluginError: section 'xaibench-acme/acme-absent' (xaibench-acme 1.0) cannot be imported"),
    ],
)
def test_a_section_that_raises_costs_only_itself(acme, tmp_path, capsys, name, error):
    sections = acme(f"record({name!r}, 35, 'Broken')", "record('hello')")
    page = report_page(tmp_path, run_tables(), INFO, sections=sections)
    assert anchors(page) == [*ORDER[:6], f"xaibench-acme/acme-{name}", "maps", "xaibench-acme/acme-hello", *ORDER[7:]]
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"section acme-{name} of xaibench-acme failed: {error}")
    text = error.replace("<", "&lt;").replace(">", "&gt;").replace("'", "&#x27;")
    assert f'<p class="warn">section acme-{name} of xaibench-acme failed: {text}' in page
    assert "<script" not in markup(page)
    assert "<b>hello</b>" in page


# ---- the command ----------------------------------------------------------------------------------------------------


def test_the_command_shows_sections_of_installed_plugins(acme, toy_eval, cli, tmp_path, monkeypatch):
    (notes, *_) = acme("record('notes', 45)", "record('boards')", "record('broken')")
    assert toy_eval("-o", tmp_path / "run")[0] == 0
    builds = []
    build = report_context.build_leaderboards
    monkeypatch.setattr(report_context, "build_leaderboards", lambda *a: builds.append(a) or build(*a))
    code, out, err = cli("report", tmp_path / "run", "--json")
    page = (tmp_path / "run" / "report.html").read_text("utf-8")
    assert code == 0, err
    assert json.loads(out)["report"]  # what the section prints is elsewhere
    assert "a line of a plugin" in err
    assert "section acme-broken of xaibench-acme failed" in err
    run = open_run(tmp_path / "run")
    assert notes.load()(run) == "<p>12 values</p>"  # as its author tests it
    assert ">Notes</h2>\n<p>12 values</p>" in page
    assert "<p>1 boards</p>" in page
    assert len(builds) == 1  # a page builds the leaderboards once, for sections of plugins too


def test_the_command_shows_sections_of_the_files_that_the_run_named(toy_eval, cli, tmp_path):
    mine = tmp_path / "mine.py"
    mine.write_text(ACME.replace("acme:", "xaibench_local_mine:").replace("RECORDS", "record('hello')"), "utf-8")
    out = tmp_path / "run"
    assert toy_eval("--plugin", mine, "-o", out)[0] == 0
    assert cli("report", out)[0] == 0
    assert "local/acme-hello" in anchors((out / "report.html").read_text("utf-8"))
    mine.unlink()
    code, _, err = cli("report", out)
    assert code == 0
    assert f"sections of the run's own plugins are left out: plugin file '{mine}' does not exist" in err
    assert anchors((out / "report.html").read_text("utf-8"))[:3] == ["answer", "marks", "detectors"]


def test_a_baseline_that_is_not_there_is_refused(toy_eval, cli, tmp_path):
    assert toy_eval("-o", tmp_path / "run")[0] == 0
    code, _, err = cli("report", tmp_path / "run", "--baseline", "nobody")
    assert code == 2
    assert "no model 'nobody'" in err
    assert not (tmp_path / "run" / "report.html").exists()


def test_a_built_in_section_is_a_function_of_an_opened_run(toy_eval, tmp_path):
    assert toy_eval("-o", tmp_path / "run")[0] == 0
    run = open_run(tmp_path / "run")
    assert "12 pictures (8 fake, 4 real)" in report_sections.detectors(run)
    assert "local/rows" in report_sections.boards(run)
    assert report_sections.balance(run) is None
    own = [s for s in built_in_sections() if s.record.name != "maps"]  # the browser has a module of its own
    assert all(s.load() is getattr(report_sections, s.record.name.replace("-", "_")) for s in own)
