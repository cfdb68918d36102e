"""One key, one effect: whatever is sent again, and however many at once."""

from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import httpx
import pytest

from service.domain.access import Role
from tests.contract.conftest import import_model
from tests.contract.images import picture

SELFTEST = {"kind": "selftest", "steps": 2}


@pytest.fixture(scope="module", autouse=True)
def _model(api):
    import_model(api, "lesion-detector")


def key() -> dict[str, str]:
    return {"Idempotency-Key": str(uuid4())}


def test_the_same_request_gets_the_same_answer(api):
    again = key()
    first = api.send("POST", "/jobs", json=SELFTEST, headers=again)
    before = api.counts()
    second = api.send("POST", "/jobs", json=SELFTEST, headers=again)
    assert (first.status_code, second.status_code) == (202, 202)
    assert second.json() == first.json()
    assert second.headers["location"] == first.headers["location"]
    assert api.counts() == before


def test_without_a_key_each_request_is_one_of_its_own(api):
    ids = {api.send("POST", "/jobs", json=SELFTEST).json()["id"] for _ in range(2)}
    assert len(ids) == 2


@pytest.mark.parametrize(
    "other", [{"kind": "selftest", "steps": 3}, {"kind": "selftest", "steps": 2, "step_s": 1}]
)
def test_another_body_under_the_key_is_a_conflict(api, other):
    again = key()
    api.send("POST", "/jobs", json=SELFTEST, headers=again)
    before = api.counts()
    second = api.send("POST", "/jobs", json=other, headers=again)
    assert (second.status_code, second.json()["code"]) == (409, "idempotency_key_reused")
    assert api.counts() == before


def test_another_operation_under_the_key_is_a_conflict(api):
    again = key()
    api.send("POST", "/jobs", json=SELFTEST, headers=again)
    second = api.send("POST", "/syntheses", json={"seed": 1, "frames": 1}, headers=again)
    assert second.status_code == 409


def test_another_principals_key_is_another_key(api):
    again = key()
    first = api.send("POST", "/jobs", json=SELFTEST, headers=again, roles=(Role.CLINICIAN,))
    second = api.send("POST", "/jobs", json=SELFTEST, headers=again, roles=(Role.ANALYST,))
    assert first.json()["id"] != second.json()["id"]


def test_a_form_is_the_same_with_another_boundary_and_leaves_no_second_object(api):
    again = key()
    frames = {"frames": ("a.jpg", picture(), "image/jpeg")}
    first = api.send("POST", "/analyses", files=frames, headers=again)
    before = api.counts()
    second = api.send("POST", "/analyses", files=frames, headers=again)
    assert first.request.headers["content-type"] != second.request.headers["content-type"]
    assert second.json() == first.json()
    assert api.counts() == before


@pytest.mark.parametrize(
    "change",
    [
        {"files": {"frames": ("a.jpg", picture(colour="navy"), "image/jpeg")}},
        {"files": {"frames": ("b.jpg", picture(), "image/jpeg")}},
        {"data": {"operating_point": "screening"}},
    ],
    ids=["bytes", "name", "field"],
)
def test_a_form_with_other_content_is_a_conflict(api, change):
    again = key()
    sent = {"files": {"frames": ("a.jpg", picture(), "image/jpeg")}}
    api.send("POST", "/analyses", **sent, headers=again)
    before = api.counts()
    assert api.send("POST", "/analyses", **sent | change, headers=again).status_code == 409
    assert api.counts() == before


def test_a_file_sent_again_is_one_file(api):
    again = key()
    first = api.send("POST", "/files", content=picture(), headers=again)
    before = api.counts()
    assert api.send("POST", "/files", content=picture(), headers=again).json() == first.json()
    assert api.counts() == before


def test_a_refused_request_does_not_use_up_its_key(api):
    again = key()
    wrong = {"recipe": "r", "dataset_id": str(uuid4())}
    assert api.send("POST", "/trainings", json=wrong, headers=again).status_code == 422
    assert api.send("POST", "/jobs", json=SELFTEST, headers=again).status_code == 202


def test_a_new_key_is_shown_once(api):
    again = key()
    body = {"name": "n", "roles": ["ops"]}
    first = api.send("POST", "/keys", json=body, headers=again)
    assert first.json()["key"].startswith("ent_")
    second = api.send("POST", "/keys", json=body, headers=again)
    assert (second.status_code, second.json()["code"]) == (409, "shown_once")


def test_fifty_at_once_make_one(api):
    again = key() | api.headers()
    files = {"frames": ("a.jpg", picture(), "image/jpeg")}
    before = api.counts()

    def post(_: int) -> httpx.Response:
        return httpx.post(f"{api.client.base_url}/api/v1/analyses", files=files, headers=again, timeout=60)

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(post, range(50)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    after = api.counts()
    grown = {name: after[name] - before[name] for name in after if after[name] != before[name]}
    assert grown == dict.fromkeys(
        ("analysis", "analysis_input", "file", "idempotency", "job", "job_event", "objects"), 1
    )
