"""The database goes away and comes back: honest refusals meanwhile, and no restart afterwards."""

import time

import pytest

from tests.contract.conftest import import_model
from tests.contract.images import picture
from tests.databases import Database


@pytest.fixture(scope="module")
def api(own_servers, api_factory):
    database = Database(own_servers, "enteron")
    yield from api_factory(database)
    database.dispose()


def until(condition, *, seconds: float = 15.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def test_while_the_database_is_away_answers_say_so_and_come_again(api, own_servers):
    import_model(api, "lesion-detector")
    headers = api.headers()
    frames = {"frames": ("a.jpg", picture())}
    objects = len(list(api.objects.list()))
    own_servers.postgres.stop("immediate")
    try:
        for _ in range(3):
            refused = api.client.post("/api/v1/analyses", headers=headers, files=frames)
            assert refused.status_code == 503
            assert refused.headers["content-type"] == "application/problem+json"
            assert refused.json()["code"] == "database_unavailable"
            assert int(refused.headers["retry-after"]) <= 2
        assert api.client.get("/healthz/live").status_code == 200
        assert api.client.get("/healthz/ready").status_code == 503
        assert len(list(api.objects.list())) == objects
    finally:
        own_servers.postgres.start()
    assert until(lambda: api.client.get("/healthz/ready").status_code == 200)
    assert until(
        lambda: api.client.post("/api/v1/analyses", headers=headers, files=frames).status_code == 202
    )


def test_redis_is_nothing_to_the_api(api, own_servers):
    own_servers.redis.stop()
    try:
        assert api.send("POST", "/jobs", json={"kind": "selftest"}).status_code == 202
    finally:
        own_servers.redis.start()
