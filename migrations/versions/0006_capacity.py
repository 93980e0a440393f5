"""What base models need and what workers have.

Only additions with a default: workers of the revision before keep running through it.

Revises: 0005
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("models", "workers"):
        op.add_column(table, sa.Column("gpus", sa.Integer(), server_default="1", nullable=False))
        op.add_column(table, sa.Column("gpu_memory_gib", sa.Double(), nullable=True))
        op.add_column(table, sa.Column("gpu_class", sa.Text(), nullable=True))


def downgrade() -> None:
    for table in ("workers", "models"):
        for name in ("gpu_class", "gpu_memory_gib", "gpus"):
            op.drop_column(table, name)
