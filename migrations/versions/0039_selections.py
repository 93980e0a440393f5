"""Which examples an iteration asks, where that follows from what the iterations before found.

Revises: 0038
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from migrations.columns import JSON

revision = "0039"
down_revision = "0038"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("iterations", sa.Column("selection", JSON, nullable=True))


def downgrade() -> None:
    op.drop_column("iterations", "selection")
