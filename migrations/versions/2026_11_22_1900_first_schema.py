"""first schema

The previous code runs beside this revision while it rolls out: expand, backfill, enforce, contract are
separate revisions, each in its own commit before the code that needs it. Import no application code here.

Revision ID: 0001_first_schema
Revises: nothing
Create Date: 2026-11-22 19:25:48.935814
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0001_first_schema"
down_revision: str | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    op.create_table(
        "tenant",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tenant")),
        sa.UniqueConstraint("name", name=op.f("uq_tenant_name")),
    )
    op.create_table(
        "worker",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("queues", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("batch_size", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("versions", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("catalogue", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("beat_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_worker")),
    )
    op.create_table(
        "audit_event",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column(
            "at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("principal_id", sa.UUID(), nullable=True),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("outcome", sa.SmallInteger(), nullable=False),
        sa.Column("operation", sa.Text(), nullable=False),
        sa.Column("object_type", sa.Text(), nullable=False),
        sa.Column("object_id", sa.UUID(), nullable=True),
        sa.Column("source_ip", postgresql.INET(), nullable=True),
        sa.Column("purpose", sa.Text(), nullable=True),
        sa.Column("patient_pseudonym", sa.Text(), nullable=True),
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_audit_event_tenant_id_tenant")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_event")),
    )
    op.create_index(op.f("ix_audit_event_tenant_id_id"), "audit_event", ["tenant_id", "id"], unique=False)
    op.create_table(
        "job_event",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("job_id", sa.UUID(), nullable=False),
        sa.Column(
            "at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column(
            "numbers", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False
        ),
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_job_event_tenant_id_tenant")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job_event")),
    )
    op.create_index(op.f("ix_job_event_job_id_id"), "job_event", ["job_id", "id"], unique=False)
    op.create_table(
        "model",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_model_tenant_id_tenant")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model")),
        sa.UniqueConstraint("tenant_id", "id", name=op.f("uq_model_tenant_id_id")),
        sa.UniqueConstraint("tenant_id", "name", name=op.f("uq_model_tenant_id_name")),
    )
    op.create_table(
        "principal",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_principal_tenant_id_tenant")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_principal")),
    )
    op.create_table(
        "api_key",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("principal_id", sa.UUID(), nullable=False),
        sa.Column("prefix", sa.Text(), nullable=False),
        sa.Column("secret_hmac", sa.LargeBinary(), nullable=False),
        sa.Column("roles", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.ForeignKeyConstraint(
            ["principal_id"], ["principal.id"], name=op.f("fk_api_key_principal_id_principal")
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_api_key_tenant_id_tenant")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_key")),
        sa.UniqueConstraint("prefix", name=op.f("uq_api_key_prefix")),
    )
    op.create_table(
        "file",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("principal_id", sa.UUID(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("object_key", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.ForeignKeyConstraint(
            ["principal_id"], ["principal.id"], name=op.f("fk_file_principal_id_principal")
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_file_tenant_id_tenant")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_file")),
        sa.UniqueConstraint("object_key", name=op.f("uq_file_object_key")),
        sa.UniqueConstraint("tenant_id", "id", name=op.f("uq_file_tenant_id_id")),
    )
    op.create_table(
        "idempotency",
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.Column("principal_id", sa.UUID(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("request_sha256", sa.Text(), nullable=False),
        sa.Column("status", sa.SmallInteger(), nullable=True),
        sa.Column("location", sa.Text(), nullable=True),
        sa.Column("body", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["principal_id"], ["principal.id"], name=op.f("fk_idempotency_principal_id_principal")
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_idempotency_tenant_id_tenant")),
        sa.PrimaryKeyConstraint("tenant_id", "principal_id", "key", name=op.f("pk_idempotency")),
    )
    op.create_table(
        "job",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("principal_id", sa.UUID(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default="queued", nullable=False),
        sa.Column("spec", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("spec_sha256", sa.Text(), nullable=False),
        sa.Column("batch_key", sa.Text(), nullable=False),
        sa.Column("priority", sa.Integer(), server_default="0", nullable=False),
        sa.Column("run_after", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("deadline_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("fence", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("claim_token", sa.UUID(), nullable=True),
        sa.Column("batch_size", sa.Integer(), nullable=True),
        sa.Column("alone", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("worker_id", sa.UUID(), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "progress",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'"),
            nullable=False,
        ),
        sa.Column("progress_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("max_failures", sa.Integer(), server_default="3", nullable=False),
        sa.Column("preemptions", sa.Integer(), server_default="0", nullable=False),
        sa.Column("checkpoint", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("dispatched_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cancel_requested_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("error_detail", sa.Text(), nullable=True),
        sa.Column("parent_id", sa.UUID(), nullable=True),
        sa.Column("retry_of", sa.UUID(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.CheckConstraint(
            "(state = 'running') = (claim_token IS NOT NULL)", name=op.f("ck_job_running_has_claim")
        ),
        sa.CheckConstraint(
            "(state = 'running') = (lease_until IS NOT NULL)", name=op.f("ck_job_running_has_lease")
        ),
        sa.CheckConstraint(
            "(state IN ('failed','dead')) = (error_code IS NOT NULL)", name=op.f("ck_job_failure_has_code")
        ),
        sa.CheckConstraint(
            "(state IN ('succeeded','failed','cancelled','dead')) = (finished_at IS NOT NULL)",
            name=op.f("ck_job_final_has_finish"),
        ),
        sa.CheckConstraint(
            "state IN ('waiting','queued','running','succeeded','failed','cancelled','dead')",
            name=op.f("ck_job_state"),
        ),
        sa.ForeignKeyConstraint(["parent_id"], ["job.id"], name=op.f("fk_job_parent_id_job")),
        sa.ForeignKeyConstraint(
            ["principal_id"], ["principal.id"], name=op.f("fk_job_principal_id_principal")
        ),
        sa.ForeignKeyConstraint(["retry_of"], ["job.id"], name=op.f("fk_job_retry_of_job")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_job_tenant_id_tenant")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job")),
        sa.UniqueConstraint("tenant_id", "id", name=op.f("uq_job_tenant_id_id")),
        postgresql_with={"fillfactor": "70"},
    )
    op.create_index(
        "ix_job_claim",
        "job",
        ["batch_key", sa.literal_column("priority DESC"), "dispatched_at"],
        unique=False,
        postgresql_where=sa.text("state = 'queued'"),
    )
    op.create_index(
        "ix_job_due",
        "job",
        ["tenant_id", "queue", sa.literal_column("priority DESC"), "id"],
        unique=False,
        postgresql_where=sa.text("state = 'queued'"),
    )
    op.create_index(
        "ix_job_lease", "job", ["lease_until"], unique=False, postgresql_where=sa.text("state = 'running'")
    )
    op.create_index("ix_job_list", "job", ["tenant_id", sa.literal_column("id DESC")], unique=False)
    op.create_index(
        "ix_job_parent_id",
        "job",
        ["parent_id"],
        unique=False,
        postgresql_where=sa.text("parent_id IS NOT NULL"),
    )
    op.create_index(
        "uq_job_retry_of",
        "job",
        ["retry_of"],
        unique=True,
        postgresql_where=sa.text("retry_of IS NOT NULL"),
    )
    op.create_index(
        "ix_job_sent",
        "job",
        ["queue", "tenant_id"],
        unique=False,
        postgresql_where=sa.text("state = 'queued' AND dispatched_at IS NOT NULL"),
    )
    op.create_index(
        "ix_job_waiting", "job", ["id"], unique=False, postgresql_where=sa.text("state = 'waiting'")
    )
    op.create_table(
        "dataset",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("principal_id", sa.UUID(), nullable=False),
        sa.Column("job_id", sa.UUID(), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column("options", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=True),
        sa.Column("objects", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("report", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.CheckConstraint(
            "(fingerprint IS NULL) = (objects IS NULL)", name=op.f("ck_dataset_fingerprint_has_objects")
        ),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_dataset_job_id_job")),
        sa.ForeignKeyConstraint(
            ["principal_id"], ["principal.id"], name=op.f("fk_dataset_principal_id_principal")
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_dataset_tenant_id_tenant")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dataset")),
        sa.UniqueConstraint("tenant_id", "id", name=op.f("uq_dataset_tenant_id_id")),
        sa.UniqueConstraint("tenant_id", "name", "version", name=op.f("uq_dataset_tenant_id_name_version")),
    )
    op.create_table(
        "job_block",
        sa.Column("job_id", sa.UUID(), nullable=False),
        sa.Column("block", sa.Integer(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("items", sa.Integer(), nullable=False),
        sa.Column("object_key", sa.Text(), nullable=True),
        sa.Column("sha256", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "job_id"],
            ["job.tenant_id", "job.id"],
            name=op.f("fk_job_block_tenant_id_job_id_job"),
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_job_block_tenant_id_tenant")),
        sa.PrimaryKeyConstraint("job_id", "block", name=op.f("pk_job_block")),
    )
    op.create_table(
        "job_metric",
        sa.Column("job_id", sa.UUID(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "job_id"],
            ["job.tenant_id", "job.id"],
            name=op.f("fk_job_metric_tenant_id_job_id_job"),
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_job_metric_tenant_id_tenant")),
        sa.PrimaryKeyConstraint("job_id", "name", "step", name=op.f("pk_job_metric")),
    )
    op.create_table(
        "job_result",
        sa.Column("job_id", sa.UUID(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("body", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "job_id"],
            ["job.tenant_id", "job.id"],
            name=op.f("fk_job_result_tenant_id_job_id_job"),
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_job_result_tenant_id_tenant")),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_job_result")),
    )
    op.create_table(
        "dataset_file",
        sa.Column("dataset_id", sa.UUID(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("file_id", sa.UUID(), nullable=False),
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "dataset_id"],
            ["dataset.tenant_id", "dataset.id"],
            name=op.f("fk_dataset_file_tenant_id_dataset_id_dataset"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "file_id"],
            ["file.tenant_id", "file.id"],
            name=op.f("fk_dataset_file_tenant_id_file_id_file"),
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_dataset_file_tenant_id_tenant")),
        sa.PrimaryKeyConstraint("dataset_id", "ordinal", name=op.f("pk_dataset_file")),
    )
    op.create_table(
        "model_version",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("model_id", sa.UUID(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("spec", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("metrics", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("weights_key", sa.Text(), nullable=False),
        sa.Column("weights_sha256", sa.Text(), nullable=False),
        sa.Column("weights_bytes", sa.BigInteger(), nullable=False),
        sa.Column("dataset_id", sa.UUID(), nullable=True),
        sa.Column("dataset_fingerprint", sa.Text(), nullable=True),
        sa.Column("job_id", sa.UUID(), nullable=True),
        sa.Column("code_version", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.ForeignKeyConstraint(
            ["dataset_id"], ["dataset.id"], name=op.f("fk_model_version_dataset_id_dataset")
        ),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_model_version_job_id_job")),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name=op.f("fk_model_version_model_id_model")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_model_version_tenant_id_tenant")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model_version")),
        sa.UniqueConstraint("job_id", name=op.f("uq_model_version_job_id")),
        sa.UniqueConstraint("model_id", "version", name=op.f("uq_model_version_model_id_version")),
    )
    op.create_table(
        "analysis",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("principal_id", sa.UUID(), nullable=False),
        sa.Column("job_id", sa.UUID(), nullable=False),
        sa.Column("model_version_id", sa.UUID(), nullable=False),
        sa.Column("operating_point", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_analysis_job_id_job")),
        sa.ForeignKeyConstraint(
            ["model_version_id"],
            ["model_version.id"],
            name=op.f("fk_analysis_model_version_id_model_version"),
        ),
        sa.ForeignKeyConstraint(
            ["principal_id"], ["principal.id"], name=op.f("fk_analysis_principal_id_principal")
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_analysis_tenant_id_tenant")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_analysis")),
        sa.UniqueConstraint("job_id", name=op.f("uq_analysis_job_id")),
        sa.UniqueConstraint("tenant_id", "id", name=op.f("uq_analysis_tenant_id_id")),
    )
    op.create_table(
        "model_alias",
        sa.Column("model_id", sa.UUID(), nullable=False),
        sa.Column("alias", sa.Text(), nullable=False),
        sa.Column("model_version_id", sa.UUID(), nullable=False),
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name=op.f("fk_model_alias_model_id_model")),
        sa.ForeignKeyConstraint(
            ["model_version_id"],
            ["model_version.id"],
            name=op.f("fk_model_alias_model_version_id_model_version"),
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_model_alias_tenant_id_tenant")),
        sa.PrimaryKeyConstraint("model_id", "alias", name=op.f("pk_model_alias")),
    )
    op.create_table(
        "prediction",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("principal_id", sa.UUID(), nullable=False),
        sa.Column("job_id", sa.UUID(), nullable=False),
        sa.Column("model_version_id", sa.UUID(), nullable=False),
        sa.Column("file_id", sa.UUID(), nullable=True),
        sa.Column("dataset_id", sa.UUID(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.CheckConstraint("(file_id IS NULL) <> (dataset_id IS NULL)", name=op.f("ck_prediction_one_input")),
        sa.ForeignKeyConstraint(
            ["dataset_id"], ["dataset.id"], name=op.f("fk_prediction_dataset_id_dataset")
        ),
        sa.ForeignKeyConstraint(["file_id"], ["file.id"], name=op.f("fk_prediction_file_id_file")),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_prediction_job_id_job")),
        sa.ForeignKeyConstraint(
            ["model_version_id"],
            ["model_version.id"],
            name=op.f("fk_prediction_model_version_id_model_version"),
        ),
        sa.ForeignKeyConstraint(
            ["principal_id"], ["principal.id"], name=op.f("fk_prediction_principal_id_principal")
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_prediction_tenant_id_tenant")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_prediction")),
        sa.UniqueConstraint("job_id", name=op.f("uq_prediction_job_id")),
        sa.UniqueConstraint("tenant_id", "id", name=op.f("uq_prediction_tenant_id_id")),
    )
    op.create_table(
        "promotion",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("model_id", sa.UUID(), nullable=False),
        sa.Column("alias", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("from_version_id", sa.UUID(), nullable=True),
        sa.Column("to_version_id", sa.UUID(), nullable=False),
        sa.Column("principal_id", sa.UUID(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column(
            "at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.CheckConstraint("action IN ('promote','rollback')", name=op.f("ck_promotion_action")),
        sa.ForeignKeyConstraint(
            ["from_version_id"], ["model_version.id"], name=op.f("fk_promotion_from_version_id_model_version")
        ),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name=op.f("fk_promotion_model_id_model")),
        sa.ForeignKeyConstraint(
            ["principal_id"], ["principal.id"], name=op.f("fk_promotion_principal_id_principal")
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_promotion_tenant_id_tenant")),
        sa.ForeignKeyConstraint(
            ["to_version_id"], ["model_version.id"], name=op.f("fk_promotion_to_version_id_model_version")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_promotion")),
    )
    op.create_table(
        "analysis_frame",
        sa.Column("analysis_id", sa.UUID(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=True),
        sa.Column("width_px", sa.Integer(), nullable=True),
        sa.Column("height_px", sa.Integer(), nullable=True),
        sa.Column("object_key", sa.Text(), nullable=True),
        sa.Column("object_offset", sa.BigInteger(), nullable=True),
        sa.Column("object_length", sa.BigInteger(), nullable=True),
        sa.Column("quality", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.CheckConstraint(
            "(error_code IS NULL) = (num_nulls(width_px, height_px) = 0)",
            name=op.f("ck_analysis_frame_read_has_size"),
        ),
        sa.CheckConstraint(
            "num_nulls(object_key, object_offset, object_length) IN (0, 3)",
            name=op.f("ck_analysis_frame_whole_place"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "analysis_id"],
            ["analysis.tenant_id", "analysis.id"],
            name=op.f("fk_analysis_frame_tenant_id_analysis_id_analysis"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenant.id"], name=op.f("fk_analysis_frame_tenant_id_tenant")
        ),
        sa.PrimaryKeyConstraint("analysis_id", "ordinal", name=op.f("pk_analysis_frame")),
        sa.UniqueConstraint(
            "tenant_id",
            "analysis_id",
            "ordinal",
            name=op.f("uq_analysis_frame_tenant_id_analysis_id_ordinal"),
        ),
    )
    op.create_table(
        "analysis_input",
        sa.Column("analysis_id", sa.UUID(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("file_id", sa.UUID(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "analysis_id"],
            ["analysis.tenant_id", "analysis.id"],
            name=op.f("fk_analysis_input_tenant_id_analysis_id_analysis"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "file_id"],
            ["file.tenant_id", "file.id"],
            name=op.f("fk_analysis_input_tenant_id_file_id_file"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenant.id"], name=op.f("fk_analysis_input_tenant_id_tenant")
        ),
        sa.PrimaryKeyConstraint("analysis_id", "ordinal", name=op.f("pk_analysis_input")),
    )
    op.create_table(
        "prediction_row",
        sa.Column("prediction_id", sa.UUID(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("item", sa.Text(), nullable=False),
        sa.Column("outputs", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "prediction_id"],
            ["prediction.tenant_id", "prediction.id"],
            name=op.f("fk_prediction_row_tenant_id_prediction_id_prediction"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenant.id"], name=op.f("fk_prediction_row_tenant_id_tenant")
        ),
        sa.PrimaryKeyConstraint("prediction_id", "ordinal", name=op.f("pk_prediction_row")),
    )
    op.create_table(
        "finding",
        sa.Column("analysis_id", sa.UUID(), nullable=False),
        sa.Column("frame_ordinal", sa.Integer(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("score", sa.REAL(), nullable=False),
        sa.Column("probability", sa.REAL(), nullable=False),
        sa.Column("positive", sa.Boolean(), nullable=False),
        sa.Column("threshold", sa.REAL(), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("cam", sa.LargeBinary(), nullable=False),
        sa.Column("cam_side", sa.Integer(), nullable=False),
        sa.Column("peak_xy", postgresql.ARRAY(sa.Integer()), nullable=True),
        sa.Column("box_xywh", postgresql.ARRAY(sa.Integer()), nullable=True),
        sa.Column("model_version_id", sa.UUID(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.CheckConstraint("evidence IN ('real','synthetic','none')", name=op.f("ck_finding_evidence")),
        sa.CheckConstraint("probability BETWEEN 0 AND 1", name=op.f("ck_finding_probability")),
        sa.ForeignKeyConstraint(
            ["model_version_id"], ["model_version.id"], name=op.f("fk_finding_model_version_id_model_version")
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "analysis_id", "frame_ordinal"],
            ["analysis_frame.tenant_id", "analysis_frame.analysis_id", "analysis_frame.ordinal"],
            name=op.f("fk_finding_tenant_id_analysis_id_frame_ordinal_analysis_frame"),
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_finding_tenant_id_tenant")),
        sa.PrimaryKeyConstraint("analysis_id", "frame_ordinal", "label", name=op.f("pk_finding")),
    )
    op.create_index(
        op.f("ix_finding_tenant_id_label_positive"),
        "finding",
        ["tenant_id", "label", "positive"],
        unique=False,
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.drop_index(op.f("ix_finding_tenant_id_label_positive"), table_name="finding")
    op.drop_table("finding")
    op.drop_table("prediction_row")
    op.drop_table("analysis_input")
    op.drop_table("analysis_frame")
    op.drop_table("promotion")
    op.drop_table("prediction")
    op.drop_table("model_alias")
    op.drop_table("analysis")
    op.drop_table("model_version")
    op.drop_table("dataset_file")
    op.drop_table("job_result")
    op.drop_table("job_metric")
    op.drop_table("job_block")
    op.drop_table("dataset")
    op.drop_index("ix_job_waiting", table_name="job", postgresql_where=sa.text("state = 'waiting'"))
    op.drop_index(
        "ix_job_sent",
        table_name="job",
        postgresql_where=sa.text("state = 'queued' AND dispatched_at IS NOT NULL"),
    )
    op.drop_index("uq_job_retry_of", table_name="job", postgresql_where=sa.text("retry_of IS NOT NULL"))
    op.drop_index("ix_job_parent_id", table_name="job", postgresql_where=sa.text("parent_id IS NOT NULL"))
    op.drop_index("ix_job_list", table_name="job")
    op.drop_index("ix_job_lease", table_name="job", postgresql_where=sa.text("state = 'running'"))
    op.drop_index("ix_job_due", table_name="job", postgresql_where=sa.text("state = 'queued'"))
    op.drop_index("ix_job_claim", table_name="job", postgresql_where=sa.text("state = 'queued'"))
    op.drop_table("job")
    op.drop_table("idempotency")
    op.drop_table("file")
    op.drop_table("api_key")
    op.drop_table("principal")
    op.drop_table("model")
    op.drop_index(op.f("ix_job_event_job_id_id"), table_name="job_event")
    op.drop_table("job_event")
    op.drop_index(op.f("ix_audit_event_tenant_id_id"), table_name="audit_event")
    op.drop_table("audit_event")
    op.drop_table("worker")
    op.drop_table("tenant")
