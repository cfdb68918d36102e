"""A version that the worker cannot build ends its jobs with a code of its own and a sentence that helps."""

import hashlib
from pathlib import Path

import pytest

from tests.databases import Database
from tests.prediction_site import prediction_site

pytestmark = [pytest.mark.integration, pytest.mark.slow]

DETECTOR = {
    "name": "lesion-detector",
    "params": {"backbone": "resnet10", "backbone_params": {"width": 0.125}},
}
SPECS = {
    "another program's builder": ({"builder": {"name": "unheard-of", "params": {}}}, "unknown_builder"),
    "a backbone of tomorrow": (
        {"builder": DETECTOR | {"params": {"backbone": "alexandria", "backbone_params": {}}}},
        "unknown_backbone",
    ),
    "a field of the wrong kind": ({"input": {"size_px": "large"}}, "spec_invalid"),
    "other weights": (
        {"builder": DETECTOR | {"params": {"backbone": "resnet10", "backbone_params": {}}}},
        "weights_mismatch",
    ),
}


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("kind", ["prediction", "evaluation"])
def test_a_version_that_cannot_be_built_is_told_apart(
    committed_db: Database, tmp_path: Path, name: str, kind: str
) -> None:
    changes, code = SPECS[name]
    with prediction_site(committed_db, tmp_path, **changes) as site:
        job_id = site.submit("file_id") if kind == "prediction" else site.evaluate()
        site.run(job_id)
        row = site.bench.row(job_id)
        assert (row.state, row.error_code) == ("failed", code)
        assert len(row.error_detail) > len("It failed.")
        assert site.blocks(job_id) == []


@pytest.mark.parametrize("kind", ["prediction", "evaluation"])
def test_weights_that_were_torn_on_this_disk_are_fetched_again(
    committed_db: Database, tmp_path: Path, kind: str
) -> None:
    with prediction_site(committed_db, tmp_path) as site:
        cache = tmp_path / "home" / "cache" / "weights"
        cache.mkdir(parents=True)
        torn = (
            cache
            / f"{hashlib.sha256((tmp_path / 'weights.safetensors').read_bytes()).hexdigest()}.safetensors"
        )
        torn.write_bytes(b"")
        job_id = site.submit("file_id") if kind == "prediction" else site.evaluate()
        site.run(job_id)
        assert site.bench.view(job_id).state == "succeeded"
