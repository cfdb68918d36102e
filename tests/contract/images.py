"""Small pictures for tests: honest ones, and some that only look it."""

import io

from PIL import Image


def picture(kind: str = "JPEG", *, size: tuple[int, int] = (336, 336), colour: str = "salmon") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, kind)
    return out.getvalue()
