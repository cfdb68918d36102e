"""The two commands of the README and their neighbours are there and say what they do."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
TARGETS = {"help", "run", "demo", "test", "check", "install", "clean"}

pytestmark = pytest.mark.needs("command:make")


def make(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = ["make", "--no-print-directory", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def test_help_is_the_default_and_names_every_target():
    shown = make().stdout
    assert set(re.findall(r"^  make (\w+) +\S", shown, re.MULTILINE)) == TARGETS


def test_an_old_python_is_refused_with_the_way_out(tmp_path):
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    old = tmp_path / "old-python"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    refused = make(f"PYTHON={old}", "run", cwd=tmp_path)
    assert refused.returncode != 0
    assert "needs Python 3.11" in refused.stderr
    assert not (tmp_path / ".venv").exists()


def test_run_installs_no_test_tools():
    plan = make("--dry-run", "--always-make", "run").stdout
    assert "worker,embedded]" in plan
    assert "test]" not in plan
    assert "constraints.txt" in plan


def test_ci_and_pre_commit_use_the_same_definitions():
    assert "\nmake test\n" in (ROOT / ".ci" / "run").read_text()
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    assert [hook["entry"] for hook in hooks] == ["make check"]
    assert re.search(r"^test: check\b", (ROOT / "Makefile").read_text(), re.MULTILINE)
