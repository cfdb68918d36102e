"""The runner process: what it is given, how it is stopped, and how its end is told."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from models.schema import SchemaError
from tests.stack import children, gone
from workers.interrupts import Cancelled, Draining, Interrupt, Lost
from workers.runner import describe
from workers.runner_client import (
    MAX_RSS_GROWTH_BYTES,
    Graces,
    RunnerClient,
    RunnerDied,
    RunnerError,
    RunnerProcess,
    Runners,
    RunnerStalled,
)

pytestmark = pytest.mark.integration

GRACES = Graces(cancel_s=0.2, drain_s=5)


@pytest.fixture
def runners() -> Iterator[Runners]:
    runners = Runners(lambda: RunnerProcess(warm=False))
    yield runners
    runners.close()


def client(
    runners: Runners,
    *,
    fresh: bool = False,
    stall_s: float = 30,
    interrupted_by: Callable[[], Interrupt | None] = lambda: None,
) -> RunnerClient:
    return RunnerClient(runners, fresh=fresh, stall_s=stall_s, graces=GRACES, interrupted_by=interrupted_by)


def pid(asked: RunnerClient) -> int:
    return int(asked.call("ping")[0]["pid"])


def test_events_come_before_the_answer(runners: Runners) -> None:
    asked, events = client(runners), list[dict[str, Any]]()
    answer, _ = asked.call("selftest", {"steps": 3}, on_event=events.append)
    assert answer["steps"] == 3
    assert [(event["done"], event["total"]) for event in events] == [(1, 3), (2, 3), (3, 3)]
    asked.close()


def test_it_gets_no_setting_and_no_secret(runners: Runners, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENTERON_DATABASE_PASSWORD_FILE", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    asked = client(runners)
    environment = Path(f"/proc/{pid(asked)}/environ").read_bytes()
    assert b"ENTERON_" not in environment
    assert b"SECRET" not in environment
    asked.close()


def test_it_leads_a_process_group_of_its_own(runners: Runners) -> None:
    asked = client(runners)
    runner = pid(asked)
    assert os.getpgid(runner) == runner != os.getpgrp()
    asked.close()


def test_a_warm_one_is_used_again_and_a_fresh_one_once(runners: Runners) -> None:
    first = client(runners)
    warm = pid(first)
    first.close()
    second = client(runners)
    assert pid(second) == warm
    second.close()
    third = client(runners, fresh=True)
    fresh = pid(third)
    assert fresh != warm
    third.close()
    assert gone(warm)
    assert gone(fresh)


def test_one_that_was_started_ahead_serves_as_fresh(runners: Runners) -> None:
    runners.start_ahead()
    ahead = int(children(os.getpid())[-1])
    asked = client(runners, fresh=True)
    assert pid(asked) == ahead
    asked.close()


def test_its_death_is_told_with_the_signal_and_the_next_call_gets_another(runners: Runners) -> None:
    asked = client(runners)
    before = pid(asked)
    with pytest.raises(RunnerDied) as died:
        asked.call("selftest", {"steps": 2, "fault": "crash", "at_step": 1})
    assert died.value.status == -signal.SIGKILL
    assert pid(asked) != before
    asked.close()


def test_silence_is_ended(runners: Runners) -> None:
    asked = client(runners)
    silent = pid(asked)
    with pytest.raises(RunnerStalled):
        asked.call("selftest", {"steps": 1, "fault": "hang"}, stall_s=0.5)
    assert gone(silent)
    asked.close()


def test_growth_is_counted_from_the_first_claim_however_many_calls_it_made(
    runners: Runners, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RunnerProcess, "_rss_bytes", lambda _process: MAX_RSS_GROWTH_BYTES + 1)
    first = client(runners)
    warm = pid(first)
    assert pid(first) == warm
    first.close()
    second = client(runners)
    assert pid(second) == warm
    second.close()


def test_a_mistake_is_told_by_class_and_place_and_costs_the_process(runners: Runners) -> None:
    asked = client(runners)
    before = pid(asked)
    with pytest.raises(RunnerError) as error:
        asked.call("selftest", {"steps": 1, "fault": "raise"})
    assert (error.value.code, error.value.detail) == ("internal_error", "")
    assert error.value.exception == "SelftestFault"
    assert error.value.place.startswith("workers.selftest:")
    assert pid(asked) != before
    asked.close()


def test_an_unknown_operation_is_a_mistake_too(runners: Runners) -> None:
    asked = client(runners)
    with pytest.raises(RunnerError, match="internal_error"):
        asked.call("no such thing")
    asked.close()


def test_it_stops_when_asked_and_stays_warm(runners: Runners) -> None:
    steps = list[int]()
    asked = client(runners, interrupted_by=lambda: Draining() if len(steps) > 2 else None)
    before = pid(asked)
    with pytest.raises(Draining):
        asked.call(
            "selftest", {"steps": 1000, "step_s": 0.01}, on_event=lambda event: steps.append(event["done"])
        )
    assert len(steps) < 1000
    assert pid(asked) == before
    asked.close()


@pytest.mark.parametrize("interrupt", [Cancelled(), Lost()], ids=["cancelled", "lost"])
def test_one_that_does_not_heed_is_killed_after_the_grace(runners: Runners, interrupt: Interrupt) -> None:
    events = list[dict[str, Any]]()
    asked = client(runners, interrupted_by=lambda: interrupt if events else None)
    deaf = pid(asked)
    with pytest.raises(type(interrupt)):
        asked.call("selftest", {"steps": 2, "fault": "hang", "at_step": 1}, on_event=events.append)
    assert gone(deaf)
    asked.close()


def test_a_report_that_is_refused_stops_the_operation(runners: Runners) -> None:
    def refuse(_event: dict[str, Any]) -> None:
        raise Lost

    asked = client(runners)
    with pytest.raises(Lost):
        asked.call("selftest", {"steps": 1000, "step_s": 0.01}, on_event=refuse)
    asked.close()


def test_a_stop_that_comes_too_late_does_not_stop_the_next_request(runners: Runners) -> None:
    asked = client(runners, interrupted_by=Draining)
    assert asked.call("ping")[0]["pid"]  # done before it heard the stop
    calm = client(runners)
    asked.close()
    assert calm.call("selftest", {"steps": 3})[0]["steps"] == 3
    calm.close()


def test_only_refusals_of_models_are_told_in_words() -> None:
    class FrameRefused(ValueError):
        code = "no_frames"

    FrameRefused.__module__ = "models.imaging.recipe"
    assert describe(FrameRefused("No frames."))["detail"] == "No frames."
    assert describe(FrameRefused("No frames."))["code"] == "no_frames"
    wrong = describe(SchemaError("/size_px", "is not a known field"))
    assert (wrong["code"], wrong["detail"]) == ("schema_error", "/size_px: is not a known field")
    assert describe(ValueError("Jane Doe")) == {
        "code": "internal_error",
        "detail": "",
        "exception": "ValueError",
        "place": "",
    }
