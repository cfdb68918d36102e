"""Where frames come from: the members of a ZIP archive or of a folder, by name; for hostile archives.

The standard `zipfile` believes the sizes an archive declares and forgives much else, so the ZIP is read here:
`zip_directory` checks everything about its structure before one byte is inflated, and the real bytes of each
member are counted while it is. Names are labels for people, never paths; names dangerous as paths are refused
all the same, because they say what the archive was made for. An archive in the archive is a member like any
other, and no image.
"""

import os
import stat
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Literal, Protocol

from models.imaging.zip_directory import (
    LOCAL_HEADER,
    STORED,
    ArchiveLimits,
    ArchiveRefused,
    Entry,
    read_at,
    read_directory,
)

__all__ = ["ArchiveLimits", "ArchiveRefused", "FolderMembers", "MemberRefused", "Members", "ZipMembers"]

MemberCode = Literal["too_large", "corrupt_member", "unreadable_member"]
DEFAULT_LIMITS = ArchiveLimits()
# Small members of one colour exceed any ratio honestly; the ratio is there to stop big ones.
_RATIO_FLOOR_BYTES = 1 << 20
# Deflate enlarges what cannot be compressed, though by less than this for a member at the limit.
_DEFLATE_OVERHEAD_BYTES = 64 << 10
_FLAG_ENCRYPTED = 1
# What operating systems add beside the user's files.
_CLUTTER_FOLDER, _CLUTTER_FILES = "__MACOSX", frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})


class MemberRefused(ValueError):
    """This member alone cannot be read."""

    def __init__(self, code: MemberCode, message: str) -> None:
        super().__init__(message)
        self.code: MemberCode = code


class Members(Protocol):
    """Named byte strings."""

    def names(self) -> Sequence[str]:
        """All names, in the order of the source."""
        ...

    def read(self, name: str) -> bytes:
        """The bytes of one member.

        Raises:
            KeyError: no such name.
            MemberRefused: this member cannot be read.
            ArchiveRefused: reading it showed that the archive lies.
        """
        ...


class ZipMembers:
    """The regular files of a ZIP archive."""

    def __init__(self, handle: BinaryIO, limits: ArchiveLimits = DEFAULT_LIMITS) -> None:
        """Read and check the directory.

        Args:
            handle: the archive, seekable; it stays open and belongs to the caller.
            limits: what is refused.

        Raises:
            ArchiveRefused: see its codes.
        """
        self._handle = handle
        self._limits = limits
        self._entries: dict[str, Entry] = {}
        for entry in read_directory(handle, limits):
            if entry.name.endswith("/") or _is_clutter(entry.name):
                continue
            if self._entries.setdefault(entry.name, entry) is not entry:
                raise ArchiveRefused("duplicate_name", "the archive has two members of one name")
        self._check_sizes(handle.seek(0, os.SEEK_END))

    def names(self) -> Sequence[str]:
        """Names of the regular files in the order of the directory, without operating systems' clutter."""
        return list(self._entries)

    def read(self, name: str) -> bytes:
        """See `Members.read`."""
        entry = self._entries[name]
        limit = self._limits.max_member_bytes
        if entry.size_bytes > limit or entry.packed_bytes > limit + _DEFLATE_OVERHEAD_BYTES:
            raise MemberRefused("too_large", f"the file has more than {limit} bytes")
        packed = self._packed(entry)
        data = packed if entry.compression == STORED else _inflate(packed, entry.size_bytes)
        if len(data) != entry.size_bytes:
            raise ArchiveRefused("forged_size", "a member is not of the size the archive declares")
        if zlib.crc32(data) != entry.crc32:
            raise MemberRefused("corrupt_member", "the file's checksum in the archive does not fit")
        return data

    def _check_sizes(self, archive_bytes: int) -> None:
        ratio, entries = self._limits.max_ratio, self._entries.values()
        total = sum(entry.size_bytes for entry in entries)
        if total > self._limits.max_total_bytes:
            raise ArchiveRefused("too_large", "the archive's members are too large together")
        if any(
            entry.size_bytes > max(_RATIO_FLOOR_BYTES, ratio * entry.packed_bytes) for entry in entries
        ) or (total > max(_RATIO_FLOOR_BYTES, ratio * archive_bytes)):
            raise ArchiveRefused(
                "compression_ratio", f"the archive unpacks to more than {ratio} times its size"
            )

    def _packed(self, entry: Entry) -> bytes:
        """The member's compressed bytes, once its local header agrees with the directory."""
        header = read_at(self._handle, entry.offset, LOCAL_HEADER.size)
        magic, _, flags, compression, *_, name_length, extra_length = LOCAL_HEADER.unpack(header)
        name_start = entry.offset + LOCAL_HEADER.size
        if (
            magic != b"PK\x03\x04"
            or compression != entry.compression
            or flags & _FLAG_ENCRYPTED
            or read_at(self._handle, name_start, name_length) != entry.raw_name
        ):
            raise ArchiveRefused("damaged_zip", "the archive's headers contradict its directory")
        start = name_start + name_length + extra_length
        if start + entry.packed_bytes > entry.end_limit:
            raise ArchiveRefused("overlapping_members", "members of the archive share bytes")
        return read_at(self._handle, start, entry.packed_bytes)


class FolderMembers:
    """The regular files under a folder; symbolic links are neither followed nor listed."""

    def __init__(self, folder: Path, limits: ArchiveLimits = DEFAULT_LIMITS) -> None:
        """List the files.

        Args:
            folder: the root; names are relative to it, with slashes.
            limits: `max_members` and `max_member_bytes` count here.

        Raises:
            ArchiveRefused: too many files.
        """
        self._folder = folder
        self._limits = limits
        self._names: dict[str, None] = {}
        for name in _walk(folder):
            if len(self._names) >= limits.max_members:
                raise ArchiveRefused(
                    "too_many_members", f"the folder has more than {limits.max_members} files"
                )
            self._names[name] = None

    def names(self) -> Sequence[str]:
        """Names in sorted order, without operating systems' clutter."""
        return list(self._names)

    def read(self, name: str) -> bytes:
        """See `Members.read`."""
        if name not in self._names:
            raise KeyError(name)
        limit = self._limits.max_member_bytes
        try:
            # Between listing and reading somebody may have put a link there.
            fd = os.open(self._folder / name, os.O_RDONLY | os.O_NOFOLLOW)
            with os.fdopen(fd, "rb") as handle:
                data = handle.read(limit + 1)
        except OSError:
            raise MemberRefused("unreadable_member", "the file cannot be read") from None
        if len(data) > limit:
            raise MemberRefused("too_large", f"the file has more than {limit} bytes")
        return data


def _walk(folder: Path) -> Iterator[str]:
    for place, folders, files in os.walk(folder, followlinks=False):
        folders.sort()
        for file in sorted(files):
            path = Path(place) / file
            name = path.relative_to(folder).as_posix()
            if stat.S_ISREG(path.lstat().st_mode) and not _is_clutter(name):
                yield name


def _is_clutter(name: str) -> bool:
    first, _, _ = name.partition("/")
    return first == _CLUTTER_FOLDER or name.rpartition("/")[2] in _CLUTTER_FILES


def _inflate(packed: bytes, declared_bytes: int) -> bytes:
    """Inflates one byte more than declared at most: enough to see that the archive lies."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        data = inflater.decompress(packed, declared_bytes + 1)
    except zlib.error:
        raise MemberRefused("corrupt_member", "the file's compressed data are damaged") from None
    if len(data) <= declared_bytes and (not inflater.eof or inflater.unused_data):
        raise MemberRefused("corrupt_member", "the file's compressed data do not end where they should")
    return data
