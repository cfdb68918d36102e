"""Keys over HTTP: made, used, ended; and nothing of them in the database that anybody could use."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from service.api import gate
from service.domain.access import Role
from service.domain.ids import DEFAULT_TENANT_ID
from service.store.session import unit_of_work

ADMIN = (Role.ADMIN,)


def make(api, *roles: str, **rest) -> dict:
    made = api.send("POST", "/keys", roles=ADMIN, json={"name": "n", "roles": list(roles), **rest})
    assert made.status_code == 201, made.text
    return made.json()


def status(api, token: str) -> int:
    return api.client.get("/api/v1/me", headers={"Authorization": f"Bearer {token}"}).status_code


@pytest.fixture
def forgetful(api, monkeypatch):
    """The gate's memory is bounded by time; here it is over at once."""
    monkeypatch.setattr(gate, "REMEMBER_S", 0.0)


def test_a_new_key_acts_as_its_own_principal_with_its_roles(api):
    made = make(api, "analyst", "ops")
    me = api.client.get("/api/v1/me", headers={"Authorization": f"Bearer {made['key']}"}).json()
    assert me["principal_id"] == made["principal_id"]
    assert me["name"] == "n"
    assert me["roles"] == ["analyst", "ops"]
    assert "frames:read" not in me["permissions"]


def test_a_key_ends_after_ninety_days_unless_told_otherwise(api):
    ninety, one = make(api, "ops"), make(api, "ops", expires_in_days=1)
    for made, days in ((ninety, 90), (one, 1)):
        left = datetime.fromisoformat(made["expires_at"]) - datetime.now(UTC)
        assert timedelta(days=days - 1) < left < timedelta(days=days, minutes=1)


def test_a_revoked_key_is_refused(api, forgetful):
    made = make(api, "ops")
    assert status(api, made["key"]) == 200
    ended = api.send("DELETE", f"/keys/{made['id']}", roles=ADMIN)
    assert ended.json()["revoked_at"] is not None
    assert status(api, made["key"]) == 401


def test_the_gate_remembers_a_key_for_five_seconds_at_most():
    assert gate.REMEMBER_S <= 5


def test_an_expired_key_is_refused(api, forgetful):
    made = make(api, "ops")
    with unit_of_work(api.database.engine("owner"), tenant_id=DEFAULT_TENANT_ID) as session:
        session.execute(text("UPDATE api_key SET expires_at = now() WHERE id = :id"), {"id": made["id"]})
    assert status(api, made["key"]) == 401


def test_use_is_noted_once_a_minute(api, forgetful):
    made = make(api, "ops")

    def used() -> str | None:
        items = api.send("GET", "/keys", roles=ADMIN).json()["items"]
        return next(item["last_used_at"] for item in items if item["id"] == made["id"])

    assert used() is None
    status(api, made["key"])
    first = used()
    assert first is not None
    status(api, made["key"])
    assert used() == first


def test_lists_show_no_secret(api):
    made = make(api, "ops")
    listed = api.send("GET", "/keys", roles=ADMIN).text
    assert made["prefix"] in listed
    assert made["key"].rpartition("_")[2] not in listed


def test_no_table_holds_a_secret(api):
    made = make(api, "ops")
    secret = made["key"].split("_", 2)[2]
    with api.database.engine("owner").connect() as connection:
        tables = connection.execute(
            text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        ).scalars()
        dump = "".join(
            str(row)
            for table in list(tables)
            for row in connection.execute(text(f"SELECT t::text FROM {table} t"))
        )
    assert made["prefix"] in dump
    assert secret not in dump
    assert secret.encode().hex() not in dump


def test_audit_tells_who_did_what_to_keys_and_that_it_was_read(api):
    made = make(api, "ops")
    api.send("DELETE", f"/keys/{made['id']}", roles=ADMIN)
    items = api.send("GET", "/audit", roles=ADMIN).json()["items"]
    told = [(item["action"], item["operation"]) for item in items if item["object_id"] == made["id"]]
    assert told == [("D", "keys.revoke"), ("C", "keys.create")]
    again = api.send("GET", "/audit", roles=ADMIN, params={"limit": 1}).json()
    assert again["items"][0]["operation"] == "audit.read"
    assert again["next_cursor"] is not None
