"""The shipped version in a database: in use whatever was measured, and with papers that all may read."""

import json
from pathlib import Path

import pytest
from sqlalchemy import text

from service import shipped
from service.domain.access import Principal
from service.domain.ids import SYSTEM_TENANT_ID, new_id
from service.domain.version_files import Form
from service.settings import Settings
from service.usecases import registry, version_files
from tests.databases import Database
from tests.prediction_site import Site, prediction_site

pytestmark = [pytest.mark.integration, pytest.mark.slow]
NAME = "starter-detector"


def settings_of(site: Site) -> Settings:
    database = site.bench.database
    return Settings(
        home=site.folder / "home",
        database_url=database.url(),
        database_password_file=database.servers.password_file("api"),
        object_store_url=(site.folder / "objects").as_uri(),
    )


def test_its_papers_are_made_by_a_worker_and_read_by_another_tenant(
    committed_db: Database, tmp_path: Path
) -> None:
    with prediction_site(committed_db, tmp_path) as site:
        assert shipped.install(settings_of(site)) == f"{NAME}:1"
        assert shipped.install(settings_of(site)) is None
        with site.bench.dispatcher() as session:
            job = session.execute(text("SELECT id, tenant_id FROM job WHERE kind = 'export'")).one()
        assert job.tenant_id == SYSTEM_TENANT_ID
        site.slot.heart.start()  # it may take longer than a lease
        try:
            site.run(job.id)
        finally:
            site.slot.heart.stop()
        row = site.bench.row(job.id)
        assert row.state == "succeeded", row.error_code
        with site.bench.api() as session:
            keys = {
                form: version_files.made(session, site.bench.person, NAME, 1, form=form).object_key
                for form in (Form.CARD, Form.REPORT)
            }
        assert b"model card" in site.slot.objects.get(keys[Form.CARD])
        assert b"<svg" in site.slot.objects.get(keys[Form.REPORT])


def test_a_later_version_takes_its_place_even_if_nothing_was_measured_of_it(
    committed_db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = tmp_path / "later"
    later.mkdir()
    (later / "weights.safetensors").write_bytes(b"other weights")
    (later / "spec.json").write_bytes((shipped.FOLDER / "spec.json").read_bytes())
    (later / "metrics.json").write_text(json.dumps({}))
    with prediction_site(committed_db, tmp_path) as site:
        shipped.install(settings_of(site))
        monkeypatch.setattr(shipped, "FOLDER", later)
        assert shipped.install(settings_of(site)) == f"{NAME}:2"
        system = Principal(new_id(), SYSTEM_TENANT_ID, frozenset())
        with site.bench.api(system) as session:
            newest, first = registry.promotions(session, system, NAME, limit=9, before_id=None)
        assert (newest.to_version, newest.forced) == (2, True)
        assert newest.comparison is not None
        assert (first.to_version, first.forced) == (1, False)
