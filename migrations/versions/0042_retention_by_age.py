"""Projects may say for how many days texts and events of finished jobs, and files, are kept.

Revises: 0041
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0042"
down_revision = "0041"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "retention_rules",
        sa.Column("project_id", sa.Text(), sa.ForeignKey("projects.id"), nullable=False),
        sa.Column("text_days", sa.Integer(), nullable=True),
        sa.Column("event_days", sa.Integer(), nullable=True),
        sa.Column("file_days", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("project_id", name="pk_retention_rules"),
    )
    op.add_column("jobs", sa.Column("texts_removed_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("jobs", sa.Column("texts_left", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("jobs", sa.Column("events_removed_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("jobs") as jobs:
        jobs.drop_column("events_removed_at")
        jobs.drop_column("texts_left")
        jobs.drop_column("texts_removed_at")
    op.drop_table("retention_rules")
