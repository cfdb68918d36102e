"""Datasets of frames that a few lines of code can draw: a disc is a polyp, a bar is content."""

import csv
import io

import numpy as np
from PIL import Image

from models.imaging.archive import FolderMembers
from models.imaging.ingest import ingest_frames

SIZE = 48


def draw(rng, polyp, content):
    """Grey noise of any brightness; returns the frame and the disc's mask."""
    frame = rng.uniform(60, 160) + rng.normal(0, 12, (SIZE, SIZE, 3))
    y, x = np.mgrid[:SIZE, :SIZE]
    mask = np.hypot(x - rng.integers(10, SIZE - 10), y - rng.integers(10, SIZE - 10)) < 8
    if polyp:
        frame[mask] += 70
    if content:
        frame[:, rng.integers(4, SIZE - 4) :][:, :3] -= 60
    return np.clip(frame, 0, 255).astype(np.uint8), mask


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def make_dataset(folder, *, groups=6, per_group=16, seed=0, polyp=None, fmt="synthetic"):
    """A dataset folder; `polyp` maps (group, frame) to a label instead of every other frame."""
    source, out = folder / "source", folder / "dataset"
    (source / "images").mkdir(parents=True)
    (source / "masks" / "polyp").mkdir(parents=True)
    out.mkdir()
    rng, rows = np.random.default_rng(seed), []
    for number in range(groups * per_group):
        group, frame = divmod(number, per_group)
        has_polyp = frame % 2 if polyp is None else polyp(group, frame)
        pixels, mask = draw(rng, has_polyp == 1, frame % 4 < 2)
        (source / "images" / f"{number}.png").write_bytes(png(pixels))
        if has_polyp == 1:
            (source / "masks" / "polyp" / f"{number}.png").write_bytes(png(mask.astype(np.uint8) * 255))
        rows.append(
            [f"{number}.png", f"patient-{group}", has_polyp, "" if frame == 5 else int(frame % 4 < 2)]
        )
    with (source / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["filename", "group", "polyp", "content"], *rows])
    ingest_frames(FolderMembers(source), fmt, {}, out_dir=out)
    return out
