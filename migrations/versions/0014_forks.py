"""Which job a fork goes on from, and what the iterations that it took over were made with.

Only additions with an empty default: workers of the revision before keep running through it.

Revises: 0013
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    json = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
    op.add_column("jobs", sa.Column("forked_from", sa.Text(), nullable=True))
    op.add_column("jobs", sa.Column("forked_from_iteration", sa.Integer(), nullable=True))
    op.create_index("ix_jobs_forked_from", "jobs", ["forked_from"])
    op.add_column("iterations", sa.Column("config", json, nullable=True))


def downgrade() -> None:
    op.drop_column("iterations", "config")
    op.drop_index("ix_jobs_forked_from", "jobs")
    op.drop_column("jobs", "forked_from_iteration")
    op.drop_column("jobs", "forked_from")
