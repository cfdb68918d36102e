"""Replays: an analysis is read again from its stored bytes, and every bit of it compared."""

from collections.abc import Sequence
from uuid import UUID

from service.domain.imaging import FrameReading
from service.domain.replay import Replay
from service.store import findings as store
from workers import weights
from workers.claimed import Claimed, Outcome
from workers.frames import FrameSource
from workers.reading import Frame, read_again
from workers.weights import LocalModel


def replay(job: Claimed) -> Outcome:
    """Nothing is kept between blocks: a replay that is drained begins anew."""
    analysis_id = UUID(job.spec["analysis_id"])
    with job.session() as session:
        task = store.load_task(session, analysis_id)
        total = store.count_readings(session, analysis_id)["frames"]
    model = weights.load(task.weights, job)
    source = FrameSource(job, task, size_px=model.size_px, shown=False, as_found=True)
    found, block_frames = Replay(), int(job.spec["block_frames"])
    for _, frames in source.blocks(block_frames):
        with job.session() as session:
            stored = store.load_readings(session, analysis_id, first=frames[0].ordinal, limit=len(frames))
        found.add(stored, _again(job, model, frames, stored))
        job.progress(frames[-1].ordinal + 1, max(total, source.total), "frames", "reading")
    with job.session() as session:  # those of an archive that has lost its end
        found.add(store.load_readings(session, analysis_id, first=found.frames, limit=total), {})
    return Outcome({"analysis_id": str(analysis_id), **found.result()})


def _again(
    job: Claimed, model: LocalModel, frames: Sequence[Frame], stored: Sequence[FrameReading]
) -> dict[int, FrameReading]:
    """By ordinal; a frame of other bytes than were read before is left out, not read."""
    before = {reading.ordinal: reading for reading in stored}
    sound = [
        frame for frame in frames if frame.ordinal in before and frame.sha256 == before[frame.ordinal].sha256
    ]
    recorded = {ordinal: reading.read_by for ordinal, reading in before.items()}
    return {reading.ordinal: reading for reading in read_again(job.runner, model, sound, recorded)}
