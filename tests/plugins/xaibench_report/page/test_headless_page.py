"""The page in a headless Chromium: sorting, filtering, and what the hostile name of a component does: nothing."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from headless import complaints, open_page, requests
from report_tables import METRIC, N, report_page, run_tables, sample

from xaibench.api import ScoreSpec
from xaibench.store.schema import SAMPLES
from xaibench_report.values.run_values import ScoreInfo

IMAGE = "<img src=x onerror=alert(1)>"
TEMPLATE = "{{ 7*7 }} </script><script>alert(2)</script>"
EXPLAINERS = (
    "xaibench/gradcam",
    f"acme/{IMAGE}",
    f"acme/{TEMPLATE}",
    "acme/control\x1b[31m\u202e",
    "xaibench/random",
    "xaibench/edges",
)
INFO = ScoreInfo(
    controls=frozenset({"xaibench/random", "xaibench/edges"}),
    families={METRIC: "faithfulness", "acme/other": f"family {IMAGE}"},
    specs={(METRIC, "auc"): ScoreSpec(name="auc", better="lower", description=TEMPLATE, untouched="start")},
)
ROWS = "return [...document.querySelectorAll('[data-board=\"0\"] table.board tbody tr')].filter(r => !r.hidden && r.offsetParent).map(r => r.cells[0].textContent)"


def hostile(table):
    """The table with a sample id and a method that are HTML."""
    names = {"sample": ("s01", IMAGE), "method": ("swap", TEMPLATE)}
    rows = [r | {k: new for k, (old, new) in names.items() if r.get(k) == old} for r in table.to_pylist()]
    return pa.Table.from_pylist(rows, table.schema)


def hostile_tables():
    tables = run_tables(explainers=EXPLAINERS)
    rows = tables.scores.to_pylist()
    other = [r | {"metric": "acme/other", "better": "higher", "value": (r["value"] * 7) % 1} for r in rows]
    empty = dict.fromkeys(SAMPLES.names)
    texts = {f.name: "" for f in SAMPLES if pa.types.is_string(f.type) and not f.nullable}
    samples = [empty | texts | sample(i) | {"dataset": "xaibench/faces", "order": i} for i in range(N)]
    tables = replace(
        tables,
        scores=pa.Table.from_pylist(rows + other, tables.scores.schema),
        samples=pa.Table.from_pylist(samples, SAMPLES),
    )
    changed = {name: hostile(getattr(tables, name)) for name in ("scores", "predictions", "curves", "samples")}
    return replace(tables, **changed)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    report_page(folder, hostile_tables(), INFO, lambda sample: np.full((16, 16, 3), 90, dtype=np.uint8))
    return folder / "report.html"


def test_hostile_names_do_nothing_and_the_page_asks_for_nothing(browser, page):
    complaints(browser), requests(browser)
    open_page(browser, page)
    assert complaints(browser) == []
    assert requests(browser) == []
    assert browser.execute_script("return document.querySelectorAll('img[src=x], [onerror]').length") == 0
    body = browser.execute_script("return document.body.innerText")
    assert IMAGE in body and "{{ 7*7 }} </script>" in body and "control\\x1b[31m\\u202e" in body
    source = browser.execute_script("return document.documentElement.innerHTML")
    assert "\x1b" not in source and "\u202e" not in source
    drawn = browser.execute_script(
        "return [...document.querySelectorAll('.vega')].map(v => v.querySelectorAll('svg').length)"
    )
    assert set(drawn) == {1} and len(drawn) == 8, drawn
    assert all(
        browser.execute_script(
            "return [...document.querySelectorAll('.vega')].map(v => v.getAttribute('aria-label').length > 40)"
        )
    )


def test_a_board_sorts_by_keyboard_and_keeps_controls_below_the_rule(browser, page):
    from selenium.webdriver.common.keys import Keys

    open_page(browser, page)
    start = browser.execute_script(ROWS)
    assert len(start) == 6 and set(start[4:]) == {"edges", "random"}
    button = browser.find_elements("css selector", '[data-board="0"] th button')[1]
    orders, states = [], []
    for _ in range(3):
        button.send_keys(Keys.ENTER)
        orders.append(browser.execute_script(ROWS))
        states.append(browser.execute_script("return arguments[0].closest('th').ariaSort", button))
    assert states == ["ascending", "descending", "none"]
    assert orders[0][:4] == orders[1][:4][::-1] and orders[2] == start
    assert all(set(order[4:]) == {"edges", "random"} for order in orders)


def test_boards_are_filtered_by_keyboard(browser, page):
    from selenium.webdriver.common.keys import Keys

    open_page(browser, page)
    form = browser.find_element("id", "board-filters")
    field = {name: form.find_element("name", name) for name in ("family", "part", "explainer", "controls")}
    field["controls"].send_keys(Keys.SPACE)
    assert len(browser.execute_script(ROWS)) == 4
    field["explainer"].send_keys("gradcam")
    assert browser.execute_script(ROWS) == ["gradcam"]
    assert "2 of 12 rows in 2 of 2 boards" in form.find_element("css selector", "output").text
    field["family"].send_keys("faith")
    assert form.find_element("css selector", "output").text.endswith("in 1 of 2 boards")
    cell = browser.find_element("css selector", '[data-board="0"] tbody tr td')
    whole = cell.text
    field["part"].send_keys("label: f")
    assert "n=6" in cell.text and cell.text != whole
    assert "label: fake" in browser.find_element("css selector", '[data-board="0"] .part').text
    form.find_element("css selector", "button").send_keys(Keys.ENTER)
    assert browser.execute_async_script("setTimeout(() => arguments[0](1), 20)") == 1
    assert len(browser.execute_script(ROWS)) == 6 and cell.text == whole
