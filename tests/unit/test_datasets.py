import hashlib
import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from models.imaging.archive import FolderMembers, MemberRefused
from models.imaging.datasets import Box, DatasetDamaged, FramesDataset, fingerprint, read_report
from models.imaging.decode import decode_mask
from models.imaging.ingest import IngestReport, ingest_frames
from models.imaging.label_table import IngestRefused

DATA = Path(os.environ.get("ENTERON_TEST_DATA", "../shared/data"))


class Members:
    """Members from memory; None is one that cannot be read."""

    def __init__(self, members: Mapping[str, bytes | str | None]) -> None:
        self._members = members

    def names(self) -> Sequence[str]:
        return list(self._members)

    def read(self, name: str) -> bytes:
        data = self._members[name]
        if data is None:
            raise MemberRefused("corrupt_member", "damaged")
        return data.encode() if isinstance(data, str) else data


def picture(seed: int, form: str = "PNG") -> bytes:
    rgb = np.random.default_rng(seed).integers(0, 256, (8, 12, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, form)
    return buffer.getvalue()


def mask(height: int = 8, width: int = 12, *, empty: bool = False) -> bytes:
    pixels = np.zeros((height, width), np.uint8)
    pixels[2:4, 2:4] = 0 if empty else 255
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def dataset(table: str, **more: bytes | str | None) -> dict[str, bytes | str | None]:
    """Three pictures in images/, a table, and more members, whose names have - for . and _ for /."""
    members: dict[str, bytes | str | None] = {"labels.csv": table}
    members |= {f"images/{n}.png": picture(n) for n in range(3)}
    return members | {name.replace("-", ".").replace("__", "/"): data for name, data in more.items()}


TABLE = "filename,group,polyp,bleeding\n0.png,a,1,0\n1.png,a,0,\n2.png,b,1,1\n"


def ingest(
    members: Mapping[str, bytes | str | None], out: Path, fmt: str = "labels-csv", **options: Any
) -> IngestReport:
    return ingest_frames(Members(members), fmt, options, out_dir=out)


def problems(report: IngestReport) -> dict[str, tuple[int, ...]]:
    assert all(problem.count == len(problem.examples) for problem in report.problems)
    return {problem.code: problem.examples for problem in report.problems}


def refused(out: Path) -> list[tuple[str, int, str]]:
    return [
        (row["name"], row["row"], row["code"]) for row in pq.read_table(out / "refused.parquet").to_pylist()
    ]


def test_a_clean_dataset_reads_back(tmp_path: Path) -> None:
    report = ingest(dataset(TABLE), tmp_path)
    assert problems(report) == {}
    with FramesDataset(tmp_path) as frames:
        assert len(frames) == report.frames == 3
        names, labels = frames.labels()
        assert names == ("polyp", "bleeding")
        assert labels.tolist() == [[1, 0], [0, -1], [1, 1]]
        assert frames.groups().tolist() == ["a", "a", "b"]
        assert frames.names().tolist() == ["images/0.png", "images/1.png", "images/2.png"]
        assert [frames.frame(n) for n in range(3)] == [picture(n) for n in range(3)]
        assert frames.hashes().tolist() == [hashlib.sha256(picture(n)).hexdigest() for n in range(3)]
        assert frames.sizes_px().tolist() == [[12, 8]] * 3
        assert frames.boxes(0) == frames.masks(0) == ()
        assert frames.fingerprint() == report.fingerprint
        for ordinal in (-1, 3):
            with pytest.raises(IndexError):
                frames.frame(ordinal)
    assert read_report(tmp_path) == report.to_json()
    assert report.to_json()["labels"][1] == {"label": "bleeding", "positive": 1, "negative": 1, "unknown": 1}
    assert report.to_json()["groups"][0] == {"group": "a", "frames": 2, "positive": [1, 0]}


def test_a_folder_around_it_and_a_flat_layout_are_found(tmp_path: Path) -> None:
    wrapped = {f"top/{name}": data for name, data in dataset(TABLE).items()}
    flat = {name.removeprefix("images/"): data for name, data in dataset(TABLE).items()}
    assert ingest(wrapped, tmp_path).fingerprint == ingest(flat, tmp_path).fingerprint


def test_masks_and_boxes(tmp_path: Path) -> None:
    members = dataset(TABLE) | {
        "masks/polyp/0.png": mask(),
        "boxes.csv": "filename,label,x,y,w,h\n2.png,polyp,1,2,3,4.5\n2.png,bleeding,0,0,12,8\n",
    }
    report = ingest(members, tmp_path)
    assert problems(report) == {}
    assert (report.masks, report.boxes) == (1, 2)
    with FramesDataset(tmp_path) as frames:
        (reference,) = frames.masks(0)
        assert reference.label == "polyp"
        assert decode_mask(frames.mask_bytes(0, reference)).sum() == 4
        assert frames.boxes(2) == (Box("polyp", 1, 2, 3, 4.5), Box("bleeding", 0, 0, 12, 8))


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"images/1.png": b"no picture"}, {"refused_unknown_format": (2,)}),
        ({"images/1.png": picture(1)[:-30]}, {"refused_truncated": (2,)}),
        ({"images/1.png": None}, {"refused_corrupt_member": (2,)}),
        ({"images/9.png": picture(9)}, {"refused_no_label_row": (0,)}),
        ({"labels.csv": TABLE + "9.png,a,0,0\n"}, {"refused_no_image": (4,)}),
        (
            {"labels.csv": TABLE.replace("1.png,a", "1.png,")},
            {"missing_group": (2,), "refused_no_group": (2,)},
        ),
        ({"labels.csv": TABLE.replace("a,0,", "a,7,")}, {"unknown_label_value": (2,)}),
        ({"labels.csv": TABLE + "0.png,a,1,0\n"}, {"repeated_row": (4,)}),
        ({"labels.csv": TABLE + "0.png,a,0,0\n"}, {"contradicting_row": (4,)}),
        ({"labels.csv": TABLE + "0.png,a\n"}, {"malformed_row": (4,)}),
        (
            {"images/2.png": picture(0)},
            {"duplicate_across_groups": (2,), "duplicate_frame": (2,), "duplicate_with_other_labels": (2,)},
        ),
        ({"masks/polyp/0.png": mask(empty=True)}, {"mask_empty": (1,)}),
        ({"masks/bleeding/0.png": mask()}, {"mask_contradicts_label": (1,)}),
        ({"masks/bleeding/1.png": mask()}, {}),
        ({"masks/polyp/0.png": mask(9)}, {"mask_of_other_size": (1,)}),
        ({"masks/polyp/0.png": b"x"}, {"mask_unreadable": (1,)}),
        ({"masks/ulcer/0.png": mask()}, {"mask_of_unknown_label": (1,)}),
        ({"masks/polyp/7.png": mask()}, {"mask_without_image": (0,)}),
        ({"boxes.csv": "filename,label,x,y,w,h\n0.png,polyp,0,0,13.5,1\n"}, {"box_invalid": (1,)}),
        ({"boxes.csv": "filename,label,x,y,w,h\n0.png,polyp,0,0,0,1\n"}, {"box_invalid": (1,)}),
        ({"boxes.csv": "filename,label,x,y,w,h\n0.png,polyp,nan,0,1,1\n"}, {"box_invalid": (1,)}),
        ({"boxes.csv": "filename,label,x,y,w,h\n0.png,ulcer,0,0,1,1\n"}, {"box_invalid": (1,)}),
        ({"boxes.csv": "filename,label,x,y,w,h\n0.png,bleeding,0,0,1,1\n"}, {"box_contradicts_label": (1,)}),
        ({"boxes.csv": "filename,label,x,y,w,h\n7.png,polyp,0,0,1,1\n"}, {"box_without_image": (1,)}),
        ({"boxes.csv": "filename,label,x,y,w,h\n0.png,polyp,a,0,1,1\n"}, {"box_row_invalid": (1,)}),
        (
            {"labels.csv": "filename,group,split,polyp\n0.png,a,x,1\n1.png,a,y,0\n2.png,b,x,1\n"},
            {"group_crosses_split": (1,), "label_in_one_split": (1,)},
        ),
    ],
)
def test_problems_are_reported_with_their_places(
    change: dict[str, bytes | str | None], found: dict[str, tuple[int, ...]], tmp_path: Path
) -> None:
    report = ingest(dataset(TABLE) | change, tmp_path)
    assert problems(report) == found
    lost = sum(len(places) for code, places in found.items() if code.startswith("refused_"))
    assert report.refused == lost == len(refused(tmp_path))
    assert report.frames + lost == 3 + ("images/9.png" in change) + ("9.png" in str(change.get("labels.csv")))


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({}, "no_labels_csv"),
        ({"a/labels.csv": TABLE, "b/labels.csv": TABLE}, "several_labels_csv"),
        ({"labels.csv": None}, "corrupt_member"),
        (dataset(""), "no_filename_column"),
        (dataset("name,group,polyp\n"), "no_filename_column"),
        (dataset("filename,polyp\n0.png,1\n"), "no_group_column"),
        (dataset("filename,group\n0.png,a\n"), "no_label_column"),
        (dataset("filename,group," + ",".join(f"l{n}" for n in range(257)) + "\n"), "no_label_column"),
        (dataset("filename,group,polyp,polyp\n"), "repeated_column"),
        (dataset("filename,group,\n0.png,a,1\n"), "bad_label_name"),
        (dataset("filename,group,<b>\n0.png,a,1\n"), "bad_label_name"),
        (dataset("filename,group,age\n0.png,a,61\n1.png,a,34\n"), "not_a_label_column"),
        (dataset("filename,group,polyp\n"), "no_frames"),
        (dataset("filename,group,polyp\n9.png,a,1\n"), "no_frames"),
        ({"labels.csv": b"\xff\xfe\x00"}, "not_utf8"),
        ({"labels.csv": "filename,group,polyp\n" + "x" * 70_000 + ",a,1\n"}, "not_csv"),
        (dataset("filename,group,polyp\n0.png,a\0,1\n"), "not_csv"),
        (dataset('filename,group,polyp\n0.png,"a,1\n1.png,"b,0\n'), "not_csv"),
        (dataset('filename,group,polyp\n0.png,a,1\n1.png,"b,0\n'), "not_csv"),
        (dataset(TABLE) | {"boxes.csv": "filename,x\n"}, "no_box_columns"),
    ],
)
def test_what_nobody_can_use_is_refused(
    members: dict[str, bytes | str | None], code: str, tmp_path: Path
) -> None:
    with pytest.raises(IngestRefused) as found:
        ingest(members, tmp_path)
    assert (found.value.code, found.value.pointer) == (code, "/file_ids")


@pytest.mark.parametrize(
    ("fmt", "options", "pointer"),
    [
        ("dicom", {}, "/format"),
        ("labels-csv", {"block_size": 3}, "/options/block_size"),
        ("labels-csv", {"groups": "guess"}, "/options/groups"),
        ("wcebleedgen", {"block_size": 0}, "/options/block_size"),
        ("wcebleedgen", {"block_size": True}, "/options/block_size"),
    ],
)
def test_wrong_requests_are_refused_at_their_field(
    fmt: str, options: dict[str, Any], pointer: str, tmp_path: Path
) -> None:
    with pytest.raises(IngestRefused) as found:
        ingest(dataset(TABLE), tmp_path, fmt, **options)
    assert found.value.pointer == pointer


def test_groups_per_frame_must_be_asked_for_and_stay_visible(tmp_path: Path) -> None:
    table = "filename,polyp\n0.png,1\n1.png,0\n2.png,1\n"
    report = ingest(dataset(table), tmp_path, groups="per-frame")
    assert "groups_assumed_per_frame" in problems(report)
    assert len(report.groups) == 3


def test_what_pandas_writes_is_understood(tmp_path: Path) -> None:
    table = "\ufefffilename,group,polyp\r\n0.png,a,1.0\r\n1.png,a,\r\n2.png,b,0.0\r\n"
    report = ingest(dataset(table), tmp_path)
    assert problems(report) == {}
    assert (report.labels[0].positive, report.labels[0].negative, report.labels[0].unknown) == (1, 1, 1)


def test_wcebleedgen_groups_by_blocks_and_reads_yolo(tmp_path: Path) -> None:
    table = (
        "filename,bleeding,source_index,repo_split\n0.png,1,10,train\n1.png,0,199,test\n2.png,1,200,train\n"
    )
    members = dataset(table) | {"labels/0.txt": "0 0.5 0.5 0.5 0.25\n", "labels/2.txt": "0 a\n1 .5 .5 .1 .1"}
    report = ingest(members, tmp_path, "wcebleedgen")
    assert [group.group for group in report.groups] == ["block-00000", "block-00001"]
    assert problems(report) == {"box_invalid": (3, 3)}
    with FramesDataset(tmp_path) as frames:
        assert frames.boxes(0) == (Box("bleeding", 3, 3, 6, 2),)
    assert len(ingest(members, tmp_path, "wcebleedgen", block_size=100).groups) == 3


@pytest.mark.parametrize("name", [".", "/", "./."])
def test_a_row_whose_file_has_no_name_is_refused_alone(tmp_path: Path, name: str) -> None:
    table = TABLE + f"{name},b,0,1\n"
    report = ingest(dataset(table), tmp_path)
    assert (report.frames, refused(tmp_path)) == (3, [(name, 4, "no_image")])


def test_a_source_index_of_many_digits_is_no_group(tmp_path: Path) -> None:
    table = f"filename,bleeding,source_index\n0.png,1,10\n1.png,0,{'9' * 5000}\n2.png,1,200\n"
    ingest(dataset(table), tmp_path, "wcebleedgen")
    assert refused(tmp_path) == [("images/1.png", 2, "no_group")]


def test_progress_counts_every_row(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    ingest_frames(
        Members(dataset(TABLE)), "labels-csv", {}, out_dir=tmp_path, progress=lambda *step: seen.append(step)
    )
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_distrusted_rows_are_refused_unread(tmp_path: Path) -> None:
    report = ingest_frames(
        Members(dataset(TABLE)), "labels-csv", {}, out_dir=tmp_path, distrusted=frozenset({1})
    )
    assert (report.frames, problems(report)) == (2, {"refused_decoder_died": (2,)})


@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.integers(-1, 1), st.sampled_from("xy")), max_size=6),
    st.randoms(),
)
def test_the_fingerprint_is_of_the_content_and_not_of_its_order(
    rows: list[tuple[str, int, str]], random: Any
) -> None:
    def of(rows: list[tuple[str, int, str]]) -> str:
        labels = np.array([[row[1]] for row in rows], np.int8).reshape(len(rows), 1)
        return fingerprint([row[0] for row in rows], labels, [row[2] for row in rows])

    shuffled = rows.copy()
    random.shuffle(shuffled)
    assert of(shuffled) == of(rows)
    for at, (sha256, label, group) in enumerate(rows):
        for other in (("e", label, group), (sha256, (label + 2) % 3 - 1, group), (sha256, label, "z")):
            assert of([*rows[:at], other, *rows[at + 1 :]]) != of(rows)


def test_a_damaged_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetDamaged):
        FramesDataset(tmp_path)
    with pytest.raises(DatasetDamaged):
        read_report(tmp_path)
    ingest(dataset(TABLE), tmp_path)
    pack = (tmp_path / "frames.pack").read_bytes()
    (tmp_path / "frames.pack").write_bytes(pack[:-1])
    with pytest.raises(DatasetDamaged):
        FramesDataset(tmp_path)
    (tmp_path / "frames.pack").write_bytes(pack)
    (tmp_path / "report.json").write_text(json.dumps([]))
    with pytest.raises(DatasetDamaged):
        read_report(tmp_path)
    pq.write_table(
        pq.read_table(tmp_path / "index.parquet").drop_columns("group"), tmp_path / "index.parquet"
    )
    with pytest.raises(DatasetDamaged):
        FramesDataset(tmp_path)


def test_wce_frames_are_split_by_block_and_nothing_else(tmp_path: Path) -> None:
    if not (DATA / "wce").exists():
        pytest.skip("the WCEBleedGen frames are not here")

    class Some(FolderMembers):
        """Every twelfth image."""

        def names(self) -> Sequence[str]:
            images = [name for name in super().names() if name.startswith("images/")]
            return [name for name in super().names() if name not in images or name in images[::12]]

    report = ingest_frames(Some(DATA / "wce"), "wcebleedgen", {}, out_dir=tmp_path)
    assert report.frames == 148
    assert {problem.code for problem in report.problems} == {"refused_no_image"}
    with FramesDataset(tmp_path) as frames:
        _, labels = frames.labels()
        has_box = np.array([bool(frames.boxes(n)) for n in range(len(frames))])
        assert np.array_equal(has_box, labels[:, 0] == 1)
