"""The main path on the real stack: frames drawn, ingested, learnt from, read; bad frames, killed children."""

import os
import signal
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from sqlalchemy import text

from models.synthetic.frames import draw_frame
from service.client.client import Enteron
from service.client.errors import JobFailed, Refused
from service.domain.ids import DEFAULT_TENANT_ID
from service.embedded import Embedded
from service.launcher import Machine, running
from service.settings import Settings
from service.store.session import connect, unit_of_work

pytestmark = pytest.mark.slow
LABELS = {"polyp", "bleeding", "inflammatory", "content"}
# Proves the path and not the model: one epoch of the smallest net.
PARAMS = {"backbone_params": {"width": 0.125}, "epochs": 1, "size_px": 64, "seed": 3}
# Named among the parameters, as whoever leaves out the API's own field does.
NAMED = {**PARAMS, "backbone": "resnet10"}


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    home = tmp_path_factory.mktemp("main") / "home"
    with running(Settings(home=home), lambda _: None) as started:
        started.home = home
        yield started


@pytest.fixture(scope="module")
def client(machine: Machine) -> Enteron:
    return machine.client


@pytest.fixture(scope="module")
def dataset(client: Enteron) -> dict:
    drawn = client.wait(client.synthesize(seed=5, frames=96, size_px=96))
    job = client.wait(client.add_dataset("drawn", [drawn["result"]["file_id"]], format="synthetic"))
    return client.dataset(job["result"]["dataset_id"])


@pytest.fixture(scope="module")
def reader(client: Enteron, dataset: dict) -> dict:
    job = client.wait(client.train("lesion-detector", dataset["id"], params=NAMED))
    made = job["result"]
    client.promote(made["model"], made["version"], reason="test of the main path")
    return made


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("frames")
    paths = []
    for number in range(24):
        paths.append(folder / f"frame{number:02}.jpg")
        Image.fromarray(draw_frame(number, domain="test", labels=None, patient=number, size=96).rgb).save(
            paths[-1]
        )
    return paths


def read(client: Enteron, paths: list[Path]) -> tuple[dict, list[dict]]:
    job = client.wait(client.analyze(paths))
    analysis = client.analysis(job["result"]["analysis_id"])
    return analysis, client.frames(analysis["id"])


def packed(path: Path, frames: list[Path], **others: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for frame in frames:
            archive.write(frame, frame.name)
        for name, content in others.items():
            archive.writestr(name.replace("_", "."), content)
    return path


def rows(machine: Machine, query: str, **values: object) -> list:
    """What stands in PostgreSQL, read as the API's role."""
    servers = Embedded(machine.home)
    engine = connect(
        servers.database_url("api"), password_file=servers.password_file("api"), application="test"
    )
    try:
        with unit_of_work(engine, tenant_id=DEFAULT_TENANT_ID) as session:
            return list(session.execute(text(query), values))
    finally:
        engine.dispose()


def test_ingest_reports_what_it_found(dataset: dict) -> None:
    assert dataset["state"] == "ready"
    assert dataset["report"]["frames"] == 96
    assert {count["label"] for count in dataset["report"]["labels"]} == LABELS
    assert dataset["report"]["problems"] == []


def test_training_makes_a_version_with_its_account(client: Enteron, reader: dict, dataset: dict) -> None:
    version = client.model_version(reader["model"], reader["version"])
    assert version["dataset_fingerprint"] == dataset["fingerprint"]
    assert set(version["metrics"]["labels"]) == LABELS
    assert {label["evidence"] for label in version["labels"]} <= {"synthetic", "none"}


def test_a_version_has_its_card_and_its_report(client: Enteron, reader: dict, tmp_path: Path) -> None:
    """By a job that the training asked for: nobody else did."""
    for job in client.jobs(kind="export"):
        client.wait(job)
    for form in ("card", "report"):
        target = tmp_path / f"{form}.html"
        client.save_paper(reader["model"], reader["version"], target, form=form)
        assert f"{reader['model']}, version {reader['version']}" in target.read_text()


def test_training_leaves_its_series(client: Enteron, reader: dict) -> None:
    series = client.series(client.jobs(kind="training")[0]["id"])
    assert any(len(points) >= 1 for points in series.values())


@pytest.mark.usefixtures("reader")
def test_findings_are_rows_for_every_frame_and_label(
    machine: Machine, client: Enteron, frames: list[Path]
) -> None:
    analysis, read_frames = read(client, frames[:3])
    assert [frame["name"] for frame in read_frames] == [path.name for path in frames[:3]]
    found = rows(
        machine,
        "SELECT label, probability, positive, model_version_id FROM finding WHERE analysis_id = :id",
        id=analysis["id"],
    )
    assert len(found) == 3 * len(LABELS)
    assert all(0 <= row.probability <= 1 for row in found)


@pytest.mark.usefixtures("reader")
def test_read_again_by_the_same_stack_every_bit_is_the_same(client: Enteron, frames: list[Path]) -> None:
    analysis, _ = read(client, frames[:5])
    found = client.wait(client.replay(analysis["id"]))["result"]
    assert (found["identical"], found["frames"], found["tolerance"]) == (True, 5, 0)
    assert found["recorded_engines"] == analysis["engines"] == [found["engine"]]


@pytest.mark.usefixtures("reader")
def test_one_bad_frame_fails_alone(client: Enteron, frames: list[Path], tmp_path: Path) -> None:
    whole = frames[0].read_bytes()
    bad = {"broken.jpg": whole[: len(whole) // 2], "empty.jpg": b"", "page.jpg": b"<html>no image</html>"}
    for name, content in bad.items():
        (tmp_path / name).write_bytes(content)
    analysis, read_frames = read(client, [frames[0], *(tmp_path / name for name in bad), frames[1]])
    codes = {frame["name"]: (frame.get("error") or {}).get("code") for frame in read_frames}
    assert codes[frames[0].name] is None
    assert codes[frames[1].name] is None
    assert codes["broken.jpg"] in {"truncated", "corrupt"}
    assert codes["empty.jpg"] == "empty"
    assert codes["page.jpg"] == "unknown_format"
    assert analysis["counts"]["unreadable"] == 3


@pytest.mark.usefixtures("reader")
def test_formats_give_the_same_findings_and_tiff_can_be_shown(
    client: Enteron, frames: list[Path], tmp_path: Path
) -> None:
    pixels = Image.open(frames[2])
    for suffix in ("png", "tiff"):
        pixels.save(tmp_path / f"same.{suffix}")
    analysis, read_frames = read(client, [tmp_path / "same.png", tmp_path / "same.tiff"])
    png, tiff = (
        {finding["label"]: finding["probability"] for finding in frame["findings"]} for frame in read_frames
    )
    assert png == pytest.approx(tiff)
    assert client.image(analysis["id"], 1).startswith(b"\x89PNG")


@pytest.mark.usefixtures("reader")
def test_a_zip_is_read_like_its_frames(client: Enteron, frames: list[Path], tmp_path: Path) -> None:
    archive = packed(
        tmp_path / "frames.zip", frames, notes_txt=b"no image", nested_zip=b"PK\x05\x06" + bytes(18)
    )
    analysis, in_zip = read(client, [archive])
    assert analysis["counts"]["frames"] == len(frames) + 2
    assert {frame["name"]: frame["error"]["code"] for frame in in_zip if frame.get("error")} == {
        "notes.txt": "unknown_format",
        "nested.zip": "unknown_format",
    }
    _, alone = read(client, frames[:4])
    for one, other in zip(alone, in_zip, strict=False):
        assert one["sha256"] == other["sha256"]
        for mine, its in zip(one["findings"], other["findings"], strict=True):
            assert mine["probability"] == pytest.approx(its["probability"], abs=2e-3)
    assert client.image(analysis["id"], 5) == frames[5].read_bytes()


@pytest.mark.usefixtures("reader")
def test_maps_can_be_laid_over_positive_frames(client: Enteron, frames: list[Path]) -> None:
    analysis, read_frames = read(client, frames[:12])
    positive = [
        (frame, finding) for frame in read_frames for finding in frame["findings"] if finding["positive"]
    ]
    assert positive, "a barely trained net still crosses its own thresholds somewhere"
    frame, finding = positive[0]
    x, y = finding["cam"]["peak_xy"]
    assert 0 <= x <= frame["width"]
    assert 0 <= y <= frame["height"]
    overlay = client.overlay(analysis["id"], frame["ordinal"], finding["label"])
    assert overlay.startswith(b"\x89PNG")


@pytest.mark.usefixtures("reader")
def test_a_killed_runner_costs_no_frame(machine: Machine, client: Enteron, tmp_path: Path) -> None:
    paths = []
    for number in range(200):
        paths.append(tmp_path / f"f{number:03}.jpg")
        Image.fromarray(draw_frame(number, domain="test", labels=None, patient=1, size=64).rgb).save(
            paths[-1]
        )
    job = client.analyze([packed(tmp_path / "many.zip", paths)])
    killed = _kill_runners(machine)
    assert killed
    ended = client.wait(job)
    assert client.analysis(ended["result"]["analysis_id"])["counts"]["frames"] == 200
    read_frames = client.frames(ended["result"]["analysis_id"])
    assert [frame["ordinal"] for frame in read_frames] == list(range(200))
    assert all(len(frame["findings"]) == len(LABELS) for frame in read_frames)


def _kill_runners(machine: Machine) -> int:
    killed = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
            ours = _descends(int(process.name), os.getpid())
        except (OSError, ValueError):
            continue
        if b"workers.runner" in command and ours:
            os.kill(int(process.name), signal.SIGKILL)
            killed += 1
    return killed


def _descends(pid: int, ancestor: int) -> bool:
    while pid > 1:
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        if pid == ancestor:
            return True
    return False


def test_predictions_read_a_file_and_a_dataset(
    client: Enteron, reader: dict, dataset: dict, frames: list[Path], tmp_path: Path
) -> None:
    stored = client.upload(packed(tmp_path / "some.zip", frames[:5]))
    by_file = client.wait(client.predict(reader["model"], file_id=stored["id"]))
    assert by_file["result"]["rows"] == 5
    shown = client.predictions(by_file["result"]["prediction_id"])
    assert set(shown.columns) >= LABELS
    by_dataset = client.wait(client.predict(reader["model"], dataset_id=dataset["id"]))
    assert by_dataset["result"] == {
        "prediction_id": by_dataset["result"]["prediction_id"],
        "rows": 96,
        "errors": 0,
    }


def test_a_version_is_measured_on_a_dataset(client: Enteron, reader: dict, dataset: dict) -> None:
    job = client.wait(client.evaluate(reader["model"], reader["version"], dataset["id"]))
    metrics = job["result"]["metrics"]
    assert metrics["frames"] == 96
    assert metrics["trained_on_it"] is True
    assert metrics["leaks"]["verdict"] == "leak"
    found = {problem["code"]: problem for problem in metrics["leaks"]["problems"]}
    assert found["identical_frames"]["count"] == 96


def test_a_dataset_without_labels_is_refused_with_the_reason(
    client: Enteron, frames: list[Path], tmp_path: Path
) -> None:
    stored = client.upload(packed(tmp_path / "bare.zip", frames[:2]))
    with pytest.raises(JobFailed) as refused:
        client.wait(client.add_dataset("bare", [stored["id"]], format="labels-csv"))
    assert "labels.csv" in str(refused.value)
    assert {one["name"]: one["state"] for one in client.datasets()}["bare"] == "refused"


@pytest.mark.usefixtures("reader")
@pytest.mark.needs("data:hostile")
def test_hostile_images_never_end_a_worker(client: Enteron, data_dir, tmp_path: Path) -> None:
    hostile = sorted(path for path in data_dir("hostile").rglob("*") if path.is_file())
    with zipfile.ZipFile(tmp_path / "hostile.zip", "w") as archive:
        for number, path in enumerate(hostile):
            archive.write(path, f"{number:03}")
    before = {worker["id"] for worker in client.workers()}
    analysis, read_frames = read(client, [tmp_path / "hostile.zip"])
    assert analysis["counts"]["frames"] == len(hostile)
    assert all(frame.get("error") or len(frame["findings"]) == len(LABELS) for frame in read_frames)
    assert {worker["id"] for worker in client.workers()} == before


def test_arms_are_compared_over_several_datasets(client: Enteron, dataset: dict) -> None:
    drawn = client.wait(client.synthesize(seed=6, frames=24, size_px=96))
    more = client.wait(client.add_dataset("more", [drawn["result"]["file_id"]], format="synthetic"))
    both = dataset["id"], more["result"]["dataset_id"]
    versions = client.models()
    job = client.wait(client.train("lesion-detector", *both, params=NAMED, compare={"folds": 2, "seeds": 1}))
    comparison = job["result"]["comparison"]
    assert (job["kind"], len(comparison["runs"])) == ("comparison", 6)
    assert sum(fold["frames"] for fold in comparison["folds"]) == 96 + 24
    assert set(comparison["summary"]) == {"triplet", "cross-entropy", "frozen"}
    assert len(client.models()) == len(versions)
    with pytest.raises(Refused) as refused:
        client.train("lesion-detector", both[0], both[0])
    assert refused.value.code == "repeated_dataset"
    with pytest.raises(JobFailed) as failed:
        client.wait(client.train("image-classifier", both[0], compare={"folds": 2}))
    assert failed.value.code == "not_comparable"


@pytest.mark.needs("data:wce")
def test_real_frames_are_split_by_source_and_compared(client: Enteron, data_dir, tmp_path: Path) -> None:
    folder = data_dir("wce")
    kept = _every_so_many(folder / "labels.csv", 12)
    with zipfile.ZipFile(tmp_path / "wce.zip", "w") as archive:
        archive.writestr("labels.csv", "\n".join(kept))
        for line in kept[1:]:
            name = line.split(",")[0]
            archive.write(folder / "images" / name, f"images/{name}")
            boxes = folder / "labels" / f"{Path(name).stem}.txt"
            if boxes.exists():
                archive.write(boxes, f"labels/{boxes.name}")
    stored = client.upload(tmp_path / "wce.zip")
    added = client.wait(
        client.add_dataset("real", [stored["id"]], format="wcebleedgen", options={"block_size": 100})
    )
    trained = client.wait(
        client.train(
            "lesion-detector",
            added["result"]["dataset_id"],
            backbone="resnet10",
            params=PARAMS,
            model_name="bleeding-detector",
        )
    )
    measured = trained["result"]["metrics"]["labels"]["bleeding"]
    assert measured["auc"] is None or 0 <= measured["auc"]["value"] <= 1
    assert trained["result"]["metrics"]["colour_baseline"] is not None


def _every_so_many(table: Path, step: int) -> list[str]:
    lines = table.read_text().splitlines()
    return [lines[0], *lines[1::step]]
