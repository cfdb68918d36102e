"""Files of a version through a real worker slot: asked for, made in the runner, stored under a row."""

import zipfile
from pathlib import Path
from uuid import UUID

import pytest

from service.domain.version_files import PAPERS, Form
from service.store import version_files
from service.usecases import papers
from tests.databases import Database
from tests.prediction_site import Site, prediction_site

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def ask(site: Site, *forms: Form, evaluation_id: UUID | None = None) -> UUID:
    with site.bench.api() as session:
        job = papers.submit(
            session,
            site.bench.person,
            site.version.model_version_id,
            forms,
            evaluation_id=evaluation_id,
            max_queued=None,
        )
    return job.id


def content(site: Site, form: Form, *, evaluation_id: UUID | None = None) -> bytes:
    with site.bench.api() as session:
        row = version_files.newest(session, site.version.model_version_id, form, evaluation_id=evaluation_id)
        assert row is not None
        key, size = row.object_key, row.size_bytes
    stored = site.slot.objects.get(key)
    assert len(stored) == size
    return stored


def test_a_version_gets_its_papers_and_an_evaluation_its_report(
    committed_db: Database, tmp_path: Path
) -> None:
    with prediction_site(committed_db, tmp_path) as site:
        own, evaluation_id = ask(site, *PAPERS), site.evaluate()
        for job_id in (own, evaluation_id):
            site.run(job_id)
            assert site.bench.view(job_id).state == "succeeded", site.bench.row(job_id).error_code
        later = ask(site, Form.REPORT, evaluation_id=evaluation_id)
        site.run(later)
        made = site.bench.view(later)
        assert made.result is not None
        assert [file["format"] for file in made.result["files"]] == ["report"]
        assert b"model card" in content(site, Form.CARD)
        assert b"Nothing was measured of this version." in content(site, Form.REPORT)
        measured = content(site, Form.REPORT, evaluation_id=evaluation_id).decode()
        assert "Evaluation report on frames, version 1" in measured
        assert "<svg" in measured


def test_a_version_leaves_as_a_bundle(committed_db: Database, tmp_path: Path) -> None:
    with prediction_site(committed_db, tmp_path) as site:
        job_id = ask(site, Form.MONAI_BUNDLE)
        site.slot.heart.start()  # it may take longer than a lease
        try:
            site.run(job_id)
        finally:
            site.slot.heart.stop()
        assert site.bench.view(job_id).state == "succeeded", site.bench.row(job_id).error_code
        bundle = tmp_path / "bundle.zip"
        bundle.write_bytes(content(site, Form.MONAI_BUNDLE))
        assert zipfile.ZipFile(bundle).testzip() is None


def test_what_cannot_be_built_is_not_exported(committed_db: Database, tmp_path: Path) -> None:
    with prediction_site(committed_db, tmp_path, builder={"name": "unheard-of", "params": {}}) as site:
        job_id = ask(site, Form.ONNX)
        site.run(job_id)
        row = site.bench.row(job_id)
        assert (row.state, row.error_code) == ("failed", "form_not_known")
