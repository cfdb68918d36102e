"""`enteron up` as a person has it: real processes, Ctrl-C, kill -9, a taken port, and the demo in small."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from models.synthetic.dataset import write_dataset_zip
from models.synthetic.frames import draw_frames
from service.client.access import saved_access
from service.client.client import Enteron
from service.commands import demo, problems
from service.commands.terminal import Terminal
from service.embedded import Embedded

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
PATIENCE_S = 240.0


class Up:
    """One home folder, in which `enteron up` is started and ended, and other commands are run."""

    def __init__(self, home: Path) -> None:
        self.home = home
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ENTERON_")}
        self.environment = {**kept, "ENTERON_HOME": str(home)}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> dict[str, Any]:
        """Start it and wait for what it prints when it is ready."""
        output = self.home.with_suffix(".json")
        with output.open("wb") as out, self.said.open("ab") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "service.cli", "up", "--json"],
                stdout=out,
                stderr=err,
                env=self.environment,
            )
        eventually(lambda: output.read_bytes().endswith(b"}\n") or self.process.poll() is not None)
        access: dict[str, Any] = json.loads(output.read_bytes())
        return access

    @property
    def said(self) -> Path:
        return self.home.with_suffix(".err")

    def end(self, number: signal.Signals) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)

    def run(self, *arguments: str) -> tuple[int, Any]:
        """Another command in the same folder; its exit code and JSON."""
        ended = subprocess.run(
            [sys.executable, "-m", "service.cli", *arguments, "--json"],
            env=self.environment,
            capture_output=True,
            timeout=PATIENCE_S,
            check=False,
        )
        return ended.returncode, json.loads(ended.stdout or b"null")

    def get(self, *arguments: str) -> Any:
        """The JSON of a command that must succeed."""
        code, said = self.run(*arguments)
        assert code == problems.OK, said
        return said

    def left(self) -> list[str]:
        """Command lines of processes that belong to this folder."""
        return [line for line in map(self._belonging, Path("/proc").glob("[0-9]*")) if line]

    def _belonging(self, process: Path) -> str:
        mark = str(self.home).encode()
        try:
            command, environment = (process / "cmdline").read_bytes(), (process / "environ").read_bytes()
            cwd = os.fsencode((process / "cwd").readlink())
        except OSError:
            return ""
        belongs = mark in command or mark in environment or cwd.startswith(mark)
        return command.replace(b"\0", b" ").decode() if belongs else ""


def eventually(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    made = Up(tmp_path_factory.mktemp("up") / "home")
    made.start()
    yield made
    if made.process is not None and made.process.poll() is None:
        made.end(signal.SIGTERM)


def test_the_doctor_finds_nothing_wrong(up: Up) -> None:
    code, checks = up.run("doctor")
    assert {check["name"]: check["found"] for check in checks if not check["ok"]} == {}
    assert code == problems.OK


def test_a_second_one_in_the_folder_is_refused(up: Up) -> None:
    code, said = up.run("up")
    assert code == problems.PROBLEM
    assert "already runs" in said["error"]["detail"]


def test_the_saved_key_may_do_everything_but_administration(up: Up) -> None:
    access = saved_access(up.home)
    with Enteron(access["url"], access["key"]) as client:
        assert sorted(client.me()["roles"]) == ["analyst", "clinician", "engineer", "ops"]


def test_a_revoked_key_opens_nothing(up: Up) -> None:
    code, made = up.run("key", "create", "--role", "clinician", "--role", "ops", "--days", "1")
    assert code == problems.OK
    with Enteron(saved_access(up.home)["url"], made["key"]) as client:
        client.workers()
    assert up.run("key", "revoke", made["id"])[0] == problems.OK
    listed = {key["id"]: key["revoked_at"] for key in up.run("key", "list")[1]}
    assert listed[made["id"]] is not None
    environment = up.environment
    up.environment = {
        **environment,
        "ENTERON_API_KEY": made["key"],
        "ENTERON_API_URL": saved_access(up.home)["url"],
    }
    try:
        # The API may honour a key it has just seen for some seconds more.
        eventually(lambda: up.run("job", "list")[0] == problems.REFUSED)
    finally:
        up.environment = environment


def test_the_demo_goes_from_nothing_to_findings(
    up: Up, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In small, so that it proves the path and not the model."""
    monkeypatch.setattr(demo, "TRAIN_FRAMES", 96)
    monkeypatch.setattr(demo, "UNSEEN_FRAMES", 24)
    monkeypatch.setattr(demo, "BACKBONE", "resnet10")
    monkeypatch.setattr(demo, "PARAMS", {"backbone_params": {"width": 0.125}, "epochs": 1, "size_px": 64})
    monkeypatch.setattr(demo, "LEAST_MEAN_AUC", 0.0)
    monkeypatch.setattr(demo, "LEAST_AGREEMENT", 0.0)
    access = saved_access(up.home)
    with Enteron(access["url"], access["key"]) as client:
        value = demo.run_demo(client, Terminal(), tmp_path)
        shown = capsys.readouterr().out
        again = demo.run_demo(client, Terminal(json=True), tmp_path)
        trainings = client.jobs(kind="training")
        findings = client.findings(value["analysis"]["id"])
    assert len(value["frames"]) == len(again["frames"]) > 0
    assert len(trainings) == 1
    assert set(findings["label"]) == {"polyp", "bleeding", "inflammatory", "content"}
    assert findings["probability"].between(0, 1).all()
    assert len(list((tmp_path / "overlays").iterdir())) == findings["positive"].sum()
    assert "not for diagnosis" in shown.lower()
    assert str(tmp_path / "overlays") in shown
    assert capsys.readouterr().out == ""  # for programs, the command prints one JSON document at its end


def test_commands_from_a_folder_to_findings(up: Up, tmp_path: Path) -> None:
    folder = drawn_folder(tmp_path)
    dataset = up.get("dataset", "add", str(folder), "--format", "synthetic", "--name", "walk")
    assert dataset["state"] == "ready"
    assert dataset["report"]["frames"] == 48
    assert up.get("dataset", "show", "walk")["id"] == dataset["id"]
    small = ["--param", "size_px=64", "--param", "epochs=1", "--param", 'backbone_params={"width": 0.125}']
    trained = up.get("train", "walk:1", "--backbone", "resnet10", *small, "--name", "walker")
    assert set(trained["metrics"]["labels"]) == {"polyp", "bleeding", "inflammatory", "content"}
    up.get("model", "promote", "walker:1", "--reason", "the only one")
    weights = str(tmp_path / "out.safetensors")
    up.get("model", "export", "walker", weights)
    copy = up.get("model", "import", "walker", weights, str(tmp_path / "out.json"))
    assert (copy["version"], copy["sha256"]) == (2, up.get("model", "show", "walker:1")["sha256"])
    up.get("model", "promote", "walker:2", "--reason", "the same again", "--force")
    assert up.get("model", "rollback", "walker", "--reason", "no better")["to_version"] == 1
    pictures = [str(path) for path in sorted(folder.glob("images/*.jpg"))[:2]]
    read = up.get("analyze", *pictures, "--model", "walker:2", "--save-overlays", str(tmp_path / "maps"))
    positive = [finding for frame in read["frames"] for finding in frame["findings"] if finding["positive"]]
    assert [frame["name"] for frame in read["frames"]] == [Path(path).name for path in pictures]
    assert len(list((tmp_path / "maps").iterdir())) == len(positive)
    predicted = up.get("predict", "--dataset", "walk", "--model", "walker")
    assert len(predicted["rows"]) == 48
    assert up.get("model", "evaluate", "walker:1", "--dataset", "walk")["trained_on_it"]
    assert up.get("job", "list", "--kind", "evaluation")[0]["state"] == "succeeded"


def drawn_folder(tmp_path: Path) -> Path:
    write_dataset_zip(tmp_path / "drawn.zip", draw_frames(48, seed=3, domain="train", size=96))
    with zipfile.ZipFile(tmp_path / "drawn.zip") as archive:
        archive.extractall(tmp_path / "drawn")
    return tmp_path / "drawn"


def test_servers_that_are_killed_start_again_and_lose_nothing(up: Up) -> None:
    assert up.run("doctor")[0] == problems.OK  # which runs a job
    before = {job["id"] for job in up.get("job", "list")}
    Embedded(up.home).kill()
    said = ("PostgreSQL had ended by itself; it runs again", "Redis had ended by itself; it runs again")
    eventually(lambda: all(line in up.said.read_text() for line in said))
    eventually(lambda: up.run("doctor")[0] == problems.OK)
    assert before
    assert before < {job["id"] for job in up.get("job", "list")}


def test_killed_it_leaves_nothing_running_and_loses_nothing(up: Up) -> None:
    before = saved_access(up.home)
    jobs = up.run("job", "list")[1]
    assert len(up.left()) > 5
    assert up.end(signal.SIGKILL) == -signal.SIGKILL
    eventually(lambda: not up.left())
    assert "url" not in saved_access(up.home)
    access = up.start()
    assert access["key"] == before["key"]
    assert [job["id"] for job in up.run("job", "list")[1]] == [job["id"] for job in jobs]


def test_the_shipped_detector_is_in_use_and_registered_once_however_often_it_starts(up: Up) -> None:
    (shipped,) = [model for model in up.get("model", "list") if model["name"] == "starter-detector"]
    assert [version["version"] for version in shipped["versions"]] == [1]
    assert shipped["aliases"] == {"champion": 1}
    assert {label["name"]: label["evidence"] for label in shipped["versions"][0]["labels"]} == {
        "bleeding": "real",
        "polyp": "synthetic",
        "inflammatory": "synthetic",
        "content": "synthetic",
    }


def test_ctrl_c_ends_all_and_the_next_start_takes_another_port_if_it_must(up: Up) -> None:
    port = int(saved_access(up.home)["url"].rpartition(":")[2])
    assert up.end(signal.SIGINT) == 0
    assert up.left() == []
    assert "url" not in saved_access(up.home)
    assert "Stopped. The data is kept." in up.said.read_text()
    with socket.socket() as other:
        # Connections of the ended API linger in TIME_WAIT; a real other server would not mind them either.
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        # The first choice of the next start, whatever other programs of this machine hold.
        up.environment["ENTERON_API_PORT"] = str(port)
        access = up.start()
    assert int(access["url"].rpartition(":")[2]) > port
    assert f"Port {port} is taken" in up.said.read_text()
    assert up.end(signal.SIGTERM) == 0


def test_without_it_commands_say_what_to_do(tmp_path: Path) -> None:
    elsewhere = Up(tmp_path / "home")
    elsewhere.environment["ENTERON_API_URL"] = "http://127.0.0.1:9"
    assert elsewhere.run("job", "list")[0] == problems.UNREACHABLE
    assert elsewhere.run("key", "list")[0] == problems.UNREACHABLE
    elsewhere.environment["ENTERON_DATABASE_URL"] = "postgresql://127.0.0.1:9/enteron"
    code, said = elsewhere.run("up")
    assert code == problems.PROBLEM
    assert "ENTERON_DATABASE_URL is set" in said["error"]["detail"]
    assert elsewhere.run("migrate")[0] == problems.UNREACHABLE
    elsewhere.environment["ENTERON_HOMME"] = "x"
    assert elsewhere.run("migrate")[0] == problems.USAGE
