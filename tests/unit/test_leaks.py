"""The leak check flags published splits that leak, and passes clean ones."""

import csv
import json
import re
import zipfile

import numpy as np
import pytest
from PIL import Image

from models.imaging.leak_sides import Side
from models.imaging.leaks import check_leaks, unchecked
from models.imaging.perceptual import difference_hash
from models.synthetic.frames import LABELS, draw_frames

LAST_SOURCE = 600  # of 975: the rest says the same and takes its time
SMALL = 160  # of 640 px: what a JPEG decoder gives at a quarter of the size


def side(frames, labels, groups, *, names=None, embeddings=None):
    return Side(
        groups_N=np.array(groups),
        names_N=np.array(names if names is not None else [f"{row}.jpg" for row in range(len(frames))]),
        hashes_N=np.array([str(hash(frame.tobytes())) for frame in frames]),
        looks_N=np.array([difference_hash(frame) for frame in frames]),
        labels_NK=np.array(labels, np.int8),
        embeddings_ND=embeddings,
        frame=lambda row: frames[row],
    )


def codes(report):
    return {problem["code"]: problem for problem in report["problems"]}


def whys(report, check):
    return [entry["why"] for entry in report["not_checked"] if entry["check"] == check]


@pytest.fixture(scope="module")
def drawn():
    frames = list(draw_frames(240, seed=5, domain="train", size=96))
    labels = [[frame.labels[label] for label in LABELS] for frame in frames]
    return [frame.rgb for frame in frames], np.array(labels), np.array([frame.group for frame in frames])


def sides(drawn, judged, **more):
    frames, labels, groups = drawn
    return [
        side([frames[row] for row in rows], labels[rows], groups[rows], **more)
        for rows in (np.flatnonzero(~judged), np.flatnonzero(judged))
    ]


def some_groups(groups):
    return np.isin(groups, np.unique(groups)[::4])


# --- clean


def test_drawn_frames_split_by_group_are_clean(drawn):
    report = check_leaks(*sides(drawn, some_groups(drawn[2])), label_names=LABELS)
    assert report["verdict"] == "clean"
    assert not [problem for problem in report["problems"] if problem["grade"] != "note"]
    assert set(report["checked"]) == {"identical_frames", "groups", "near_duplicates", "colour", "names"}
    assert whys(report, "embeddings") == ["embeddings of both sides are not at hand"]
    assert report["measured"]["near_duplicates"]["share"] < 0.05
    assert json.loads(json.dumps(report, allow_nan=False)) == report


# --- what each check finds


def test_a_frame_on_both_sides_is_found(drawn):
    frames, labels, groups = drawn
    judged = some_groups(groups)
    training, seen = sides(drawn, judged)
    copied = np.flatnonzero(judged)[:3]
    more = side(
        [*(frames[row] for row in np.flatnonzero(~judged)), *(frames[row] for row in copied)],
        np.concatenate([labels[~judged], labels[copied]]),
        np.concatenate([groups[~judged], ["another"] * 3]),
    )
    found = codes(check_leaks(more, seen))["identical_frames"]
    assert (found["grade"], found["count"], found["of"]) == ("leak", 3, len(seen))
    assert "identical_frames" not in codes(check_leaks(training, seen))


def test_groups_on_both_sides_are_counted(drawn):
    judged = np.zeros(240, bool)
    judged[:40:4] = True  # of the first five patients, and of no other
    report = check_leaks(*sides(drawn, judged))
    found = codes(report)["group_on_both_sides"]
    assert (report["verdict"], found["count"], found["of"]) == ("leak", 5, 5)
    assert "with 10 judged frames" in found["detail"]


def test_equal_names_of_groups_in_two_datasets_are_doubtful_unless_frames_are_shared(drawn):
    frames, labels, groups = drawn
    judged = some_groups(groups)
    training, seen = sides(drawn, judged)
    namesake = side(
        [frames[row] for row in np.flatnonzero(judged)], labels[judged], training.groups_N[: judged.sum()]
    )
    assert check_leaks(training, namesake, one_dataset=False)["verdict"] == "doubtful"
    assert check_leaks(training, namesake, one_dataset=True)["verdict"] == "leak"
    both = side(frames, labels, groups)
    assert codes(check_leaks(both, seen, one_dataset=False))["group_on_both_sides"]["grade"] == "leak"


def recoded(frame):
    """The same picture, smaller and brighter: other bytes."""
    return np.clip(np.asarray(Image.fromarray(frame).resize((90, 90))) * 1.1, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("turn", [lambda frame: frame, np.rot90, np.fliplr])
def test_copies_in_other_bytes_are_found_in_every_turn(turn, drawn):
    training, _ = sides(drawn, some_groups(drawn[2]))
    fresh = [frame.rgb for frame in draw_frames(70, seed=77, domain="train", size=96)]
    copies = [np.ascontiguousarray(turn(recoded(training.frame(row)))) for row in range(30)]
    seen = side([*fresh, *copies], np.zeros((100, 4)), [f"new-{row // 5}" for row in range(100)])
    found = codes(check_leaks(training, seen))["near_duplicates"]
    assert found["grade"] == "leak"
    assert 20 <= found["count"] <= 40


def test_frames_of_one_colour_are_no_duplicates(drawn):
    training, _ = sides(drawn, some_groups(drawn[2]))
    black = [np.full((96, 96, 3), value, np.uint8) for value in range(20)]
    report = check_leaks(
        side([*black, training.frame(0)], np.zeros((21, 4)), ["a"] * 21),
        side(black, np.zeros((20, 4)), ["b"] * 20),
    )
    assert whys(report, "near_duplicates") == ["a side has nothing but frames of one colour"]


def test_close_embeddings_are_doubtful(drawn):
    rng = np.random.default_rng(0)
    _, _, groups = drawn
    training, seen = sides(drawn, some_groups(groups))
    centres = rng.normal(size=(240, 16)).astype(np.float32)
    learnt = centres[: len(training)] + rng.normal(size=(len(training), 16)).astype(np.float32) * 0.1

    def report(near):
        given = [
            Side(training.groups_N, embeddings_ND=learnt),
            Side(seen.groups_N, embeddings_ND=near.astype(np.float32)),
        ]
        return check_leaks(*given)

    apart = report(rng.normal(size=(len(seen), 16)))
    assert "close_embeddings" not in codes(apart)
    assert apart["measured"]["embeddings"]["share"] < 0.1
    twins = report(learnt[: len(seen)] + rng.normal(size=(len(seen), 16)) * 0.01)
    assert twins["verdict"] == "doubtful"
    assert codes(twins)["close_embeddings"]["count"] > 0.9 * len(seen)


@pytest.mark.parametrize(
    "name",
    [
        lambda row, label: f"frames/{label}/{row:04d}.jpg",
        lambda row, label: f"img-{row}{'_png_jpg' if label else '_png'}.rf.{row * 7919:x}.jpg",
        lambda row, label: f"normal\\{row}.png" if not label else f"set{row % 3}\\Polyp{row}.png",
        lambda row, label: f"{row}_{label}.png",
    ],
)
def test_names_that_tell_the_label_are_noted(name, drawn):
    frames, labels, groups = drawn
    polyp = labels[:, :1]
    names = [name(row, label) for row, label in enumerate(polyp[:, 0])]
    judged = some_groups(groups)
    given = [
        side([frames[row] for row in rows], polyp[rows], groups[rows], names=[names[row] for row in rows])
        for rows in (np.flatnonzero(~judged), np.flatnonzero(judged))
    ]
    report = check_leaks(*given, label_names=["polyp"])
    assert codes(report)["label_in_names"]["label"] == "polyp"
    assert report["verdict"] == "clean"  # nothing that is judged has seen a name
    assert all(name not in json.dumps(report) for name in names)


def test_names_that_tell_only_the_group_are_not(drawn):
    frames, _, groups = drawn
    sick = (np.unique(groups, return_inverse=True)[1] % 2)[:, None]  # a label of the patient
    judged = some_groups(groups)
    given = [
        side(
            [frames[row] for row in rows],
            sick[rows],
            groups[rows],
            names=[f"{groups[row]}/{groups[row]}_{row}.jpg" for row in rows],
        )
        for rows in (np.flatnonzero(~judged), np.flatnonzero(judged))
    ]
    assert "label_in_names" not in codes(check_leaks(*given, label_names=["sick"]))


# --- what cannot be known


def test_nothing_to_compare_with_is_no_clean_bill():
    report = unchecked("it was imported")
    assert report["verdict"] == "unknown"
    assert report["not_checked"] == [{"check": "training_side", "why": "it was imported"}]
    assert check_leaks(Side(np.array([""])), Side(np.array(["a"])))["verdict"] == "unknown"


def test_one_group_per_frame_is_said_to_prove_nothing(drawn):
    frames, labels, groups = drawn
    judged = some_groups(groups)
    training, _ = sides(drawn, judged)
    lone = side(
        [frames[row] for row in np.flatnonzero(judged)],
        labels[judged],
        [f"lone-{row}" for row in range(judged.sum())],
    )
    found = whys(check_leaks(training, lone), "groups")
    assert found == ["every judged frame is its own group, so that groups say nothing"]


# --- published splits


@pytest.fixture(scope="module")
def bleeding(data_dir):
    """WCEBleedGen, decoded small: frames, labels, source blocks, the published side, contiguous folds."""
    folder = data_dir("wce")
    with (folder / "labels.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if int(row["source_index"]) < LAST_SOURCE]
    frames = []
    for row in rows:
        image = Image.open(folder / "images" / row["filename"])
        image.draft("RGB", (SMALL, SMALL))
        frames.append(np.asarray(image.convert("RGB")))
    source = np.array([int(row["source_index"]) for row in rows])
    labels = np.array([[int(row["bleeding"])] for row in rows])
    published = np.array([row["repo_split"] == "valid" for row in rows])
    fold = np.searchsorted(np.quantile(source, [0.2, 0.4, 0.6, 0.8]), source, side="right")
    return frames, labels, source, published, fold, [row["filename"] for row in rows]


def split(bleeding, judged, groups):
    frames, labels, _, _, _, names = bleeding
    given = [
        side([frames[row] for row in rows], labels[rows], groups[rows], names=[names[row] for row in rows])
        for rows in (np.flatnonzero(~judged), np.flatnonzero(judged))
    ]
    return check_leaks(*given, label_names=["bleeding"])


def test_the_published_split_of_wcebleedgen_leaks_even_without_groups(bleeding):
    _, _, _, published, _, names = bleeding
    report = split(bleeding, published, np.array(names))
    found = codes(report)
    assert report["verdict"] == "leak"
    assert set(found) == {"near_duplicates", "colour_knows_neighbours", "label_in_names"}
    assert found["near_duplicates"]["grade"] == "leak"
    measured = report["measured"]["near_duplicates"]
    assert measured["share"] > 10 * measured["share_by_chance"]
    assert whys(report, "groups") == ["every judged frame is its own group, so that groups say nothing"]


def test_with_blocks_of_its_source_as_groups_all_of_them_cross(bleeding):
    _, _, source, published, _, _ = bleeding
    blocks = np.array([f"block-{index // 200:05d}" for index in source])
    rows = [np.flatnonzero(~published), np.flatnonzero(published)]
    found = codes(check_leaks(*(Side(blocks[chosen]) for chosen in rows)))["group_on_both_sides"]
    assert (found["count"], found["of"], found["grade"]) == (3, 3, "leak")


@pytest.mark.parametrize("judged_fold", [0, 2])
def test_contiguous_folds_of_wcebleedgen_are_clean_but_its_names_tell(judged_fold, bleeding):
    _, _, _, _, fold, _ = bleeding
    report = split(bleeding, fold == judged_fold, np.array([f"fold-{number}" for number in fold]))
    assert report["verdict"] == "clean"
    assert "label_in_names" in codes(report)
    assert report["measured"]["near_duplicates"]["share"] < 0.05


def test_every_video_of_the_capsule_vision_validation_part_is_in_training(data_dir):
    sheet = data_dir("capsule-vision") / "CapsuleNet_predicted_val_dataset.xlsx"
    text = zipfile.ZipFile(sheet).read("xl/worksheets/sheet1.xml").decode()
    paths = [path for path in re.findall(r">(validation[^<]+)<", text) if "\\KVASIR\\" in path]
    judged = {path.rsplit("\\", 1)[1] for path in paths}
    with (data_dir("kvasir-capsule-labels") / "metadata.csv").open() as file:
        rows = [row for row in csv.DictReader(file, delimiter=";") if row["filename"] not in judged]
    training = Side(np.array([row["video_id"] for row in rows]))
    videos = np.array([name.rsplit("_", 1)[0] for name in sorted(judged)])
    report = check_leaks(training, Side(videos))
    found = codes(report)["group_on_both_sides"]
    assert (report["verdict"], found["count"], found["of"]) == ("leak", 41, 41)
    assert whys(report, "near_duplicates") == ["perceptual hashes of the frames are not at hand"]
