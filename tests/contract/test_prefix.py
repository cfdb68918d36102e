"""Behind a proxy that strips a prefix: every address in an answer leads back through the proxy."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from service.settings import Settings
from tests.contract.acting import read_frames
from tests.contract.conftest import import_model, safetensors, spec
from tests.contract.images import picture
from tests.databases import cloned

PREFIX = "/clinic/enteron"


@pytest.fixture(scope="module")
def api(servers, api_factory) -> Iterator[Any]:
    for database in cloned(servers):
        yield from api_factory(database, root_path=PREFIX)


def addresses(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [found for item in value.values() for found in addresses(item)]
    if isinstance(value, list):
        return [found for item in value for found in addresses(item)]
    return [value] if isinstance(value, str) and "/api/v1/" in value else []


@pytest.fixture(scope="module")
def answers(api) -> dict[str, Any]:
    """What is made and shown, with the Location where there is one."""
    import_model(api, "lesion-detector")
    made: dict[str, Any] = {}

    def post(name: str, path: str, **rest: Any) -> dict[str, Any]:
        answer = api.send("POST", path, **rest)
        assert answer.is_success, answer.text
        made[name] = [answer.json(), answer.headers["location"]]
        return answer.json()

    file = post("file", "/files", content=picture())
    post("job", "/jobs", json={"kind": "selftest"})
    post("prediction", "/predictions", json={"model": "lesion-detector", "file_id": file["id"]})
    weights = {"weights": ("w", safetensors())}
    post("version", "/models/m/import", files=weights, data={"spec": json.dumps(spec("m"))})
    analysed = post("analysis", "/analyses", files={"frames": ("a.jpg", picture())})
    analysis_id = read_frames(api, analysed, b"")
    prediction_id = made["prediction"][0]["links"]["prediction"].rpartition("/")[2]
    for path in (
        "/jobs",
        f"/jobs/{analysed['id']}",
        f"/analyses/{analysis_id}",
        f"/analyses/{analysis_id}/frames",
        f"/predictions/{prediction_id}",
        "/models",
    ):
        made[path] = api.send("GET", path).json()
    return made


def test_every_address_carries_the_prefix(answers):
    for name, answer in answers.items():
        found = addresses(answer)
        assert found, name
        assert all(address.startswith(f"{PREFIX}/api/v1/") for address in found), name


def test_what_the_proxy_strips_leads_to_the_thing(api, answers):
    seen = {address for answer in answers.values() for address in addresses(answer)}
    read = {a for a in seen if not a.endswith(("/cancel", "/retry", "/events", "/rows", "/replay"))}
    for address in sorted(read):
        answer = api.client.get(address.removeprefix(PREFIX), headers=api.headers())
        assert answer.status_code == 200, address


def test_the_document_names_the_prefix_as_its_server(api):
    document = api.client.get("/openapi.json").json()
    assert document["servers"][0]["url"] == PREFIX


def test_what_is_private_is_not_kept_behind_a_prefix_either(api):
    answer = api.send("GET", "/me")
    assert answer.headers["cache-control"] == "private, no-store"


def test_a_wrong_method_is_told_the_right_ones(api):
    assert api.send("DELETE", "/jobs").headers["allow"] == "GET, POST"


@pytest.mark.parametrize("root_path", ["clinic", "/clinic/", "//host", "/a b"])
def test_a_prefix_that_is_no_path_is_refused(root_path):
    with pytest.raises(ValidationError):
        Settings(root_path=root_path)
