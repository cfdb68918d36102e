"""Whether the broker is heard: a worker can be deaf and look well, for it beats in a thread of its own.

Celery asks Redis for a message every second and gets an answer, if only that there is none. When none has
come for long the connection is lost, or the consumer hangs: jobs run elsewhere, and readiness tells.
"""

from collections.abc import Callable
from queue import Empty
from time import monotonic
from typing import Any

from celery import bootsteps

POLL = "BRPOP"


class Doorbell:
    """Heard at every answer of the broker and as long as a job runs, for nobody asks meanwhile."""

    def __init__(self, *, deaf_after_s: float, clock: Callable[[], float] = monotonic) -> None:
        self._deaf_after_s = deaf_after_s
        self._clock = clock
        self._heard_at = clock()
        self._at_work = False

    def heard(self) -> None:
        self._heard_at = self._clock()

    def is_heard(self) -> bool:
        return self._at_work or self._clock() - self._heard_at < self._deaf_after_s

    def answered_by(self, ring: Callable[[str], None]) -> Callable[[str], None]:
        """The same task; the time after it counts anew."""

        def run(job_id: str) -> None:
            self._at_work = True
            try:
                ring(job_id)
            finally:
                self.heard()
                self._at_work = False

        return run

    def listening_to(self, read: Callable[..., Any]) -> Callable[..., Any]:
        """The channel's reader of answers, overheard."""

        def overheard(**options: Any) -> Any:
            try:
                answer = read(**options)
            except Empty:
                self.heard()
                raise
            self.heard()
            return answer

        return overheard

    def step(self) -> type[bootsteps.StartStopStep]:
        """A step of Celery's consumer, which starts anew with every connection."""
        doorbell = self

        class Listening(bootsteps.StartStopStep):  # type: ignore[misc]  # Celery is untyped
            requires = ("celery.worker.consumer.tasks:Tasks",)

            def start(self, consumer: Any) -> None:
                handlers = consumer.connection.default_channel.handlers
                handlers[POLL] = doorbell.listening_to(handlers[POLL])

        return Listening
