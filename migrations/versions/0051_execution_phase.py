"""The phase in which a program was executed, so that executions are counted where GPU-seconds are.

Revises: 0050
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0051"
down_revision = "0050"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("executions", sa.Column("phase", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("executions", "phase")
