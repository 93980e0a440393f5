"""Uploaded files have an area of the storage of their own.

Revises: 0024
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("files", sa.Column("area", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("files", "area")
