"""Drawn frames on disk and on a contact sheet."""

import csv
import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from models.synthetic.dataset import write_dataset_zip
from models.synthetic.frames import LABELS, draw_frames

SIZE = 64


def _write(path: Path, n: int = 21) -> Path:
    write_dataset_zip(path, draw_frames(n, seed=5, domain="train", size=SIZE))
    return path


def test_the_archive_holds_every_frame_mask_and_label(tmp_path: Path) -> None:
    drawn = list(draw_frames(21, seed=5, domain="train", size=SIZE))
    with zipfile.ZipFile(_write(tmp_path / "frames.zip")) as archive:
        rows = list(csv.DictReader(io.TextIOWrapper(archive.open("labels.csv"), "utf-8", newline="")))
        names = set(archive.namelist())
        assert len(rows) == len(drawn)
        for frame, row in zip(drawn, rows, strict=True):
            assert {label: int(row[label]) for label in LABELS} == frame.labels
            assert row["group"] == frame.group
            image = np.asarray(Image.open(archive.open(f"images/{row['filename']}")), dtype=int)
            assert np.abs(image - frame.rgb).mean() < 4
            for label in LABELS:
                member = f"masks/{label}/{Path(row['filename']).stem}.png"
                assert (member in names) == (label in frame.masks)
                if label in frame.masks:
                    mask = np.asarray(Image.open(archive.open(member)))
                    assert set(np.unique(mask)) <= {0, 255}
                    assert np.array_equal(mask == 255, frame.masks[label])


def test_the_same_frames_give_the_same_archive(tmp_path: Path) -> None:
    digests = {hashlib.sha256(_write(tmp_path / name).read_bytes()).digest() for name in ("a.zip", "b.zip")}
    assert len(digests) == 1


def test_progress_counts_every_frame(tmp_path: Path) -> None:
    counts: list[int] = []
    frames = draw_frames(3, seed=0, domain="train", size=SIZE)
    write_dataset_zip(tmp_path / "frames.zip", frames, report=counts.append)
    assert counts == [1, 2, 3]


def test_frames_are_drawn_only_as_they_are_written(tmp_path: Path) -> None:
    taken = 0

    def counted():
        nonlocal taken
        for frame in draw_frames(4, seed=0, domain="train", size=SIZE):
            taken += 1
            yield frame

    written_when_taken: list[tuple[int, int]] = []
    write_dataset_zip(
        tmp_path / "frames.zip", counted(), report=lambda n: written_when_taken.append((n, taken))
    )
    assert written_when_taken == [(1, 1), (2, 2), (3, 3), (4, 4)]
