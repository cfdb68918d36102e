"""What bytes are, by their first bytes. Names and declared types are never believed."""

from service.domain.registry import HEADER_LIMIT_BYTES

TIFF = "image/tiff"
IMAGES = frozenset({"image/jpeg", "image/png", TIFF})
ARCHIVE = "application/zip"
READABLE = IMAGES | {ARCHIVE}
WEIGHTS = "application/vnd.safetensors"
ACCEPTED = READABLE | {WEIGHTS}
UNKNOWN = "application/octet-stream"
HEAD_BYTES = 16

_MAGIC = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"II*\x00", TIFF),
    (b"MM\x00*", TIFF),
    (b"PK\x03\x04", ARCHIVE),
    (b"PK\x05\x06", ARCHIVE),  # an empty one
)
# Only to say what was sent instead.
_REFUSED = (
    (b"GIF8", "a GIF"),
    (b"%PDF", "a PDF"),
    (b"MZ", "a program"),
    (b"\x7fELF", "a program"),
    (b"BM", "a BMP"),
    (b"RIFF", "a RIFF file (WebP or AVI)"),
    (b"\x00\x00\x00\x0cjP  ", "a JPEG 2000 image"),
    (b"\xffO\xffQ", "a JPEG 2000 image"),
    (b"II+\x00", "a BigTIFF"),
    (b"MM\x00+", "a BigTIFF"),
    (b"8BPS", "a Photoshop file"),
    (b"<", "markup"),
    (b"{", "JSON"),
)


def sniff(head: bytes) -> str:
    """Media type of the formats that are taken; `UNKNOWN` for all else."""
    return next((kind for magic, kind in _MAGIC if head.startswith(magic)), _weights_or_unknown(head))


def _weights_or_unknown(head: bytes) -> str:
    """A safetensors file has no magic number: the length of its JSON header, then that header."""
    is_header = head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= HEADER_LIMIT_BYTES
    return WEIGHTS if is_header else UNKNOWN


def describe(head: bytes) -> str:
    """What refused bytes look like, for the answer; says nothing of their content."""
    if not head:
        return "empty"
    return next((words for magic, words in _REFUSED if head.startswith(magic)), "of an unknown format")
