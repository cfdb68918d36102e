"""Jobs, their history, what they produced, and the workers that run them. Rules: `service/domain/jobs.py`."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from service.domain.jobs import MAX_FAILURES
from service.store.tables.base import Base, CreatedAt, Id, Json, TenantOwned

STATES = "'waiting','queued','running','succeeded','failed','cancelled','dead'"
FINAL_STATES = "'succeeded','failed','cancelled','dead'"


class Job(TenantOwned, Base):
    __tablename__ = "job"
    __table_args__ = (
        UniqueConstraint("tenant_id", "id"),
        CheckConstraint(f"state IN ({STATES})", name="state"),
        CheckConstraint("(state = 'running') = (lease_until IS NOT NULL)", name="running_has_lease"),
        CheckConstraint("(state = 'running') = (claim_token IS NOT NULL)", name="running_has_claim"),
        CheckConstraint(f"(state IN ({FINAL_STATES})) = (finished_at IS NOT NULL)", name="final_has_finish"),
        CheckConstraint("(state IN ('failed','dead')) = (error_code IS NOT NULL)", name="failure_has_code"),
        Index(
            "ix_job_claim",
            "batch_key",
            text("priority DESC"),
            "dispatched_at",
            postgresql_where=text("state = 'queued'"),
        ),
        Index(
            "ix_job_due",
            "tenant_id",
            "queue",
            text("priority DESC"),
            "id",
            postgresql_where=text("state = 'queued'"),
        ),
        Index(
            "ix_job_sent",
            "queue",
            "tenant_id",
            postgresql_where=text("state = 'queued' AND dispatched_at IS NOT NULL"),
        ),
        Index("ix_job_waiting", "id", postgresql_where=text("state = 'waiting'")),
        Index("ix_job_lease", "lease_until", postgresql_where=text("state = 'running'")),
        Index("ix_job_list", "tenant_id", text("id DESC")),
        Index("ix_job_parent_id", "parent_id", postgresql_where=text("parent_id IS NOT NULL")),
        # One retry per job, so that two of them never do the same work at once.
        Index("uq_job_retry_of", "retry_of", unique=True, postgresql_where=text("retry_of IS NOT NULL")),
        {"postgresql_with": {"fillfactor": "70"}},
    )

    id: Mapped[Id]
    principal_id: Mapped[UUID] = mapped_column(ForeignKey("principal.id"))
    kind: Mapped[str]
    queue: Mapped[str]
    state: Mapped[str] = mapped_column(server_default="queued")
    spec: Mapped[Json]  # ids, digests and numbers only: no PHI
    spec_sha256: Mapped[str]
    batch_key: Mapped[str]  # jobs with equal keys may share one claim
    priority: Mapped[int] = mapped_column(Integer, server_default="0")
    run_after: Mapped[datetime] = mapped_column(server_default=func.now())
    deadline_at: Mapped[datetime | None]

    fence: Mapped[int] = mapped_column(server_default="0")  # +1 per claim, never down
    claim_token: Mapped[UUID | None]
    batch_size: Mapped[int | None] = mapped_column(Integer)
    alone: Mapped[bool] = mapped_column(server_default=text("false"))
    worker_id: Mapped[UUID | None]
    lease_until: Mapped[datetime | None]

    progress: Mapped[Json] = mapped_column(server_default=text("'{}'"))
    progress_at: Mapped[datetime | None]
    failures: Mapped[int] = mapped_column(Integer, server_default="0")
    max_failures: Mapped[int] = mapped_column(Integer, server_default=str(MAX_FAILURES))
    preemptions: Mapped[int] = mapped_column(Integer, server_default="0")
    checkpoint: Mapped[Json | None]  # {object_key, sha256, step, fence}, newest first under "kept"

    dispatched_at: Mapped[datetime | None]
    cancel_requested_at: Mapped[datetime | None]
    error_code: Mapped[str | None]
    error_detail: Mapped[str | None]  # a public sentence of ours: no names, paths or values

    parent_id: Mapped[UUID | None] = mapped_column(ForeignKey("job.id"))
    retry_of: Mapped[UUID | None] = mapped_column(ForeignKey("job.id"))
    created_at: Mapped[CreatedAt]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class JobEvent(TenantOwned, Base):
    """History: state changes (written by trigger) and messages with closed codes and numbers."""

    __tablename__ = "job_event"
    __table_args__ = (Index(None, "job_id", "id"),)

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    job_id: Mapped[UUID]
    at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    code: Mapped[str]  # `state.running`, or a message code
    fence: Mapped[int]
    numbers: Mapped[Json] = mapped_column(server_default=text("'{}'"))


class JobResult(TenantOwned, Base):
    """At most one per job, inserted with the worker's own fence in the transaction that finishes the job."""

    __tablename__ = "job_result"
    __table_args__ = (ForeignKeyConstraint(["tenant_id", "job_id"], ["job.tenant_id", "job.id"]),)

    job_id: Mapped[Id]
    fence: Mapped[int]
    body: Mapped[Json]
    created_at: Mapped[CreatedAt]


class JobBlock(TenantOwned, Base):
    """A committed piece of a long job; a restart goes on at the first missing one."""

    __tablename__ = "job_block"
    __table_args__ = (ForeignKeyConstraint(["tenant_id", "job_id"], ["job.tenant_id", "job.id"]),)

    job_id: Mapped[Id]
    block: Mapped[int] = mapped_column(Integer, primary_key=True)
    fence: Mapped[int]
    items: Mapped[int] = mapped_column(Integer)
    object_key: Mapped[str | None]
    sha256: Mapped[str | None]
    created_at: Mapped[CreatedAt]


class JobMetric(TenantOwned, Base):
    """A point of a stored series, e.g. `train/loss` at step 120."""

    __tablename__ = "job_metric"
    __table_args__ = (ForeignKeyConstraint(["tenant_id", "job_id"], ["job.tenant_id", "job.id"]),)

    job_id: Mapped[Id]
    name: Mapped[str] = mapped_column(primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True)
    value: Mapped[float] = mapped_column(Double)
    fence: Mapped[int]


class Worker(Base):
    """One supervisor process, as its beats tell; belongs to no tenant and names none."""

    __tablename__ = "worker"

    id: Mapped[Id]
    queues: Mapped[list[str]] = mapped_column(ARRAY(Text))
    batch_size: Mapped[int] = mapped_column(Integer)
    state: Mapped[str]  # starting, idle, busy, draining, stopped
    versions: Mapped[Json]
    catalogue: Mapped[Json]  # backbones, recipes and job kinds this worker can run
    started_at: Mapped[CreatedAt]
    beat_at: Mapped[datetime] = mapped_column(server_default=func.now())
