"""The directory of a ZIP archive, read strictly: what is encrypted, dangerous or contradictory is refused.

Format: PKWARE APPNOTE 6.3.10. Written for `archive`, which says why the standard library does not serve.
"""

import os
import re
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Literal, NamedTuple

ArchiveCode = Literal[
    "not_a_zip",
    "damaged_zip",
    "encrypted",
    "unsafe_name",
    "duplicate_name",
    "special_file",
    "unsupported_compression",
    "overlapping_members",
    "too_many_members",
    "too_large",
    "compression_ratio",
    "forged_size",
]

STORED, DEFLATED = 0, 8
LOCAL_HEADER = struct.Struct("<4s5H3L2H")

_AES = 99
_END = struct.Struct("<4s4H2LH")
_END64_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_EXTRA = struct.Struct("<2H")
_ZIP64_EXTRA = 1
_FLAG_UTF8 = 1 << 11
# Encrypted, strongly encrypted, directory encrypted.
_FLAGS_ENCRYPTED = 1 | 1 << 6 | 1 << 13
_FLAG_PATCH = 1 << 5
_MAX16, _MAX32 = 0xFFFF, 0xFFFFFFFF
_MAX_NAME_BYTES = 1024
# Bounds the memory before anything is parsed; real tools write about 80 bytes and the name.
_MAX_DIRECTORY_BYTES_PER_MEMBER = 512
_DIRECTORY_FLOOR_BYTES = 1 << 20
_UNSAFE_NAME = re.compile(r"^/|^[A-Za-z]:|(?:^|/)\.\.(?:/|$)|[\x00-\x1f\x7f]")


class ArchiveRefused(ValueError):
    """The whole archive is refused; the message holds no names and no content."""

    def __init__(self, code: ArchiveCode, message: str) -> None:
        super().__init__(message)
        self.code: ArchiveCode = code


@dataclass(frozen=True)
class ArchiveLimits:
    """What an archive may cost."""

    max_members: int = 1_000_000
    max_member_bytes: int = 16 << 20
    max_total_bytes: int = 32 << 30
    max_ratio: int = 100


class Entry(NamedTuple):
    """One member as the directory declares it."""

    name: str
    raw_name: bytes
    compression: int
    crc32: int
    packed_bytes: int
    size_bytes: int
    offset: int
    # Where the next member or the directory begins: this member must end before.
    end_limit: int


class _Directory(NamedTuple):
    members: int
    size_bytes: int
    offset: int


def read_directory(handle: BinaryIO, limits: ArchiveLimits) -> list[Entry]:
    """All entries in the order of the directory, folders too; ArchiveRefused if one is not acceptable."""
    where = _locate(handle)
    if where.members > limits.max_members:
        raise ArchiveRefused("too_many_members", f"the archive has more than {limits.max_members} members")
    if where.size_bytes > _DIRECTORY_FLOOR_BYTES + where.members * _MAX_DIRECTORY_BYTES_PER_MEMBER:
        raise ArchiveRefused("damaged_zip", "the archive's directory is too large")
    raw = read_at(handle, where.offset, where.size_bytes)
    return _with_end_limits(list(_entries(raw, where.members)), where.offset)


def read_at(handle: BinaryIO, offset: int, size: int) -> bytes:
    """Exactly `size` bytes from `offset`."""
    handle.seek(offset)
    data = handle.read(size)
    if len(data) != size:
        raise ArchiveRefused("damaged_zip", "the archive ends too early")
    return data


def _locate(handle: BinaryIO) -> _Directory:
    """From the end record; nothing may lie between the two, so that no second directory can hide there."""
    size = handle.seek(0, os.SEEK_END)
    tail_offset = max(0, size - _END.size - _MAX16)
    tail = read_at(handle, tail_offset, size - tail_offset)
    at = tail.rfind(b"PK\x05\x06")
    if at < 0:
        raise ArchiveRefused("not_a_zip", "the file is not a ZIP archive")
    if len(tail) < at + _END.size:
        raise ArchiveRefused("damaged_zip", "the archive ends too early")
    _, disk, first_disk, disk_count, count, directory_bytes, offset, comment = _END.unpack_from(tail, at)
    if len(tail) != at + _END.size + comment or disk or first_disk or disk_count != count:
        raise ArchiveRefused("damaged_zip", "the archive's end record is damaged")
    directory, end = _Directory(count, directory_bytes, offset), tail_offset + at
    if count == _MAX16 or _MAX32 in (directory_bytes, offset):
        directory, end = _locate64(handle, end)
    if directory.offset + directory.size_bytes != end:
        raise ArchiveRefused("damaged_zip", "the archive's directory is not where its end record says")
    return directory


def _locate64(handle: BinaryIO, end: int) -> tuple[_Directory, int]:
    at = end - _END64_LOCATOR.size
    if at < _END64.size:
        raise ArchiveRefused("damaged_zip", "the archive's Zip64 record is missing")
    magic, _, offset64, _ = _END64_LOCATOR.unpack(read_at(handle, at, _END64_LOCATOR.size))
    if magic != b"PK\x06\x07" or offset64 != at - _END64.size:
        raise ArchiveRefused("damaged_zip", "the archive's Zip64 record is missing")
    magic, _, _, _, disk, first_disk, disk_count, count, directory_bytes, offset = _END64.unpack(
        read_at(handle, offset64, _END64.size)
    )
    if magic != b"PK\x06\x06" or disk or first_disk or disk_count != count:
        raise ArchiveRefused("damaged_zip", "the archive's Zip64 record is damaged")
    return _Directory(count, directory_bytes, offset), offset64


def _entries(raw: bytes, count: int) -> Iterator[Entry]:
    at = 0
    for _ in range(count):
        if len(raw) < at + _CENTRAL.size:
            raise ArchiveRefused("damaged_zip", "the archive's directory ends too early")
        magic, _, _, flags, compression, _, _, crc32, *sizes, _, _, attributes, offset = _CENTRAL.unpack_from(
            raw, at
        )
        packed_bytes, member_bytes, name_length, extra_length, comment_length = sizes
        name_end = at + _CENTRAL.size + name_length
        extra_end = name_end + extra_length
        if magic != b"PK\x01\x02" or len(raw) < extra_end + comment_length:
            raise ArchiveRefused("damaged_zip", "the archive's directory is damaged")
        raw_name = raw[at + _CENTRAL.size : name_end]
        name = _name(raw_name, is_utf8=bool(flags & _FLAG_UTF8))
        _check_kind(flags, compression, attributes, name)
        member_bytes, packed_bytes, offset = _with_zip64(
            raw[name_end:extra_end], (member_bytes, packed_bytes, offset)
        )
        yield Entry(name, raw_name, compression, crc32, packed_bytes, member_bytes, offset, 0)
        at = extra_end + comment_length
    if at != len(raw):
        raise ArchiveRefused("damaged_zip", "the archive's directory holds more than it counts")


def _name(raw_name: bytes, *, is_utf8: bool) -> str:
    if len(raw_name) > _MAX_NAME_BYTES:
        raise ArchiveRefused("unsafe_name", "the archive has a member with an endless name")
    try:
        name = raw_name.decode("utf-8" if is_utf8 else "cp437").replace("\\", "/")
    except UnicodeDecodeError:
        raise ArchiveRefused("damaged_zip", "the archive has a name that is not UTF-8") from None
    if not name or _UNSAFE_NAME.search(name):
        raise ArchiveRefused("unsafe_name", "the archive has a member whose name leaves the archive")
    return name


def _check_kind(flags: int, compression: int, attributes: int, name: str) -> None:
    if flags & _FLAGS_ENCRYPTED or compression == _AES:
        raise ArchiveRefused("encrypted", "the archive is encrypted")
    # The upper half holds the Unix mode, zero where another system wrote the archive.
    kind = stat.S_IFMT(attributes >> 16)
    if kind not in {0, stat.S_IFREG, stat.S_IFDIR} or (kind == stat.S_IFDIR and not name.endswith("/")):
        raise ArchiveRefused("special_file", "the archive has links or devices")
    if compression not in {STORED, DEFLATED} or flags & _FLAG_PATCH:
        raise ArchiveRefused("unsupported_compression", "the archive uses a compression other than deflate")


def _with_zip64(extra: bytes, values: tuple[int, int, int]) -> tuple[int, int, int]:
    """(size, packed size, offset); those that are all ones stand in the Zip64 extra field, in this order."""
    if _MAX32 not in values:
        return values
    at = 0
    while at + _EXTRA.size <= len(extra):
        kind, length = _EXTRA.unpack_from(extra, at)
        at += _EXTRA.size
        if kind == _ZIP64_EXTRA:
            body = extra[at : at + length]
            wide = [int.from_bytes(body[n : n + 8], "little") for n in range(0, len(body) - 7, 8)]
            if len(wide) < values.count(_MAX32):
                break
            taken = iter(wide)
            total, packed, offset = (next(taken) if value == _MAX32 else value for value in values)
            return total, packed, offset
        at += length
    raise ArchiveRefused("damaged_zip", "the archive's Zip64 field is missing")


def _with_end_limits(entries: list[Entry], directory_offset: int) -> list[Entry]:
    """Refuses overlap by the least size a member can have; reading it checks the exact one."""
    limit = directory_offset
    limits = [0] * len(entries)
    for number in sorted(range(len(entries)), key=lambda n: entries[n].offset, reverse=True):
        entry = entries[number]
        if entry.offset + LOCAL_HEADER.size + len(entry.raw_name) + entry.packed_bytes > limit:
            raise ArchiveRefused("overlapping_members", "members of the archive share bytes")
        limits[number] = limit
        limit = entry.offset
    return [entry._replace(end_limit=end) for entry, end in zip(entries, limits, strict=True)]
