"""Which key a rotated one replaces.

Revises: 0007
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("api_keys", sa.Column("replaces", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("api_keys", "replaces")
