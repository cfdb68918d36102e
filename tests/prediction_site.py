"""A worker slot with a real sandbox and runner, a registered reader, and frames to predict."""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import insert, text

from models.imaging.archive import ZipMembers
from models.imaging.ingest import ingest_frames
from models.schema import encode
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
from workers.bodies import BODIES
from workers.sandbox_client import Sandbox

FRAMES = 31
BLOCK_FRAMES = 3
BLOCKS = 11


class Site:
    """Submits predictions of the frames, as a file or as a dataset, and runs them."""

    def __init__(self, bench: Bench, slot: Slot, folder: Path, spec: dict[str, Any]) -> None:
        self.bench = bench
        self.slot = slot
        self.folder = folder
        self.archive = folder / "frames.zip"
        write_dataset_zip(self.archive, draw_frames(FRAMES, seed=1, domain="train", size=64))
        self.version = self._register(spec)

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

    def evaluate(self) -> UUID:
        spec = {"model_version_id": str(self.version.model_version_id), "dataset_id": str(self._dataset())}
        with self.bench.api() as session:
            return jobs.submit(session, self.bench.person, Kind.EVALUATION, spec).id

    def _register(self, changes: dict[str, Any]) -> versions.Registered:
        spec, weights, sha256 = make_reader(self.folder, size_px=160)
        self.slot.objects.put_file("weights", weights)
        size = weights.stat().st_size
        new = NewVersion(spec.name, encode(spec) | changes, {}, "weights", sha256, size)
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
        kind = Kind(self.bench.row(job_id).kind)
        self.slot.run(job_id, BODIES[kind], kind=kind)

    def blocks(self, job_id: UUID) -> list[tuple[int, int]]:
        """Number and fence."""
        with self.bench.api() as session:
            query = text("SELECT block, fence FROM job_block WHERE job_id = :id ORDER BY block")
            return [tuple(row) for row in session.execute(query, {"id": job_id})]

    def ordinals(self) -> list[int]:
        with self.bench.api() as session:
            return list(session.scalars(text("SELECT ordinal FROM prediction_row ORDER BY ordinal")))


@contextmanager
def prediction_site(database: Database, folder: Path, **spec: Any) -> Iterator[Site]:
    """Some fields of the reader's spec may be others than `readers` gives."""
    bench = Bench(database)
    with Sandbox(network="best-effort") as sandbox:
        slot = Slot(bench, database.engine("worker"), folder, sandbox=lambda: sandbox)
        try:
            yield Site(bench, slot, folder, spec)
        finally:
            slot.runners.close()
