"""A job's budget, and what equal jobs are known by.

Revises: 0016
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("budget_gpu_seconds", sa.Double(), nullable=True))
    op.add_column("jobs", sa.Column("deadline_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("jobs", sa.Column("spec_sha256", sa.Text(), nullable=True))
    op.create_index("ix_jobs_project_id_spec_sha256", "jobs", ["project_id", "spec_sha256"])
    op.create_index("ix_jobs_status", "jobs", ["status"])


def downgrade() -> None:
    op.drop_index("ix_jobs_status", "jobs")
    op.drop_index("ix_jobs_project_id_spec_sha256", "jobs")
    with op.batch_alter_table("jobs") as jobs:
        jobs.drop_column("spec_sha256")
        jobs.drop_column("deadline_at")
        jobs.drop_column("budget_gpu_seconds")
