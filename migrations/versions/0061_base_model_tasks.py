"""Tasks of operators for workers that may fetch base models.

Revises: 0060
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0061"
down_revision = "0060"
branch_labels = None
depends_on = None

JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")


def upgrade() -> None:
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "base_model_tasks",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("asked", JSON, nullable=False),
        sa.Column("progress", sa.Text()),
        sa.Column("error", sa.Text()),
        sa.Column("result", JSON),
        sa.Column("worker", sa.Text()),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("lease_until", moment),
        sa.Column("notified_at", moment),
        sa.Column("created_by", sa.Text()),
        sa.Column("creator", sa.Text()),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("started_at", moment),
        sa.Column("ended_at", moment),
    )


def downgrade() -> None:
    op.drop_table("base_model_tasks")
