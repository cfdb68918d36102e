"""Models over HTTP: in, out, promoted, rolled back."""

import json
from contextlib import contextmanager

import pytest

from service.domain.access import Role
from service.domain.ids import SYSTEM_TENANT_ID, new_id
from service.store import workers
from service.store.session import unit_of_work
from tests.contract.conftest import import_model, safetensors, spec
from tests.contract.images import picture

ENGINEER = (Role.ENGINEER,)


def move(api, name: str, version: int, *, alias: str = "champion"):
    body = {"version": version, "reason": "better on foreign blocks"}
    return api.send("PUT", f"/models/{name}/aliases/{alias}", json=body)


def rollback(api, name: str):
    return api.send("POST", f"/models/{name}/aliases/champion/rollback", json={"reason": "worse after all"})


@pytest.fixture(scope="module")
def three(api) -> str:
    for number in range(3):
        import_model(api, "three", promote=False, data=bytes([number]) * 16)
    return "three"


def test_versions_count_up_and_say_what_they_are(api, three):
    model = api.send("GET", f"/models/{three}").json()
    assert [version["version"] for version in model["versions"]] == [3, 2, 1]
    version = api.send("GET", f"/models/{three}/versions/2").json()
    assert version == model["versions"][1]
    assert version["evidence"] == "synthetic"
    assert version["default_operating_point"] in version["operating_points"]
    assert {label["name"] for label in version["labels"]} == {"bleeding", "polyp"}


def test_export_gives_what_import_took(api, three):
    weights = api.send("GET", f"/models/{three}/versions/3/export")
    assert weights.content == safetensors(bytes([2]) * 16)
    assert weights.headers["content-disposition"].startswith("attachment")
    taken = api.send("GET", f"/models/{three}/versions/3/export", params={"format": "spec"}).json()
    again = api.send(
        "POST",
        f"/models/{three}/import",
        files={"weights": ("w", weights.content)},
        data={"spec": json.dumps(taken)},
    )
    assert again.status_code == 201
    assert again.json()["sha256"] == api.send("GET", f"/models/{three}/versions/3").json()["sha256"]


@pytest.mark.parametrize(
    ("builder", "pointer", "known"),
    [
        ({"name": "unheard-of", "params": {}}, "/spec/builder/name", "lesion-detector"),
        (
            {"name": "lesion-detector", "params": {"backbone": "alexandria"}},
            "/spec/builder/params/backbone",
            "resnet18",
        ),
    ],
)
def test_what_no_living_worker_can_build_is_refused_at_the_door(api, builder, pointer, known):
    with working(api, {"builders": ["lesion-detector"], "backbones": [{"name": "resnet18"}]}):
        refused = bring(api, "unbuildable", builder)
    assert (refused.status_code, refused.json()["code"]) == (422, "not_in_catalogue")
    assert refused.json()["errors"] == [{"pointer": pointer, "detail": f"one of: {known}"}]
    assert bring(api, "unbuildable", builder).status_code == 201  # nobody there to ask: its first job tells


def bring(api, name: str, builder: dict):
    return api.send(
        "POST",
        f"/models/{name}/import",
        files={"weights": ("w", safetensors())},
        data={"spec": json.dumps(spec(name, builder=builder))},
    )


@contextmanager
def working(api, catalogue: dict):
    """While a worker with this catalogue beats."""
    worker_id = new_id()
    engine = api.database.engine("worker")
    with unit_of_work(engine, tenant_id=None) as session:
        workers.register(
            session, worker_id, queues=["batch"], batch_size=1, state="idle", versions={}, catalogue=catalogue
        )
    yield
    with unit_of_work(engine, tenant_id=None) as session:
        workers.beat(session, worker_id, state="stopped")


def test_promotions_are_kept_with_their_reasons_and_undone_step_by_step(api):
    for number in range(3):
        import_model(api, "moved", promote=False, data=bytes([number]) * 16)
    assert rollback(api, "moved").json()["code"] == "nothing_to_roll_back"
    for version in (1, 2, 3):
        assert move(api, "moved", version).status_code == 200
    assert move(api, "moved", 3).json()["code"] == "already_there"
    assert [rollback(api, "moved").json().get("to_version") for _ in range(3)] == [2, 1, None]
    assert api.send("GET", "/models/moved").json()["aliases"] == {"champion": 1}
    assert move(api, "moved", 3).status_code == 200
    assert rollback(api, "moved").json()["to_version"] == 1
    history = api.send("GET", "/models/moved/promotions").json()["items"]
    told = [(entry["action"], entry["from_version"], entry["to_version"]) for entry in history]
    assert told == [
        ("rollback", 3, 1),
        ("promote", 1, 3),
        ("rollback", 2, 1),
        ("rollback", 3, 2),
        ("promote", 2, 3),
        ("promote", 1, 2),
        ("promote", None, 1),
    ]
    assert all(entry["reason"] for entry in history)


def test_what_an_alias_names_is_what_reads(api, three):
    move(api, three, 1, alias="careful")
    sent = {"files": {"frames": ("a.jpg", picture())}}
    for named, number in (("three@careful", 1), ("three:2", 2)):
        job = api.send("POST", "/analyses", **sent, data={"model": named}).json()
        seen = api.send("GET", job["links"]["analysis"].removeprefix("/api/v1")).json()
        assert seen["model"]["version"] == number
    unnamed = api.send("POST", "/analyses", **sent, data={"model": "three"})
    assert unnamed.json()["code"] == "unknown_model"  # it has no champion


def test_card_tells_everything(api, three):
    card = api.send("GET", f"/models/{three}/versions/1/card").json()
    assert card["spec"] == spec("three")
    assert card["aliases"] == ["careful"]


def test_an_unknown_version_or_alias(api, three):
    assert api.send("GET", f"/models/{three}/versions/99").status_code == 404
    refused = move(api, three, 99)
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/version")


def test_reason_is_needed(api, three):
    refused = api.send("PUT", f"/models/{three}/aliases/champion", json={"version": 1, "reason": " "})
    assert refused.status_code == 422


def test_models_are_listed_by_name_in_pages(api, three):
    import_model(api, "another")
    names, cursor = [], None
    while True:
        page = api.send("GET", "/models", params={"limit": 1} | ({"cursor": cursor} if cursor else {})).json()
        names += [model["name"] for model in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert names == sorted(set(names))
    assert {"another", "moved", "three"} <= set(names)


def test_shared_models_are_for_everybody_and_moved_by_nobody(api):
    import_model(api, "shared", tenant_id=SYSTEM_TENANT_ID)
    assert api.send("GET", "/models/shared/versions/1").status_code == 200
    sent = api.send("POST", "/analyses", files={"frames": ("a.jpg", picture())}, data={"model": "shared"})
    assert sent.status_code == 202
    refused = move(api, "shared", 1)
    assert (refused.status_code, refused.json()["code"]) == (409, "shared")
    # One's own model of that name comes first from then on.
    own = import_model(api, "shared", data=b"\1" * 16)
    assert api.send("GET", "/models/shared/versions/1").json()["sha256"] == own["sha256"]


def test_who_names_no_model_is_read_by_ones_own_detector_or_else_by_the_one_that_comes_with_enteron(api):
    tenant_id = api.database.new_tenant()

    def send():
        sent = api.send(
            "POST", "/analyses", tenant_id=tenant_id, files={"frames": ("a.jpg", picture())}, data={}
        )
        if sent.status_code != 202:
            return sent.json()["code"]
        path = sent.json()["links"]["analysis"].removeprefix("/api/v1")
        model = api.send("GET", path, tenant_id=tenant_id).json()["model"]
        # The page shows the passport of this name and version: it is that of the version that reads.
        passport = api.send(
            "GET", f"/models/{model['name']}/versions/{model['version']}", tenant_id=tenant_id
        ).json()
        assert (passport["id"], passport["sha256"]) == (model["id"], model["sha256"])
        return model["name"]

    assert send() == "unknown_model"
    import_model(api, "starter-detector", tenant_id=SYSTEM_TENANT_ID)
    assert send() == "starter-detector"
    import_model(api, "lesion-detector", tenant_id=tenant_id, promote=False, data=b"\1" * 16)
    assert send() == "starter-detector"
    moved = api.send(
        "PUT",
        "/models/lesion-detector/aliases/champion",
        tenant_id=tenant_id,
        json={"version": 1, "reason": "one's own"},
    )
    assert moved.status_code == 200, moved.text
    assert send() == "lesion-detector"


def test_evaluation_gives_the_measures_of_the_training(api, three):
    answer = api.send("GET", f"/models/{three}/versions/1/evaluation").json()
    assert answer == {"metrics": {}, "dataset_fingerprint": "0" * 64, "evaluations": []}
