import io
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from models.imaging.decode import DecodeLimits, Undecodable, decode_frame, decode_mask, sniff

DATA = Path(os.environ.get("ENTERON_TEST_DATA", "../shared/data"))


def picture(height: int = 24, width: int = 40) -> NDArray[np.uint8]:
    """Smooth, so that JPEG keeps it nearly."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 6, y * 10, x + y], axis=2).astype(np.uint8)


def encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def png(mode: str = "RGB", **options: Any) -> bytes:
    return encoded(Image.fromarray(picture()).convert(mode), "PNG", **options)


def png_chunks(width: int, height: int, *, depth: int = 8, colour: int = 2, rows: bytes = b"") -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def code_of(data: bytes, limits: DecodeLimits | None = None) -> str:
    with pytest.raises(Undecodable) as refused:
        decode_frame(data, limits or DecodeLimits())
    return refused.value.code


@pytest.mark.parametrize(
    ("form", "options", "media_type"),
    [
        ("JPEG", {"quality": 95}, "image/jpeg"),
        ("JPEG", {"quality": 95, "progressive": True, "subsampling": 2}, "image/jpeg"),
        ("PNG", {}, "image/png"),
        ("TIFF", {}, "image/tiff"),
        ("TIFF", {"compression": "tiff_lzw"}, "image/tiff"),
        ("TIFF", {"compression": "tiff_adobe_deflate"}, "image/tiff"),
        ("TIFF", {"compression": "packbits"}, "image/tiff"),
        ("TIFF", {"compression": "jpeg"}, "image/tiff"),
    ],
)
def test_the_three_formats_are_read(form: str, options: dict[str, Any], media_type: str) -> None:
    data = encoded(Image.fromarray(picture()), form, **options)
    assert sniff(data) == media_type
    rgb = decode_frame(data)
    assert (rgb.dtype, rgb.shape) == (np.uint8, (24, 40, 3))
    assert np.abs(rgb.astype(int) - picture()).mean() < 5


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"quality": 30}])
def test_jpeg_is_bit_equal_to_pillow(mode: str, options: dict[str, Any]) -> None:
    data = encoded(Image.fromarray(picture(61, 83)).convert(mode), "JPEG", **options)
    with Image.open(io.BytesIO(data)) as image:
        assert np.array_equal(decode_frame(data), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA"])
def test_opaque_modes_become_rgb(mode: str) -> None:
    with Image.open(io.BytesIO(png(mode))) as image:
        assert np.array_equal(decode_frame(png(mode)), np.asarray(image.convert("RGB")))


def transparent(mode: str) -> bytes:
    image = Image.fromarray(picture()).convert("RGBA")
    image.putpixel((0, 0), (1, 2, 3, 254))
    if mode == "LA":
        return encoded(image.convert("LA"), "PNG")
    return encoded(image, "PNG")


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "empty"),
        (b"GIF89a" + bytes(50), "unknown_format"),
        (b"<svg/>", "unknown_format"),
        (b"II+\x00" + bytes(50), "unknown_format"),
        (b"\xff\xd8\xff", "corrupt"),
        (b"\x89PNG\r\n\x1a\n", "corrupt"),
        (transparent("RGBA"), "unsupported_mode"),
        (transparent("LA"), "unsupported_mode"),
        (png("P", transparency=0), "unsupported_mode"),
        (png("RGB", transparency=(0, 0, 0)), "unsupported_mode"),
        (png("I;16"), "unsupported_mode"),
        (png_chunks(2, 2, depth=16, rows=bytes(2 * 13)), "unsupported_mode"),
        (encoded(Image.fromarray(picture()).convert("CMYK"), "JPEG"), "unsupported_mode"),
        (encoded(Image.fromarray(picture()).convert("CMYK"), "TIFF"), "unsupported_mode"),
        (encoded(Image.fromarray(picture()).convert("LAB"), "TIFF"), "unsupported_mode"),
        (encoded(Image.fromarray(picture()).convert("F"), "TIFF"), "unsupported_mode"),
        (
            encoded(Image.fromarray(picture()).convert("1"), "TIFF", compression="group4"),
            "unsupported_mode",
        ),
        (
            encoded(
                Image.fromarray(picture()),
                "PNG",
                save_all=True,
                append_images=[Image.fromarray(255 - picture())],
            ),
            "animated",
        ),
        (
            encoded(
                Image.fromarray(picture()), "TIFF", save_all=True, append_images=[Image.fromarray(picture())]
            ),
            "animated",
        ),
        (png_chunks(4097, 1), "too_many_pixels"),
        (png_chunks(1, 4097), "too_many_pixels"),
        (png_chunks(65535, 65535), "too_many_pixels"),
        (png_chunks(2**31 - 1, 2**31 - 1), "too_many_pixels"),
        (png_chunks(4096, 4096, rows=bytes(100)), "truncated"),
        (png()[:-60], "truncated"),
        (encoded(Image.fromarray(picture()), "JPEG")[:-60], "truncated"),
        (encoded(Image.fromarray(picture()), "TIFF")[:-60], "truncated"),
    ],
)
def test_what_is_refused_and_why(data: bytes, code: str) -> None:
    assert code_of(data) == code


def test_the_byte_limit_is_inclusive() -> None:
    data = png()
    assert decode_frame(data, DecodeLimits(max_bytes=len(data))).shape == (24, 40, 3)
    assert code_of(data, DecodeLimits(max_bytes=len(data) - 1)) == "too_large"


def test_the_pixel_limit_is_inclusive() -> None:
    data = encoded(Image.fromarray(picture()), "JPEG")
    assert decode_frame(data, DecodeLimits(max_side_px=40)).shape == (24, 40, 3)
    assert code_of(data, DecodeLimits(max_side_px=39)) == "too_many_pixels"


def test_a_jpeg_of_endless_scans_is_refused_before_decoding() -> None:
    data = encoded(Image.fromarray(picture()), "JPEG", progressive=True)
    scan = data[data.rindex(b"\xff\xda") : -2]
    assert code_of(data[:-2] + scan * 200 + b"\xff\xd9") == "too_many_scans"


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_as_pillow_would(form: str, orientation: int) -> None:
    data = encoded(Image.fromarray(picture()), form, exif=exif(orientation))
    with Image.open(io.BytesIO(data)) as image:
        from PIL import ImageOps

        expected = np.asarray(ImageOps.exif_transpose(image))
    assert np.array_equal(decode_frame(data), expected)


def test_tiff_orientation_is_applied() -> None:
    data = encoded(Image.fromarray(picture()), "TIFF", tiffinfo={0x0112: 6})
    assert np.array_equal(decode_frame(data), np.rot90(picture(), -1))


def test_damaged_exif_counts_as_none() -> None:
    data = encoded(Image.fromarray(picture()), "JPEG", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff")
    assert decode_frame(data).shape == (24, 40, 3)


@settings(deadline=None)
@given(st.data())
def test_flipped_bytes_are_read_or_refused(data: st.DataObject) -> None:
    form = data.draw(st.sampled_from(["JPEG", "PNG", "TIFF"]))
    image = bytearray(encoded(Image.fromarray(picture()), form))
    for _ in range(data.draw(st.integers(1, 4))):
        image[data.draw(st.integers(4, len(image) - 1))] = data.draw(st.integers(0, 255))
    try:
        rgb = decode_frame(bytes(image), DecodeLimits(max_side_px=256))
    except Undecodable:
        return
    assert rgb.dtype == np.uint8
    assert rgb.shape[2] == 3
    assert max(rgb.shape) <= 256


def test_messages_hold_nothing_of_the_file() -> None:
    secret = b"MRS-SMITH"
    for data in (
        b"\xff\xd8\xff\xe1" + secret * 9,
        b"\x89PNG\r\n\x1a\n" + secret * 9,
        b"II*\x00" + secret * 9,
    ):
        with pytest.raises(Undecodable) as refused:
            decode_frame(data)
        assert "SMITH" not in str(refused.value)
        assert refused.value.__cause__ is None
        assert refused.value.__suppress_context__


@pytest.mark.parametrize("peak", [1, 255])
def test_masks_of_ones_and_of_255_are_the_same(peak: int) -> None:
    mask = np.zeros((8, 9), np.uint8)
    mask[2:4, 3:7] = peak
    for form in ("PNG", "TIFF"):
        assert np.array_equal(decode_mask(encoded(Image.fromarray(mask), form)), mask > 0)


def test_speckle_is_no_mask() -> None:
    assert not decode_mask(encoded(Image.fromarray(np.full((8, 8), 5, np.uint8)), "PNG")).any()


def test_every_hostile_file_is_read_or_refused() -> None:
    folder = DATA / "hostile"
    if not folder.exists():
        pytest.skip("the hostile images are not here")
    codes: dict[str, int] = {}
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        try:
            code = str(decode_frame(path.read_bytes()).shape[2])
        except Undecodable as refused:
            code = refused.code
        codes[code] = codes.get(code, 0) + 1
    assert {"3", "animated", "corrupt", "truncated", "unknown_format", "unsupported_mode"} <= set(codes)
