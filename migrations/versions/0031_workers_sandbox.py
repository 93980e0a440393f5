"""Workers say whether they can confine programs: `sandbox` is ok, else why not; null: not known.

Revises: 0030
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("workers", sa.Column("sandbox", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("workers", "sandbox")
