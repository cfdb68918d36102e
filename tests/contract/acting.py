"""Plays the worker's part for tests of the API: claims a job and writes what a worker would write."""

import struct
from uuid import UUID

from sqlalchemy import text

from service.domain.ids import DEFAULT_TENANT_ID, new_id
from service.domain.imaging import FrameReading, LabelReading, ReadBy, StoredBytes
from service.store import claims, findings
from service.store.claims import Claim, Claimant
from service.store.session import unit_of_work

SIDE = 7
ENGINE = {
    "engine": "torch",
    "dtype": "float32",
    "device": "cpu",
    "processor": "AVX2",
    "threads": 2,
    "build": "2.13.0",
}


def claim(api, job_id: UUID, *, tenant_id: UUID = DEFAULT_TENANT_ID) -> Claim:
    """The job as running under a claim of ours."""
    engine = api.database.engine("worker")
    with unit_of_work(api.database.engine("dispatcher"), tenant_id=None) as session:
        session.execute(text("UPDATE job SET dispatched_at = now() WHERE id = :id"), {"id": job_id})
    claimant = Claimant(new_id(), ("interactive", "batch", "train", "ehr"), lease_s=600)
    with unit_of_work(engine, tenant_id=None) as session:
        found = claims.claim(session, claimant, job_id, token=new_id(), limit=1)
    assert [claimed.id for claimed in found] == [job_id]
    return found[0]


def working(api, held: Claim):
    return unit_of_work(
        api.database.engine("worker"), tenant_id=held.tenant_id, principal_id=held.principal_id
    )


def succeed(api, held: Claim, result: dict) -> None:
    with working(api, held) as session:
        claims.insert_result(session, held, result)
        assert claims.succeed(session, held)


def fail(api, held: Claim, *, code: str) -> None:
    with working(api, held) as session:
        assert claims.fail(session, held, code=code, detail="It did not work.")


def hot_cell_cam(row: int, column: int) -> bytes:
    """A map in logit units that is high in one cell and low elsewhere."""
    cells = [-4.0] * (SIDE * SIDE)
    cells[row * SIDE + column] = 245.0  # the mean, and so the logit, is 1.1
    return struct.pack(f"<{SIDE * SIDE}e", *cells)


def label_reading(label: str, *, positive: bool) -> LabelReading:
    return LabelReading(
        label=label,
        code=label[0].upper(),
        score=1.08 if positive else -3.0,
        probability=0.9 if positive else 0.05,
        positive=positive,
        threshold=0.5,
        evidence="synthetic",
        cam=hot_cell_cam(2, 5),
        cam_side=SIDE,
        peak_xy=(120, 80) if positive else None,
        box_xywh=(90, 60, 70, 60) if positive else None,
    )


def read_frames(api, job: dict, picture: bytes, *, tenant_id: UUID = DEFAULT_TENANT_ID) -> UUID:
    """Ends an analysis of a good frame and a bad one; returns its id."""
    held = claim(api, UUID(job["id"]), tenant_id=tenant_id)
    analysis_id = UUID(held.spec["analysis_id"])
    with working(api, held) as session:
        task = findings.load_task(session, analysis_id)
        part = task.parts[0]
        good = FrameReading(
            ordinal=0,
            name=part.name,
            sha256=part.sha256,
            size_bytes=part.size_bytes,
            media_type=part.media_type,
            stored=StoredBytes(part.object_key, 0, part.size_bytes),
            width_px=336,
            height_px=252,
            quality={"sharpness": 0.5},
            read_by=ReadBy(ENGINE, 1, 0),
            findings=(label_reading("bleeding", positive=False), label_reading("polyp", positive=True)),
        )
        bad = FrameReading(
            ordinal=1,
            name="b.gif",
            sha256="0" * 64,
            size_bytes=3,
            media_type=None,
            stored=None,
            error_code="unknown_format",
        )
        findings.insert_readings(session, [good, bad], tenant_id=tenant_id, task=task, fence=held.fence)
    succeed(
        api,
        held,
        {"analysis_id": str(analysis_id), **{"frames": 2, "unreadable": 1, "positives": {"polyp": 1}}},
    )
    return analysis_id
