"""Prompt sets that the platform records for a job of its own accord are not listed.

Revises: 0068
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0069"
down_revision = "0068"
branch_labels = None
depends_on = None

OF_THE_PLATFORM = (  # what it has called them so far
    "name = 'to draft ' || kind || ' examples' OR (name = 'no few-shot examples' AND kind = 'documents')"
)


def upgrade() -> None:
    listed = sa.Column("listed", sa.Boolean(), nullable=False, server_default=sa.true())
    op.add_column("prompt_sets", listed)
    op.execute(f"UPDATE prompt_sets SET listed = false WHERE {OF_THE_PLATFORM}")  # noqa: S608


def downgrade() -> None:
    op.drop_column("prompt_sets", "listed")
