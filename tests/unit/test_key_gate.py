"""Keys: who a token is, and for how long the gate remembers."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api.gate import REMEMBER_S, Gate
from service.domain.access import Role
from service.domain.errors import InvalidInput, Unauthenticated
from service.domain.ids import new_id
from service.store.keys import KeyRow
from service.usecases import keys

PEPPER = b"p" * 32
TOKEN = f"ent_{'a' * 16}_{'s' * 43}"
NOW = datetime.now(UTC)
ROW = KeyRow(
    id=new_id(),
    tenant_id=new_id(),
    principal_id=new_id(),
    prefix="a" * 16,
    secret_hmac=keys._keyed_hash(TOKEN, PEPPER),
    roles=("ops", "analyst"),
    created_at=NOW,
    expires_at=NOW + timedelta(days=1),
    last_used_at=None,
    revoked_at=None,
)


def test_a_good_token_is_its_principal():
    who = keys.verify(ROW, TOKEN, PEPPER)
    assert (who.id, who.tenant_id, who.roles) == (ROW.principal_id, ROW.tenant_id, {Role.OPS, Role.ANALYST})


@pytest.mark.parametrize(
    ("row", "token", "pepper"),
    [
        (None, TOKEN, PEPPER),
        (ROW, TOKEN[:-1] + "t", PEPPER),
        (ROW, TOKEN, b"q" * 32),
        (replace(ROW, revoked_at=NOW), TOKEN, PEPPER),
        (replace(ROW, expires_at=NOW - timedelta(seconds=1)), TOKEN, PEPPER),
    ],
    ids=["unknown", "another secret", "another pepper", "revoked", "expired"],
)
def test_all_that_is_wrong_with_a_key_is_told_alike(row, token, pepper):
    with pytest.raises(Unauthenticated) as refused:
        keys.verify(row, token, pepper)
    assert refused.value.detail == "The key is not valid."


@given(token=st.text(max_size=80))
def test_no_text_but_a_token_has_a_prefix(token):
    with pytest.raises(Unauthenticated):
        keys.prefix_of(token)


def test_a_short_pepper_refuses_to_start(tmp_path):
    path = tmp_path / "pepper"
    path.write_text("changeme\n")
    with pytest.raises(InvalidInput):
        keys.read_pepper(path)


@pytest.fixture
def remembering(monkeypatch):
    """A gate with a clock of ours and a database of one key; counts the questions to it."""
    state = SimpleNamespace(now=0.0, row=ROW, asked=0)
    gate = Gate(None, PEPPER, clock=lambda: state.now)

    def look_up(_prefix: str) -> KeyRow | None:
        state.asked += 1
        return state.row

    monkeypatch.setattr(gate, "_look_up", look_up)
    request = SimpleNamespace(headers={"authorization": f"Bearer {TOKEN}"})
    state.enter = lambda: asyncio.run(gate.principal(request))
    return state


def test_the_database_is_asked_once_in_a_while(remembering):
    for _ in range(10):
        remembering.enter()
    assert remembering.asked == 1


def test_a_revoked_key_ends_with_the_memory(remembering):
    remembering.enter()
    remembering.row = replace(ROW, revoked_at=NOW)
    remembering.now = REMEMBER_S - 0.01
    remembering.enter()
    remembering.now = REMEMBER_S
    with pytest.raises(Unauthenticated):
        remembering.enter()


def test_an_unknown_key_is_not_remembered(remembering):
    remembering.row = None
    for _ in range(2):
        with pytest.raises(Unauthenticated):
            remembering.enter()
    assert remembering.asked == 2
