"""The Celery application of a worker: one task per queue, and nothing of Celery's own reliability.

`-P solo`: the task runs in the main thread, so SIGTERM is seen at once (`celery.worker.state.should_stop`),
and the runner is a process of its own anyway. Time limits and recycling of the prefork pool do not apply.
"""

from collections.abc import Callable, Sequence
from typing import Any

from celery import Celery, signals
from celery.apps.worker import Worker
from celery.worker import state

from service import broker
from service.domain.jobs import TASKS

Ring = Callable[..., None]


def build(broker_url: str, ring: Ring) -> Celery:
    """Register the engine under every task name; a message for another name is dropped by Celery."""
    app = broker.make_app(broker_url)
    for name in TASKS.values():
        app.task(name=name, ignore_result=True)(_named(ring))
    return app


def worker(app: Celery, queues: Sequence[str], *, name: str) -> Worker:
    signals.setup_logging.connect(_keep_our_logging)
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
    def enteron(*args: Any, **kwargs: Any) -> None:
        ring(*args, **kwargs)

    return enteron


def _keep_our_logging(**_: object) -> None:
    """A receiver keeps Celery from configuring the logging: `service.logs` has done it."""
