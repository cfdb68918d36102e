"""The Celery application as producer and workers share it: a doorbell that carries job ids (JOBS 7)."""

from typing import Any

from celery import Celery
from kombu.entity import Queue as MessageQueue

from service.domain.jobs import Queue

KEY_PREFIX = "enteron:"

# Redis may lose, double or forge any message: the job row decides, so nothing here tries to be reliable.
SETTINGS: dict[str, Any] = {
    "task_ignore_result": True,
    "result_backend": None,
    "task_serializer": "json",
    "accept_content": ["json"],
    "event_serializer": "json",
    "task_acks_late": False,  # no redelivery and no reject loop: the lease does that work
    "task_reject_on_worker_lost": False,
    "task_publish_retry": False,  # the row comes round again
    "task_create_missing_queues": False,  # a typo fails
    "task_queues": [
        MessageQueue(queue.value, routing_key=queue.value)  # type: ignore[no-untyped-call]  # kombu is untyped
        for queue in Queue
    ],
    "task_default_queue": Queue.INTERACTIVE.value,
    "task_send_sent_event": False,
    "task_track_started": False,
    "worker_send_task_events": False,
    "worker_enable_remote_control": False,  # no control channel
    "worker_prefetch_multiplier": 1,
    "worker_disable_prefetch": True,  # no head-of-line blocking
    "worker_hijack_root_logger": False,
    "worker_redirect_stdouts": False,
    "worker_cancel_long_running_tasks_on_connection_loss": False,  # a job outlives its doorbell
    "worker_detect_quorum_queues": False,
    "broker_connection_timeout": 3,
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,  # wait; readiness tells
    "broker_transport_options": {
        "socket_timeout": 10,
        "socket_connect_timeout": 3,
        "socket_keepalive": True,
        "health_check_interval": 10,  # a half-open connection is found in about 20 s
        "visibility_timeout": 600,
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
        "global_keyprefix": KEY_PREFIX,
    },
    "enable_utc": True,
}


def make_app(broker_url: str) -> Celery:
    app = Celery("enteron", broker=broker_url, set_as_current=False, config_source=None)
    app.conf.update(SETTINGS)
    return app
