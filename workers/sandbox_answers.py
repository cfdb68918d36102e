"""What the sandbox child answers, as values; checked, for what it read may have taken the child over."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from service.domain.frame_errors import FRAME_ERRORS

Message = tuple[dict[str, Any], list[bytearray]]
Request = tuple[dict[str, Any], Sequence[bytes]]


class SandboxRefused(ValueError):
    """The input is refused; `pointer` is the JSON Pointer of the field at fault, where there is one."""

    def __init__(self, code: str, message: str, pointer: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.pointer = pointer


@dataclass(frozen=True)
class Decoded:
    """A frame as the network reads it: `pixels` is uint8 [size, size, 3] RGB, the rest the frame's own."""

    pixels: bytearray
    width: int
    height: int
    quality: dict[str, Any]


@dataclass(frozen=True)
class Refused:
    """Why one frame is not read: a code of `service.domain.frame_errors`."""

    code: str
    message: str


@dataclass(frozen=True)
class ZipFrame:
    """One member of an archive; `offset` and `length` say where its showable bytes lie in the pack.

    Of a refused member only `ordinal`, `name` and `result` are set; `sha256` and `size_bytes` if it was read.
    """

    ordinal: int
    name: str
    result: Decoded | Refused
    sha256: str | None = None
    size_bytes: int | None = None
    offset: int = 0
    length: int = 0
    media_type: str | None = None


class ZipReading:
    """What is known of one archive while children come and go."""

    def __init__(self, path: Path, pack_path: Path, size: int, cpu_s: int, *, start: int = 0) -> None:
        self._fixed: dict[str, Any] = {"op": "unzip_frames", "path": str(path), "pack_path": str(pack_path)}
        self._fixed |= {"size": size, "cpu_s": cpu_s}
        self._size = size
        self._names: list[str] = []
        self._named = start
        self._pack_bytes = 0

    def total(self) -> int:
        """How many members there are; 0 until the first child has said so."""
        return len(self._names)

    def request(self, start: int, careful: bool) -> Request:
        """What to ask of a child that goes on from member `start`."""
        return {**self._fixed, "careful": careful, "start": start, "pack_bytes": self._pack_bytes}, ()

    def parse(self, message: Message) -> ZipFrame | None:
        """A frame, or None for another message; KeyError, TypeError or ValueError for nonsense."""
        header, buffers = message
        if header["type"] == "members":
            self._names = [str(name) for name in json.loads(buffers[0])]
        read = result(message, self._size)
        if read is None:
            return None
        size_bytes = int(header["size_bytes"]) if "size_bytes" in header else None
        frame = ZipFrame(0, "", read, header.get("sha256"), size_bytes)
        if isinstance(read, Refused):
            return frame
        offset, length = int(header["offset"]), int(header["length"])
        if offset != self._pack_bytes or length < 1:
            raise ValueError("the pack has a gap")
        self._pack_bytes += length
        return replace(frame, offset=offset, length=length, media_type=str(header["media_type"]))

    def named(self, answer: ZipFrame | Refused) -> ZipFrame:
        """The answer with its place in the archive, which the child does not repeat."""
        ordinal, self._named = self._named, self._named + 1
        frame = answer if isinstance(answer, ZipFrame) else ZipFrame(0, "", answer)
        return replace(frame, ordinal=ordinal, name=self._names[ordinal])


def result(message: Message, size: int) -> Decoded | Refused | None:
    """The frame in a message, or None for another message; as `ZipReading.parse` for nonsense."""
    header, buffers = message
    if header["type"] != "frame":
        return None
    if "error" in header:
        if header["error"] not in FRAME_ERRORS:
            raise ValueError("not a code of ours")
        return Refused(str(header["error"]), str(header["message"]))
    (pixels,) = buffers
    if len(pixels) != size * size * 3:
        raise ValueError("a square of another size")
    return Decoded(pixels, int(header["width"]), int(header["height"]), dict(header["quality"]))


def refusal(header: dict[str, Any]) -> SandboxRefused:
    """The refusal of a whole request."""
    pointer = header.get("pointer")
    return SandboxRefused(
        str(header.get("code")), str(header.get("message")), None if pointer is None else str(pointer)
    )
