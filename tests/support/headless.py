"""A headless Chromium for tests of the page, and why there is none."""

import base64
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
    """Open a page at a width and in a theme, and wait until every chart is drawn."""
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": theme}]}
    )
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(page.as_uri())
    end = time.monotonic() + 60
    while not browser.execute_script("return document.documentElement.dataset.charts"):
        assert time.monotonic() < end, "the charts are not drawn after a minute"
        time.sleep(0.05)


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
