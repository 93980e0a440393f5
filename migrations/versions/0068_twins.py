"""The model that is trained in the place of a quantized one.

Revises: 0067
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0068"
down_revision = "0067"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("models", sa.Column("trained_as", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("models", "trained_as")
