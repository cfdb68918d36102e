"""Answers as DataFrames."""

from service.client import tables

MODEL = {"name": "m", "version": 3, "id": "v", "sha256": "5" * 64}
FRAMES = [
    {
        "ordinal": 0,
        "name": "a.jpg",
        "sha256": "a" * 64,
        "model": MODEL,
        "error": None,
        "findings": [
            {
                "label": "polyp",
                "code": "c",
                "probability": 0.9,
                "positive": True,
                "threshold": 0.5,
                "evidence": "real",
                "cam": {"peak_xy": [3, 4]},
            },
            {"label": "bleeding", "code": None, "probability": 0.1, "positive": False, "threshold": 0.5},
        ],
    },
    {
        "ordinal": 1,
        "name": "b.gif",
        "sha256": "b" * 64,
        "model": MODEL,
        "error": {"code": "unknown_format", "detail": "..."},
    },
]


def test_findings_are_a_row_per_frame_and_label() -> None:
    frame = tables.findings(FRAMES)
    assert frame["label"].tolist()[:2] == ["polyp", "bleeding"]
    assert frame.loc[0, ["peak_x", "peak_y"]].tolist() == [3, 4]
    assert frame["positive"].tolist()[:2] == [True, False]


def test_every_finding_names_its_input_and_what_made_it() -> None:
    frame = tables.findings(FRAMES)
    assert frame["sha256"].tolist() == ["a" * 64, "a" * 64, "b" * 64]
    for column, expected in {"model": "m", "model_version": 3, "weights_sha256": "5" * 64}.items():
        assert set(frame[column]) == {expected}


def test_an_unreadable_frame_is_a_row_with_its_error() -> None:
    frame = tables.findings(FRAMES)
    assert len(frame) == 3
    assert frame.loc[2, "error"] == "unknown_format"
    assert frame["label"].isna().tolist() == [False, False, True]


def test_no_frames_still_have_columns() -> None:
    assert tuple(tables.findings([]).columns) == tables.FINDING_COLUMNS


def test_models_are_a_row_per_version_with_its_aliases() -> None:
    versions = [{"name": "m", "version": number, "task": "t", "evidence": "real"} for number in (1, 2)]
    frame = tables.models([{"name": "m", "versions": versions, "aliases": {"champion": 2}, "created_at": ""}])
    assert frame["aliases"].tolist() == [[], ["champion"]]
    assert frame["version"].tolist() == [1, 2]


def test_series_are_flat() -> None:
    frame = tables.metrics({"train/loss": [(1, 0.5), (2, None)]})
    assert frame["name"].tolist() == ["train/loss"] * 2
    assert frame["step"].tolist() == [1, 2]
    assert frame["value"].isna().tolist() == [False, True]


def test_predictions_have_a_column_per_output() -> None:
    rows = [
        {"ordinal": 0, "item": "a", "outputs": {"polyp": 0.2}},
        {"ordinal": 1, "item": "b", "outputs": {"error": "too_large"}},
    ]
    frame = tables.predictions(rows)
    assert tuple(frame.columns) == ("ordinal", "item", "polyp", "error")
