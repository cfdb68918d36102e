"""From the bytes of an image file to RGB pixels; for hostile input, so run it in the sandbox.

What is read: JPEG (baseline or progressive, grey or YCbCr/RGB), PNG and TIFF, with one page and 8 bits or
fewer per sample. An alpha channel is accepted only where it hides nothing: a partly transparent frame has no
one appearance. 16-bit samples need a window and CMYK a profile before they have colours, so both are refused
and not guessed. EXIF orientation is applied, because browsers show frames so and findings are drawn over what
they show; damaged EXIF counts as none, and of a multi-picture JPEG the first is read, again as browsers do.
"""

import io
import warnings
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

MediaType = Literal["image/jpeg", "image/png", "image/tiff"]
DecodeCode = Literal[
    "empty",
    "unknown_format",
    "too_large",
    "too_many_pixels",
    "too_many_scans",
    "animated",
    "unsupported_mode",
    "truncated",
    "corrupt",
    "out_of_memory",
]
DECODE_CODES: tuple[str, ...] = get_args(DecodeCode)

_MAGIC: tuple[tuple[bytes, MediaType], ...] = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
)
_PILLOW_FORMAT = {"image/png": "PNG", "image/tiff": "TIFF"}
# libtiff's fax, old-JPEG and exotic codecs are where its holes were, and they paint over damage silently.
_TIFF_COMPRESSIONS = frozenset({"raw", "packbits", "tiff_lzw", "tiff_deflate", "tiff_adobe_deflate", "jpeg"})
# Each scan of a progressive JPEG walks all blocks, so a small file of empty scans costs minutes; usual is 10.
_MAX_SCANS = 100
_EXIF_ORIENTATION = 0x0112
_TIFF_BITS_PER_SAMPLE = 258
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class Undecodable(ValueError):
    """This file is not read; `code` says why, and the message holds nothing of the file."""

    def __init__(self, code: DecodeCode, message: str) -> None:
        super().__init__(message)
        self.code: DecodeCode = code


@dataclass(frozen=True)
class DecodeLimits:
    """What one frame may cost."""

    max_bytes: int = 16 << 20
    max_side_px: int = 4096


DEFAULT_LIMITS = DecodeLimits()


def sniff(data: bytes | bytearray | memoryview) -> MediaType | None:
    """The media type that the first bytes announce, or None for all but JPEG, PNG and TIFF."""
    start = bytes(data[:8])
    return next((media_type for magic, media_type in _MAGIC if start.startswith(magic)), None)


def decode_frame(data: bytes, limits: DecodeLimits = DEFAULT_LIMITS) -> NDArray[np.uint8]:
    """Decode one frame.

    Args:
        data: the whole file.
        limits: bytes and pixels per side.

    Returns:
        uint8 [height, width, 3], RGB, 0 to 255, turned as EXIF says.

    Raises:
        Undecodable: for any file that is not such an image.
    """
    return _decode(data, limits)


def decode_mask(data: bytes, limits: DecodeLimits = DEFAULT_LIMITS) -> NDArray[np.bool_]:
    """Decode a mask: 0/1 images are taken as they are, all others are true from 128 on.

    Lossy masks carry speckle near black, so half of the image's own maximum would make lesions of noise.

    Args:
        data: the whole file, of the formats of `decode_frame`.
        limits: bytes and pixels per side.

    Returns:
        bool [height, width].

    Raises:
        Undecodable: as `decode_frame`.
    """
    brightest = _decode(data, limits).max(axis=2)
    return np.asarray(brightest >= (1 if brightest.max() <= 1 else 128), dtype=np.bool_)


def _decode(data: bytes, limits: DecodeLimits) -> NDArray[np.uint8]:
    if not data:
        raise Undecodable("empty", "the file has no bytes")
    if len(data) > limits.max_bytes:
        raise Undecodable("too_large", f"the file has more than {limits.max_bytes} bytes")
    media_type = sniff(data)
    if media_type is None:
        raise Undecodable("unknown_format", "the file is not a JPEG, PNG or TIFF image")
    try:
        if media_type == "image/jpeg":
            return _decode_jpeg(data, limits)
        return _decode_with_pillow(data, _PILLOW_FORMAT[media_type], limits)
    except Undecodable:
        raise
    except MemoryError:
        raise Undecodable("out_of_memory", "the image needs more memory than the sandbox has") from None
    # On hostile bytes the decoders raise whatever their parsers stumble over (struct.error, KeyError,
    # SyntaxError ...), and their messages may quote the file: all mean the same, and none is passed on.
    except Exception as error:
        raise _translate(error) from None


def _translate(error: Exception) -> Undecodable:
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return Undecodable("too_many_pixels", "the image has too many pixels")
    if isinstance(error, UnidentifiedImageError):
        return Undecodable("corrupt", "the image's header is damaged")
    text = str(error).lower()
    if isinstance(error, EOFError) or "truncated" in text or "premature end" in text:
        return Undecodable("truncated", "the image ends too early")
    return Undecodable("corrupt", "the image is damaged")


def _check_size(width: int, height: int, limits: DecodeLimits) -> None:
    if width > limits.max_side_px or height > limits.max_side_px:
        side = limits.max_side_px
        raise Undecodable("too_many_pixels", f"the image is larger than {side} x {side} pixels")


def _decode_jpeg(data: bytes, limits: DecodeLimits) -> NDArray[np.uint8]:
    """Through libjpeg-turbo in strict mode: where Pillow paints grey over missing data, this refuses."""
    if data.count(b"\xff\xda") > _MAX_SCANS:
        raise Undecodable("too_many_scans", f"the JPEG has more than {_MAX_SCANS} scans")
    height, width, colourspace, _ = simplejpeg.decode_jpeg_header(data)
    _check_size(width, height, limits)
    if colourspace not in {"YCbCr", "RGB", "Gray"}:
        raise Undecodable("unsupported_mode", "CMYK images are not read")
    rgb: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, "RGB")
    orientation = _orientation(_jpeg_exif(data))
    if orientation not in _TRANSPOSE:
        return rgb
    return np.array(Image.fromarray(rgb).transpose(_TRANSPOSE[orientation]))


def _jpeg_exif(data: bytes) -> bytes:
    start = data.find(b"Exif\x00\x00", 4, 1 << 16)
    if start < 0 or data[start - 4 : start - 2] != b"\xff\xe1":
        return b""
    return data[start : start - 2 + int.from_bytes(data[start - 2 : start])]


def _decode_with_pillow(data: bytes, pillow_format: str, limits: DecodeLimits) -> NDArray[np.uint8]:
    with warnings.catch_warnings():
        # A warning is Pillow's word for "damaged, or a bomb": both end the reading.
        warnings.simplefilter("error")
        with Image.open(io.BytesIO(data), formats=[pillow_format]) as image:
            _check_size(*image.size, limits)
            if getattr(image, "is_animated", False):
                raise Undecodable("animated", "the file holds more than one image")
            if _bits_per_sample(image, data) > 8:
                raise Undecodable("unsupported_mode", "images of more than 8 bits per sample are not read")
            if pillow_format == "TIFF" and image.info.get("compression") not in _TIFF_COMPRESSIONS:
                raise Undecodable("unsupported_mode", "the TIFF's compression is not read")
            image.load()
            # A TIFF's own orientation tag is no EXIF: Pillow applies it in load().
            orientation = _orientation(image.info.get("exif", b"")) if pillow_format == "PNG" else 1
            rgb = _to_rgb(image)
            return np.array(rgb.transpose(_TRANSPOSE[orientation]) if orientation in _TRANSPOSE else rgb)


def _bits_per_sample(image: Image.Image, data: bytes) -> int:
    """Pillow silently halves 16-bit RGB, so the depth is read from the file's own header."""
    if isinstance(image, TiffImageFile):
        bits: tuple[int, ...] = image.tag_v2.get(_TIFF_BITS_PER_SAMPLE, (1,))
        return max(bits)
    # PNG: the byte after width and height in IHDR, which must be the first chunk.
    return data[24]


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in {"1", "L", "RGB"} and "transparency" not in image.info:
        return image.convert("RGB")
    if image.mode in {"1", "L", "RGB", "P", "LA", "PA", "RGBA"}:
        rgba = image.convert("RGBA")
        if rgba.getchannel("A").getextrema() != (255, 255):
            raise Undecodable("unsupported_mode", "images with transparent pixels are not read")
        return rgba.convert("RGB")
    raise Undecodable("unsupported_mode", "the image's colour mode is not read")


def _orientation(raw_exif: bytes) -> int:
    """From real EXIF only: Pillow's `getexif` also believes XMP, as browsers do not."""
    if not raw_exif:
        return 1
    exif = Image.Exif()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            exif.load(raw_exif)
            value = exif.get(_EXIF_ORIENTATION, 1)
    # As for the pixels: whatever the parser stumbles over, the EXIF is damaged.
    except Exception:
        return 1
    return value if isinstance(value, int) else 1
