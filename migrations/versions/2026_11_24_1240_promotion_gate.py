"""what a promotion was compared with, and whether it was forced

The previous code runs beside this revision while it rolls out: expand, backfill, enforce, contract are
separate revisions, each in its own commit before the code that needs it. Import no application code here.

Revision ID: 0003_promotion_gate
Revises: 0002_row_security
Create Date: 2026-11-24 12:40:00
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0003_promotion_gate"
down_revision: str | None = "0002_row_security"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    # The default serves the code before, which does not know the column, and rows from before the gate.
    op.add_column(
        "promotion", sa.Column("forced", sa.Boolean(), server_default=sa.text("false"), nullable=False)
    )
    op.add_column(
        "promotion", sa.Column("comparison", postgresql.JSONB(astext_type=sa.Text()), nullable=True)
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.drop_column("promotion", "comparison")
    op.drop_column("promotion", "forced")
