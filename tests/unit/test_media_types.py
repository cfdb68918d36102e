"""What bytes are, by their first bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain import media


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\xff\xd8\xff\xe0\x00\x10JFIF", "image/jpeg"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "image/png"),
        (b"II*\x00\x08\x00\x00\x00", "image/tiff"),
        (b"MM\x00*\x00\x00\x00\x08", "image/tiff"),
        (b"PK\x03\x04\x14\x00", "application/zip"),
        (b"PK\x05\x06\x00\x00", "application/zip"),
        (b'\x40\x00\x00\x00\x00\x00\x00\x00{"a":{', media.WEIGHTS),
        (b'\x40\x00\x00\x00\x00\x00\x00\x80{"a":{', media.UNKNOWN),
        (b"\x40\x00\x00\x00\x00\x00\x00\x00[1, 2", media.UNKNOWN),
        (b"II+\x00\x08\x00\x00\x00", media.UNKNOWN),
        (b"GIF89a", media.UNKNOWN),
        (b"\xff\xd8", media.UNKNOWN),
        (b"", media.UNKNOWN),
    ],
)
def test_magic_decides(head, kind):
    assert media.sniff(head) == kind


@given(head=st.binary(max_size=media.HEAD_BYTES))
def test_any_bytes_have_a_type_and_a_description_without_content(head):
    assert media.sniff(head) in media.ACCEPTED | {media.UNKNOWN}
    words = media.describe(head)
    assert words
    assert words.isascii()
