"""Messages between a supervisor and its child over a pipe: a JSON header, then raw buffers.

On the wire: 4 bytes big-endian length, then the JSON `[header, [bytes of each buffer]]`, then the buffers.
The functions work on the descriptor and never through a buffered stream, so that polling it tells the truth.
"""

import json
import os
import select
import struct
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

HEADER_LIMIT_BYTES = 1 << 20
BODY_LIMIT_BYTES = 1 << 30
_LENGTH = struct.Struct(">I")
# Linux takes at most 1,024 pieces in one writev.
_PIECES_PER_WRITE = 512

Buffer = bytes | bytearray | memoryview


class PipeClosed(EOFError):
    """The other side is gone: its end is closed, perhaps in mid-message."""


class PipeTimeout(TimeoutError):
    """The message did not pass in the time given; the pipe is out of step and must be dropped."""


class MalformedMessage(ValueError):
    """What arrived is no message, or one over the limits."""


class Stream(Protocol):
    """Anything with a file descriptor; it must be unbuffered if used otherwise too."""

    def fileno(self) -> int:
        """The descriptor."""
        ...


def send(
    stream: Stream,
    header: Mapping[str, Any],
    buffers: Sequence[Buffer] = (),
    *,
    timeout_s: float | None = None,
) -> None:
    """Write one message; with a timeout the descriptor becomes non-blocking."""
    views = [_flat(buffer) for buffer in buffers]
    head = json.dumps(
        [header, [len(view) for view in views]], separators=(",", ":"), allow_nan=False
    ).encode()
    if len(head) > HEADER_LIMIT_BYTES:
        raise MalformedMessage("header over the limit")
    fd = stream.fileno()
    if timeout_s is not None:
        # A write larger than the pipe would otherwise block however short the timeout is.
        os.set_blocking(fd, False)
    pieces = [memoryview(_LENGTH.pack(len(head)) + head), *(view for view in views if view)]
    _write(fd, pieces, _deadline(timeout_s))


def receive(
    stream: Stream, *, timeout_s: float | None = None, limit_bytes: int = BODY_LIMIT_BYTES
) -> tuple[dict[str, Any], list[bytearray]]:
    """Read one message; `limit_bytes` bounds what a hostile peer can make us allocate."""
    fd, deadline = stream.fileno(), _deadline(timeout_s)
    (length,) = _LENGTH.unpack(_read(fd, _LENGTH.size, deadline))
    if length > HEADER_LIMIT_BYTES:
        raise MalformedMessage("header over the limit")
    header, sizes = _parse(_read(fd, length, deadline))
    if sum(sizes) > limit_bytes:
        raise MalformedMessage("body over the limit")
    return header, [_read(fd, size, deadline) for size in sizes]


class _Descriptor:
    """A descriptor that belongs to nobody else."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def fileno(self) -> int:
        return self._fd


def adopt_stdio() -> tuple[Stream, Stream]:
    """In the child: move the pipes off descriptors 0 and 1, where a library's print would break them."""
    reader, writer = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(2, 1)
    os.close(null)
    return _Descriptor(reader), _Descriptor(writer)


def _parse(raw: bytearray) -> tuple[dict[str, Any], list[int]]:
    try:
        message = json.loads(raw)
    except (ValueError, RecursionError):
        raise MalformedMessage("header is not JSON") from None
    match message:
        case [dict(header), list(sizes)] if all(type(size) is int and size >= 0 for size in sizes):
            return header, sizes
    raise MalformedMessage("header is not of the agreed form")


def _flat(buffer: Buffer) -> memoryview:
    view = memoryview(buffer)
    # A view with a zero in its shape cannot be cast.
    return view.cast("B") if view.nbytes else memoryview(b"")


def _write(fd: int, pieces: list[memoryview], deadline: float | None) -> None:
    while pieces:
        try:
            written = os.writev(fd, pieces[:_PIECES_PER_WRITE])
        except BlockingIOError:
            _wait(fd, select.POLLOUT, deadline)
            continue
        except BrokenPipeError:
            raise PipeClosed("the other side is gone") from None
        while written:
            step = min(written, len(pieces[0]))
            written -= step
            pieces[0] = pieces[0][step:]
            if not pieces[0]:
                del pieces[0]


def _read(fd: int, size: int, deadline: float | None) -> bytearray:
    data = bytearray(size)
    rest = memoryview(data)
    while rest:
        if deadline is not None:
            _wait(fd, select.POLLIN, deadline)
        try:
            count = os.readv(fd, [rest])
        except BlockingIOError:
            _wait(fd, select.POLLIN, deadline)
            continue
        if count == 0:
            raise PipeClosed("the other side is gone")
        rest = rest[count:]
    return data


def _deadline(timeout_s: float | None) -> float | None:
    return None if timeout_s is None else time.monotonic() + timeout_s


def _wait(fd: int, event: int, deadline: float | None) -> None:
    poller = select.poll()
    poller.register(fd, event)
    timeout_ms = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
    if not poller.poll(timeout_ms):
        raise PipeTimeout("no answer in time")
