"""Frames in over HTTP: what is stored, answered and shown."""


import pytest

from service.domain.access import Role
from tests.contract.conftest import import_model
from tests.contract.images import picture

CLINICIAN = (Role.CLINICIAN,)


@pytest.fixture(scope="module", autouse=True)
def _model(api):
    import_model(api, "lesion-detector")


def test_submit_answers_the_job_and_stores_bytes_and_rows(api):
    before = api.counts()
    sent = api.send(
        "POST", "/analyses", roles=CLINICIAN, files={"frames": ("a.jpg", picture(), "image/jpeg")}
    )
    assert sent.status_code == 202, sent.text
    job = sent.json()
    assert sent.headers["location"] == f"/api/v1/jobs/{job['id']}"
    assert (job["kind"], job["queue"], job["state"]) == ("analysis", "interactive", "queued")
    after = api.counts()
    grown = {name: after[name] - before[name] for name in after if after[name] != before[name]}
    assert grown == {"analysis": 1, "analysis_input": 1, "file": 1, "job": 1, "job_event": 1, "objects": 1}
    seen = api.send("GET", job["links"]["analysis"].removeprefix("/api/v1"), roles=CLINICIAN)
    assert seen.status_code == 200, seen.text
    assert seen.json()["job"]["id"] == job["id"]
    assert seen.json()["frame_count"] == 1
    assert seen.json()["model"]["name"] == "lesion-detector"
