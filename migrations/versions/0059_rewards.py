"""What the scorer of a controller says of a try.

Revises: 0058
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0059"
down_revision = "0058"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("rationales", sa.Column("reward", sa.Double(), nullable=True))


def downgrade() -> None:
    op.drop_column("rationales", "reward")
