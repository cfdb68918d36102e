"""The runner child: answers one request after another with torch and models, and holds no credentials.

`python -m workers.runner PARENT_PID warm|cold`. It ends with its supervisor: by signal from the kernel, or
when the pipe closes. A warm one imports the models before it is asked for them, which takes seconds.
"""

import os
import queue
import re
import resource
import sys
import threading
from contextlib import suppress

from service.attached import die_with
from workers import pipe, selftest
from workers.operations import Answer, Header, Operation, Request
from workers.place import place
from workers.runner_client import DISK_FULL, NO_SPACE


def ping(_request: Request) -> Answer:
    return {"pid": os.getpid()}, []


BUILT_IN: dict[str, Operation] = {"ping": ping, "selftest": selftest.count}


def find(op: str) -> Operation:
    """The operation of that name; the models are imported with the first one that is not built in."""
    if op in BUILT_IN:
        return BUILT_IN[op]
    from workers.runner_catalogue import catalogue  # noqa: PLC0415
    from workers.runner_ops import OPERATIONS  # noqa: PLC0415

    return {**OPERATIONS, "catalogue": catalogue}[op]


class Server:
    """Reads requests in a thread of its own, so that a stop is heard while an operation runs."""

    def __init__(self, reader: pipe.Stream, writer: pipe.Stream) -> None:
        self._reader = reader
        self._writer = writer
        self._requests: queue.SimpleQueue[tuple[Header, list[bytearray]]] = queue.SimpleQueue()
        self._stop = threading.Event()

    def serve(self, *, warm: bool) -> None:
        threading.Thread(target=self._listen, daemon=True).start()
        if warm:
            with suppress(Exception):  # told again to whoever asks for a model
                find("catalogue")
        while True:
            header, buffers = self._requests.get()
            self._answer(header, buffers)

    def _listen(self) -> None:
        try:
            while True:
                header, buffers = pipe.receive(self._reader)
                if header["op"] == "stop":
                    self._stop.set()
                else:
                    # A stop that came for the last request is not meant for this one.
                    self._stop.clear()
                    self._requests.put((header, buffers))
        finally:
            os._exit(0)  # the supervisor is gone, or out of step: an operation may be running

    def _answer(self, header: Header, buffers: list[bytearray]) -> None:
        try:
            operation = find(header.pop("op"))
            result, out = operation(Request(header, buffers, self._emit, self._stop.is_set))
        except Exception as problem:  # whatever it is, the supervisor decides
            pipe.send(self._writer, {"type": "error", **describe(problem)})
        else:
            pipe.send(self._writer, {"type": "result", **result}, out)

    def _emit(self, event: Header) -> None:
        pipe.send(self._writer, event)


def describe(problem: Exception) -> dict[str, str]:
    """Refusals of `models` speak for themselves; of all else only the class is told, never the text."""
    kind = type(problem)
    if isinstance(problem, ValueError) and kind.__module__.partition(".")[0] == "models":
        snake = re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()
        detail = getattr(problem, "message", None) or str(problem)
        if pointer := getattr(problem, "pointer", ""):
            detail = f"{pointer}: {detail}"  # which parameter: the same for a recipe's and a spec's
        return {"code": str(getattr(problem, "code", snake)), "detail": detail, "exception": kind.__name__}
    if isinstance(problem, OSError) and problem.errno in NO_SPACE:
        return {"code": DISK_FULL, "detail": "The worker's disk is full.", "exception": kind.__name__}
    return {"code": "internal_error", "detail": "", "exception": kind.__name__, "place": place(problem)}


def main() -> None:
    die_with(int(sys.argv[1]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold frames
    Server(*pipe.adopt_stdio()).serve(warm=sys.argv[2] == "warm")


if __name__ == "__main__":
    main()
