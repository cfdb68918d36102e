"""Analyses read in the test's own process, with a real sandbox and runner, and what became of each bit."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from PIL import Image
from sqlalchemy import text

from models.schema import encode
from models.synthetic.frames import draw_frames
from service.domain import media
from service.domain.ids import new_id
from service.domain.jobs import Kind
from service.store import versions
from service.store.files import NewFile
from service.store.versions import NewVersion
from service.usecases import analyses, registry, replays
from service.usecases.analyses import Part
from tests.prediction_site import Site
from tests.readers import make_reader
from workers.analysis import analyse
from workers.bodies import BODIES
from workers.runner_client import Graces, RunnerClient

MODEL = "lesion-detector"


class Analyses:
    """On top of a prediction site: it has the registered reader, the slot and a zip of frames."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.bench, self.slot = site.bench, site.slot
        self.promote(1)
        self._warm()

    def _warm(self) -> None:
        """Nothing beats here: the first import of the models must not eat a lease."""
        runner = RunnerClient(
            self.slot.runners, fresh=False, stall_s=300, graces=Graces(), interrupted_by=lambda: None
        )
        runner.call("catalogue", {"trains": False})
        runner.close()

    def promote(self, version: int) -> None:
        with self.bench.api() as session:
            registry.promote(session, self.bench.person, MODEL, "champion", version=version, reason="test")

    def promote_if_needed(self, version: int) -> None:
        if self.champion() != version:
            self.promote(version)

    def another_version(self, *, key: str | None = None, width: float = 0.125, **changes: Any) -> int:
        """Registered, not promoted; `key` names its weights, `changes` replace whole fields of the spec."""
        spec, weights, sha256 = make_reader(self.site.folder, params={"width": width}, size_px=160)
        key = key or f"weights-{new_id()}"
        self.slot.objects.put_file(key, weights)
        new = NewVersion(spec.name, encode(spec) | changes, {}, key, sha256, weights.stat().st_size)
        with self.bench.api() as session:
            return versions.register(session, tenant_id=self.bench.person.tenant_id, new=new).version

    def pictures(self, count: int) -> list[Part]:
        """Frames as single PNG files in the store."""
        return [self._stored(_png(frame.rgb)) for frame in draw_frames(count, seed=2, domain="test", size=96)]

    def archive(self) -> list[Part]:
        return [self._stored(self.site.archive.read_bytes(), media.ARCHIVE)]

    def _stored(self, data: bytes, media_type: str = "image/png") -> Part:
        key = f"given-{new_id()}"
        stored = self.slot.objects.put_bytes(key, data)
        return Part(NewFile(new_id(), key, stored.sha256, stored.size_bytes, media_type), "frame")

    def submit(self, parts: Sequence[Part], *, model: str | None = None) -> tuple[UUID, UUID]:
        """Analysis and job."""
        with self.bench.api() as session:
            made = analyses.submit(
                session,
                self.bench.person,
                parts=parts,
                model=model,
                operating_point=None,
                max_queued=None,
            )
        return made.analysis_id, made.job.id

    def read(self, *job_ids: UUID) -> None:
        """The first is rung; those of its batch key are read in the same claim."""
        self.bench.age(100)
        self.bench.dispatch()
        for job_id in job_ids:
            self.slot.engine_of(batch=analyse).handle(job_id)

    def replay(self, analysis_id: UUID) -> dict[str, Any]:
        with self.bench.api() as session:
            job = replays.submit(session, self.bench.person, analysis_id, max_queued=100)
        self.slot.run(job.id, BODIES[Kind.REPLAY], kind=Kind.REPLAY)
        view = self.bench.view(job.id)
        assert view.state == "succeeded", view.error
        return dict(view.result or {})

    def rows(self, query: str, **values: Any) -> list[Any]:
        with self.bench.api() as session:
            return list(session.execute(text(query), values))

    def versions_of(self, analysis_id: UUID) -> set[int]:
        """Of all its findings."""
        query = (
            "SELECT DISTINCT v.version FROM finding f JOIN model_version v ON v.id = f.model_version_id"
            " WHERE f.analysis_id = :id"
        )
        return {row.version for row in self.rows(query, id=analysis_id)}

    def champion(self) -> int:
        query = (
            "SELECT v.version FROM model_alias a JOIN model_version v ON v.id = a.model_version_id"
            " WHERE a.alias = 'champion'"
        )
        ((version,),) = self.rows(query)
        return int(version)

    def path(self, key: str) -> Path:
        """The file of an object, for those who change it behind the store's back."""
        return self.site.folder / "objects" / key


def flip(path: Path, *, at: int = -1) -> None:
    """One bit of a file."""
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.chmod(0o600)
    path.write_bytes(bytes(data))


def _png(rgb: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "PNG")
    return buffer.getvalue()
