"""A step that the platform has failed waits before it is tried again, without using up an attempt.

Revises: 0036
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0037"
down_revision = "0036"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("steps", sa.Column("not_before", sa.DateTime(timezone=True), nullable=True))
    op.add_column("steps", sa.Column("passing_failures", sa.Integer(), server_default="0", nullable=False))


def downgrade() -> None:
    op.drop_column("steps", "passing_failures")
    op.drop_column("steps", "not_before")
