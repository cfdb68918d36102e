"""The short form of a training on real frames: the path and its honesty, not the figure."""

import pytest

from models.imaging.archive import FolderMembers
from models.imaging.ingest import ingest_frames
from models.imaging.recipe import run

pytestmark = pytest.mark.slow

PARAMS = {
    "backbone": "resnet10",
    "backbone_params": {"width": 0.125},
    "size_px": 48,
    "epochs": 1,
    "precision": "float32",
}


def test_real_frames_are_split_by_source_and_judged_beside_colour(data_dir, tmp_path):
    dataset = tmp_path / "dataset"
    dataset.mkdir()
    ingest_frames(FolderMembers(data_dir("wce")), "wcebleedgen", {}, out_dir=dataset)
    result = run(dataset, PARAMS, tmp_path)
    split, bleeding = result.report["split"], result.metrics["labels"]["bleeding"]
    assert sum(split["frames"].values()) == 1772
    assert all(count >= 1 for count in split["groups"].values())
    assert result.report["split_problems"] == []
    assert 0 <= bleeding["auc"]["value"] <= 1
    assert 0 <= result.metrics["colour_baseline"]["bleeding"]["value"] <= 1
    assert bleeding["pointing"]["n"] > 0
    assert result.spec.labels[0].evidence == "real"
