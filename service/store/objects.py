"""Bytes by key: a local folder or a bucket. Keys are made here from ids and hashes, never from names.

Rows name objects, so an object is whole and durable before the row that names it is committed.
"""

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit
from uuid import UUID

from service.domain.errors import ServiceError, TooLarge

CHUNK_BYTES = 1 << 20
_KEY = re.compile(r"(?!\.)[A-Za-z0-9._-]+(/(?!\.)[A-Za-z0-9._-]+)+")


class ObjectMissing(ServiceError):
    code = "object_missing"
    title = "Stored bytes are not where they should be."


class ObjectCorrupt(ServiceError):
    code = "object_corrupt"
    title = "Stored bytes are not what they were."


@dataclass(frozen=True)
class Stored:
    """What was written: SHA-256 in hex, and the length."""

    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class Entry:
    """An object in a listing, and when it was written (aware, by the store's clock)."""

    key: str
    modified_at: datetime


def file_key(tenant_id: UUID, file_id: UUID) -> str:
    return f"{tenant_id}/files/{file_id}"


def job_key(tenant_id: UUID, job_id: UUID, *, fence: int, sha256: str) -> str:
    return f"{tenant_id}/jobs/{job_id}/{fence}/{sha256}"


class Draft(ABC):
    """An object being written; nobody sees it before `commit`, and `discard` leaves nothing behind."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.size_bytes = 0

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def write(self, chunk: bytes) -> None:
        self._hash.update(chunk)
        self.size_bytes += len(chunk)
        self._append(chunk)

    def commit(self) -> Stored:
        """Make it durable under its key."""
        self._publish()
        return Stored(self.sha256, self.size_bytes)

    @abstractmethod
    def discard(self) -> None:
        """Drop what was written, before or after the commit; safe to repeat."""

    @abstractmethod
    def _append(self, chunk: bytes) -> None: ...

    @abstractmethod
    def _publish(self) -> None: ...


class ObjectStore(ABC):
    """Where bytes lie. Every method may raise `Unavailable`; those that read, `ObjectMissing`."""

    @staticmethod
    def from_url(url: str) -> "ObjectStore":
        """`file:///folder`, or a bucket as obstore spells it: s3://, gs://, az://."""
        if urlsplit(url).scheme == "file":
            from service.store.objects_folder import FolderStore  # noqa: PLC0415 - it imports this module

            return FolderStore(Path(unquote(urlsplit(url).path)))
        from service.store.objects_bucket import BucketStore  # noqa: PLC0415 - saves 10 MB where unused

        return BucketStore(url)

    @abstractmethod
    def draft(self, key: str) -> Draft: ...

    @abstractmethod
    def open_stream(self, key: str) -> Iterator[bytes]: ...

    @abstractmethod
    def get_range(self, key: str, *, offset: int, length: int) -> bytes: ...

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove the object; one that is not there is removed already."""

    @abstractmethod
    def entries(self, prefix: str = "") -> Iterator[Entry]:
        """Committed objects below a folder of keys, read as they are asked for: there may be millions."""

    def list(self, prefix: str = "") -> Iterator[str]:
        """Their keys alone."""
        return (entry.key for entry in self.entries(prefix))

    def sweep(self) -> int:
        """Remove what killed processes left unfinished long ago; a bucket's lifecycle rule does it there."""
        return 0

    def get(self, key: str) -> bytes:
        return b"".join(self.open_stream(key))

    def put_stream(self, key: str, chunks: Iterable[bytes], *, max_bytes: int) -> Stored:
        draft = self.draft(key)
        try:
            for chunk in chunks:
                if draft.size_bytes + len(chunk) > max_bytes:
                    raise TooLarge(f"More than {max_bytes} bytes.")
                draft.write(chunk)
            return draft.commit()
        except BaseException:
            draft.discard()
            raise

    def put_bytes(self, key: str, data: bytes) -> Stored:
        return self.put_stream(key, [data], max_bytes=len(data))

    def put_file(self, key: str, path: Path) -> Stored:
        return self.put_stream(key, _chunks(path), max_bytes=path.stat().st_size)

    def fetch_to(self, key: str, path: Path, *, expected_sha256: str) -> None:
        """Copy to a file; bytes with another hash than expected leave no file."""
        digest = hashlib.sha256()
        try:
            with path.open("wb") as file:
                for chunk in self.open_stream(key):
                    digest.update(chunk)
                    file.write(chunk)
            if digest.hexdigest() != expected_sha256:
                raise ObjectCorrupt("The hash of a stored object is not the recorded one.")
        except BaseException:
            path.unlink(missing_ok=True)
            raise


def check_key(key: str) -> str:
    """Keys are ours, so a bad one is a mistake in the code; it must not become a path all the same."""
    if _KEY.fullmatch(key) is None:
        raise ValueError("not an object key")
    return key


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk
