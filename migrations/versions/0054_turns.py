"""Which parts of a row are tokens by themselves: as its model and a tool have put it together.

Revises: 0053
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0054"
down_revision = "0053"
branch_labels = None
depends_on = None

JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")


def upgrade() -> None:
    op.add_column("training_examples", sa.Column("turns", JSON, nullable=True))


def downgrade() -> None:
    op.drop_column("training_examples", "turns")
