"""How a text used its tool, and which parts of it and of a row are not its model's own words.

Revises: 0052
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0053"
down_revision = "0052"
branch_labels = None
depends_on = None

JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")


def upgrade() -> None:
    op.add_column("rationales", sa.Column("tools", JSON, nullable=True))
    op.add_column("evaluations", sa.Column("tools", JSON, nullable=True))
    op.add_column("training_examples", sa.Column("masked", JSON, nullable=True))


def downgrade() -> None:
    op.drop_column("training_examples", "masked")
    op.drop_column("evaluations", "tools")
    op.drop_column("rationales", "tools")
