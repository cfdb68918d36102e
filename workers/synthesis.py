"""Synthesis: frames drawn by code, stored as a file that can be ingested like any upload."""

from sqlalchemy.orm import Session

from service.domain.ids import new_id
from service.store import files
from service.store.files import NewFile
from workers.claimed import Claimed, Outcome


def synthesize(job: Claimed) -> Outcome:
    path = job.scratch / "frames.zip"
    answer, _ = job.runner.call("synthesize", {**job.spec, "path": str(path)})
    key, sha256, size_bytes = job.put_object(path)
    file = NewFile(new_id(), key, sha256, size_bytes, "application/zip")

    def write(session: Session) -> None:
        files.insert_files(session, [file], tenant_id=job.tenant_id, principal_id=job.principal_id)

    return Outcome({"file_id": str(file.id), "sha256": sha256, "frames": answer["frames"]}, write)
