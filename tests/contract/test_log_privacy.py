"""Nothing that may name a person or open a door stands in the log, the metrics or an error."""

from uuid import uuid4

from service.domain.access import Role
from tests.contract.acting import read_frames
from tests.contract.conftest import import_model
from tests.contract.images import picture

CANARY = "Canary-Mueller-1950"


def test_no_canary_sings(api, log_lines):
    import_model(api, "lesion-detector")
    job = api.send(
        "POST",
        f"/analyses?note={CANARY}",
        files={"frames": (f"{CANARY}.jpg", picture() + CANARY.encode())},
        headers={"Idempotency-Key": CANARY, "User-Agent": CANARY, "Referer": CANARY},
    ).json()
    read_frames(api, job, b"")
    analysis = job["links"]["analysis"].removeprefix("/api/v1")
    for path in ("", "/frames", "/frames/0/image", f"/frames/0/overlay?label={CANARY}"):
        api.send("GET", analysis + path)
    api.send("GET", f"/models/{CANARY}")
    api.send("GET", f"/{CANARY}")
    api.send("POST", "/analyses", files={CANARY: ("a", b"x")})
    api.send("POST", "/datasets", json={CANARY: CANARY, "name": CANARY})
    api.client.get("/api/v1/me", headers={"Authorization": f"Bearer {CANARY}"})
    log = log_lines.getvalue()
    assert '"event": "request"' in log
    assert CANARY not in log
    assert api.token(*Role).split("_", 2)[2] not in log
    assert CANARY not in api.client.get("/metrics").text


def test_a_mistake_of_ours_is_logged_by_kind_and_place_and_told_to_nobody(api, log_lines, monkeypatch):
    def broken(*_args, **_rest):
        raise KeyError(CANARY)

    monkeypatch.setattr(api.objects, "draft", broken)
    mine = str(uuid4())
    answer = api.send("POST", "/files", content=picture(), headers={"X-Request-ID": mine})
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert CANARY not in answer.text
    (line,) = [line for line in log_lines.getvalue().splitlines() if "request.failed" in line]
    assert '"exception": "KeyError"' in line
    assert "broken" in line
    assert mine in line
    assert CANARY not in line
