"""How many GPUs of which class a claim has held.

Revises: 0055
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0056"
down_revision = "0055"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("usage", sa.Column("gpu_class", sa.Text(), nullable=True))
    op.add_column("usage", sa.Column("gpus", sa.Integer(), nullable=False, server_default="1"))


def downgrade() -> None:
    op.drop_column("usage", "gpus")
    op.drop_column("usage", "gpu_class")
