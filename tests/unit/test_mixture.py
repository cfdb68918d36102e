"""Several datasets as one, and which of their frames may be judged together."""

import csv
import dataclasses

import numpy as np
import pytest
from PIL import Image

from models.imaging.archive import FolderMembers
from models.imaging.datasets import DatasetDamaged, content
from models.imaging.decode import decode_mask
from models.imaging.evidence import one_kind
from models.imaging.ingest import ingest_frames
from models.imaging.mixture import FramesMixture, open_frames
from tests.readers import reader_spec


def make(folder, labels, rows, *, fmt="labels-csv", grey=90):
    source = folder.parent / f"source-{folder.name}"
    (source / "masks" / labels[0]).mkdir(parents=True)
    folder.mkdir()
    for number in range(len(rows)):
        Image.new("RGB", (8 + number, 8), (grey, number, 0)).save(source / f"{number}.png")
        mask = np.zeros((8, 8 + number), np.uint8)
        mask[: number + 1] = 255
        Image.fromarray(mask).save(source / "masks" / labels[0] / f"{number}.png")
    with (source / "labels.csv").open("w", newline="") as file:
        table = [[f"{number}.png", *row] for number, row in enumerate(rows)]
        csv.writer(file).writerows([["filename", "group", "split", *labels], *table])
    ingest_frames(FolderMembers(source), fmt, {}, out_dir=folder)


@pytest.fixture
def mixture(tmp_path):
    make(tmp_path / "0", ["bleeding"], [["a", "train", 1], ["b", "test", 0]])
    make(tmp_path / "1", ["polyp", "bleeding"], [["a", "train", 1, ""]] * 3, fmt="synthetic", grey=20)
    with open_frames(tmp_path) as frames:
        yield frames


def test_labels_that_a_dataset_lacks_are_unknown(mixture):
    names, labels = mixture.labels()
    assert names == ("bleeding", "polyp")
    assert labels.tolist() == [[1, -1], [0, -1], [-1, 1], [-1, 1], [-1, 1]]


def test_groups_of_one_name_in_two_datasets_stay_two(mixture):
    assert mixture.groups().tolist() == ["0/a", "0/b", "1/a", "1/a", "1/a"]
    assert mixture.splits().tolist() == ["train", "test", "train", "train", "train"]


def test_every_frame_is_read_from_its_own_dataset(mixture):
    assert len(mixture) == 5
    assert mixture.sizes_px()[:, 0].tolist() == [8, 9, 8, 9, 10]
    for ordinal, rows in enumerate([1, 2, 1, 2, 3]):
        (mask,) = mixture.masks(ordinal)
        assert decode_mask(mixture.mask_bytes(ordinal, mask)).any(axis=1).sum() == rows
    frames = {mixture.frame(ordinal) for ordinal in range(5)}
    assert len(frames) == len(set(mixture.hashes())) == 5
    assert mixture.drawn_by_code().tolist() == [False, False, True, True, True]


def test_what_taught_a_version_is_known_again_however_it_is_grouped(mixture, tmp_path):
    with open_frames(tmp_path / "1") as part:
        (own,) = part.contents()
        fingerprint = part.fingerprint()
    taught = dataclasses.replace(reader_spec(), contents=mixture.contents())
    assert own in taught.contents
    assert fingerprint != taught.dataset_fingerprint
    assert taught.learnt_from(fingerprint, (own,))
    assert not taught.learnt_from(fingerprint, (content(["another frame"]),))


@pytest.mark.parametrize("ordinal", [-1, 5])
def test_a_frame_outside_is_refused(mixture, ordinal):
    with pytest.raises(IndexError):
        mixture.frame(ordinal)


def test_one_folder_is_one_dataset(tmp_path):
    make(tmp_path / "alone", ["polyp"], [["a", "", 1]])
    with open_frames(tmp_path / "alone") as frames:
        assert frames.groups().tolist() == ["a"]


def test_a_part_that_is_no_dataset_is_refused_and_the_others_closed(tmp_path):
    make(tmp_path / "0", ["polyp"], [["a", "", 1]])
    (tmp_path / "1").mkdir()
    with pytest.raises(DatasetDamaged):
        FramesMixture([tmp_path / "0", tmp_path / "1"])


def test_real_frames_judge_where_they_can_and_never_beside_drawn_ones():
    labels = np.array([[1, 1, 1], [0, -1, 0], [1, 0, -1], [0, 1, -1]], np.int8)
    synthetic = np.array([False, False, True, True])
    kept, kinds = one_kind(labels, synthetic)
    assert kinds == ("real", "synthetic", "real")
    assert kept.T.tolist() == [[1, 0, -1, -1], [-1, -1, 0, 1], [1, 0, -1, -1]]


def test_what_only_the_two_kinds_together_have_is_no_evidence():
    """Positives of one kind beside negatives of the other: the real ones alone stay."""
    labels = np.array([[0, -1], [1, 1]], np.int8)
    kept, kinds = one_kind(labels, np.array([False, True]))
    assert kinds == ("none", "none")
    assert kept.tolist() == [[0, -1], [-1, 1]]
