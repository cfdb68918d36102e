"""Objects as files of one folder, durable: file and folders are synced before a row may name the object.

obstore's local store renames without fsync (measured), hence this one.
"""

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from service.domain.errors import Unavailable
from service.store.objects import CHUNK_BYTES, Draft, Entry, ObjectMissing, ObjectStore, check_key

_DRAFTS = ".drafts"  # no key begins with a dot
DRAFT_LIFE_S = 86_400.0  # no upload lasts so long
_CLOSED = -1  # no descriptor: a write to it fails
_FULL = {errno.ENOSPC, errno.EDQUOT}


class FolderStore(ObjectStore):
    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        with _readable_errors():
            (self.root / _DRAFTS).mkdir(parents=True, exist_ok=True, mode=0o700)

    def draft(self, key: str) -> Draft:
        return _FileDraft(self.root / _DRAFTS / uuid4().hex, self._path(key), self.root)

    def open_stream(self, key: str) -> Iterator[bytes]:
        with _readable_errors(), self._path(key).open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk

    def get_range(self, key: str, *, offset: int, length: int) -> bytes:
        with _readable_errors(), self._path(key).open("rb") as file:
            file.seek(offset)
            return file.read(length)

    def delete(self, key: str) -> None:
        with _readable_errors():
            self._path(key).unlink(missing_ok=True)

    def entries(self, prefix: str = "") -> Iterator[Entry]:
        with _readable_errors():
            yield from self._below(self._path(prefix.rstrip("/")) if prefix else self.root)

    def _below(self, folder: Path) -> Iterator[Entry]:
        # What is deleted between being named and being looked at is no object any more.
        with suppress(FileNotFoundError), os.scandir(folder) as found:
            for item in found:
                if item.is_dir(follow_symlinks=False):
                    if item.name != _DRAFTS:
                        yield from self._below(folder / item.name)
                    continue
                with suppress(FileNotFoundError):
                    modified_at = datetime.fromtimestamp(item.stat(follow_symlinks=False).st_mtime, UTC)
                    yield Entry((folder / item.name).relative_to(self.root).as_posix(), modified_at)

    def sweep(self) -> int:
        limit = time.time() - DRAFT_LIFE_S
        old = [path for path in (self.root / _DRAFTS).iterdir() if path.stat().st_mtime < limit]
        for path in old:
            path.unlink(missing_ok=True)
        return len(old)

    def _path(self, key: str) -> Path:
        return self.root / (check_key(key) if "/" in key else check_key(f"{key}/_")[:-2])


class _FileDraft(Draft):
    def __init__(self, temporary: Path, target: Path, root: Path) -> None:
        super().__init__()
        self._temporary, self._target, self._root = temporary, target, root
        self._published = False
        with _readable_errors():
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
            self._descriptor = os.open(temporary, flags, 0o600)

    def _append(self, chunk: bytes) -> None:
        view = memoryview(chunk)
        with _readable_errors():
            while view:  # a write may be short, e.g. on a full disk
                view = view[os.write(self._descriptor, view) :]

    def _publish(self) -> None:
        with _readable_errors():
            os.fsync(self._descriptor)
            self._close()
            _make_durable_folder(self._target.parent, self._root)
            self._temporary.rename(self._target)
            self._published = True
            _sync_folder(self._target.parent)

    def discard(self) -> None:
        self._close()
        self._temporary.unlink(missing_ok=True)
        if self._published:  # what lies there otherwise is an earlier object of the same key
            self._target.unlink(missing_ok=True)
            self._published = False

    def _close(self) -> None:
        if self._descriptor != _CLOSED:
            os.close(self._descriptor)
            self._descriptor = _CLOSED


def _make_durable_folder(folder: Path, root: Path) -> None:
    if folder == root or folder.is_dir():
        return
    _make_durable_folder(folder.parent, root)
    folder.mkdir(exist_ok=True, mode=0o700)
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _readable_errors() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as problem:
        raise ObjectMissing("A stored object is missing.") from problem
    except OSError as problem:
        code = "storage_full" if problem.errno in _FULL else "object_store_unavailable"
        raise Unavailable("The object store does not take or give bytes just now.", code=code) from problem
