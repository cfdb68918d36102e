"""Every route: guarded unless it is meant for everybody, and dressed in security headers."""

import httpx
import pytest
from fastapi.routing import APIRoute

from service.api import (
    administration,
    analyses,
    comparisons,
    datasets,
    files,
    jobs,
    models,
    predictions,
    replays,
    trainings,
    version_files,
)
from service.api.gate import GuardedRoute
from service.domain.access import Permission

GUARDED = (
    administration,
    analyses,
    comparisons,
    datasets,
    files,
    jobs,
    models,
    predictions,
    replays,
    trainings,
    version_files,
)
PUBLIC = {"/healthz/live", "/healthz/ready", "/metrics", "/docs", "/openapi.json"}
HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


def guarded_routes() -> list[GuardedRoute]:
    return [route for module in GUARDED for route in module.router.routes]


def test_every_guarded_route_names_one_permission():
    for route in guarded_routes():
        assert isinstance(route, GuardedRoute)
        assert isinstance(route.permission, Permission)


def test_a_route_without_permission_cannot_be_made():
    async def nobody() -> None: ...

    with pytest.raises(RuntimeError, match="permission"):
        GuardedRoute("/open", nobody)


def test_every_path_of_the_application_is_guarded_or_public(api):
    document = api.client.get("/openapi.json").json()
    known = {f"/api/v1{route.path}" for route in guarded_routes()}
    assert set(document["paths"]) - known <= PUBLIC
    assert known <= set(document["paths"])


def test_anonymous_requests_are_refused_before_their_body_is_read(api):
    for route in guarded_routes():
        path = "/api/v1" + route.path.replace("{", "").replace("}", "")
        for method in route.methods:
            # An unreadable body: whoever parses it first answers 422 instead.
            answer = api.client.request(
                method, path, content=b"{", headers={"Content-Type": "application/json"}
            )
            assert answer.status_code == 401, (method, path, answer.text)
            assert answer.headers["www-authenticate"] == "Bearer"
            assert answer.json()["code"] == "unauthenticated"


@pytest.mark.parametrize(
    "path", ["/", "/nothing", "/docs", "/healthz/live", "/metrics", "/api/v1/me", "/api/v1/nothing"]
)
def test_security_headers_are_everywhere(api, path):
    answer = api.client.get(path)
    for name, value in HEADERS.items():
        assert answer.headers[name] == value
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe-eval" not in policy
    assert answer.headers["cache-control"] in {"private, no-store", "no-cache"}
    assert "server" not in answer.headers


def test_page_is_served_with_scripts_of_its_own_only(api):
    answer = api.client.get("/")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert "script-src 'self'" in answer.headers["content-security-policy"]
    assert "<script>" not in answer.text


@pytest.mark.parametrize(
    "path", ["/../pyproject.toml", "/%2e%2e/settings.py", "/..%2fsettings.py", "//etc/passwd"]
)
def test_nothing_outside_the_page_is_served(api, path):
    raw = httpx.Request("GET", api.client.base_url.copy_with(raw_path=path.encode()))
    assert api.client.send(raw).status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/api/v1/nothing", 404, "not_found"),
        ("GET", "/nothing.js", 404, "not_found"),
        ("DELETE", "/api/v1/jobs", 405, "method_not_allowed"),
        ("POST", "/healthz/live", 405, "method_not_allowed"),
        ("POST", "/index.html", 405, "method_not_allowed"),
    ],
)
def test_wrong_addresses_and_methods_are_problems(api, method, path, status, code):
    answer = api.client.request(method, path)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["instance"] == f"urn:uuid:{answer.headers['x-request-id']}"


def test_callers_correlation_id_is_kept_only_if_it_is_one(api):
    mine = "01a204e1-9c21-7ea2-86cc-93ef6690c42b"
    assert api.client.get("/healthz/live", headers={"X-Request-ID": mine}).headers["x-request-id"] == mine
    other = api.client.get("/healthz/live", headers={"X-Request-ID": "patient Smith"}).headers["x-request-id"]
    assert "Smith" not in other


def test_health_and_metrics(api):
    assert api.client.get("/healthz/live").json() == {"status": "ok"}
    assert api.client.get("/healthz/ready").json() == {"status": "ok"}
    api.send("GET", "/jobs/01a204e1-9c21-7ea2-86cc-93ef6690c42b")
    text = api.client.get("/metrics").text
    assert 'route="/jobs/{job_id}",status="404"' in text
    assert "01a204e1" not in text


def test_documentation_needs_no_script_and_names_every_operation(api):
    page = api.client.get("/docs").text
    assert "<script" not in page
    for route in guarded_routes():
        assert f"/api/v1{route.path}".replace("{", "{") in page


def test_every_operation_declares_its_problems():
    for route in guarded_routes():
        assert isinstance(route, APIRoute)
        assert {401, 403, 500, 503} <= set(route.responses), route.path
