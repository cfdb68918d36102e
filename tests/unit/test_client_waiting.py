"""Waiting for a job by events, and by asking when there are none."""

import json
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.client import waiting
from service.client.errors import JobFailed, TimedOut
from service.client.transport import Transport
from service.client.waiting import Event, parse_events, wait

PROGRESS = {"fraction": None, "done": 0, "total": None, "unit": None, "message": None, "eta_s": None}


def job(state: str, **changes: Any) -> dict[str, Any]:
    base = {
        "id": "j",
        "kind": "analysis",
        "state": state,
        "progress": PROGRESS,
        "error": None,
        "result": None,
    }
    return {**base, **changes}


def stream(*events: tuple[str, object]) -> httpx.Response:
    text = "".join(f"event: {name}\ndata: {json.dumps(data)}\n\n" for name, data in events)
    return httpx.Response(200, text=text, headers={"Content-Type": "text/event-stream"})


def serving(jobs: list[dict[str, Any]], streams: list[httpx.Response | Exception]) -> Transport:
    def serve(request: httpx.Request) -> httpx.Response:
        if not request.url.path.endswith("/events"):
            return httpx.Response(200, json=jobs.pop(0))
        answer = streams.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return Transport("http://enteron.test", None, transport=httpx.MockTransport(serve))


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "_POLL_S", 0.0)
    monkeypatch.setattr(waiting, "_REPORT_EVERY_S", 0.0)


def test_progress_is_reported_until_the_end() -> None:
    half = {**PROGRESS, "done": 1, "total": 2}
    transport = serving(
        [job("queued"), job("succeeded", result={"n": 1})],
        [stream(("progress", {"state": "running", "progress": half}), ("end", {}))],
    )
    seen: list[tuple[str, int | None]] = []
    ended = wait(transport, "j", on_progress=lambda j: seen.append((j["state"], j["progress"]["done"])))
    assert ended["result"] == {"n": 1}
    assert seen == [("queued", 0), ("running", 1), ("succeeded", 0)]


def test_a_broken_stream_is_followed_by_asking() -> None:
    transport = serving(
        [job("running"), job("running"), job("succeeded")], [httpx.ReadError("x"), stream(("end", {}))]
    )
    assert wait(transport, "j")["state"] == "succeeded"


def test_a_failed_job_raises_with_its_code() -> None:
    error = {"code": "gave_up", "title": "t", "detail": "It ended its worker three times."}
    with pytest.raises(JobFailed, match=r"It ended its worker three times\. \(gave_up\)"):
        wait(serving([job("failed", error=error)], []), "j")


def test_a_cancelled_job_raises() -> None:
    with pytest.raises(JobFailed) as caught:
        wait(serving([job("cancelled")], []), "j")
    assert caught.value.code == "cancelled"


def test_the_time_is_over_though_the_job_goes_on() -> None:
    with pytest.raises(TimedOut):
        wait(serving([job("running")], [stream()]), "j", timeout_s=0.0)


def test_fields_of_an_event_and_heartbeats() -> None:
    lines = [": beat", "", "id: 7", "event: progress", 'data: {"a":', "data: 1}", "", "data: {}", ""]
    assert list(parse_events(lines)) == [
        Event("heartbeat", {}),
        Event("progress", {"a": 1}, "7"),
        Event("message", {}, "7"),
    ]


@given(
    st.lists(
        st.tuples(st.sampled_from(["progress", "message", "end"]), st.dictionaries(st.text(), st.integers()))
    )
)
def test_what_is_written_is_read(events: list[tuple[str, dict[str, int]]]) -> None:
    lines = stream(*events).text.split("\n")
    assert [(event.name, event.data) for event in parse_events(lines)] == events
