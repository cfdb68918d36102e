"""What `enteron up` decides before anything runs: ports, environments, who may read the key."""

import json
import stat
from collections.abc import Mapping
from pathlib import Path

import pytest

from service import launcher
from service.children import Part
from service.client.access import forget_address, save_access, saved_access
from service.client.client import Enteron
from service.embedded import Embedded
from service.settings import Settings


@pytest.fixture
def parts(tmp_path: Path) -> Mapping[str, Part]:
    embedded = Embedded(tmp_path / "home")
    made = launcher.parts(Settings(home=tmp_path / "home"), embedded, 7)
    return {part.name: part for part in made}


def password_files(parts: Mapping[str, Part]) -> dict[str, str]:
    return {
        name: Path(part.environment["ENTERON_DATABASE_PASSWORD_FILE"]).name for name, part in parts.items()
    }


def test_each_part_gets_its_own_password_and_no_other(parts: Mapping[str, Part]) -> None:
    assert password_files(parts) == {
        "api": "database-api",
        "dispatcher": "database-dispatcher",
        "worker-interactive": "database-worker",
        "worker-batch": "database-worker",
    }
    for part in parts.values():
        secrets = [value for value in part.environment.values() if "/secrets/" in value]
        assert all(Path(secret).name.startswith(("database-", "key-pepper")) for secret in secrets)
        assert ("ENTERON_KEY_PEPPER_FILE" in part.environment) == (part.name == "api")
        assert ("ENTERON_REDIS_URL" in part.environment) == (part.name != "api")


def test_addresses_hold_no_password(parts: Mapping[str, Part], tmp_path: Path) -> None:
    passwords = [path.read_text() for path in (tmp_path / "home" / "secrets").iterdir()]
    for part in parts.values():
        assert not any(password in value for password in passwords for value in part.environment.values())


def test_workers_stop_first(parts: Mapping[str, Part]) -> None:
    stages = {name: part.stage for name, part in parts.items()}
    assert max(stages[name] for name in launcher.WORKERS) < min(stages["api"], stages["dispatcher"])


def test_a_child_gets_what_the_caller_set_and_not_the_callers_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = {
        "PATH": "/bin",
        "ENTERON_API_KEY": "secret",
        "ENTERON_DEVICE": "cuda",
        "ENTERON_MAX_FRAME_BYTES": "50",
    }
    monkeypatch.setenv("ENTERON_LEASE_S", "5")
    environment = launcher.child_environment(Settings(home=tmp_path), base)
    assert environment["PATH"] == "/bin"
    assert "ENTERON_API_KEY" not in environment
    assert environment["ENTERON_MAX_FRAME_BYTES"] == "50"
    assert float(environment["ENTERON_LEASE_S"]) == 5


def test_a_child_reads_back_the_same_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(
        home=tmp_path, api_port=8500, allow_fault_injection=True, key_pepper_file=tmp_path / "p"
    )
    for name, value in launcher.child_environment(settings, {}).items():
        monkeypatch.setenv(name, value)
    assert Settings() == settings


def test_access_is_for_the_owner_alone(tmp_path: Path) -> None:
    save_access(tmp_path, url="http://127.0.0.1:8400", key="ent_x")
    save_access(tmp_path, url="http://127.0.0.1:8401", key="ent_y")
    path = tmp_path / "cli.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text()) == {"url": "http://127.0.0.1:8401", "key": "ent_y"}
    assert saved_access(tmp_path)["key"] == "ent_y"


def test_a_stopped_service_is_not_sent_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENTERON_HOME", str(tmp_path))
    save_access(tmp_path, url="http://127.0.0.1:8401", key="ent_y")
    assert sent_key() == "Bearer ent_y"
    monkeypatch.setenv("ENTERON_API_URL", "http://elsewhere.test")
    assert sent_key() is None
    monkeypatch.delenv("ENTERON_API_URL")
    forget_address(tmp_path)
    assert sent_key() is None
    assert saved_access(tmp_path) == {"key": "ent_y"}


def sent_key() -> str | None:
    with Enteron.from_environment() as client:
        return client.transport.headers.get("Authorization")


def test_a_log_is_told_by_its_end(tmp_path: Path) -> None:
    log = tmp_path / "api.log"
    log.write_text("".join(f"line {number}\n" for number in range(20)))
    assert launcher.tail(log, 2) == "    line 18\n    line 19"
    assert launcher.tail(tmp_path / "none.log") == "(it wrote no log)"
