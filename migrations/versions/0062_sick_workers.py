"""Workers that may not claim since their GPU is sick, what they measure, and where a step's GPU failed last.

Revises: 0061
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0062"
down_revision = "0061"
branch_labels = None
depends_on = None

JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")


def upgrade() -> None:
    op.add_column("workers", sa.Column("sick", sa.Text(), nullable=True))
    op.add_column("workers", sa.Column("sick_since", sa.DateTime(timezone=True), nullable=True))
    op.add_column("workers", sa.Column("measured", JSON, nullable=True))
    op.add_column("steps", sa.Column("failed_on", sa.Text(), nullable=True))
    op.add_column("steps", sa.Column("failed_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column(
        "steps", sa.Column("fails_anywhere", sa.Boolean(), nullable=False, server_default=sa.false())
    )


def downgrade() -> None:
    for name in ("fails_anywhere", "failed_at", "failed_on"):
        op.drop_column("steps", name)
    for name in ("measured", "sick_since", "sick"):
        op.drop_column("workers", name)
