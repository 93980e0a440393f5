"""Where a dataset comes from that was made of a job's examples.

Revises: 0021
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    json = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
    op.add_column("datasets", sa.Column("derived_from", json, nullable=True))


def downgrade() -> None:
    op.drop_column("datasets", "derived_from")
