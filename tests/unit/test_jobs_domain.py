"""The rules of jobs as data, and how a row is shown."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from service.dispatch import SMALLEST_WINDOW, windows
from service.domain.ids import DEFAULT_TENANT_ID, new_id
from service.domain.jobs import FINAL, KINDS, TASKS, TRANSITIONS, Kind, Move, Queue, State, Timers, backoff_s
from service.domain.messages import MESSAGES, check_message
from service.store.jobs import Job
from service.store.workers import WorkerInfo
from service.usecases.jobs import view

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def job(**changes: Any) -> Job:
    row: dict[str, Any] = {
        "id": new_id(),
        "tenant_id": DEFAULT_TENANT_ID,
        "principal_id": new_id(),
        "kind": "selftest",
        "queue": "interactive",
        "state": "running",
        "spec": {},
        "batch_key": "x",
        "priority": 0,
        "fence": 1,
        "failures": 0,
        "preemptions": 0,
        "progress": {},
        "progress_at": None,
        "cancel_requested_at": None,
        "error_code": None,
        "error_detail": None,
        "parent_id": None,
        "retry_of": None,
        "deadline_at": None,
        "created_at": NOW,
        "started_at": NOW,
        "finished_at": None,
    }
    return Job(**row | changes)


def worker(queues: list[str], batch_size: int = 1) -> WorkerInfo:
    return WorkerInfo(new_id(), queues, batch_size, "idle", {}, {}, NOW, NOW)


def test_every_move_every_kind_and_every_queue_has_its_rule() -> None:
    assert set(TRANSITIONS) == set(Move)
    assert set(KINDS) == set(Kind)
    assert set(TASKS) == set(Queue)


def test_nothing_leaves_a_final_state_and_every_other_state_is_left() -> None:
    left = {state for sources, _ in TRANSITIONS.values() for state in sources}
    assert left == set(State) - FINAL


def test_back_off_doubles_to_a_minute() -> None:
    assert [backoff_s(attempt) for attempt in (1, 2, 3, 7, 100)] == [1, 2, 4, 60, 60]


def test_a_dead_workers_job_runs_again_within_45_seconds() -> None:
    timers = Timers()
    assert timers.lease_s + timers.reap_every_s + backoff_s(1) < 45
    assert timers.beat_s * 3 < timers.lease_s


def test_progress_becomes_fraction_and_time_left() -> None:
    progress = {"done": 1, "total": 4, "unit": "frames", "message": "reading"}
    shown = view(job(progress=progress, progress_at=NOW + timedelta(seconds=10))).progress
    assert (shown.fraction, shown.eta_s, shown.unit) == (0.25, 30.0, "frames")
    assert (shown.message_code, shown.message) == ("reading", MESSAGES["reading"])


@pytest.mark.parametrize(
    ("stored", "shown"), [("dead", State.FAILED), ("waiting", State.QUEUED), ("cancelled", State.CANCELLED)]
)
def test_inner_states_are_shown_as_those_of_the_api(stored: str, shown: State) -> None:
    assert view(job(state=stored)).state == shown


def test_a_waiting_parent_says_what_it_waits_for() -> None:
    assert view(job(state="waiting")).progress.message == "waiting for its parts"


def test_an_error_has_code_title_and_detail() -> None:
    error = view(job(state="dead", error_code="gave_up", error_detail="It ended its worker.")).error
    assert error is not None
    assert (error.code, error.detail) == ("gave_up", "It ended its worker.")
    assert error.title


def test_messages_are_a_closed_list() -> None:
    assert check_message("reading") == "reading"
    with pytest.raises(ValueError, match="not a message code"):
        check_message("reading anna.jpg")


def test_windows_grow_with_the_slots_that_serve_a_queue() -> None:
    live = [worker(["interactive"], 32), worker(["batch", "train"], 32), worker(["batch"], 32)]
    assert windows(live) == {"interactive": 64, "batch": 4, "train": 2, "ehr": SMALLEST_WINDOW}
    assert set(windows([]).values()) == {SMALLEST_WINDOW}
