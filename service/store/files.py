"""Rows of stored bytes. A file is its uploader's own: what a clinician sends, an engineer does not see."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast
from uuid import UUID

from sqlalchemy import Table, insert, select
from sqlalchemy.orm import Session

from service.store.tables.files import File

# Core inserts: fewer steps than the ORM's on the hot path.
_FILE = cast(Table, File.__table__)


@dataclass(frozen=True)
class NewFile:
    """Bytes that lie in the object store already."""

    id: UUID
    object_key: str
    sha256: str
    size_bytes: int
    media_type: str


@dataclass(frozen=True)
class FileRow:
    id: UUID
    object_key: str
    sha256: str
    size_bytes: int
    media_type: str
    created_at: datetime


_COLUMNS = (File.id, File.object_key, File.sha256, File.size_bytes, File.media_type, File.created_at)


def insert_files(session: Session, files: Sequence[NewFile], *, tenant_id: UUID, principal_id: UUID) -> None:
    owner = {"tenant_id": tenant_id, "principal_id": principal_id}
    session.execute(insert(_FILE), [owner | vars(file) for file in files])


def find(session: Session, file_ids: Sequence[UUID], *, principal_id: UUID) -> dict[UUID, FileRow]:
    """Those of the given files that belong to the principal."""
    rows = session.execute(select(*_COLUMNS).where(File.id.in_(file_ids), File.principal_id == principal_id))
    return {row.id: FileRow(*row) for row in rows}
