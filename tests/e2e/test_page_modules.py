"""What the page's modules do, run in a real browser."""

import json

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.browser import complaints
from tests.page_site import Site, run_script, sign_in, text, wait_for, with_person


def test_csv_disarms_formulas_and_keeps_the_rest(browser: Chrome, site: Site) -> None:
    browser.get(site.url)
    cells = ["=1+1", "+1", "-2", "@x", "\tx", "\rx", ' "=x"', "a,b", 'a"b', "plain", -0.5, None]
    found = run_script(
        browser,
        f"const {{ csvCell }} = await import('./export.js'); return {json.dumps(cells)}.map(csvCell);",
    )
    assert found == [
        "'=1+1",
        "'+1",
        "'-2",
        "'@x",
        "'\tx",
        '"\'\rx"',
        '"\' ""=x"""',
        '"a,b"',
        '"a""b"',
        "plain",
        "-0.5",
        "",
    ]


@pytest.mark.parametrize(
    ("share", "words"),
    [
        (0, "0 %"),
        (0.001, "< 1 %"),
        (0.004999, "< 1 %"),
        (0.005, "1 %"),
        (0.8731, "87 %"),
        (0.997, "> 99 %"),
        (1, "100 %"),
    ],
)
def test_probabilities_have_no_false_digits(browser: Chrome, site: Site, share: float, words: str) -> None:
    browser.get(site.url)
    found = run_script(browser, f"return (await import('./format.js')).percent({share});")
    assert found.replace("\u202f", " ") == words


def test_a_job_that_ended_before_the_page_first_looked_is_still_awaited(browser: Chrome, site: Site) -> None:
    browser.get(site.url)
    asked = "isAwaited('b'), goTo('a'), isAwaited('b'), goTo('a'), isAwaited('a'), isAwaited('a')"
    found = run_script(browser, f"const {{ goTo, isAwaited }} = await import('./jobs.js'); return [{asked}];")
    assert found == [False, "#/jobs/a", False, "#/jobs/a", True, False]


def test_event_stream_is_parsed_across_chunks(browser: Chrome, site: Site) -> None:
    browser.get(site.url)
    chunks = [
        ": hello\n\nid: 7\neve",
        'nt: progress\r\ndata: {"done":\r\ndata: 3}\r\n',
        "\r\n:\n\ndata: 1\n\ndata: 2",
    ]
    found = run_script(
        browser,
        f"""
        const {{ eventsOf }} = await import('./stream.js');
        const chunks = {json.dumps(chunks)}.map((chunk) => new TextEncoder().encode(chunk));
        const pull = (body) => chunks.length ? body.enqueue(chunks.shift()) : body.close();
        const body = new ReadableStream({{ pull }});
        const events = [];
        for await (const event of eventsOf(body)) events.push(event);
        return events;
        """,
    )
    assert found == [
        {"type": "progress", "id": "7", "data": {"done": 3}},
        {"type": "message", "id": None, "data": 1},
    ]


def test_job_is_followed_by_polling_where_its_stream_fails(browser: Chrome, site: Site) -> None:
    browser.get(site.url)
    found = run_script(
        browser,
        """
        const { follow } = await import('./jobs.js');
        const states = ['queued', 'running', 'running', 'running', 'running', 'succeeded'];
        let streams = 0;
        const api = {
          job: async () => ({ state: states.shift() }),
          async *events() {
            streams++;
            yield { type: 'progress', id: '1', data: {} };
            throw new Error('cut');
          },
        };
        const news = [];
        for await (const each of follow(api, 'x', new AbortController().signal)) news.push(each);
        return { last: news.at(-1), streams };
        """,
    )
    assert found == {"last": {"job": {"state": "succeeded"}}, "streams": 3}


def test_the_model_offered_first_is_the_one_that_reads_where_none_is_named(
    browser: Chrome, site: Site
) -> None:
    browser.get(site.url)
    found = run_script(
        browser,
        """
        const { ModelChoice } = await import('./models.js');
        const model = (name, aliases) => {
          const version = { version: 1, name, task: 'image-multilabel', operating_points: {} };
          return { name, aliases, versions: [{ ...version, evidence: 'none' }] };
        };
        const champion = { champion: 1 };
        const own = (aliases) => [
          model('a', champion), model('starter-detector', champion), model('lesion-detector', aliases),
        ];
        const others = [model('b', champion), model('a', champion)];
        const select = document.getElementById('model');
        const chosen = [];
        for (const models of [own(champion), own({ trial: 1 }), own({}), others, []]) {
          select.replaceChildren();
          const choice = new ModelChoice(() => {});
          await choice.load({ models: async () => models });
          chosen.push([choice.chosen, ...[...select.options].map((each) => each.value)]);
        }
        return chosen;
        """,
    )
    own, starter, other = "lesion-detector@champion", "starter-detector@champion", "a@champion"
    assert found == [
        [own, own, starter, other],
        [starter, "lesion-detector@trial", starter, other],
        [starter, starter, other],
        [other, other, "b@champion"],
        [""],
    ]


def test_page_works_below_a_prefix_and_under_the_policy(browser: Chrome, site: Site) -> None:
    with_person(site)
    sign_in(browser, site)
    wait_for(browser, "state", "No frames chosen")
    assert "me" in site.asked
    assert [path for path in site.asked if path.startswith("outside")] == []
    assert text(browser, "who") == "Dr <b>Bold</b>"
    assert complaints(browser) == []


def test_unknown_key_is_said_and_the_next_one_works(browser: Chrome, site: Site) -> None:
    site.answer("me", {"code": "unauthenticated", "title": "A valid key is needed."}, status=401)
    with_person(site)
    sign_in(browser, site)
    wait_for(browser, "signin-error", "does not know this key")
    browser.find_element(By.ID, "key").send_keys("ent_other", Keys.ENTER)
    wait_for(browser, "state", "No frames chosen")


def test_busy_service_is_said_and_tried_again_after_its_time(browser: Chrome, site: Site) -> None:
    problem = {
        "code": "database_unavailable",
        "title": "A part of the service is not reachable just now.",
        "detail": "",
    }
    site.answer("me", problem, status=503, Retry_After="1")
    with_person(site)
    sign_in(browser, site)
    wait_for(browser, "trouble", "not reachable just now. The database is starting or away.")
    wait_for(browser, "trouble", "Trying again in 1 s")
    wait_for(browser, "state", "No frames chosen")
    assert not browser.find_element(By.ID, "trouble").is_displayed()


def test_refused_key_in_the_middle_asks_again_and_goes_on_where_it_was(browser: Chrome, site: Site) -> None:
    with_person(site)
    job = {
        "id": "j",
        "state": "failed",
        "queue": "interactive",
        "attempts": 3,
        "created_at": "2026-11-22T10:00:00Z",
    }
    job |= {"error": {"code": "gave_up", "title": "It ended its worker.", "detail": ""}}
    site.answer("jobs/j", {"code": "unauthenticated", "title": "A valid key is needed."}, status=401)
    site.answer("jobs/j", job)
    sign_in(browser, site)
    wait_for(browser, "state", "No frames chosen")
    browser.execute_script("location.hash = '#/jobs/j'")
    wait_for(browser, "state", "no longer accepted")
    browser.find_element(By.ID, "key").send_keys("ent_new", Keys.ENTER)
    wait_for(browser, "state", "The reading failed.")
    assert "Look for a damaged file" in text(browser, "job-advice")


def test_a_job_that_does_not_come_shows_nothing_of_the_one_before(browser: Chrome, site: Site) -> None:
    with_person(site)
    job = {"id": "j", "state": "failed", "created_at": "2026-11-22T10:00:00Z"}
    site.answer("jobs/j", job | {"error": {"code": "gave_up", "title": "It ended its worker.", "detail": ""}})
    away = {"code": "database_unavailable", "title": "Away.", "detail": ""}
    site.answer("jobs/k", away, status=503, Retry_After="60")
    sign_in(browser, site)
    wait_for(browser, "state", "No frames chosen")
    browser.execute_script("location.hash = '#/jobs/j'")
    wait_for(browser, "state", "The reading failed.")
    browser.execute_script("location.hash = '#/jobs/k'")
    wait_for(browser, "trouble", "The database is starting or away.")
    shown = {name: text(browser, name) for name in ("state", "job-error", "job-advice", "job-facts")}
    nothing = {"job-error": "", "job-advice": "", "job-facts": ""}
    assert shown == {"state": "Opening the reading …"} | nothing


def test_theme_follows_the_switch_and_is_kept(browser: Chrome, site: Site) -> None:
    browser.get(site.url)
    theme = "return document.documentElement.dataset.theme"
    assert browser.execute_script(theme) == "dark"
    browser.find_element(By.ID, "theme").click()
    assert browser.execute_script(theme) == "light"
    browser.refresh()
    assert browser.execute_script(theme) == "light"


def test_help_lists_the_keys_beside_the_page(browser: Chrome, site: Site) -> None:
    with_person(site)
    sign_in(browser, site)
    wait_for(browser, "state", "No frames chosen")
    browser.find_element(By.TAG_NAME, "body").send_keys("?")
    panel, main = browser.find_element(By.ID, "help-panel"), browser.find_element(By.ID, "main")
    assert panel.is_displayed()
    assert main.rect["x"] + main.rect["width"] <= panel.rect["x"]
    browser.find_element(By.TAG_NAME, "body").send_keys("?")
    assert not panel.is_displayed()


def test_dropped_files_are_told_by_their_bytes(browser: Chrome, site: Site) -> None:
    with_person(site)
    sign_in(browser, site)
    wait_for(browser, "state", "No frames chosen")
    run_script(
        browser,
        """
        const transfer = new DataTransfer();
        transfer.items.add(new File([new Uint8Array([0x49, 0x49, 0x2a, 0])], 'a.jpg'));
        transfer.items.add(new File(['words'], 'b.png', { type: 'image/png' }));
        document.getElementById('drop').dispatchEvent(new DragEvent('drop', { dataTransfer: transfer }));
        """,
    )
    wait_for(browser, "state", "2 files chosen, 9 B")
    tray = text(browser, "tray")
    assert "TIFF: shown after reading" in tray
    assert "not an image or a zip: will be reported" in tray


def test_more_than_64_mb_are_refused_before_they_are_sent(browser: Chrome, site: Site) -> None:
    with_person(site)
    sign_in(browser, site)
    wait_for(browser, "state", "No frames chosen")
    run_script(
        browser,
        """
        const transfer = new DataTransfer();
        transfer.items.add(new File([new Uint8Array(65 * 2 ** 20)], 'a.zip'));
        document.getElementById('drop').dispatchEvent(new DragEvent('drop', { dataTransfer: transfer }));
        """,
    )
    wait_for(browser, "intake-error", "More than 64 MB in one go")
    assert not browser.find_element(By.ID, "read").is_enabled()


def test_policy_is_in_force_and_its_violations_are_seen(browser: Chrome, site: Site) -> None:
    browser.get(site.url)
    body = "document.getElementById('state')"
    assert "TrustedHTML" in run_script(browser, f"{body}.innerHTML = '<b>x</b>';")
    run_script(browser, f"{body}.setAttribute('style', 'color: red');")
    assert any("style-src 'self'" in message for message in complaints(browser))
