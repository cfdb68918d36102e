"""Bytes in the object store; immutable. File names are not kept here: they identify patients often enough."""

from uuid import UUID

from sqlalchemy import ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from service.store.tables.base import Base, CreatedAt, Id, TenantOwned


class File(TenantOwned, Base):
    __tablename__ = "file"
    __table_args__ = (UniqueConstraint("tenant_id", "id"),)

    id: Mapped[Id]
    principal_id: Mapped[UUID] = mapped_column(ForeignKey("principal.id"))
    sha256: Mapped[str]
    size_bytes: Mapped[int]
    media_type: Mapped[str]
    object_key: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[CreatedAt]
