"""multipart/form-data, streamed: files go to the object store as they come, fields stay small."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from service.api import bodies
from service.domain.errors import FieldError, InvalidInput, TooLarge, Unsupported
from service.store.files import NewFile
from service.usecases.files import Incoming, Uploads

_FIELD_BYTES = 1 << 20
_NAME_LENGTH = 255
_BOUNDARY_LENGTH = 70  # RFC 2046
_BUFFER_BYTES = 4 << 20  # of one request, in memory


@dataclass(frozen=True)
class Rules:
    """What a form may hold; `max_file_bytes` knows the limit of each sniffed media type."""

    files: str
    fields: frozenset[str]
    max_body_bytes: int
    max_parts: int
    max_file_bytes: Callable[[str], int]


@dataclass(frozen=True)
class FilePart:
    """An uploaded file: `name` is the uploader's, cleaned of folders; it may identify a person."""

    name: str
    file: Incoming


@dataclass
class Form:
    fields: dict[str, str] = field(default_factory=dict)
    files: list[FilePart] = field(default_factory=list)

    def sha256(self, published: Sequence[NewFile]) -> str:
        """Of the parsed content: a repeated request has another boundary, and the same meaning."""
        files = [(part.name, new.sha256) for part, new in zip(self.files, published, strict=True)]
        return hashlib.sha256(json.dumps([self.fields, files], sort_keys=True).encode()).hexdigest()


async def read_form(request: Request, uploads: Uploads, rules: Rules) -> Form:
    """Parse the body. Files are in `uploads`, to be published; a limit or a fault raises at once."""
    reader = _Reader(uploads, rules)
    parser = MultipartParser(_boundary(request), reader.callbacks(), max_header_count=8, max_header_size=4096)
    async for chunk in bodies.stream(request, max_bytes=rules.max_body_bytes):
        try:
            parser.write(chunk)
        except FormParserError:
            raise _malformed() from None
        if uploads.buffered_bytes > _BUFFER_BYTES:
            await run_in_threadpool(uploads.relieve)
    if not reader.ended:
        raise _malformed()
    return reader.form


class _Reader:
    """The parser's callbacks. A part is a file or a field's text."""

    def __init__(self, uploads: Uploads, rules: Rules) -> None:
        self._uploads, self._rules = uploads, rules
        self.form = Form()
        self.ended = False
        self._parts = 0
        self._headers: dict[bytes, bytes] = {}
        self._header_name = self._header_value = b""
        self._field: str | None = None  # of the part that comes; None for a file
        self._text = bytearray()

    def callbacks(self) -> Any:
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._take_header_name,
            "on_header_value": self._take_header_value,
            "on_header_end": self._end_header,
            "on_headers_finished": self._end_headers,
            "on_part_data": self._take,
            "on_part_end": self._end_part,
            "on_end": self._end,
        }

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > self._rules.max_parts:
            raise TooLarge(f"More than {self._rules.max_parts} parts.")
        self._headers.clear()
        self._text.clear()

    def _take_header_name(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _take_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _end_header(self) -> None:
        self._headers[self._header_name.lower()] = self._header_value
        self._header_name = self._header_value = b""

    def _end_headers(self) -> None:
        disposition = self._headers.get(b"content-disposition", b"").decode("latin-1")
        _, options = parse_options_header(disposition)
        name = _decoded(options.get(b"name", b""))
        is_file = b"filename" in options
        if is_file and name == self._rules.files:
            self._field = None
            label = _clean(options[b"filename"].decode(errors="replace"))
            self.form.files.append(FilePart(label, self._uploads.open()))
        elif not is_file and name in self._rules.fields:
            if name in self.form.fields:
                raise InvalidInput("A field stands twice.", errors=[FieldError(f"/{name}", "only once")])
            self._field = name
        else:
            known = ", ".join(sorted(self._rules.fields))
            detail = f"files as {self._rules.files}, fields: {known or 'none'}"
            raise InvalidInput("The form has a part that is not known.", errors=[FieldError("", detail)])

    def _take(self, data: bytes, start: int, end: int) -> None:
        if self._field is None:
            self._take_bytes(data[start:end])
            return
        self._text += data[start:end]
        if len(self._text) > _FIELD_BYTES:
            raise TooLarge(f"The field at /{self._field} is over {_FIELD_BYTES} bytes.")

    def _take_bytes(self, chunk: bytes) -> None:
        file = self.form.files[-1].file
        file.take(chunk)
        limit = self._rules.max_file_bytes(file.media_type)
        if file.size_bytes > limit:
            place = f"/{self._rules.files}/{len(self.form.files) - 1}"
            raise TooLarge(f"The file at {place} is over {limit} bytes.")

    def _end_part(self) -> None:
        if self._field is not None:
            text = _decoded(bytes(self._text))
            bodies.check_text(text, f"/{self._field}")
            self.form.fields[self._field] = text

    def _end(self) -> None:
        self.ended = True


def _boundary(request: Request) -> bytes:
    kind, options = parse_options_header(request.headers.get("content-type"))
    if kind != b"multipart/form-data":
        raise Unsupported("This operation takes multipart/form-data.")
    boundary = options.get(b"boundary", b"")
    if not 0 < len(boundary) <= _BOUNDARY_LENGTH:
        raise _malformed()
    return boundary


def _decoded(text: bytes) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError:
        raise _malformed() from None


def _clean(name: str) -> str:
    """The last part of a path, printable and short: names never become paths, nor terminal commands."""
    last = name.replace("\\", "/").rpartition("/")[2]
    return "".join(character if character.isprintable() else "_" for character in last)[:_NAME_LENGTH]


def _malformed() -> InvalidInput:
    return InvalidInput(
        "The body is not multipart/form-data.",
        code="invalid_multipart",
        errors=[FieldError("", "broken off, or not with the boundary of the header")],
    )
