"""Programs that were executed for jobs: what came of each, so that none is executed again.

Revises: 0037
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0038"
down_revision = "0037"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    op.create_table(
        "executions",
        sa.Column("project_id", sa.Text(), sa.ForeignKey("projects.id"), nullable=False),
        sa.Column("program_sha256", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("result", JSON, nullable=False),
        sa.Column("cpu_ms", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "program_sha256", name="pk_executions"),
    )
    op.create_index("ix_executions_project_id_created_at", "executions", ["project_id", "created_at"])
    op.create_index("ix_executions_job_id", "executions", ["job_id"])


def downgrade() -> None:
    op.drop_table("executions")
