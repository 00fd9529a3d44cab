"""The picture browser as a reader uses it, in headless Chromium: keyboard, filters, zoom, narrow, print, hostile names."""

import numpy as np
import pyarrow as pa
import pytest
from headless import complaints, open_page, printed, wait_for
from report_tables import METRIC, HandMadeRun, built_in_sections, map_table, run_tables

from xaibench_report.page.report_context import ReportContext
from xaibench_report.page.report_page import write_report
from xaibench_report.values.run_values import ScoreInfo

INFO = ScoreInfo(controls=frozenset({"xaibench/random"}), families={METRIC: "faithfulness"})
HOSTILE = {
    "s03": "<img src=x onerror=alert(1)>",
    "s05": "</script><script>alert(1)</script>",
    "s07": "a\x1b\u202e\x00b{{ 7*7 }}",
}
MASK = np.pad(np.ones((3, 3), bool), 3)[:8, :8]


class Pictures(HandMadeRun):
    def picture(self, sample):
        return np.full((8, 8, 3), 128, np.uint8), MASK


def renamed(table):
    names = [HOSTILE.get(s, s) for s in table["sample"].to_pylist()]
    return table.set_column(table.schema.get_field_index("sample"), "sample", pa.array(names))


def hostile_context():
    tables = run_tables()
    tables = type(tables)(
        scores=renamed(tables.scores), predictions=renamed(tables.predictions), commits=tables.commits,
        samples=pa.table({
            "sample": [HOSTILE.get(f"s{i:02d}", f"s{i:02d}") for i in range(12)],
            "label": ["fake" if i % 2 else "real" for i in range(12)],
        }),
    )  # fmt: skip
    return ReportContext(run=Pictures(renamed(map_table()), object(), ""), tables=tables, info=INFO)


@pytest.fixture(scope="module")
def driver(browser, tmp_path_factory):
    page = tmp_path_factory.mktemp("page") / "report.html"
    write_report(hostile_context(), [s for s in built_in_sections() if s.record.name == "maps"], page)
    complaints(browser)
    open_page(browser, page)
    return browser


@pytest.fixture
def run(driver):
    def script(text, *arguments):
        return driver.execute_script(text, *arguments)

    script("location.hash = ''; for (const s of document.querySelectorAll('.browser select[data-filter], .browser "
           "select[data-column]')) s.value = ''; document.querySelector('[data-filter=reason]')"
           ".dispatchEvent(new Event('change', {bubbles: true})); document.querySelector('[data-do=reset]').click();")  # fmt: skip
    return script


STATUS = "return document.querySelector('.browser-status').textContent"


def wait_for_status(run, words):
    wait_for(lambda: words in run(STATUS), f"the status says {words!r}")


def press(driver, *keys):
    view = driver.find_element("css selector", ".browser-view")
    driver.execute_script("arguments[0].focus()", view)
    for key in keys:
        view.send_keys(key)


def choose(run, selector, value):
    run("const s = document.querySelector(arguments[0]); s.value = arguments[1]; "
        "s.dispatchEvent(new Event('change', {bubbles: true}))", selector, value)  # fmt: skip


def test_pictures_are_browsed_and_zoomed_by_keyboard_alone(driver, run):
    from selenium.webdriver.common.keys import Keys

    wait_for_status(run, "Picture 1 of 12")
    press(driver, Keys.ARROW_RIGHT, "n")
    wait_for_status(run, "Picture 3 of 12")
    press(driver, Keys.ARROW_LEFT, Keys.END)
    wait_for_status(run, "Picture 12 of 12")
    assert run("return document.querySelector('[data-do=next]').disabled")
    press(driver, "+", "+")
    stage = "return document.querySelector('.browser-stage').style."
    assert run(stage + "transform") == "scale(4)"
    before = run(stage + "transformOrigin")
    press(driver, Keys.SHIFT + Keys.ARROW_RIGHT)
    assert run(stage + "transformOrigin") != before
    press(driver, "0", "o", "c")
    assert run(stage + "transform") == "scale(1)"
    assert run("return [...document.getElementById('browser').classList].sort()") == ["bare", "browser", "plain"]
    press(driver, "o", "c", Keys.HOME)
    wait_for_status(run, "Picture 1 of 12")


def test_a_click_enlarges_one_place_in_every_picture(driver, run):
    from selenium.webdriver import ActionChains

    wait_for_status(run, "Picture 1 of 12")
    frame = driver.find_element("css selector", ".browser-frame")
    ActionChains(driver).scroll_to_element(frame).move_to_element_with_offset(frame, 20, 0).click().perform()
    scales = run("return [...document.querySelectorAll('.browser-view .browser-stage')].map((s) => s.style.transform)")
    assert len(scales) == 4 and set(scales) == {"scale(2)"}  # picture, mask, two maps


def test_filters_leave_what_they_say(run):
    choose(run, "[data-column=label]", "real")
    wait_for_status(run, "Picture 1 of 6")
    choose(run, "[data-filter=reason]", "best")
    wait_for_status(run, ", best")
    shown = run("return [...document.querySelectorAll('[data-do=pick] option')].map((o) => o.textContent)")
    assert shown and all("best" in text for text in shown)
    choose(run, "[data-column=label]", "")
    choose(run, "[data-filter=explainer]", "random")
    titles = "return [...document.querySelectorAll('.browser-view figcaption')].map((c) => c.firstChild.textContent)"
    wait_for(lambda: run(titles) == ["picture", "mask", "random"])


def test_the_mask_comes_first_and_every_picture_says_what_is_seen(run):
    wait_for_status(run, "Picture 1 of 12")
    titles = run(
        "return [...document.querySelectorAll('.browser-view figcaption')].map((c) => c.firstChild.textContent)"
    )
    assert titles == ["picture", "mask", "gradcam", "random"]
    texts = run("return [...document.querySelectorAll('.browser-view .browser-base')].map((i) => i.alt)")
    assert len(texts) == 3 and "of the relevance inside the mask" in texts[1] and all(texts)
    assert (
        run("return document.querySelectorAll('.browser-view svg.line').length") == 3
    )  # over the picture and the maps


def test_hostile_names_are_text_and_nothing_else(driver, run):
    for i in range(12):
        choose(run, "[data-do=pick]", str(i))
        wait_for_status(run, f"Picture {i + 1} of 12")
    names = run("return [...document.querySelectorAll('[data-do=pick] option')].map((o) => o.textContent)")
    assert any("<img src=x onerror=alert(1)>" in n for n in names) and any("</script>" in n for n in names)
    assert any(r"a\x1b\u202e\x00b{{ 7*7 }}" in n for n in names)
    assert run("return document.querySelectorAll('img[src=x]').length") == 0
    assert run("return performance.getEntriesByType('resource').filter((e) => !e.name.startsWith('data:')).length") == 0
    assert complaints(driver) == []


def test_paper_holds_a_grid_of_the_first_pictures(driver, run, tmp_path):
    wait_for_status(run, "Picture 1 of 12")
    assert printed(driver, tmp_path / "page.pdf").stat().st_size > 10_000
    wait_for(lambda: run("return document.querySelectorAll('.browser-print section').length") == 12)
    assert run("return document.querySelectorAll('.browser-print figure').length") == 12 * 4
