"""Jobs, datasets, prompt sets and projects can be marked as deleted; jobs and datasets can be archived.

Revises: 0032
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None

COLUMNS = [
    ("projects", "deleted_at"),
    ("datasets", "deleted_at"),
    ("datasets", "archived_at"),
    ("prompt_sets", "deleted_at"),
    ("jobs", "deleted_at"),
    ("jobs", "archived_at"),
]


def upgrade() -> None:
    for table, name in COLUMNS:
        op.add_column(table, sa.Column(name, sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    """What is marked as deleted and not removed yet is there again."""
    for table, name in reversed(COLUMNS):
        op.drop_column(table, name)
