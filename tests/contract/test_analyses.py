"""Frames in over HTTP: what is stored, answered and shown."""

import io
import zipfile
from uuid import UUID

import pytest
from PIL import Image
from sqlalchemy import text

from service.domain.access import Role
from tests.contract.acting import ENGINE, read_frames
from tests.contract.conftest import import_model
from tests.contract.images import picture

CLINICIAN = (Role.CLINICIAN,)


@pytest.fixture(scope="module", autouse=True)
def _model(api):
    import_model(api, "lesion-detector")


def submit(api, *contents: bytes, roles=CLINICIAN, **rest):
    files = [("frames", (f"{number}.jpg", data, "image/jpeg")) for number, data in enumerate(contents)]
    return api.send("POST", "/analyses", roles=roles, files=files, **rest)


@pytest.fixture(scope="module")
def read(api):
    """An analysis that a worker has read: a good frame and a bad one."""
    job = submit(api, picture(size=(336, 252))).json()
    read_frames(api, job, b"")
    return job


def spec_of(api, job: dict) -> dict:
    with api.database.engine("owner").connect() as connection:
        query = text("SELECT queue, batch_key, spec FROM job WHERE id = :id")
        return dict(connection.execute(query, {"id": job["id"]}).mappings().one())


def test_submit_answers_the_job_and_stores_bytes_and_rows(api):
    before = api.counts()
    sent = submit(api, picture())
    assert sent.status_code == 202, sent.text
    job = sent.json()
    assert sent.headers["location"] == f"/api/v1/jobs/{job['id']}"
    assert (job["kind"], job["queue"], job["state"]) == ("analysis", "interactive", "queued")
    after = api.counts()
    grown = {name: after[name] - before[name] for name in after if after[name] != before[name]}
    assert grown == {"analysis": 1, "analysis_input": 1, "file": 1, "job": 1, "job_event": 1, "objects": 1}


def test_the_answer_leaves_after_the_commit(api):
    job = submit(api, picture()).json()
    with api.database.engine("owner").connect() as connection:
        found = connection.execute(text("SELECT state FROM job WHERE id = :id"), {"id": job["id"]}).scalar()
    assert found == "queued"
    assert api.send("GET", f"/jobs/{job['id']}", roles=CLINICIAN).status_code == 200


def test_stored_bytes_are_the_sent_ones(api):
    data = picture("PNG")
    job = submit(api, data).json()
    with api.database.engine("owner").connect() as connection:
        key = connection.execute(
            text(
                "SELECT object_key FROM file JOIN analysis_input i ON i.file_id = file.id"
                " JOIN analysis a ON a.id = i.analysis_id WHERE a.job_id = :id"
            ),
            {"id": job["id"]},
        ).scalar_one()
    assert api.objects.get(key) == data


def test_few_images_share_claims_with_others_of_the_version(api):
    stored = spec_of(api, submit(api, *[picture()] * 16).json())
    assert stored["queue"] == "interactive"
    assert stored["batch_key"] == f"analysis:{stored['spec']['model_version_id']}"


def test_versions_of_equal_weights_share_no_claims(api):
    """The same tensors under another spec mean other labels: a mate would get findings of others."""
    versions = [import_model(api, "twins", promote=False) for _ in range(2)]
    assert versions[0]["sha256"] == versions[1]["sha256"]
    sent = [submit(api, picture(), data={"model": f"twins:{each['version']}"}).json() for each in versions]
    first, second = (spec_of(api, job)["batch_key"] for job in sent)
    assert first != second


@pytest.mark.parametrize("many", [True, False])
def test_many_images_or_an_archive_go_to_the_batch_queue(api, many):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a.jpg", picture())
    job = submit(api, *([picture()] * 17 if many else [out.getvalue()])).json()
    stored = spec_of(api, job)
    assert (stored["queue"], stored["batch_key"]) == ("batch", job["id"])


def test_one_bad_frame_among_good_ones_is_taken(api):
    assert submit(api, b"GIF89a", b"", picture()).status_code == 202


def test_stored_files_can_be_read_again_without_sending_them(api):
    stored = api.send("POST", "/files", roles=CLINICIAN, content=picture())
    assert stored.status_code == 201, stored.text
    body = {"file_ids": [stored.json()["id"]], "model": "lesion-detector:1", "operating_point": "screening"}
    before = api.counts()["file"]
    sent = api.send("POST", "/analyses", roles=CLINICIAN, json=body)
    assert sent.status_code == 202, sent.text
    assert api.counts()["file"] == before


def test_analysis_tells_its_model_and_counts(api, read):
    seen = api.send("GET", f"/analyses/{analysis_id(api, read)}", roles=CLINICIAN).json()
    assert seen["job"]["state"] == "succeeded"
    assert (seen["model"]["name"], seen["model"]["version"]) == ("lesion-detector", 1)
    assert seen["operating_point"] == "balanced"
    assert seen["counts"] == {"frames": 2, "unreadable": 1, "positives": {"bleeding": 0, "polyp": 1}}


def analysis_id(api, job: dict) -> UUID:
    return UUID(job["links"]["analysis"].rpartition("/")[2])


def test_frames_come_in_pages_with_findings_and_errors(api, read):
    path = f"/analyses/{analysis_id(api, read)}/frames"
    first = api.send("GET", path, roles=CLINICIAN, params={"limit": 1}).json()
    assert [frame["ordinal"] for frame in first["items"]] == [0]
    good = first["items"][0]
    assert [finding["label"] for finding in good["findings"]] == ["bleeding", "polyp"]
    bleeding, polyp = good["findings"]
    assert bleeding["cam"] is None
    assert polyp["cam"]["peak_xy"] == [120, 80]
    assert len(polyp["cam"]["grid"]) == polyp["cam"]["side"] == 7
    assert polyp["cam"]["grid"][2][5] == 2.45
    assert polyp["cam"]["floor"] == 0.0  # the threshold is 0.5 and the bias next to none
    second = api.send("GET", path, roles=CLINICIAN, params={"cursor": first["next_cursor"]}).json()
    assert second["next_cursor"] is None
    bad = second["items"][0]
    assert (bad["error"]["code"], bad["findings"], bad["image_url"]) == ("unknown_format", [], None)


def test_job_of_a_small_analysis_carries_its_frames(api, read):
    result = api.send("GET", f"/jobs/{read['id']}", roles=CLINICIAN).json()["result"]
    assert result["frame_count"] == len(result["frames"]) == 2
    assert result["frames"][0]["findings"][1]["positive"]


def test_operators_see_the_job_without_frames(api, read):
    seen = api.send("GET", f"/jobs/{read['id']}", roles=(Role.OPS,))
    assert seen.status_code == 200
    assert "frames" not in seen.json()["result"]


def test_image_is_the_frame_and_no_page(api, read):
    path = f"/analyses/{analysis_id(api, read)}/frames/0/image"
    seen = api.send("GET", path, roles=CLINICIAN)
    assert (seen.status_code, seen.headers["content-type"]) == (200, "image/jpeg")
    assert seen.content == picture(size=(336, 252))
    assert seen.headers["cache-control"] == "private, no-store"
    assert "sandbox" in seen.headers["content-security-policy"]


def test_overlay_is_transparent_but_for_the_hot_cell(api, read):
    path = f"/analyses/{analysis_id(api, read)}/frames/0/overlay"
    seen = api.send("GET", path, roles=CLINICIAN, params={"label": "polyp"})
    assert (seen.status_code, seen.headers["content-type"]) == (200, "image/png")
    overlay = Image.open(io.BytesIO(seen.content)).convert("RGBA")
    assert overlay.size == (336, 252)
    alpha = overlay.getchannel("A")
    # Cell (2, 5) of 7 in the square of 336, of which rows 42 to 294 are the frame.
    assert alpha.getpixel((264, 78)) > 150
    assert alpha.getpixel((30, 200)) == 0


@pytest.mark.parametrize("path", ["frames/7/image", "frames/1/image", "frames/0/overlay?label=none"])
def test_what_is_not_there_is_not_found(api, read, path):
    seen = api.send("GET", f"/analyses/{analysis_id(api, read)}/{path}", roles=CLINICIAN)
    assert (seen.status_code, seen.json()["code"]) == (404, "not_found")


def test_each_look_at_patients_data_is_on_record(api, read):
    def looks() -> dict[str, int]:
        with api.database.engine("owner").connect() as connection:
            query = "SELECT operation, count(*) FROM audit_event WHERE object_type = 'analysis' GROUP BY 1"
            return dict(iter(connection.execute(text(query))))

    base = f"/analyses/{analysis_id(api, read)}"
    before = looks()
    for path in ("", "/frames", "/frames/0/image", "/frames/0/overlay?label=polyp"):
        assert api.send("GET", base + path, roles=CLINICIAN).status_code == 200
    after = looks()
    grown = {name for name in after if after[name] > before.get(name, 0)}
    assert grown == {"analyses.read", "analyses.frames", "analyses.image", "analyses.overlay"}


def test_a_replay_is_a_job_of_what_was_read(api, read):
    analysis = api.send("GET", read["links"]["analysis"].removeprefix("/api/v1")).json()
    sent = api.send("POST", analysis["links"]["replay"].removeprefix("/api/v1"), roles=CLINICIAN)
    assert sent.status_code == 202, sent.text
    job = sent.json()
    assert (job["kind"], job["queue"], job["links"]["analysis"]) == (
        "replay",
        "batch",
        analysis["links"]["self"],
    )
    waiting = submit(api, picture()).json()["links"]["analysis"].removeprefix("/api/v1")
    refused = api.send("POST", f"{waiting}/replay", roles=CLINICIAN)
    assert (refused.status_code, refused.json()["code"]) == (409, "not_read")


def test_every_finding_names_model_version_weights_and_input(api, read):
    path = read["links"]["analysis"].removeprefix("/api/v1")
    analysis = api.send("GET", path).json()
    version = api.send("GET", f"/models/lesion-detector/versions/{analysis['model']['version']}").json()
    for frame in api.send("GET", f"{path}/frames").json()["items"]:
        assert frame["model"] == {
            "name": "lesion-detector",
            "version": version["version"],
            "id": version["id"],
            "sha256": version["sha256"],
        }
        assert len(frame["sha256"]) == 64
    assert analysis["engines"] == [ENGINE]
