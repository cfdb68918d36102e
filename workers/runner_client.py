"""The supervisor's side of the runner: start it, ask it, stop it, survive it. Imports no torch.

A runner is started ahead and kept warm. For work that must find a fresh one it is used once and ended; the
next is started ahead again.
"""

import errno
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

from workers import pipe
from workers.interrupts import Cancelled, DeadlinePassed, Draining, Interrupt
from workers.scrubbed import child_environment

Header = dict[str, Any]
OnEvent = Callable[[Header], None]
InterruptedBy = Callable[[], Interrupt | None]

DISK_FULL = "disk_full"  # of a RunnerError: the machine is at fault, not the work
NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})
POLL_S = 0.05
MAX_CALLS = 2_000
MAX_RSS_GROWTH_BYTES = 2 << 30
# Threads that spin while they wait for each other stand still as soon as the cores are shared: beside three
# busy processes a training step took six times as long (1.20 s against 0.20 s). NumPy's matrices here are too
# small for a second thread.
THREADS = {"OMP_WAIT_POLICY": "PASSIVE", "OPENBLAS_NUM_THREADS": "1"}
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class RunnerDied(Exception):
    """The process ended in the middle of a request; `status` is its exit status, negative for a signal."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the runner ended with status {status}")
        self.status = status


class RunnerStalled(Exception):
    """Nothing was heard from it for too long, and it was killed."""


class RunnerError(Exception):
    """The operation refused or failed; `detail` is public."""

    def __init__(self, code: str, detail: str, *, exception: str = "", place: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.detail = detail
        self.exception = exception
        self.place = place


@dataclass(frozen=True)
class Graces:
    """How long an operation may take to stop when asked, in seconds; then its runner is killed."""

    cancel_s: float = 5.0
    drain_s: float = 20.0

    def of(self, interrupt: Interrupt) -> float:
        match interrupt:
            case Draining():
                return self.drain_s
            case Cancelled() | DeadlinePassed():
                return self.cancel_s
        return 0.0  # lost: whatever it does is for nothing


class RunnerProcess:
    """One child. Must be started in a thread that lives on: the kernel ends it with that thread."""

    def __init__(self, *, warm: bool = True, show_stderr: bool = False, compiled: Path | None = None) -> None:
        # What torch compiles and loads as native code lies in a folder of ours: its own default is guessable.
        folders = {} if compiled is None else {"TORCHINDUCTOR_CACHE_DIR": str(compiled)}
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-m", "workers.runner", str(os.getpid()), "warm" if warm else "cold"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # Libraries write free text there: only a developer asks for it.
            stderr=None if show_stderr else subprocess.DEVNULL,
            env=child_environment(os.environ, **THREADS, **folders),
            start_new_session=True,
            bufsize=0,
        )
        self.calls = 0
        self._rss_at_first = 0

    @property
    def pid(self) -> int:
        return self._process.pid

    def alive(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        """Ends the whole process group: an operation may have helpers of its own."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError):  # it ended by itself
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()

    def worn_out(self) -> bool:
        """Whether it has worked or grown so much that a new one is better."""
        rss = self._rss_bytes()
        if not self._rss_at_first:
            self._rss_at_first = rss
        return self.calls >= MAX_CALLS or rss > self._rss_at_first + MAX_RSS_GROWTH_BYTES

    def _rss_bytes(self) -> int:
        try:
            return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * _PAGE_BYTES
        except (OSError, IndexError):
            return 0

    def send(self, header: Mapping[str, Any], buffers: Sequence[pipe.Buffer], *, timeout_s: float) -> None:
        assert self._process.stdin is not None  # noqa: S101 - for the type checker: it is always a pipe
        pipe.send(self._process.stdin, header, buffers, timeout_s=timeout_s)

    def receive(self, *, wait_s: float, timeout_s: float) -> tuple[Header, list[bytearray]] | None:
        """The next message, or None when none has begun within `wait_s`."""
        assert self._process.stdout is not None  # noqa: S101 - for the type checker: it is always a pipe
        poller = select.poll()
        poller.register(self._process.stdout, select.POLLIN)
        if poller.poll(wait_s * 1000):
            return pipe.receive(self._process.stdout, timeout_s=timeout_s)
        if not self.alive():  # a helper that lives on holds the pipe open
            raise pipe.PipeClosed
        return None

    def status(self) -> int:
        return self._process.wait()


class Conversation:
    """One request to one runner until its answer, or until it has to be cut short."""

    def __init__(
        self,
        process: RunnerProcess,
        *,
        on_event: OnEvent,
        interrupted_by: InterruptedBy,
        stall_s: float,
        graces: Graces,
    ) -> None:
        self._process = process
        self._on_event = on_event
        self._interrupted_by = interrupted_by
        self._stall_s = stall_s
        self._graces = graces
        self._interrupt: Interrupt | None = None
        self._event_refused = False
        self._kill_at = float("inf")

    def hold(self, header: Header, buffers: Sequence[pipe.Buffer]) -> tuple[Header, list[bytearray]]:
        try:
            self._process.send(header, buffers, timeout_s=self._stall_s)
            return self._listen()
        except pipe.PipeClosed:
            raise RunnerDied(self._process.status()) from None
        except pipe.PipeTimeout:
            raise RunnerStalled from None

    def _listen(self) -> tuple[Header, list[bytearray]]:
        heard_at = monotonic()
        while True:
            message = self._process.receive(wait_s=POLL_S, timeout_s=self._stall_s)
            if message is not None:
                heard_at = monotonic()
                header, buffers = message
                if header["type"] in ("result", "error"):
                    return self._end(header, buffers)
                self._tell(header)
            elif monotonic() - heard_at > self._stall_s:
                raise RunnerStalled
            self._look_for_interrupt()

    def _end(self, header: Header, buffers: list[bytearray]) -> tuple[Header, list[bytearray]]:
        if header["type"] == "error":
            if self._interrupt is not None:
                raise self._interrupt
            raise RunnerError(
                header["code"],
                header["detail"],
                exception=header.get("exception", ""),
                place=header.get("place", ""),
            )
        # What came before the request to stop was heard is whole, unless one of its events was not taken.
        if self._interrupt is not None and (header.get("stopped") or self._event_refused):
            raise self._interrupt
        return header, buffers

    def _tell(self, event: Header) -> None:
        try:
            self._on_event(event)
        except Interrupt as interrupt:
            self._event_refused = True
            self._cut_short(interrupt)

    def _look_for_interrupt(self) -> None:
        if self._interrupt is None:
            interrupt = self._interrupted_by()
            if interrupt is not None:
                self._cut_short(interrupt)
        if monotonic() > self._kill_at and self._interrupt is not None:
            self._process.kill()
            raise self._interrupt

    def _cut_short(self, interrupt: Interrupt) -> None:
        if self._interrupt is None:
            self._process.send({"op": "stop"}, [], timeout_s=self._stall_s)
        self._interrupt = interrupt
        self._kill_at = min(self._kill_at, monotonic() + self._graces.of(interrupt))


class Runners:
    """The runner of one slot, started ahead; all calls come from one thread."""

    def __init__(self, start: Callable[[], RunnerProcess] = RunnerProcess) -> None:
        self._start = start
        self._ready: RunnerProcess | None = None

    def start_ahead(self) -> None:
        if self._ready is None or not self._ready.alive():
            self._discard()
            self._ready = self._start()

    def take(self, *, fresh: bool) -> RunnerProcess:
        if fresh and self._ready is not None and self._ready.calls:
            self._discard()
        self.start_ahead()
        process, self._ready = self._ready, None
        assert process is not None  # noqa: S101 - start_ahead has just made one
        return process

    def give_back(self, process: RunnerProcess, *, reuse: bool) -> None:
        if reuse and process.alive() and not process.worn_out():
            self._ready = process
        else:
            process.kill()
        self.start_ahead()

    def close(self) -> None:
        self._discard()

    def _discard(self) -> None:
        if self._ready is not None:
            self._ready.kill()
            self._ready = None


class RunnerClient:
    """What a body calls: the runner for one claim, taken at the first call."""

    def __init__(
        self,
        runners: Runners,
        *,
        fresh: bool,
        stall_s: float,
        graces: Graces,
        interrupted_by: InterruptedBy,
    ) -> None:
        self._runners = runners
        self._fresh = fresh
        self._stall_s = stall_s
        self._graces = graces
        self._interrupted_by = interrupted_by
        self._on_event: OnEvent = lambda _event: None
        self._process: RunnerProcess | None = None

    def listen(self, on_event: OnEvent) -> None:
        """Where events go when a call names no other place."""
        self._on_event = on_event

    def call(
        self,
        op: str,
        header: Mapping[str, Any] | None = None,
        buffers: Sequence[pipe.Buffer] = (),
        *,
        on_event: OnEvent | None = None,
        stall_s: float | None = None,
    ) -> tuple[Header, list[bytearray]]:
        """Ask for an operation and wait for its answer.

        Raises:
            RunnerDied, RunnerStalled: the process is gone; the next call gets a new one.
            RunnerError: the operation refused or failed.
            Interrupt: the job was cancelled, drained, lost or late, and the operation has stopped.
        """
        if self._process is None:
            self._process = self._runners.take(fresh=self._fresh)
        conversation = Conversation(
            self._process,
            on_event=on_event or self._on_event,
            interrupted_by=self._interrupted_by,
            stall_s=stall_s or self._stall_s,
            graces=self._graces,
        )
        self._process.calls += 1
        try:
            return conversation.hold({"op": op, **(header or {})}, buffers)
        except RunnerError as problem:
            if problem.code == "internal_error":  # CUDA may be broken, memory short: nobody knows
                self._drop()
            raise
        except Interrupt:
            if not self._process.alive():  # it did not stop in time
                self._drop()
            raise
        except BaseException:
            self._drop()
            raise

    def close(self) -> None:
        """End of the claim: the process goes back, or ends if it must not be used twice."""
        if self._process is not None:
            self._runners.give_back(self._process, reuse=not self._fresh)
            self._process = None

    def _drop(self) -> None:
        if self._process is not None:
            self._runners.give_back(self._process, reuse=False)
            self._process = None
