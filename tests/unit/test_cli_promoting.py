"""A refused promotion at the terminal: the table, the advice, the exit code."""

import json

import httpx
import pytest

from service.client.client import Enteron
from service.client.errors import Refused
from service.client.transport import Transport
from service.commands import promoting
from service.commands.problems import REFUSED, Complaint, as_json, describe
from service.commands.terminal import Terminal

VERSION = {"name": "reader", "version": 2}
PROBLEM = {"code": "worse_than_champion", "detail": "Version 2 is worse.", "errors": []}
LABEL = {
    "label": "polyp",
    "verdict": "worse",
    "refuses": True,
    "basis": "same_data",
    "data": "f00d" * 16,
    "champion": {"value": 0.95, "low": 0.93, "high": 0.97},
    "challenger": {"value": 0.8, "low": 0.75, "high": 0.85},
}
LOST = {**LABEL, "label": "bleeding", "verdict": "not_measured", "basis": "own_test", "data": None}
COMPARISON = {"champion": 1, "version": 2, "refuses": True, "labels": [LABEL, {**LOST, "challenger": None}]}


def client(sent: list[dict], promoted: tuple[int, dict]) -> Enteron:
    def handle(request: httpx.Request) -> httpx.Response:
        if request.method == "PUT":
            sent.append(json.loads(request.read()))
            return httpx.Response(promoted[0], json=promoted[1])
        assert request.url.path == "/api/v1/models/reader/versions/2/comparison"
        return httpx.Response(200, json=COMPARISON)

    return Enteron(transport=Transport("http://test", None, transport=httpx.MockTransport(handle)))


def test_the_refusal_shows_the_comparison_and_how_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    with client([], (409, PROBLEM)) as api, pytest.raises(Complaint) as refused:
        promoting.promote(api, Terminal(), VERSION, reason="because", alias="champion", force=False)
    out, err = capsys.readouterr()
    assert out == ""
    rows = [line.split("\t") for line in err.splitlines()]
    assert [
        "polyp",
        "0.95",
        "0.93 to 0.97",
        "0.80",
        "0.75 to 0.85",
        "the same data set f00df00df00d",
        "worse",
    ] in rows
    lost = [
        "bleeding",
        "0.95",
        "0.93 to 0.97",
        "not measured",
        "not measured",
        "different frames",
        "not measured",
    ]
    assert lost in rows
    wrong, advice, exit_code = describe(refused.value)
    assert (wrong, exit_code) == ("Version 2 is worse.", REFUSED)
    assert "--force" in advice
    assert as_json(refused.value, wrong, advice)["error"]["code"] == "worse_than_champion"


@pytest.mark.parametrize("force", [True, False])
def test_force_is_sent_as_said(force: bool) -> None:
    sent: list[dict] = []
    with client(sent, (200, {"to_version": 2})) as api:
        promoting.promote(api, Terminal(), VERSION, reason="because", alias="champion", force=force)
    assert sent == [{"version": 2, "reason": "because", "force": force}]


def test_another_refusal_stays_what_it_is() -> None:
    problem = {"code": "already_there", "detail": "It is."}
    with client([], (409, problem)) as api, pytest.raises(Refused, match="already_there"):
        promoting.promote(api, Terminal(), VERSION, reason="because", alias="champion", force=False)
