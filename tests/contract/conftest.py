"""The application behind its own server on loopback, on a real database, with keys for every role."""

import io
import json
import secrets
import socket
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import httpx
import pytest
import structlog
import uvicorn
from sqlalchemy import text

from service.api.app import create_app
from service.api.server import config
from service.domain.access import Role
from service.domain.ids import DEFAULT_TENANT_ID
from service.logs import keep_listed
from service.settings import Limits, Settings
from service.store.objects import ObjectStore
from service.store.session import unit_of_work
from service.usecases import keys
from tests.databases import Database, cloned

LABELS = ("bleeding", "polyp")


@dataclass
class Api:
    """One installation and the means to look behind it."""

    client: httpx.Client
    port: int
    database: Database
    objects: ObjectStore
    pepper: bytes
    _tokens: dict[tuple[UUID, frozenset[Role]], str] = field(default_factory=dict)

    def token(self, *roles: Role, tenant_id: UUID = DEFAULT_TENANT_ID) -> str:
        held = frozenset(roles)
        if (tenant_id, held) not in self._tokens:
            with unit_of_work(self.database.engine("api"), tenant_id=tenant_id) as session:
                issued = keys.issue(
                    session, None, tenant_id=tenant_id, name="test", roles=held, pepper=self.pepper
                )
            self._tokens[tenant_id, held] = issued.token
        return self._tokens[tenant_id, held]

    def headers(self, *roles: Role, tenant_id: UUID = DEFAULT_TENANT_ID) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token(*(roles or tuple(Role)), tenant_id=tenant_id)}"}

    def send(
        self,
        method: str,
        path: str,
        *,
        roles: Iterable[Role] = tuple(Role),
        tenant_id: UUID = DEFAULT_TENANT_ID,
        headers: dict[str, str] | None = None,
        **rest,
    ) -> httpx.Response:
        sent = self.headers(*roles, tenant_id=tenant_id) | (headers or {})
        return self.client.request(method, f"/api/v1{path}", headers=sent, **rest)

    def counts(self) -> dict[str, int]:
        """Rows of every table but the trail and the keys' last use, and objects."""
        with self.database.engine("owner").connect() as connection:
            tables = connection.execute(
                text("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
            ).scalars()
            rows = {
                name: connection.execute(text(f"SELECT count(*) FROM {name}")).scalar_one()
                for name in tables
                if name not in {"audit_event", "api_key", "principal", "tenant"}
            }
        return rows | {"objects": len(list(self.objects.list()))}


@contextmanager
def serving(app) -> Iterator[int]:
    """The application under the server it runs under in earnest; gives the port."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(config(app))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


@pytest.fixture(scope="session")
def log_lines() -> io.StringIO:
    """What the application logs, as it logs it in earnest."""
    lines = io.StringIO()
    structlog.configure(
        processors=[structlog.processors.add_log_level, keep_listed, structlog.processors.JSONRenderer()],
        logger_factory=structlog.PrintLoggerFactory(lines),
    )
    return lines


@pytest.fixture(scope="session")
def api_factory(servers, log_lines, tmp_path_factory) -> Callable[[Database], Iterator[Api]]:
    def build(database: Database, *, root_path: str = "", **limits) -> Iterator[Api]:
        folder: Path = tmp_path_factory.mktemp("api")
        pepper = folder / "pepper"
        pepper.write_text(secrets.token_urlsafe(32))
        settings = Settings(
            home=folder,
            key_pepper_file=pepper,
            api_threads=4,
            allow_fault_injection=False,
            root_path=root_path,
        )
        objects = ObjectStore.from_url((folder / "objects").as_uri())
        app = create_app(settings, database.engine("api"), objects, limits=Limits(**limits))
        with serving(app) as port, httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            yield Api(client, port, database, objects, pepper.read_bytes())

    return build


@pytest.fixture(scope="module")
def api(servers, api_factory) -> Iterator[Api]:
    """One for the tests of a module; they share its rows."""
    for database in cloned(servers):
        yield from api_factory(database)


def spec(name: str, **changes) -> dict:
    """The spec of a reader of two labels."""
    labels = [
        {
            "name": label,
            "code_scheme": "MST 3.0",
            "code": label[0].upper(),
            "meaning": label,
            "evidence": "synthetic",
        }
        for label in LABELS
    ]
    return {
        "name": name,
        "task": "image-multilabel",
        "builder": {"name": "resnet18", "params": {"labels": 2}},
        "input": {"size_px": 224, "channels": 3, "resize_kernel": "test"},
        "labels": labels,
        "calibration": {label: {"slope": 1.0, "intercept": 0.0} for label in LABELS},
        "operating_points": {"balanced": dict.fromkeys(LABELS, 0.5), "screening": dict.fromkeys(LABELS, 0.2)},
        "default_operating_point": "balanced",
        "intended_use": "tests",
        "limitations": "not a model",
        "licence": "none",
        "paper": "none",
        "dataset_fingerprint": "0" * 64,
        "code_version": "0",
        "seed": 1,
    } | changes


def safetensors(data: bytes = b"\0" * 16) -> bytes:
    """A file of one tensor of zeros, of the given bytes."""
    header = json.dumps({"w": {"dtype": "F32", "shape": [len(data) // 4], "data_offsets": [0, len(data)]}})
    return struct.pack("<Q", len(header)) + header.encode() + data


def import_model(api: Api, name: str, *, promote: bool = True, data: bytes = b"\0" * 16, **who) -> dict:
    """A version in the registry, champion unless told otherwise."""
    made = api.send(
        "POST",
        f"/models/{name}/import",
        files={"weights": ("w.safetensors", safetensors(data))},
        data={"spec": json.dumps(spec(name))},
        **who,
    )
    assert made.status_code == 201, made.text
    if promote:
        moved = api.send(
            "PUT",
            f"/models/{name}/aliases/champion",
            json={"version": made.json()["version"], "reason": "first"},
            **who,
        )
        assert moved.status_code == 200, moved.text
    return made.json()
