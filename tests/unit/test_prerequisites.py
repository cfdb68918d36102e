"""The account of skips is itself a check, so it must be able to fail."""

import re
import socket
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

PLUGIN = Path(__file__).parents[1] / "prerequisites.py"


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch):
    """Runs one test file in a pytest of its own, with only the plugin."""
    pytester.makeconftest(PLUGIN.read_text())
    monkeypatch.setenv("ENTERON_TEST_DATA", str(pytester.path / "data"))
    monkeypatch.setenv("CI", "true")

    def run(source: str, folder: str = ".") -> pytest.RunResult:
        path = pytester.path / folder / "test_inner.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"import pytest\n{source}\n")
        return pytester.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:randomly")

    return run


NEEDS_DATA = '@pytest.mark.needs("data:wce")\ndef test_reads(): pass'


def test_skip_for_absent_prerequisite_is_excused(run):
    result = run(NEEDS_DATA)
    assert result.ret == 0
    result.stdout.re_match_lines([r"unit +0 run +1 skipped"])


def test_present_prerequisite_lets_the_test_run(run, pytester):
    (pytester.path / "data" / "wce").mkdir(parents=True)
    result = run(NEEDS_DATA)
    assert result.ret == 0
    result.stdout.re_match_lines([r"unit +1 run +0 skipped"])


@pytest.mark.parametrize(
    "source",
    [
        "def test_skips(): pytest.skip('not today')",
        "@pytest.mark.skip(reason='flaky')\ndef test_skips(): pass",
        "pytest.skip('whole file', allow_module_level=True)",
        "nothing = pytest.importorskip('there_is_no_such_module')",
        "def test_lies(): pytest.skip('absent prerequisite: command:sh')",
    ],
)
def test_unexcused_skip_fails_the_run_in_ci_only(run, monkeypatch, source):
    assert run(source).ret == pytest.ExitCode.TESTS_FAILED
    monkeypatch.delenv("CI")
    assert run(source).ret in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)


def test_unknown_prerequisite_is_an_error(run):
    assert run('@pytest.mark.needs("unicorn")\ndef test_rides(): pass').ret != 0


def test_expected_failure_counts_as_run(run):
    result = run("@pytest.mark.xfail\ndef test_known(): assert False")
    assert result.ret == 0
    result.stdout.re_match_lines([r"unit +1 run +0 skipped"])


def test_folder_gives_the_marker(run):
    result = run("def test_one(): pass", folder="integration")
    assert re.search(r"integration +1 run +0 skipped", result.stdout.str())


def test_network_is_blocked_but_event_loops_work():
    with pytest.raises(RuntimeError), pytest.warns(UserWarning, match="socket"):
        socket.socket(socket.AF_INET)
    for end in socket.socketpair():
        end.close()
