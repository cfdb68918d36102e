"""The Celery application of a worker: one task per queue, and nothing of Celery's own reliability.

`-P solo`: the task runs in the main thread, so SIGTERM is seen at once (`celery.worker.state.should_stop`),
and the runner is a process of its own anyway. Time limits and recycling of the prefork pool do not apply.
"""

from collections.abc import Callable, Sequence
from time import sleep

import structlog
from celery import Celery, signals
from celery.apps.worker import Worker
from celery.worker import state

from service import broker
from service.domain.jobs import TASKS
from workers.doorbell import Doorbell

log = structlog.get_logger()

Ring = Callable[[str], None]
PAUSE_S = 1.0


def build(broker_url: str, ring: Ring, doorbell: Doorbell) -> Celery:
    """Register the engine under every task name; a message for another name is dropped by Celery."""
    app = broker.make_app(broker_url)
    app.steps["consumer"].add(doorbell.step())
    answer = doorbell.answered_by(ring)
    for name in TASKS.values():
        app.task(name=name, ignore_result=True, Strategy="workers.message:strict")(_named(answer))
    return app


def run(app: Celery, queues: Sequence[str], *, name: str) -> None:
    """Take messages until a signal asks for the end.

    Garbage in the broker can break Celery's consumer; it is then made anew, without losing the slot.
    """
    signals.setup_logging.connect(_keep_our_logging)
    while True:
        _worker(app, queues, name).start()
        if draining():
            return
        log.error("consumer_broke")
        state.reset_state()
        sleep(PAUSE_S)


def _worker(app: Celery, queues: Sequence[str], name: str) -> Worker:
    return app.Worker(
        hostname=name,
        pool="solo",
        queues=list(queues),
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        quiet=True,
    )


def draining() -> bool:
    """Whether SIGTERM or Ctrl-C has asked this worker to stop. An exit code of 0 is a request too."""
    return any(flag is not None and flag is not False for flag in (state.should_stop, state.should_terminate))


def _named(ring: Ring) -> Ring:
    # Celery names tasks after functions and wraps each object once: every queue gets its own.
    def enteron(job_id: str) -> None:
        ring(job_id)

    return enteron


def _keep_our_logging(**_: object) -> None:
    """A receiver keeps Celery from configuring the logging: `service.logs` has done it."""
