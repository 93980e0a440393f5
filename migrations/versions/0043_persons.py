"""Personal keys say whose they are; datasets, prompt sets and overrides say who made them.

Revises: 0042
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0043"
down_revision = "0042"
branch_labels = None
depends_on = None

COLUMNS = [
    ("api_keys", "person"),
    ("overrides", "person"),
    ("datasets", "created_by"),
    ("datasets", "creator"),
    ("prompt_sets", "created_by"),
    ("prompt_sets", "creator"),
]


def upgrade() -> None:
    for table, column in COLUMNS:
        op.add_column(table, sa.Column(column, sa.Text(), nullable=True))


def downgrade() -> None:
    for table, column in reversed(COLUMNS):
        with op.batch_alter_table(table) as changed:
            changed.drop_column(column)
