"""What the checks that cost samples found about a rationale.

Revises: 0014
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")


def upgrade() -> None:
    op.add_column("rationales", sa.Column("checks", JSON, nullable=True))


def downgrade() -> None:
    op.drop_column("rationales", "checks")
