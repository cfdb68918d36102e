"""Predictions as the API writes and shows them; `store/predicted.py` holds the worker's side."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from service.store.tables.analyses import Prediction, PredictionRow
from service.store.tables.registry import Model, ModelVersion


@dataclass(frozen=True)
class NewPrediction:
    id: UUID
    job_id: UUID
    model_version_id: UUID
    file_id: UUID | None
    dataset_id: UUID | None


@dataclass(frozen=True)
class PredictionView:
    id: UUID
    job_id: UUID
    created_at: datetime
    model_name: str
    model_version: int
    model_version_id: UUID
    weights_sha256: str
    file_id: UUID | None
    dataset_id: UUID | None


def insert_prediction(session: Session, new: NewPrediction, *, tenant_id: UUID, principal_id: UUID) -> None:
    owner = {"tenant_id": tenant_id, "principal_id": principal_id}
    session.execute(insert(Prediction).values(**owner, **vars(new)))


def give_to_job(session: Session, *, old_job_id: UUID, new_job_id: UUID) -> None:
    """The prediction is from now on the work of another job."""
    session.execute(
        update(Prediction)
        .where(Prediction.job_id == old_job_id)
        .values(job_id=new_job_id)
        .returning(Prediction.id)
    ).scalar_one()


def get(session: Session, prediction_id: UUID, *, principal_id: UUID) -> PredictionView | None:
    row = session.execute(
        select(
            Prediction.id,
            Prediction.job_id,
            Prediction.created_at,
            Model.name,
            ModelVersion.version,
            ModelVersion.id,
            ModelVersion.weights_sha256,
            Prediction.file_id,
            Prediction.dataset_id,
        )
        .join(ModelVersion, ModelVersion.id == Prediction.model_version_id)
        .join(Model, Model.id == ModelVersion.model_id)
        .where(Prediction.id == prediction_id, Prediction.principal_id == principal_id)
    ).one_or_none()
    return None if row is None else PredictionView(*row)


def rows(session: Session, prediction_id: UUID, *, limit: int, after: int | None) -> list[PredictionRow]:
    query = (
        select(PredictionRow)
        .where(
            PredictionRow.prediction_id == prediction_id,
            PredictionRow.ordinal > (-1 if after is None else after),
        )
        .order_by(PredictionRow.ordinal)
        .limit(limit)
    )
    return list(session.execute(query).scalars())
