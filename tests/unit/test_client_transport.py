"""The client's HTTP: what is retried, with which key, and how a problem looks to the caller."""

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.client.errors import Broken, Refused, Unreachable
from service.client.transport import Body, Transport

PROBLEM = {"code": "invalid_input", "title": "Not valid.", "detail": "The name is empty.", "status": 422}


class Server:
    """Answers from a script; remembers what was asked. An exception in the script is raised."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []
        self.slept: list[float] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def transport(self) -> Transport:
        return Transport(
            "http://enteron.test/", "ent_key", sleep=self.slept.append, transport=httpx.MockTransport(self)
        )


def ok(body: object = None) -> httpx.Response:
    return httpx.Response(200, json=body if body is not None else {})


def test_key_and_base_address_are_sent() -> None:
    server = Server(ok())
    server.transport().get("/me")
    assert str(server.requests[0].url) == "http://enteron.test/api/v1/me"
    assert server.requests[0].headers["Authorization"] == "Bearer ent_key"


def test_health_stands_outside_the_api() -> None:
    server = Server(ok())
    server.transport().get("/healthz/ready")
    assert server.requests[0].url.path == "/healthz/ready"


@pytest.mark.parametrize("fault", [httpx.ConnectError("x"), httpx.ReadTimeout("x"), httpx.Response(503)])
def test_a_repeated_post_carries_the_same_idempotency_key_and_body(fault: object) -> None:
    server = Server(fault, fault, ok({"id": 1}))  # type: ignore[arg-type]
    assert server.transport().post("/trainings", {"recipe": "r"}) == {"id": 1}
    assert len({request.headers["Idempotency-Key"] for request in server.requests}) == 1
    assert {request.content for request in server.requests} == {b'{"recipe":"r"}'}


def test_two_posts_have_two_keys() -> None:
    server = Server(ok(), ok())
    transport = server.transport()
    transport.post("/jobs/1/cancel", {})
    transport.post("/jobs/1/cancel", {})
    first, second = (request.headers["Idempotency-Key"] for request in server.requests)
    assert first != second


def test_a_stream_is_made_anew_for_each_attempt() -> None:
    server = Server(httpx.WriteError("x"), ok())
    server.transport().post("/files", lambda: Body(content=iter([b"ab", b"cd"])))
    assert [request.content for request in server.requests] == [b"abcd", b"abcd"]


def test_retry_after_is_obeyed() -> None:
    server = Server(httpx.Response(429, headers={"Retry-After": "3"}), ok())
    server.transport().get("/jobs")
    assert server.slept == [3.0]


def test_nobody_there_is_unreachable_after_a_few_tries() -> None:
    server = Server(*[httpx.ConnectError("x")] * 4)
    with pytest.raises(Unreachable, match=r"no answer from http://enteron\.test"):
        server.transport().get("/me")
    assert len(server.requests) == 4


def test_a_refusal_is_not_retried_and_says_what_and_where() -> None:
    problem = {**PROBLEM, "errors": [{"pointer": "/name", "detail": "empty"}]}
    server = Server(httpx.Response(422, json=problem))
    with pytest.raises(Refused) as caught:
        server.transport().post("/datasets", {})
    assert caught.value.status == 422
    assert caught.value.code == "invalid_input"
    assert str(caught.value) == "The name is empty. (invalid_input) [/name: empty]"


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (500, {"code": "internal", "detail": "It failed."}, Broken),
        (503, {"code": "unavailable", "detail": "Not now."}, Unreachable),
        (404, "<html>another program</html>", Broken),
    ],
)
def test_other_failures_have_their_own_class(status: int, body: object, error: type[Exception]) -> None:
    answer = (
        httpx.Response(status, json=body)
        if isinstance(body, dict)
        else httpx.Response(status, text=str(body))
    )
    with pytest.raises(error):
        Server(*[answer] * 4).transport().get("/me")


@given(st.lists(st.lists(st.integers(), max_size=3), min_size=1, max_size=5))
def test_pages_are_joined_in_order(pages: list[list[int]]) -> None:
    answers = [
        ok({"items": items, "next_cursor": str(number) if number < len(pages) else None})
        for number, items in enumerate(pages, start=1)
    ]
    server = Server(*answers)
    assert list(server.transport().pages("/jobs")) == [item for page in pages for item in page]
    cursors = [request.url.params.get("cursor") for request in server.requests]
    assert cursors == [None, *(str(number) for number in range(1, len(pages)))]
