"""Where the frames of an analysis come from: uploaded images and archives of them, decoded in the sandbox."""

import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path

from service.domain import media
from service.domain.imaging import StoredBytes
from service.store.findings import Part, ReadingTask
from service.store.objects import ObjectCorrupt
from workers.claimed import Claimed
from workers.reading import Frame
from workers.sandbox_client import Decoded, Refused, ZipFrame


class FrameSource:
    """The frames of one job, in an order and in blocks that are the same at every attempt.

    With `shown` the bytes that a browser can show are stored too; a reader of numbers alone needs none.
    Bytes that are not the recorded ones are refused; `as_found` reads them, and the frame's hash tells.
    """

    def __init__(
        self, job: Claimed, task: ReadingTask, *, size_px: int, shown: bool = True, as_found: bool = False
    ) -> None:
        self._job = job
        self._task = task
        self._size_px = size_px
        self._shown = shown
        self._as_found = as_found
        self._images_total = sum(part.media_type != media.ARCHIVE for part in task.parts)
        self._members_total: dict[int, int] = {}  # by the ordinal of the archive's first frame
        self.block_count = 0  # known once `blocks` has come to its end

    @property
    def total(self) -> int:
        """Frames in all; those of an archive count from when it is opened."""
        return self._images_total + sum(self._members_total.values())

    def all_images(self) -> list[Frame]:
        """Every part of an analysis without archives."""
        return self._images(self._task.parts, first=0)

    def blocks(self, block_frames: int, *, done: Set[int] = frozenset()) -> Iterator[tuple[int, list[Frame]]]:
        """Number and frames of each block from the first not `done` on; images and archives do not mix."""
        first = number = 0
        for run in _runs(self._task.parts):
            skipped = first_missing(done, number) - number
            is_archive = run[0].media_type == media.ARCHIVE
            blocks = self._archive if is_archive else self._in_blocks
            yield from enumerate(blocks(run, first, block_frames, skipped), start=number + skipped)
            frames = self._members_total[first] if is_archive else len(run)
            first += frames
            number += -(-frames // block_frames)
        self.block_count = number

    def _in_blocks(
        self, images: Sequence[Part], first: int, block_frames: int, skipped: int
    ) -> Iterator[list[Frame]]:
        for start in range(skipped * block_frames, len(images), block_frames):
            yield self._images(images[start : start + block_frames], first=first + start)

    def _images(self, parts: Sequence[Part], *, first: int) -> list[Frame]:
        contents = [self._content(part) for part in parts]
        decoded = self._job.sandbox.decode(contents, self._size_px)
        return [
            self._frame(first + place, *found)
            for place, found in enumerate(zip(parts, contents, decoded, strict=True))
        ]

    def _content(self, part: Part) -> bytes:
        content = self._job.objects.get(part.object_key)
        if not self._as_found and _sha256(content) != part.sha256:
            raise ObjectCorrupt("The hash of a stored frame is not the recorded one.")
        return content

    def _frame(self, ordinal: int, part: Part, content: bytes, decoded: Decoded | Refused) -> Frame:
        stored = self._showable(part, content) if self._shown and isinstance(decoded, Decoded) else None
        return Frame(
            ordinal=ordinal,
            name=part.name,
            sha256=_sha256(content),
            size_bytes=part.size_bytes,
            media_type=part.media_type,
            stored=stored,
            decoded=decoded,
            thresholds=self._thresholds,
        )

    def _showable(self, part: Part, content: bytes) -> StoredBytes:
        """Browsers show no TIFF, so a PNG of it is kept beside."""
        if part.media_type != media.TIFF:
            return StoredBytes(part.object_key, 0, part.size_bytes)
        key, _, size_bytes = self._job.put_object(self._job.sandbox.to_png(content))
        return StoredBytes(key, 0, size_bytes)

    def _archive(
        self, run: Sequence[Part], first: int, block_frames: int, skipped: int
    ) -> Iterator[list[Frame]]:
        (part,) = run
        path, pack = self._job.scratch / f"{first}.zip", self._job.scratch / f"{first}.pack"
        self._fetch(part, path)

        def count(members: int) -> None:
            self._members_total[first] = members

        members = self._job.sandbox.frames_from_zip(
            path,
            self._size_px,
            pack_path=pack,
            batch=block_frames,
            start=skipped * block_frames,
            on_count=count,
        )
        for batch in members:
            start, content = _slice(pack, batch) if self._shown else (0, b"")
            key = self._job.put_object(content)[0] if content else None
            yield [self._member(frame, first, key, start) for frame in batch]

    def _fetch(self, part: Part, path: Path) -> None:
        if not self._as_found:
            self._job.objects.fetch_to(part.object_key, path, expected_sha256=part.sha256)
            return
        with path.open("wb") as file:
            file.writelines(self._job.objects.open_stream(part.object_key))

    def _member(self, frame: ZipFrame, first: int, key: str | None, start: int) -> Frame:
        stored = StoredBytes(key, frame.offset - start, frame.length) if key and frame.length else None
        return Frame(
            ordinal=first + frame.ordinal,
            name=frame.name,
            sha256=frame.sha256 or "",
            size_bytes=frame.size_bytes or 0,
            media_type=frame.media_type,
            stored=stored,
            decoded=frame.result,
            thresholds=self._thresholds,
        )

    @property
    def _thresholds(self) -> Mapping[str, float]:
        thresholds: Mapping[str, float] = self._task.weights.spec["operating_points"][
            self._task.operating_point
        ]
        return thresholds


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _slice(pack: Path, batch: Sequence[ZipFrame]) -> tuple[int, bytes]:
    """The part of the pack that holds these frames, and where in the pack it begins."""
    kept = [frame for frame in batch if frame.length]
    if not kept:
        return 0, b""
    start = min(frame.offset for frame in kept)
    end = max(frame.offset + frame.length for frame in kept)
    with pack.open("rb") as file:
        file.seek(start)
        return start, file.read(end - start)


def first_missing(done: Set[int], number: int = 0) -> int:
    """The first block from this number on that is not done: a count of those that are would miss a gap."""
    return next(block for block in itertools.count(number) if block not in done)


def _runs(parts: Sequence[Part]) -> Iterator[Sequence[Part]]:
    """Neighbouring images together, each archive by itself."""
    images: list[Part] = []
    for part in parts:
        if part.media_type != media.ARCHIVE:
            images.append(part)
            continue
        if images:
            yield images
        images = []
        yield [part]
    if images:
        yield images
