"""What people do with adapters: ask them, evaluate them elsewhere, pin them, delete them.

Revises: 0009
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from app.tables.base import Json, Serial

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("purpose", sa.Text(), nullable=False, server_default="star"))
    op.add_column("jobs", sa.Column("adapter_id", sa.Text(), nullable=True))
    op.add_column("jobs", sa.Column("retention", Json, nullable=True))
    op.add_column("adapters", sa.Column("pinned", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("adapters", sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True))
    op.create_table(
        "trial_answers",
        sa.Column("id", Serial, nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("asked", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("example", Json, nullable=False),
        sa.Column("text", sa.Text(), nullable=True),
        sa.Column("extracted", sa.Text(), nullable=True),
        sa.Column("verdict", sa.Text(), nullable=True),
        sa.Column("tokens", sa.Integer(), nullable=True),
        sa.Column("finish_reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_trial_answers"),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name="fk_trial_answers_job_id_jobs", ondelete="CASCADE"
        ),
        sa.UniqueConstraint("job_id", "asked", "position", name="uq_trial_answers_job_id_asked_position"),
    )


def downgrade() -> None:
    op.drop_table("trial_answers")
    added = {"adapters": ("deleted_at", "pinned"), "jobs": ("retention", "adapter_id", "purpose")}
    for table, columns in added.items():
        with op.batch_alter_table(table) as batch:
            for column in columns:
                batch.drop_column(column)
