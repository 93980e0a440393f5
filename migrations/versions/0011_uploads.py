"""Datasets that are being stored, versions by name, and what was counted at upload.

Revises: 0010
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    json = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
    op.add_column("datasets", sa.Column("staged_until", sa.DateTime(timezone=True), nullable=True))
    op.add_column("datasets", sa.Column("statistics", json, nullable=True))
    for table in ("datasets", "prompt_sets"):
        op.add_column(table, sa.Column("version", sa.Integer(), nullable=False, server_default="1"))
        earlier = "e.project_id = t.project_id AND e.name = t.name AND e.id <= t.id"
        op.execute(
            f"UPDATE {table} AS t SET version = (SELECT count(*) FROM {table} AS e WHERE {earlier})"  # noqa: S608
        )


def downgrade() -> None:
    for table in ("prompt_sets", "datasets"):
        op.drop_column(table, "version")
    op.drop_column("datasets", "statistics")
    op.drop_column("datasets", "staged_until")
