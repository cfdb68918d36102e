"""Every operation x role x tenant: what a role may, another tenant's things, and nobody."""

import json
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pytest

from service.domain.access import GRANTS, Permission, Role
from tests.contract.acting import read_frames
from tests.contract.conftest import import_model, safetensors, spec
from tests.contract.images import picture
from tests.contract.test_routes import guarded_routes

REFUSED = {401, 403}


@dataclass
class Things:
    """One of each kind, made by one principal with every role."""

    ids: dict[str, str]
    tenant_id: Any


@dataclass(frozen=True)
class Call:
    """How an operation is called; `{...}` in path and body are ids of `Things`."""

    method: str
    path: str
    ok: int = 200
    options: dict[str, Any] = field(default_factory=dict)


def calls() -> list[Call]:
    frames = {"frames": ("a.png", picture("PNG"), "image/png")}
    weights = {"weights": ("w", safetensors())}
    reason = {"reason": "because"}
    return [
        Call("GET", "/me"),
        Call("POST", "/files", 201, {"content": picture()}),
        Call("GET", "/files/{file_id}"),
        Call("GET", "/files/{file_id}/content"),
        Call("POST", "/jobs", 202, {"json": {"kind": "selftest"}}),
        Call("GET", "/jobs"),
        Call("GET", "/jobs/{job_id}"),
        Call("GET", "/jobs/{done_job_id}/events"),
        Call("GET", "/jobs/{job_id}/metrics"),
        Call("POST", "/jobs/{job_id}/cancel"),
        Call("POST", "/jobs/{done_job_id}/retry", 409),
        Call("POST", "/analyses", 202, {"files": frames, "data": {"model": "reader"}}),
        Call("GET", "/analyses/{analysis_id}"),
        Call("GET", "/analyses/{analysis_id}/frames"),
        Call("GET", "/analyses/{analysis_id}/frames/{ordinal}/image"),
        Call("GET", "/analyses/{analysis_id}/frames/{ordinal}/overlay?label=polyp"),
        Call("POST", "/analyses/{analysis_id}/replay", 202),
        Call("POST", "/predictions", 202, {"json": {"model": "reader", "file_id": "{file_id}"}}),
        Call("GET", "/predictions/{prediction_id}"),
        Call("GET", "/predictions/{prediction_id}/rows"),
        Call("POST", "/datasets", 202, {"json": {"name": "d", "format": "plain", "file_ids": ["{file_id}"]}}),
        Call("GET", "/datasets"),
        Call("GET", "/datasets/{dataset_id}"),
        Call("GET", "/backbones"),
        Call("GET", "/recipes"),
        Call("POST", "/trainings", 422, {"json": {"recipe": "r", "dataset_id": "{dataset_id}"}}),
        Call("POST", "/syntheses", 202, {"json": {"seed": 1, "frames": 2}}),
        Call("GET", "/models"),
        Call("GET", "/models/{name}"),
        Call("GET", "/models/{name}/versions/{version}"),
        Call("GET", "/models/{name}/versions/{version}/card"),
        Call("GET", "/models/{name}/versions/{version}/evaluation"),
        Call(
            "POST",
            "/models/{name}/versions/{version}/evaluation",
            422,
            {"json": {"dataset_id": "{dataset_id}"}},
        ),
        Call("GET", "/models/{name}/versions/{version}/comparison"),
        Call("GET", "/models/{name}/versions/{version}/export"),
        Call("POST", "/models/{name}/versions/{version}/exports", 202, {"json": {"format": "onnx"}}),
        Call("PUT", "/models/{name}/aliases/{alias}", 409, {"json": {"version": 1, **reason}}),
        Call("POST", "/models/{name}/aliases/{alias}/rollback", 409, {"json": reason}),
        Call("GET", "/models/{name}/promotions"),
        # After the other calls of models: it makes a model of that name for whoever calls.
        Call(
            "POST",
            "/models/{name}/import",
            201,
            {"files": weights, "data": {"spec": json.dumps(spec("reader"))}},
        ),
        Call("POST", "/keys", 201, {"json": {"name": "n", "roles": ["ops"]}}),
        Call("GET", "/keys"),
        Call("DELETE", "/keys/{key_id}"),
        Call("GET", "/audit"),
        Call("GET", "/workers"),
    ]


CALLS = calls()
BY_ID = [call for call in CALLS if "{" in call.path]


def make_things(api, tenant_id) -> Things:
    def send(method: str, path: str, **rest) -> dict:
        answer = api.send(method, path, tenant_id=tenant_id, **rest)
        assert answer.is_success, answer.text
        return answer.json()

    import_model(api, "reader", tenant_id=tenant_id)
    file = send("POST", "/files", content=picture())
    frames = {"frames": ("a.png", picture("PNG"), "image/png")}
    analysed = send("POST", "/analyses", files=frames, data={"model": "reader"})
    analysis_id = read_frames(api, analysed, b"", tenant_id=tenant_id)
    prediction = send("POST", "/predictions", json={"model": "reader", "file_id": file["id"]})
    dataset = send("POST", "/datasets", json={"name": "d", "format": "plain", "file_ids": [file["id"]]})
    key = send("POST", "/keys", json={"name": "n", "roles": ["ops"]})
    job = send("POST", "/jobs", json={"kind": "selftest"})
    return Things(
        {
            "file_id": file["id"],
            "job_id": job["id"],
            "done_job_id": analysed["id"],
            "analysis_id": str(analysis_id),
            "ordinal": "0",
            "prediction_id": prediction["links"]["prediction"].rpartition("/")[2],
            "dataset_id": dataset["links"]["dataset"].rpartition("/")[2],
            "name": "reader",
            "version": "1",
            "alias": "champion",
            "key_id": key["id"],
        },
        tenant_id,
    )


@pytest.fixture(scope="module")
def mine(api) -> Things:
    return make_things(api, api.database.new_tenant())


@pytest.fixture(scope="module")
def other_tenant(api):
    return api.database.new_tenant()


def perform(api, call: Call, things: Things, **who):
    def filled(value: Any) -> Any:
        if isinstance(value, str):
            return value.format(**things.ids) if value.startswith("{") and value.endswith("_id}") else value
        if isinstance(value, dict):
            return {key: filled(item) for key, item in value.items()}
        return [filled(item) for item in value] if isinstance(value, list) else value

    options = {name: filled(value) for name, value in call.options.items()}
    return api.send(call.method, call.path.format(**things.ids), **who, **options)


def permission(call: Call) -> Permission:
    shape = call.path.partition("?")[0].replace("done_job_id", "job_id")
    (found,) = [
        route.permission for route in guarded_routes() if route.path == shape and call.method in route.methods
    ]
    return found


def test_the_table_has_every_operation():
    listed = {(call.method, call.path.partition("?")[0].replace("done_job_id", "job_id")) for call in CALLS}
    assert listed == {(method, route.path) for route in guarded_routes() for method in route.methods}


@pytest.mark.parametrize("call", CALLS, ids=lambda call: f"{call.method} {call.path}")
def test_all_roles_together_may_do_it(api, mine, call):
    assert perform(api, call, mine, tenant_id=mine.tenant_id).status_code == call.ok


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("call", CALLS, ids=lambda call: f"{call.method} {call.path}")
def test_a_role_may_do_what_it_was_granted_and_nothing_else(api, mine, call, role):
    answer = perform(api, call, mine, roles=(role,), tenant_id=mine.tenant_id)
    if permission(call) in GRANTS[role]:
        assert answer.status_code not in REFUSED, answer.text
    else:
        assert answer.status_code == 403, answer.text
        assert answer.json()["code"] == "forbidden"


@pytest.mark.parametrize("call", BY_ID, ids=lambda call: f"{call.method} {call.path}")
def test_another_tenants_things_are_not_there(api, mine, other_tenant, call):
    answer = perform(api, call, mine, tenant_id=other_tenant)
    # An import makes a model of one's own with that name; the other's stays as it was.
    assert answer.status_code == (201 if call.path.endswith("/import") else 404), answer.text


@pytest.mark.parametrize("call", CALLS, ids=lambda call: f"{call.method} {call.path}")
def test_a_forged_key_is_nobody(api, mine, call):
    forged = {"Authorization": f"Bearer ent_{'0' * 16}_{'A' * 43}"}
    assert perform(api, call, mine, headers=forged).status_code == 401


def test_ids_that_nobody_has_look_like_ids_of_others(api, mine, other_tenant):
    foreign = api.send("GET", f"/jobs/{mine.ids['job_id']}", tenant_id=other_tenant).json()
    unknown = api.send("GET", f"/jobs/{uuid4()}", tenant_id=other_tenant).json()
    assert foreign | {"instance": ""} == unknown | {"instance": ""}


@pytest.mark.parametrize("path", ["/jobs", "/datasets", "/models", "/keys", "/audit"])
def test_lists_hold_ones_own_tenant_only(api, mine, path):
    bystander = api.database.new_tenant()
    theirs = {"/keys": 1, "/audit": None}  # the key that asks; its making and use are on record
    items = api.send("GET", path, tenant_id=bystander).json()["items"]
    if path == "/audit":
        assert {item["operation"] for item in items} <= {"keys.create"}
    else:
        assert len(items) == theirs.get(path, 0)


def test_a_colleagues_files_and_jobs_are_ones_own_business(api, mine):
    tenant_id = mine.tenant_id
    colleague = {"roles": (Role.CLINICIAN,), "tenant_id": tenant_id}
    assert api.send("GET", f"/files/{mine.ids['file_id']}", **colleague).status_code == 404
    assert api.send("GET", f"/jobs/{mine.ids['job_id']}", **colleague).status_code == 404
    assert api.send("GET", f"/predictions/{mine.ids['prediction_id']}", **colleague).status_code == 404
    # Patients are the clinic's: another clinician may look at the analysis.
    assert api.send("GET", f"/analyses/{mine.ids['analysis_id']}", **colleague).status_code == 200


def test_a_dataset_named_by_one_who_may_not_read_it_is_refused(api, mine):
    body = {"model": "reader", "dataset_id": mine.ids["dataset_id"]}
    answer = api.send("POST", "/predictions", json=body, roles=(Role.CLINICIAN,), tenant_id=mine.tenant_id)
    assert answer.status_code == 403
