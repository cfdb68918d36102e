"""Jobs over HTTP: following, waiting, cancelling."""

import json
import threading
from uuid import UUID, uuid4

import pytest

from service.domain.access import Role
from service.store import claims
from tests.contract.acting import claim, fail, succeed, working

SELFTEST = {"kind": "selftest", "steps": 3}


@pytest.fixture
def job(api) -> dict:
    return api.send("POST", "/jobs", json=SELFTEST).json()


def events(api, job: dict, **headers: str) -> list[tuple[str, dict, str | None]]:
    """All events until the stream ends: name, data, id."""
    found: list[tuple[str, dict, str | None]] = []
    path = f"/api/v1/jobs/{job['id']}/events"
    with api.client.stream("GET", path, headers=api.headers() | headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        for block in "".join(answer.iter_text()).split("\n\n"):
            fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
            if fields:
                found.append((fields["event"], json.loads(fields["data"]), fields.get("id")))
    return found


def later(action) -> threading.Thread:
    thread = threading.Timer(0.5, action)
    thread.start()
    return thread


def test_a_job_is_shown_as_the_contract_says(api, job):
    assert set(job) == {
        "id",
        "kind",
        "queue",
        "state",
        "progress",
        "attempts",
        "cancel_requested",
        "created_at",
        "started_at",
        "finished_at",
        "error",
        "result",
        "links",
    }
    assert set(job["progress"]) == {"fraction", "done", "total", "unit", "message", "eta_s"}
    assert api.send("GET", f"/jobs/{job['id']}").json() == job


def test_lists_are_paged_newest_first(api):
    made = [api.send("POST", "/jobs", json=SELFTEST).json()["id"] for _ in range(3)]
    first = api.send("GET", "/jobs", params={"limit": 2, "kind": "selftest", "state": "queued"}).json()
    assert [item["id"] for item in first["items"]] == made[:0:-1]
    second = api.send("GET", "/jobs", params={"limit": 2, "cursor": first["next_cursor"]}).json()
    assert second["items"][0]["id"] == made[0]


def test_a_cancelled_job_says_so_and_may_be_cancelled_again(api, job):
    for _ in range(2):
        cancelled = api.send("POST", f"/jobs/{job['id']}/cancel")
        assert (cancelled.status_code, cancelled.json()["state"]) == (200, "cancelled")


def test_a_job_that_ended_cannot_be_cancelled(api, job):
    succeed(api, claim(api, UUID(job["id"])), {"steps": 3})
    refused = api.send("POST", f"/jobs/{job['id']}/cancel")
    assert (refused.status_code, refused.json()["code"]) == (409, "invalid_transition")


def test_metrics_are_series(api, job):
    held = claim(api, UUID(job["id"]))
    with working(api, held) as session:
        claims.report_metrics(session, held, [("loss", 1, 0.5), ("loss", 2, float("nan"))])
    answer = api.send("GET", f"/jobs/{job['id']}/metrics").json()
    assert answer == {"series": {"loss": [[1, 0.5], [2, None]]}}


def test_the_stream_of_an_ended_job_tells_all_and_ends(api, job):
    held = claim(api, UUID(job["id"]))
    with working(api, held) as session:
        claims.report_event(session, held, "counting", {"step": 1})
    succeed(api, held, {"steps": 3})
    told = events(api, job)
    codes = [data["code"] for name, data, _ in told if name == "message"]
    assert codes == ["state.queued", "state.running", "counting", "state.succeeded"]
    name, data, _ = told[-1]
    assert (name, data["state"], data["result"]) == ("end", "succeeded", {"steps": 3})


def test_the_stream_resumes_after_the_last_event(api, job):
    succeed(api, claim(api, UUID(job["id"])), {"steps": 3})
    told = events(api, job)
    last_seen = told[0][2]
    resumed = events(api, job, **{"Last-Event-ID": last_seen})
    assert resumed == told[1:]


def test_the_stream_tells_progress_while_it_happens(api, job):
    held = claim(api, UUID(job["id"]))

    def work() -> None:
        with working(api, held) as session:
            claims.report_progress(
                session, held, {"done": 1, "total": 4, "unit": "steps", "message": "counting"}
            )
        later(lambda: fail(api, held, code="it_broke"))

    later(work)
    told = events(api, job)
    fractions = [data["progress"]["fraction"] for name, data, _ in told if name == "progress"]
    assert fractions == [None, 0.25]
    assert told[-1][1]["error"]["code"] == "it_broke"


def test_an_unknown_job_has_no_stream(api):
    assert api.send("GET", f"/jobs/{uuid4()}/events").status_code == 404


def test_wait_holds_the_answer_until_the_job_ends(api):
    made: list = []

    def finish() -> None:
        job_id = api.send("GET", "/jobs", params={"limit": 1}).json()["items"][0]["id"]
        made.append(job_id)
        succeed(api, claim(api, UUID(job_id)), {"steps": 3})

    later(finish)
    answer = api.send("POST", "/jobs", json=SELFTEST, headers={"Prefer": "wait=20"})
    assert answer.status_code == 200
    assert answer.headers["preference-applied"] == "wait=20"
    assert (answer.json()["id"], answer.json()["state"]) == (made[0], "succeeded")


def test_wait_ends_without_the_job(api):
    answer = api.send("POST", "/jobs", json=SELFTEST, headers={"Prefer": "wait=1"})
    assert (answer.status_code, answer.json()["state"]) == (202, "queued")


@pytest.mark.parametrize("preference", ["wait=soon", "respond-async", "wait=", ""])
def test_a_preference_that_cannot_be_read_is_none(api, preference):
    answer = api.send("POST", "/jobs", json=SELFTEST, headers={"Prefer": preference})
    assert answer.status_code == 202
    assert "preference-applied" not in answer.headers


def test_waiting_clients_take_no_thread_from_others(api):
    """More waiters than threads: an answer that needs a thread still comes."""
    waiters = [
        threading.Thread(
            target=lambda: api.send("POST", "/jobs", json=SELFTEST, headers={"Prefer": "wait=3"})
        )
        for _ in range(12)
    ]
    for waiter in waiters:
        waiter.start()
    assert api.send("GET", "/jobs", timeout=3).status_code == 200
    assert any(waiter.is_alive() for waiter in waiters)
    for waiter in waiters:
        waiter.join()


def test_who_asked_for_a_cancel_is_on_record(api, job):
    claim(api, UUID(job["id"]))
    assert api.send("POST", f"/jobs/{job['id']}/cancel").json()["cancel_requested"]
    items = api.send("GET", "/audit").json()["items"]
    who = api.send("GET", "/me").json()["principal_id"]
    asked = [item for item in items if item["operation"] == "jobs.cancel" and item["object_id"] == job["id"]]
    assert [item["principal_id"] for item in asked] == [who]


@pytest.fixture
def failed(api, job) -> dict:
    fail(api, claim(api, UUID(job["id"])), code="it_broke")
    return api.send("GET", f"/jobs/{job['id']}").json()


def test_a_failed_job_is_run_again_as_a_new_one_that_names_it(api, failed):
    answer = api.send("POST", failed["links"]["retry"].removeprefix("/api/v1"))
    assert answer.status_code == 202, answer.text
    again = answer.json()
    assert answer.headers["location"] == again["links"]["self"]
    assert again["links"]["retry_of"] == failed["links"]["self"]
    assert (again["kind"], again["state"], again["error"]) == ("selftest", "queued", None)
    assert api.send("GET", f"/jobs/{failed['id']}").json()["state"] == "failed"
    succeed(api, claim(api, UUID(again["id"])), {"steps": 3})
    assert api.send("GET", f"/jobs/{again['id']}").json()["result"] == {"steps": 3}


def test_a_job_is_run_again_once(api, failed):
    path, sent = f"/jobs/{failed['id']}/retry", {"Idempotency-Key": str(uuid4())}
    first = api.send("POST", path, headers=sent)
    assert api.send("POST", path, headers=sent).json() == first.json()
    refused = api.send("POST", path)
    assert (refused.status_code, refused.json()["code"]) == (409, "invalid_transition")


@pytest.mark.parametrize("end", [None, "succeeded"])
def test_only_what_ended_without_a_result_is_run_again(api, job, end):
    if end:
        succeed(api, claim(api, UUID(job["id"])), {"steps": 3})
    shown = api.send("GET", f"/jobs/{job['id']}").json()
    assert "retry" not in shown["links"]
    refused = api.send("POST", f"/jobs/{job['id']}/retry")
    assert (refused.status_code, refused.json()["code"]) == (409, "invalid_transition")


def test_an_operators_retry_stays_the_owners_job_and_is_on_record(api):
    mine = api.send("POST", "/jobs", json=SELFTEST, roles=(Role.CLINICIAN,)).json()
    fail(api, claim(api, UUID(mine["id"])), code="it_broke")
    again = api.send("POST", f"/jobs/{mine['id']}/retry", roles=(Role.OPS,)).json()
    assert api.send("GET", f"/jobs/{again['id']}", roles=(Role.CLINICIAN,)).status_code == 200
    operator = api.send("GET", "/me", roles=(Role.OPS,)).json()["principal_id"]
    items = api.send("GET", "/audit").json()["items"]
    asked = [item for item in items if item["operation"] == "jobs.retry" and item["object_id"] == again["id"]]
    assert [item["principal_id"] for item in asked] == [operator]
