"""When a project was last served, where a training can go on, and how often something happened.

Only additions with an empty default: workers of the revision before keep running through it.

Revises: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    json = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
    op.add_column("projects", sa.Column("served_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("steps", sa.Column("checkpoint", json, nullable=True))
    op.create_table(
        "counters",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_counters"),
    )


def downgrade() -> None:
    op.drop_table("counters")
    op.drop_column("steps", "checkpoint")
    op.drop_column("projects", "served_at")
