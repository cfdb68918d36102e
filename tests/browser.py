"""Fixture of a headless Chromium, and what it complained about."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver

from tests.prerequisites import require

# Without them Chromium calls home at every start, and a closed network logs each refusal.
_QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """One browser for the run: it takes seconds to start."""
    require("chromium")
    folder = tmp_path_factory.mktemp("chromium")
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for argument in (*_QUIET, f"--user-data-dir={folder}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    driver = webdriver.Chrome(options=options, service=service)
    try:
        yield driver
    finally:
        driver.quit()


@pytest.fixture
def browser(chromium: webdriver.Chrome, tmp_path: Path) -> webdriver.Chrome:
    """An empty page of 1366 x 768 that prefers dark and keeps its downloads under `tmp_path`."""
    chromium.get("about:blank")
    chromium.get_log("browser")
    resize(chromium, 1366, 768)
    prefer(chromium, "dark")
    downloads = {"behavior": "allow", "downloadPath": str(tmp_path / "downloads")}
    chromium.execute_cdp_cmd("Browser.setDownloadBehavior", downloads)
    return chromium


def resize(driver: webdriver.Chrome, width_px: int, height_px: int) -> None:
    metrics = {"width": width_px, "height": height_px, "deviceScaleFactor": 1, "mobile": width_px < 500}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def prefer(driver: webdriver.Chrome, theme: str) -> None:
    feature = {"name": "prefers-color-scheme", "value": theme}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})


def complaints(driver: webdriver.Chrome) -> list[str]:
    """Errors of scripts and violations of the policy; answers like 401 are the page's business."""
    lines = [(entry["level"], entry["message"]) for entry in driver.get_log("browser")]
    return [
        message
        for level, message in lines
        if level in ("SEVERE", "WARNING") and "Failed to load resource" not in message
    ]
