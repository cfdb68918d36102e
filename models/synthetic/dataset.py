"""Drawn frames as a labelled data set on disk."""

import csv
import io
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.synthetic.frames import LABELS, SyntheticFrame

# Zip members carry this time so that the same seed gives the same archive bytes.
_EPOCH = (1980, 1, 1, 0, 0, 0)


def write_dataset_zip(
    path: Path | str, frames: Iterable[SyntheticFrame], *, report: Callable[[int], None] | None = None
) -> None:
    """Stream frames into a zip in the `labels-csv` layout; the same frames give the same bytes.

    Layout: `images/000001.jpg`, `masks/<label>/000001.png` (8 bit, 0 or 255) for the labels present, and
    `labels.csv` with filename (without folder), group and one 0/1 column per label.

    Args:
        path: Archive to write.
        frames: Frames, consumed one by one.
        report: Called with the number of frames written so far.
    """
    rows = io.StringIO(newline="")
    table = csv.writer(rows, lineterminator="\n")
    table.writerow(["filename", "group", *LABELS])
    with zipfile.ZipFile(path, "w") as archive:
        for number, frame in enumerate(frames, start=1):
            stem = f"{number:06d}"
            _add(archive, f"images/{stem}.jpg", _encoded(frame.rgb, "JPEG"))
            for label, mask in frame.masks.items():
                _add(archive, f"masks/{label}/{stem}.png", _encoded(mask.astype(np.uint8) * 255, "PNG"))
            table.writerow([f"{stem}.jpg", frame.group, *(frame.labels[label] for label in LABELS)])
            if report is not None:
                report(number)
        _add(archive, "labels.csv", rows.getvalue().encode())


def _encoded(pixels: NDArray[np.uint8], image_format: str) -> bytes:
    buffer = io.BytesIO()
    # Quality is read by the JPEG writer only, the compression level by the PNG writer only.
    Image.fromarray(pixels).save(buffer, image_format, quality=92, compress_level=1)
    return buffer.getvalue()


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    member = zipfile.ZipInfo(name, date_time=_EPOCH)
    member.external_attr = 0o644 << 16
    archive.writestr(member, content)
