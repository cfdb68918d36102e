"""A comparison as a person reads it."""

from service.commands.comparing import compared


def spread(*folds):
    known = [value for value in folds if value is not None]
    if not known:
        return None
    return {"mean": sum(known) / len(known), "deviation": 0.0125, "minimum": min(known), "folds": list(folds)}


def measures(*folds):
    names = ["auc", *(f"sensitivity_at_{at}_specificity" for at in (80, 90, 95)), "overlap"]
    return {name: spread(*folds) for name in names} | {"pointing": None}


def difference(low, high):
    return {"auc": {"mean": (low + high) / 2, "low": low, "high": high, "folds": 2}, "pointing": None}


COMPARISON = {
    "design": {"comparison": {"order": "contiguous", "seeds": 3}},
    "folds": [
        {"frames": 10, "positives": {"bleeding": 4}, "colour_auc": {"bleeding": 0.93}},
        {"frames": 12, "positives": {"bleeding": 0}, "colour_auc": {"bleeding": None}},
    ],
    "runs": [{}] * 18,
    "summary": {
        "triplet": {"bleeding": measures(0.9, None)},
        "cross-entropy": {"bleeding": measures(0.875, None)},
        "frozen": {"bleeding": measures(None, None)},
    },
    "differences": {
        "triplet - cross-entropy": {"bleeding": difference(-0.01, 0.06)},
        "triplet - frozen": {"bleeding": difference(0.05, 0.2)},
    },
}


def test_arms_differences_and_folds_are_told():
    sentence, arms, differences, folds = compared(COMPARISON)
    assert sentence.startswith("18 trainings: 2 contiguous folds x 3 seeds x 3 arms, 22 frames judged")
    assert arms.rows[0][:4] == ("triplet", "bleeding", "0.900 ± 0.013", "0.900")
    assert arms.rows[0][7] == arms.rows[2][2] == "not measured"
    assert differences.rows[0][2:] == ("+0.025 (-0.010 to +0.060)", "not measured", "no gain shown")
    assert differences.rows[1][4] == "gain"
    assert folds.rows[1] == ("2", "bleeding", "0 of 12", *["not measured"] * 4)
    assert folds.rows[0][3:5] == ("0.930", "0.900")
