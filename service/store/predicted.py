"""Predictions of any registered model: what a worker reads, and the rows it writes."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import func, insert, select
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


def count_rows(session: Session, prediction_id: UUID) -> tuple[int, int]:
    """Rows in all, and rows that say why an item was not read."""
    query = select(func.count(), func.count().filter(PredictionRow.outputs.has_key("error"))).where(
        PredictionRow.prediction_id == prediction_id
    )
    rows, errors = session.execute(query).one()
    return rows, errors
