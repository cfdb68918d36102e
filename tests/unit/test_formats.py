"""Every format on a tree that the test makes in the layout the dataset is published in."""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from models.imaging.archive import FolderMembers, MemberRefused
from models.imaging.datasets import Box, FramesDataset
from models.imaging.formats.build import FORMATS
from models.imaging.formats.kvasir_folds import FoldedFrame, move_apart
from models.imaging.formats.name_pattern import group_from_name
from models.imaging.ingest import IngestReport, ingest_frames
from models.imaging.label_table import IngestRefused, Problems
from service.cli import app
from service.commands import datasets

Tree = Mapping[str, bytes | str | None]


class Members:
    """Members from memory; None is one that cannot be read."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree

    def names(self) -> Sequence[str]:
        return list(self._tree)

    def read(self, name: str) -> bytes:
        data = self._tree[name]
        if data is None:
            raise MemberRefused("corrupt_member", "damaged")
        return data.encode() if isinstance(data, str) else data


def picture(seed: int) -> bytes:
    rgb = np.random.default_rng(seed).integers(0, 256, (8, 12, 3), dtype=np.uint8)
    return png(rgb)


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def mask(*, empty: bool = False) -> bytes:
    pixels = np.zeros((8, 12), np.uint8)
    pixels[2:4, 2:4] = not empty
    return png(pixels)


def pictures(*names: str) -> dict[str, bytes | str | None]:
    return {name: picture(seed) for seed, name in enumerate(names)}


def ingest(tree: Tree, out: Path, fmt: str, **options: Any) -> IngestReport:
    return ingest_frames(Members(tree), fmt, options, out_dir=out)


def found(report: IngestReport) -> dict[str, int]:
    return {problem.code: problem.count for problem in report.problems}


def rows(folder: Path) -> dict[str, tuple[str, str, list[str]]]:
    """By name: group, split, and the labels that are 1; those unknown end in a question mark."""
    with FramesDataset(folder) as frames:
        names, labels = frames.labels()
        marks = [
            [name + "?" * (value < 0) for name, value in zip(names, row, strict=True) if value]
            for row in labels.tolist()
        ]
        return dict(
            zip(
                frames.names().tolist(),
                zip(frames.groups(), frames.splits(), marks, strict=True),
                strict=True,
            )
        )


def test_the_command_names_every_format() -> None:
    assert tuple(FORMATS) == datasets.FORMATS
    shown = CliRunner().invoke(app, ["dataset", "add", "--help"], env={"COLUMNS": "300"}).output
    assert all(name in " ".join(shown.split()) for name in FORMATS)


def test_the_command_prints_what_was_found_of_the_whole() -> None:
    dataset: Any = {
        "name": "x",
        "version": 1,
        "state": "ready",
        "id": "1",
        "job_id": "2",
        "report": {"problems": [{"code": "one_group", "count": 1, "examples": [0]}], "notes": ["all in one"]},
    }
    assert "all in one" in datasets.report(dataset)


@pytest.mark.parametrize("fmt", FORMATS)
def test_no_format_makes_something_of_nothing(fmt: str, tmp_path: Path) -> None:
    options = {"groups": "per-frame"} if fmt == "folders" else {}
    for tree in ({}, {"README.txt": "hello"}, {"a.png": picture(0)}):
        with pytest.raises(IngestRefused) as refused:
            ingest(tree, tmp_path, fmt, **options)
        assert refused.value.code
        assert refused.value.pointer in {"/file_ids", "/options/table"}


@pytest.mark.parametrize("fmt", FORMATS)
def test_a_misspelt_option_is_refused(fmt: str, tmp_path: Path) -> None:
    with pytest.raises(IngestRefused) as refused:
        ingest({}, tmp_path, fmt, gruops="x")
    assert (refused.value.code, refused.value.pointer) == ("unknown_option", "/options/gruops")


# --- Kvasir-Capsule ---

VIDEO_A, VIDEO_B, VIDEO_C = "a" * 16, "b" * 16, "c" * 16
CORNERS = "x1;y1;x2;y2;x3;y3;x4;y4"
METADATA = f"filename;video_id;frame_number;finding_category;finding_class;{CORNERS}\n" + "".join(
    f"{video}_{frame}.jpg;{video};{frame};Luminal;{name};{corners}\n"
    for video, frame, name, corners in (
        (VIDEO_A, 1, "Ulcer", "1;2;7;2;7;6;1;6"),
        (VIDEO_A, 2, "Normal clean mucosa", ";;;;;;"),  # one field short, as published
        (VIDEO_B, 1, "Pylorus", ";;;;;;"),
        (VIDEO_B, 1, "Pylorus", ";;;;;;"),
        (VIDEO_B, 1, "Erosion", "0;0;2;0;2;2;0;2"),
        (VIDEO_B, 2, "Normal clean mucosa", ";;;;;;"),
        (VIDEO_C, 1, "Blood - fresh", "0;0;12;0;12;8;0;8"),
        (VIDEO_C, 2, "Reduced Mucosal View", ";;;;;;"),
    )
)
KVASIR = {
    "metadata.csv": METADATA,
    "official_splits/split_0.csv": f"filename,label\n{VIDEO_A}_1.jpg,Ulcer\n{VIDEO_B}_2.jpg,Normal\n",
    "official_splits/split_1.csv": f"filename,label\n{VIDEO_A}_2.jpg,Normal\n{VIDEO_B}_1.jpg,Pylorus\n"
    f"{VIDEO_B}_1.jpg,Erosion\n{VIDEO_C}_1.jpg,Blood\n",
} | pictures(
    f"images/Ulcer/{VIDEO_A}_1.jpg",
    f"images/Normal/{VIDEO_A}_2.jpg",
    f"images/Erosion/{VIDEO_B}_1.jpg",
    f"images/Normal/{VIDEO_B}_2.jpg",
    f"images/Blood - fresh/{VIDEO_C}_1.jpg",
    f"images/Reduced mucosal view/{VIDEO_C}_2.jpg",
)


def test_kvasir_capsule_has_videos_folds_and_boxes(tmp_path: Path) -> None:
    report = ingest(KVASIR, tmp_path, "kvasir-capsule")
    assert found(report) == {
        "group_crosses_split": 2,
        "label_in_one_split": 5,
        "no_disjoint_split": 5,
        "repeated_row": 1,
    }
    assert "2 of 3 videos are in several official folds, with 4 frames" in report.notes
    assert "1 of 6 frames are in no official fold" in report.notes
    seen = rows(tmp_path)
    assert seen[f"images/Erosion/{VIDEO_B}_1.jpg"] == (VIDEO_B, "split_1", ["Erosion", "Pylorus"])
    assert seen[f"images/Reduced mucosal view/{VIDEO_C}_2.jpg"] == (VIDEO_C, "", ["Reduced Mucosal View"])
    with FramesDataset(tmp_path) as frames:
        assert len(frames.label_names) == 14
        assert frames.boxes(0) == (Box("Ulcer", 1, 2, 6, 4),)
        assert frames.boxes(1) == ()


def test_kvasir_capsule_in_the_detectors_labels_says_no_more_than_was_looked_for(tmp_path: Path) -> None:
    report = ingest(KVASIR, tmp_path, "kvasir-capsule", labels="detector")
    marks = {name.split("/")[1] + name[-6:-4]: row[2] for name, row in rows(tmp_path).items()}
    unsure = ["bleeding?", "inflammatory", "content?"]
    assert marks["Ulcer_1"] == marks["Erosion_1"] == unsure
    assert marks["Normal_2"] == []
    assert marks["Blood - fresh_1"] == ["polyp?", "bleeding", "inflammatory?", "content?"]
    assert marks["Reduced mucosal view_2"] == ["polyp?", "bleeding?", "inflammatory?", "content"]
    assert report.boxes == 3
    with FramesDataset(tmp_path) as frames:
        assert frames.boxes(0) == (Box("inflammatory", 1, 2, 6, 4),)


def test_kvasir_capsule_without_folds_or_boxes(tmp_path: Path) -> None:
    tree = {name: data for name, data in KVASIR.items() if "split" not in name}
    assert (
        "there are no split_<n>.csv, so no frame has an official fold"
        in ingest(tree, tmp_path, "kvasir-capsule").notes
    )
    with pytest.raises(IngestRefused) as refused:
        ingest(tree, tmp_path, "kvasir-capsule", split="disjoint")
    assert (refused.value.code, refused.value.pointer) == ("no_split_files", "/options/split")


@pytest.mark.parametrize(
    ("change", "code", "count"),
    [
        ({"metadata.csv": METADATA.replace(";Ulcer;", ";Elephant;")}, "unknown_class", 1),
        ({"metadata.csv": METADATA.replace("1;2;7;2", "1;?;7;2")}, "box_row_invalid", 1),
        ({"metadata.csv": METADATA.replace(f"_2.jpg;{VIDEO_C}", "_2.jpg;")}, "missing_group", 1),
        (
            {
                "metadata.csv": METADATA.replace(
                    f"{VIDEO_B};1;Luminal;Erosion", f"{VIDEO_C};1;Luminal;Erosion"
                )
            },
            "contradicting_row",
            1,
        ),
        ({"split_2.csv": f"filename\n{VIDEO_A}_1.jpg\nx.jpg\n"}, "contradicting_split", 1),
        ({"split_2.csv": f"filename\n{VIDEO_A}_1.jpg\nx.jpg\n"}, "split_without_frame", 1),
        ({f"more/{VIDEO_A}_1.jpg": picture(9)}, "same_name_twice", 1),
        (
            {f"images/Ulcer/{VIDEO_A}_1.jpg": None, f"images/Polyp/{VIDEO_A}_1.jpg": picture(0)},
            "folder_contradicts_label",
            1,
        ),
    ],
)
def test_what_is_wrong_with_a_kvasir_capsule_is_counted(
    change: Tree, code: str, count: int, tmp_path: Path
) -> None:
    assert found(ingest({**KVASIR, **change}, tmp_path, "kvasir-capsule"))[code] == count


def test_folds_are_made_disjoint_with_the_fewest_frames_that_keep_every_label() -> None:
    def frames(video: str, fold: str, label: str, count: int) -> list[FoldedFrame]:
        return [FoldedFrame(video, fold, frozenset({label}))] * count

    mixed = frames("v", "0", "ulcer", 9) + frames("v", "1", "polyp", 2) + frames("x", "0", "polyp", 1)
    with_ulcers = mixed + frames("w", "1", "ulcer", 5) + frames("y", "0", "ulcer", 5)
    # In fold 0, where most of it is, the video would take the last polyps out of fold 1.
    placed = move_apart(with_ulcers)
    assert (placed.fold_of, placed.moved, placed.lost) == ({"v": "1"}, 9, ())
    # With more polyps in fold 1 that is no matter.
    placed = move_apart(with_ulcers + frames("z", "1", "polyp", 1))
    assert (placed.fold_of, placed.moved, placed.lost) == ({"v": "0"}, 2, ())
    # And where one label has to leave a fold, it is said which.
    placed = move_apart(mixed + frames("w", "1", "ulcer", 5))
    assert (placed.fold_of, placed.moved, placed.lost) == ({"v": "0"}, 2, ("polyp",))


def test_folds_that_are_one_mixture_are_refused() -> None:
    mixed = [FoldedFrame(f"v{video}", fold, frozenset()) for video in range(13) for fold in "01"]
    with pytest.raises(IngestRefused, match="13 videos"):
        move_apart(mixed)


@pytest.fixture(scope="module")
def kvasir_labels(data_dir) -> FolderMembers:
    return FolderMembers(data_dir("kvasir-capsule-labels"))


def test_the_real_kvasir_labels_have_seven_videos_in_both_folds(kvasir_labels: FolderMembers) -> None:
    problems = Problems()
    source = FORMATS["kvasir-capsule"](kvasir_labels, {}, problems)
    assert len(source.table.rows) == 47_229
    assert len({row.group for row in source.table.rows}) == 43
    assert source.notes[0] == "7 of 43 videos are in several official folds, with 7944 frames"
    assert [note.split(":")[0] for note in source.notes[2:]] == [
        "Ampulla of Vater",
        "Blood - hematin",
        "Polyp",
    ]
    assert {problem.code: problem.count for problem in problems.found()} == {
        "no_disjoint_split": 3,
        "repeated_row": 9,
    }
    assert sum(sum(row.labels) == 2 for row in source.table.rows) == 9
    assert sum(len(source.boxes(row.filename, 336, 336)) for row in source.table.rows) == 4_235


def test_the_real_folds_are_made_disjoint_by_moving_3793_frames(kvasir_labels: FolderMembers) -> None:
    source = FORMATS["kvasir-capsule"](kvasir_labels, {"split": "disjoint"}, Problems())
    assert source.notes[-1].startswith("3793 frames of 7 videos were moved")
    folds: dict[str, set[str]] = {}
    for row in source.table.rows:
        if row.split:
            folds.setdefault(row.group, set()).add(row.split)
    assert all(len(its) == 1 for its in folds.values())
    in_fold = {fold: np.zeros(14, bool) for fold in ("split_0", "split_1")}
    for row in source.table.rows:
        if row.split:
            in_fold[row.split] |= np.array(row.labels) == 1
    # The eleven of the official folds; one frame of a pylorus in fold 1 shows the ampulla too.
    assert (in_fold["split_0"] & in_fold["split_1"]).sum() == 11


# --- Capsule Vision ---

CAPSULE_VISION = pictures(
    f"Dataset/training/Ulcer/KVASIR/{VIDEO_A}_1.jpg",
    f"Dataset/validation/Normal/KVASIR/{VIDEO_A}_2.jpg",
    "Dataset/training/Foreign Body/SEE-AI/image00001.jpg",
    "Dataset/validation/Polyp/SEE-AI/image00001.jpg",
    "Dataset/training/Worms/AIIMS/worm1_65.jpg",
)
HEADER = (
    "image_path,Dataset,Angioectasia,Bleeding,Erosion,Erythema,Foreign Body,Lymphangiectasia,"
    "Normal,Polyp,Ulcer,Worms\n"
)


def test_capsule_vision_knows_videos_of_one_source_and_says_so_of_the_others(tmp_path: Path) -> None:
    report = ingest(
        CAPSULE_VISION | {"Dataset/training/training_data.xlsx": b"PK"}, tmp_path, "capsule-vision"
    )
    assert found(report) == {"group_crosses_split": 2, "group_unknown": 3, "label_in_one_split": 5}
    assert rows(tmp_path) == {
        f"Dataset/training/Ulcer/KVASIR/{VIDEO_A}_1.jpg": (VIDEO_A, "training", ["Ulcer"]),
        f"Dataset/validation/Normal/KVASIR/{VIDEO_A}_2.jpg": (VIDEO_A, "validation", ["Normal"]),
        "Dataset/training/Foreign Body/SEE-AI/image00001.jpg": ("see-ai", "training", ["Foreign Body"]),
        "Dataset/validation/Polyp/SEE-AI/image00001.jpg": ("see-ai", "validation", ["Polyp"]),
        "Dataset/training/Worms/AIIMS/worm1_65.jpg": ("aiims", "training", ["Worms"]),
    }
    assert any(".xlsx sheet is not read" in note for note in report.notes)


def test_capsule_vision_groups_per_frame_stay_visible(tmp_path: Path) -> None:
    report = ingest(CAPSULE_VISION, tmp_path, "capsule-vision", groups="per-frame")
    assert found(report)["groups_assumed_per_frame"] == 1
    assert found(report)["group_unknown"] == 3
    assert len(report.groups) == 4


def test_capsule_vision_compares_a_sheet_with_the_folders(tmp_path: Path) -> None:
    sheet = (
        HEADER
        + f"training\\Ulcer\\KVASIR\\{VIDEO_A}_1.jpg,KVASIR,0,0,0,0,0,0,0,1,0,0\n"
        + "training\\Worms\\AIIMS\\worm1_65.jpg,AIIMS,0,0,0,0,0,0,0,0,0,1\n"
        + "training\\Worms\\AIIMS\\gone.jpg,AIIMS,0,0,0,0,0,0,0,0,0,1\n"
    )
    report = ingest(
        CAPSULE_VISION | {"Dataset/training/training_data.csv": sheet}, tmp_path, "capsule-vision"
    )
    assert found(report)["folder_contradicts_label"] == 1
    assert found(report)["refused_no_image"] == 1
    # The training sheet does not name it; the validation part has no sheet, so its folders count.
    assert found(report)["refused_no_label_row"] == 1
    assert rows(tmp_path)["Dataset/validation/Polyp/SEE-AI/image00001.jpg"][2] == ["Polyp"]
    assert rows(tmp_path)[f"Dataset/training/Ulcer/KVASIR/{VIDEO_A}_1.jpg"][2] == ["Polyp"]


def test_capsule_vision_takes_one_of_two_files_of_one_place(tmp_path: Path) -> None:
    report = ingest(
        CAPSULE_VISION | pictures("copy/training/Worms/AIIMS/worm1_65.jpg"), tmp_path, "capsule-vision"
    )
    assert (found(report)["same_name_twice"], report.frames) == (1, 5)


def test_capsule_vision_refuses_a_sheet_of_probabilities(tmp_path: Path) -> None:
    sheet = HEADER + "training\\Worms\\AIIMS\\worm1_65.jpg,AIIMS" + ",0.1" * 10 + "\n"
    with pytest.raises(IngestRefused) as refused:
        ingest(CAPSULE_VISION | {"training_data.csv": sheet}, tmp_path, "capsule-vision")
    assert refused.value.code == "not_a_label_column"


def test_the_real_validation_paths_of_capsule_vision(data_dir) -> None:
    """Paths from a team's sheet: 41 videos of Kvasir-Capsule, and 4,551 frames of nobody knows whom."""
    import re
    import zipfile

    with zipfile.ZipFile(data_dir("capsule-vision") / "aiVengers_predicted_val_dataset.xlsx") as book:
        cells = book.read("xl/worksheets/sheet1.xml").decode()
    paths = re.findall(r"<t>(validation\\[^<]+)</t>", cells)
    tree: Tree = {path.replace("\\", "/"): None for path in paths}
    problems = Problems()
    source = FORMATS["capsule-vision"](Members(tree), {}, problems)
    assert len(source.table.rows) == len(source.images) == 16_132
    groups = {row.group for row in source.table.rows}
    assert len(groups - {"see-ai", "kid", "aiims"}) == 41
    assert {problem.code: problem.count for problem in problems.found()} == {
        "group_unknown": 4_289 + 165 + 97
    }


# --- SEE-AI ---

SEE_AI = pictures(*(f"SEE_AI_project_all_images/x/image{n:05d}.jpg" for n in (1, 2, 199, 200))) | {
    "SEE_AI_project_all_txt/x/image00001.txt": "1 0.5 0.5 0.5 0.25\n9 0.5 0.5 0.5 0.5\n\n",
    "SEE_AI_project_all_txt/x/image00002.txt": "",
    "SEE_AI_project_all_txt/x/image00199.txt": "7 0.5 0.5 1 1\n12 0.5 0.5 0.5 0.5\n",
    "SEE_AI_project_all_txt/x/image00777.txt": "1 0.5 0.5 0.5 0.25\n",
    "all_annotation.csv": "not,read\n",
}


def test_see_ai_makes_labels_of_boxes(tmp_path: Path) -> None:
    report = ingest(SEE_AI, tmp_path, "see-ai")
    assert found(report) == {"box_invalid": 1, "box_without_image": 1, "group_unknown": 4, "one_group": 1}
    marks = [row[2] for row in rows(tmp_path).values()]
    assert marks[0] == ["erosion", "erythema"]
    assert marks[1] == marks[3] == []
    assert "bleeding" in marks[2]
    assert "polyp-like?" in marks[2]
    with FramesDataset(tmp_path) as frames:
        assert frames.boxes(0)[0] == Box("erosion", 3, 3, 6, 2)


def test_see_ai_groups_are_an_assumption(tmp_path: Path) -> None:
    blocks = ingest(SEE_AI, tmp_path, "see-ai", groups="blocks")
    assert [group.group for group in blocks.groups] == ["block-00000", "block-00001"]
    assert found(blocks)["groups_assumed_blocks"] == 1
    assert len(ingest(SEE_AI, tmp_path, "see-ai", groups="per-frame").groups) == 4


def test_see_ai_with_an_unreadable_file_of_boxes_knows_nothing_of_that_frame(tmp_path: Path) -> None:
    report = ingest(SEE_AI | {"SEE_AI_project_all_txt/x/image00002.txt": None}, tmp_path, "see-ai")
    assert found(report)["boxes_unreadable"] == 1
    assert all(mark.endswith("?") for mark in list(rows(tmp_path).values())[1][2])
    assert len(list(rows(tmp_path).values())[1][2]) == 12


# --- Galar ---

GALAR = pictures(
    "Frames/001/frame_000005.PNG", "Frames/001/frame_000010.PNG", "Frames/2/frame_000005.PNG"
) | {
    "Labels/1.csv": "index,bubbles,dirt,colon,polyp,CED,frame\n0,1,0,1,1,0,5\n1,0,0,1,0,0,10\n",
    "Labels/2.csv": "index,bubbles,dirt,colon,polyp,CED,frame\n0,0,0,1,0,1,5\n",
    "Labels/3.csv": "index,bubbles,dirt,colon,polyp,CED,frame\n0,0,0,1,0,1,5\n",
}


def test_galar_has_a_table_per_video(tmp_path: Path) -> None:
    report = ingest(GALAR, tmp_path, "galar")
    assert found(report) == {"technical_not_annotated": 1, "video_without_images": 1}
    assert rows(tmp_path) == {
        "Frames/001/frame_000005.PNG": ("video-001", "", ["bubbles", "colon", "polyp"]),
        "Frames/001/frame_000010.PNG": ("video-001", "", ["colon"]),
        "Frames/2/frame_000005.PNG": ("video-002", "", ["bubbles?", "dirt?", "colon", "IBD"]),
    }
    assert [label.label for label in ingest(GALAR, tmp_path, "galar", labels="pathology").labels] == [
        "polyp",
        "IBD",
    ]


@pytest.mark.parametrize(
    ("change", "code", "count"),
    [
        ({"Labels/2.csv": "polyp,frame,unknown\n1,5,2\n"}, "frame_marked_unknown", 1),
        ({"Labels/2.csv": "polyp,frame\n1,5\n1,5\n0,5\n"}, "repeated_row", 1),
        ({"Labels/2.csv": "polyp,frame\n1,5\n1,5\n0,5\n"}, "contradicting_row", 1),
        ({"Labels/2.csv": "polyp,frame\n1,5.0\n"}, "malformed_row", 1),
        ({"Labels/2.csv": "polyp,frame\n3,5\n"}, "unknown_label_value", 1),
        ({"Labels/2.csv": "polyp,frame,elephant\n1,5,1\n"}, "column_not_read", 1),
        ({"Frames/somewhere/x.png": picture(7)}, "no_video_and_frame", 1),
        ({"Frames/2/5.png": picture(7)}, "same_name_twice", 1),
    ],
)
def test_what_is_wrong_with_a_galar_is_counted(change: Tree, code: str, count: int, tmp_path: Path) -> None:
    assert found(ingest({**GALAR, **change}, tmp_path, "galar"))[code] == count


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"more/01.csv": "frame,polyp\n"}, "several_tables"),
        ({"Labels/2.csv": "polyp\n1\n"}, "no_frame_column"),
        ({"Labels/2.csv": "polyp,Polyp,frame\n1,0,5\n"}, "repeated_column"),
    ],
)
def test_a_galar_that_cannot_be_understood_is_refused(change: Tree, code: str, tmp_path: Path) -> None:
    with pytest.raises(IngestRefused) as refused:
        ingest({**GALAR, **change}, tmp_path, "galar")
    assert refused.value.code == code


# --- Kvasir-SEG and HyperKvasir ---

KVASIR_SEG = pictures("Kvasir-SEG/images/a.jpg", "Kvasir-SEG/images/b.jpg") | {
    "Kvasir-SEG/masks/a.tiff": mask(),
    "Kvasir-SEG/masks/b.tiff": mask(empty=True),
    "Kvasir-SEG/masks/c.tiff": mask(),
    "Kvasir-SEG/kavsir_bboxes.json": json.dumps(
        {
            "a": {
                "height": 8,
                "width": 12,
                "bbox": [{"label": "polyp", "xmin": 2, "ymin": 2, "xmax": 4, "ymax": 4}],
            },
            "b": {"bbox": [{"xmin": "2"}, 7]},
            "z": 3,
        }
    ),
}


def test_kvasir_seg_shows_a_polyp_on_every_frame_also_where_the_mask_was_lost(tmp_path: Path) -> None:
    report = ingest(KVASIR_SEG, tmp_path, "kvasir-seg")
    assert found(report) == {
        "box_row_invalid": 3,
        "box_without_image": 1,
        "group_unknown": 2,
        "mask_empty": 1,
        "mask_without_image": 1,
        "one_class": 1,
        "one_group": 1,
    }
    assert [row[2] for row in rows(tmp_path).values()] == [["polyp"], ["polyp"]]
    with FramesDataset(tmp_path) as frames:
        assert frames.boxes(0) == (Box("polyp", 2, 2, 2, 2),)
        assert len(frames.masks(0)) == 1


@pytest.mark.parametrize("text", ["[]", "{", "[" * 100_000, '{"a": ' * 100_000])
def test_a_file_of_boxes_that_is_no_object_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(IngestRefused) as refused:
        ingest(KVASIR_SEG | {"Kvasir-SEG/kavsir_bboxes.json": text}, tmp_path, "kvasir-seg")
    assert refused.value.code == "boxes_not_json"


@pytest.mark.slow
def test_the_real_polyp_frames_are_taken(data_dir, tmp_path: Path) -> None:
    report = ingest_frames(FolderMembers(data_dir("polyp")), "kvasir-seg", {}, out_dir=tmp_path)
    assert (report.frames, report.refused, report.masks) == (500, 0, 500)
    assert (report.labels[0].positive, report.labels[0].negative) == (500, 0)
    codes = found(report)
    assert codes.keys() == {"group_unknown", "mask_empty", "one_class", "one_group"}
    assert 0 < codes["mask_empty"] < 100


HYPER = pictures(
    "labeled-images/lower-gi-tract/pathological-findings/polyps/p.jpg",
    "labeled-images/upper-gi-tract/anatomical-landmarks/z-line/z.jpg",
    "segmented-images/images/s.jpg",
    "docs/banner.jpg",
) | {
    "labeled-images/image-labels.csv": "Video file,Organ,Finding,Classification\n"
    "p,Lower GI,polyps,x\nz,Upper GI,pylorus,x\ngone,x,x,x\n",
    "segmented-images/masks/s.jpg": mask(),
    "segmented-images/bounding-boxes.json": json.dumps(
        {"s": {"bbox": [{"xmin": 1, "ymin": 1, "xmax": 5, "ymax": 5}]}}
    ),
    "2_fold_split.csv": "file-name;class-name;split-index\np.jpg;polyps;0\nz.jpg;z-line;1\n",
}


def test_hyper_kvasir_has_classes_in_folders_and_polyps_with_masks(tmp_path: Path) -> None:
    report = ingest(HYPER, tmp_path, "hyper-kvasir", groups="per-frame")
    assert found(report) == {
        "folder_contradicts_label": 1,
        "group_unknown": 3,
        "groups_assumed_per_frame": 1,
        "label_in_one_split": 2,
        "label_without_image": 1,
        "refused_no_label_row": 1,
    }
    seen = [(group, split, marks) for group, split, marks in rows(tmp_path).values()]
    assert seen == [
        ("p.jpg", "fold-0", ["polyps"]),
        ("z.jpg", "fold-1", ["z-line"]),
        ("s.jpg", "", ["polyps", "z-line?"]),
    ]
    assert (report.masks, report.boxes) == (1, 1)


def test_hyper_kvasir_has_only_the_folds_that_are_there(tmp_path: Path) -> None:
    with pytest.raises(IngestRefused) as refused:
        ingest(HYPER, tmp_path, "hyper-kvasir", folds=5)
    assert refused.value.pointer == "/options/folds"


# --- Folders and any CSV ---

FOLDERS = pictures("top/polyp/p1_01.png", "top/polyp/p1_02.png", "top/clean/p2_01.png", "stray.png")


@pytest.mark.parametrize(
    ("options", "groups"),
    [
        ({"groups": "prefix"}, ["p1", "p1", "p2"]),
        ({"groups": "pattern", "group_pattern": r"p(\d+)_.*"}, ["1", "1", "2"]),
        ({"groups": "per-frame"}, ["top/polyp/p1_01.png", "top/polyp/p1_02.png", "top/clean/p2_01.png"]),
    ],
)
def test_folders_are_classes(options: dict[str, Any], groups: list[str], tmp_path: Path) -> None:
    report = ingest(FOLDERS, tmp_path, "folders", **options)
    seen = rows(tmp_path)
    assert [seen[name][0] for name in list(FOLDERS)[:3]] == groups
    assert [seen[name][2] for name in list(FOLDERS)[:3]] == [["polyp"], ["polyp"], ["clean"]]
    assert found(report)["no_class_folder"] == found(report)["refused_no_label_row"] == 1


def test_folders_may_hold_groups_and_sides(tmp_path: Path) -> None:
    tree = pictures("train/polyp/v1/a.png", "train/clean/v2/a.png", "test/polyp/v3/a.png")
    ingest(tree, tmp_path, "folders", groups="folder", split="folder")
    assert list(rows(tmp_path).values()) == [
        ("v3", "test", ["polyp"]),
        ("v2", "train", ["clean"]),
        ("v1", "train", ["polyp"]),
    ]


def test_a_name_without_a_group_is_refused_alone(tmp_path: Path) -> None:
    report = ingest(FOLDERS | pictures("top/clean/nobody.png"), tmp_path, "folders", groups="prefix")
    assert found(report)["missing_group"] == found(report)["refused_no_group"] == 1


@pytest.mark.parametrize(
    ("options", "pointer"),
    [
        ({}, "/options/groups"),
        ({"groups": "guess"}, "/options/groups"),
        ({"groups": "pattern"}, "/options/group_pattern"),
        ({"groups": "prefix", "group_pattern": "(a)"}, "/options/group_pattern"),
    ],
)
def test_folders_have_to_say_who_is_who(options: dict[str, Any], pointer: str, tmp_path: Path) -> None:
    with pytest.raises(IngestRefused) as refused:
        ingest(FOLDERS, tmp_path, "folders", **options)
    assert (refused.value.code, refused.value.pointer) == ("bad_option", pointer)


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "(",
        "patient",
        "(a+)+b",
        "(a|a)b",
        "(?=a)(a)",
        "a?" * 20 + "(a)",
        ".*.*.*.*(x)",
        "(x" * 101,
        3,
        None,
        r"(\d)\1*",
    ],
)
def test_patterns_that_may_run_for_hours_or_say_nothing_are_refused(pattern: Any) -> None:
    if pattern == r"(\d)\1*":
        assert group_from_name(pattern)("11") == "1"  # a reference repeats what is fixed already
        return
    with pytest.raises(IngestRefused):
        group_from_name(pattern)


def test_the_slowest_pattern_that_is_taken_ends() -> None:
    assert group_from_name(r"(.*).*.*x")("a" * 255) == ""


@pytest.mark.parametrize(
    ("pattern", "name", "group"),
    [
        (r"([0-9a-f]{4})_\d+\.png", "00ff_12.png", "00ff"),
        (r"(?P<group>p[1-9|+*]+)-.*", "p12-x.png", "p12"),
        (r"(?:case)(\(\d\)).*", "case(7)a.png", "(7)"),
        (r"(p\d).*", "q1.png", ""),
    ],
)
def test_patterns_find_groups(pattern: str, name: str, group: str) -> None:
    assert group_from_name(pattern)(name) == group


OWN = pictures("images/a.png", "images/b.png", "c.png") | {
    "my labels.csv": "file;who;seen;fold;age\nimages\\a.png;p1;1;A;61\n./b.png;p2;0;B;34\nc.png;p3;;A;50\n"
}
NAMED = {"filename": "file", "group": "who", "labels": ["seen"], "split": "fold"}


def test_csv_takes_the_names_of_columns_from_options(tmp_path: Path) -> None:
    report = ingest(OWN, tmp_path, "csv", **NAMED)
    assert found(report) == {"label_in_one_split": 1}
    assert list(rows(tmp_path).values()) == [("p1", "A", ["seen"]), ("p2", "B", []), ("p3", "A", ["seen?"])]
    again = ingest(OWN, tmp_path, "csv", **NAMED | {"labels": "seen", "table": "my labels.csv"})
    assert again.fingerprint == report.fingerprint


def test_csv_paths_that_are_one_file_are_one_row(tmp_path: Path) -> None:
    tree = OWN | {"my labels.csv": "file,who,seen\na.png,p1,1\nimages/a.png,p1,1\n./a.png,p1,0\nb.png,p2,0\n"}
    options = {"filename": "file", "group": "who"}
    report = ingest(tree, tmp_path, "csv", **options)
    assert found(report) == {"contradicting_row": 1, "refused_no_label_row": 1, "repeated_row": 1}


@pytest.mark.parametrize(
    ("options", "code", "pointer"),
    [
        ({}, "no_filename_column", "/file_ids"),
        (NAMED | {"group": "nobody"}, "no_group_column", "/file_ids"),
        (NAMED | {"split": "nowhere"}, "no_split_column", "/file_ids"),
        (NAMED | {"labels": ["seen", "unseen"]}, "no_label_column", "/file_ids"),
        (NAMED | {"labels": ["seen", "seen"]}, "repeated_label", "/file_ids"),
        (NAMED | {"labels": ["age"]}, "not_a_label_column", "/file_ids"),
        (NAMED | {"labels": 3}, "bad_option", "/options/labels"),
        (NAMED | {"group": 3}, "bad_option", "/options/group"),
        (NAMED | {"groups": "per-frame"}, "bad_option", "/options/group"),
        (NAMED | {"table": "other.csv"}, "no_table", "/file_ids"),
    ],
)
def test_csv_options_that_fit_nothing_are_refused(
    options: dict[str, Any], code: str, pointer: str, tmp_path: Path
) -> None:
    with pytest.raises(IngestRefused) as refused:
        ingest(OWN, tmp_path, "csv", **options)
    assert (refused.value.code, refused.value.pointer) == (code, pointer)


def test_csv_asks_which_of_several_tables(tmp_path: Path) -> None:
    with pytest.raises(IngestRefused) as refused:
        ingest(OWN | {"more.csv": "a\n"}, tmp_path, "csv", **NAMED)
    assert refused.value.pointer == "/options/table"


# --- What is wrong with a whole dataset ---


@pytest.mark.parametrize(
    ("table", "code", "sentence"),
    [
        ("0.png,a,,1\n1.png,b,,1\n", "one_class", "no label has both positive and negative frames"),
        ("0.png,a,,\n1.png,b,,\n", "all_unknown", "seen is unknown on every frame"),
        ("0.png,a,,1\n1.png,a,,0\n", "one_group", "all frames are in one group"),
        (
            "0.png,a,x,1\n1.png,b,y,0\n",
            "label_in_one_split",
            "seen is positive in 1 of the dataset's 2 own splits",
        ),
    ],
)
def test_datasets_that_cannot_be_learnt_from_say_so(
    table: str, code: str, sentence: str, tmp_path: Path
) -> None:
    tree = pictures("0.png", "1.png") | {"labels.csv": "filename,group,split,seen\n" + table}
    report = ingest(tree, tmp_path, "labels-csv")
    assert code in found(report)
    assert any(note.startswith(sentence) for note in report.notes)


def test_a_frame_in_no_split_crosses_none(tmp_path: Path) -> None:
    tree = pictures("0.png", "1.png", "2.png") | {
        "labels.csv": "filename,group,split,seen\n0.png,a,,1\n1.png,a,x,0\n2.png,b,x,1\n"
    }
    assert found(ingest(tree, tmp_path, "labels-csv")) == {}
