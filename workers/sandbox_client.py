"""The worker's side of the sandbox: hostile bytes go to a confined child, pixels and plain values come back.

A frame that kills or stalls the child fails alone: the child is replaced and goes on after it. One `Sandbox`
serves one thread, and that thread must outlive it: the kernel ends the child with the thread that started it.
"""

import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal, Self, TypeVar, cast

from workers import pipe
from workers.sandbox_answers import (
    Decoded,
    Message,
    Refused,
    Request,
    SandboxRefused,
    ZipFrame,
    ZipReading,
    refusal,
    result,
)
from workers.scrubbed import child_environment

__all__ = ["Decoded", "Refused", "Sandbox", "SandboxRefused", "SandboxUnavailable", "ZipFrame"]

Network = Literal["required", "best-effort"]
LostCode = Literal["decoder_died", "decoder_timeout"]

_START_TIMEOUT_S = 60.0
# Until the first answer about an archive, whose directory or tables may be long.
_OPENING_WALL_S = 120.0
_MAX_FRAMES_PER_REQUEST = 256
_MAX_BYTES_PER_REQUEST = 256 << 20
_MAX_ANSWER_BYTES = 256 << 20
_MAX_LOST_ROWS = 16
# Room for several decoded frames, where the kernel allows it.
_PIPE_BYTES = 1 << 20
_COMMAND = (sys.executable, "-s", "-m", "workers.sandbox")
_ROOT = Path(__file__).resolve().parents[1]

T = TypeVar("T")
Given = TypeVar("Given")
Made = TypeVar("Made")


class SandboxUnavailable(RuntimeError):
    """The child does not start, or the kernel grants no isolation although it is required."""


class _Lost(Exception):
    """The child died, stalled or answered nonsense; it has been ended."""

    def __init__(self, code: LostCode) -> None:
        super().__init__(code)
        self.code = code

    @property
    def refused(self) -> Refused:
        stalled = self.code == "decoder_timeout"
        return Refused(self.code, "reading it took too long" if stalled else "reading it ended the decoder")


class Sandbox:
    """A confined child, started ahead and replaced when it is lost."""

    def __init__(
        self,
        *,
        network: Network = "required",
        cpu_s: int = 20,
        wall_s: float = 30.0,
        command: Sequence[str] = _COMMAND,
    ) -> None:
        """Set the limits.

        Args:
            network: "required" refuses to work where the kernel leaves the child a network.
            cpu_s: processor seconds for one frame or row.
            wall_s: seconds to wait for any one answer.
            command: what to start, our process id added; tests start a child that dies on demand.
        """
        self._network = network
        self._cpu_s = cpu_s
        self._wall_s = wall_s
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        self._is_greeted = False
        self.confinement: Mapping[str, bool] = {}

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """The child's process id while there is one."""
        return self._process.pid if self._process else None

    def close(self) -> None:
        """End the child; the next request would start another."""
        self._end()

    def ping(self) -> None:
        """Return once a child answers; SandboxUnavailable where none does."""
        self._simple({"op": "ping"}, ())

    def decode(self, frames: Sequence[bytes], size: int) -> list[Decoded | Refused]:
        """Decode frames to squares of `size` pixels; one result per frame, in order."""
        results: list[Decoded | Refused] = []
        while len(results) < len(frames):
            results.extend(self._decode_chunk(_chunk(frames, len(results)), size))
        return results

    def frames_from_zip(
        self,
        path: Path,
        size: int,
        *,
        pack_path: Path,
        batch: int = 64,
        start: int = 0,
        on_count: Callable[[int], None] = lambda members: None,
    ) -> Iterator[list[ZipFrame]]:
        """Read an archive in batches, from member `start` on; decoding runs ahead of the caller.

        `on_count` hears before each batch, and once more at the end, how many members there are.

        Raises SandboxRefused if the archive as a whole is refused, perhaps after some batches.
        """
        reading = ZipReading(path, pack_path, size, self._cpu_s, start=start)
        pending: list[ZipFrame] = []
        with closing(self._survive(reading.request, reading.parse, reading.total, start)) as answers:
            for answer in answers:
                pending.append(reading.named(answer))
                if len(pending) == batch:
                    on_count(reading.total())
                    yield pending
                    pending = []
        on_count(reading.total())
        if pending:
            yield pending

    def to_png(self, data: bytes) -> bytes:
        """The frame as a PNG, for browsers that do not show TIFF; SandboxRefused if it cannot be read."""
        buffers = self._simple({"op": "to_png", "cpu_s": self._cpu_s}, [data])
        return bytes(buffers[0])

    def ingest(
        self,
        path: Path,
        fmt: str,
        *,
        options: Mapping[str, Any],
        out_dir: Path,
        on_progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> dict[str, Any]:
        """Make a dataset of frames in `out_dir` from an archive and return its report.

        A row that kills the decoder is refused and the ingest begun again without it, a few times.
        """
        fixed = {"op": "ingest", "path": str(path), "format": fmt, "options": dict(options), "careful": True}
        distrusted: list[int] = []
        while True:
            row = -1
            header = {**fixed, "out_dir": str(out_dir), "cpu_s": self._cpu_s, "distrusted": distrusted}
            try:
                with closing(self._exchange(header, ())) as messages:
                    for message in messages:
                        match message:
                            case {"type": "progress", "done": int(row), "total": int(total)}, _:
                                on_progress(row, total)
                            case {"type": "done"}, [report]:
                                return _parsed(lambda raw: cast("dict[str, Any]", json.loads(raw)), report)
                raise _Lost("decoder_died")
            except _Lost as lost:
                if row < 0 or row in distrusted or len(distrusted) == _MAX_LOST_ROWS:
                    raise SandboxRefused(lost.code, lost.refused.message) from None
                distrusted.append(row)

    def _simple(self, header: dict[str, Any], buffers: Sequence[bytes]) -> list[bytearray]:
        """One request and its `done`, tried on a second child before it is given up."""
        for is_last in (False, True):
            try:
                for message, answer in self._exchange(header, buffers):
                    if message.get("type") == "done":
                        return answer
            except _Lost as lost:
                if is_last:
                    raise SandboxRefused(lost.code, lost.refused.message) from None
        raise AssertionError("an exchange ends with done or an exception")

    def _decode_chunk(self, frames: Sequence[bytes], size: int) -> list[Decoded | Refused]:
        def request(start: int, careful: bool) -> Request:
            header = {"op": "decode", "size": size, "cpu_s": self._cpu_s, "careful": careful}
            return header, frames[start:]

        return list(self._survive(request, lambda message: result(message, size), lambda: len(frames)))

    def _survive(
        self,
        request: Callable[[int, bool], Request],
        parse: Callable[[Message], T | None],
        total: Callable[[], int],
        start: int = 0,
    ) -> Generator[T | Refused, None, None]:
        """Answers frame by frame; after a lost child another goes on from the first frame without an answer.

        The first child decodes ahead of its answers, so its death does not say which frame is to blame. The
        one after it is asked to be careful, that is to answer each frame before it opens the next.
        """
        done, careful = start, False
        while True:
            try:
                with closing(self._exchange(*request(done, careful))) as messages:
                    for message in messages:
                        answer = _parsed(parse, message)
                        if answer is None:
                            continue
                        if done >= total():
                            raise _Lost("decoder_died")
                        done += 1
                        yield answer
                if done < total():
                    raise _Lost("decoder_died")
                return
            except _Lost as lost:
                if total() and done >= total():
                    return
                if careful:
                    if not total():
                        raise SandboxRefused(lost.code, lost.refused.message) from None
                    done += 1
                    yield lost.refused
                careful = not careful

    def _exchange(self, header: dict[str, Any], buffers: Sequence[bytes]) -> Generator[Message, None, None]:
        """Send one request and yield its answers up to `done`; a child left in the middle is ended."""
        to_child, from_child = self._ready()
        is_finished = False
        try:
            pipe.send(to_child, header, buffers, timeout_s=self._wall_s)
            wait_s = max(self._wall_s, _OPENING_WALL_S) if "path" in header else self._wall_s
            while not is_finished:
                message = pipe.receive(from_child, timeout_s=wait_s, limit_bytes=_MAX_ANSWER_BYTES)
                wait_s = self._wall_s
                kind = message[0].get("type")
                is_finished = kind in {"done", "refused"}
                if kind == "refused":
                    raise refusal(message[0])
                yield message
        except pipe.PipeTimeout:
            raise _Lost("decoder_timeout") from None
        except pipe.MalformedMessage:
            raise _Lost("decoder_died") from None
        except pipe.PipeClosed:
            raise _Lost(self._cause_of_death()) from None
        finally:
            if not is_finished:
                self._end()

    def _ready(self) -> tuple[IO[bytes], IO[bytes]]:
        """The pipes of a child that has said hello."""
        process = self._process
        if process is None or process.poll() is not None:
            process = self._start()
        to_child, from_child = process.stdin, process.stdout
        if to_child is None or from_child is None:
            raise SandboxUnavailable("the sandbox child has no pipes")
        if not self._is_greeted:
            try:
                hello, _ = pipe.receive(from_child, timeout_s=_START_TIMEOUT_S)
            except (pipe.PipeClosed, pipe.PipeTimeout, pipe.MalformedMessage):
                self._end()
                raise SandboxUnavailable("the sandbox child does not start") from None
            self.confinement = {name: hello.get(name) is True for name in ("namespace", "seccomp")}
            if self._network == "required" and not any(self.confinement.values()):
                self._end()
                raise SandboxUnavailable("the kernel grants the sandbox child no isolation from the network")
            self._is_greeted = True
        return to_child, from_child

    def _start(self) -> subprocess.Popen[bytes]:
        self._end()
        # One thread each: the child's memory limit counts the address space that pools reserve.
        environment = child_environment(
            os.environ,
            OMP_NUM_THREADS="1",
            OPENBLAS_NUM_THREADS="1",
            ARROW_DEFAULT_MEMORY_POOL="system",
            MALLOC_ARENA_MAX="2",
        )
        self._process = subprocess.Popen(  # noqa: S603 - our own module under our own interpreter
            [*self._command, str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env=environment,
            cwd=_ROOT,
            start_new_session=True,
        )
        for stream in (self._process.stdin, self._process.stdout):
            with suppress(PermissionError):
                fcntl.fcntl(stream, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)  # type: ignore[arg-type]  # both are pipes
        return self._process

    def _end(self) -> None:
        process, self._process, self._is_greeted = self._process, None, False
        if process is None:
            return
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()

    def _cause_of_death(self) -> LostCode:
        """SIGXCPU says that the child had used up its processor time."""
        try:
            status = self._process.wait(1.0) if self._process else 0
        except subprocess.TimeoutExpired:
            return "decoder_died"
        return "decoder_timeout" if status == -signal.SIGXCPU else "decoder_died"


def _chunk(frames: Sequence[bytes], start: int) -> Sequence[bytes]:
    """The frames of one request: at least one, then as many as the limits allow."""
    end, total = start, 0
    while end < min(len(frames), start + _MAX_FRAMES_PER_REQUEST):
        total += len(frames[end])
        if total > _MAX_BYTES_PER_REQUEST and end > start:
            break
        end += 1
    return frames[start:end]


def _parsed(parse: Callable[[Given], Made], given: Given) -> Made:
    try:
        return parse(given)
    except (KeyError, IndexError, TypeError, ValueError, RecursionError):
        raise _Lost("decoder_died") from None
