"""files of versions: card, report, ONNX and MONAI bundle

Expand only: a new table, and the housekeeper learns that it names objects.

Revision ID: 0005_version_files
Revises: 0004_frame_reading
Create Date: 2026-11-24 13:00:00
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0005_version_files"
down_revision: str | None = "0004_frame_reading"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

SYSTEM_TENANT = "00000000-0000-7000-8000-000000000000"
FORMERLY = "    UNION ALL SELECT object_key FROM job_block WHERE job_id IN (SELECT id FROM maker)"
ADDED = "    UNION ALL SELECT object_key FROM version_file WHERE job_id IN (SELECT id FROM maker)\n"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    op.create_table(
        "version_file",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("model_version_id", sa.UUID(), nullable=False),
        sa.Column("form", sa.Text(), nullable=False),
        sa.Column("evaluation_id", sa.UUID(), nullable=True),
        sa.Column("job_id", sa.UUID(), nullable=False),
        sa.Column("object_key", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.ForeignKeyConstraint(
            ["evaluation_id"], ["job.id"], name=op.f("fk_version_file_evaluation_id_job")
        ),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_version_file_job_id_job")),
        sa.ForeignKeyConstraint(
            ["model_version_id"],
            ["model_version.id"],
            name=op.f("fk_version_file_model_version_id_model_version"),
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_version_file_tenant_id_tenant")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_version_file")),
        sa.UniqueConstraint("job_id", "form", name=op.f("uq_version_file_job_id_form")),
    )
    op.create_index("ix_version_file_model_version_id_form", "version_file", ["model_version_id", "form"])
    _secure()
    _tell_the_housekeeper(FORMERLY, ADDED + FORMERLY)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    _tell_the_housekeeper(ADDED + FORMERLY, FORMERLY)
    op.drop_table("version_file")


def _secure() -> None:
    op.execute("ALTER TABLE version_file ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE version_file FORCE ROW LEVEL SECURITY")
    op.execute("CREATE POLICY owner ON version_file TO enteron_owner USING (true) WITH CHECK (true)")
    op.execute("GRANT SELECT ON version_file TO enteron_api")
    op.execute("GRANT SELECT, INSERT ON version_file TO enteron_worker")
    op.execute(
        "CREATE POLICY tenant ON version_file TO enteron_api, enteron_worker"
        " USING (tenant_id = current_setting('app.tenant')::uuid)"
        " WITH CHECK (tenant_id = current_setting('app.tenant')::uuid)"
    )
    # As the versions themselves: what the system tenant shares is read by all.
    op.execute(
        "CREATE POLICY shared ON version_file FOR SELECT TO enteron_api, enteron_worker"
        f" USING (tenant_id = '{SYSTEM_TENANT}'::uuid)"
    )
    op.execute(
        "CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON version_file"
        " FOR EACH ROW EXECUTE FUNCTION append_only()"
    )


def _tell_the_housekeeper(old: str, new: str) -> None:
    """Replace a line of `orphaned_objects` as it stands, so that another revision's line stays too."""
    found = sa.text("SELECT pg_get_functiondef('orphaned_objects(text[])'::regprocedure)")
    definition = op.get_bind().execute(found).scalar_one()
    if definition.count(old) != 1:
        raise RuntimeError("orphaned_objects is not as this revision knows it")
    op.get_bind().exec_driver_sql(definition.replace(old, new).replace("%", "%%"))
