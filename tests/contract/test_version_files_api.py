"""Files of a version over HTTP: asked for, made by a job, served as what they are."""

from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from service.domain.access import Role
from service.domain.ids import DEFAULT_TENANT_ID, new_id
from service.store import version_files
from service.store.objects import job_key
from service.store.version_files import NewVersionFile
from tests.contract.acting import claim, succeed, working
from tests.contract.conftest import import_model

PAGES = {"card": "card", "report": "evaluation"}
PAPER = b"<!doctype html><p>paper"


@pytest.fixture(scope="module")
def version(api) -> dict:
    return import_model(api, "papers", promote=False)


def path(version: dict, page: str) -> str:
    return f"/models/{version['name']}/versions/{version['version']}/{page}"


def newest_export(api) -> dict:
    return api.send("GET", "/jobs", params={"kind": "export", "limit": 1}).json()["items"][0]


def make(api, job: dict, content: bytes) -> None:
    """Plays the worker: stores the same bytes for every form that the job asks for."""
    held = claim(api, UUID(job["id"]))
    key = job_key(DEFAULT_TENANT_ID, held.id, fence=held.fence, sha256="0" * 64)
    stored = api.objects.put_bytes(key, content)
    files = [NewVersionFile(form, key, stored.sha256, stored.size_bytes) for form in held.spec["forms"]]
    evaluation_id = held.spec["evaluation_id"]
    with working(api, held) as session:
        version_files.insert_files(
            session,
            files,
            tenant_id=held.tenant_id,
            job_id=held.id,
            model_version_id=UUID(held.spec["model_version_id"]),
            evaluation_id=evaluation_id and UUID(evaluation_id),
        )
    succeed(api, held, {"files": held.spec["forms"]})


def test_an_imported_version_asks_for_its_papers_by_itself(api):
    version = import_model(api, "bare", promote=False)
    job = newest_export(api)
    assert job["state"] == "queued"
    for page in PAGES.values():
        refused = api.send("GET", path(version, page), params={"format": "html"})
        assert (refused.status_code, refused.json()["code"]) == (404, "not_made")
    make(api, job, PAPER)
    for form, page in PAGES.items():
        answer = api.send("GET", path(version, page), params={"format": "html"})
        assert answer.content == PAPER
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert answer.headers["content-disposition"] == f'inline; filename="bare-1-{form}.html"'
        assert "script-src" not in answer.headers["content-security-policy"]
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        assert "sandbox" in answer.headers["content-security-policy"]
        assert api.send("GET", path(version, page)).headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("form", "name", "kind"),
    [
        ("onnx", "papers-1.onnx", "application/octet-stream"),
        ("monai-bundle", "papers-1-monai-bundle.zip", "application/zip"),
    ],
)
def test_another_form_is_made_when_it_is_asked_for(api, version, form, name, kind):
    refused = api.send("GET", path(version, "export"), params={"format": form})
    assert (refused.status_code, refused.json()["code"]) == (404, "not_made")
    job = api.send("POST", path(version, "exports"), json={"format": form}).json()
    assert (job["kind"], job["state"]) == ("export", "queued")
    make(api, job, b"first")
    make(api, api.send("POST", path(version, "exports"), json={"format": form}).json(), b"second")
    answer = api.send("GET", path(version, "export"), params={"format": form})
    assert answer.content == b"second"
    assert answer.headers["content-type"] == kind
    assert answer.headers["content-disposition"] == f'attachment; filename="{name}"'


def evaluated(api, version: dict) -> str:
    """The id of an evaluation that has succeeded, as a worker would have left it."""
    job_id = new_id()
    queued = {"id": job_id, "version": version["id"], "dataset": str(new_id())}
    with api.database.engine("owner").begin() as connection:
        connection.execute(
            text(
                "INSERT INTO job (id, tenant_id, principal_id, kind, queue, spec, spec_sha256, batch_key)"
                " SELECT :id, tenant_id, principal_id, 'evaluation', 'train', jsonb_build_object("
                "'model_version_id', CAST(:version AS text), 'dataset_id', CAST(:dataset AS text)), '0', '0'"
                " FROM job WHERE kind = 'export' LIMIT 1"
            ),
            queued,
        )
    succeed(api, claim(api, job_id), {"metrics": {"frames": 1, "groups": 1, "labels": {}}})
    return str(job_id)


def test_an_evaluation_has_a_report_of_its_own(api, version):
    evaluation_id = evaluated(api, version)
    asked = {"format": "html", "evaluation_id": evaluation_id}
    assert api.send("GET", path(version, "evaluation"), params=asked).json()["code"] == "not_made"
    body = {"format": "report", "evaluation_id": evaluation_id}
    job = api.send("POST", path(version, "exports"), json=body).json()
    make(api, job, b"<p>on another dataset")
    assert api.send("GET", path(version, "evaluation"), params=asked).content == b"<p>on another dataset"
    own = api.send("GET", path(version, "evaluation"), params={"format": "html"})
    assert own.content != b"<p>on another dataset"


@pytest.mark.parametrize("body", [{"format": "report"}, {"format": "card", "evaluation_id": None}])
def test_a_report_is_of_an_evaluation_of_that_version(api, version, body):
    """Neither of one that does not exist, nor the card of one that does."""
    given = evaluated(api, version) if body["format"] == "card" else str(new_id())
    refused = api.send("POST", path(version, "exports"), json=body | {"evaluation_id": given})
    assert (refused.status_code, refused.json()["code"]) == (422, "no_evaluation")
    assert refused.json()["errors"][0]["pointer"] == "/evaluation_id"


@pytest.mark.parametrize("body", [{}, {"format": "pickle"}, {"format": "onnx", "extra": 1}])
def test_a_request_that_is_none_is_refused(api, version, body):
    assert api.send("POST", path(version, "exports"), json=body).status_code == 422


def test_a_clinician_reads_papers_and_has_none_made(api, version):
    clinician = (Role.CLINICIAN,)
    read = api.send("GET", path(version, "card"), params={"format": "html"}, roles=clinician)
    assert read.status_code in {200, 404}
    asked = api.send("POST", path(version, "exports"), json={"format": "card"}, roles=clinician)
    assert asked.status_code == 403


def test_what_was_made_is_never_changed(api, version):
    make(api, api.send("POST", path(version, "exports"), json={"format": "card"}).json(), PAPER)
    for statement in ("UPDATE version_file SET form = form", "DELETE FROM version_file"):
        with pytest.raises(DBAPIError), api.database.engine("owner").begin() as connection:
            connection.execute(text(statement))
