"""How likely a rationale's answer is after each of its sentences.

Revises: 0062
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0063"
down_revision = "0062"
branch_labels = None
depends_on = None

JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")


def upgrade() -> None:
    op.add_column("rationales", sa.Column("reading", JSON, nullable=True))


def downgrade() -> None:
    op.drop_column("rationales", "reading")
