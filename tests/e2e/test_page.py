"""The page against the real thing: servers, API, dispatcher, workers and a browser.

The reader's weights are drawn, not learnt: it finds a polyp in every frame, and nothing else.
"""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from PIL import Image
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from models.synthetic.frames import draw_frame
from service.launcher import Machine, running
from service.settings import Settings
from tests import page_site
from tests.browser import complaints
from tests.page_site import mark_words, text
from tests.readers import import_reader

pytestmark = pytest.mark.needs("chromium")
PATIENCE_S = 120


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    folder = tmp_path_factory.mktemp("page")
    with running(Settings(home=folder / "home"), lambda _: None) as started:
        import_reader(started.client, folder)
        yield started


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("frames")
    paths = []
    for number in range(3):
        drawn = draw_frame(number, domain="test", labels=frozenset({"polyp"}), patient=number, size=168)
        paths.append(folder / f"frame{number}.jpg")
        Image.fromarray(drawn.rgb).save(paths[-1])
    return paths


wait_for = partial(page_site.wait_for, within_s=PATIENCE_S)


def sign_in(browser: Chrome, machine: Machine) -> None:
    browser.get(machine.url + "/")
    browser.find_element(By.ID, "key").send_keys(machine.key, Keys.ENTER)
    wait_for(browser, "state", "No frames chosen")


def read(browser: Chrome, paths: list[Path]) -> None:
    browser.find_element(By.ID, "files").send_keys("\n".join(map(str, paths)))
    wait_for(browser, "state", "to be read with lesion-detector v1 (balanced)")
    browser.find_element(By.ID, "read").click()


def opaque_pixels(browser: Chrome, image: str) -> int:
    """How many pixels of a shown image are not fully transparent, as the browser decoded it."""
    script = """
        const image = document.getElementById(arguments[0]);
        const canvas = Object.assign(document.createElement('canvas'), {
          width: image.naturalWidth, height: image.naturalHeight });
        const context = canvas.getContext('2d');
        context.drawImage(image, 0, 0);
        const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
        return data.filter((value, place) => place % 4 === 3 && value > 0).length;
    """
    return int(browser.execute_script(script, image))


def test_frames_in_findings_and_maps_out(
    browser: Chrome, machine: Machine, frames: list[Path], tmp_path: Path
) -> None:
    bad = tmp_path / "not really.jpg"
    bad.write_text("words")
    sign_in(browser, machine)
    read(browser, [*frames, bad])
    wait_for(browser, "state", "4 frames, 3 with findings, 1 unreadable.")

    assert "lesion-detector, version 1" in text(browser, "passport")
    assert "no evidence recorded" in text(browser, "findings")
    assert [words[:2] for words in mark_words(browser)] == ["P "]
    assert opaque_pixels(browser, "frame") == 168 * 168

    browser.find_element(By.ID, "toggle-map").click()
    shown = browser.find_element(By.ID, "map").is_displayed
    WebDriverWait(browser, PATIENCE_S).until(lambda _: shown() and opaque_pixels(browser, "map") > 0)

    browser.find_element(By.TAG_NAME, "body").send_keys(Keys.END)
    assert text(browser, "picture-note") == "Not read. It is not a JPEG, PNG or TIFF image."
    assert complaints(browser) == []


def test_zip_is_read_in_blocks(browser: Chrome, machine: Machine, frames: list[Path], tmp_path: Path) -> None:
    archive = tmp_path / "frames.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for number in range(20):
            packed.write(frames[number % 3], f"capsule/{number:03}.jpg")
    sign_in(browser, machine)
    read(browser, [archive])
    wait_for(browser, "state", "20 frames, 20 with findings, 0 unreadable.")
    assert "frames.zip" not in browser.current_url
    assert complaints(browser) == []


def test_request_without_any_frame_is_refused_with_its_reason(
    browser: Chrome, machine: Machine, tmp_path: Path
) -> None:
    bad = tmp_path / "report.pdf"
    bad.write_text("%PDF-1.7")
    sign_in(browser, machine)
    read(browser, [bad])
    wait_for(browser, "intake-error", "None of the frames is a JPEG, PNG, TIFF or zip.")
    assert "report.pdf" in text(browser, "tray")


def newest_reading(browser: Chrome) -> WebElement:
    """The first of the list, which is fetched after the sign-in."""
    found = WebDriverWait(browser, PATIENCE_S).until(
        lambda driver: driver.find_elements(By.CSS_SELECTOR, "#recent a")
    )
    return found[0]


@contextmanager
def offline(browser: Chrome) -> Iterator[None]:
    """Without a network; it comes back even if the test fails, for the browser serves the next ones."""
    conditions = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    browser.execute_cdp_cmd("Network.enable", {})
    browser.execute_cdp_cmd("Network.emulateNetworkConditions", conditions | {"offline": True})
    try:
        yield
    finally:
        browser.execute_cdp_cmd("Network.emulateNetworkConditions", conditions | {"offline": False})


def test_reading_is_opened_again_from_the_list(browser: Chrome, machine: Machine, frames: list[Path]) -> None:
    job = machine.client.wait(machine.client.analyze(frames[:2]))
    sign_in(browser, machine)
    newest = newest_reading(browser)
    assert newest.get_attribute("href").endswith(f"#/analyses/{job['result']['analysis_id']}")
    newest.click()
    wait_for(browser, "state", "2 frames, 2 with findings, 0 unreadable.")


def test_the_report_of_a_version_is_saved_from_its_passport(
    browser: Chrome, machine: Machine, frames: list[Path]
) -> None:
    for made in machine.client.jobs(kind="export"):
        machine.client.wait(made)
    sign_in(browser, machine)
    read(browser, frames[:1])
    wait_for(browser, "state", "1 frame, 1 with findings, 0 unreadable.")
    browser.find_element(By.XPATH, "//button[text()='Save report']").click()
    fetched = (
        "return performance.getEntriesByType('resource').some((one) => one.name.endsWith('format=html'))"
    )
    WebDriverWait(browser, PATIENCE_S).until(lambda _: browser.execute_script(fetched))
    assert not browser.find_element(By.ID, "trouble").is_displayed()
    assert complaints(browser) == []


def test_lost_connection_is_said_and_survived(browser: Chrome, machine: Machine, frames: list[Path]) -> None:
    machine.client.wait(machine.client.analyze(frames[:1]))
    sign_in(browser, machine)
    newest = newest_reading(browser)
    with offline(browser):
        newest.click()
        wait_for(browser, "trouble", "No connection to the service.")
        assert text(browser, "link-state") == "not connected"
    wait_for(browser, "state", "1 frame, 1 with findings, 0 unreadable.")
    assert not browser.find_element(By.ID, "trouble").is_displayed()
