"""A headless Chromium for tests of the page, and why there is none."""

import base64
import json
import shutil
import time
from importlib.util import find_spec
from pathlib import Path

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
MISSING = ", ".join(
    name
    for name, place in (
        ("chromium", CHROMIUM), ("chromedriver", DRIVER),
        *((module, find_spec(module)) for module in ("selenium", "axe_core_python")),
    )
    if place is None
)  # fmt: skip
_FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
)  # fmt: skip


def open_browser(profile):
    """A browser that keeps its console and every request that a page makes."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    for flag in (*_FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.binary_location = CHROMIUM
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return webdriver.Chrome(options=options, service=Service(DRIVER))


def open_page(browser, page, width=1200, theme="light"):
    """Open a file or an address at a width and in a theme, and wait until every chart is drawn."""
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": theme}]}
    )
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(page.as_uri() if isinstance(page, Path) else page)
    wait_for(lambda: browser.execute_script("return document.documentElement.dataset.charts"), "every chart is drawn")


def wait_for(condition, what="it comes true", seconds=60):
    """Wait until a condition holds; the assertion that it does not says ``what``."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not after {seconds} s: {what}"
        time.sleep(0.02)


def complaints(browser):
    """Errors and warnings of the console since the last time."""
    return [e["message"] for e in browser.get_log("browser") if e["level"] in ("SEVERE", "WARNING")]


def requests(browser):
    """The addresses that were asked for since the last time, without pages themselves and what they hold inline."""
    events = (json.loads(entry["message"])["message"] for entry in browser.get_log("performance"))
    sent = [e["params"] for e in events if e["method"] == "Network.requestWillBeSent"]
    urls = [s["request"]["url"] for s in sent if s.get("type") != "Document"]
    return [u for u in urls if not u.startswith(("data:", "blob:"))]


def tab_to(browser, selector, most=120):
    """Press Tab until an element has the focus, as one does who has no pointer; the element."""
    from selenium.webdriver import ActionChains, Keys

    for _ in range(most):
        ActionChains(browser).send_keys(Keys.TAB).perform()
        if browser.execute_script("return document.activeElement.matches(arguments[0])", selector):
            return browser.switch_to.active_element
    raise AssertionError(f"{most} presses of Tab do not reach {selector}")


def overflowing(browser):
    """What reaches beyond a sheet of A4 when the page is laid out as wide as one, a line each."""
    browser.execute_script("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 703, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    )
    over = browser.execute_script(
        "return [...document.querySelectorAll('main *')].filter(e => e.getClientRects().length && "
        "!e.closest('.hidden, svg') && e.getBoundingClientRect().right > innerWidth + 1)"
        ".map(e => e.outerHTML.slice(0, 100))"
    )
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    return over


def axe_violations(browser):
    """What axe calls serious or critical: rule and the places, a line each."""
    import axe_core_python

    browser.execute_script((Path(axe_core_python.__file__).parent / "axe.min.js").read_text("utf-8"))
    found = browser.execute_async_script("axe.run().then(arguments[0])")
    bad = [v for v in found["violations"] if v["impact"] in ("serious", "critical")]
    return [f"{v['id']}: {node['html'][:200]}" for v in bad for node in v["nodes"]]


def printed(browser, path):
    """Print the page to a PDF."""
    given = browser.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True, "printBackground": True})
    path.write_bytes(base64.b64decode(given["data"]))
    return path
