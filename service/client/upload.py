"""Bytes on their way to the service: counted, never whole in memory."""

import mimetypes
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, cast

# Called with (bytes done, bytes in all).
OnBytes = Callable[[int, int], None]

_CHUNK_BYTES = 1 << 20
_FIXED_TIME = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Zipped:
    """What went into a zip of a folder, and what was left out: links, hidden and special files."""

    files: int
    left_out: int


def media_type(path: Path) -> str:
    return mimetypes.guess_type(path.name)[0] or "application/octet-stream"


def chunks(path: Path, on_bytes: OnBytes | None = None) -> Iterator[bytes]:
    total = path.stat().st_size
    done = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk
            done += len(chunk)
            if on_bytes:
                on_bytes(done, total)


class CountedFile:
    """A binary file that tells how much of it was read, for a multipart body of several."""

    def __init__(self, file: BinaryIO, count: Callable[[int], None]) -> None:
        self._file = file
        self._count = count

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._count(len(data))
        return data

    def fileno(self) -> int:
        return self._file.fileno()

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


def parts(
    paths: Sequence[Path], *, field: str, opened: ExitStack, on_bytes: OnBytes | None = None
) -> list[tuple[str, tuple[str, IO[bytes], str]]]:
    """The files as parts of a multipart body; `opened` closes them."""
    total = sum(path.stat().st_size for path in paths)
    done = 0

    def count(read: int) -> None:
        nonlocal done
        done += read
        if on_bytes:
            on_bytes(min(done, total), total)

    def part(path: Path) -> tuple[str, IO[bytes], str]:
        counted = CountedFile(opened.enter_context(path.open("rb")), count)
        return path.name, cast(IO[bytes], counted), media_type(path)  # httpx reads, seeks and asks the size

    return [(field, part(path)) for path in paths]


def zip_folder(folder: Path, target: Path, *, on_files: OnBytes | None = None) -> Zipped:
    """Store the files of a folder, by their names within it, in order; nothing outside it can get in."""
    found = sorted(path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    taken = [path for path in found if _is_plain(path, folder)]
    _write_zip(taken, folder, target, on_files)
    return Zipped(files=len(taken), left_out=len(found) - len(taken))


def pack(paths: Sequence[Path], target: Path) -> list[Path]:
    """Zips as they are, all single images together in one zip; a second of a name gets a number before it."""
    archives = [path for path in paths if zipfile.is_zipfile(path)]
    single = [path for path in paths if path not in archives]
    if not single:
        return archives
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        seen: set[str] = set()
        for number, path in enumerate(single):
            name = path.name if path.name not in seen else f"{number}-{path.name}"
            seen.add(name)
            _store(archive, path, name)
    return [*archives, target]


def _is_plain(path: Path, folder: Path) -> bool:
    relative = path.relative_to(folder)
    inside = [folder.joinpath(*relative.parts[: depth + 1]) for depth in range(len(relative.parts))]
    hidden = any(part.startswith(".") for part in relative.parts)
    return path.is_file() and not hidden and not any(step.is_symlink() for step in inside)


def _write_zip(paths: Iterable[Path], folder: Path, target: Path, on_files: OnBytes | None) -> None:
    listed = list(paths)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for done, path in enumerate(listed, start=1):
            _store(archive, path, path.relative_to(folder).as_posix())
            if on_files:
                on_files(done, len(listed))


def _store(archive: zipfile.ZipFile, path: Path, name: str) -> None:
    # Times and rights of the files stay here; equal folders make equal zips.
    entry = zipfile.ZipInfo(name, date_time=_FIXED_TIME)
    entry.file_size = path.stat().st_size
    with path.open("rb") as source, archive.open(entry, "w") as stored:
        while chunk := source.read(_CHUNK_BYTES):
            stored.write(chunk)
