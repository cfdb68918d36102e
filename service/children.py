"""The processes of one machine: started together, restarted when they end, stopped in order."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_LOOK_EVERY_S = 0.25
_LONGEST_PAUSE_S = 30.0
_SETTLED_S = 60.0  # a child that lived so long starts its count of failures anew
_LOG_BYTES = 20 << 20


@dataclass(frozen=True)
class Part:
    """One process: what runs, with which environment, and how long it may take to stop."""

    name: str
    module: Sequence[str]  # as after `python -m`
    environment: Mapping[str, str]
    log: Path
    stage: int = 0  # lower stages stop first
    grace_s: float = 10.0
    niceness: int = 0
    fds: Sequence[int] = ()  # files it inherits
    late: bool = False  # starts only when `start_late` is called


class _Child:
    def __init__(self, part: Part) -> None:
        self.part = part
        self.process: subprocess.Popen[bytes] | None = None
        self.failures = 0
        self.due_at = 0.0
        self.started_at = 0.0

    def start(self) -> None:
        with open(self.part.log, "ab", opener=_private) as file:
            attached = ("-m", "service.attached", str(os.getpid()), str(self.part.niceness))
            self.process = subprocess.Popen(  # noqa: S603 - our own modules
                [sys.executable, *attached, *self.part.module],
                env=dict(self.part.environment),
                pass_fds=self.part.fds,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,  # Ctrl-C reaches `enteron up` alone, which stops all in order
            )
        self.started_at = time.monotonic()

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def turn_log(self) -> None:
        """Keep the last of a long log; the process goes on writing at the end of the emptied file."""
        log = self.part.log
        if log.exists() and log.stat().st_size > _LOG_BYTES:
            with open(log.with_suffix(".log.1"), "wb", opener=_private) as kept:
                kept.write(log.read_bytes()[-_LOG_BYTES:])
            os.truncate(log, 0)

    def note_end(self) -> float:
        """Count a death; returns how long to wait before the next start."""
        now = time.monotonic()
        self.failures = 1 if now - self.started_at > _SETTLED_S else self.failures + 1
        self.process = None
        pause_s = float(min(_LONGEST_PAUSE_S, 0.5 * 2 ** (self.failures - 1)))
        self.due_at = now + pause_s
        return pause_s

    def signal(self, number: signal.Signals) -> None:
        if self.runs and self.process is not None:
            self.process.send_signal(number)


class Children:
    """Owns the processes in one thread of its own: they end when the thread that started them ends."""

    def __init__(
        self, parts: Sequence[Part], say: Callable[[str], None], hurry: threading.Event | None = None
    ) -> None:
        self._children = [_Child(part) for part in parts]
        self._say = say
        self._stop = threading.Event()
        self._late = threading.Event()
        self._hurry = hurry or threading.Event()
        self._thread = threading.Thread(target=self._run, name="children", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def start_late(self) -> None:
        """Start the late ones too."""
        self._late.set()

    def stop(self) -> None:
        """Ask all to end, stage by stage, and wait for it."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def failing(self, times: int = 3) -> Part | None:
        """A part that ended so often in a row that waiting for it is no use."""
        return next((child.part for child in self._children if child.failures >= times), None)

    def pids(self) -> dict[str, int]:
        return {child.part.name: child.process.pid for child in self._children if child.process is not None}

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                for child in self._children:
                    self._look_after(child)
                self._stop.wait(_LOOK_EVERY_S)
        finally:
            self._stop_all()

    def _look_after(self, child: _Child) -> None:
        if child.process is not None and not child.runs:
            self._note_end(child, f"ended (code {child.process.returncode})")
        if child.process is None and child.due_at <= time.monotonic() and self._may_start(child):
            try:
                child.start()
            except OSError as problem:  # no memory, no processes left: that may pass
                self._note_end(child, f"could not be started ({problem.strerror})")
        child.turn_log()

    def _may_start(self, child: _Child) -> bool:
        return self._late.is_set() or not child.part.late

    def _note_end(self, child: _Child, what: str) -> None:
        self._say(f"{child.part.name} {what}; it starts again in {child.note_end():g} s")

    def _stop_all(self) -> None:
        for stage in sorted({child.part.stage for child in self._children}):
            group = [child for child in self._children if child.part.stage == stage]
            for child in group:
                child.signal(signal.SIGTERM)
            for child in group:
                self._wait(child)

    def _wait(self, child: _Child) -> None:
        deadline = time.monotonic() + child.part.grace_s
        while child.runs and time.monotonic() < deadline and not self._hurry.is_set():
            time.sleep(0.02)
        if child.runs:
            self._say(f"{child.part.name} did not end in time and is killed")
            child.signal(signal.SIGKILL)
        if child.process is not None:
            child.process.wait()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
