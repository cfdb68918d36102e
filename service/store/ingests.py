"""What a worker needs of a dataset, and how an ingest ends."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from service.store.tables.base import Json
from service.store.tables.datasets import Dataset, DatasetFile
from service.store.tables.files import File
from service.store.tables.registry import ModelVersion

FRAME_INDEX = "index.parquet"


@dataclass(frozen=True)
class StoredObject:
    object_key: str
    sha256: str
    size_bytes: int
    media_type: str = "application/octet-stream"


@dataclass(frozen=True)
class IngestTask:
    """A dataset as it was asked for: its format, options and uploaded files in order."""

    dataset_id: UUID
    kind: str
    format: str
    options: Json
    files: tuple[StoredObject, ...]


@dataclass(frozen=True)
class ReadyDataset:
    """An ingested dataset: the objects that make up its folder, by file name."""

    dataset_id: UUID
    fingerprint: str
    objects: dict[str, StoredObject]


def load_task(session: Session, dataset_id: UUID) -> IngestTask:
    dataset = session.execute(select(Dataset).where(Dataset.id == dataset_id)).scalar_one()
    rows = session.execute(
        select(File.object_key, File.sha256, File.size_bytes, File.media_type)
        .join(DatasetFile, DatasetFile.file_id == File.id)
        .where(DatasetFile.dataset_id == dataset_id)
        .order_by(DatasetFile.ordinal)
    )
    files = tuple(StoredObject(*row) for row in rows)
    return IngestTask(dataset_id, dataset.kind, dataset.format, dataset.options, files)


def load_ready(session: Session, dataset_id: UUID) -> ReadyDataset:
    """The dataset of a training or prediction; it was ready when the job was submitted, and stays so."""
    dataset = session.execute(select(Dataset).where(Dataset.id == dataset_id)).scalar_one()
    if dataset.fingerprint is None or dataset.objects is None:
        raise ValueError("the dataset is not ready")
    objects = {name: StoredObject(**stored) for name, stored in dataset.objects.items()}
    return ReadyDataset(dataset_id, dataset.fingerprint, objects)


def load_training_index(session: Session, model_version_id: UUID) -> StoredObject | None:
    """The frame index of the dataset that a version was made from, where there is one."""
    objects: Json | None = session.execute(
        select(Dataset.objects)
        .join(ModelVersion, ModelVersion.dataset_id == Dataset.id)
        .where(ModelVersion.id == model_version_id)
    ).scalar_one_or_none()
    stored = (objects or {}).get(FRAME_INDEX)
    return StoredObject(**stored) if stored else None


def accept(
    session: Session, dataset_id: UUID, *, fingerprint: str, objects: dict[str, StoredObject], report: Json
) -> None:
    """The end of an ingest: from here on the dataset does not change."""
    session.execute(
        update(Dataset)
        .where(Dataset.id == dataset_id, Dataset.fingerprint.is_(None))
        .values(
            fingerprint=fingerprint,
            objects={name: vars(item) for name, item in objects.items()},
            report=report,
        )
        .returning(Dataset.id)
    ).scalar_one()
