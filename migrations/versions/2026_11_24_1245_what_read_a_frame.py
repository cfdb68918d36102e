"""what read a frame: engine, and the call it was read in

The previous code runs beside this revision while it rolls out: expand, backfill, enforce, contract are
separate revisions, each in its own commit before the code that needs it. Import no application code here.

Revision ID: 0004_frame_reading
Revises: 0003_promotion_gate
Create Date: 2026-11-24 12:45:00
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0004_frame_reading"
down_revision: str | None = "0003_promotion_gate"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    op.add_column(
        "analysis_frame", sa.Column("read_by", postgresql.JSONB(astext_type=sa.Text()), nullable=True)
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.drop_column("analysis_frame", "read_by")
