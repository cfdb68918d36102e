"""Bodies on the wire: lies, endless ones, slow ones, cut ones; and nothing of them stays."""

import socket
import time
from contextlib import contextmanager

import pytest

from service.api import bodies, server
from tests.contract.conftest import import_model
from tests.contract.images import picture
from tests.databases import cloned

MIB = 1 << 20


@pytest.fixture(scope="module")
def api(servers, api_factory):
    """Limits small enough to send something larger."""
    for database in cloned(servers):
        yield from api_factory(
            database,
            max_multipart_bytes=2 * MIB,
            max_file_bytes=4 * MIB,
            max_frame_bytes=MIB,
            max_multipart_parts=20,
            max_queued_jobs=2,
        )


@contextmanager
def wire(api, head: str):
    """A connection on which a request's head was sent."""
    with socket.create_connection(("127.0.0.1", api.port), timeout=10) as connection:
        connection.sendall(head.encode())
        yield connection


def answer(connection: socket.socket) -> str:
    """All that comes until the server is done or silent."""
    received = b""
    try:
        while chunk := connection.recv(65536):
            received += chunk
            if b"}" in chunk:
                break
    except TimeoutError:
        pass
    return received.decode()


def head(api, path: str, *headers: str) -> str:
    lines = [
        f"POST /api/v1{path} HTTP/1.1",
        "Host: x",
        f"Authorization: {api.headers()['Authorization']}",
        *headers,
    ]
    return "\r\n".join(lines) + "\r\n\r\n"


def settle(api, before: dict[str, int]) -> None:
    """What a broken connection leaves is removed when the server notices."""
    deadline = time.monotonic() + 10
    while api.counts() != before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert api.counts() == before
    drafts = api.objects.root / ".drafts"
    while list(drafts.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert list(drafts.iterdir()) == []


def test_a_declared_length_over_the_limit_is_refused_before_a_byte_comes(api):
    with wire(api, head(api, "/files", f"Content-Length: {5 << 30}")) as connection:
        assert "413" in answer(connection).splitlines()[0]


def test_a_chunked_body_is_counted_as_it_comes(api):
    before = api.counts()

    def endless():
        yield picture()
        for _ in range(64):
            yield b"\0" * (MIB // 8)

    refused = api.send("POST", "/files", content=endless())
    assert (refused.status_code, refused.json()["code"]) == (413, "too_large")
    settle(api, before)


def test_a_chunked_file_under_the_limit_is_stored(api):
    data = picture() + b"\0" * 3 * MIB

    def chunks():
        for start in range(0, len(data), 100_000):
            yield data[start : start + 100_000]

    stored = api.send("POST", "/files", content=chunks())
    assert (stored.status_code, stored.json()["size"]) == (201, len(data))
    got = api.send("GET", f"/files/{stored.json()['id']}/content")
    assert got.content == data
    assert got.headers["content-type"] == "application/octet-stream"


def test_a_wrong_kind_is_refused_by_its_first_bytes(api):
    with wire(api, head(api, "/files", f"Content-Length: {3 * MIB}")) as connection:
        connection.sendall(b"GIF89a" + b"\0" * 100)
        assert "415" in answer(connection).splitlines()[0]


def test_a_frame_over_its_limit_is_refused(api):
    before = api.counts()
    frame = picture() + b"\0" * MIB
    refused = api.send("POST", "/analyses", files={"frames": ("a.jpg", frame)})
    assert (refused.status_code, refused.json()["code"]) == (413, "too_large")
    settle(api, before)


def test_a_form_over_its_limit_is_refused(api):
    before = api.counts()
    frames = [("frames", (f"{number}.jpg", picture() + b"\0" * (MIB // 2))) for number in range(5)]
    assert api.send("POST", "/analyses", files=frames).status_code == 413
    settle(api, before)


def test_too_many_parts_are_refused(api):
    before = api.counts()
    frames = [("frames", (f"{number}.jpg", picture())) for number in range(21)]
    assert api.send("POST", "/analyses", files=frames).status_code == 413
    settle(api, before)


def test_a_part_with_too_many_headers_is_refused(api):
    lines = b"".join(b"X-%d: y\r\n" % number for number in range(100))
    body = b"--b\r\n" + lines + b"\r\nx\r\n--b--\r\n"
    refused = api.send(
        "POST", "/analyses", content=body, headers={"Content-Type": "multipart/form-data; boundary=b"}
    )
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_multipart")


@pytest.mark.parametrize(
    "sent", [b"", b"\xff\xd8\xff", picture() + b"\0" * 2 * MIB], ids=["none", "few", "most"]
)
def test_a_connection_that_breaks_off_leaves_nothing(api, sent):
    before = api.counts()
    with wire(api, head(api, "/files", f"Content-Length: {3 * MIB}")) as connection:
        connection.sendall(sent)
        time.sleep(0.2)
    settle(api, before)


def test_a_body_that_stops_is_ended(api, monkeypatch):
    monkeypatch.setattr(bodies, "_IDLE_S", 0.5)
    before = api.counts()
    with wire(api, head(api, "/files", f"Content-Length: {3 * MIB}")) as connection:
        connection.sendall(picture())
        told = answer(connection)
    assert "408" in told.splitlines()[0]
    assert "body_too_slow" in told
    settle(api, before)


def test_a_body_that_trickles_is_ended(api, monkeypatch):
    monkeypatch.setattr(bodies, "_RATE_AFTER_S", 0.5)
    before = api.counts()
    with wire(api, head(api, "/files", f"Content-Length: {3 * MIB}")) as connection:
        connection.sendall(b"\xff\xd8\xff")
        told = trickle(connection)
    assert "408" in told.splitlines()[0]
    settle(api, before)


def trickle(connection: socket.socket) -> str:
    """Send a byte now and then until there is an answer."""
    connection.settimeout(0.05)
    for _ in range(200):
        connection.sendall(b"\0")
        try:
            return connection.recv(65536).decode()
        except TimeoutError:
            continue
    return "no answer"


def test_a_head_that_never_ends_is_cut(api, monkeypatch):
    monkeypatch.setattr(server, "HEAD_S", 0.3)
    with socket.create_connection(("127.0.0.1", api.port), timeout=10) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
        assert connection.recv(1) == b""


def test_a_head_that_grows_is_cut(api):
    with socket.create_connection(("127.0.0.1", api.port), timeout=10) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
        with pytest.raises(OSError, match=r"reset|Broken pipe"):
            flood(connection)


def flood(connection: socket.socket) -> None:
    for _ in range(1_000):
        connection.sendall(b"X-Y: " + b"z" * 1_000 + b"\r\n")
        time.sleep(0.001)


def test_a_kept_alive_connection_serves_one_request_after_the_other(api, monkeypatch):
    monkeypatch.setattr(server, "HEAD_S", 0.3)
    request = b"GET /healthz/live HTTP/1.1\r\nHost: x\r\n\r\n"
    with socket.create_connection(("127.0.0.1", api.port), timeout=10) as connection:
        for _ in range(3):
            connection.sendall(request)
            assert "200" in answer(connection).splitlines()[0]
            time.sleep(0.5)  # idle between requests is no slow head


def test_more_waiting_jobs_than_allowed_are_refused_and_leave_nothing(api):
    import_model(api, "lesion-detector")  # which leaves a job of its own: the version's report and card
    frames = {"frames": ("a.jpg", picture())}
    assert api.send("POST", "/analyses", files=frames).status_code == 202
    before = api.counts()
    refused = api.send("POST", "/analyses", files=frames)
    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
    assert int(refused.headers["retry-after"]) > 0
    settle(api, before)
