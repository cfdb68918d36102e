"""Starts the embedded servers again when they end by themselves: killed for memory, say."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from service.embedded import Embedded
from service.embedded_process import EmbeddedError

_LOOK_EVERY_S = 2.0


@contextmanager
def kept_running(embedded: Embedded, say: Callable[[str], None]) -> Iterator[None]:
    """Look after both servers within the block."""
    leaving = threading.Event()
    thread = threading.Thread(target=_look_after, args=(embedded, say, leaving), name="revival", daemon=True)
    thread.start()
    try:
        yield
    finally:
        leaving.set()
        thread.join()


def _look_after(embedded: Embedded, say: Callable[[str], None], leaving: threading.Event) -> None:
    while not leaving.wait(_LOOK_EVERY_S):
        try:
            for title in embedded.start_ended():
                say(f"{title} had ended by itself; it runs again")
        except (EmbeddedError, OSError) as problem:  # no memory, no room: that may pass
            say(f"A server has ended and cannot be started: {problem}")
