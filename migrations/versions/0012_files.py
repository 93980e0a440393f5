"""Files as the OpenAI client uploads them, and the jobs that were made from them.

Revises: 0011
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "files",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("filename", sa.Text(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_files"),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_files_project_id_projects"),
    )
    op.create_index("ix_files_sha256", "files", ["sha256"])
    op.create_table(
        "fine_tuning_jobs",
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("training_file", sa.Text(), nullable=False),
        sa.Column("validation_file", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("job_id", name="pk_fine_tuning_jobs"),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name="fk_fine_tuning_jobs_job_id_jobs", ondelete="CASCADE"
        ),
    )


def downgrade() -> None:
    op.drop_table("fine_tuning_jobs")
    op.drop_table("files")
