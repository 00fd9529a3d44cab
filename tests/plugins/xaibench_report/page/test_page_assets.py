"""What the page holds inline: scripts with their digests, and data that no text can leave."""

import base64
import hashlib
import html
import json
import re

import pytest
from report_tables import METRIC, report_page, run_tables

from xaibench_report.charts.chart_theme import _OF_PAGE
from xaibench_report.page.page_assets import json_script, policy, scripts, styles
from xaibench_report.page.report_page import PageSection, render_page
from xaibench_report.values.run_values import ScoreInfo

HOSTILE = ["</script><script>alert(1)</script>", "<!-- <script>", "{{ 7*7 }}", "<img src=x onerror=alert(1)>", "a & b"]


def test_data_comes_back_and_holds_no_mark_of_html():
    block = json_script("some-id", {"texts": HOSTILE, "n": 3, "none": None})
    found = re.fullmatch(r'<script type="application/json" id="some-id">([^<>&]*)</script>', block)
    assert json.loads(found[1]) == {"texts": HOSTILE, "n": 3, "none": None}


def test_control_characters_of_data_are_written_out():
    assert (
        json_script("a", ["x\x1b\u202ey"]) == '<script type="application/json" id="a">["x\\\\x1b\\\\u202ey"]</script>'
    )


@pytest.mark.parametrize("identity", ["", 'a"b', "a b", "ä"])
def test_an_id_is_letters_digits_and_hyphens(identity):
    with pytest.raises(ValueError, match="is no id of a data block"):
        json_script(identity, 1)


def test_numbers_that_json_has_not_are_refused():
    with pytest.raises(ValueError, match="Out of range"):
        json_script("a", float("nan"))


def digests(page):
    return set(re.findall(r"'sha256-(.*?)'", html.unescape(page)))


def digest(text):
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def test_the_policy_lets_run_what_the_page_brings_and_nothing_else(tmp_path):
    page = report_page(tmp_path, run_tables(), ScoreInfo(families={METRIC: "faithfulness"}))
    inline = re.findall(r"<script>(.*?)</script>", page.partition("</main>")[2], flags=re.DOTALL)
    assert len(inline) == len(scripts()) + 1  # Vega
    assert digests(page) == {digest(text) for text in inline}
    (given,) = re.findall(r'http-equiv="Content-Security-Policy" content="(.*?)"', page)
    assert given.startswith("default-src &#39;none&#39;;") and "connect-src" not in given and "eval" not in given


def test_a_script_of_another_plugin_runs_and_one_in_our_own_data_does_not():
    text = "hello()"
    own = PageSection(anchor="a", title="A", html=f"<script>{text}</script>")
    assert digest(text) not in digests(render_page("t", [own]))
    theirs = PageSection(anchor="b", title="B", html=f"<script>{text}</script>", built_in=False)
    assert digest(text) in digests(render_page("t", [own, theirs]))
    assert policy([]).endswith("script-src 'none'")


def test_the_page_names_the_colours_of_files():
    light = styles().partition("@media (prefers-color-scheme: dark)")[0]
    for colour, name in _OF_PAGE.items():
        assert f"{name.removeprefix('var(').removesuffix(')')}: {colour};" in light
