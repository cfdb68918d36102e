"""The command line as scripts see it: exit codes, what is on stdout and what on stderr."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer

from service import cli
from service.client.client import Enteron
from service.client.transport import Transport
from service.commands import connection, parts, problems, reading, training
from service.commands.leaks import leaks_in_words
from service.commands.terminal import Table
from service.domain.errors import InvalidInput, Unavailable

SAME: dict[str, Any] = {
    "frames": 1,
    "findings": 4,
    "largest_difference": 0.0,
    "largest_map_difference": 0.0,
    "tolerance": 0.0,
    "engine": None,
    "recorded_engines": [],
    "differing": [],
    "changed": [],
}
PROGRESS = {"fraction": None, "done": None, "total": None, "unit": None, "message": None, "eta_s": None}
JOB = {
    "id": "j1",
    "kind": "analysis",
    "queue": "interactive",
    "state": "succeeded",
    "progress": PROGRESS,
    "attempts": 1,
    "created_at": "2026-11-22T10:00:00Z",
    "started_at": None,
    "finished_at": None,
    "error": None,
    "result": {"analysis_id": "a1"},
    "links": {},
}
FINDING = {"label": "polyp", "probability": 0.93, "positive": True, "threshold": 0.4, "evidence": "synthetic"}
FRAMES = [
    {"ordinal": 0, "name": "a.jpg", "width": 336, "height": 336, "findings": [FINDING], "error": None},
    {
        "ordinal": 1,
        "name": "b\x1b[2J.gif",
        "findings": [],
        "error": {"code": "unknown_format", "detail": "..."},
    },
]
ANALYSIS = {"id": "a1", "model": {"name": "lesion-detector", "version": 1}, "operating_point": "balanced"}
ANSWERS = {
    ("POST", "/analyses"): (202, JOB),
    ("GET", "/jobs/j1"): (200, JOB),
    ("GET", "/jobs"): (200, {"items": [JOB], "next_cursor": None}),
    ("GET", "/analyses/a1"): (200, ANALYSIS),
    ("GET", "/analyses/a1/frames"): (200, {"items": FRAMES, "next_cursor": None}),
}

Run = Callable[..., tuple[int, str, str]]
Serve = Callable[[dict[tuple[str, str], tuple[int, Any]]], None]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def command(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["enteron", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return command


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Serve:
    """Commands talk to these answers instead of a service; anything else is 404."""

    def install(answers: dict[tuple[str, str], tuple[int, Any]]) -> None:
        def handle(request: httpx.Request) -> httpx.Response:
            request.read()
            path = request.url.path.removeprefix("/api/v1")
            missing = (404, {"code": "not_found", "detail": "There is no such thing."})
            status, body = answers.get((request.method, path), missing)
            return httpx.Response(status, json=body)

        transport = Transport(
            "http://enteron.test", None, sleep=lambda _: None, transport=httpx.MockTransport(handle)
        )
        monkeypatch.setattr(Enteron, "from_environment", lambda: Enteron(transport=transport))

    return install


@pytest.fixture
def image(tmp_path: Path) -> str:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"bytes")
    return str(path)


def test_help_loads_nothing_heavy() -> None:
    heavy = ("pandas", "numpy", "sqlalchemy", "httpx", "fastapi", "celery", "PIL", "torch")
    program = f"import sys, service.cli; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", program], text=True) == "[]\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("analyse",),
        ("analyze",),
        ("analyze", "no-such-file.jpg"),
        ("job", "list", "--limit", "0"),
        ("key", "create", "--role", "king"),
        ("predict", "--model", "m"),
        ("up", "--demoo"),
        ("train", "d", "--compare", "--name", "mine"),
        ("train", "d", "--folds", "3"),
        ("train", "d", "--seeds", "2"),
        ("train", "d", "--order", "stratified"),
        ("train", "d", "--out", "table.json"),
    ],
)
def test_wrong_usage_is_2_and_says_where_help_is(run: Run, arguments: tuple[str, ...]) -> None:
    code, out, err = run(*arguments)
    assert code == problems.USAGE
    assert out == ""
    assert "--help" in err


def test_a_refusal_is_3(run: Run, serve: Serve, image: str) -> None:
    serve(
        {("POST", "/analyses"): (415, {"code": "unsupported", "detail": "None of the frames is an image."})}
    )
    code, out, err = run("analyze", image)
    assert (code, out) == (problems.REFUSED, "")
    assert err.splitlines()[-2:] == [
        "None of the frames is an image. (unsupported)",
        "Send JPEG, PNG or TIFF images, or a zip of them.",
    ]


def test_nobody_there_is_4(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    transport = Transport(
        "http://enteron.test", None, sleep=lambda _: None, transport=httpx.MockTransport(refuse)
    )
    monkeypatch.setattr(Enteron, "from_environment", lambda: Enteron(transport=transport))
    code, out, err = run("job", "list", "--json")
    assert code == problems.UNREACHABLE
    assert json.loads(out)["error"]["code"] == "unreachable"
    assert "enteron up" in err


def test_retry_prints_the_new_job(run: Run, serve: Serve) -> None:
    serve({("POST", "/jobs/j1/retry"): (202, JOB | {"id": "j2", "state": "queued"})})
    code, out, _ = run("job", "retry", "j1", "--json")
    assert (code, json.loads(out)["id"]) == (problems.OK, "j2")


def test_labels_that_only_drawn_frames_taught_are_named() -> None:
    findings = [{"label": "bleeding", "evidence": "real"}, {"label": "polyp", "evidence": "synthetic"}]
    assert "Of polyp the model knows drawn frames alone" in reading._caution([{"findings": findings}])
    assert reading._caution([{"findings": findings[:1]}]) == "Research use. Not for diagnosis."


def test_of_a_comparison_only_what_was_given_is_sent() -> None:
    options = {"folds": None, "seeds": 2, "order": None, "out": Path("table.json")}
    assert training._comparison(True, None, options) == {"seeds": 2}
    assert training._comparison(True, None, dict.fromkeys(options)) == {}
    assert training._comparison(False, "mine", dict.fromkeys(options)) is None


def test_a_failed_job_is_5(run: Run, serve: Serve) -> None:
    error = {"code": "gave_up", "title": "t", "detail": "It ended its worker."}
    serve({("GET", "/jobs/j1"): (200, {**JOB, "state": "failed", "error": error})})
    code, out, err = run("job", "watch", "j1", "--json")
    assert code == problems.FAILED
    assert json.loads(out)["error"]["code"] == "gave_up"
    assert "It ended its worker. (gave_up)" in err


def test_findings_are_a_row_per_frame(run: Run, serve: Serve, image: str) -> None:
    serve(ANSWERS)
    code, out, _ = run("analyze", image)
    assert code == 0
    assert out.splitlines() == [
        "2 frames, 1 with findings, 1 unreadable; lesion-detector:1, operating point balanced",
        "frame\tpixels\tpolyp",
        "a.jpg\t336 x 336\t● P 93 %",
        "b�[2J.gif\t\tunreadable: unknown_format",
        "Research use. Not for diagnosis."
        " The model knows drawn frames alone: it says nothing about patients.",
    ]


def test_json_of_an_analysis_is_the_services_own(run: Run, serve: Serve, image: str) -> None:
    serve(ANSWERS)
    code, out, _ = run("analyze", image, "--json")
    assert code == 0
    assert json.loads(out) == {"analysis": ANALYSIS, "frames": FRAMES}


def test_every_command_that_answers_has_json() -> None:
    serving = {"api", "dispatcher", "worker"}  # they run until they are stopped

    def without(group: Any, prefix: str = "") -> Iterator[str]:
        for name, command in group.commands.items():
            if hasattr(command, "commands"):
                yield from without(command, f"{name} ")
            elif not any("--json" in option.opts for option in command.params):
                yield prefix + name

    assert set(without(typer.main.get_command(cli.app))) == serving


@pytest.mark.parametrize(
    ("problem", "code"),
    [
        (Unavailable("The database is away."), problems.UNREACHABLE),
        (InvalidInput("ENTERON_X is unknown.", code="unknown_setting"), problems.USAGE),
        (InvalidInput("The pepper is short.", code="weak_pepper"), problems.REFUSED),
    ],
)
def test_problems_of_the_installation_have_codes_too(problem: Exception, code: int) -> None:
    described = problems.describe(problem)
    assert described is not None
    assert described[2] == code


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        (tmp_path / "password").read_text()
    assert problems.describe(caught.value) == (
        f"{tmp_path / 'password'}: No such file or directory",
        "Check the path and its rights.",
        problems.PROBLEM,
    )


def test_a_mistake_of_ours_is_not_dressed_up() -> None:
    assert problems.describe(KeyError("x")) is None


def test_missing_passwords_are_named(tmp_path: Path) -> None:
    (tmp_path / "owner_password").write_text("o")
    with pytest.raises(problems.Complaint, match=r"api_password, worker_password"):
        parts.role_passwords(tmp_path)
    for role in ("api", "worker", "dispatcher", "auditor"):
        (tmp_path / f"{role}_password").write_text(f"{role}\n")
    assert parts.role_passwords(tmp_path)["worker"] == "worker"


def test_live_values_are_the_newest_that_are_numbers() -> None:
    series = {"loss": [[0, 0.9], [10, 0.41234]], "tune_mean_auc": [[10, None]], "gradient_norm": [[10, 3.0]]}
    assert training.newest(series) == "; loss 0.412"
    assert training.newest({}) == ""


def test_what_was_measured_stands_beside_what_colour_alone_reaches() -> None:
    entry = {
        "auc": {"value": 0.957, "low": 0.9, "high": 0.99},
        "sensitivity_at_90_specificity": {"value": 0.8},
        "positives": 10,
        "known": 40,
        "pointing": {"rate": 0.9, "n": 10},
    }
    unmeasured = {**entry, "auc": None, "sensitivity_at_90_specificity": None, "pointing": None}
    metrics = {
        "frames": 40,
        "groups": 5,
        "labels": {"polyp": entry, "content": unmeasured},
        "colour_baseline": {"polyp": {"value": 0.61, "low": 0.5, "high": 0.7}, "content": None},
    }
    sentence, table, leaks = training.measured(metrics)
    assert leaks == "Leak check: not made."
    assert sentence == "Measured on 40 unseen frames of 5 groups"
    assert isinstance(table, Table)
    seen = ("polyp", "10 of 40", "0.96", "0.90 to 0.99", "0.61", "80 %")
    assert table.rows[0] == (*seen, "90 % of 10", "not measured")
    assert set(table.rows[1][2:]) == {"not measured"}
    assert "this flatters" in str(training.measured(metrics | {"trained_on_it": True})[0])
    maps = {
        "overlap": {"value": 0.3, "low": 0.2, "high": 0.4},
        "random_weights": {"pointing": {"rate": 0.07}, "overlap": {"value": 0.04}},
    }
    _, with_maps, _ = training.measured(metrics | {"labels": {"polyp": {**entry, "map": maps}}})
    assert isinstance(with_maps, Table)
    assert with_maps.rows == [(*seen, "90 % of 10 (7 %)", "30 % (4 %)")]


def test_networks_of_a_cross_validation_are_not_the_weights_that_were_kept() -> None:
    metrics = {"frames": 40, "groups": 5, "labels": {"polyp": {"positives": 1, "known": 2}}}
    sentence = str(training.measured(metrics | {"cross_validated": True})[0])
    assert "unseen frames" not in sentence
    assert "networks that had not learnt from them, while the weights of this version have" in sentence


def test_a_report_that_cannot_be_written_is_refused_before_anything_is_measured(
    run: Run, serve: Serve, tmp_path: Path
) -> None:
    serve({})  # whatever is asked of the service is 404
    missing = tmp_path / "missing" / "x.html"
    code, _, err = run("model", "evaluate", "reader:1", "--dataset", "d:1", "--report", str(missing))
    assert code == problems.USAGE
    assert "there is no folder" in err


def test_a_leak_check_is_told_in_a_line() -> None:
    crossing = {"label": None, "count": 5, "of": 7, "detail": "judged groups are training groups too"}
    names = {"label": "polyp", "count": 40, "of": 40, "detail": "frames: their names alone tell the label"}
    clean: dict[str, Any] = {"verdict": "clean", "problems": [], "not_checked": []}
    assert leaks_in_words(clean) == "Leak check: clean."
    assert leaks_in_words(clean | {"verdict": "leak", "problems": [crossing, names]}) == (
        "Leak check: a leak, these figures flatter. 5 of 7 judged groups are training groups too. "
        "polyp: 40 of 40 frames: their names alone tell the label."
    )
    imported = {"verdict": "unknown", "not_checked": [{"check": "training_side", "why": "it was imported"}]}
    assert leaks_in_words(clean | imported) == "Leak check: not possible: it was imported."


def test_commands_of_the_client_refuse_misspelt_settings_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ENTERON_HOEM", "x")
    with pytest.raises(InvalidInput, match="ENTERON_HOEM"):
        connection.connect()


def test_pictures_of_another_reading_are_not_mixed_with_new_ones(tmp_path: Path) -> None:
    reading.refuse_pictures_in(tmp_path / "new")
    (tmp_path / "000001-polyp.png").touch()
    with pytest.raises(problems.Complaint, match="already"):
        reading.refuse_pictures_in(tmp_path)


@pytest.mark.parametrize(("within", "expected"), [(True, problems.OK), (False, problems.PROBLEM)])
def test_a_replay_that_differs_is_1_and_still_prints_its_result(
    run: Run, serve: Serve, within: bool, expected: int
) -> None:
    result = SAME | {"within_tolerance": within, "identical": within}
    job = {**JOB, "kind": "replay", "result": result}
    serve({("POST", "/analyses/a1/replay"): (202, job), ("GET", "/jobs/j1"): (200, job)})
    code, out, _ = run("replay", "a1")
    assert code == expected
    assert ("yes, to the last bit" in out) is within


class Uploads:
    """A client that takes files."""

    def upload(self, path: str) -> dict[str, str]:
        return {"id": f"the id of {path}"}


@pytest.mark.parametrize(
    ("named", "sent"),
    [
        ("public.safetensors", "the id of public.safetensors"),
        ("image-classifier:2", "image-classifier:2"),
        ("0192f0c0-0000-7000-8000-000000000000", "0192f0c0-0000-7000-8000-000000000000"),
    ],
)
def test_weights_to_start_from_are_uploaded_where_they_are_a_local_file(named: str, sent: str) -> None:
    params = {"epochs": 3, "initial_weights": named}
    assert training._with_uploads(Uploads(), params) == {"epochs": 3, "initial_weights": sent}  # type: ignore[arg-type]
    assert training._with_uploads(Uploads(), {"epochs": 3}) == {"epochs": 3}  # type: ignore[arg-type]
