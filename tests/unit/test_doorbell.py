"""When a worker counts as deaf: no answer of the broker for long, unless a job is running."""

from queue import Empty

import pytest

from workers.doorbell import Doorbell


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def doorbell(clock: Clock) -> Doorbell:
    return Doorbell(deaf_after_s=30, clock=clock)


def nothing_there() -> None:
    raise Empty


def connection_lost() -> None:
    raise ConnectionError


def test_silence_makes_deaf(doorbell: Doorbell, clock: Clock) -> None:
    assert doorbell.is_heard()
    clock.now_s += 31
    assert not doorbell.is_heard()


def test_that_there_is_no_message_is_an_answer_too(doorbell: Doorbell, clock: Clock) -> None:
    clock.now_s += 31
    with pytest.raises(Empty):
        doorbell.listening_to(nothing_there)()
    assert doorbell.is_heard()


def test_an_error_is_no_answer(doorbell: Doorbell, clock: Clock) -> None:
    clock.now_s += 31
    with pytest.raises(ConnectionError):
        doorbell.listening_to(connection_lost)()
    assert not doorbell.is_heard()


def test_a_job_may_take_as_long_as_it_likes(doorbell: Doorbell, clock: Clock) -> None:
    heard = []

    def work(job_id: str) -> None:
        clock.now_s += 3600
        heard.append(doorbell.is_heard())

    doorbell.answered_by(work)("id")
    assert heard == [True]
    assert doorbell.is_heard()
    clock.now_s += 31
    assert not doorbell.is_heard()
