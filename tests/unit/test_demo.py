"""What the demo shows, and when it says that something is broken."""

from pathlib import Path
from typing import Any

import pytest

from service.client.errors import Refused
from service.commands import demo
from service.commands.demo import Drawn
from service.commands.problems import FAILED, Complaint
from service.commands.terminal import Terminal

LABELS = ("polyp", "bleeding", "inflammatory", "content")


def drawn(number: int, *labels: str) -> Drawn:
    return Drawn(f"{number:06d}.jpg", b"", {label: label in labels for label in LABELS})


def frame(of: Drawn, *, wrong: tuple[str, ...] = (), error: str | None = None) -> dict[str, Any]:
    findings = [
        {"label": label, "positive": present != (label in wrong)} for label, present in of.truth.items()
    ]
    return {"name": of.name, "findings": findings, "error": {"code": error} if error else None}


class Service:
    """Jobs that are submitted end as the test says."""

    def __init__(self) -> None:
        self.submitted = 0
        self.states: dict[str, str] = {}

    def submit(self) -> Any:
        self.submitted += 1
        self.states[str(self.submitted)] = "succeeded"
        return self.job(str(self.submitted))

    def job(self, job_id: str) -> Any:
        if job_id not in self.states:
            raise Refused(404, {"code": "not_found"})
        return {"id": job_id, "kind": "dataset", "state": self.states[job_id], "result": {"n": job_id}}

    def wait(self, job: Any, _report: object) -> Any:
        return job


@pytest.mark.parametrize(
    ("state", "jobs"), [("running", 1), ("succeeded", 1), ("failed", 2), ("cancelled", 2), (None, 2)]
)
def test_a_step_that_was_begun_goes_on(tmp_path: Path, state: str | None, jobs: int) -> None:
    service: Any = Service()
    demo.Steps(service, Terminal(), tmp_path / "jobs.json").result("Drawing", service.submit)
    service.states = {} if state is None else {"1": state}
    result = demo.Steps(service, Terminal(), tmp_path / "jobs.json").result("Drawing", service.submit)
    assert service.submitted == jobs
    assert result == {"n": str(jobs)}


def test_each_step_has_a_job_of_its_own(tmp_path: Path) -> None:
    service: Any = Service()
    steps = demo.Steps(service, Terminal(), tmp_path / "jobs.json")
    assert [steps.result(what, service.submit)["n"] for what in ("a", "b", "a")] == ["1", "2", "1"]


def test_every_label_and_some_normal_frames_are_shown() -> None:
    frames = [drawn(number, *(LABELS[number % 5 : number % 5 + 1])) for number in range(50)]
    picked = demo.pick(frames)
    assert len(picked) == len(LABELS) * demo.SHOWN_PER_LABEL + demo.SHOWN_NORMAL
    assert [item.name for item in picked] == sorted({item.name for item in picked})
    for label in LABELS:
        assert sum(item.truth[label] for item in picked) == demo.SHOWN_PER_LABEL


def test_a_frame_with_two_labels_is_shown_once() -> None:
    frames = [drawn(0, "polyp", "content"), drawn(1, "content"), drawn(2, "content")]
    assert [item.name for item in demo.pick(frames)] == ["000000.jpg", "000001.jpg", "000002.jpg"]


def test_right_findings_pass() -> None:
    frames = [drawn(number, "polyp") for number in range(3)]
    demo.check_findings([frame(item) for item in frames], frames)
    assert demo.agreement([frame(item) for item in frames], frames) == 1.0


@pytest.mark.parametrize("case", ["wrong", "unreadable", "missing", "no findings"])
def test_broken_findings_are_complained_of(case: str) -> None:
    frames = [drawn(number, "polyp") for number in range(3)]
    read = {
        "wrong": [frame(item, wrong=LABELS[:2]) for item in frames],
        "unreadable": [frame(frames[0], error="corrupt"), *map(frame, frames[1:])],
        "missing": [frame(item) for item in frames[1:]],
        "no findings": [{**frame(item), "findings": []} for item in frames],
    }[case]
    with pytest.raises(Complaint) as caught:
        demo.check_findings(read, frames)
    assert caught.value.exit_code == FAILED


@pytest.mark.parametrize(("area", "fine"), [(0.95, True), (0.6, False), (None, False)])
def test_a_poor_model_is_complained_of(area: float | None, fine: bool) -> None:
    version: Any = {"metrics": {"mean_auc": area}}
    if fine:
        demo.check_version(version)
    else:
        with pytest.raises(Complaint, match="mean AUC"):
            demo.check_version(version)
