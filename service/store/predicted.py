"""Predictions of any registered model: what a worker reads, and the rows it writes."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from service.store.tables.analyses import PredictionRow
from service.store.tables.base import Json
from service.store.tables.files import File


@dataclass(frozen=True)
class Predicted:
    """One item's answer: `{label: probability}` or `{"error": code}`."""

    ordinal: int
    item: str
    outputs: Json


def load_file(session: Session, file_id: UUID) -> File:
    return session.execute(select(File).where(File.id == file_id)).scalar_one()


def insert_rows(session: Session, rows: Sequence[Predicted], *, tenant_id: UUID, prediction_id: UUID) -> None:
    owner = {"tenant_id": tenant_id, "prediction_id": prediction_id}
    if rows:
        session.execute(insert(PredictionRow), [owner | vars(row) for row in rows])
