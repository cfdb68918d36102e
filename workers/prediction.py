"""Predictions: any registered model on a file or on an ingested dataset; the answers are rows."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from service.domain.errors import ModelRefused
from service.domain.registry import IMAGE_TASK
from service.store import findings, predicted
from service.store.findings import Part, ReadingTask
from service.store.predicted import Predicted
from workers import local_dataset, weights
from workers.claimed import Claimed, Outcome
from workers.frames import FrameSource
from workers.reading import read
from workers.weights import LocalModel

BLOCK_FRAMES = 64


def predict(job: Claimed) -> Outcome:
    model = _model(job)
    if model.spec["task"] != IMAGE_TASK:
        raise ModelRefused("This model does not read frames.", code="input_not_fitting")
    rows = _of_dataset(job, model) if "dataset_id" in job.spec else _of_file(job, model)

    def write(session: Session) -> None:
        predicted.insert_rows(
            session, rows, tenant_id=job.tenant_id, prediction_id=UUID(job.spec["prediction_id"])
        )

    errors = sum("error" in row.outputs for row in rows)
    result = {"prediction_id": job.spec["prediction_id"], "rows": len(rows), "errors": errors}
    return Outcome(result, write)


def _model(job: Claimed) -> LocalModel:
    with job.session() as session:
        version = findings.load_weights(session, UUID(job.spec["model_version_id"]))
    return weights.fetch(version, job)


def _of_file(job: Claimed, model: LocalModel) -> list[Predicted]:
    with job.session() as session:
        stored = predicted.load_file(session, UUID(job.spec["file_id"]))
    part = Part("", stored.object_key, stored.media_type, stored.sha256, stored.size_bytes)
    # The default operating point only decides what is called positive; rows hold probabilities.
    point = model.spec["default_operating_point"]
    task = ReadingTask(UUID(job.spec["prediction_id"]), point, model.weights, (part,))
    source = FrameSource(job, task, size_px=model.size_px)
    rows: list[Predicted] = []
    for frames in source.blocks(BLOCK_FRAMES):
        for reading in read(job.runner, model, frames):
            outputs: dict[str, Any] = {item.label: item.probability for item in reading.findings}
            rows.append(Predicted(reading.ordinal, reading.name, outputs or {"error": reading.error_code}))
        job.progress(len(rows), source.total, "frames", "reading")
    return rows


def _of_dataset(job: Claimed, model: LocalModel) -> list[Predicted]:
    _, folder = local_dataset.fetch(job, UUID(job.spec["dataset_id"]))
    rows: list[Predicted] = []

    def collect(event: Mapping[str, Any]) -> None:
        start = event["start"]
        rows.extend(
            Predicted(start + place, row["item"], row["outputs"]) for place, row in enumerate(event["rows"])
        )
        job.progress(len(rows), event["total"], "frames", "reading")

    job.runner.call("predict_dataset", {"model": model.header(), "folder": str(folder)}, on_event=collect)
    return rows
