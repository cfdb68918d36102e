"""Tenants, principals, keys, idempotency and the audit trail."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Identity, Index, LargeBinary, SmallInteger, Text, func
from sqlalchemy.dialects.postgresql import ARRAY, INET
from sqlalchemy.orm import Mapped, mapped_column

from service.store.tables.base import Base, CreatedAt, Id, Json, TenantOwned


class Tenant(Base):
    __tablename__ = "tenant"

    id: Mapped[Id]
    name: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[CreatedAt]


class PrincipalRow(TenantOwned, Base):
    __tablename__ = "principal"

    id: Mapped[Id]
    name: Mapped[str]
    created_at: Mapped[CreatedAt]


class ApiKey(TenantOwned, Base):
    """Only a keyed hash is stored: a database dump holds no usable key."""

    __tablename__ = "api_key"

    id: Mapped[Id]
    principal_id: Mapped[UUID] = mapped_column(ForeignKey("principal.id"))
    prefix: Mapped[str] = mapped_column(unique=True)
    secret_hmac: Mapped[bytes] = mapped_column(LargeBinary)
    roles: Mapped[list[str]] = mapped_column(ARRAY(Text))
    expires_at: Mapped[datetime]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    created_at: Mapped[CreatedAt]


class Idempotency(TenantOwned, Base):
    """One answered creating request; the primary key makes fifty simultaneous posts one."""

    __tablename__ = "idempotency"

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenant.id"), primary_key=True)
    principal_id: Mapped[UUID] = mapped_column(ForeignKey("principal.id"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    request_sha256: Mapped[str]
    status: Mapped[int | None] = mapped_column(SmallInteger)
    location: Mapped[str | None]
    body: Mapped[Json | None]
    created_at: Mapped[CreatedAt]


class AuditEvent(TenantOwned, Base):
    """Insert-only. Fields after FHIR AuditEvent and DICOM PS3.15 A.5; outcome 0, 4, 8 or 12."""

    __tablename__ = "audit_event"
    __table_args__ = (Index(None, "tenant_id", "id"),)

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    principal_id: Mapped[UUID | None]
    action: Mapped[str]  # C create, R read, U update, D delete
    outcome: Mapped[int] = mapped_column(SmallInteger)
    operation: Mapped[str]  # what was asked for, e.g. `analyses.create` or `job.succeeded`
    object_type: Mapped[str]
    object_id: Mapped[UUID | None]
    source_ip: Mapped[str | None] = mapped_column(INET)
    purpose: Mapped[str | None]
    patient_pseudonym: Mapped[str | None]
