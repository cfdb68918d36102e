"""Jobs survive what happens to the parts: real processes, real servers, real signals."""

import json
import os
import random
import signal
import uuid
from collections.abc import Iterator

import pytest

from service.domain.errors import InvalidTransition
from service.domain.jobs import MAX_FAILURES, Queue, State
from service.embedded import Embedded
from tests.stack import Stack, gone

pytestmark = [pytest.mark.integration, pytest.mark.slow]

LONG = {"steps": 200, "step_s": 0.05}
SHORT = {"steps": 10, "step_s": 0.05}


@pytest.fixture(scope="module")
def parts(own_servers: Embedded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    stack = Stack(own_servers, tmp_path_factory.mktemp("stack"))
    yield stack
    stack.close()


@pytest.fixture
def stack(parts: Stack) -> Stack:
    """A dispatcher runs; workers are what the test asks for."""
    parts.dispatchers(1)
    return parts


def test_a_job_of_a_killed_worker_is_run_by_another(stack: Stack) -> None:
    worker = stack.worker()
    job_id = stack.submit(**LONG | {"steps": 40})
    stack.until_running(job_id)
    runner = stack.runner_of(worker)
    worker.kill()
    worker.wait()
    stack.until(lambda: gone(runner))  # the kernel ends the runner with its supervisor
    stack.worker()
    (view,) = stack.until_ended(job_id)
    assert (view.state, view.attempts) == (State.SUCCEEDED, 2)
    assert stack.states(job_id) == ["queued", "running", "queued", "running", "succeeded"]
    assert stack.row(job_id).failures == 1


def test_a_killed_runner_costs_one_failure_and_no_worker(stack: Stack) -> None:
    worker = stack.worker()
    job_id = stack.submit(**SHORT)
    stack.until_running(job_id)
    os.kill(stack.runner_of(worker), signal.SIGKILL)
    (view,) = stack.until_ended(job_id)
    assert (view.state, view.attempts) == (State.SUCCEEDED, 2)
    assert stack.row(job_id).failures == 1
    assert worker.poll() is None


def test_a_flushed_broker_loses_no_job(stack: Stack) -> None:
    stack.no_worker()
    job_ids = [stack.submit() for _ in range(20)]
    stack.until(lambda: stack.row(job_ids[0]).dispatched_at)
    stack.redis.flushall()
    stack.worker()
    views = stack.until_ended(*job_ids)
    assert {(view.state, view.attempts) for view in views} == {(State.SUCCEEDED, 1)}


def test_submitting_works_without_redis_and_the_jobs_run_when_it_is_back(stack: Stack) -> None:
    stack.worker()
    before = stack.submit()
    stack.until_ended(before)
    stack.servers.redis.kill()
    job_ids = [stack.submit() for _ in range(10)]
    assert {stack.view(job_id).state for job_id in job_ids} == {State.QUEUED}
    stack.servers.start()
    views = stack.until_ended(*job_ids)
    assert {(view.state, view.attempts) for view in views} == {(State.SUCCEEDED, 1)}


def test_a_worker_that_hears_no_broker_says_so_until_it_hears_it_again(stack: Stack) -> None:
    stack.worker()
    stack.until(lambda: stack.pulse()["broker"])
    stack.servers.redis.kill()
    stack.until(lambda: not stack.pulse()["broker"])
    assert stack.pulse()["database"]
    stack.servers.start()
    stack.until(lambda: stack.pulse()["broker"])


def test_doubled_and_forged_messages_change_only_timing(stack: Stack) -> None:
    other_queue = stack.submit(queue=Queue.TRAIN)
    job_ids = [stack.submit() for _ in range(5)]
    forge(stack, [*job_ids, *job_ids, other_queue])
    stack.worker()
    views = stack.until_ended(*job_ids)
    stack.until(lambda: stack.redis.llen(LIST) == 0)
    late = stack.submit()
    assert stack.until_ended(late)[0].state == State.SUCCEEDED
    assert {(view.state, view.attempts) for view in views} == {(State.SUCCEEDED, 1)}
    assert (stack.view(other_queue).state, stack.view(other_queue).attempts) == (State.QUEUED, 0)
    stack.cancel(other_queue)


def test_garbage_in_the_broker_does_not_end_a_worker(stack: Stack) -> None:
    worker = stack.worker()
    litter(stack)
    assert stack.until_ended(stack.submit())[0].state == State.SUCCEEDED
    assert worker.poll() is None


def test_a_running_job_survives_an_immediate_restart_of_postgres(stack: Stack) -> None:
    stack.worker()
    job_id = stack.submit(**SHORT | {"steps": 40})
    stack.until_running(job_id)
    stack.servers.restart_postgres("immediate")
    (view,) = stack.until_ended(job_id)
    assert view.state == State.SUCCEEDED
    assert stack.states(job_id).count("succeeded") == 1


def test_a_queued_and_a_waiting_job_are_cancelled_at_once(stack: Stack) -> None:
    stack.no_worker()
    queued, waiting = stack.submit(), stack.submit(state=State.WAITING)
    child = stack.submit(parent_id=waiting)
    assert stack.cancel(waiting).state == State.CANCELLED
    assert stack.view(child).state == State.CANCELLED
    assert stack.cancel(queued).state == State.CANCELLED
    stack.worker()
    stack.until_ended(stack.submit())
    assert stack.view(queued).attempts == 0


def test_a_running_job_is_cancelled_at_the_next_beat(stack: Stack) -> None:
    worker = stack.worker()
    job_id = stack.submit(**LONG)
    stack.until_running(job_id)
    runner = stack.runner_of(worker)
    assert stack.cancel(job_id).cancel_requested
    (view,) = stack.until_ended(job_id)
    assert (view.state, view.result) == (State.CANCELLED, None)
    assert not gone(runner)  # it stopped when asked, and stays warm
    assert stack.until_ended(stack.submit())[0].state == State.SUCCEEDED


def test_a_runner_that_does_not_heed_a_cancel_is_killed(stack: Stack) -> None:
    worker = stack.worker()
    job_id = stack.submit(steps=2, fault="hang", at_step=1)
    stack.until_running(job_id)
    runner = stack.runner_of(worker)
    stack.cancel(job_id)
    (view,) = stack.until_ended(job_id)
    assert view.state == State.CANCELLED
    stack.until(lambda: gone(runner))
    assert stack.until_ended(stack.submit())[0].state == State.SUCCEEDED


def test_an_ended_job_cannot_be_cancelled(stack: Stack) -> None:
    stack.worker()
    job_id = stack.submit()
    stack.until_ended(job_id)
    with pytest.raises(InvalidTransition):
        stack.cancel(job_id)


def test_a_poison_job_is_given_up_and_its_neighbours_are_fine(stack: Stack) -> None:
    stack.worker()
    poison = stack.submit(steps=2, fault="crash", at_step=1)
    neighbours = [stack.submit() for _ in range(5)]
    view, *others = stack.until_ended(poison, *neighbours)
    assert view.error is not None
    assert (view.state, view.error.code, view.attempts) == (State.FAILED, "gave_up", MAX_FAILURES)
    assert {(other.state, other.attempts) for other in others} == {(State.SUCCEEDED, 1)}
    assert stack.row(poison).state == State.DEAD


def test_a_mistake_in_the_runner_fails_the_job_without_its_text(stack: Stack) -> None:
    stack.worker()
    (view,) = stack.until_ended(stack.submit(steps=2, fault="raise", at_step=1))
    assert view.error is not None
    assert (view.state, view.error.code, view.error.detail) == (State.FAILED, "internal_error", "")


def test_a_drained_worker_puts_its_job_back_without_a_failure(stack: Stack) -> None:
    first = stack.worker()
    job_id = stack.submit(**LONG | {"steps": 60})
    stack.until_running(job_id)
    first.send_signal(signal.SIGTERM)
    assert first.wait(timeout=30) == 0
    row = stack.row(job_id)
    assert (row.state, row.preemptions, row.failures) == ("queued", 1, 0)
    assert stack.worker_states()[-1] == "stopped"
    stack.worker()
    (view,) = stack.until_ended(job_id)
    assert (view.state, view.attempts) == (State.SUCCEEDED, 2)


def test_a_parent_runs_after_its_children_however_they_ended(stack: Stack) -> None:
    stack.worker()
    with stack.session():
        parent = stack.submit(state=State.WAITING)
    fine = stack.submit(parent_id=parent)
    poison = stack.submit(parent_id=parent, steps=2, fault="raise", at_step=1)
    view, *children = stack.until_ended(parent, fine, poison)
    assert [child.state for child in children] == [State.SUCCEEDED, State.FAILED]
    assert view.state == State.SUCCEEDED
    assert view.started_at is not None
    assert all(child.finished_at and child.finished_at <= view.started_at for child in children)
    assert stack.states(parent) == ["waiting", "queued", "running", "succeeded"]


def test_two_workers_share_the_work_and_run_nothing_twice(stack: Stack) -> None:
    stack.workers(2)
    job_ids = [stack.submit(steps=1, step_s=0.02) for _ in range(60)]
    views = stack.until_ended(*job_ids)
    assert {(view.state, view.attempts) for view in views} == {(State.SUCCEEDED, 1)}


def test_a_second_dispatcher_doubles_nothing(stack: Stack) -> None:
    stack.dispatchers(2)
    stack.worker()
    job_ids = [stack.submit() for _ in range(30)]
    views = stack.until_ended(*job_ids)
    assert {(view.state, view.attempts) for view in views} == {(State.SUCCEEDED, 1)}


def test_no_process_of_the_stack_logs_more_than_codes(stack: Stack) -> None:
    stack.worker()
    forge(stack, [])
    stack.until_ended(stack.submit())
    lines = [line for log in stack.folder.glob("*.log") for line in log.read_text().splitlines()]
    assert "message_refused" in {json.loads(line)["event"] for line in lines}
    assert not [line for line in lines if SECRET in line]
    assert set().union(*(json.loads(line) for line in lines)) <= LOGGED


LIST = "enteron:interactive"
SECRET = "Jane Doe 1957"
LOGGED = {
    "answers", "code", "event", "exception", "fence", "job_id", "jobs", "kind", "level", "line", "logger",
    "module", "objects_removed", "objects_seen", "place", "state", "timestamp", "worker_id",
}  # fmt: skip


def forge(stack: Stack, job_ids: list[uuid.UUID]) -> None:
    """Right messages for the given jobs, and wrong ones of many kinds, straight into the lists."""
    chance = random.Random(20261122)
    calls: list[object] = [[[str(job_id)], {}, {}] for job_id in job_ids]
    calls += [
        [[], {}, {}],
        [[SECRET], {}, {}],
        [[str(uuid.uuid4())], {}, {}],
        [[str(uuid.uuid4()), SECRET], {}, {}],
        [[str(uuid.uuid4())], {"kind": "training"}, {}],
        [[{"id": str(uuid.uuid4())}], {}, {}],
        [[None], {}, {}],
        [17, SECRET, []],
        SECRET,
        [["x" * 10_000], {}, {}],
        [[str(uuid.uuid4())], {}, {"callbacks": [{"task": SECRET}]}],
        *([[chance.randbytes(8).hex()], {}, {}] for _ in range(5)),
    ]
    client = stack.redis
    for call in calls:
        client.lpush(LIST, envelope("enteron.interactive", json.dumps(call)))
    client.lpush(LIST, envelope("os.system", json.dumps([[SECRET], {}, {}])))
    client.lpush(LIST, envelope("enteron.interactive", SECRET))
    pickled = envelope("enteron.interactive", SECRET, content_type="application/x-python-serialize")
    client.lpush(LIST, pickled)


def litter(stack: Stack) -> None:
    """What is not even a message."""
    for garbage in (SECRET, "[]", "{}", "null", '{"body": 1}', '{"properties": {}}', b"\x80\x04K\x01."):
        stack.redis.lpush(LIST, garbage)


def envelope(task: str, body: str, content_type: str = "application/json") -> str:
    """A message as kombu lays it into the list."""
    return json.dumps(
        {
            "body": body,
            "content-encoding": "utf-8",
            "content-type": content_type,
            "headers": {"lang": "py", "task": task, "id": str(uuid.uuid4()), "argsrepr": SECRET},
            "properties": {
                "correlation_id": str(uuid.uuid4()),
                "delivery_mode": 2,
                "delivery_info": {"exchange": "", "routing_key": "interactive"},
                "priority": 0,
                "body_encoding": "utf-8",
                "delivery_tag": str(uuid.uuid4()),
            },
        }
    )
