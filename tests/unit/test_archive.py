import io
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.imaging.archive import ArchiveLimits, ArchiveRefused, FolderMembers, MemberRefused, ZipMembers

NOISE = os.urandom(5000)


def zipped(members: dict[str, bytes], *, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def with_info(change: Callable[[zipfile.ZipInfo], None]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        info = zipfile.ZipInfo("a.jpg")
        change(info)
        archive.writestr(info, b"data")
    return buffer.getvalue()


def moded(mode: int) -> bytes:
    return with_info(lambda info: setattr(info, "external_attr", mode << 16))


def patched(data: bytes, field: str, value: int, *, member: int = 0, local: bool = False) -> bytes:
    """The archive with one number of one header overwritten."""
    fields = {"flags": (8, "<H"), "compression": (10, "<H"), "crc": (16, "<L"), "packed": (20, "<L")}
    fields |= {"size": (24, "<L"), "disk": (34, "<H"), "offset": (42, "<L")}
    at = -1
    for _ in range(member + 1):
        at = data.index(b"PK\x03\x04" if local else b"PK\x01\x02", at + 1)
    position, form = fields[field]
    out = bytearray(data)
    struct.pack_into(form, out, at + position - (2 if local else 0), value)
    return bytes(out)


def opened(data: bytes, **limits: int) -> ZipMembers:
    return ZipMembers(io.BytesIO(data), ArchiveLimits(**limits))


def read_all(data: bytes, **limits: int) -> dict[str, bytes]:
    members = opened(data, **limits)
    return {name: members.read(name) for name in members.names()}


names = st.text(
    st.characters(codec="utf-8", exclude_characters="\\/:", exclude_categories=["C"]), min_size=1, max_size=9
)


@given(
    st.dictionaries(
        names.filter(lambda name: name not in {".", "..", "Thumbs.db", "__MACOSX"}), st.binary(max_size=300)
    ),
    st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]),
)
def test_what_zipfile_writes_is_read(members: dict[str, bytes], compression: int) -> None:
    assert read_all(zipped(members, compression=compression)) == members


@given(st.data())
def test_no_flipped_byte_gives_other_content(data: st.DataObject) -> None:
    members = {"a.jpg": b"first" * 20, "b/c.jpg": NOISE[:50]}
    archive = bytearray(zipped(members))
    at = data.draw(st.integers(0, len(archive) - 1))
    archive[at] ^= data.draw(st.integers(1, 255))
    try:
        read = read_all(bytes(archive))
    except (ArchiveRefused, MemberRefused):
        return
    assert set(read.values()) <= set(members.values())


def test_folders_and_clutter_are_left_out() -> None:
    data = zipped(
        {"f/": b"", "f/a.jpg": b"1", "__MACOSX/f/._a.jpg": b"2", "f/.DS_Store": b"3", "f/Thumbs.db": b"4"}
    )
    assert list(opened(data).names()) == ["f/a.jpg"]


def test_a_comment_and_backslashes_are_fine() -> None:
    buffer = io.BytesIO(zipped({"f\\a.jpg": b"1"}))
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.comment = b"hello"
    assert read_all(buffer.getvalue()) == {"f/a.jpg": b"1"}


def test_streamed_archives_with_data_descriptors_are_read() -> None:
    class Unseekable(io.RawIOBase):
        data = b""

        def writable(self) -> bool:
            return True

        def write(self, part: object) -> int:
            self.data += bytes(part)  # type: ignore[call-overload]  # a buffer
            return len(bytes(part))  # type: ignore[call-overload]

    sink = Unseekable()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:  # type: ignore[call-overload]
        archive.writestr("a.jpg", NOISE)
    assert read_all(sink.data) == {"a.jpg": NOISE}


def test_zip64_is_read() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive, archive.open("a.jpg", "w", force_zip64=True) as member:
        member.write(NOISE)
    with zipfile.ZipFile(buffer, "a") as archive:
        for number in range(70_000):
            archive.writestr(f"{number}", b"")
    members = opened(buffer.getvalue())
    assert len(members.names()) == 70_001
    assert members.read("a.jpg") == NOISE
    assert members.read("69999") == b""


def overlapping() -> bytes:
    """Fifield's bomb in small: two directory entries quote one local member."""
    data = zipped({"a": NOISE, "b": NOISE})
    return patched(data, "offset", 0, member=1)


def bomb(total: int, count: int = 1) -> bytes:
    return zipped({f"{number}.tif": bytes(total) for number in range(count)})


STORED_TWO = zipped({"a.jpg": b"12345678", "b.jpg": b"abcdefgh"}, compression=zipfile.ZIP_STORED)
END = STORED_TWO.index(b"PK\x05\x06")


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "not_a_zip"),
        (b"PK\x03\x04" + bytes(100), "not_a_zip"),
        (b"\xff\xd8\xff" + NOISE, "not_a_zip"),
        (STORED_TWO[:-1], "damaged_zip"),
        (STORED_TWO + b"x", "damaged_zip"),
        (b"MZ" + STORED_TWO, "damaged_zip"),
        (STORED_TWO[:END] + b"hidden" + STORED_TWO[END:], "damaged_zip"),
        (STORED_TWO[: END + 10] + b"\x01\x00" + STORED_TWO[END + 12 :], "damaged_zip"),
        (STORED_TWO[: END + 8] + b"\x01\x00\x01\x00" + STORED_TWO[END + 12 :], "damaged_zip"),
        (STORED_TWO[: END + 8] + b"\x03\x00\x03\x00" + STORED_TWO[END + 12 :], "damaged_zip"),
        (STORED_TWO[: END + 8] + b"\xff\xff\xff\xff" + STORED_TWO[END + 12 :], "damaged_zip"),
        (patched(STORED_TWO, "size", 0xFFFFFFFF), "damaged_zip"),
        (patched(STORED_TWO, "flags", 1), "encrypted"),
        (patched(STORED_TWO, "flags", 1 << 6), "encrypted"),
        (patched(STORED_TWO, "compression", 99), "encrypted"),
        (patched(STORED_TWO, "compression", 12), "unsupported_compression"),
        (zipped({"a": b"x"}, compression=zipfile.ZIP_LZMA), "unsupported_compression"),
        (zipped({"a": b"x"}, compression=zipfile.ZIP_BZIP2), "unsupported_compression"),
        (zipped({"../a.jpg": b"x"}), "unsafe_name"),
        (zipped({"f/../../a.jpg": b"x"}), "unsafe_name"),
        (zipped({"f/..": b"x"}), "unsafe_name"),
        (zipped({"..\\a.jpg": b"x"}), "unsafe_name"),
        (zipped({"/etc/passwd": b"x"}), "unsafe_name"),
        (zipped({"\\\\host\\share": b"x"}), "unsafe_name"),
        (zipped({"C:\\a.jpg": b"x"}), "unsafe_name"),
        (zipped({"a\nb.jpg": b"x"}), "unsafe_name"),
        (zipped({"a" * 1025: b"x"}), "unsafe_name"),
        (zipped({"abcde": b"x"}).replace(b"abcde", b"ab\x00de"), "unsafe_name"),
        (zipped({"é.jpg": b"x"}).replace("é".encode(), b"\xff\xfe"), "damaged_zip"),
        (STORED_TWO.replace(b"b.jpg", b"a.jpg"), "duplicate_name"),
        (zipped({"f/a": b"x", "f\\a": b"y"}), "duplicate_name"),
        (moded(stat.S_IFLNK | 0o777), "special_file"),
        (moded(stat.S_IFCHR | 0o666), "special_file"),
        (moded(stat.S_IFBLK | 0o666), "special_file"),
        (moded(stat.S_IFIFO | 0o666), "special_file"),
        (moded(stat.S_IFSOCK | 0o666), "special_file"),
        (moded(stat.S_IFDIR | 0o755), "special_file"),
        (overlapping(), "overlapping_members"),
        (patched(STORED_TWO, "packed", 1000), "overlapping_members"),
        (bomb(3 << 20), "compression_ratio"),
        (bomb(1 << 20, 40), "compression_ratio"),
        (patched(STORED_TWO, "size", 9), "forged_size"),
        (patched(STORED_TWO, "size", 7), "forged_size"),
        (patched(zipped({"a": bytes(10_000)}), "size", 10), "forged_size"),
        (patched(zipped({"a": NOISE}), "size", 0), "forged_size"),
        (patched(zipped({"a": NOISE}), "size", 5001), "forged_size"),
        (patched(STORED_TWO, "flags", 1, local=True), "damaged_zip"),
        (patched(STORED_TWO, "compression", 8, local=True), "damaged_zip"),
        (STORED_TWO.replace(b"a.jpg", b"z.jpg", 1), "damaged_zip"),
        (patched(STORED_TWO, "offset", 3), "overlapping_members"),
        (patched(STORED_TWO, "offset", 1, member=1), "overlapping_members"),
    ],
)
def test_hostile_archives_are_refused(data: bytes, code: str) -> None:
    with pytest.raises(ArchiveRefused) as refused:
        read_all(data)
    assert refused.value.code == code


def test_a_long_local_extra_field_that_reaches_into_the_next_member_is_overlap() -> None:
    data = bytearray(STORED_TWO)
    struct.pack_into("<H", data, 28, 40)
    with pytest.raises(ArchiveRefused, match="share"):
        read_all(bytes(data))


def test_limits() -> None:
    with pytest.raises(ArchiveRefused, match="more than 1 members"):
        opened(STORED_TWO, max_members=1)
    with pytest.raises(ArchiveRefused, match="too large together"):
        opened(STORED_TWO, max_total_bytes=15)
    assert len(read_all(STORED_TWO, max_members=2, max_total_bytes=16, max_member_bytes=8)) == 2


def test_a_member_over_its_limit_fails_alone() -> None:
    members = opened(zipped({"big": NOISE, "small": b"x"}), max_member_bytes=4999)
    with pytest.raises(MemberRefused) as refused:
        members.read("big")
    assert refused.value.code == "too_large"
    assert members.read("small") == b"x"


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_damaged_member_fails_alone(compression: int) -> None:
    data = bytearray(zipped({"a": NOISE, "b": b"x"}, compression=compression))
    data[200] ^= 0xFF
    members = opened(bytes(data))
    with pytest.raises(MemberRefused) as refused:
        members.read("a")
    assert refused.value.code == "corrupt_member"
    assert members.read("b") == b"x"


def test_bytes_after_the_deflate_stream_fail_the_member() -> None:
    packed = zlib.compress(NOISE, wbits=-15)
    data = zipped({"a": packed + b"hidden"}, compression=zipfile.ZIP_STORED)
    for local in (True, False):
        data = patched(data, "compression", 8, local=local)
    data = patched(patched(data, "size", len(NOISE)), "crc", zlib.crc32(NOISE))
    with pytest.raises(MemberRefused):
        read_all(data)


def test_an_unknown_name_is_a_key_error(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    for members in (opened(STORED_TWO), FolderMembers(tmp_path)):
        with pytest.raises(KeyError):
            members.read("../a")


def test_a_folder_lists_and_reads_regular_files_only(tmp_path: Path) -> None:
    (tmp_path / "outside").write_bytes(b"secret")
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (root / "sub" / "a.jpg").write_bytes(b"1")
    (root / "link.jpg").symlink_to(tmp_path / "outside")
    (root / "loop").symlink_to(root)
    os.mkfifo(root / "pipe")
    members = FolderMembers(root)
    assert list(members.names()) == ["sub/a.jpg"]
    assert members.read("sub/a.jpg") == b"1"
    (root / "sub" / "a.jpg").unlink()
    (root / "sub" / "a.jpg").symlink_to(tmp_path / "outside")
    with pytest.raises(MemberRefused):
        members.read("sub/a.jpg")


def test_folder_limits(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).write_bytes(b"12345")
    with pytest.raises(ArchiveRefused):
        FolderMembers(tmp_path, ArchiveLimits(max_members=1))
    with pytest.raises(MemberRefused):
        FolderMembers(tmp_path, ArchiveLimits(max_member_bytes=4)).read("a")
