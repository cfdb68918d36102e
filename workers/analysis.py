"""Analyses: a few frames somebody waits for are read with other people's; many are read in blocks."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy.orm import Session

from service.domain.errors import ServiceError, Unavailable
from service.domain.imaging import FrameReading
from service.domain.jobs import is_interactive
from service.store import findings as store
from service.store.findings import ReadingTask
from workers import weights
from workers.claimed import Claimed, Outcome, Settlement, Write
from workers.frames import FrameSource
from workers.reading import Frame, read, summary
from workers.weights import LocalModel


def analyse(jobs: Sequence[Claimed]) -> list[Settlement]:
    """Jobs of one model version: small ones together, a large one by itself and in blocks."""
    work = [(job, _load(job)) for job in jobs]
    first_job, first_task = work[0]
    if any(task.weights.model_version_id != first_task.weights.model_version_id for _, task in work):
        raise ValueError("jobs of several model versions in one batch")  # each is then read alone
    model = weights.load(first_task.weights, first_job)
    if len(work) == 1 and not is_interactive([part.media_type for part in first_task.parts]):
        return [_read_in_blocks(first_job, first_task, model)]
    return _read_together(work, model)


def _load(job: Claimed) -> ReadingTask:
    with job.session() as session:
        return store.load_task(session, UUID(job.spec["analysis_id"]))


def _read_together(work: Sequence[tuple[Claimed, ReadingTask]], model: LocalModel) -> list[Settlement]:
    """One forward pass for all jobs; what is wrong with one job's frames stays with that job."""
    own = [_own_frames(job, task, model) for job, task in work]
    frames = [frame for found in own if isinstance(found, list) for frame in found]
    readings = iter(read(work[0][0].runner, model, frames))
    return [
        _outcome(job, task, model, [next(readings) for _ in found]) if isinstance(found, list) else found
        for (job, task), found in zip(work, own, strict=True)
    ]


def _own_frames(job: Claimed, task: ReadingTask, model: LocalModel) -> list[Frame] | ServiceError:
    try:
        return FrameSource(job, task, size_px=model.size_px).all_images()
    except Unavailable:
        raise  # everybody's problem
    except ServiceError as problem:
        return problem


def _outcome(job: Claimed, task: ReadingTask, model: LocalModel, readings: list[FrameReading]) -> Outcome:
    result = {"analysis_id": str(task.analysis_id), **summary(readings, model)}
    return Outcome(result, write=_writer(job, task, readings))


def _read_in_blocks(job: Claimed, task: ReadingTask, model: LocalModel) -> Outcome:
    """Each block is committed for good; a restart goes on at the first one that is missing."""
    source = FrameSource(job, task, size_px=model.size_px)
    for number, frames in source.blocks(int(job.spec["block_frames"]), done=job.accepted_blocks()):
        readings = read(job.runner, model, frames)
        job.commit_block(number, len(frames), write=_writer(job, task, readings))
        job.progress(frames[-1].ordinal + 1, source.total, "frames", "reading")
    with job.session() as session:
        counts = store.count_readings(session, task.analysis_id)
    counts["positives"] = dict.fromkeys(model.label_names, 0) | counts["positives"]
    return Outcome({"analysis_id": str(task.analysis_id), **counts}, blocks=source.block_count)


def _writer(job: Claimed, task: ReadingTask, readings: Sequence[FrameReading]) -> Write:
    def write(session: Session) -> None:
        store.insert_readings(session, readings, tenant_id=job.tenant_id, task=task, fence=job.fence)

    return write
