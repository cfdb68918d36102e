"""The OpenAPI document against the application: generated requests, all checks, on a real database."""

import os
import subprocess
import sys

import pytest

from tests.contract.acting import read_frames
from tests.contract.conftest import import_model
from tests.contract.images import picture

# Streams by design until the job ends, and generated jobs never do.
ENDLESS = "/api/v1/jobs/{job_id}/events"


@pytest.fixture(scope="module")
def document(api) -> dict:
    """With something to find: a model, and an analysis that was read."""
    import_model(api, "lesion-detector")
    job = api.send("POST", "/analyses", files={"frames": ("a.png", picture("PNG"))}).json()
    read_frames(api, job, b"")
    return api.client.get("/openapi.json").json()


def test_document_is_openapi_of_this_service(document):
    assert document["openapi"].startswith("3.1")
    assert "Problem" in document["components"]["schemas"]
    assert document["components"]["securitySchemes"]["HTTPBearer"]["scheme"] == "bearer"


def test_every_operation_but_the_public_ones_asks_for_a_key(document):
    for path, methods in document["paths"].items():
        for operation in methods.values():
            assert ("security" in operation) == path.startswith("/api/v1")


def test_headers_have_the_names_that_the_service_reads(document):
    """A client made from the document would send what stands here."""
    named = {
        parameter["name"]
        for methods in document["paths"].values()
        for operation in methods.values()
        for parameter in operation.get("parameters", [])
        if parameter["in"] == "header"
    }
    assert {"Idempotency-Key", "Prefer"} <= named
    assert not {name for name in named if name.startswith(("-", "_"))}


@pytest.mark.slow
def test_operations_do_what_the_document_says(api, document, tmp_path):
    """Schemathesis as anybody runs it: every check, by examples, at the edges, at random and in sequences."""
    program = [sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()", "run"]
    options = {
        "--header": f"Authorization: {api.headers()['Authorization']}",
        "--exclude-path": ENDLESS,
        # Ids in bodies and the content of files are judged by 422 and 415, which no schema can foretell.
        "--exclude-checks": "positive_data_acceptance",
        "--phases": "examples,coverage,fuzzing,stateful",
        "--max-examples": "5",
        "--seed": "1",
        "--request-timeout": "30",
    }
    arguments = [part for option in options.items() for part in option]
    ended = subprocess.run(
        [*program, f"{api.client.base_url}/openapi.json", *arguments, "--no-color"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout
