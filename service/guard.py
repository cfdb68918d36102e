"""`python -m service.guard HOME`: stops the embedded servers when `enteron up` was killed.

PostgreSQL and Redis detach from whoever starts them, so `kill -9` of `enteron up` would leave them behind.
This process reads a pipe that only `enteron up` holds open: a byte says that all is stopped, its bare end
that it was killed.
"""

import fcntl
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

LOCK_NAME = "up.lock"
_TRY_FOR_S = 2.0  # the kernel closes a dead process's files one after another

Holder = Literal["up", "guard"]


class Held(RuntimeError):
    """Another process holds the folder; `holder` says which kind."""

    def __init__(self, holder: str) -> None:
        super().__init__(f"held by {holder}")
        self.holder = holder


@contextmanager
def hold(home: Path, holder: Holder, *, wait_s: float) -> Iterator[None]:
    """One `enteron up` per folder; the kernel frees the lock of a killed one."""
    with open(home / LOCK_NAME, "a+") as lock:
        _take(lock.fileno(), home, wait_s)
        lock.truncate(0)
        lock.write(holder)
        lock.flush()
        yield


def _take(descriptor: int, home: Path, wait_s: float) -> None:
    deadline = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise Held((home / LOCK_NAME).read_text()) from None
            time.sleep(0.05)
        else:
            return


def main(home: Path) -> None:
    if sys.stdin.buffer.read(1):
        return
    try:
        with hold(home, "guard", wait_s=_TRY_FOR_S):
            # 50 MB that a waiting process need not hold.
            from service.client.access import forget_address  # noqa: PLC0415
            from service.embedded import Embedded  # noqa: PLC0415

            forget_address(home)
            Embedded(home).stop()
    except Held:
        return  # the next `enteron up` was faster, and goes on with the servers


if __name__ == "__main__":
    main(Path(sys.argv[1]))
