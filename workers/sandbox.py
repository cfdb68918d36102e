"""The child that reads hostile bytes: images, archives, datasets. `sandbox_client` starts it and asks.

Every request is answered by messages of type `frame`, `members`, `progress`, then one `done` or `refused`.
"""

import hashlib
import io
import json
import os
import queue
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from workers import confinement, pipe

# A new namespace wants a process without threads, and numpy and pyarrow start some: so this comes first.
_NAMESPACE = confinement.leave_network() if __name__ == "__main__" else False

import pyarrow as pa  # noqa: E402 - see above
from PIL import Image  # noqa: E402

from models.imaging.archive import ArchiveRefused, MemberRefused, ZipMembers  # noqa: E402
from models.imaging.decode import Undecodable, decode_frame, sniff  # noqa: E402
from models.imaging.ingest import ingest_frames  # noqa: E402
from models.imaging.label_table import IngestRefused  # noqa: E402
from models.imaging.preprocess import fit_square  # noqa: E402
from models.imaging.quality import assess  # noqa: E402

# Frames decoded ahead of what the parent has taken: it keeps this child busy while the network runs.
_LOOKAHEAD_FRAMES = 64
# Before the first frame: the directory of a million members takes about 10 s of it.
_OPENING_CPU_S = 60

Send = Callable[[dict[str, Any], Sequence[pipe.Buffer]], None]


def main() -> None:
    """Confine this process, then answer requests until the parent closes the pipe."""
    parent_pid = int(sys.argv[1])
    reader, writer = pipe.adopt_stdio()
    os.umask(0o077)
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    Image.init()
    confinement.limit_resources()
    seccomp = confinement.forbid_syscalls()
    # After the namespace: a change of credentials clears it.
    confinement.die_with(parent_pid)
    pipe.send(writer, {"type": "hello", "namespace": _NAMESPACE, "seccomp": seccomp})
    # From here on there is foreign content, and libraries print what they find wrong with it.
    _silence_stderr()
    with suppress(pipe.PipeClosed):
        while True:
            header, buffers = pipe.receive(reader)
            _answer(header, buffers, writer)


def _silence_stderr() -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    os.close(null)


def _answer(header: dict[str, Any], buffers: list[bytearray], writer: pipe.Stream) -> None:
    confinement.allow_cpu(_OPENING_CPU_S)
    with _outbox(writer, 0 if header.get("careful") else _LOOKAHEAD_FRAMES) as send:
        try:
            done = _OPS[header["op"]](header, buffers, send)
        except (ArchiveRefused, IngestRefused, Undecodable) as refused:
            pointer = refused.pointer if isinstance(refused, IngestRefused) else None
            answer = {"type": "refused", "code": refused.code, "message": str(refused), "pointer": pointer}
            send(answer, ())
        else:
            send({"type": "done"}, done)


@contextmanager
def _outbox(writer: pipe.Stream, lookahead: int) -> Iterator[Send]:
    """A `send` that returns at once while fewer than `lookahead` messages wait; with 0 it waits each time."""
    if not lookahead:
        yield lambda header, buffers: pipe.send(writer, header, buffers)
        return
    waiting: queue.Queue[tuple[dict[str, Any], Sequence[pipe.Buffer]] | None] = queue.Queue(lookahead)

    def work() -> None:
        while (message := waiting.get()) is not None:
            try:
                pipe.send(writer, *message)
            except pipe.PipeClosed:
                # The parent has gone, and with it the reason to live.
                os._exit(0)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield lambda header, buffers: waiting.put((header, buffers))
    finally:
        waiting.put(None)
        thread.join()


def _decode(header: dict[str, Any], buffers: list[bytearray], send: Send) -> Sequence[pipe.Buffer]:
    for data in buffers:
        confinement.allow_cpu(header["cpu_s"])
        send(*_frame(bytes(data), header["size"]))
    return ()


def _frame(data: bytes, size: int) -> tuple[dict[str, Any], Sequence[pipe.Buffer]]:
    try:
        rgb = decode_frame(data)
    except Undecodable as refused:
        return {"type": "frame", "error": refused.code, "message": str(refused)}, ()
    square = fit_square(rgb, size)
    height, width, _ = rgb.shape
    described = {"type": "frame", "width": width, "height": height, "quality": asdict(assess(square))}
    return described, (square.data,)


def _unzip_frames(header: dict[str, Any], buffers: list[bytearray], send: Send) -> Sequence[pipe.Buffer]:
    """Frames from member `start` on; the pack is cut to `pack_bytes` first: what a dead child did."""
    with Path(header["path"]).open("rb") as archive, _pack(header) as pack:
        members = ZipMembers(archive)
        names = members.names()
        send({"type": "members"}, (json.dumps(names).encode(),))
        for name in names[header["start"] :]:
            confinement.allow_cpu(header["cpu_s"])
            try:
                data = members.read(name)
            except MemberRefused as refused:
                send({"type": "frame", "error": refused.code, "message": str(refused)}, ())
                continue
            described, square = _frame(data, header["size"])
            described |= {"sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}
            send(described | ({} if "error" in described else _store(data, pack)), square)
    return ()


@contextmanager
def _pack(header: dict[str, Any]) -> Iterator[BinaryIO]:
    fd = os.open(header["pack_path"], os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    with os.fdopen(fd, "wb") as pack:
        pack.truncate(header["pack_bytes"])
        pack.seek(header["pack_bytes"])
        yield pack


def _store(data: bytes, pack: BinaryIO) -> dict[str, Any]:
    """The pack holds what a browser shows: JPEG and PNG as they came, a TIFF as PNG."""
    media_type = sniff(data)
    if media_type == "image/tiff":
        media_type, data = "image/png", _png(data)
    offset = pack.tell()
    pack.write(data)
    # Before the parent hears of it: it may cut the pack of a later child at this very byte.
    pack.flush()
    return {"offset": offset, "length": len(data), "media_type": media_type}


def _to_png(header: dict[str, Any], buffers: list[bytearray], send: Send) -> Sequence[pipe.Buffer]:
    confinement.allow_cpu(header["cpu_s"])
    return (_png(bytes(buffers[0])),)


def _png(data: bytes) -> bytes:
    out = io.BytesIO()
    Image.fromarray(decode_frame(data)).save(out, "PNG", compress_level=1)
    return out.getvalue()


def _ingest(header: dict[str, Any], buffers: list[bytearray], send: Send) -> Sequence[pipe.Buffer]:
    def progress(done: int, total: int) -> None:
        confinement.allow_cpu(header["cpu_s"])
        send({"type": "progress", "done": done, "total": total}, ())

    with Path(header["path"]).open("rb") as archive:
        report = ingest_frames(
            ZipMembers(archive),
            header["format"],
            header["options"],
            out_dir=Path(header["out_dir"]),
            progress=progress,
            distrusted=frozenset(header["distrusted"]),
        )
    return (json.dumps(report.to_json()).encode(),)


def _ping(header: dict[str, Any], buffers: list[bytearray], send: Send) -> Sequence[pipe.Buffer]:
    return ()


_OPS: dict[str, Callable[[dict[str, Any], list[bytearray], Send], Sequence[pipe.Buffer]]] = {
    "decode": _decode,
    "unzip_frames": _unzip_frames,
    "to_png": _to_png,
    "ingest": _ingest,
    "ping": _ping,
}

if __name__ == "__main__":
    main()
