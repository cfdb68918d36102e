"""Predictions: any registered model on a file or on an ingested dataset; the answers are rows.

Each block of frames is committed for good; a restart goes on at the first one that is missing.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from service.domain.errors import ModelRefused
from service.domain.imaging import FrameReading
from service.domain.registry import FRAME_TASKS
from service.store import findings, predicted
from service.store.findings import Part, ReadingTask
from service.store.predicted import Predicted
from workers import local_dataset, weights
from workers.claimed import Claimed, Outcome
from workers.frames import FrameSource, first_missing
from workers.reading import read
from workers.weights import LocalModel


def predict(job: Claimed) -> Outcome:
    model = _model(job)
    if model.spec["task"] not in FRAME_TASKS:
        raise ModelRefused("This model does not read frames.", code="input_not_fitting")
    blocks = _of_dataset(job, model) if "dataset_id" in job.spec else _of_file(job, model)
    prediction_id = _prediction_id(job)
    with job.session() as session:
        rows, errors = predicted.count_rows(session, prediction_id)
    return Outcome({"prediction_id": str(prediction_id), "rows": rows, "errors": errors}, blocks=blocks)


def _prediction_id(job: Claimed) -> UUID:
    return UUID(job.spec["prediction_id"])


def _model(job: Claimed) -> LocalModel:
    with job.session() as session:
        version = findings.load_weights(session, UUID(job.spec["model_version_id"]))
    return weights.load(version, job)


def _of_file(job: Claimed, model: LocalModel) -> int:
    """How many blocks there are, once all of them are committed."""
    with job.session() as session:
        stored = predicted.load_file(session, UUID(job.spec["file_id"]))
    part = Part("", stored.object_key, stored.media_type, stored.sha256, stored.size_bytes)
    # The default operating point only decides what is called positive; rows hold probabilities.
    point = model.spec["default_operating_point"]
    task = ReadingTask(_prediction_id(job), point, model.weights, (part,))
    source = FrameSource(job, task, size_px=model.size_px, shown=False)
    for number, frames in source.blocks(job.spec["block_frames"], done=job.accepted_blocks()):
        rows = [_row(reading) for reading in read(job.runner, model, frames)]
        _commit(job, number, rows, total=source.total)
    return source.block_count


def _row(reading: FrameReading) -> Predicted:
    outputs: dict[str, Any] = {item.label: item.probability for item in reading.findings}
    return Predicted(reading.ordinal, reading.name, outputs or {"error": reading.error_code})


def _of_dataset(job: Claimed, model: LocalModel) -> int:
    """As `_of_file`; the runner reads the dataset itself and tells of each block."""
    folder = local_dataset.fetch(job, UUID(job.spec["dataset_id"]))
    block_frames = int(job.spec["block_frames"])

    def accept(event: Mapping[str, Any]) -> None:
        start = event["start"]
        rows = [
            Predicted(ordinal, row["item"], row["outputs"])
            for ordinal, row in enumerate(event["rows"], start=start)
        ]
        _commit(job, start // block_frames, rows, total=event["total"])

    header = {
        "model": model.header(),
        "folder": str(folder),
        "block_frames": block_frames,
        "first_block": first_missing(job.accepted_blocks()),
    }
    answer, _ = job.runner.call("predict_dataset", header, on_event=accept)
    return -(-int(answer["items"]) // block_frames)


def _commit(job: Claimed, number: int, rows: Sequence[Predicted], *, total: int) -> None:
    def write(session: Session) -> None:
        predicted.insert_rows(session, rows, tenant_id=job.tenant_id, prediction_id=_prediction_id(job))

    job.commit_block(number, len(rows), write=write)
    job.progress(rows[-1].ordinal + 1, total, "frames", "reading")
