"""Waiting for a job: server-sent events while they flow, asking again and again when they do not."""

import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, cast

from service.client.errors import JobFailed, TimedOut, Unreachable
from service.client.resources import FINAL, Job
from service.client.transport import Transport

OnProgress = Callable[[Job], None]
_POLL_S = 1.0
_REPORT_EVERY_S = 0.2


@dataclass(frozen=True)
class Event:
    """One server-sent event."""

    name: str
    data: dict[str, Any]
    id: str | None = None


def parse_events(lines: Iterable[str]) -> Iterator[Event]:
    """Server-sent events of a text stream (WHATWG HTML, 9.2.6).

    Comments, the service's heartbeats, come as events of that name: they let a reader look at its clock.
    """
    name, event_id = "message", None
    data: list[str] = []
    for line in lines:
        if line == "":
            if data:
                yield Event(name, json.loads("\n".join(data)), event_id)
            name, data = "message", []
        elif line.startswith(":"):
            yield Event("heartbeat", {})
        else:
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if field == "event":
                name = value
            elif field == "data":
                data.append(value)
            elif field == "id":
                event_id = value


def wait(
    transport: Transport,
    job_id: str,
    *,
    on_progress: OnProgress | None = None,
    timeout_s: float | None = None,
) -> Job:
    """The job once it succeeded. Outages are waited out as long as the timeout allows."""
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    while True:
        job: Job = transport.get(f"/jobs/{job_id}")
        if on_progress:
            on_progress(job)
        if job["state"] in FINAL:
            break
        _follow(transport, job, on_progress, deadline)
        if deadline is not None and time.monotonic() >= deadline:
            raise TimedOut(f"the {job['kind']} job goes on; its id is {job_id}")
    if job["state"] != "succeeded":
        raise JobFailed(job)
    return job


def _follow(transport: Transport, job: Job, on_progress: OnProgress | None, deadline: float | None) -> None:
    """Report progress until the job ends, the stream breaks or the time is over."""
    reported = 0.0
    try:
        with transport.stream(f"/jobs/{job['id']}/events", headers={"Accept": "text/event-stream"}) as answer:
            for event in parse_events(answer.iter_lines()):
                now = time.monotonic()
                if event.name == "end" or (deadline is not None and now >= deadline):
                    return
                if event.name == "progress" and on_progress and now - reported >= _REPORT_EVERY_S:
                    reported = now
                    on_progress(merged(job, event.data))
    except Unreachable:
        time.sleep(_POLL_S)


def merged(job: Job, data: dict[str, Any]) -> Job:
    """The job as a progress event changes it."""
    known = {name: value for name, value in data.items() if name in job}
    return cast(Job, {**job, **known})
