"""How an answer among many used its tool, and which parts of it are not its model's own words.

Revises: 0059
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0060"
down_revision = "0059"
branch_labels = None
depends_on = None

JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")


def upgrade() -> None:
    op.add_column("candidates", sa.Column("tools", JSON, nullable=True))


def downgrade() -> None:
    op.drop_column("candidates", "tools")
