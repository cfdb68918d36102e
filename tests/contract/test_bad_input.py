"""Bad input: what is sent -> status, code, place; and nothing is left behind."""

import json
import struct
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pytest

from service.domain.access import Role
from tests.contract.conftest import LABELS, import_model, safetensors, spec
from tests.contract.images import picture

NOBODY = str(uuid4())
HOSTILE = {
    "a GIF": b"GIF89a" + b"\0" * 100,
    "an animated WebP": b"RIFF\x10\x00\x00\x00WEBPVP8X" + b"\0" * 100,
    "a PDF": b"%PDF-1.7\n" + b"\0" * 100,
    "a Windows program": b"MZ" + b"\0" * 100,
    "a Linux program": b"\x7fELF" + b"\0" * 100,
    "a BMP": b"BM" + b"\0" * 100,
    "a JPEG 2000": b"\x00\x00\x00\x0cjP  \r\n\x87\n" + b"\0" * 100,
    "a BigTIFF": b"II+\x00\x08\x00\x00\x00" + b"\0" * 100,
    "a Photoshop file": b"8BPS\x00\x01" + b"\0" * 100,
    "a page": b"<html><script>alert(1)</script></html>",
    "a pickle": b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c\x08builtins",
    "a gzip": b"\x1f\x8b\x08\x00" + b"\0" * 100,
    "nothing": b"",
    "one byte": b"\xff",
}


@dataclass(frozen=True)
class Bad:
    """A request and how it is refused; `place` is the JSON Pointer of the first fault."""

    name: str
    method: str
    path: str
    status: int
    code: str
    place: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)


def frames(*contents: bytes, **fields: str) -> dict[str, Any]:
    files = [("frames", (f"{number}.jpg", data, "image/jpeg")) for number, data in enumerate(contents)]
    return {"files": files, "data": fields}


def posted(name: str, path: str, body: Any, status: int, code: str, place: str | None = None) -> Bad:
    return Bad(name, "POST", path, status, code, place, {"json": body})


def raw(name: str, path: str, body: bytes, status: int, code: str, *, kind: str = "application/json") -> Bad:
    return Bad(name, "POST", path, status, code, None, {"content": body}, {"Content-Type": kind})


def imported(name: str, weights: bytes, given: Any, code: str, place: str) -> Bad:
    text = given if isinstance(given, str) else json.dumps(given)
    return Bad(
        name,
        "POST",
        "/models/brought/import",
        422,
        code,
        place,
        {"files": {"weights": ("w", weights)}, "data": {"spec": text}},
    )


def lying_safetensors(header: bytes, *, claimed: int | None = None, body: bytes = b"\0" * 16) -> bytes:
    return struct.pack("<Q", len(header) if claimed is None else claimed) + header + body


def entry(begin: int, end: int) -> bytes:
    return json.dumps({"w": {"dtype": "F32", "shape": [4], "data_offsets": [begin, end]}}).encode()


DATASET = {"name": "d", "format": "plain", "file_ids": [NOBODY]}
CASES = [
    # Files of the wrong kind, whatever they are called.
    *(
        Bad(f"{name} as a file", "POST", "/files", 415, "unsupported", None, {"content": data})
        for name, data in HOSTILE.items()
    ),
    *(
        Bad(f"{name} called a.jpg", "POST", "/analyses", 415, "unsupported", None, frames(data))
        for name, data in HOSTILE.items()
    ),
    Bad("only bad frames", "POST", "/analyses", 415, "unsupported", None, frames(*HOSTILE.values())),
    # Forms.
    Bad("no frames", "POST", "/analyses", 422, "invalid_input", "/frames", {"files": {"model": (None, "m")}}),
    Bad(
        "unknown part", "POST", "/analyses", 422, "invalid_input", "", {"files": {"image": ("a", picture())}}
    ),
    Bad("unknown field", "POST", "/analyses", 422, "invalid_input", "", frames(picture(), tenant="x")),
    Bad(
        "NUL in a field", "POST", "/analyses", 422, "invalid_text", "/model", frames(picture(), model="a\0b")
    ),
    raw("no boundary", "/analyses", b"x", 422, "invalid_multipart", kind="multipart/form-data"),
    raw(
        "broken form",
        "/analyses",
        b"--x\r\n",
        422,
        "invalid_multipart",
        kind="multipart/form-data; boundary=x",
    ),
    raw("empty form", "/analyses", b"", 422, "invalid_multipart", kind="multipart/form-data; boundary=x"),
    raw(
        "form of noise",
        "/analyses",
        b"\0" * 999,
        422,
        "invalid_multipart",
        kind="multipart/form-data; boundary=x",
    ),
    raw(
        "endless boundary",
        "/analyses",
        b"",
        422,
        "invalid_multipart",
        kind=f"multipart/form-data; boundary={'x' * 99}",
    ),
    raw("text as frames", "/analyses", b"x", 415, "unsupported", kind="text/plain"),
    raw("JSON as a file", "/files", b"{}", 415, "unsupported"),
    raw(
        "urlencoded as a file", "/files", b"a=b", 415, "unsupported", kind="application/x-www-form-urlencoded"
    ),
    Bad(
        "two files at once",
        "POST",
        "/files",
        422,
        "invalid_input",
        "/file",
        {"files": [("file", ("a", picture())), ("file", ("b", picture()))]},
    ),
    # Models and operating points.
    *(
        Bad(f"model {name!r}", "POST", "/analyses", 422, code, "/model", frames(picture(), model=name))
        for name, code in {
            "nothing": "unknown_model",
            "lesion-detector@nobody": "unknown_model",
            "lesion-detector:99": "unknown_model",
            "lesion-detector:0": "invalid_input",
            "lesion-detector:99999999999": "invalid_input",
            "../../etc/passwd": "invalid_input",
            "x' OR '1'='1": "invalid_input",
            "A" * 500: "invalid_input",
        }.items()
    ),
    Bad(
        "operating point",
        "POST",
        "/analyses",
        422,
        "unknown_operating_point",
        "/operating_point",
        frames(picture(), operating_point="brave"),
    ),
    # JSON.
    raw("no JSON", "/datasets", b"{", 422, "invalid_json"),
    raw("not UTF-8", "/datasets", b'{"name": "\xff"}', 422, "invalid_json"),
    raw("doubled key", "/datasets", b'{"name": "a", "name": "b"}', 422, "invalid_json"),
    raw("NaN", "/trainings", b'{"params": {"rate": NaN}}', 422, "invalid_json"),
    raw("infinite", "/trainings", b'{"params": {"rate": 1e999}}', 422, "invalid_json"),
    raw("endless integer", "/trainings", b'{"params": {"rate": ' + b"9" * 9999 + b"}}", 422, "invalid_json"),
    raw("deep", "/datasets", b"[" * 100 + b"]" * 100, 422, "invalid_json"),
    raw("very deep", "/datasets", b"[" * 100_000 + b"]" * 100_000, 422, "invalid_json"),
    raw("JSON called text", "/datasets", b"{}", 415, "unsupported", kind="text/plain"),
    raw("XML", "/datasets", b"<a/>", 415, "unsupported", kind="application/xml"),
    raw("too much JSON", "/datasets", b'"' + b"x" * (1 << 20) + b'"', 413, "too_large"),
    posted(
        "NUL in JSON", "/datasets", {**DATASET, "options": {"a": "b\0"}}, 422, "invalid_text", "/options/a"
    ),
    raw("lone surrogate", "/datasets", b'{"options": {"\\ud800": 1}}', 422, "invalid_text"),
    posted("list for object", "/datasets", [], 422, "invalid_input", ""),
    posted("missing fields", "/datasets", {}, 422, "invalid_input", "/name"),
    posted(
        "unknown field", "/datasets", {**DATASET, "tenant_id": NOBODY}, 422, "invalid_input", "/tenant_id"
    ),
    posted("bad name", "/datasets", {**DATASET, "name": "../x"}, 422, "invalid_input", "/name"),
    posted("bad kind", "/datasets", {**DATASET, "kind": "exams"}, 422, "invalid_input", "/kind"),
    posted("malformed id", "/datasets", {**DATASET, "file_ids": ["x"]}, 422, "invalid_input", "/file_ids/0"),
    posted("no files", "/datasets", {**DATASET, "file_ids": []}, 422, "invalid_input", "/file_ids"),
    posted("unknown file", "/datasets", DATASET, 422, "unknown_file", "/file_ids/0"),
    posted("unknown frames", "/analyses", {"file_ids": [NOBODY]}, 422, "unknown_file", "/file_ids/0"),
    posted("frames and more", "/analyses", {"file_ids": [NOBODY], "x": 1}, 422, "invalid_input", "/x"),
    posted(
        "folds of one",
        "/trainings",
        {"recipe": "r", "dataset_id": NOBODY, "compare": {"folds": 1}},
        422,
        "invalid_input",
        "/compare/folds",
    ),
    posted(
        "a name for no version",
        "/trainings",
        {"recipe": "r", "dataset_id": NOBODY, "compare": {}, "model_name": "mine"},
        422,
        "invalid_input",
        "/model_name",
    ),
    posted(
        "unknown order",
        "/trainings",
        {"recipe": "r", "dataset_id": NOBODY, "compare": {"order": "random"}},
        422,
        "invalid_input",
        "/compare/order",
    ),
    posted(
        "unknown dataset",
        "/trainings",
        {"recipe": "r", "dataset_id": NOBODY},
        422,
        "unknown_dataset",
        "/dataset_id",
    ),
    posted(
        "prediction of nothing",
        "/predictions",
        {"model": "lesion-detector"},
        422,
        "invalid_input",
        "/file_id",
    ),
    posted(
        "prediction of two",
        "/predictions",
        {"model": "lesion-detector", "file_id": NOBODY, "dataset_id": NOBODY},
        422,
        "invalid_input",
        "/file_id",
    ),
    posted("fault injection", "/jobs", {"kind": "selftest", "fault": "crash"}, 422, "faults_off", "/fault"),
    posted("a job of another kind", "/jobs", {"kind": "training"}, 422, "invalid_input", "/kind"),
    posted("steps as truth", "/jobs", {"kind": "selftest", "steps": True}, 422, "invalid_input", "/steps"),
    posted("steps as text", "/jobs", {"kind": "selftest", "steps": "many"}, 422, "invalid_input", "/steps"),
    posted("role", "/keys", {"name": "n", "roles": ["god"]}, 422, "invalid_input", "/roles/0"),
    posted("no role", "/keys", {"name": "n", "roles": []}, 422, "invalid_input", "/roles"),
    posted(
        "old key",
        "/keys",
        {"name": "n", "roles": ["ops"], "expires_in_days": 999},
        422,
        "invalid_input",
        "/expires_in_days",
    ),
    # Addresses and parameters.
    *(
        Bad(f"{path}", "GET", path, 422, code, place)
        for path, code, place in (
            ("/jobs/not-an-id", "invalid_input", "/path/job_id"),
            ("/analyses/1", "invalid_input", "/path/analysis_id"),
            (f"/analyses/{NOBODY}/frames/-1/image", "invalid_input", "/path/ordinal"),
            (f"/analyses/{NOBODY}/frames/99999999999/image", "invalid_input", "/path/ordinal"),
            (f"/analyses/{NOBODY}/frames/0/overlay", "invalid_input", "/query/label"),
            (f"/analyses/{NOBODY}/frames/0/overlay?label=a%00", "invalid_text", "/query/label"),
            ("/models/..%2f..%2fx%00", "not_found", None),
            ("/models/UPPER", "invalid_input", "/path/name"),
            ("/models/lesion-detector/versions/0", "invalid_input", "/path/version"),
            ("/models/lesion-detector/versions/1/export?format=pickle", "invalid_input", "/query/format"),
            ("/jobs?limit=0", "invalid_input", "/query/limit"),
            ("/jobs?limit=201", "invalid_input", "/query/limit"),
            ("/jobs?kind=nothing", "invalid_input", "/query/kind"),
            ("/jobs?cursor=nonsense", "invalid_cursor", None),
            ("/datasets?cursor=nonsense", "invalid_cursor", "/query/cursor"),
            ("/models?cursor=%00", "invalid_cursor", "/query/cursor"),
            ("/audit?cursor=-1", "invalid_cursor", "/query/cursor"),
            ("/audit?cursor=99999999999999999999", "invalid_cursor", "/query/cursor"),
        )
        if code != "not_found"
    ),
    Bad("hidden path", "GET", "/models/..%2f..%2fx", 404, "not_found"),
    # Bringing in models.
    imported("a pickle as weights", b"\x80\x04." * 9, spec("brought"), "not_safetensors", "/weights"),
    imported(
        "a torch file as weights", b"PK\x03\x04" + b"\0" * 60, spec("brought"), "not_safetensors", "/weights"
    ),
    imported("no weights", b"", spec("brought"), "not_safetensors", "/weights"),
    imported("cut weights", safetensors()[:-4], spec("brought"), "not_safetensors", "/weights"),
    imported("weights and more", safetensors() + b"more", spec("brought"), "not_safetensors", "/weights"),
    imported(
        "header beyond the file",
        lying_safetensors(b"{}", claimed=2**40),
        spec("brought"),
        "not_safetensors",
        "/weights",
    ),
    imported(
        "gap between tensors", lying_safetensors(entry(8, 16)), spec("brought"), "not_safetensors", "/weights"
    ),
    imported(
        "tensors overlapping backwards",
        lying_safetensors(entry(0, -16)),
        spec("brought"),
        "not_safetensors",
        "/weights",
    ),
    imported(
        "offsets of text",
        lying_safetensors(b'{"w": {"data_offsets": "ab"}}'),
        spec("brought"),
        "not_safetensors",
        "/weights",
    ),
    imported(
        "a header that is no object",
        lying_safetensors(b"[1]"),
        spec("brought"),
        "not_safetensors",
        "/weights",
    ),
    imported("no spec", safetensors(), "", "invalid_json", ""),
    imported("a list as spec", safetensors(), [], "spec_invalid", "/spec"),
    imported("an empty spec", safetensors(), {}, "spec_invalid", "/spec/name"),
    imported("another's name", safetensors(), spec("other"), "spec_invalid", "/spec/name"),
    imported(
        "labels of text", safetensors(), spec("brought", labels=["polyp"]), "spec_invalid", "/spec/labels"
    ),
    imported(
        "a label without calibration",
        safetensors(),
        spec("brought", calibration={"polyp": {"slope": 1.0, "intercept": 0.0}}),
        "spec_invalid",
        "/spec/calibration",
    ),
    imported(
        "a calibration without its slope",
        safetensors(),
        spec("brought", calibration={"bleeding": {"intercept": 0.0}, "polyp": {"intercept": 0.0}}),
        "spec_invalid",
        "/spec/calibration",
    ),
    imported(
        "a builder without a name",
        safetensors(),
        spec("brought", builder={"params": {}}),
        "spec_invalid",
        "/spec/builder/name",
    ),
    imported(
        "operating point that is none",
        safetensors(),
        spec("brought", default_operating_point="x"),
        "spec_invalid",
        "/spec/default_operating_point",
    ),
    # Headers.
    Bad(
        "gzip",
        "POST",
        "/files",
        415,
        "content_encoding",
        None,
        {"content": b"x"},
        {"Content-Encoding": "gzip"},
    ),
    Bad("two ranges", "GET", "/me", 416, "too_many_ranges", None, {}, {"Range": "bytes=0-1,3-4"}),
    Bad("long headers", "GET", "/me", 431, "headers_too_large", None, {}, {"X-Long": "x" * (17 << 10)}),
    Bad(
        "no idempotency key",
        "POST",
        "/jobs",
        422,
        "invalid_input",
        None,
        {"json": {"kind": "selftest"}},
        {"Idempotency-Key": "x" * 300},
    ),
]


@pytest.fixture(scope="module", autouse=True)
def _model(api):
    import_model(api, "lesion-detector")


@pytest.mark.parametrize("bad", CASES, ids=lambda bad: bad.name)
def test_bad_input_is_refused_and_leaves_nothing(api, bad):
    before = api.counts()
    answer = api.send(bad.method, bad.path, headers=bad.headers, **bad.options)
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (bad.status, bad.code), problem
    assert answer.headers["content-type"] == "application/problem+json"
    if bad.place is not None:
        assert bad.place in [error["pointer"] for error in problem["errors"]], problem
    assert api.counts() == before


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Basic dXNlcjpwYXNz",
        "Bearer ent_short_secret",
        f"Bearer ent_{'0' * 16}_{'A' * 43}",
        "Bearer eyJhbGciOiJub25lIn0.e30.",
        "Bearer ent_' OR 1=1 --_x",
    ],
)
def test_absent_and_forged_keys(api, authorization):
    before = api.counts()
    answer = api.client.post(
        "/api/v1/analyses",
        headers={"Authorization": authorization} if authorization else {},
        **frames(picture()),
    )
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    assert api.counts() == before


def test_a_key_with_one_letter_changed_is_refused(api):
    token = api.token(Role.CLINICIAN)
    forged = token[:-1] + ("A" if token[-1] != "A" else "B")
    assert api.client.get("/api/v1/me", headers={"Authorization": f"Bearer {forged}"}).status_code == 401


def test_refusals_name_no_content(api):
    """Neither names of files nor values come back in an answer or stand in the log."""
    secret = "Mueller-Anna-1950"
    sent = api.send("POST", "/analyses", files={"frames": (f"{secret}.jpg", b"GIF89a" + secret.encode())})
    assert sent.status_code == 415
    assert secret not in sent.text
    named = api.send("GET", f"/jobs/{secret}")
    assert secret not in named.text


def test_hostile_pictures_are_taken_as_bytes_and_never_end_the_api(api, data_dir):
    """Decoding is the worker's: here every file is either stored whole or refused by its first bytes."""
    folder = data_dir("hostile") / "pillow"
    statuses = set()
    for path in sorted(folder.rglob("*"))[:150]:
        if path.is_file() and path.stat().st_size < 1 << 20:
            answer = api.send("POST", "/analyses", **frames(path.read_bytes()))
            statuses.add(answer.status_code)
            assert answer.status_code in {202, 415}, path.name
    assert statuses == {202, 415}
    assert api.client.get("/healthz/ready").status_code == 200


def test_labels_of_the_test_model_are_those_of_the_findings():
    assert {label["name"] for label in spec("x")["labels"]} == set(LABELS)
