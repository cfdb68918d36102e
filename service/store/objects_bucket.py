"""Objects in a bucket, through obstore. A completed upload is durable and visible at once there."""

from collections.abc import Iterator
from contextlib import contextmanager

import obstore
from obstore.exceptions import BaseError
from obstore.store import from_url

from service.domain.errors import Unavailable
from service.store.objects import CHUNK_BYTES, Draft, Entry, ObjectMissing, ObjectStore, check_key

_PART_BYTES = 8 << 20


class BucketStore(ObjectStore):
    def __init__(self, url: str) -> None:
        self._store = from_url(url)

    def draft(self, key: str) -> Draft:
        return _BucketDraft(self._store, check_key(key))

    def open_stream(self, key: str) -> Iterator[bytes]:
        with _readable_errors():
            for chunk in obstore.get(self._store, check_key(key)).stream(min_chunk_size=CHUNK_BYTES):
                yield bytes(chunk)

    def get_range(self, key: str, *, offset: int, length: int) -> bytes:
        with _readable_errors():
            return bytes(obstore.get_range(self._store, check_key(key), start=offset, length=length))

    def delete(self, key: str) -> None:
        try:
            with _readable_errors():
                obstore.delete(self._store, check_key(key))
        except ObjectMissing:
            return

    def entries(self, prefix: str = "") -> Iterator[Entry]:
        with _readable_errors():
            for page in obstore.list(self._store, prefix=prefix or None):
                yield from (Entry(entry["path"], entry["last_modified"]) for entry in page)


class _BucketDraft(Draft):
    def __init__(self, store: obstore.store.ObjectStore, key: str) -> None:
        super().__init__()
        self._store, self._key = store, key
        self._published = False
        self._writer = obstore.open_writer(store, key, buffer_size=_PART_BYTES)

    def _append(self, chunk: bytes) -> None:
        with _readable_errors():
            self._writer.write(chunk)

    def _publish(self) -> None:
        with _readable_errors():
            self._published = True  # an error of `close` leaves open whether it is there
            self._writer.close()

    def discard(self) -> None:
        # Parts of an unfinished upload are dropped by the bucket's lifecycle rule (docs/operations.md).
        if self._published:
            with _readable_errors():
                obstore.delete(self._store, self._key)
            self._published = False


@contextmanager
def _readable_errors() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as problem:
        raise ObjectMissing("A stored object is missing.") from problem
    except (BaseError, OSError) as problem:
        raise Unavailable(
            "The object store does not take or give bytes just now.", code="object_store_unavailable"
        ) from problem
