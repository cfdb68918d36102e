"""Pytest plugin: what a test may lack on a machine, and an account of what was skipped and why.

A test says `@pytest.mark.needs("chromium")`, or a fixture calls `require("data:wce")`. Under CI=true every
other skip fails the run, so that no test disappears in silence.
"""

import importlib.util
import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

KINDS = ("integration", "contract", "e2e", "gpu", "slow")
_UNMARKED = "unit"
_REASON = "absent prerequisite: "


def data_root() -> Path:
    """Folder of the real data sets, beside the checkout unless `ENTERON_TEST_DATA` names another."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    return Path(os.environ.get("ENTERON_TEST_DATA", beside))


def _has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()


def _has_chromium() -> bool:
    return shutil.which("chromium") is not None and shutil.which("chromedriver") is not None


def _is_root() -> bool:
    return os.geteuid() == 0


def _has_user_namespaces() -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run(["unshare", "--user", "true"], check=False, capture_output=True).returncode == 0


_PROBES: dict[str, Callable[[], bool]] = {
    "cuda": _has_cuda,
    "chromium": _has_chromium,
    "root": _is_root,
    "user-namespaces": _has_user_namespaces,
}


def is_present(prerequisite: str) -> bool:
    """Whether this machine has one of `_PROBES`, `data:<folder>`, `command:<program>` or `module:<name>`."""
    kind, _, name = prerequisite.partition(":")
    if kind == "data" and name:
        return (data_root() / name).is_dir()
    if kind == "command" and name:
        return shutil.which(name) is not None
    if kind == "module" and name:
        return importlib.util.find_spec(name) is not None
    if prerequisite not in _PROBES:
        raise pytest.UsageError(f"unknown prerequisite {prerequisite!r}")
    return _PROBES[prerequisite]()


def require(prerequisite: str) -> None:
    """Skip the calling test or fixture where the machine lacks something."""
    if not is_present(prerequisite):
        pytest.skip(f"{_REASON}{prerequisite}")


@pytest.fixture(scope="session")
def data_dir() -> Callable[[str], Path]:
    """`data_dir("wce")`: a folder of real data, or a skip where it is absent."""

    def folder(name: str) -> Path:
        require(f"data:{name}")
        return data_root() / name

    return folder


def _is_excused(reason: str) -> bool:
    """Asked again, not believed: a skip that names something present is not excused."""
    named = re.search(rf"{_REASON}(\S+)$", reason)
    return named is not None and not is_present(named[1])


class SkipAccount:
    """Counts run and skipped tests per marker; in CI an unexcused skip fails the run."""

    def __init__(self) -> None:
        self.run: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()
        self.unexcused: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        markers = [kind for kind in KINDS if kind in report.keywords] or [_UNMARKED]
        if report.skipped and not hasattr(report, "wasxfail"):
            self.skipped.update(markers)
            self._judge(report)
        elif report.when == "call" or report.failed:
            self.run.update(markers)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.skipped:
            self.skipped["whole file"] += 1
            self._judge(report)

    def _judge(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        # The longrepr of a skip is (path, line, reason).
        if not (isinstance(report.longrepr, tuple) and _is_excused(report.longrepr[2])):
            self.unexcused.append(report.nodeid)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        terminalreporter.section("run and skipped per marker")
        for kind in (_UNMARKED, *KINDS, "whole file"):
            if self.run[kind] or self.skipped[kind]:
                terminalreporter.line(f"{kind:<12} {self.run[kind]:>6} run {self.skipped[kind]:>6} skipped")
        for nodeid in self.unexcused:
            terminalreporter.line(f"skipped without an absent prerequisite: {nodeid}")

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.unexcused and os.environ.get("CI") == "true":
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(*prerequisites): skip where the machine lacks one of them")
    config.addinivalue_line("markers", "contract: compares the application with what it promises")
    config.pluginmanager.register(SkipAccount())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The folder gives a test its marker."""
    for item in items:
        for kind in ("integration", "contract", "e2e"):
            if kind in item.path.parts:
                item.add_marker(kind)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu"):
        require("cuda")
    for marker in item.iter_markers("needs"):
        for prerequisite in marker.args:
            require(prerequisite)
