import json
import os
import struct
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers import pipe


class End:
    def __init__(self, fd: int) -> None:
        self.fd = fd

    def fileno(self) -> int:
        return self.fd


@pytest.fixture
def ends() -> Iterator[tuple[End, End]]:
    read, write = os.pipe()
    yield End(read), End(write)
    for fd in (read, write):
        with suppress(OSError):
            os.close(fd)


headers = st.dictionaries(st.text(max_size=5), st.none() | st.integers() | st.text(max_size=5), max_size=4)


@given(headers, st.lists(st.binary(max_size=200_000), max_size=5))
def test_what_is_sent_arrives(header: dict[str, object], buffers: list[bytes]) -> None:
    read, write = os.pipe()
    try:
        sender = threading.Thread(target=pipe.send, args=(End(write), header, buffers))
        sender.start()
        assert pipe.receive(End(read)) == (header, buffers)
        sender.join()
    finally:
        os.close(read)
        os.close(write)


def test_more_buffers_than_one_writev_takes(ends: tuple[End, End]) -> None:
    buffers = [bytes([n % 256]) for n in range(3000)]
    sender = threading.Thread(target=pipe.send, args=(ends[1], {}, buffers))
    sender.start()
    assert pipe.receive(ends[0])[1] == buffers
    sender.join()


@pytest.mark.parametrize("sent", [b"", b"\x00\x00", struct.pack(">I", 10) + b"[{}"])
def test_end_of_stream_is_pipe_closed(ends: tuple[End, End], sent: bytes) -> None:
    os.write(ends[1].fd, sent)
    os.close(ends[1].fd)
    with pytest.raises(pipe.PipeClosed):
        pipe.receive(ends[0])


def test_sending_to_nobody_is_pipe_closed(ends: tuple[End, End]) -> None:
    os.close(ends[0].fd)
    with pytest.raises(pipe.PipeClosed):
        pipe.send(ends[1], {})


def test_silence_times_out(ends: tuple[End, End]) -> None:
    os.write(ends[1].fd, struct.pack(">I", 10) + b"[{}")
    with pytest.raises(pipe.PipeTimeout):
        pipe.receive(ends[0], timeout_s=0.01)


def test_a_peer_that_does_not_read_times_out(ends: tuple[End, End]) -> None:
    with pytest.raises(pipe.PipeTimeout):
        pipe.send(ends[1], {}, [bytes(10_000_000)], timeout_s=0.01)


@pytest.mark.parametrize(
    "head",
    [
        b"no json",
        b"{}",
        b"[{}]",
        b"[[], []]",
        b'[{}, ["1"]]',
        b"[{}, [-1]]",
        b"[{}, [true]]",
        b"[" * 100_000,
        json.dumps([{}, [pipe.BODY_LIMIT_BYTES + 1]]).encode(),
        json.dumps([{}, [pipe.BODY_LIMIT_BYTES // 2 + 1] * 2]).encode(),
    ],
)
def test_a_forged_header_is_refused(ends: tuple[End, End], head: bytes) -> None:
    message = struct.pack(">I", len(head)) + head
    sender = threading.Thread(target=os.write, args=(ends[1].fd, message))
    sender.start()
    with pytest.raises(pipe.MalformedMessage):
        pipe.receive(ends[0])
    sender.join()


def test_a_header_over_the_limit_is_refused_on_both_sides(ends: tuple[End, End]) -> None:
    with pytest.raises(pipe.MalformedMessage):
        pipe.send(ends[1], {"text": "x" * pipe.HEADER_LIMIT_BYTES})
    os.write(ends[1].fd, struct.pack(">I", pipe.HEADER_LIMIT_BYTES + 1))
    with pytest.raises(pipe.MalformedMessage):
        pipe.receive(ends[0])
