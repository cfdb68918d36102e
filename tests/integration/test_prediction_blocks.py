"""A prediction that is drained, or whose runner is killed, goes on at its first missing block."""

import json
import os
import signal
import zipfile
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import psutil
import pytest
from sqlalchemy import insert, text

from models.imaging.archive import ZipMembers
from models.imaging.ingest import ingest_frames
from models.synthetic.dataset import write_dataset_zip
from models.synthetic.frames import draw_frames
from service.domain.ids import new_id
from service.domain.jobs import Kind
from service.store import files, predictions, versions
from service.store.files import NewFile
from service.store.predictions import NewPrediction
from service.store.session import unit_of_work
from service.store.tables.datasets import Dataset
from service.store.versions import NewVersion
from service.usecases import jobs
from tests.databases import Database
from tests.job_bench import Bench
from tests.readers import make_reader
from tests.slots import Slot
from workers.prediction import predict
from workers.runner_client import RunnerDied
from workers.sandbox_client import Sandbox

pytestmark = [pytest.mark.integration, pytest.mark.slow]

FRAMES = 31
BLOCK_FRAMES = 3
BLOCKS = 11


class Site:
    """One slot with a real sandbox and runner, one registered reader, and frames as a file and a dataset."""

    def __init__(self, bench: Bench, slot: Slot, folder: Path) -> None:
        self.bench = bench
        self.slot = slot
        self.folder = folder
        self.archive = folder / "frames.zip"
        write_dataset_zip(self.archive, draw_frames(FRAMES, seed=1, domain="train", size=64))
        self.version = self._register()

    def submit(self, source: str) -> UUID:
        prediction_id = new_id()
        given = self._file() if source == "file_id" else self._dataset()
        spec = {
            "prediction_id": str(prediction_id),
            "model_version_id": str(self.version.model_version_id),
            "block_frames": BLOCK_FRAMES,
            source: str(given),
        }
        owner = {"tenant_id": self.bench.person.tenant_id, "principal_id": self.bench.person.id}
        named = {"file_id": None, "dataset_id": None, source: given}
        with self.bench.api() as session:
            job = jobs.submit(session, self.bench.person, Kind.PREDICTION, spec)
            new = NewPrediction(prediction_id, job.id, self.version.model_version_id, **named)
            predictions.insert_prediction(session, new, **owner)
        return job.id

    def _register(self) -> versions.Registered:
        spec, weights, sha256 = make_reader(self.folder, size_px=160)
        self.slot.objects.put_file("weights", weights)
        size = weights.stat().st_size
        new = NewVersion(spec.name, json.loads(spec.to_json()), {}, "weights", sha256, size)
        with self.bench.api() as session:
            return versions.register(session, tenant_id=self.bench.person.tenant_id, new=new)

    def _file(self) -> UUID:
        """The frames alone: a reader of files takes every member for one."""
        packed = self.folder / "images.zip"
        with zipfile.ZipFile(self.archive) as given, zipfile.ZipFile(packed, "w") as taken:
            for name in given.namelist():
                if name.startswith("images/"):
                    taken.writestr(name, given.read(name))
        stored = self.slot.objects.put_file("frames", packed)
        file = NewFile(new_id(), "frames", stored.sha256, stored.size_bytes, "application/zip")
        owner = {"tenant_id": self.bench.person.tenant_id, "principal_id": self.bench.person.id}
        with self.bench.api() as session:
            files.insert_files(session, [file], **owner)
        return file.id

    def _dataset(self) -> UUID:
        folder = self.folder / "dataset"
        folder.mkdir()
        with self.archive.open("rb") as archive:
            report = ingest_frames(ZipMembers(archive), "labels-csv", {}, out_dir=folder)
        objects = {}
        for path in folder.iterdir():
            stored = self.slot.objects.put_file(path.name, path)
            objects[path.name] = {
                "object_key": path.name,
                "sha256": stored.sha256,
                "size_bytes": stored.size_bytes,
            }
        tenant_id = self.bench.person.tenant_id
        values = {
            "id": new_id(),
            "tenant_id": tenant_id,
            "principal_id": self.bench.person.id,
            "name": "frames",
            "version": 1,
            "kind": "frames",
            "format": "labels-csv",
            "options": {},
            "fingerprint": report.fingerprint,
            "objects": objects,
        }
        with unit_of_work(self.bench.database.engine("owner"), tenant_id=tenant_id) as session:
            session.execute(insert(Dataset).values(**values))
        return values["id"]

    def run(self, job_id: UUID) -> None:
        self.slot.run(job_id, predict, kind=Kind.PREDICTION)

    def blocks(self, job_id: UUID) -> list[tuple[int, int]]:
        """Number and fence."""
        with self.bench.api() as session:
            query = text("SELECT block, fence FROM job_block WHERE job_id = :id ORDER BY block")
            return [tuple(row) for row in session.execute(query, {"id": job_id})]

    def ordinals(self) -> list[int]:
        with self.bench.api() as session:
            return list(session.scalars(text("SELECT ordinal FROM prediction_row ORDER BY ordinal")))


@pytest.fixture
def site(committed_db: Database, tmp_path: Path) -> Iterator[Site]:
    bench = Bench(committed_db)
    with Sandbox(network="best-effort") as sandbox:
        slot = Slot(bench, committed_db.engine("worker"), tmp_path, sandbox=lambda: sandbox)
        yield Site(bench, slot, tmp_path)
        slot.runners.close()


def drain(site: Site) -> None:
    site.slot.draining = True


def lose_runner(_site: Site) -> None:
    """As if it had died; a real kill could come when all its answers lie in the pipe already."""
    raise RunnerDied(-9)


def kill_runner(_site: Site) -> None:
    for child in psutil.Process().children(recursive=True):
        if "workers.runner" in child.cmdline():
            os.kill(child.pid, signal.SIGKILL)


@pytest.mark.parametrize(
    ("source", "fault", "failures"),
    [
        ("file_id", drain, 0),
        ("file_id", kill_runner, 1),
        ("dataset_id", drain, 0),
        ("dataset_id", lose_runner, 1),
    ],
)
def test_after_a_fault_each_frame_is_predicted_once_and_no_block_twice(
    site: Site, source: str, fault, failures: int
) -> None:
    job_id = site.submit(source)
    site.slot.after_block(1, lambda: fault(site))
    site.run(job_id)
    row = site.bench.row(job_id)
    assert (row.state, row.failures) == ("queued", failures)
    before = site.blocks(job_id)
    assert [block for block, _ in before][:2] == [0, 1]
    assert len(before) < BLOCKS

    site.slot.draining = False
    site.run(job_id)
    assert site.bench.view(job_id).state == "succeeded"
    assert site.blocks(job_id) == [(n, 1 if n < len(before) else 2) for n in range(BLOCKS)]
    assert site.ordinals() == list(range(FRAMES))
    result = site.bench.view(job_id).result
    assert (result["rows"], result["errors"]) == (FRAMES, 0)


def test_a_cancel_between_blocks_ends_the_prediction_and_its_rows_stay_partial(site: Site) -> None:
    job_id = site.submit("file_id")

    def cancel() -> None:
        with site.bench.api() as session:
            jobs.cancel(session, site.bench.person, job_id)
        site.slot.heart.beat()

    site.slot.after_block(0, cancel)
    site.run(job_id)
    assert site.bench.view(job_id).state == "cancelled"
    assert site.ordinals() == list(range(BLOCK_FRAMES))


def test_a_prediction_whose_blocks_are_all_there_only_finishes(site: Site) -> None:
    job_id = site.submit("file_id")
    site.slot.after_block(BLOCKS - 1, lambda: drain(site))
    site.run(job_id)
    assert site.bench.row(job_id).state == "queued"
    assert len(site.blocks(job_id)) == BLOCKS

    site.slot.draining = False
    site.run(job_id)
    assert site.bench.view(job_id).result["rows"] == FRAMES
    assert {fence for _, fence in site.blocks(job_id)} == {1}


def test_a_prediction_stores_no_pictures(site: Site) -> None:
    job_id = site.submit("file_id")
    before = sorted(site.slot.objects.list())
    site.run(job_id)
    assert site.bench.view(job_id).state == "succeeded"
    assert sorted(site.slot.objects.list()) == before
