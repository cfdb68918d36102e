"""Counting: what `enteron doctor` and the fault tests have done. It can break on purpose, where allowed."""

import os
import signal
import time

from workers.operations import STOPPED, Answer, Request


class SelftestFault(RuntimeError):
    """The fault `raise`."""


def count(request: Request) -> Answer:
    """Count to `steps`, `step_s` seconds each; `fault` happens before step `at_step`."""
    header = request.header
    steps = int(header["steps"])
    for step in range(steps):
        if request.should_stop():
            return STOPPED
        if header.get("fault") and step == int(header.get("at_step", 0)):
            _break(str(header["fault"]))
        time.sleep(float(header.get("step_s", 0)))
        request.emit(
            {"type": "progress", "done": step + 1, "total": steps, "unit": "steps", "code": "counting"}
        )
    return {"steps": steps}, ()


def _break(fault: str) -> None:
    match fault:
        case "crash":
            os.kill(os.getpid(), signal.SIGKILL)
        case "hang":
            time.sleep(3600)
        case _:
            raise SelftestFault
