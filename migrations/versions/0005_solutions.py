"""Worked solutions of examples, where the dataset has them.

Revises: 0004
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("examples", sa.Column("solution", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("examples", "solution")
