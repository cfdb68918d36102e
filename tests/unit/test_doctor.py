"""What the doctor says of an installation, and what it keeps to itself."""

from pathlib import Path

import pytest

from service import doctor
from service.client.errors import Unreachable
from service.doctor import Wrong, examine
from service.domain.errors import InvalidInput
from service.settings import Settings


def ask(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, answer: str | Exception) -> doctor.Check:
    def question(_settings: Settings) -> str:
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(doctor, "QUESTIONS", {"thing": (question, "Mend it.")})
    said: list[str] = []
    (check,) = examine(Settings(home=tmp_path), said.append)
    assert said == ["thing ..."]
    return check


def test_a_good_answer_needs_no_advice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert ask(monkeypatch, tmp_path, "fine") == doctor.Check("thing", ok=True, found="fine", advice="")


@pytest.mark.parametrize("problem", [Wrong("1 GiB free"), Unreachable("no answer")])
def test_own_words_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, problem: Exception) -> None:
    check = ask(monkeypatch, tmp_path, problem)
    assert check == doctor.Check("thing", ok=False, found=str(problem), advice="Mend it.")


def test_of_foreign_errors_only_the_kind_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    check = ask(monkeypatch, tmp_path, RuntimeError("postgresql://user:secret@host"))
    assert check.found == "RuntimeError"


def found(name: str, home: Path) -> str:
    return doctor.QUESTIONS[name][0](Settings(home=home))


def test_secrets_that_others_may_read_are_named(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    (home / "cli.json").touch(mode=0o600)
    assert found("privacy", home) == "only its owner may read it"
    (home / "cli.json").chmod(0o644)
    with pytest.raises(Wrong, match=r"cli\.json"):
        found("privacy", home)


def test_too_little_space_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "free" in found("disk", tmp_path / "not" / "made" / "yet")
    monkeypatch.setattr(doctor, "NEEDED_DISK_BYTES", 1 << 60)
    with pytest.raises(Wrong, match="are needed"):
        found("disk", tmp_path)


def test_a_misspelt_setting_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert found("settings", tmp_path) == "embedded servers"
    monkeypatch.setenv("ENTERON_HOMME", "x")
    with pytest.raises(InvalidInput, match="ENTERON_HOMME"):
        found("settings", tmp_path)


def test_missing_packages_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "torch 2.13.0" in found("packages", tmp_path)
    monkeypatch.setattr(doctor, "_WORKER_PACKAGES", ("torch", "no-such-package"))
    with pytest.raises(Wrong, match="not installed: no-such-package"):
        found("packages", tmp_path)
