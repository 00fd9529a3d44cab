"""The whole page of a run in headless Chromium: of real photographs, and of a run whose every text is hostile."""

import shutil
import subprocess

import numpy as np
import pytest
from headless import axe_violations, complaints, open_page, overflowing, printed, requests, tab_to, wait_for
from shared_faces import FACES
from small_networks import PairNet
from view_server import TOKEN, served

from xaibench import evaluate
from xaibench_report.page.report_context import ReportContext
from xaibench_report.page.report_page import sections_of, write_report
from xaibench_report.view.live_run import LiveRun

IMAGE = "<img src=x onerror=alert(1)>"
SCRIPT = "</script><script>alert(2)</script>"
TEMPLATE = "{{ 7*7 }} {% raw %}"
CONTROL = "swap\x1b[31m\u202e\x07"
CHOICE = {
    "explainers": ["gradcam", "input-x-gradient"],
    "metrics": ["relevance-mass", "deletion:steps=4"],
    "isolation": False,
    "threads": 1,
    "maps": "keep",
}
CARD = {"size": 48, "target_layer": "body"}
ROWS = "return [...document.querySelectorAll('[data-board=\"0\"] table.board tbody tr')].filter((r) => r.offsetParent)"
STATUS = "return document.querySelector('.browser-status').textContent"


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """24 photographs, a detector that nobody trained, two explainers and every control."""
    if not (FACES / "manifest.csv").is_file():
        pytest.skip("no face photographs: set XAIBENCH_FACES")
    folder = tmp_path_factory.mktemp("faces")
    return evaluate(PairNet(), str(FACES), card=CARD, limit=24, out=folder / "run", **CHOICE)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """Ids, a method, a column, a class and the words of a card that mean something to browsers and to templates."""
    draw = np.random.default_rng(0)
    mask = np.zeros((32, 32), np.uint8)
    mask[4:20, 6:18] = 255
    ids = [f"{name} {i}" for i, name in enumerate((IMAGE, SCRIPT, TEMPLATE, CONTROL, "a/../../b", "'\"&amp;"))]
    pictures = {
        "images": draw.integers(0, 256, (12, 32, 32, 3), dtype=np.uint8),
        "labels": ["real", "fake"] * 6,
        "ids": [name for name in ids for name in (f"real {name}", name)],
        "methods": [CONTROL, IMAGE, TEMPLATE, CONTROL, SCRIPT, IMAGE] * 2,
        "masks": [None, mask] * 6,
        "pairs": [None if i % 2 == 0 else i - 1 for i in range(12)],
        "columns": {"generator": [IMAGE, SCRIPT, TEMPLATE] * 4},
    }
    card = {**CARD, "classes": ("real", TEMPLATE), "real": "real", "licence": SCRIPT, "training_data": TEMPLATE}
    folder = tmp_path_factory.mktemp("hostile")
    return evaluate(PairNet(), pictures, card=card, target="fake", controls=False, out=folder / "run", **CHOICE)


@pytest.fixture(scope="module", params=["faces", "hostile"])
def page(request, tmp_path_factory):
    run = request.getfixturevalue(request.param)
    path = tmp_path_factory.mktemp("page") / "report.html"
    return write_report(ReportContext.read(run), sections_of(run), path)


def names(browser):
    return [row.find_element("css selector", "th").text for row in browser.execute_script(ROWS)]


def assert_nothing_happened(browser):
    """No alert is open, or the browser would refuse; nothing was put into the page; the console is empty."""
    assert browser.execute_script("return document.querySelectorAll('img[src=x], [onerror]').length") == 0
    assert "49 {% raw" not in browser.execute_script("return document.body.innerText")
    source = browser.execute_script("return document.documentElement.innerHTML")
    assert not {"\x1b", "\u202e", "\x07"} & set(source)
    assert complaints(browser) == []


def test_nothing_is_asked_for_and_nothing_happens(browser, page):
    complaints(browser), requests(browser)
    open_page(browser, page)
    assert requests(browser) == []
    drawn = browser.execute_script(
        "return [...document.querySelectorAll('.vega')].map((v) => v.querySelectorAll('svg').length)"
    )
    assert len(drawn) > 4
    assert set(drawn) == {1}
    assert_nothing_happened(browser)


def test_boards_are_sorted_and_filtered_and_pictures_browsed_by_keyboard_alone(browser, page):
    from selenium.webdriver import Keys

    open_page(browser, page)
    every = names(browser)
    tab_to(browser, "#board-filters [name=explainer]").send_keys("grad")
    assert [n for n in names(browser) if "grad" not in n] == []
    browser.switch_to.active_element.send_keys(Keys.BACKSPACE * 4)
    tab_to(browser, "#board-filters [name=controls]").send_keys(Keys.SPACE)
    assert sorted(names(browser)) == ["gradcam", "input-x-gradient"]
    browser.switch_to.active_element.send_keys(Keys.SPACE)
    assert names(browser) == every
    header = tab_to(browser, '[data-board="0"] th:nth-child(2) button')
    orders = []
    for _ in range(2):
        header.send_keys(Keys.ENTER)
        orders.append(names(browser)[:2])
    assert orders[0] == orders[1][::-1]
    view = tab_to(browser, ".browser-view")
    wait_for(lambda: "Picture 1 of" in browser.execute_script(STATUS))
    view.send_keys(Keys.ARROW_RIGHT, "+")
    wait_for(lambda: "Picture 2 of" in browser.execute_script(STATUS))
    assert browser.execute_script("return document.querySelector('.browser-stage').style.transform") == "scale(2)"
    assert browser.execute_script(
        "return [...document.querySelectorAll('.browser-view img')].every((i) => i.naturalWidth > 0)"
    )
    assert_nothing_happened(browser)


@pytest.mark.parametrize(("width", "theme"), [(390, "dark"), (1200, "light")])
def test_nothing_scrolls_sideways_and_axe_finds_nothing_serious(browser, page, width, theme):
    open_page(browser, page, width, theme)
    browser.execute_script("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    wide = browser.execute_script("return [document.documentElement.scrollWidth, window.innerWidth]")
    assert wide[0] <= wide[1] == width
    assert axe_violations(browser) == []


def test_a_print_cuts_nothing(browser, page, tmp_path):
    """No element reaches beyond the sheet when the page is laid out as wide as one, and the edge of the PDF is blank."""
    open_page(browser, page)
    assert overflowing(browser) == []
    pdf = printed(browser, tmp_path / "page.pdf")
    assert pdf.read_bytes().startswith(b"%PDF")
    if shutil.which("pdftoppm"):
        from PIL import Image

        subprocess.run(["pdftoppm", "-r", "30", "-gray", pdf, tmp_path / "sheet"], check=True)
        sheets = [np.asarray(Image.open(p)) for p in sorted(tmp_path.glob("sheet*.pgm"))]
        assert len(sheets) > 2
        assert all((s[:, -8:] > 250).all() and (s[:, :8] > 250).all() for s in sheets)


def test_hostile_texts_are_texts_on_the_served_page_too(browser, hostile):
    live = LiveRun(lambda: hostile)
    live.start()
    with served(live, f"run {IMAGE}") as client:
        wait_for(lambda: client.own("status").json()["ready"])
        complaints(browser), requests(browser)
        open_page(browser, f"http://127.0.0.1:{client.port}/{TOKEN}/")
        wait_for(lambda: "Picture 1 of 12" in browser.execute_script(STATUS))
        assert browser.execute_script("return document.querySelectorAll('.vega svg').length") > 4
        for i in range(12):
            browser.execute_script("document.querySelector('[data-do=next]').click()")
            wait_for(lambda i=i: f"Picture {min(i + 2, 12)} of 12" in browser.execute_script(STATUS))
        body = browser.execute_script("return document.body.innerText")
        assert f"run {IMAGE}" in body
        assert "{{ 7*7 }}" in body
        assert r"swap\x1b[31m\u202e\x07" in body
        assert_nothing_happened(browser)
        home = f"http://127.0.0.1:{client.port}/{TOKEN}/"
        assert [u for u in requests(browser) if not u.startswith(home)] == []
