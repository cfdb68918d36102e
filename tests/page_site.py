"""The page served below a path prefix under its real policy, with API answers that a test made up."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from selenium.common.exceptions import TimeoutException
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from service.api.edge import PAGE_POLICY
from tests.browser import complaints

WEB = Path(__file__).parents[1] / "service" / "web"
PREFIX = "/hospital/enteron"


@dataclass
class Site:
    """Serves the page under a prefix; API answers are (status, headers, body) by path, used up one by one."""

    url: str = ""
    answers: dict[str, list[tuple[int, dict[str, str], Any]]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def answer(self, path: str, body: Any, *, status: int = 200, **headers: str) -> None:
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answers.setdefault(path, []).append((status, fields, body))

    def next_answer(self, path: str) -> tuple[int, dict[str, str], Any]:
        self.asked.append(path)
        waiting = self.answers.get(path, [])
        if not waiting:
            return 404, {}, {"code": "not_found", "title": "There is no such thing.", "detail": ""}
        return waiting.pop(0) if len(waiting) > 1 else waiting[0]


class _Handler(SimpleHTTPRequestHandler):
    def __init__(self, *args: Any, site: Site) -> None:
        self.site = site
        super().__init__(*args, directory=str(WEB))

    def do_GET(self) -> None:
        path, prefixed = self.path.removeprefix(PREFIX), self.path.startswith(PREFIX + "/")
        if prefixed and path.startswith("/api/v1/"):
            return self._answer(path.removeprefix("/api/v1/"))
        if not prefixed:
            self.site.asked.append(f"outside the prefix: {self.path}")
        self.path = path
        return super().do_GET()

    def _answer(self, path: str) -> None:
        status, headers, body = self.site.next_answer(path)
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in ({"Content-Type": "application/json"} | headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def end_headers(self) -> None:
        self.send_header("Content-Security-Policy", PAGE_POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name in the base class
        """Tests say what they want to say themselves."""


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, site=made)) as server:
        made.url = f"http://127.0.0.1:{server.server_port}{PREFIX}/"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield made
        server.shutdown()


def run_script(browser: Chrome, body: str) -> Any:
    """Run an async function body in the page; it may import modules by address."""
    script = (
        f"const done = arguments[0]; (async () => {{ {body} }})().then(done, (e) => done('failed: ' + e));"
    )
    return browser.execute_async_script(script)


def text(browser: Chrome, name: str) -> str:
    return browser.find_element(By.ID, name).text


def mark_words(browser: Chrome) -> list[str]:
    """Letter and probability of each mark above the picture; Selenium reads no text of SVG."""
    script = "return [...document.querySelectorAll('#marks text')].map((mark) => mark.textContent)"
    return [words.replace("\u202f", " ") for words in browser.execute_script(script)]


def wait_for(browser: Chrome, name: str, words: str, *, within_s: float = 20) -> None:
    try:
        WebDriverWait(browser, within_s, poll_frequency=0.05).until(lambda _: words in text(browser, name))
    except TimeoutException:
        said = {place: text(browser, place) for place in (name, "state", "trouble")}
        raise AssertionError(f"{words!r} is not in {said}; {complaints(browser)}") from None


def sign_in(browser: Chrome, site: Site) -> None:
    browser.get(site.url)
    browser.find_element(By.ID, "key").send_keys("ent_test", Keys.ENTER)


def with_person(site: Site) -> None:
    me = {
        "principal_id": "1",
        "name": "Dr <b>Bold</b>",
        "roles": ["clinician"],
        "permissions": ["frames:write"],
    }
    site.answer("me", me)
    site.answer("models", {"items": [], "next_cursor": None})
    site.answer("jobs?kind=analysis&limit=12", {"items": [], "next_cursor": None})
